"""The commands that stand alone, their help, and wrong usage."""

import json
import re
import subprocess
import unittest

from harness import FAILED, MODEL, MODEL_ID, OK, PROGRAM, USAGE, Case, environment, plan, tiny_model, write_plan

COMMANDS = ("run", "report", "fidelity", "quantize", "synth", "models")


class Help(Case):
    def test_overview_and_version(self):
        for args in (["help"], ["--help"], ["-h"]):
            out = self.edge_eval(*args).out
            self.assertTrue(out.startswith("usage: edge-eval COMMAND"), out)
            for command in COMMANDS:
                self.assertRegex(out, rf"(?m)^  {command} +\S")
            self.assertNotIn("worker", out)
        done = self.edge_eval(code=USAGE)
        self.assertEqual(done.out, "")
        self.assertSays(done.err, "usage: edge-eval COMMAND")
        self.assertRegex(self.edge_eval("--version").out, r"^edge-eval \d+\.\d+\.\d+\n$")

    def test_every_command_explains_itself(self):
        listed = re.findall(r"(?m)^  (\w[\w-]*) +\S", self.edge_eval("help").out)
        self.assertLessEqual(set(COMMANDS), set(listed))
        for command in listed:
            out = self.edge_eval("help", command).out
            self.assertEqual(self.edge_eval(command, "--help").out, out)
            self.assertTrue(out.startswith(f"usage: edge-eval {command}"), out)
            for option in re.findall(r"--[a-z-]+", out.split("\n\n")[0]):
                self.assertRegex(out, rf"(?m)^  .*{option}\b", f"{option} of the usage line is explained")
            self.assertTrue(all(len(line) <= 100 for line in out.splitlines()), out)

    def test_wrong_usage_is_answered_on_stderr_with_2(self):
        for args, part in [
            (["bench-mark"], 'unknown command "bench-mark"; known: run '),
            (["help", "nothing"], 'unknown command "nothing"'),
            (["run", "--outt", "x"], "unknown option --outt (see: edge-eval help run)"),
            (["run"], "usage: edge-eval run PLAN"),
            (["run", "a.yaml", "b.yaml"], 'unexpected argument "b.yaml"'),
            (["run", "a.yaml", "--out"], "--out needs a value: --out DIR"),
            (["run", "a.yaml", "--out", ""], "--out is empty"),
            (["run", "a.yaml", "--dry-run=yes"], "--dry-run takes no value"),
            (["run", "a.yaml", "--resume", "x"], "a plan or --resume, not both"),
            (["run", "--resume", "x", "--out", "y"], "--resume goes with none of --out, --dry-run and --prices"),
            (["report"], "usage: edge-eval report RUN"),
            (["report", "x", "--format", "pdf"], '--format is "pdf"; allowed: text, csv, json, html, md'),
            (["quantize", "a.gguf"], "usage: edge-eval quantize"),
            (["quantize", "a.gguf", "b.gguf"], "--type is needed"),
            (["quantize", "a.gguf", "b.gguf", "--type", "Q3"], '--type is "Q3"; allowed: F16, BF16, Q8_0'),
            (["quantize", "a.gguf", "b.gguf", "--type", "F16", "--threads", "two"],
             '--threads should be a whole number and is "two"'),
            (["worker"], "workers are started by edge-eval run, not by hand"),
        ]:  # fmt: skip
            with self.subTest(args=args):
                done = self.edge_eval(*args, code=USAGE)
                self.assertEqual(done.out, "")
                self.assertSays(done.err, part)
                self.assertTrue(done.err.startswith("edge-eval: "), done.err)
        self.assertEqual(list(self.dir.iterdir()), [])

    def test_report_of_what_is_no_run(self):
        (self.dir / "file").write_text("x")
        (self.dir / "empty").mkdir()
        for name, code, part in [
            ("nowhere", FAILED, "there is no run directory nowhere"),
            ("empty", FAILED, "empty is not a run directory: it has no run.db"),
            ("file", USAGE, "file is not a directory"),
        ]:
            self.assertSays(self.edge_eval("report", name, code=code).err, part)


