"""edge-eval fidelity: two models on the same text, exact and as llama-perplexity prints it."""

import csv
import io
import json
import os
import pathlib
import re
import subprocess
import time
import unittest

import gguf
from harness import (
    CACHE, DATA, FAILED, MODEL, USAGE, Case, f16_model, is_alive, plan, tiny_model, wait_until, workers_of,
)  # fmt: skip

TOOL = pathlib.Path(os.environ.get("LLAMA_PERPLEXITY") or f"{CACHE}/peers/build/bin/llama-perplexity")

MIB = 1 << 20


def write_text(path, n_items=104):
    """The contexts and documents of the project's tasks, about 30,000 tokens."""
    parts = []
    for task, key in (("rag", "context"), ("summ", "document")):
        with open(f"{DATA}/tasks/{task}/eval.jsonl", encoding="utf-8") as f:
            parts += [json.loads(line)[key] for line in list(f)[:n_items]]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


class Tiny(Case):
    """Nonsense models, whose divergence is large and quick to compute."""

    def setUp(self):
        super().setUp()
        self.base = f16_model(self.dir, "base.gguf")
        self.edge_eval("quantize", self.base, "other.gguf", "--type", "Q4_0", "--threads", "1")
        self.text = write_text(self.dir / "text.txt", 8)

    def compare(self, *args, code=0):
        return self.edge_eval("fidelity", "base.gguf", "other.gguf", *args, "--threads", 1, code=code)

    def compare_json(self, *args):
        return json.loads(self.compare(*args, "--json").out)

    def test_text_and_json_tell_the_same(self):
        out = self.compare("--text", "text.txt", "--windows", 3).out
        v = self.compare_json("--text", "text.txt", "--windows", 3)
        self.assertEqual((v["base"], v["other"], v["text"]), ("base.gguf", "other.gguf", "text.txt"))
        self.assertEqual((v["method"], v["tokens"], v["windows"], v["context"]), ("exact", 3 * 511, 3, 512))
        self.assertSays(out, "1533 positions in 3 windows of up to 512 tokens, on CPU")
        mean = v["kl"]["mean"]
        self.assertRegex(out, rf"KL divergence, mean +{mean['value']:.6f}   {mean['low']:.6f} to {mean['high']:.6f}\n")
        self.assertSays(out, f"{v['kl']['p99']:.6f}", f"{100 * v['same_top']['value']:.2f} %")
        self.assertSays(out, f"{v['ppl_base']['value']:.4f}", f"{v['ppl_other']['value']:.4f}")
        self.assertTrue(0 < mean["low"] < mean["value"] < mean["high"] < v["kl"]["max"], v)
        self.assertTrue(0 < v["kl"]["median"] < v["kl"]["p99"] <= v["kl"]["max"], v)
        ratio = v["ppl_other"]["value"] / v["ppl_base"]["value"]
        self.assertAlmostEqual(v["ppl_ratio"]["value"], ratio, delta=1e-9 * ratio)
        self.assertEqual(self.compare("--text", "text.txt", "--windows", 3).out, out)

    def test_a_model_is_itself(self):
        v = json.loads(self.edge_eval("fidelity", "base.gguf", "base.gguf", "--text", "text.txt", "--windows", 1,
                                      "--threads", 1, "--json").out)  # fmt: skip
        self.assertEqual(v["kl"], {"mean": {"value": 0, "low": None, "high": None}, "median": 0, "p99": 0, "max": 0})
        self.assertEqual((v["same_top"]["value"], v["ppl_ratio"]["value"]), (1, 1))
        self.assertIsNone(v["ppl_base"]["low"], "one window shows no interval")
        self.assertSays(self.compare("--text", "text.txt", "--windows", 1).out, "one window shows no interval")

    def test_windows_cover_the_text(self):
        small = self.compare_json("--text", "text.txt", "--context", 32)
        large = self.compare_json("--text", "text.txt", "--context", 512)
        n = large["tokens"] + large["windows"]
        self.assertEqual(small["tokens"], n - small["windows"])
        self.assertEqual(small["windows"], -(-n // 32))

    def test_a_run_keeps_it_beside_its_fidelity(self):
        model = {"path": str(self.base), "id": "tiny"}
        run, _ = self.measure(plan(model, tasks={"rag": {"items": 2, "max_tokens": 4}, "summ": {"items": 2, "max_tokens": 4}}))
        files = {p.name.split(".")[-2]: p for p in (run.path / "artifacts").glob("*.gguf")}
        two = (files.get("fp16", self.base), files["int4"], "--text", "text.txt", "--windows", "2", "--threads", 1, "--into", run.path)
        told = json.loads(self.edge_eval("fidelity", *two, "--json").out)
        rows = {(r["precision"], r["metric"]): r for r in csv.DictReader(io.StringIO(
            self.edge_eval("report", run.path, "--format", "csv").out))}  # fmt: skip
        self.assertEqual(float(rows["int4", "kl_to_fp16"]["value"]), told["kl"]["mean"]["value"])
        self.assertEqual(float(rows["int4", "same_top_token"]["value"]), 100 * told["same_top"]["value"])
        self.assertEqual(float(rows["int4", "perplexity_ratio"]["low"]), told["ppl_ratio"]["low"])
        self.assertEqual(rows["int4", "kl_to_fp16"]["label"], f"{told['tokens']} positions of text.txt")
        self.assertSays(rows["fp16", "kl_to_fp16"]["reason"], "the baseline itself")
        text = self.edge_eval("report", run.path).out
        self.assertEqual(text.count("beside Q_ret, tiny none int4: KL divergence from fp16"), 1)
        self.edge_eval("quantize", self.base, "eight.gguf", "--type", "Q8_0", "--threads", "1")
        done = self.edge_eval("fidelity", two[0], "eight.gguf", *two[2:], code=USAGE)
        self.assertSays(done.err, "eight.gguf is none of the model files of")
        done = self.edge_eval("fidelity", *two, "--compat", "llama-perplexity", code=USAGE)
        self.assertSays(done.err, "--into keeps the exact figures")
        self.edge_eval("fidelity", *two[:-1], self.dir / "none", code=FAILED)

    def test_prompts_of_a_task(self):
        v = self.compare_json("--task", "rag", "--items", 4)
        self.assertEqual((v["task"], v["windows"], v["text"]), ("rag", 4, None))
        one = self.compare_json("--task", "rag", "--items", 1)
        self.assertEqual(one["tokens"], one["context"] - 1)
        own = self.dir / "own.jsonl"
        own.write_text(json.dumps({"document": "Rain fell.", "summary": "Rain."}) + "\n")
        v = self.compare_json("--task", "summ", "--data", "own.jsonl")
        self.assertEqual((v["windows"], v["data"]), (1, "own.jsonl"))
        own.write_text("".join(json.dumps({"id": i, "document": "Rain fell.", "summary": "Rain."}) + "\n" for i in "ab"))
        twice = self.compare_json("--task", "summ", "--data", "own.jsonl")
        self.assertEqual(twice["tokens"], v["tokens"], "what prompts share counts once")
        done = self.compare("--task", "rag", "--context", 32, code=USAGE)
        self.assertSays(done.err, "the longest prompt has", "the context 32")

    def test_other_vocabularies_are_refused(self):
        def rename(model):
            tokens = list(model.array("tokenizer.ggml.tokens"))
            tokens[500] = b"elsewhere"
            model.set_array("tokenizer.ggml.tokens", gguf.STRING, tokens)

        def forget_merges(model):
            merges = model.array("tokenizer.ggml.merges")
            model.set_array("tokenizer.ggml.merges", gguf.STRING, merges[: len(merges) // 2])

        tiny_model(self.dir, "renamed.gguf", rename)
        tiny_model(self.dir, "unmerged.gguf", forget_merges)
        for other, part in [
            ("renamed.gguf", 'their vocabularies differ: token 500 is "'),
            ("unmerged.gguf", "split the text into different tokens"),
        ]:
            done = self.edge_eval("fidelity", "base.gguf", other, "--text", "text.txt", code=FAILED)
            self.assertSays(done.err, part, other)
            self.assertEqual(done.out, "")

    def test_bad_input_is_named(self):
        (self.dir / "latin1.txt").write_bytes(b"caf\xe9 " * 100)
        (self.dir / "short.txt").write_text("Rain.")
        (self.dir / "empty.txt").write_text("")
        (self.dir / "cut.gguf").write_bytes(self.base.read_bytes()[:-4096])
        (self.dir / "noise.gguf").write_bytes(bytes(range(256)) * 64)
        for args, part in [
            (["base.gguf", "other.gguf", "--text", "nowhere.txt"], "cannot open nowhere.txt"),
            (["base.gguf", "other.gguf", "--text", "latin1.txt"], "latin1.txt is not UTF-8 text"),
            (["base.gguf", "other.gguf", "--text", "empty.txt"], "empty.txt has 0 tokens; at least 2 are needed"),
            (["base.gguf", "other.gguf", "--text", "short.txt", "--compat", "llama-perplexity"],
             "at least 1024 are needed"),
            (["base.gguf", "nowhere.gguf", "--text", "text.txt"], "nowhere.gguf"),
            (["base.gguf", "cut.gguf", "--text", "text.txt"], "cut.gguf"),
            (["noise.gguf", "base.gguf", "--text", "text.txt"], "noise.gguf"),
            (["base.gguf", "other.gguf", "--text", "text.txt", "--context", 100000], "that base.gguf was trained on"),
            (["base.gguf", "other.gguf", "--task", "rag", "--data", "text.txt"], "text.txt:1: not valid JSON"),
        ]:  # fmt: skip
            with self.subTest(args=args):
                done = self.edge_eval("fidelity", *args, code=FAILED)
                self.assertSays(done.err, part)
                self.assertEqual((done.out, done.err.count("\n")), ("", 1), done)

    def test_wrong_usage(self):
        for args, part in [
            ([], "--text FILE or --task NAME"),
            (["--text", "text.txt", "--task", "rag"], "--text FILE or --task NAME"),
            (["--text", "text.txt", "--items", 2], "--data and --items with --task"),
            (["--task", "rag", "--windows", 2], "--windows goes with --text"),
            (["--task", "rag", "--compat", "llama-perplexity"], "in windows of 512 tokens"),
            (["--text", "text.txt", "--compat", "llama-perplexity", "--context", 256], "in windows of 512 tokens"),
            (["--text", "text.txt", "--context", 8], "--context is at least 16"),
            (["--task", "qa"], '--task is "qa"; allowed: rag, summ, chat'),
        ]:
            with self.subTest(args=args):
                self.assertSays(self.compare(*args, code=USAGE).err, part)

    def test_the_worker_dies_with_its_parent(self):
        going = self.start("fidelity", "base.gguf", "other.gguf", "--text", "text.txt", "--context", 16)
        worker = going.wait_for_worker()
        going.process.kill()
        wait_until(lambda: not is_alive(worker), "the worker to end", 10)


class Whole(Case):
    """The default model in F16 against Q8_0 and Q4_0."""

    @classmethod
    def setUpClass(cls):
        if not MODEL.exists():
            raise unittest.SkipTest(f"the default model is not at {MODEL}: run make deps")

    def quantize(self, *types):
        self.edge_eval("quantize", MODEL, "F16.gguf", "--type", "F16", "--threads", 2)
        for t in types:
            self.edge_eval("quantize", "F16.gguf", f"{t}.gguf", "--type", t, "--threads", 2)
        write_text(self.dir / "text.txt")

    def test_memory_beyond_the_models(self):
        self.quantize("Q8_0")
        going = self.start("fidelity", "F16.gguf", "Q8_0.gguf", "--text", "text.txt", "--windows", 2, "--json")
        peak = 0
        while going.process.poll() is None:
            for pid in workers_of(going.pid):
                try:
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                found = re.search(r"RssAnon:\s+(\d+) kB", status)
                peak = max(peak, int(found[1]) * 1024 if found else 0)
            time.sleep(0.02)
        done = going.wait()
        self.assertEqual(done.code, 0, done)
        self.assertGreater(peak, 0)
        # A processor with a matrix unit gets a copy of the weights in its own order: the models still.
        models = sum((self.dir / f"{t}.gguf").stat().st_size for t in ("F16", "Q8_0"))
        self.assertLess(peak, models * 1.15 + 256 * MIB, "resident, without what is mapped from files")
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["F16.gguf", "Q8_0.gguf", "text.txt"])
        v = json.loads(done.out)
        self.assertTrue(0 < v["kl"]["mean"]["value"] < 0.05, v)
        self.assertTrue(0.9 < v["same_top"]["value"] < 1, v)

    def test_figures_are_those_that_llama_perplexity_prints(self):
        if not TOOL.exists():
            raise unittest.SkipTest(f"no {TOOL}: bench/peers.sh llama-perplexity builds it")
        self.quantize("Q8_0", "Q4_0")

        def tool(*args):
            done = subprocess.run([TOOL, "-f", "text.txt", "-b", "512", "-t", "2", *args], cwd=self.dir, check=True,
                                  capture_output=True, text=True)  # fmt: skip
            return done.stdout + done.stderr

        saved = tool("-m", "F16.gguf", "--chunks", "3", "--kl-divergence-base", "base.kld")
        final = re.search(r"Final estimate: PPL = .*", saved)[0]
        for t in ("Q8_0", "Q4_0"):
            theirs = tool("-m", f"{t}.gguf", "--kl-divergence", "--kl-divergence-base", "base.kld")
            theirs = re.search(r"====== Perplexity statistics.*Same top p:[^\n]*\n", theirs, re.DOTALL)[0]
            ours = self.edge_eval("fidelity", "F16.gguf", f"{t}.gguf", "--text", "text.txt", "--windows", 3,
                                  "--compat", "llama-perplexity").out  # fmt: skip
            self.assertEqual(ours, f"{final}\n\n{theirs}")


if __name__ == "__main__":
    unittest.main()
