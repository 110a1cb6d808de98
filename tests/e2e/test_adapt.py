"""edge-eval adapt and merge: the commands, a stop and what follows, and what they refuse."""

import json
import signal
import subprocess
import sys
import unittest

import gguf
from harness import (FAILED, OK, PATIENCE_S, PROGRAM, SOURCE, USAGE, Case, environment, f16_model, tiny_model,
                     wait_until)  # fmt: skip


def rows(n, words=12):
    """Summaries of letters; row i has its own document."""
    return "".join(json.dumps({"id": f"row-{i}", "document": " ".join([f"item{i}"] * (words + i % 3)),
                               "summary": f"item{i} again"}) + "\n" for i in range(n))


# Threads that wait for each other spin, which is slow where other tests have the cores; results do not
# depend on their number.
THREADS = ("--threads", "1")


class Adapt(Case):
    def setUp(self):
        super().setUp()
        self.model = tiny_model(self.dir)
        (self.dir / "rows.jsonl").write_text(rows(8))

    def adapt(self, *more, out="a.gguf", code=OK, **kwargs):
        return self.edge_eval("adapt", self.model, "--task", "summ", "--data", "rows.jsonl", "--out", out,
                              "--rank", "4", "--epochs", "2", "--batch", "2", "--accumulate", "1", *THREADS, *more,
                              code=code, **kwargs)

    def test_an_adapter_is_trained_and_merged(self):
        done = self.adapt("--lr", "5e-3", "--json", "--validation", "0.25", "--warmup", "0")
        result = json.loads(done.out)
        self.assertEqual(result["steps"], 6)
        self.assertEqual([p["step"] for p in result["curve"]], [1, 2, 3, 4, 5, 6])
        self.assertLess(result["best_validation_loss"], result["first_validation_loss"])
        self.assertGreater(result["peak_bytes"], 0)
        self.assertEqual(result["settings"]["rank"], 4)
        self.assertSays(done.err, "6 rows (2 more held out), 6 steps")
        adapter = gguf.Gguf.read(self.dir / "a.gguf")
        self.assertEqual(adapter.kv["general.type"][1], b"adapter")
        self.assertEqual(adapter.kv["adapter.lora.alpha"][1], 16)
        out = self.edge_eval("merge", self.model, "a.gguf", "m.gguf", "--json").out
        merged = json.loads(out)
        self.assertEqual(merged["merged"], len(adapter.tensors) // 2)
        self.assertEqual(merged["bytes"], (self.dir / "m.gguf").stat().st_size)
        base = gguf.Gguf.read(self.model)
        self.assertEqual([t.name for t in gguf.Gguf.read(self.dir / "m.gguf").tensors],
                         [t.name for t in base.tensors])

    def test_text_output_and_qlora(self):
        model = f16_model(self.dir)
        done = self.edge_eval("adapt", model, "--task", "summ", "--data", "rows.jsonl", "--out", "q.gguf",
                              "--method", "qlora", "--max-steps", "2", *THREADS, "-q")
        self.assertRegex(done.out, r"trained  1 steps, \d+ tokens, \d+ tok/s on CPU, base iq4_nl")
        self.assertRegex(done.out, r"memory   \d+ MiB at most, \d+ forecast")
        self.assertEqual(done.err, "")

    def test_a_stopped_training_goes_on(self):
        whole = json.loads(self.adapt("--json", "-q", "--epochs", "10").out)
        args = ("adapt", self.model, "--task", "summ", "--data", "rows.jsonl", "--out", "s.gguf", "--rank", "4",
                "--epochs", "10", "--batch", "2", "--accumulate", "1", "--json", "--save-every", "1", *THREADS)
        going = self.start(*args)
        checkpoint = self.dir / "s.gguf.checkpoint"
        wait_until(lambda: checkpoint.exists() or going.process.poll() is not None, "a checkpoint", PATIENCE_S)
        going.process.send_signal(signal.SIGINT)
        stopped = going.wait()
        if stopped.code != OK:
            self.assertSays(stopped.err, "stopped after step", "--resume goes on")
            resumed = json.loads(self.edge_eval(*args, "--resume", "-q").out)
            self.assertGreater(resumed["resumed_from"], 0)
        else:
            resumed = json.loads(stopped.out)
        self.assertEqual([p["loss"] for p in resumed["curve"]], [p["loss"] for p in whole["curve"]])

    def test_refusals(self):
        for more, code, part in [
            (["--rank", "100000"], USAGE, "rank is 100000; it can be 1 to 65536"),
            (["--modules", "q,x"], USAGE, 'unknown module "x"'),
            (["--max-tokens", "5"], FAILED, "rows are longer than 5 tokens"),
            (["--device", "nowhere"], FAILED, 'no device "nowhere" here'),
            (["--resume"], FAILED, "no checkpoint"),
        ]:
            with self.subTest(more=more):
                done = self.adapt(*more, code=code)
                self.assertEqual(done.out, "")
                self.assertSays(done.err, part)
        (self.dir / "a.gguf").write_text("")
        self.assertSays(self.adapt(code=USAGE).err, "a.gguf exists already; --force replaces it")

    def test_rows_that_are_scored_later_are_counted(self):
        (self.dir / "eval.jsonl").write_text(rows(3))
        done = self.adapt("--eval", "eval.jsonl", "--max-steps", "1")
        self.assertSays(done.err, "3 training rows are also in eval.jsonl")

    def test_other_architectures_are_refused(self):
        model = gguf.Gguf.read(self.model)
        model.set("general.architecture", gguf.STRING, "gemma")
        model.write(self.dir / "gemma.gguf")
        done = self.edge_eval("adapt", "gemma.gguf", "--task", "summ", "--data", "rows.jsonl", "--out", "g.gguf",
                              code=FAILED)
        self.assertSays(done.err, 'of the architecture "gemma"; llama and qwen2 can be adapted')

    def test_what_is_no_model_is_refused_in_one_line(self):
        (self.dir / "text.gguf").write_text("no model")
        adapter = gguf.Gguf.read(self.model)
        adapter.set("general.type", gguf.STRING, "adapter")
        adapter.write(self.dir / "adapter.gguf")
        (self.dir / "words.txt").write_text("word " * 50)
        for command in (
            ("adapt", "MODEL", "--task", "summ", "--data", "rows.jsonl", "--out", "out.gguf"),
            ("adapt", "MODEL", "--method", "qlora", "--task", "summ", "--data", "rows.jsonl", "--out", "out.gguf"),
            ("merge", "MODEL", "adapter.gguf", "out.gguf"),
            ("quantize", "MODEL", "out.gguf", "--type", "F16"),
            ("synth", "--like", "MODEL", "out.gguf"),
            ("fidelity", "MODEL", "MODEL", "--text", "words.txt"),
            ("bench", "MODEL"),
        ):
            for model, part in [
                ("text.gguf", "is not a GGUF file this build can read"),
                ("adapter.gguf", "is an adapter and no model: give the model that it was trained on"),
            ]:
                with self.subTest(command=command, model=model):
                    done = self.edge_eval(*(model if w == "MODEL" else w for w in command), code=FAILED)
                    self.assertRegex(done.err, rf"\Aedge-eval: {model} {part}.*\n\Z")
                    self.assertFalse((self.dir / "out.gguf").exists())

    def test_the_gpu_script_compares_with_the_cpu(self):
        """A rehearsal of scripts/gpu-adapt.py: ggml's operations on the CPU stand for the GPU's."""
        command = (sys.executable, SOURCE / "scripts" / "gpu-adapt.py", "check", PROGRAM, self.dir, self.model,
                   *THREADS)  # fmt: skip
        done = subprocess.run([*command, "--steps", "2", "--device=--plain-ops"], capture_output=True, text=True, env=environment())
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual([line.split()[:2] for line in done.stdout.splitlines()],
                         [["ok", c] for c in ("f32", "f32", "bf16", "bf16", "f16", "f16")])
        done = subprocess.run([*command, "--steps", "1", "--device=--plain-ops --loss answer"], capture_output=True, text=True,
                              env=environment())
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("FAILED  f32", done.stdout)


if __name__ == "__main__":
    unittest.main()
