"""Memory and disks that run out, and workers that die or hang: each costs its variants, no more."""

import json
import os
import resource
import signal
import unittest

import harness
from harness import FAILED, OK, Case, Run, f16_model, memory_limit, plan, tiny_model, write_plan

# Long enough for a worker to be met while it serves.
LONG = {"rag": {"items": 2, "max_tokens": 400}}
MIB = 1 << 20


class Machine(Case):
    def setUp(self):
        super().setUp()
        self.model = {"path": "tiny.gguf", "id": "tiny"}
        tiny_model(self.dir)
        self.run_dir = Run(self.dir / "out")

    def check_failure(self, run, done, title, code, *parts):
        """That stage alone failed, its score was skipped, and int4 was measured."""
        self.assertEqual(done.code, FAILED, done)
        self.assertEqual(set(run.failures()), {title}, done)
        got, error = run.failures()[title]
        self.assertEqual(got, code, error)
        self.assertSays(error, *parts)
        self.assertSays(done.err, f"{title}", "failed: ", "edge-eval run --resume out")
        self.assertCountersHold(done.err)
        scored = {v for v, *_ in run.scores()}
        self.assertEqual(scored, {"tiny.none.rag.int4"}, "the other variant is measured")
        self.assertSays(done.out, "failed: serve:")

    def check_mended(self, **more):
        before = self.run_dir.done()
        done = self.edge_eval("run", "--resume", "out", code=OK, **more)
        self.assertLessEqual(before, self.run_dir.done(), "what was done stays done")
        self.assertAllDone(self.run_dir)
        self.assertEqual(self.run_dir.failures(), {}, done)


class Workers(Machine):
    def harm_first_serve(self, sig, **changes):
        """Sends a signal to the worker that serves fp16; the run's end."""
        write_plan(self.dir, plan(self.model, tasks=LONG, **changes))
        going = self.start("run", "plan.yaml", "--out", "out")
        going.wait_for("load tiny fp16")
        os.kill(going.wait_for_worker(), sig)
        return going.wait()

    def test_one_that_crashes(self):
        done = self.harm_first_serve(signal.SIGSEGV)
        self.check_failure(self.run_dir, done, "serve tiny rag fp16", "crash",
                           "the worker (serve) was killed by signal 11 (Segmentation fault)", "out/logs/serve.log")  # fmt: skip
        self.assertSays(done.err, "score tiny rag fp16", "skipped: not run, because serve failed",
                        "1 stages failed and 1 were not run")  # fmt: skip
        self.check_mended()

    def test_one_that_is_killed(self):
        done = self.harm_first_serve(signal.SIGKILL)
        self.check_failure(self.run_dir, done, "serve tiny rag fp16", "crash", "was killed by signal 9 (Killed)")
        self.check_mended()

    def test_one_that_hangs(self):
        done = self.harm_first_serve(signal.SIGSTOP, stage_timeout_s=10)
        self.check_failure(self.run_dir, done, "serve tiny rag fp16", "timeout",
                           "the worker (serve) did not finish in 10 s and was stopped", "raise stage_timeout_s")  # fmt: skip
        self.check_mended()

    def test_one_that_dies_while_a_model_is_inspected(self):
        """Before any stage: the model counts as unusable, and the resumed run looks again."""
        write_plan(self.dir, plan(self.model))
        going = self.start("run", "plan.yaml", "--out", "out")
        worker = going.wait_for_worker()
        os.kill(worker, signal.SIGKILL)
        done = going.wait()
        if done.code == OK:
            self.skipTest("the worker was done before it could be killed")
        self.assertSays(done.err, "model tiny cannot be used: the worker (inspect) was killed by signal 9")
        self.check_mended()

    def test_the_kernel_ends_one_for_memory(self):
        """The context takes 400 MiB; the group has 250."""
        content = plan(self.model, serve={"concurrency": 4, "context": 65536}, precisions=["fp16"])
        write_plan(self.dir, content)
        with memory_limit(250 * MIB) as enter:
            done = self.start("run", "plan.yaml", "--out", "out", before_exec=enter).wait()
        self.assertEqual(done.code, FAILED, done)
        code, error = self.run_dir.failures()["serve tiny rag fp16"]
        self.assertEqual(code, "out_of_memory", error)
        self.assertSays(error, "the worker (serve) was killed by the kernel because memory ran out")
        self.check_mended()


