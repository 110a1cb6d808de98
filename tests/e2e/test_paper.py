"""The plan of the published matrix, through the same code at toy shapes: seconds on a CPU instead of half an
hour on a GPU."""

import contextlib
import csv
import io
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import unittest

from harness import CACHE, FAILED, OK, PROGRAM, SOURCE, USAGE, Case, Run, environment, in_mount_namespace

PLAN = SOURCE / "plans" / "paper.yaml"
VOCABULARIES = [pathlib.Path(CACHE) / "llama" / "vocab" / f"{name}.gguf" for name in ("llama-bpe", "qwen2")]

SHAPE = """
  - {{id: {id}, family: F, size: S, architecture: {arch}, tokenizer: {vocab}, chat: {chat}, layers: 2, embd: 64, ff: {ff},
     heads: 4, kv_heads: 2, head_dim: 16, vocab: {n}, context: 4096, tied: true, rms_eps: 1.0e-5, rope_base: 10000}}
"""
LLAMA = {"arch": "llama", "vocab": "llama-bpe", "chat": "llama3", "n": 128256}
QWEN = {"arch": "qwen2", "vocab": "qwen2", "chat": "chatml", "n": 152064}
IDS = {
    "llama-3.2-1b": LLAMA, "llama-3.2-3b": LLAMA, "llama-3.1-8b": LLAMA,
    "qwen2.5-1.5b": QWEN, "qwen2.5-3b": QWEN, "qwen2.5-7b": QWEN,
}  # fmt: skip


def toy_plan(*changes):
    """The real plan with toy shapes, and settings that a CPU is done with in seconds."""
    text = PLAN.read_text(encoding="utf-8") + "shapes: toys.yaml\n"
    for pattern, by in [
        (r"items: \d+, max_tokens: \d+", "items: 2, max_tokens: 4"),
        (r"adapt_rows: \[\d+, \d+\]", "adapt_rows: [8, 40]"),
        (r", device: gpu", ""),
        (r"concurrency: \d+", "concurrency: 2"),
        (r"window_s: \d+", "window_s: 0.3"),
        (r"load: .*", "load: {warm: 1, cold: 0}"),
        (r"engine: .*", "engine: {threads: 1}"),
        (r"idle_s: \d+", "idle_s: 0"),
        *changes,
    ]:
        text, n = re.subn(pattern, by, text)
        assert n, f"the plan has nothing like {pattern}"
    return text


ONE_MODEL = (r"  - {synth: (?!llama-3.2-1b).*\n", "")
TWO_TASKS = (r"  summ: .*\n", "")


