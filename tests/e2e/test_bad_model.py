"""Model files that are damaged or of the wrong kind: what is said, and that the others still run."""

import json
import shutil
import struct
import unittest

import gguf
from harness import FAILED, Case, Run, f16_model, plan, tiny_model, write_plan

UNKNOWN_TEMPLATE = "{{ a_template_of_our_own(messages) }}"


def as_encoder(model):
    """The keys that make a BERT of it; its tensors stay a decoder's."""
    renamed = {key.replace("llama.", "bert."): value for key, value in model.kv.items()}
    model.kv = renamed
    model.set("general.architecture", gguf.STRING, "bert")
    model.set("bert.attention.causal", gguf.BOOL, False)


def without_tokenizer(model):
    model.kv = {k: v for k, v in model.kv.items() if not k.startswith("tokenizer.ggml")}


def without_tensor(model):
    model.tensors = [t for t in model.tensors if t.name != "blk.1.attn_q.weight"]


def not_a_number(model):
    nan = struct.pack("<f", float("nan"))
    model.tensors = [
        gguf.Tensor(t.name, t.dims, t.type_id, nan * t.dims[0]) if t.name == "output_norm.weight" else t
        for t in model.tensors
    ]


def one_row_too_long(model):
    """A size that a reader must not multiply without care."""
    first = model.tensors[0]
    model.tensors = [gguf.Tensor(first.name, (first.dims[0], 1 << 60), first.type_id, b""), *model.tensors[1:]]


# file name -> (how to make it from the tiny one, the stage that fails, parts of the message)
EDITED = {
    "arch": (lambda m: m.set("general.architecture", gguf.STRING, "no-such-arch"), "quantize",
             ["arch.gguf", "unknown model architecture: 'no-such-arch'"]),
    "encoder": (as_encoder, "quantize", ["encoder.gguf does not generate text"]),
    "adapter": (lambda m: m.set("general.type", gguf.STRING, "adapter"), "quantize",
                ["adapter.gguf is an adapter and no model: give the model that it was trained on"]),
    "no-arch": (lambda m: m.kv.pop("general.architecture"), "quantize", ["no-arch.gguf names no model architecture"]),
    "no-tokenizer": (without_tokenizer, "quantize", ["no-tokenizer.gguf has no tokenizer", "convert the model with"]),
    "no-template": (lambda m: m.kv.pop("tokenizer.chat_template"), "quantize",
                    ["no chat template", "use an instruction-tuned model, or add tokenizer.chat_template"]),
    "template": (lambda m: m.set("tokenizer.chat_template", gguf.STRING, UNKNOWN_TEMPLATE), "quantize",
                 ["chat template is not one that the engine knows", "refused"]),
    "no-weights": (lambda m: setattr(m, "tensors", []), "quantize", ["no-weights.gguf holds a vocabulary and no weights"]),
    "nan": (not_a_number, "quantize", ["nan.gguf", "'output_norm.weight' has invalid data"]),
    "no-tensor": (without_tensor, "load", ["no-tensor.none.fp16.gguf", "'blk.1.attn_q.weight' not found"]),
    "huge-row": (one_row_too_long, "quantize", ["huge-row.gguf"]),
}  # fmt: skip
CUT = {
    "cut-header": (2000, ["cut-header.gguf is not a GGUF file this build can read", "the header is cut off"]),
    "cut-data": (5_000_000, ["cut-data.gguf is cut off: tensor", "and the file has 5000000; fetch or copy it again"]),
    "empty": (0, ["empty.gguf is not a GGUF file"]),
}


