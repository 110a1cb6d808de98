"""edge-eval audit on the published rows, on CSV files of a user, and on runs whose store is tampered with."""

import contextlib
import csv
import json
import random
import shutil
import sqlite3

import harness

CLEAN_COLUMNS = (
    "stage,family,size,method,task,precision,repeat,energy_j,power_mean_w,duration_s,energy_source,scope,coverage,"
    "is_short,gpus,gpu_model,load_s,load_j,n_requests,n_failed,concurrency,max_tokens,lengths,output_tokens,"
    "output_tokens_max,output_tokens_per_s,ttft_mean_ms,itl_mean_ms,e2e_max_ms,train_rows,score,score_se,score_max,"
    "items,passes,throttled_share,other_processes"
).split(",")


def clean_rows(seed=1):
    """What a careful team would hand in: nothing in it is weak."""
    rng = random.Random(seed)

    def near(x):
        return x * rng.uniform(0.99, 1.01)

    rows = []
    for family in "AB":
        for task in ("rag", "chat"):
            for k, precision in enumerate(("fp16", "int8", "int4")):
                keys = {"family": family, "size": "1B", "method": "lora", "task": task, "precision": precision}

                def window(watts, seconds, keys=keys):
                    return {
                        **keys, "duration_s": f"{seconds:.3f}", "power_mean_w": f"{watts:.3f}",
                        "energy_j": f"{near(watts * seconds):.3f}", "energy_source": "counter", "scope": "GPU only",
                        "coverage": "1", "is_short": "0", "gpus": "1", "gpu_model": "Tesla T4", "throttled_share": "0",
                        "other_processes": "0",
                    }  # fmt: skip

                rows.append({**window(near(62), near(5000)), "stage": "adapt", "train_rows": "10000"})
                request_s = near(300 / (1 + k))
                for repeat in ("", *range(5)):
                    n = 100 if repeat != "" else 500
                    seconds = n * request_s / 8 * rng.uniform(0.995, 1.005)
                    tokens = int(n * 201.37 * rng.uniform(0.99, 1.01))
                    gap_ms = 1000 * request_s / (tokens / n)
                    rows.append({
                        **window(near(60), seconds), "stage": "serve", "repeat": repeat, "n_requests": n, "n_failed": 0,
                        "concurrency": 8, "max_tokens": 400, "lengths": "natural", "output_tokens": tokens,
                        "output_tokens_max": 390, "output_tokens_per_s": f"{tokens / seconds:.4f}",
                        "ttft_mean_ms": f"{gap_ms:.4f}", "itl_mean_ms": f"{gap_ms:.4f}",
                        "e2e_max_ms": f"{2000 * request_s:.2f}", "load_s": f"{near(10):.3f}", "load_j": f"{near(300):.3f}",
                    })  # fmt: skip
                rows.append({
                    **keys, "stage": "score", "score": ("0.8", "0.80001", "0.7")[k], "score_se": "0.0005",
                    "score_max": 1, "items": 500000, "passes": 1,
                })  # fmt: skip
    return rows


class Audit(harness.Case):
    def audit(self, *sources, **more):
        return json.loads(self.edge_eval("audit", *sources, "--json", **more).out)

    def write(self, rows, columns=CLEAN_COLUMNS, name="mine.csv"):
        path = self.dir / name
        with open(path, "w", newline="", encoding="utf-8") as f:
            out = csv.DictWriter(f, columns, extrasaction="ignore")
            out.writeheader()
            out.writerows(rows)
        return path

    def found(self, doc):
        return sorted({f["rule"] for f in doc["findings"]})

    def finding(self, doc, rule):
        found = [f for f in doc["findings"] if f["rule"] == rule]
        self.assertTrue(found, f"{rule} found nothing; others: {self.found(doc)}")
        return found[0]

    def refused(self, doc):
        return {r["rule"]: r["refused"] for r in doc["rules"] if r["refused"]}