@unittest.skipUnless(all(p.exists() for p in VOCABULARIES), "the vocabularies are not in the cache: run make deps")
class Paper(Case):
    def setUp(self):
        super().setUp()
        shapes = "chat_templates: {chatml: '<|im_start|>', llama3: '<|start_header_id|> <|end_header_id|>'}\nshapes:"
        shapes += "".join(SHAPE.format(id=i, ff=64 + 32 * n, **kind) for n, (i, kind) in enumerate(IDS.items()))
        (self.dir / "toys.yaml").write_text(shapes, encoding="utf-8")

    def write(self, *changes):
        path = self.dir / "plan.yaml"
        path.write_text(toy_plan(*changes), encoding="utf-8")
        return path

    def test_the_matrix_is_the_published_one(self):
        said = self.edge_eval("run", self.write(), "--dry-run").out
        self.assertSays(said, "variants (72):")
        for line in ("adapt       36", "merge        6", "quantize    18", "load        18", "serve       54"):
            self.assertSays(said, line)

    def check_complete(self, run):
        self.assertAllDone(run)
        kinds = dict(run.rows("SELECT kind, count(*) FROM stage GROUP BY kind"))
        self.assertEqual(kinds, {"adapt": 4, "merge": 1, "quantize": 3, "load": 3, "serve": 6, "score": 8})

    def check_adapting(self, run):
        for task, text in run.rows("SELECT json_extract(inputs_json, '$.task'), result_json FROM stage"
                                   " WHERE kind = 'adapt'"):  # fmt: skip
            result = json.loads(text)
            self.assertEqual(result["rows"], 40)
            self.assertEqual(result["rows_wanted"], {"rag": 15000, "chat": 10000}[task])
            self.assertEqual(len(result["row_step_s"]), 4)
        bases = run.rows("SELECT DISTINCT json_extract(inputs_json, '$.checkpoint_type') FROM stage WHERE kind = 'adapt'")
        self.assertEqual({b for (b,) in bases}, {"F16", "Q4_0"})
        types = run.rows("SELECT json_extract(result_json, '$.type') FROM stage WHERE kind = 'quantize'")
        self.assertEqual({t for (t,) in types}, {"F16", "Q8_0", "Q4_0"})

    def check_serving(self, run):
        for text, n in run.rows("SELECT result_json, (SELECT count(*) FROM request r WHERE r.stage_id = s.stage_id)"
                                " FROM stage s WHERE kind = 'serve'"):  # fmt: skip
            result = json.loads(text)
            self.assertEqual(result["requests"], 2 * result["rounds"])
            self.assertEqual(result["output_tokens"], 4 * result["requests"])
            self.assertGreaterEqual(result["duration_s"], 0.3)
            self.assertEqual(n, result["requests"])
        self.assertEqual(run.rows("SELECT count(*) FROM request WHERE text IS NOT NULL"), [(0,)])

    def check_metrics(self, run):
        by_id = {(m["variant_id"], m["metric"], m["profile"]): m for m in run.metrics()}
        variant = "llama-3.2-1b.qlora.chat.int4"
        score = by_id[variant, "score", "measured"]
        self.assertSays(score["label"], "quality of a published row, not measured")
        self.assertEqual(float(score["value"]), 6.7)
        n_break = by_id[variant, "n_break", "paper"]
        self.assertSays(n_break["label"], "adaptation extrapolated from two counts of rows", "random weights", "modelled")
        ipw = by_id[variant, "ipw_paper", "paper"]
        self.assertSays(ipw["label"], "published row", "random weights")
        self.assertSays(by_id["llama-3.2-1b.lora.chat.int4", "q_ret", "full"]["reason"], "no item was scored")
        prepare = by_id[variant, "prepare_j", "measured"]
        self.assertLess(float(prepare["low"]), float(prepare["value"]))

    def test_pieces_on_machines_that_come_and_go(self):
        plan = self.write(ONE_MODEL, TWO_TASKS)
        self.edge_eval("run", plan, "--out", "here", "--scratch", "models", "--only", "quantize")
        run = Run(self.dir / "here")
        kinds = dict(run.rows("SELECT kind, count(*) FROM stage WHERE status = 'done' GROUP BY kind"))
        self.assertEqual(kinds, {"adapt": 4, "merge": 1, "quantize": 3})
        done = run.done()
        self.assertEqual(list((self.dir / "models").iterdir()), [])
        ended = self.edge_eval("run", "--resume", "here", "--scratch", "models", "--budget", "0.01", code=FAILED)
        self.assertSays(ended.err, "edge-eval run --resume here")
        self.assertEqual(run.done(), done)

        with contextlib.closing(sqlite3.connect(run.path / "run.db")) as db:
            db.execute("UPDATE meta SET value = 'Abacus 2000' WHERE key = 'key_device'")
            db.commit()
        refused = self.edge_eval("run", "--resume", "here", "--scratch", "models", "--same-machine", code=USAGE)
        self.assertSays(refused.err, "the run began on Abacus 2000 and this machine has")
        with contextlib.closing(sqlite3.connect(run.path / "run.db")) as db:
            db.execute("UPDATE meta SET value = 'CPU' WHERE key = 'key_device'")
            db.commit()

        # Another machine: another place, no model file, and a plan and shapes that lie as they did.
        shutil.move(self.dir / "here", self.dir / "there")
        shutil.rmtree(self.dir / "models")
        self.edge_eval("run", "--resume", "there", "--scratch", "elsewhere", "--same-machine")
        run = Run(self.dir / "there")
        self.assertLessEqual(done, run.done())
        self.check_complete(run)
        self.check_adapting(run)
        self.check_serving(run)
        self.check_metrics(run)
        self.assertEqual(list((self.dir / "elsewhere").iterdir()), [])
        self.check_results(run)
        self.check_projection(run)

    def check_results(self, run):
        page = self.edge_eval("reproduce", "--with", "there").out
        self.assertSays(page, "8 of the 72 published variants are measured", "## Not measured")
        self.assertSays(page, "- Llama 3B lora rag fp16: not in the run's plan")
        self.assertSays(page, "| Llama 1B | lora | rag | F16 base", "| Llama 1B | qlora | rag | Q4_0 base")
        rates = {m["variant_id"]: float(m["value"]) for m in run.metrics() if m["metric"] == "output_tokens_per_s"}
        rows = list(csv.DictReader(io.StringIO(self.edge_eval("reproduce", "--with", "there", "--format", "csv").out)))
        self.assertEqual(len(rows), 8)
        for row in rows:
            variant = f"llama-3.2-1b.{row['method']}.{row['task']}.{row['precision']}"
            self.assertEqual(float(row["output_tokens_per_s"]), rates[variant])
            self.assertSays(row["labels"], "random weights")
        self.assertSays(self.edge_eval("reproduce", "there", code=USAGE).err, "--with RUN")
        self.assertSays(self.edge_eval("reproduce", "--with", "there", "-f", "html", code=USAGE).err, "md and csv")

    def check_projection(self, run):
        refused = self.edge_eval("project", "--from", "there", "--to", "t4", code=FAILED).err
        self.assertSays(refused, 'measured on "CPU", whose peaks')
        with contextlib.closing(sqlite3.connect(run.path / "run.db")) as db:
            db.execute("UPDATE variant SET device = 'NVIDIA H100 80GB HBM3'")
            db.commit()
        said = self.edge_eval("project", "--from", "there", "--to", "t4", "--devices", "2").out
        how_far = "How far off: the same carried to two T4, over the published rows"
        self.assertSays(said, "carried to 2 x Tesla T4", how_far, "serve int4")
        elsewhere = self.edge_eval("project", "--from", "there", "--to", "l4").out
        self.assertEqual(elsewhere.partition(how_far)[2], said.partition(how_far)[2])
        self.assertRegex(elsewhere, r"(?s)How far off.*serve int4.*inside \d+ of 4")
        one, two = (
            list(csv.DictReader(io.StringIO(self.edge_eval(
                "project", "--from", "there", "--to", "t4", "--devices", n, "--format", "csv").out)))
            for n in (1, 2)
        )  # fmt: skip
        self.assertEqual([r["stage"] for r in one], ["serve"] * 8 + ["adapt"] * 4)
        for a, b in zip(one, two):
            # Two points a group or fewer: no fixed part, so that two devices take half the time.
            self.assertAlmostEqual(float(a["s"]) / float(b["s"]), 2, 9)
            self.assertLess(float(a["s_low"]), float(a["s"]))
            self.assertLess(float(a["s"]), float(a["s_high"]))
        # LoRA on its tasks: operations alone, at the mean of the achieved shares, on 65 TFLOPS instead of 989.
        measured = run.rows(
            "SELECT json_extract(inputs_json, '$.task'), (end_ns - start_ns) / 1e9 / 32, result_json FROM stage"
            " JOIN energy USING (stage_id) WHERE kind = 'adapt' AND window = 'adapt/rows' AND component = 'total'"
            " AND json_extract(inputs_json, '$.method') = 'lora'"
        )
        tokens = {task: sum(json.loads(r)["row_step_tokens"]) / 32 for task, _, r in measured}
        slowness = sum(s / tokens[task] for task, s, _ in measured) / len(measured)
        for row in one:
            if row["stage"] == "adapt" and row["method"] == "lora":
                self.assertAlmostEqual(float(row["s"]) / (slowness * tokens[row["task"]] * 989 / 65), 1, 9)
        unknown = self.edge_eval("project", "--from", "there", "--to", "abacus", code=USAGE).err
        self.assertSays(unknown, 'no device "abacus"; there are: t4')

    def test_the_script_leaves_what_the_next_piece_needs(self):
        plan = self.write(ONE_MODEL, TWO_TASKS, (r"methods: .*", "methods: {lora: [int4]}"))
        command = [sys.executable, SOURCE / "scripts" / "gpu-paper.py", PROGRAM, plan]
        for piece, seconds, come_from in (1, 24, []), (2, 600, ["--from", "out1/paper-run.tar.xz"]):
            done = subprocess.run(
                [*map(str, command), f"work{piece}", f"out{piece}", "--seconds", str(seconds), *come_from],
                cwd=self.dir, env=environment(), capture_output=True, text=True, check=False,
            )  # fmt: skip
            self.assertIn(done.returncode, [OK, 3] if piece == 1 else [OK], done.stdout + done.stderr)
            self.assertTrue((self.dir / f"out{piece}" / "report.txt").read_text().startswith("run      paper-"))
        self.assertSays((self.dir / "out2" / "progress.txt").read_text(), "2 of 2 variants complete")
        self.assertSays(" ".join((self.dir / "out2" / "report.txt").read_text().split()),
                        "No variant can be named for any task. The cheapest by estimate does not pay at the plan's traffic but",
                        "No score was measured; each energy rests on", "the score of a published row for every variant")  # fmt: skip
        begun, ended = Run(self.dir / "work1" / "run").done(), Run(self.dir / "work2" / "run").done()
        self.assertLessEqual(begun, ended)
        self.assertEqual(list((self.dir / "work2" / "models").iterdir()), [])

    def test_the_script_does_not_ask_to_be_called_again_in_vain(self):
        plan = self.write(ONE_MODEL, TWO_TASKS, (r"methods: .*", "methods: {lora: [int4]}"))
        self.edge_eval("run", plan, "--out", "work/run", "--scratch", "work/models", "--only", "adapt")
        begun = Run(self.dir / "work" / "run").done()
        script = [sys.executable, SOURCE / "scripts" / "gpu-paper.py", PROGRAM, plan, "work", "out", "--seconds", "300"]
        shapes = self.dir / "toys.yaml"
        for hidden, code in (True, FAILED), (False, OK):
            shapes = shapes.rename(self.dir / ("hidden" if hidden else "toys.yaml"))
            done = subprocess.run(list(map(str, script)), cwd=self.dir, env=environment(),
                                  capture_output=True, text=True, check=False)  # fmt: skip
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            if hidden:
                self.assertSays(done.stderr, "toys.yaml", "edge-eval run ended with 1 and did no stage")
                self.assertEqual(done.stdout, "")
                self.assertEqual(Run(self.dir / "work" / "run").done(), begun)
            # What there is is left for the next piece in any case.
            self.assertTrue((self.dir / "out" / "paper-run.tar.xz").exists())

    def test_a_small_disk_holds_the_files_of_one_stage(self):
        plan = self.write(ONE_MODEL, TWO_TASKS, (r"methods: .*", "methods: {lora: [int8, int4]}"))
        # Base, merged and two quantized files are about 80 MB; the two largest of one stage 50 MB.
        script = 'mkdir small; mount -t tmpfs -o size=60m tmpfs small; "$EE" run "$1" --out out --scratch small'
        done = in_mount_namespace(script, self.dir, plan)
        self.assertEqual(done.code, OK, done)
        self.assertSays(done.err, "the disk is short")
        self.assertAllDone(Run(self.dir / "out"))

    def test_without_published_quality_nothing_is_made_of_answers(self):
        plan = self.write(ONE_MODEL, TWO_TASKS, (r"methods: .*", "methods: {none: [int4]}"), (r"quality: .*\n", ""))
        self.edge_eval("run", plan, "--out", "out")
        run = Run(self.dir / "out")
        self.assertAllDone(run)
        refused = {m["metric"] for m in run.metrics() if "random weights: the answers mean nothing" in m["reason"]}
        self.assertLessEqual({"score", "ipw_paper", "ipj"}, refused)

    def test_mistakes_are_named(self):
        for change, code, part in [
            ((r"synth: llama-3.2-1b", "synth: llama-9"), FAILED, 'no shape "llama-9" in'),
            ((r"synth: llama-3.2-1b", "synth: llama-3.2-1b, path: x.gguf"), FAILED, "a path or a synth, not both"),
            ((r"family: Llama, size: 1B", "family: Other, size: 1B"), FAILED, "has no row of Other 1B"),
            ((r"adapt_rows: \[8, 40\]", "adapt_rows: [8, 12]"), FAILED, "multiples of batch x accumulate"),
        ]:
            with self.subTest(part=part):
                done = self.edge_eval("run", self.write(ONE_MODEL, TWO_TASKS, change), "--out", "out", code=code)
                self.assertSays(done.err, part)
                self.assertFalse((self.dir / "out").exists())
        done = self.edge_eval("run", self.write(), "--same-machine", code=USAGE)
        self.assertSays(done.err, "--same-machine goes with --resume")


if __name__ == "__main__":
    unittest.main()