class Memory(Machine):
    def test_a_context_that_no_machine_holds_is_refused(self):
        content = plan(self.model, serve={"concurrency": 256, "context": 10_000_000})
        run, done = self.measure(content, code=FAILED)
        for precision in ("fp16", "int4"):
            code, error = run.failures()[f"serve tiny rag {precision}"]
            self.assertEqual(code, "out_of_memory")
            self.assertRegex(error, r"tiny\.none\.\w+\.gguf needs \d+\.\d GiB \(weights 0\.0, KV cache \d+\.\d\) and "
                                    r"\d+\.\d GiB are free; use a smaller precision, context or concurrency")  # fmt: skip
        self.assertEqual(len([s for s in run.stages() if s == ("load tiny fp16", "done")]), 1)

    def test_weights_that_do_not_fit_are_refused_before_they_are_loaded(self):
        """In a machine that says it has 20 MB: room for int4 (9 MB) and not for fp16 (24 MB)."""
        f16_model(self.dir)
        write_plan(self.dir, plan({"path": "tiny-f16.gguf", "id": "tiny"}))
        script = """
            sed 's/^MemAvailable:.*/MemAvailable: 20000 kB/' /proc/meminfo > meminfo
            mount --bind meminfo /proc/meminfo
            code=0; "$EE" run plan.yaml --out out || code=$?
            umount /proc/meminfo
            exit $code
        """
        done = harness.in_mount_namespace(script, self.dir)
        self.assertEqual(done.code, FAILED, done)
        failures = self.run_dir.failures()
        self.assertEqual(set(failures), {"load tiny fp16", "serve tiny rag fp16"}, done)
        self.assertEqual({code for code, _ in failures.values()}, {"out_of_memory"})
        self.assertSays(failures["load tiny fp16"][1], "tiny-f16.gguf has 0.0 GiB and 0.0 GiB of memory are free",
                        "use a smaller precision or model")  # fmt: skip
        self.assertEqual({v for v, *_ in self.run_dir.scores()}, {"tiny.none.rag.int4"})
        self.check_mended()

    def test_prompts_longer_than_the_context_fail_alone(self):
        short = '{"id": "short", "context": "The sky is blue.", "question": "Colour?", "answers": ["blue"]}\n'
        long = '{"id": "long", "context": "%s", "question": "Colour?", "answers": ["blue"]}\n' % ("The sky is blue. " * 200)
        (self.dir / "items.jsonl").write_text(short + long)
        tasks = {"rag": {"max_tokens": 5, "data": "items.jsonl"}}
        run, done = self.measure(plan(self.model, precisions=["fp16"], tasks=tasks, serve={"concurrency": 2, "context": 256}))
        by_item = {a[3]: a for a in run.answers()}
        self.assertEqual(by_item["short"][4], "ok")
        self.assertEqual(by_item["long"][4:6], ("failed", "error"))
        (error,) = run.rows("SELECT error FROM request WHERE item_id = 'long'")
        self.assertRegex(error[0], r"prompt of \d+ and answer of 5 tokens do not fit the context of 256")
        (result,) = run.rows("SELECT result_json FROM stage WHERE kind = 'serve'")
        self.assertLessEqual({"ok": 1, "failed": 1}.items(), json.loads(result[0]).items())
        self.assertEqual({s[1] for s in run.scores()}, {"short"})

    def test_when_no_prompt_fits_the_stage_fails_with_the_reason(self):
        text = '{"id": "long", "context": "%s", "question": "Colour?", "answers": ["blue"]}\n' % ("The sky is blue. " * 200)
        (self.dir / "items.jsonl").write_text(text)
        tasks = {"rag": {"max_tokens": 5, "data": "items.jsonl"}}
        run, _ = self.measure(plan(self.model, precisions=["fp16"], tasks=tasks, serve={"context": 256}), code=FAILED)
        self.assertRegex(run.failures()["serve tiny rag fp16"][1],
                         r"all 1 requests failed, the first because: prompt of \d+ and answer of 5 tokens do not fit")  # fmt: skip