class PublishedAudit(Audit):
    def test_finds_what_is_weak_in_the_published_rows(self):
        doc = self.audit("--published")
        self.assertEqual(self.found(doc), [
            "batch-latency", "c-tax-ratio", "constant-tokens", "energy-mismatch", "energy-power-time",
            "insensitive-metric", "outlier", "power-limit", "repeated-training", "retention-noise", "short-window",
            "unequal-conditions",
        ])  # fmt: skip
        rows = {f["rule"]: {(r["family"], r["size"], r["method"], r["task"], r["precision"]) for r in f["rows"]}
                for f in doc["findings"]}  # fmt: skip
        self.assertEqual(rows["outlier"], {("Llama", "3B", "lora", "summ", None)})
        self.assertEqual(rows["energy-mismatch"], {("Qwen", "7B", "lora", "rag", "int8")})
        order = [f["severity"] for f in doc["findings"]]
        self.assertEqual(order, sorted(order, key=["serious", "warning", "note"].index))
        self.assertEqual(doc, self.audit(harness.SOURCE / "data" / "reference"))

    def test_text_fits_100_columns(self):
        text = self.edge_eval("audit", "--published").out
        self.assertLessEqual(max(map(len, text.splitlines())), 100)
        self.assertSays(text, "serious  power-limit", "69 of 72 serve rows", "why   ", "do    ", "could not look: ")

    def test_rules_are_listed_and_documented(self):
        listed = [line.split()[0] for line in self.edge_eval("audit", "--rules").out.splitlines()]
        documented = (harness.SOURCE / "docs" / "audit.md").read_text(encoding="utf-8")
        self.assertEqual(len(set(listed)), len(listed))
        for rule in listed:
            self.assertIn(f"| `{rule}` |", documented)


class CsvAudit(Audit):
    def test_nothing_is_found_in_clean_measurements(self):
        doc = self.audit(self.write(clean_rows()))
        self.assertEqual(doc["findings"], [])
        self.assertEqual(self.refused(doc), {})

    def test_shuffled_columns_give_the_same_findings(self):
        rows = clean_rows(2)
        rows[3]["energy_j"] = str(2 * float(rows[3]["energy_j"]))
        want = self.audit(self.write(rows))
        self.assertIn("energy-mismatch", self.found(want))
        for seed in range(3):
            columns = list(CLEAN_COLUMNS)
            random.Random(seed).shuffle(columns)
            self.assertEqual(self.audit(self.write(rows, columns)), want)

    def test_a_missing_column_refuses_the_rules_that_need_it(self):
        needs = {"coverage": ["coverage-gap"], "n_failed": ["failed-requests"], "gpu_model": ["power-limit"],
                 "scope": ["mixed-scopes"], "concurrency": ["batch-latency"]}  # fmt: skip
        for column, rules in needs.items():
            path = self.write(clean_rows(), [c for c in CLEAN_COLUMNS if c != column])
            doc = self.audit(path)
            self.assertEqual(list(self.refused(doc)), rules)
            self.assertEqual(doc["findings"], [])

    def test_bad_cells_are_named_and_the_rest_is_audited(self):
        rows = clean_rows()
        rows[1]["energy_j"] = "NaN"
        rows[2]["duration_s"] = "-3"
        rows[3]["n_requests"] = "many"
        rows[4]["coverage"] = "0.5"
        doc = self.audit(self.write(rows))
        cells = self.finding(doc, "bad-cell")["finding"]
        self.assertSays(cells, 'mine.csv:3: column energy_j is "NaN"', 'mine.csv:4: column duration_s is "-3", which is negative',
                        'mine.csv:5: column n_requests is "many"')  # fmt: skip
        self.assertEqual([r["where"] for r in self.finding(doc, "coverage-gap")["rows"]], ["mine.csv:6"])

    def test_counts_read_as_a_person_writes_them(self):
        rows = clean_rows()
        rows[1]["energy_j"] = "NaN"
        text = self.edge_eval("audit", self.write(rows)).out
        self.assertRegex(text, rf"^{len(rows)} rows, \d+ rules: 1 serious finding, \d+ ")

    def test_what_cannot_be_audited(self):
        empty = self.dir / "empty.csv"
        empty.write_text("")
        done = self.edge_eval("audit", empty, code=harness.FAILED)
        self.assertSays(done.err, "empty.csv: the file is empty")
        done = self.edge_eval("audit", self.dir / "none", code=harness.FAILED)
        self.assertSays(done.err, "there is no run directory and no CSV file")
        self.edge_eval("audit", code=harness.USAGE)
        self.edge_eval("audit", "--published", empty, code=harness.USAGE)


