"""edge-eval metrics on a measured run: costs of the plan, what-ifs, prices, and what is refused."""

import csv
import io
import json
import math
import pathlib
import shutil
import tempfile
import unittest

from harness import FAILED, OK, USAGE, Case, Run, edge_eval, f16_model, plan, write_plan

COST = {
    "deployment": "cloud", "cloud": 0.05, "bill_minimum": "60s", "bill_step": "1s", "boot": "60s",
    "ops": 0, "labour": 25, "refresh": 0, "traffic": "400/h", "peak": "900/h", "api": "gpt-4.1",
    "accept": 0.5, "fallback": 0.01, "discount": 0.08,
}  # fmt: skip


class Metrics(Case):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="edge-eval-test-"))
        try:
            model = {"path": str(f16_model(cls.shared)), "id": "tiny"}
            content = plan(model, cost=COST, serve={"concurrency": 2, "repeats": 5})
            path = write_plan(cls.shared, content)
            cls.outcome = edge_eval("run", path, "--out", "out", cwd=cls.shared)
        except unittest.SkipTest:
            shutil.rmtree(cls.shared)
            raise
        assert cls.outcome.code == OK, cls.outcome
        cls.run_dir = cls.shared / "out"

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def metrics(self, *args, **more):
        return self.edge_eval("metrics", self.run_dir, *args, **more)

    def rows(self, *args):
        text = self.metrics("--format", "csv", *args).out
        rows = csv.DictReader(io.StringIO(text))
        return {(r["metric"], r["profile"]): r for r in rows if r["precision"] == "int4"}

    def figure(self, metric, *args):
        return float(self.rows(*args)[metric, "full"]["value"])

    def test_the_run_keeps_its_prices_and_reports_both_profiles(self):
        manifest = json.loads((self.run_dir / "manifest.json").read_text(encoding="utf-8"))
        self.assertEqual(manifest["prices"]["api"]["gpt-4.1"]["input"], 2)
        stored = {(r["metric"], r["profile"]): r for r in Run(self.run_dir).metrics() if r["precision"] == "int4"}
        self.assertEqual(
            stored["n_break", "full"]["value"], self.rows()["n_break", "full"]["value"], "the same later as then"
        )
        self.assertSays(self.outcome.out, "profile  full", "profile  paper")

    def test_break_even_is_what_the_document_says(self):
        doc = json.loads(self.metrics("--json").out)
        variant = next(v for v in doc["variants"] if v["precision"] == "int4")
        x = variant["economics"]["fields"]
        api = (x["api_uncached_tokens"] * 2 + x["api_output_tokens"] * 8) / 1e6
        replicas = max(1, math.ceil(400 * 2.25 / (x["capacity_per_h"] * 0.8)))
        once = 25 + 0.05 * max(math.ceil(x["once_s"] + 60), 60) / 3600
        saving = 400 * api - 0.05 * replicas
        row = next(r for r in variant["rows"] if r["metric"] == "n_break" and r["profile"] == "full")
        self.assertAlmostEqual(row["value"] / (400 * once / saving), 1, delta=1e-9)
        self.assertTrue(doc["costing"]["is_given"])
        self.assertEqual([p["name"] for p in doc["costing"]["prices"]], ["gpt-4.1"])

    def test_what_if(self):
        base = self.figure("n_break")
        self.assertLess(self.figure("n_break", "--set", "traffic=800/h", "--set=peak=900/h"), base)
        self.assertGreater(self.figure("n_break", "--set", "cloud=0.1"), base)
        self.assertEqual(self.figure("n_break", "--set", "electricity=5"), base, "it is in the rent")
        never = self.rows("--set", "traffic=1/h", "--set", "peak=2/h")["n_break", "full"]
        self.assertEqual(never["value"], "inf")
        self.assertSays(never["reason"], "never: at 1 requests/h", "it pays from")
        self.assertEqual(self.figure("n_break"), base, "nothing was stored")

    def test_prices_of_ones_own(self):
        own = self.dir / "own.yaml"
        entry = "api: {gpt-4.1: {input: 4, output: 16, source: our contract, date: 2026-01-01}}\n"
        own.write_text("currency: USD\n" + entry)
        base = self.figure("api_request_usd")
        self.assertAlmostEqual(self.figure("api_request_usd", "--prices", own), 2 * base, delta=1e-12)
        self.assertSays(self.metrics("--prices", own).out, "api gpt-4.1: our contract, 2026-01-01")
        own.write_text("currency: USD\n" + entry.replace("input: 4", "input: -4"))
        rows = self.rows("--prices", own)
        self.assertSays(rows["n_break", "full"]["reason"], "own.yaml:2:", "input of api gpt-4.1 is -4, which is negative")
        self.assertNotEqual(rows["request_usd", "full"]["value"], "", "the rest is still computed")
        own.write_text("currency: EUR\n" + entry)
        self.assertSays(self.rows("--prices", own)["api_request_usd", "full"]["reason"], "in EUR, all else in USD")
        own.write_text("api: {gpt-4.1: {input: cheap}}\n")
        self.assertSays(self.metrics("--prices", own, code=FAILED).err, "own.yaml:1:24: input is \"cheap\"")
        self.assertSays(self.metrics("--prices", self.dir / "gone.yaml", code=FAILED).err, "gone.yaml")

    def test_the_text_fits_and_says_what_is_refused(self):
        text = self.metrics().out
        self.assertTrue(all(len(line) <= 100 for line in text.splitlines()), text)
        self.assertSays(
            text, "N_break with one input changed", "<- the plan", "assumed  ", "excluded ops, refresh",
            "price    api gpt-4.1", "Refused:", "idle_w", "embodied_gco2e: not given: lifetime, embodied",
            "the power of one request needs concurrency 1",
        )  # fmt: skip
        paper = self.metrics("--profile", "paper").out
        self.assertIn("profile  paper", paper)
        self.assertNotIn("profile  full", paper)
        one = self.metrics("--variant", "tiny.none.rag.fp16").out
        self.assertIn("(tiny.none.rag.fp16)", one)

    def test_no_figure_of_a_table_is_cut(self):
        sets = ("traffic=2e10/h", "peak=3e10/h", "pue=1.2", "carbon=germany", "idle_w=5")
        args = [word for each in sets for word in ("--set", each)]
        text = self.metrics(*args, "--profile", "full").out
        self.assertNotIn("\u2026", text)
        row = self.rows(*args)["replicas", "full"]
        self.assertGreater(float(row["value"]), 9999)
        self.assertRegex(text, rf"int4 +{int(float(row['value']))} ")

    def test_wrong_usage(self):
        for args, said in (
            (["--set", "traffic=500"], 'traffic is "500"; it should be a rate'),
            (["--set", "trafic=500/h"], 'no cost key "trafic"'),
            (["--set"], "--set needs KEY=VALUE"),
            (["--variant", "nobody"], "it has: tiny.none.rag.fp16"),
            (["--profile", "both"], "profile"),
        ):
            with self.subTest(args=args):
                self.assertSays(self.metrics(*args, code=USAGE).err, said)
        self.assertSays(self.edge_eval("metrics", code=USAGE).err, "usage: edge-eval metrics RUN")
        self.assertSays(self.edge_eval("metrics", "nowhere", code=FAILED).err, "no run directory")
        self.assertSays(self.edge_eval("metrics", "--keys").out, "traffic          mean rate of requests")

    def test_a_plans_mistake_is_told_before_anything_is_measured(self):
        content = plan({"path": "none.gguf"}, cost={"traffic": 500})
        done = self.edge_eval("run", write_plan(self.dir, content), code=FAILED)
        self.assertSays(done.err, "plan.yaml:")
        ours = self.dir / "prices.yaml"
        ours.write_text("electricity: {x: {per_kwh: 1, source: s, date: 2026-01-01}}\n")
        done = self.edge_eval("run", "plan.yaml", "--prices", ours, code=FAILED)
        self.assertSays(done.err, "prices.yaml:1:18: electricity x has no currency")


if __name__ == "__main__":
    unittest.main()
