"""Plans and task files with mistakes: what is said, and that nothing is measured before it is mended."""

import shutil
import unittest

from harness import DATA, FAILED, OK, USAGE, Case, Run, environment, plan, tiny_model, write_plan

GOOD = '{"id": "a", "context": "The sky is blue.", "question": "What colour is the sky?", "answers": ["blue"]}\n'


class BadPlan(Case):
    def refused(self, content, *parts, env=None):
        write_plan(self.dir, content)
        for extra in (["--out", "out"], ["--dry-run"]):
            done = self.edge_eval("run", "plan.yaml", *extra, code=FAILED, env=env)
            self.assertSays(done.err, *parts)
            self.assertEqual(len(done.err.splitlines()), 1, "one mistake, one line")
            self.assertTrue(done.err.startswith("edge-eval: "), done.err)
            self.assertEqual(done.out, "")
        self.assertFalse((self.dir / "out").exists(), "nothing is made for a plan that is not valid")

    def test_unknown_keys_are_named_with_what_is_allowed(self):
        self.refused(
            "models: [smollm2-135m-instruct]\ntasks:\n  rag: {items: 2}\nprecision: [int4]\n",
            "plan.yaml:4:1: unknown key \"precision\" in the plan; allowed: name, seed, models, methods, precisions",
        )  # fmt: skip
        self.refused(
            "models: [smollm2-135m-instruct]\ntasks:\n  rag: {items: 2, max_token: 4}\n",
            'plan.yaml:3:19: unknown key "max_token" in a task; allowed: items, max_tokens, data',
        )

    def test_wrong_types_and_values(self):
        begin = "models: [smollm2-135m-instruct]\ntasks: {rag: {}}\n"
        self.refused(begin + "seed: many\n", 'plan.yaml:3:7: seed is "many"; it should be a whole number from 0 to')
        self.refused(begin + "precisions: int4\n", "plan.yaml:3:13: precisions should be a list such as [fp16]")
        self.refused(begin + "precisions: [int5]\n", 'plan.yaml:3:14: precisions is "int5"; allowed: fp16, int8, int4')
        self.refused(begin + "serve: [8]\n", "plan.yaml:3:8: serve should be a mapping (key: value); allowed: conc")
        self.refused(begin + "load: {warm: 0, cold: 0}\n", "plan.yaml:3:7: load needs at least one warm or cold start")

    def test_text_that_is_not_yaml(self):
        self.refused("models: [a\ntasks: {rag: {}}\n", "plan.yaml:2:", "not valid YAML")
        self.refused("", "plan.yaml:1:1: the file is empty")

    def test_unknown_and_missing_models(self):
        self.refused(
            "models: [gpt-4]\ntasks: {rag: {}}\n",
            'plan.yaml:1:10: unknown model "gpt-4"; known: smollm2-135m-instruct, ',
            "or give {path: FILE.gguf}",
        )
        self.refused("models: [{path: no/such.gguf}]\ntasks: {rag: {}}\n", "plan.yaml:1:17: no file at ", "no/such.gguf")

    def test_a_known_model_that_is_not_fetched(self):
        empty = self.dir / "empty-cache"
        data = self.dir / "data"
        empty.mkdir()
        shutil.copytree(DATA, data)  # no cache lies beside this one
        env = environment(EDGE_EVAL_CACHE=str(empty), EDGE_EVAL_DATA=str(data))
        self.refused(
            "models: [qwen2.5-7b-instruct]\ntasks: {rag: {}}\n",
            'plan.yaml:1:10: model "qwen2.5-7b-instruct" is known but its file',
            "scripts/fetch-model.py qwen2.5-7b-instruct",
            env=env,
        )

    def test_a_plan_that_is_not_there(self):
        done = self.edge_eval("run", "nowhere.yaml", code=FAILED)
        self.assertSays(done.err, "cannot open nowhere.yaml", "No such file")

    def test_an_id_that_would_leave_the_run_directory(self):
        tiny_model(self.dir)
        self.refused('models: [{path: tiny.gguf, id: "../../x"}]\ntasks: {rag: {}}\n',
                     'plan.yaml:1:32: model id "../../x" becomes a file name')  # fmt: skip

    def test_a_data_directory_that_is_none(self):
        write_plan(self.dir, "models: [smollm2-135m-instruct]\ntasks: {rag: {}}\n")
        env = environment(EDGE_EVAL_DATA=str(self.dir))
        done = self.edge_eval("run", "plan.yaml", "--dry-run", code=FAILED, env=env)
        self.assertSays(done.err, f"cannot open {self.dir}/models.yaml")