class Quantize(Case):
    def test_writes_each_type_and_counts_its_tensors(self):
        tiny_model(self.dir)
        for name, types in [("F16", "f16 15"), ("Q8_0", "q8_0 15"), ("Q4_0", "q4_0 14"), ("BF16", "bf16 15")]:
            out = self.edge_eval("quantize", "tiny.gguf", f"{name}.gguf", "--type", name, "--threads", "1").out
            self.assertRegex(out, rf"^{name}\.gguf: \d+\.\d MB in \d+\.\d s, tensors:.* {types}\b.*\n$")
            self.assertIn(" f32 5", out)
            self.assertTrue((self.dir / f"{name}.gguf").exists())
        sizes = [(self.dir / f"{name}.gguf").stat().st_size for name in ("F16", "Q8_0", "Q4_0")]
        self.assertEqual(sizes, sorted(sizes, reverse=True))

    def test_equal_input_gives_an_equal_file(self):
        tiny_model(self.dir)
        for name, threads in (("a", 1), ("b", 2)):
            self.edge_eval("quantize", "tiny.gguf", f"{name}.gguf", "--type", "Q4_0", "--threads", threads)
        self.assertEqual((self.dir / "a.gguf").read_bytes(), (self.dir / "b.gguf").read_bytes())

    def test_mistakes(self):
        tiny = tiny_model(self.dir)
        (self.dir / "text.gguf").write_text("no model")
        (self.dir / "cut.gguf").write_bytes(tiny.read_bytes()[:5_000_000])
        for args, code, part in [
            (["nowhere.gguf", "out.gguf"], FAILED, "nowhere.gguf: No such file"),
            (["text.gguf", "out.gguf"], FAILED, "text.gguf is not a GGUF file"),
            (["cut.gguf", "out.gguf"], FAILED, "cut.gguf is cut off"),
            (["tiny.gguf", "text.gguf"], USAGE, "text.gguf exists already"),
            (["tiny.gguf", "tiny.gguf"], USAGE, "tiny.gguf exists already"),
            (["tiny.gguf", "no/such/out.gguf"], FAILED, "cannot "),
        ]:
            with self.subTest(args=args):
                done = self.edge_eval("quantize", *args, "--type", "F16", code=code)
                self.assertSays(done.err, part)
                self.assertFalse((self.dir / "out.gguf").exists())
        self.assertEqual((self.dir / "text.gguf").read_text(), "no model")


class Models(Case):
    def test_lists_known_models_and_where_they_are(self):
        out = self.edge_eval("models").out
        (line,) = [line for line in out.splitlines() if line.startswith(MODEL_ID)]
        self.assertSays(line, "SmolLM2", "135M", "Apache-2.0", str(MODEL) if MODEL.exists() else "(not here)")
        self.assertSays(out, "scripts/fetch-model.py ID fetches one")

    def test_json_says_the_same(self):
        rows = json.loads(self.edge_eval("models", "--json").out)
        listed = [line.split()[0] for line in self.edge_eval("models").out.splitlines()[1:] if line][: len(rows)]
        self.assertEqual([r["id"] for r in rows], listed)
        for row in rows:
            self.assertLessEqual({"id", "family", "size", "license", "file", "path", "note"}, set(row))

    def test_files_are_found_in_the_cache_that_is_named(self):
        cache = self.dir / "cache"
        (cache / "models").mkdir(parents=True)
        (cache / "models" / MODEL.name).write_bytes(b"")
        env = environment(EDGE_EVAL_CACHE=str(cache))
        rows = json.loads(self.edge_eval("models", "--json", env=env).out)
        self.assertEqual({r["id"]: r["path"] for r in rows}[MODEL_ID], str(cache / "models" / MODEL.name))

    def test_a_result_that_nobody_gets_is_no_success(self):
        for command in ("models", "--json"), ("synth", "--list", "--json"):
            with self.subTest(command=command), open("/dev/full", "wb") as full:
                done = subprocess.run([PROGRAM, *command], env=environment(), stdout=full,
                                      stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
                self.assertEqual(done.returncode, FAILED)
                self.assertSays(done.stderr, "cannot write to standard output: No space left on device")


class Terminal(Case):
    """Where output goes, and from where the program works."""

    def test_results_on_stdout_and_progress_on_stderr(self):
        tiny_model(self.dir)
        _, done = self.measure(plan({"path": "tiny.gguf", "id": "tiny"}, precisions=["fp16"]))
        self.assertNotIn("\033", done.out + done.err, "no colours and no bars without a terminal")
        self.assertNotIn("done", done.out)
        self.assertSays(done.err, "quantize tiny fp16", "done")

    def test_it_finds_its_data_and_paths_from_another_directory(self):
        tiny_model(self.dir)
        write_plan(self.dir, plan({"path": "tiny.gguf", "id": "tiny"}, precisions=["fp16"]))
        other = self.dir / "elsewhere"
        other.mkdir()
        self.edge_eval("run", "../plan.yaml", "--out", "../out", "--only", "quantize", cwd=other)
        done = self.edge_eval("run", "--resume", self.dir / "out", cwd="/", code=OK)
        self.assertSays(done.out, f"Report: {self.dir}/out/report.html")


if __name__ == "__main__":
    unittest.main()