class RunAudit(Audit):
    def measured(self):
        """A small run with repeats, made once and copied for each change."""
        if not hasattr(RunAudit, "made"):
            model = {"path": str(harness.f16_model(self.dir)), "id": "tiny"}
            run, _ = self.measure(harness.plan(model, serve={"concurrency": 2, "repeats": 4}, load={"warm": 4, "cold": 0}))
            RunAudit.made = harness.tempfile.mkdtemp(prefix="edge-eval-test-")
            self.addClassCleanup(shutil.rmtree, RunAudit.made, ignore_errors=True)
            shutil.copytree(run.path, RunAudit.made, dirs_exist_ok=True)
        return RunAudit.made

    def tampered(self, *statements):
        copy = self.dir / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.measured(), copy)
        with contextlib.closing(sqlite3.connect(copy / "run.db")) as db:
            for sql in statements:
                self.assertGreater(db.execute(sql).rowcount, 0, sql)
            db.commit()
        return self.audit(copy)

    def test_a_run_without_a_sensor(self):
        doc = self.tampered("UPDATE energy SET quality = 'modelled' WHERE joules IS NOT NULL")
        self.finding(doc, "modelled-energy")
        self.finding(doc, "short-window")
        self.assertFalse({"energy-power-time", "impossible-tokens", "coverage-gap", "failed-requests", "mixed-scopes",
                          "batch-latency", "duplicate-row"} & set(self.found(doc)), self.found(doc))  # fmt: skip

    def test_each_fault_in_a_run_is_found(self):
        faults = {
            "coverage-gap": "UPDATE energy SET coverage = 0.6 WHERE window = 'serve/1'",
            "mixed-scopes": "UPDATE energy SET scope = 'node' WHERE window = 'serve/1' AND component = 'total'",
            "energy-mismatch": "UPDATE energy SET joules = 2 * mean_w * (end_ns - start_ns) / 1e9 WHERE window = 'serve/2'",
            "constant-power": "UPDATE energy SET joules = 8.5 * (end_ns - start_ns) / 1e9, mean_w = 8.5"
            " WHERE window LIKE 'serve/%'",
            "failed-requests": "UPDATE request SET status = 'failed', error = 'x' WHERE ordinal = 1",
            "impossible-tokens": "UPDATE request SET output_tokens = 7 WHERE ordinal = 0",
            "repeat-drift": "UPDATE cold_start SET context_s = context_s * (1 + repeat)",
            "batch-latency": "UPDATE request SET queued_ns = done_ns - (done_ns - queued_ns) / 20,"
            " first_token_ns = done_ns - (done_ns - queued_ns) / 40, last_token_ns = done_ns WHERE repeat = 1"
            " AND ordinal < 3",
        }
        for rule, sql in faults.items():
            with self.subTest(rule):
                doc = self.tampered(sql)
                self.finding(doc, rule)
                before = self.tampered("UPDATE meta SET value = value")
                if rule not in ("repeat-drift",):  # a machine that is busy may drift by itself
                    self.assertNotIn(rule, self.found(before))

    def test_a_run_is_audited_without_being_changed(self):
        path = harness.pathlib.Path(self.measured())
        before = (path / "run.db").read_bytes()
        self.edge_eval("audit", path)
        self.assertEqual((path / "run.db").read_bytes(), before)