class Disk(Machine):
    def test_no_room_for_one_precision(self):
        """18 MB are free: int4 of an F16 file fits (9 MB), its int8 (13 MB) beside it does not."""
        f16_model(self.dir)
        write_plan(self.dir, plan({"path": "tiny-f16.gguf", "id": "tiny"}, precisions=["fp16", "int4", "int8"]))
        script = """
            mkdir disk; mount -t tmpfs -o size=18m tmpfs disk
            code=0; "$EE" run plan.yaml --out disk/out || code=$?
            cp -r disk/out out
            exit $code
        """
        done = harness.in_mount_namespace(script, self.dir)
        self.assertEqual(done.code, FAILED, done)
        self.assertEqual(set(self.run_dir.failures()), {"quantize tiny int8"}, done)
        code, error = self.run_dir.failures()["quantize tiny int8"]
        self.assertEqual(code, "disk_full")
        self.assertSays(error, "the int8 file of tiny needs about 0.01 GB", "free at disk/out", "choose another --out")
        self.assertEqual({v for v, *_ in self.run_dir.scores()}, {"tiny.none.rag.fp16", "tiny.none.rag.int4"})
        self.assertEqual([p.name for p in (self.run_dir.path / "artifacts").iterdir()], ["tiny.none.int4.gguf"])
        self.check_mended()  # a run may be moved to a disk with room

    def test_no_room_for_results_ends_the_run_and_keeps_it(self):
        """At sizes where the database, a stage's rows, or the report's files do not fit."""
        f16_model(self.dir)
        content = plan({"path": "tiny-f16.gguf", "id": "tiny"}, precisions=["fp16"], load={"warm": 10, "cold": 0})
        write_plan(self.dir, content)
        script = """
            mkdir -p disk; mount -t tmpfs -o size=$1k tmpfs disk
            code=0; "$EE" run plan.yaml --out disk/out || code=$?
            cp -r disk/out out$1
            exit $code
        """
        failed = 0
        for size in (180, 220, 260, 295):
            done = harness.in_mount_namespace(script, self.dir, size)
            failed += done.code == FAILED
            self.assertIn(done.code, (OK, FAILED), done)
            self.assertTrue(done.code == OK or "full" in done.err or "No space left on device" in done.err, done)
            if done.code == FAILED and "Measuring into" in done.err:
                self.assertSays(done.err, "What is done is kept. To go on: edge-eval run --resume disk/out")
            moved = Run(self.dir / f"out{size}")
            begun = (moved.path / "run.db").exists()
            self.edge_eval("run", *(["--resume", moved.path] if begun else ["plan.yaml", "--out", moved.path]))
            self.assertAllDone(moved)
            self.assertTrue((moved.path / "report.html").exists())
        self.assertGreaterEqual(failed, 2, "the disks were too large to fail")

    def test_a_limit_on_the_size_of_files_is_an_error_like_any_other(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))

        done = self.start("quantize", "tiny.gguf", "big.gguf", "--type", "F16", before_exec=limit).wait()
        self.assertEqual(done.code, FAILED, done)
        self.assertSays(done.err, "edge-eval: cannot convert tiny.gguf: ")
        self.assertEqual([p.name for p in self.dir.glob("big*")], [], "nothing half written stays")

    def test_quantize_says_that_the_disk_is_full(self):
        script = """
            mkdir disk; mount -t tmpfs -o size=4m tmpfs disk
            code=0; "$EE" quantize tiny.gguf disk/out.gguf --type F16 || code=$?
            ls disk
            exit $code
        """
        done = harness.in_mount_namespace(script, self.dir)
        self.assertEqual(done.code, FAILED, done)
        self.assertSays(done.err, "cannot write disk/out.gguf: the disk is full")
        self.assertEqual(done.out, "", "no half of a file stays behind")

    def test_a_directory_that_cannot_be_written(self):
        write_plan(self.dir, plan(self.model))
        script = """
            mkdir disk; mount -t tmpfs -o ro tmpfs disk
            "$EE" run plan.yaml --out disk/out
        """
        done = harness.in_mount_namespace(script, self.dir)
        self.assertEqual(done.code, FAILED, done)
        self.assertSays(done.err, "cannot create directory disk/out: Read-only file system")
        self.assertEqual(len(done.err.splitlines()), 1, done)

    def test_a_run_on_a_read_only_disk_is_reported_and_not_resumed(self):
        run, measured = self.measure(plan(self.model, precisions=["fp16"]))
        script = """
            mkdir alone; cp out/run.db alone
            mount --bind alone alone; mount -o remount,bind,ro alone
            "$EE" report alone > alone.txt
            mount --bind out out; mount -o remount,bind,ro out
            "$EE" report out
            code=0; "$EE" run --resume out || code=$?
            exit $code
        """
        done = harness.in_mount_namespace(script, self.dir)
        self.assertEqual(done.code, FAILED, done)
        self.assertEqual(done.out + "Report: out/report.html\n", measured.out)
        self.assertEqual((self.dir / "alone.txt").read_text(encoding="utf-8"), done.out, "run.db alone is enough")
        self.assertSays(done.err, "out/lock: Read-only file system")


if __name__ == "__main__":
    unittest.main()
