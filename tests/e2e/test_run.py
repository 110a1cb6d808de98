"""A whole run with the real model: its files, its figures, its reports, and the same run killed."""

import json
import pathlib
import random
import shutil
import struct
import tempfile
import unittest

from harness import (
    CSV_HEADER,
    MODEL,
    MODEL_ID,
    USAGE,
    Case,
    Run,
    edge_eval,
    plan,
    tiny_model,
    write_plan,
)

RAG = {"items": 3, "max_tokens": 24}  # enough for answers to end by themselves
CHAT = {"items": 2, "max_tokens": 12}
WHOLE = plan(MODEL_ID, name="whole", tasks={"rag": RAG, "chat": CHAT}, load={"warm": 1, "cold": 1})
VARIANTS = [f"{MODEL_ID}.none.{task}.{precision}" for task in ("rag", "chat") for precision in ("fp16", "int4")]


class WholeRun(Case):
    """One run of WHOLE, looked at from all sides."""

    @classmethod
    def setUpClass(cls):
        if not MODEL.exists():
            raise unittest.SkipTest(f"the default model is not at {MODEL}: run make deps")
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="edge-eval-whole-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        write_plan(cls.shared, WHOLE)
        cls.outcome = edge_eval("run", "plan.yaml", "--out", "out", cwd=cls.shared)
        if cls.outcome.code != 0:
            raise AssertionError(cls.outcome)
        cls.run_dir = Run(cls.shared / "out")

    def test_writes_the_five_files_and_says_where(self):
        names = {p.name for p in self.run_dir.path.iterdir()}
        self.assertLessEqual({"run.db", "manifest.json", "metrics.csv", "metrics.json", "report.html"}, names)
        self.assertSays(self.outcome.out, "Report: out/report.html")
        self.assertCountersHold(self.outcome.err)

    def test_metrics_csv_has_the_header_and_every_variant(self):
        first_line = (self.run_dir.path / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
        self.assertEqual(first_line, ",".join(CSV_HEADER))
        rows = self.run_dir.metrics()
        self.assertEqual(list(dict.fromkeys(r["variant_id"] for r in rows)), VARIANTS)
        ids = {(r["metric"], r["profile"]) for r in rows}
        self.assertEqual({profile for _, profile in ids}, {"paper", "full", "measured"})
        for variant in VARIANTS:
            own = {(r["metric"], r["profile"]): r for r in rows if r["variant_id"] == variant}
            self.assertEqual(set(own), ids, "every variant has every metric")
            measured = ("score", "output_tokens_per_s", "joules_per_request")
            keys = [(m, "measured") for m in measured] + [("rho_sys", "paper"), ("c_tax", "paper"), ("ipj", "full")]
            for key in keys:
                self.assertGreaterEqual(float(own[key]["value"]), 0, own[key])
            self.assertLessEqual(float(own["score", "measured"]["value"]), 1, own["score", "measured"])
        for r in rows:
            self.assertEqual(r["value"] == "", r["reason"] != "", f"a value or a reason why not: {r}")

    def test_metrics_json_and_manifest_parse(self):
        metrics = json.loads((self.run_dir.path / "metrics.json").read_text(encoding="utf-8"))
        self.assertTrue(metrics)
        manifest = json.loads((self.run_dir.path / "manifest.json").read_text(encoding="utf-8"))
        run_id = self.run_dir.metrics()[0]["run_id"]
        self.assertEqual(manifest["run_id"], run_id)
        self.assertEqual(manifest["plan"], (self.shared / "plan.yaml").read_text())
        self.assertEqual([m["id"] for m in manifest["models"]], [MODEL_ID])
        self.assertEqual({t["task"]: t["items"] for t in manifest["tasks"]}, {"rag": 3, "chat": 2})
        self.assertTrue(manifest["machine"]["cpu"] and manifest["engine_version"])

    def test_table_fits_100_columns(self):
        for line in self.outcome.out.splitlines():
            self.assertLessEqual(len(line), 100, line)

    def test_scores_are_in_their_range_for_every_item(self):
        scores = self.run_dir.scores()
        self.assertTrue(all(0 <= value <= 1 for *_, value, _ in scores), scores)
        for variant in VARIANTS:
            items = {item for v, item, *_ in scores if v == variant}
            self.assertEqual(len(items), 3 if ".rag." in variant else 2, variant)

    def test_requests_have_ordered_times_and_a_time_for_each_token(self):
        rows = self.run_dir.rows(
            "SELECT queued_ns, started_ns, first_token_ns, last_token_ns, done_ns, output_tokens, events, text"
            " FROM request"
        )
        self.assertEqual(len(rows), 2 * (3 + 2))
        for *times, tokens, events, text in rows:
            self.assertEqual(times, sorted(times))
            steps = struct.unpack(f"<{len(events or b'') // 4}I", events or b"")
            self.assertEqual(len(steps), max(tokens - 1, 0))
            self.assertEqual(list(steps), sorted(steps))
            self.assertEqual(tokens > 0, bool(text))

    def test_energy_intervals_hold_their_value(self):
        rows = self.run_dir.rows("SELECT window, component, joules, low_j, high_j FROM energy WHERE joules NOT NULL")
        self.assertTrue(rows)
        for window, component, joules, low, high in rows:
            self.assertTrue(low <= joules <= high, (window, component, joules, low, high))

    def test_variants_share_equal_stages(self):
        kinds = [kind for (kind,) in self.run_dir.rows("SELECT kind FROM stage")]
        self.assertEqual({k: kinds.count(k) for k in kinds}, {"quantize": 2, "load": 2, "serve": 4, "score": 4})
        for row in self.run_dir.rows("SELECT cache, count(*), min(first_token_s) FROM cold_start GROUP BY cache"):
            self.assertGreater(row[2], 0)

    def test_report_repeats_what_the_run_wrote(self):
        text = self.edge_eval("report", "out", cwd=self.shared).out
        self.assertEqual(text + "Report: out/report.html\n", self.outcome.out)
        for fmt, name in (("csv", "metrics.csv"), ("json", "metrics.json"), ("html", "report.html")):
            out = self.edge_eval("report", "out", "--format", fmt, cwd=self.shared).out
            self.assertEqual(out, (self.run_dir.path / name).read_text(encoding="utf-8"), fmt)
        md = self.edge_eval("report", "out", "-f", "md", "-o", self.dir / "r.md", cwd=self.shared)
        self.assertEqual(md.out, "")
        self.assertSays((self.dir / "r.md").read_text(encoding="utf-8"), "| task", "int4")

    def test_report_takes_several_runs_where_the_format_can(self):
        rows = self.edge_eval("report", "out", "out", "--format", "csv", cwd=self.shared).out.splitlines()
        self.assertEqual(len(rows), 1 + 2 * len(self.run_dir.metrics()))
        refused = self.edge_eval("report", "out", "out", "--format", "json", cwd=self.shared, code=USAGE)
        self.assertSays(refused.err, "one run at a time")

    def test_a_directory_with_a_run_is_refused(self):
        before = self.run_dir.done()
        done = self.edge_eval("run", "plan.yaml", "--out", "out", cwd=self.shared, code=USAGE)
        self.assertSays(done.err, "out holds a run already", "edge-eval run --resume out", "another --out")
        self.assertEqual(self.run_dir.done(), before)

    def test_resuming_a_finished_run_does_nothing_again(self):
        before = self.run_dir.done()
        done = self.edge_eval("run", "--resume", "out", cwd=self.shared)
        self.assertEqual(self.run_dir.done(), before)
        self.assertEqual(done.err.count("reused"), len(before))
        self.assertEqual(done.out, self.outcome.out)

    def test_killed_at_seeded_moments_and_resumed_gives_the_same(self):
        moments = random.Random(20260)
        seen = set()
        write_plan(self.dir, WHOLE)
        run = Run(self.dir / "out")
        for i in range(4):
            args = ("--resume", "out") if (run.path / "run.db").exists() else ("plan.yaml", "--out", "out")
            going = self.start("run", *args)
            going.wait_for("Measuring into")
            killed = self.kill_after(going, moments.uniform(0.3, 0.35 * self.outcome.seconds))
            self.assertTrue(killed or i > 0, "the run was over before its first kill")
            now = run.done()
            self.assertLessEqual(seen, now, f"kill {i}: a finished stage was lost or done again")
            seen = now
        self.resume()
        self.assertLessEqual(seen, run.done(), "a finished stage was done again")
        self.assertAllDone(run)
        self.assertSameResults(run, self.run_dir)

    def test_forced_lengths_score_the_natural_answers(self):
        forced, done = self.measure(
            {**WHOLE, "precisions": ["int4"], "tasks": {"rag": RAG}, "serve": {"concurrency": 2, "lengths": "forced"},
             "load": {"warm": 1, "cold": 0}}
        )  # fmt: skip
        self.assertCountersHold(done.err)
        self.assertEqual({(finish, n) for *_, finish, _, n, _ in forced.answers()}, {("forced", RAG["max_tokens"])})
        (result,) = forced.rows("SELECT result_json FROM stage WHERE kind = 'serve'")
        self.assertEqual(json.loads(result[0])["lengths"], "forced")
        natural = [a for a in self.run_dir.answers() if a[0] == f"{MODEL_ID}.none.rag.int4"]
        self.assertIn("stop", {a[5] for a in natural}, "no answer ends by itself: the comparison would mean nothing")
        scores = [s for s in self.run_dir.scores() if s[0] == f"{MODEL_ID}.none.rag.int4"]
        self.assertEqual(forced.scores(), scores)


class Answers(Case):
    """What decides an answer, on the tiny model."""

    def test_equal_plans_give_equal_answers_in_every_repeat(self):
        model = {"path": str(tiny_model(self.dir)), "id": "tiny"}
        content = plan(model, precisions=["fp16"], serve={"concurrency": 2, "repeats": 2})
        first, _ = self.measure(content, "first")
        second, _ = self.measure(content, "second")
        self.assertSameResults(first, second)
        answers = first.answers()
        self.assertEqual(*[[a[2:] for a in answers if a[1] == repeat] for repeat in (0, 1)])

    def test_sampled_answers_come_from_the_seed(self):
        model = {"path": str(tiny_model(self.dir)), "id": "tiny"}
        content = plan(model, precisions=["fp16"], serve={"concurrency": 2, "repeats": 2}, seed=5,
                       sampling={"temperature": 1, "top_k": 40})  # fmt: skip
        first, _ = self.measure(content, "first")
        again, _ = self.measure(content, "again")
        other, _ = self.measure({**content, "seed": 6}, "other")
        self.assertSameResults(first, again)
        texts = lambda run, repeat: [a[8] for a in run.answers() if a[1] == repeat]
        self.assertNotEqual(texts(first, 0), texts(other, 0))
        self.assertNotEqual(texts(first, 0), texts(first, 1), "repeats of a sampled run are different draws")
        self.assertEqual({row[2] for row in first.scores()}, {0, 1}, "each draw is a pass of its own")


if __name__ == "__main__":
    unittest.main()