class BadModels(Case):
    def test_each_costs_its_own_variants_and_can_be_mended(self):
        good = tiny_model(self.dir, "good.gguf")
        for name, (change, _, _) in EDITED.items():
            tiny_model(self.dir, f"{name}.gguf", change)
        whole = good.read_bytes()
        for name, (size, _) in CUT.items():
            (self.dir / f"{name}.gguf").write_bytes(whole[:size])
        (self.dir / "text.gguf").write_text("this is no model\n" * 100)
        newer = bytearray(whole)
        newer[4] = 99
        (self.dir / "newer.gguf").write_bytes(newer)

        bad = [*EDITED, *CUT, "text", "newer"]
        content = plan([{"path": f"{name}.gguf", "id": name} for name in [*bad, "good"]], precisions=["fp16"])
        run, done = self.measure(content, code=FAILED)
        self.assertCountersHold(done.err)
        failures = run.failures()
        for name, (_, stage, parts) in EDITED.items():
            self.assertSays(failures[f"{stage} {name} fp16"][1], *parts)
        for name, (_, parts) in CUT.items():
            code, error = failures[f"quantize {name} fp16"]
            self.assertEqual(code, "bad_input")
            self.assertSays(error, *parts)
        for name in ("text", "newer"):
            self.assertSays(failures[f"quantize {name} fp16"][1], f"{name}.gguf is not a GGUF file this build can read")

        self.assertEqual({a[0] for a in run.answers()}, {"good.none.rag.fp16"}, "the rest of the matrix ran")
        self.assertSays(done.err, "mend the cause, then: edge-eval run --resume out")
        for name in bad:
            self.assertSays(done.out, f"{name} ({name}")
        self.assertEqual(done.out.count("failed: "), 2 * len(bad), "once a profile: " + done.out)
        self.assertTrue(all(len(line) <= 100 for line in done.out.splitlines()))
        reasons = {r["variant_id"]: r["reason"] for r in run.metrics() if r["metric"] == "score"}
        self.assertEqual([v for v, reason in reasons.items() if not reason], ["good.none.rag.fp16"])

        before = run.done()
        for name in bad:
            shutil.copy(good, self.dir / f"{name}.gguf")
        for name in ("arch", "cut-data", "no-tensor"):  # the same weights in a file of other content
            tiny_model(self.dir, f"{name}.gguf", lambda m, n=name: m.set("general.name", gguf.STRING, n))
        run, done = self.resume()
        self.assertAllDone(run)
        self.assertLessEqual({row[0] for row in before}, {row[0] for row in run.done()})
        answers = {}
        for variant, *answer in run.answers():
            answers.setdefault(variant, []).append(answer)
        self.assertEqual(len(answers), len(bad) + 1)
        self.assertTrue(all(a == answers["good.none.rag.fp16"] for a in answers.values()))
        self.assertEqual(run.rows("SELECT count(*) FROM variant WHERE params IS NULL OR device = 'unknown'"), [(0,)])

    def test_when_no_model_can_be_read(self):
        (self.dir / "bad.gguf").write_bytes(b"GGUF")
        content = plan({"path": "bad.gguf", "id": "bad"})
        run, done = self.measure(content, code=FAILED)
        self.assertCountersHold(done.err)
        self.assertSays(done.out, "bad.gguf is not a GGUF file")
        self.assertSays(self.edge_eval("audit", run.path).out, "Nothing to look at: no stage that is done has figures.")
        tiny_model(self.dir, "bad.gguf")
        run, _ = self.resume()
        self.assertAllDone(run)
        self.assertEqual(run.rows("SELECT DISTINCT device, params > 1e6 FROM variant"), [("CPU", 1)])
        self.assertEqual({r["device"] for r in run.metrics()}, {"CPU"})


class Precisions(Case):
    def types_by_stage(self, run):
        """title -> {type: tensors} of the artifacts."""
        rows = run.rows("SELECT title, detail_json FROM artifact JOIN stage USING (stage_id)")
        return {title: json.loads(detail)["types"] for title, detail in rows}

    def test_an_f16_file_serves_as_it_is(self):
        f16_model(self.dir)
        run, _ = self.measure(plan({"path": "tiny-f16.gguf", "id": "tiny"}, precisions=["fp16", "int8", "int4"]))
        self.assertEqual(sorted(p.name for p in (run.path / "artifacts").iterdir()),
                         ["tiny.none.int4.gguf", "tiny.none.int8.gguf"])  # fmt: skip
        types = self.types_by_stage(run)
        self.assertIn("f16", types["quantize tiny fp16"])
        self.assertIn("q8_0", types["quantize tiny int8"])
        # Rows of 576 are no multiple of 256: the whole file is Q4_0 rather than K-quants here and there.
        self.assertIn("q4_0", types["quantize tiny int4"])
        self.assertFalse([t for t in types["quantize tiny int4"] if t.endswith("_k")])
        (joules,) = run.rows("SELECT count(*) FROM energy JOIN stage USING (stage_id) WHERE title = 'quantize tiny fp16'")
        self.assertEqual(joules, (0,), "nothing was converted, so nothing was spent")

    def test_the_fp16_file_is_made_for_int4_alone(self):
        tiny_model(self.dir)
        run, done = self.measure(plan({"path": "tiny.gguf", "id": "tiny"}, precisions=["int4"]))
        self.assertCountersHold(done.err)
        self.assertEqual([t for t, _ in run.stages()][:2], ["quantize tiny fp16", "quantize tiny int4"])
        self.assertEqual({r["precision"] for r in run.metrics()}, {"int4"})

    def test_rows_of_256_become_k_quants(self):
        wide = gguf.Gguf()
        wide.kv = dict(gguf.Gguf.read(tiny_model(self.dir)).kv)
        sizes = {"embedding_length": 256, "feed_forward_length": 256, "block_count": 1, "vocab_size": 8192,
                 "attention.head_count": 4, "attention.head_count_kv": 4, "rope.dimension_count": 64}  # fmt: skip
        for key, value in sizes.items():
            wide.set(f"llama.{key}", gguf.UINT32, value)
        square = {name: (256, 256) for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
        shapes = {"token_embd": (256, 8192), **{f"blk.0.{name}": dims for name, dims in square.items()}}
        for name, dims in shapes.items():
            data = b"".join(struct.pack("<e", (i % 7 - 3) / 8) for i in range(dims[0])) * dims[1]
            wide.tensors.append(gguf.Tensor(f"{name}.weight", dims, gguf.F16, data))
        for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
            wide.tensors.append(gguf.Tensor(f"{name}.weight", (256,), gguf.F32, struct.pack("<f", 1) * 256))
        wide.write(self.dir / "wide.gguf")
        write_plan(self.dir, plan({"path": "wide.gguf", "id": "wide"}, precisions=["int4"]))
        done = self.edge_eval("run", "plan.yaml", "--out", "out", "--only", "quantize")
        types = self.types_by_stage(Run(self.dir / "out"))["quantize wide int4"]
        self.assertTrue(types.get("q4_K", 0) > 0, (types, done))
        self.assertNotIn("q4_0", types)


if __name__ == "__main__":
    unittest.main()