class BadTaskFile(Case):
    def setUp(self):
        super().setUp()
        tiny_model(self.dir)

    def plan_with(self, text, **task):
        (self.dir / "items.jsonl").write_text(text, encoding="utf-8")
        task = {"max_tokens": 3, "data": "items.jsonl", **task}
        return plan({"path": "tiny.gguf"}, precisions=["fp16"], tasks={"rag": task})

    def refused(self, text, *parts, **task):
        write_plan(self.dir, self.plan_with(text, **task))
        done = self.edge_eval("run", "plan.yaml", "--out", "out", code=FAILED)
        self.assertSays(done.err, *parts)
        self.assertFalse((self.dir / "out").exists())

    def test_a_broken_line_is_named(self):
        self.refused(GOOD + '{"id": "b", "context": \n', "items.jsonl:2: not valid JSON at column")
        self.refused(GOOD + '{"id": "b", "context": "x"}\n', 'items.jsonl:2: "question" should be a string and is absent; expected {')
        self.refused(GOOD + GOOD, 'items.jsonl:2: the id "a" is already on line 1')

    def test_an_empty_file(self):
        self.refused("", "items.jsonl: holds no items; expected one line for each: {")
        self.refused("\n  \n", "items.jsonl: holds no items")

    def test_lines_past_the_items_asked_for_do_not_matter(self):
        run, _ = self.measure(self.plan_with(GOOD + "broken\n", items=1))
        self.assertEqual(len(run.answers()), 1)

    def test_too_few_items_are_noted_and_measured(self):
        run, done = self.measure(self.plan_with(GOOD, items=5))
        self.assertSays(done.err, "items.jsonl has 1 items, fewer than the 5 asked for")
        self.assertEqual(len(run.answers()), 1)

    def test_a_mended_file_is_taken(self):
        self.refused("[]\n", "items.jsonl:1: not an object; expected")
        run, _ = self.measure(self.plan_with(GOOD))
        self.assertAllDone(run)


class DryRun(Case):
    def test_says_what_would_run_and_writes_nothing(self):
        tiny_model(self.dir)
        write_plan(self.dir, plan({"path": "tiny.gguf", "id": "tiny"},
                                  tasks={"rag": {"items": 3, "max_tokens": 6}, "chat": {"items": 2, "max_tokens": 7}}))  # fmt: skip
        before = sorted(p.name for p in self.dir.iterdir())
        out = self.edge_eval("run", "plan.yaml", "--dry-run").out
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), before)
        self.assertSays(out, "variants (4):", "tiny.none.rag.fp16", "3 items", "answers to 6", "answers to 7")
        stages = dict(line.split()[:2] for line in out.splitlines() if line.startswith("  ") and len(line.split()) <= 3)
        self.assertEqual(stages, {"quantize": "2", "load": "2", "serve": "4", "score": "4", "total": "12"})
        self.assertSays(out, "disk for model files: about 0.03 GB", "memory free:")

    def test_counts_the_fp16_file_that_int4_is_made_from(self):
        tiny_model(self.dir)
        write_plan(self.dir, plan({"path": "tiny.gguf"}, precisions=["int4"]))
        out = self.edge_eval("run", "plan.yaml", "--dry-run").out
        self.assertRegex(out, r"quantize +2\n +load +1\n +serve +1\n +score +1\n +total +5 stages")

    def test_names_a_model_that_cannot_run(self):
        (self.dir / "bad.gguf").write_bytes(b"no model")
        write_plan(self.dir, plan({"path": "bad.gguf"}))
        done = self.edge_eval("run", "plan.yaml", "--dry-run", code=OK)
        self.assertSays(done.out, "bad.none.rag.fp16", "cannot run:", "is not a GGUF file")


class Only(Case):
    def setUp(self):
        super().setUp()
        tiny_model(self.dir)
        self.plan = plan({"path": "tiny.gguf", "id": "tiny"}, precisions=["int4"])

    def kinds(self, run):
        return sorted({kind for (kind,) in run.rows("SELECT kind FROM stage WHERE status = 'done'")})

    def test_a_kind_and_what_it_needs_and_later_the_rest(self):
        write_plan(self.dir, self.plan)
        done = self.edge_eval("run", "plan.yaml", "--out", "out", "--only", "quantize")
        run = Run(self.dir / "out")
        self.assertCountersHold(done.err)
        self.assertEqual(self.kinds(run), ["quantize"])
        self.assertSays(done.out, "int4")
        self.resume("out", code=OK)
        self.assertEqual(self.kinds(run), ["load", "quantize", "score", "serve"])

    def test_only_serve_skips_cold_starts(self):
        write_plan(self.dir, self.plan)
        done = self.edge_eval("run", "plan.yaml", "--out", "out", "--only", "serve")
        self.assertCountersHold(done.err)
        self.assertEqual(self.kinds(Run(self.dir / "out")), ["quantize", "serve"])

    def test_a_kind_that_is_none(self):
        write_plan(self.dir, self.plan)
        done = self.edge_eval("run", "plan.yaml", "--only", "adaptt", code=USAGE)
        self.assertSays(done.err, '--only is "adaptt"; allowed: adapt, merge, quantize, load, serve, score')
        self.assertFalse((self.dir / "runs").exists())

    def test_without_out_the_run_lies_below_runs(self):
        write_plan(self.dir, self.plan)
        for name in ("test", "test-2"):
            done = self.edge_eval("run", "plan.yaml", "--only", "quantize", "--quiet")
            self.assertSays(done.out, f"Report: runs/{name}/report.html")
            self.assertEqual(done.err, "")
            self.assertTrue((self.dir / "runs" / name / "run.db").exists())


if __name__ == "__main__":
    unittest.main()
