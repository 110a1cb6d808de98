"""edge-eval reproduce against two recomputations: the stored goldens, and one made here."""

import csv
import importlib.util
import io
import json
import os
import shutil

import harness

METRICS = ("n_break", "ipw_paper", "rho_sys", "c_tax", "q_ret")
KEYS = ("family", "size", "method", "task", "precision")


def recompute():
    """{(keys..., metric): value} from data/reference by exact arithmetic, without src/metrics."""
    path = harness.SOURCE / "scripts" / "goldens" / "make_paper_goldens.py"
    spec = importlib.util.spec_from_file_location("make_paper_goldens", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    serve, train, quality = (maker.load(n, k) for n, k in
                             (("inference", maker.KEYS), ("training", maker.KEYS[:4]), ("quality", maker.KEYS)))  # fmt: skip
    return {
        (*key, metric): float(value)
        for key in serve
        for metric, value in zip(METRICS, maker.metrics(key, serve, train, quality))
        if value is not None
    }


def goldens():
    with open(harness.SOURCE / "tests" / "goldens" / "metrics" / "paper.csv", newline="", encoding="utf-8") as f:
        return {
            (*(row[k] for k in KEYS), metric): float(row[metric])
            for row in csv.DictReader(f)
            for metric in METRICS
            if row[metric]
        }


def results(values):
    """Without what is 100 by definition."""
    return {key: v for key, v in values.items() if not (key[-1] == "q_ret" and "fp16" in key)}


class Reproduce(harness.Case):
    def rows(self, **more):
        done = self.edge_eval("reproduce", "--format", "csv", **more)
        self.assertEqual(done.err, "")
        return list(csv.DictReader(io.StringIO(done.out)))

    def test_every_value_of_the_csv_is_that_of_two_recomputations(self):
        rows = self.rows()
        self.assertEqual(list(rows[0]), [*KEYS, "metric", "value"])
        got = {(*(row[k] for k in KEYS), row["metric"]): row["value"] for row in rows}
        self.assertEqual(len(got), len(rows), "a row is there twice")
        self.assertEqual(len(rows), 4 * 72 + 36)
        for want in (recompute(), goldens()):
            want = results(want)
            self.assertEqual(set(got), set(want))
            for key, value in want.items():
                self.assertLessEqual(abs(float(got[key]) / value - 1), 1e-12, key)
        for text in got.values():
            self.assertEqual(f"{float(text):.17g}", text)

    def test_from_a_lone_checkout_and_from_an_installed_tree(self):
        want = self.rows()
        bare = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_EVAL")}
        self.assertEqual(self.rows(env=bare), want)
        for data in ("share/edge-eval/data", "bin/data"):
            tree = self.dir / data.replace("/", "-")
            (tree / "bin").mkdir(parents=True)
            shutil.copy(harness.PROGRAM, tree / "bin" / "edge-eval")
            shutil.copytree(harness.SOURCE / "data", tree / data)
            started = harness.Started([str(tree / "bin" / "edge-eval"), "reproduce", "--format", "csv"], "/", bare)
            done = started.wait()
            self.assertEqual(done.code, harness.OK, done)
            self.assertEqual(list(csv.DictReader(io.StringIO(done.out))), want)

    def test_text_shows_claims_and_json_holds_both(self):
        text = self.edge_eval("reproduce").out
        self.assertLessEqual(max(map(len, text.splitlines())), 100)
        self.assertSays(text, "13.80", "27.52", "6929.8", "91.38 %", "holds in part", "does not hold")
        doc = json.loads(self.edge_eval("reproduce", "--format", "json").out)
        self.assertEqual(len(doc["variants"]), 72)
        self.assertEqual({c["id"]: c["verdict"] for c in doc["claims"]}, {
            "n_break": "holds in part", "rho_sys": "holds", "ipw_paper": "holds",
            "adaptation": "does not hold", "q_ret": "does not hold", "c_tax": "holds",
        })  # fmt: skip
        values = {(*(v[k] for k in KEYS), m): x for v in doc["variants"] for m, x in v["metrics"].items() if x is not None}
        self.assertEqual(values, {(*(r[k] for k in KEYS), r["metric"]): float(r["value"]) for r in self.rows()})

    def test_bad_usage(self):
        self.edge_eval("reproduce", "--format", "xml", code=harness.USAGE)
        self.edge_eval("reproduce", "something", code=harness.USAGE)
        env = harness.environment(EDGE_EVAL_DATA=str(self.dir / "none"))
        done = self.edge_eval("reproduce", code=harness.FAILED, env=env)
        self.assertSays(done.err, "none/reference/inference.csv")
