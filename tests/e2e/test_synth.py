"""Synthetic checkpoints: listed, written, measured like any model, and never scored."""

import json
import pathlib
import unittest

from harness import CACHE, MODEL, OK, FAILED, USAGE, Case, plan

VOCABULARY = pathlib.Path(CACHE) / "llama" / "vocab" / "{}.gguf"

TOY = """
chat_templates: {{chatml: "<|im_start|>", llama3: "<|start_header_id|> <|end_header_id|>"}}
shapes:
  - {{id: toy, family: Toy, size: 10M, architecture: {arch}, tokenizer: {vocab}, chat: {chat}, layers: 2,
     embd: 64, ff: 96, heads: 4, kv_heads: 2, head_dim: 16, vocab: {n}, context: 2048, tied: true,
     rms_eps: 1.0e-5, rope_base: 10000{more}}}
"""
FAMILIES = [
    {"arch": "llama", "vocab": "llama-bpe", "chat": "llama3", "n": 128256, "more": ", rope_factor: 8"},
    {"arch": "qwen2", "vocab": "qwen2", "chat": "chatml", "n": 152064, "more": ""},
]


class Synth(Case):
    def toy(self, family, out="toy.gguf", *args, code=OK):
        (self.dir / "shapes.yaml").write_text(TOY.format(**family), encoding="utf-8")
        return self.edge_eval("synth", "toy", out, "--shapes", "shapes.yaml", *args, code=code)

    def test_lists_the_shapes(self):
        shapes = json.loads(self.edge_eval("synth", "--list", "--json").out)
        by_id = {s["id"]: s for s in shapes}
        self.assertEqual(by_id["llama-3.2-1b"]["params"], 1235814400)
        self.assertSays(self.edge_eval("synth", "--list").out, "qwen2.5-7b", "15.2 GB")

    def test_a_toy_of_each_family_is_measured_and_never_scored(self):
        for family in FAMILIES:
            with self.subTest(family=family["arch"]):
                if not VOCABULARY.with_name(family["vocab"] + ".gguf").exists():
                    self.skipTest("the vocabularies are not in the cache: run make deps")
                out = f"{family['arch']}.gguf"
                self.toy(family, out, "--type", "Q8_0")
                content = plan({"path": str(self.dir / out)}, precisions=["fp16", "int4"], load={"warm": 1, "cold": 0})
                run, _ = self.measure(content, out=family["arch"])
                self.assertAllDone(run)
                self.assertEqual(run.scores(), [])
                for row in run.metrics():
                    if row["metric"] in ("score", "q_ret", "ipw_paper"):
                        self.assertEqual(row["value"], "", row)
                        self.assertIn("random weights", row["reason"])
                    if row["metric"] in ("output_tokens_per_s", "load_s"):
                        self.assertGreater(float(row["value"]), 0, row)
                        self.assertIn("random weights", row["label"])

    def test_a_twin_of_the_default_model_has_its_size(self):
        if not MODEL.exists():
            self.skipTest(f"the default model is not at {MODEL}: run make deps")
        done = json.loads(self.edge_eval("synth", "--like", str(MODEL), "twin.gguf", "--json").out)
        self.assertEqual(done["types"], {"f32": 61, "q4_1": 210, "q8_0": 1})
        self.assertLess(abs(done["bytes"] - MODEL.stat().st_size), 4096)

    def test_bad_input_is_refused(self):
        (self.dir / "there.gguf").write_bytes(b"x")
        for args, code, part in [
            (["nothing", "out.gguf"], USAGE, 'no shape "nothing"'),
            (["llama-3.2-1b"], USAGE, "a shape (or --like MODEL.gguf) and a file to write are needed"),
            (["llama-3.2-1b", "out.gguf", "--vocab", "there.gguf"], FAILED, "not a GGUF file"),
            (["--like", "there.gguf", "out.gguf"], FAILED, "there.gguf is not a GGUF file"),
            (["--like", "missing.gguf", "out.gguf"], FAILED, "missing.gguf"),
            (["llama-3.2-1b", "there.gguf"], USAGE, "there.gguf exists already"),
            (["llama-3.2-1b", "out.gguf", "--type", "Q2"], USAGE, '--type is "Q2"'),
            (["x", "out.gguf", "--shapes", "none.yaml"], FAILED, "none.yaml"),
        ]:  # fmt: skip
            with self.subTest(args=args):
                done = self.edge_eval("synth", *args, code=code)
                self.assertSays(done.err, part)
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["there.gguf"])


if __name__ == "__main__":
    unittest.main()
