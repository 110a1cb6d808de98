"""Import: what it writes is, byte for byte, what llama.cpp's own converters write; and what it refuses."""

import json
import shutil
import struct
import unittest

import gguf
import hf
from harness import FAILED, OK, SOURCE, USAGE, Case

GOLDENS = json.loads((SOURCE / "tests/goldens/import/converted.json").read_text(encoding="utf-8"))
# The converter makes a title out of the directory's name, labels the size, and gives adapters, which are
# not quantized, a quantization version.
LABELS = {"general.name", "general.size_label", "general.quantization_version"}
TEXT = "the cat and the hat in a tin can, 12 times; the end of the tale is in the other one. " * 8


class Import(Case):
    def make(self, name):
        path = self.dir / name
        return path if path.exists() else hf.checkpoint(path, name)

    def imported(self, name, type_name="F32"):
        path = self.dir / f"{name}.{type_name}.gguf"
        if not path.exists():
            self.edge_eval("import", str(self.make(name)), str(path), "--type", type_name)
        return path

    def assertConverted(self, path, golden):
        ours = hf.summary(path)
        self.assertEqual(ours["tensors"], golden["tensors"])
        for side in (ours, golden):
            side["keys"] = {k: v for k, v in side["keys"].items() if k not in LABELS}
        self.assertEqual(ours["keys"], golden["keys"])

    def test_models_are_what_the_converter_writes(self):
        self.assertEqual({n.split(".")[0] for n in GOLDENS["models"]}, set(hf.CHECKPOINTS))
        for key, golden in GOLDENS["models"].items():
            with self.subTest(model=key):
                self.assertConverted(self.imported(*key.split(".")), golden)

    def test_adapters_are_what_the_converter_writes(self):
        for name, dtype in [("llama3", "F32"), ("qwen2", "BF16")]:
            with self.subTest(model=name):
                peft = hf.adapter(self.dir / f"{name}-adapter", dtype)
                out = self.dir / f"{name}-adapter.gguf"
                self.edge_eval("import", "--adapter", str(peft), str(self.imported(name)), str(out))
                self.assertConverted(out, GOLDENS["adapters"][name])

    def test_every_model_loads_and_predicts_the_same_in_each_type(self):
        (self.dir / "text.txt").write_text(TEXT, encoding="utf-8")
        for name in hf.CHECKPOINTS:
            with self.subTest(model=name):
                done = self.edge_eval("fidelity", str(self.imported(name)), str(self.imported(name, "F16")),
                                      "--text", "text.txt", "--context", "64", "--json")  # fmt: skip
                kl = json.loads(done.out)["kl"]
                self.assertLess(kl["max"], 1e-3)

    def test_an_adapter_merges_into_its_model(self):
        peft = hf.adapter(self.dir / "peft")
        out = self.dir / "adapter.gguf"
        done = self.edge_eval("import", "--adapter", str(peft), str(self.imported("llama3")), str(out), "--json")
        self.assertEqual(json.loads(done.out)["types"], {"f32": 2 * hf.LAYERS * len(hf.MODULES)})
        merged = self.edge_eval("merge", str(self.imported("llama3")), str(out), "merged.gguf", "--json")
        self.assertEqual(json.loads(merged.out)["merged"], hf.LAYERS * len(hf.MODULES))

    def test_a_rank_stabilised_adapter_keeps_its_scale(self):
        peft = hf.adapter(self.dir / "peft", rank=4, use_rslora=True)
        out = self.dir / "adapter.gguf"
        self.edge_eval("import", "--adapter", str(peft), str(self.imported("qwen2")), str(out))
        # alpha 8 over the root of rank 4 is 4; llama.cpp divides by the rank.
        self.assertEqual(gguf.Gguf.read(out).kv["adapter.lora.alpha"][1] / 4, 4.0)

    def test_the_default_type_is_the_checkpoints(self):
        for name, expected in [("llama3", "bf16"), ("llama3-shards", "f16"), ("smollm", "f16")]:
            with self.subTest(model=name):
                out = self.dir / f"{name}.default.gguf"
                done = json.loads(self.edge_eval("import", str(self.make(name)), str(out), "--json").out)
                self.assertEqual(set(done["types"]), {"f32", expected})

    # --- Bad input ------------------------------------------------------------------------------

    def edit(self, name, file, **changes):
        """A checkpoint with keys of one of its JSON files changed; None removes a key."""
        path = hf.checkpoint(self.dir / f"bad-{len(list(self.dir.iterdir()))}", name)
        content = json.loads((path / file).read_text(encoding="utf-8"))
        for key, value in changes.items():
            target = content["model"] if key in content.get("model", {}) and file == "tokenizer.json" else content
            target[key] = value
            if value is None:
                del target[key]
        (path / file).write_text(json.dumps(content), encoding="utf-8")
        return path

    def refused(self, path, part, *args):
        out = self.dir / "out.gguf"
        done = self.edge_eval("import", str(path), str(out), *args, code=FAILED)
        self.assertSays(done.err, part)
        self.assertEqual([p.name for p in self.dir.glob("out.gguf*")], [])

    def test_configurations_that_cannot_be_imported_are_refused(self):
        for name, changes, part in [
            ("llama3", {"architectures": ["GemmaForCausalLM"]}, "the architecture GemmaForCausalLM cannot be imported"),
            ("llama3", {"architectures": []}, "names no architecture"),
            ("llama3", {"hidden_size": None}, '"hidden_size" should be an integer and is absent'),
            ("llama3", {"num_hidden_layers": 0}, '"num_hidden_layers" is 0'),
            ("llama3", {"num_hidden_layers": 3}, "has no tensor model.layers.2.input_layernorm.weight"),
            ("llama3", {"num_hidden_layers": 1}, "has no place in a llama model of 1 layers"),
            ("llama3", {"num_key_value_heads": 3}, "no multiple of num_key_value_heads (3)"),
            ("llama3", {"intermediate_size": 128}, "model.layers.0.mlp.gate_proj.weight has 2 dimensions, 96 x 64, "
             "where 128 x 64 is expected"),
            ("llama3", {"tie_word_embeddings": False}, "has no tensor lm_head.weight"),
            ("llama3", {"hidden_act": "gelu"}, 'hidden_act is "gelu"'),
            ("llama3", {"quantization_config": {"bits": 4}}, "quantization_config"),
            ("llama3", {"vocab_size": 100}, "embed_tokens.weight has 2 dimensions"),
            ("llama3", {"rope_scaling": {"type": "longrope", "factor": 2}}, 'rope scaling of type "longrope"'),
            ("llama3", {"rope_scaling": {"factor": 2}}, 'rope scaling of type ""'),
            ("llama3", {"rope_scaling": []}, "its rope scaling is no object"),
            ("llama3", {"rope_theta": "big"}, '"rope_theta" should be a number'),
            ("llama3", {"rms_norm_eps": "small"}, '"rms_norm_eps" should be a number'),
            ("llama3", {"tie_word_embeddings": "yes"}, '"tie_word_embeddings" is neither true nor false'),
            ("qwen2", {"use_sliding_window": True}, "use_sliding_window is true"),
            ("qwen2", {"num_key_value_heads": None}, '"num_key_value_heads" should be an integer'),
        ]:  # fmt: skip
            with self.subTest(changes=changes):
                self.refused(self.edit(name, "config.json", **changes), part)

    def test_vocabularies_that_cannot_be_imported_are_refused(self):
        split = {"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated", "invert": False}
        unknown = {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel"}]}
        for changes, part in [
            ({"pre_tokenizer": unknown}, "cuts texts in a way that is not known here"),
            ({"pre_tokenizer": None}, "cuts texts in a way that is not known here"),
            ({"ignore_merges": False}, "cuts texts in a way that is not known here"),
            ({"byte_fallback": True}, "made from sentencepiece"),
            ({"type": "Unigram"}, "is a Unigram vocabulary"),
            ({"normalizer": {"type": "Lowercase"}}, "changes texts before it cuts them (Lowercase)"),
            ({"vocab": {}}, "has no vocabulary"),
            ({"vocab": {"a": 100000}}, 'token 100000 ("a") is not under the vocab_size'),
            ({"merges": []}, "has no merges"),
            ({"merges": [["a"]]}, "merge 0 is no pair"),
        ]:
            with self.subTest(changes=changes):
                self.refused(self.edit("llama3", "tokenizer.json", **changes), part)
        path = hf.checkpoint(self.dir / "spm", "llama3")
        (path / "tokenizer.json").rename(path / "tokenizer.model")
        self.refused(path, "the sentencepiece vocabulary tokenizer.model cannot be imported")

    def test_files_that_are_not_whole_are_refused(self):
        path = hf.checkpoint(self.dir / "cut", "llama3")
        file = path / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-10])
        self.refused(path, "model.safetensors is cut off")
        file.unlink()
        self.refused(path, "model.safetensors is not there")
        shards = hf.checkpoint(self.dir / "shards", "llama3-shards")
        last = shards / "model-00003-of-00003.safetensors"
        shutil.copy(last, self.dir / "kept")
        last.unlink()
        self.refused(shards, "model-00003-of-00003.safetensors is not there")
        shutil.copy(shards / "model-00002-of-00003.safetensors", last)
        self.refused(shards, "is in ")
        hf.save(last, {"x.weight": ([1], [0.0])}, "F16")
        self.refused(shards, "though the index names it")
        self.refused(self.dir / "nothing", "config.json is not there")

    def test_values_and_types_that_do_not_fit_are_refused(self):
        path = hf.checkpoint(self.dir / "big", "llama3")
        file = path / "model.safetensors"
        data = bytearray(file.read_bytes())
        (n,) = struct.unpack("<Q", data[:8])
        data[8 + n : 10 + n] = struct.pack("<f", 1e6)[2:]
        file.write_bytes(data)
        self.refused(path, "model.embed_tokens.weight has values beyond the range of F16", "--type", "F16")
        self.edge_eval("import", str(path), "fits.gguf", "--type", "BF16", code=OK)
        file.write_bytes(data.replace(b'"BF16"', b'"I16" ', 1))
        self.refused(path, "model.embed_tokens.weight is I16")
        file.write_bytes(data.replace(b'"BF16"', b'"XF16"', 1))
        self.refused(path, 'unknown dtype "XF16"')

    def test_adapters_that_cannot_be_imported_are_refused(self):
        model = str(self.imported("llama3"))
        for config, part in [
            ({"peft_type": "IA3"}, 'peft_type is "IA3"'),
            ({"use_dora": True}, '"use_dora" is set'),
            ({"bias": "all"}, 'bias is "all"'),
            ({"modules_to_save": ["lm_head"]}, '"modules_to_save" is set'),
            ({"alpha_pattern": {"q_proj": 3}}, '"alpha_pattern" is set'),
            ({"lora_alpha": 0}, "lora_alpha is 0"),
        ]:
            with self.subTest(config=config):
                path = hf.adapter(self.dir / f"peft-{len(list(self.dir.iterdir()))}", **config)
                self.refused_adapter(path, model, part)
        path = hf.adapter(self.dir / "peft")
        (path / "adapter_model.safetensors").unlink()
        self.refused_adapter(path, model, "adapter_model.safetensors is not there")
        at = "base_model.model.model.layers."
        for tensors, part in [
            ({at + "0.mlp.up_proj.lora_A.weight": [4, 32]}, "4 x 32, where 4 x 64 is expected"),
            ({at + "9.mlp.up_proj.lora_A.weight": [4, 64]}, "adapts blk.9.ffn_up.weight, which"),
            ({at + "0.mlp.up_proj.lora_A.weight": [4, 64]}, "has no other half"),
            ({at + "0.mlp.up_proj.lora_A.weight": [4, 64], at + "0.mlp.up_proj.lora_B.weight": [96, 2]},
             "has ranks 4 and 2"),
            ({at + "0.mlp.up_proj.lora_magnitude_vector": [64]}, "is no half of a LoRA pair"),
            ({}, "has no tensors"),
        ]:  # fmt: skip
            with self.subTest(tensors=tensors):
                sized = {k: (s, [0.5] * (s[0] * (s[1] if len(s) > 1 else 1))) for k, s in tensors.items()}
                hf.save(path / "adapter_model.safetensors", sized, "F32")
                code = USAGE if "which" in part else FAILED
                self.refused_adapter(path, model, part, code)

    def refused_adapter(self, path, model, part, code=FAILED):
        done = self.edge_eval("import", "--adapter", str(path), model, "out.gguf", code=code)
        self.assertSays(done.err, part)
        self.assertEqual([p.name for p in self.dir.glob("out.gguf*")], [])

    def test_bad_usage_is_refused(self):
        (self.dir / "there.gguf").write_bytes(b"x")
        for args, part in [
            (["a"], "2"),
            (["a", "there.gguf"], "there.gguf exists already"),
            (["a", "b.gguf", "--type", "Q4_0"], '--type is "Q4_0"'),
            (["--adapter", "p", "a.gguf", "b.gguf", "--type", "F16"], "--type is for models"),
        ]:
            with self.subTest(args=args):
                self.assertSays(self.edge_eval("import", *args, code=USAGE).err, part)


if __name__ == "__main__":
    unittest.main()
