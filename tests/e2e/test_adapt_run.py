"""Runs that adapt the model before they serve it: stages, resuming, other trainers. On the tiny model."""

import json
import sys
import unittest

import gguf
import hf
from harness import FAILED, PROGRAM, Case, Run, plan, tiny_model, write_plan


def rows(n):
    return "".join(json.dumps({"id": f"t{i}", "context": f"The shed number {i} is painted green.",
                               "question": f"Which colour has shed {i}?", "answers": {"text": ["green"]}}) + "\n"
                   for i in range(n))


class Adapted(Case):
    def setUp(self):
        super().setUp()
        tiny_model(self.dir)
        (self.dir / "rows.jsonl").write_text(rows(12))
        self.model = {"path": "tiny.gguf", "id": "tiny"}

    def content(self, **adapt):
        settings = {"data": {"rag": "rows.jsonl"}, "rank": 4, "batch": 2, "epochs": 2, **adapt}
        return plan(self.model, methods=["none", "lora", "qlora"], adapt=settings)

    def test_stages_energy_and_figures(self):
        run, _ = self.measure(self.content())
        self.assertAllDone(run)
        titles = [t for t, _ in run.stages()]
        for title in ("adapt tiny rag lora", "merge tiny rag lora", "quantize tiny rag lora int4",
                      "load tiny rag qlora fp16", "serve tiny rag qlora int4"):
            self.assertIn(title, titles)
        self.assertEqual(titles.count("adapt tiny rag lora"), 1, "both precisions share one adapter")
        windows = {w for (w,) in run.rows("SELECT window FROM energy JOIN stage USING (stage_id) WHERE kind = 'adapt'")}
        self.assertEqual(windows, {"adapt", "adapt/load", "adapt/steps", "adapt/save"})
        steps = run.rows("SELECT step, epoch, loss, validation_loss FROM training JOIN stage USING (stage_id)"
                         " WHERE title = 'adapt tiny rag lora' ORDER BY step")
        self.assertEqual([(s, e) for s, e, *_ in steps], [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)])
        self.assertEqual([v for *_, v in steps], [None] * 6)
        bases = dict(run.rows("SELECT title, json_extract(result_json, '$.base') FROM stage WHERE kind = 'adapt'"))
        self.assertEqual(bases, {"adapt tiny rag lora": "f16", "adapt tiny rag qlora": "q4_1"})
        prepare = {r["variant_id"]: r["label"] for r in run.metrics() if r["metric"] == "prepare_j" and r["value"]}
        self.assertIn("tiny.lora.rag.int4", prepare)
        self.assertNotIn("no adaptation", prepare["tiny.lora.rag.int4"])
        report = " ".join(self.edge_eval("report", "out").out.split())
        self.assertRegex(report, r"- rag qlora: \d+ tokens at .* a token, at most .* MB; load .* J in .* s, steps ")
        self.assertRegex(report, r"within the steps forward [\d.]+ s, backward [\d.]+ s, optimiser [\d.]+ s; loss ")
        self.assertRegex(report, r"- rag, QLoRA against LoRA: [\d.]+ of the memory, ~?[\d.]+ times the joules")
        merged = gguf.Gguf.read(self.dir / "out" / "artifacts" / "tiny.lora.rag.fp16.gguf")
        base = gguf.Gguf.read(self.dir / "out" / "artifacts" / "tiny.none.fp16.gguf")
        name = "blk.0.attn_q.weight"
        data = [next(t.data for t in g.tensors if t.name == name) for g in (merged, base)]
        self.assertNotEqual(bytes(data[0]), bytes(data[1]), "the adapter changed nothing")

    def test_a_killed_run_trains_to_the_same_adapter(self):
        content = self.content(epochs=12)
        whole, done = self.measure(content, "whole")
        write_plan(self.dir, content)
        for share in (0.2, 0.35, 0.5):
            args = ("--resume", "out") if (self.dir / "out" / "run.db").exists() else ("plan.yaml", "--out", "out")
            self.kill_after(self.start("run", *args), share * done.seconds)
        run, _ = self.resume()
        self.assertAllDone(run)
        self.assertSameResults(run, whole)
        hashes = [r.rows("SELECT title, hash FROM artifact JOIN stage USING (stage_id) WHERE artifact.kind = 'adapter'"
                         " ORDER BY 1") for r in (run, whole)]
        self.assertEqual(*hashes)
        prepare = {r["variant_id"]: r for r in run.metrics() if r["metric"] == "prepare_j"}
        resumed = run.rows("SELECT title, json_extract(result_json, '$.resumed_from') > 0 FROM stage"
                           " WHERE kind = 'adapt'")  # fmt: skip
        for title, went_on in resumed:
            row = prepare[f"tiny.{title.split()[-1]}.rag.int4"]
            self.assertEqual("the training was resumed" in row["reason"], bool(went_on), row)
            self.assertEqual(row["value"] == "", bool(went_on), "what a killed process spent is in no window")

    def test_a_changed_setting_trains_again_and_nothing_else(self):
        run, _ = self.measure(self.content())
        before = {t for t, _ in run.stages("title || key, status") if not t.startswith(("adapt", "merge"))}
        again = write_plan(self.dir, {**self.content(lr=1e-3), "methods": ["none"]}, "again.yaml")
        self.edge_eval("run", again, "--out", "other")
        kept = {t for t, _ in Run(self.dir / "other").stages("title || key, status")}
        self.assertLessEqual(kept, before, "stages without an adapter do not depend on its settings")

    def test_another_program_may_train(self):
        self.edge_eval("adapt", "tiny.gguf", "--task", "rag", "--data", "rows.jsonl", "--out", "made.gguf", "--rank",
                       "4", "--max-steps", "1", "-q")
        trainer = self.dir / "trainer.py"
        trainer.write_text("import shutil, sys\nprint(sys.argv)\nshutil.copy(sys.argv[1], sys.argv[2])\n")
        content = self.content(command=[sys.executable, str(trainer), str(self.dir / "made.gguf"), "{out}", "{task}"])
        run, _ = self.measure({**content, "methods": ["lora"], "precisions": ["fp16"]})
        self.assertAllDone(run)
        self.assertIn("'rag'", (run.path / "logs" / "adapt-command.log").read_text())

    def test_a_peft_trainer_leaves_what_import_takes(self):
        """The recipe of docs/trainers.md, with a trainer that has learned already."""
        checkpoint, peft = hf.checkpoint(self.dir / "checkpoint", "llama3"), hf.adapter(self.dir / "learned")
        self.edge_eval("import", str(checkpoint), "imported.gguf", "--type", "F16")
        self.model = {"path": "imported.gguf", "id": "imported"}
        (self.dir / "train.sh").write_text(f"""set -e
            cp -r '{peft}' "$3.peft"
            '{PROGRAM}' import --adapter "$3.peft" "$1" "$3"
            """)
        content = self.content(command=["sh", str(self.dir / "train.sh"), "{model}", "{data}", "{out}"])
        tasks = {"rag": {"items": 2, "max_tokens": 4, "data": "rows.jsonl"}}  # bytes are tokens: few fit
        run, _ = self.measure({**content, "methods": ["lora"], "precisions": ["fp16"], "tasks": tasks})
        self.assertAllDone(run)
        (merged,) = run.rows("SELECT json_extract(result_json, '$.merged') FROM stage WHERE kind = 'merge'")
        self.assertEqual(merged, (hf.LAYERS * len(hf.MODULES),))

    def test_a_trainer_that_fails_costs_its_variants(self):
        for script, part in (("import sys; sys.exit(3)", "ended with status 3"),
                             ("pass", "ended well and left no"),
                             ("import sys; open(sys.argv[1], 'w').write('x' * 100)", "not a GGUF file")):
            with self.subTest(part=part):
                out = f"out-{len(part)}"
                content = self.content(command=[sys.executable, "-c", script, "{out}"])
                run, _ = self.measure({**content, "methods": ["none", "lora"], "precisions": ["fp16"]}, out=out, code=FAILED)
                code, error = run.failures()["adapt tiny rag lora"]
                self.assertSays(error, part)
                done = dict(run.stages())
                self.assertEqual(done["serve tiny rag fp16"], "done")
                self.assertNotIn("serve tiny rag lora fp16", done)

    def test_plans_that_cannot_train_are_refused(self):
        for adapt, part in (({"rank": 0}, "rank"), ({"epoch": 3}, 'unknown key "epoch" in adapt'),
                            ({"data": {"rag": "none.jsonl"}}, "no training rows for rag at"),
                            ({"command": "train.sh"}, "command should be a list")):  # fmt: skip
            with self.subTest(adapt=adapt):
                write_plan(self.dir, self.content(**adapt))
                done = self.edge_eval("run", "plan.yaml", "--dry-run", code=FAILED)
                self.assertSays(done.err, "plan.yaml:", part)


if __name__ == "__main__":
    unittest.main()
