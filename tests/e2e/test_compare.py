"""edge-eval compare on real runs of a small model."""

import contextlib
import json
import shutil
import sqlite3

import harness

COST = {
    "deployment": "cloud", "cloud": 0.35, "traffic": "50/h", "peak": "50/h", "ops": 0, "labour": 0, "variable": 0,
    "refresh": 0, "recurring": 0, "accept": 0.01, "fallback": 0.01,
}  # fmt: skip


class Compare(harness.Case):
    def make(self, out, **changes):
        model = {"path": str(harness.f16_model(self.dir, out + ".gguf")), "id": "tiny"}
        plan = harness.plan(model, serve={"concurrency": 2, "repeats": 5}, **changes)
        run, _ = self.measure(plan, out=out)
        return run.path

    def compare(self, *args, **more):
        return json.loads(self.edge_eval("compare", *args, "--json", **more).out)

    def names(self, group):
        return [v["name"] for v in group["variants"]]

    def test_one_run(self):
        path = self.make("out", tasks={"rag": {"items": 3, "max_tokens": 6}, "summ": {"items": 3, "max_tokens": 6}})
        doc = self.compare(path)
        self.assertEqual([g["task"] for g in doc["groups"]], ["rag", "summ"])
        for group in doc["groups"]:
            self.assertEqual(self.names(group), ["fp16", "int4"])
            self.assertTrue(any(v["frontier"] for v in group["variants"]))
            for v in group["variants"]:
                self.assertEqual(v["frontier"], v["dominated_by"] is None)
                self.assertIsNone(v["cost"]["value"])
                self.assertIsNotNone(v["cost"]["reason"])
                for axis in ("quality", "energy", "latency", "memory"):
                    self.assertIsNotNone(v[axis]["value"], axis)
            [d] = group["differences"]
            self.assertEqual((d["a"], d["b"]), ("int4", "fp16"))
            self.assertEqual(d["memory"]["verdict"], "less")
            self.assertEqual(d["cost"]["verdict"], "refused")
            self.assertEqual(d["latency"]["verdict"], "undetermined")  # 15 requests bound no 95th percentile
            self.assertSays(d["sentence"], "int4 against fp16: ", "it needs ", " less memory")
            self.assertTrue(any("energy a request stands in for it" in note for note in group["notes"]))
        text = self.edge_eval("compare", path).out
        self.assertSays(text, "rag, scored by f1", "summ, scored by ", "frontier", "int4 against fp16: ")
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_costs_of_the_plan_are_compared(self):
        [group] = self.compare(self.make("out", cost=COST))["groups"]
        for v in group["variants"]:
            self.assertGreater(v["cost"]["value"], 0)
        self.assertNotEqual(group["differences"][0]["cost"]["verdict"], "refused")
        self.assertEqual([n for n in group["notes"] if n.startswith("cost")], [])

    def test_other_costs_without_measuring_again(self):
        path = self.make("out", cost=COST)
        dear = ("--set", "cloud=3.5", "--set=ops=1")
        before, after = (self.compare(path, *args)["groups"][0]["variants"] for args in ((), dear))
        for v, w in zip(before, after):
            self.assertGreater(w["cost"]["value"], 2 * v["cost"]["value"])
            self.assertEqual(w["energy"], v["energy"])
        self.assertEqual(self.compare(path, *dear)["sets"], ["cloud=3.5", "ops=1"])
        self.assertSays(self.edge_eval("compare", path, *dear).out, "what if  cloud=3.5, ops=1, prices of ")
        ours = self.dir / "ours.yaml"
        ours.write_text("currency: USD\ncloud:\n  ours: {per_hour: 0.7, gpus: 1, bill_minimum_s: 60, bill_step_s: 1, source: ours, date: 2026-11-01}\n")
        told = self.compare(path, "--prices", ours, "--set", "cloud=ours")["groups"][0]["variants"]
        self.assertGreater(told[0]["cost"]["value"], before[0]["cost"]["value"])
        done = self.edge_eval("compare", path, "--set", "clout=3", code=harness.USAGE)
        self.assertSays(done.err, "clout")

    def test_two_runs_and_what_is_not_compared(self):
        left = self.make("left")
        right = self.dir / "right"
        shutil.copytree(left, right)
        with contextlib.closing(sqlite3.connect(right / "run.db")) as db:
            db.execute("UPDATE energy SET scope = 'node' WHERE component = 'total'")
            db.execute("UPDATE meta SET value = 'right' WHERE key = 'run_id'")
            db.commit()
        [group] = self.compare(left, right)["groups"]
        self.assertEqual(len(self.names(group)), len(set(self.names(group))))
        between = ("--between", "int4 right", f"{self.run_id(left)} int4")
        [d] = self.compare(left, right, *between)["groups"][0]["differences"]
        self.assertEqual(d["energy"]["verdict"], "refused")
        self.assertSays(d["energy"]["reason"], "unlike parts of the machine")
        self.assertEqual(d["memory"]["verdict"], "same")
        self.assertEqual(d["quality"]["verdict"], "undetermined")
        self.assertTrue(any("not compared between unlike scopes" in note for note in group["notes"]))

    def run_id(self, path):
        [(value,)] = harness.Run(path).rows("SELECT value FROM meta WHERE key = 'run_id'")
        return value

    def test_bad_usage(self):
        self.edge_eval("compare", code=harness.USAGE)
        done = self.edge_eval("compare", self.dir / "none", code=harness.FAILED)
        self.assertSays(done.err, "there is no run directory")
        path = self.make("out")
        done = self.edge_eval("compare", path, "--between", "int5", "fp16", code=harness.USAGE)
        self.assertSays(done.err, '"int5" names no variant; there are: rag fp16, rag int4')
        self.edge_eval("compare", path, "--between", "int4", code=harness.USAGE)
