"""Runs that are killed, stopped or started twice, and how they go on. On the tiny model."""

import random
import signal
import time
import unittest

from harness import (
    FAILED,
    OK,
    USAGE,
    Case,
    Run,
    ignore_hangup,
    is_alive,
    plan,
    tiny_model,
    workers_of,
    write_plan,
)

# The bound on stopping is 2 s; what a test insists on leaves room for a busy machine.
STOP_S, STOP_AT_MOST_S = 2, 5


class Resuming(Case):
    def setUp(self):
        super().setUp()
        self.model = {"path": "tiny.gguf", "id": "tiny"}
        tiny_model(self.dir)
        self.run_dir = Run(self.dir / "out")

    def long_answers(self, max_tokens=800):
        """A plan whose serve stage can be met while it runs."""
        return plan(self.model, tasks={"rag": {"items": 2, "max_tokens": max_tokens}}, precisions=["fp16"])

    def start_or_resume(self):
        args = ("--resume", "out") if (self.run_dir.path / "run.db").exists() else ("plan.yaml", "--out", "out")
        return self.start("run", *args)


class Killed(Resuming):
    def test_at_any_moment_the_run_goes_on_to_the_same_end(self):
        content = plan(self.model, tasks={"rag": {"items": 3, "max_tokens": 40}, "chat": {"items": 2, "max_tokens": 40}})
        whole, done = self.measure(content, "whole")
        moments = random.Random(7)
        seen = set()
        kills = 0
        # Early ones land in the making of the directory, later ones in stages.
        for seconds in [0.004, 0.01, 0.02, *(moments.uniform(0.03, 0.4 * done.seconds) for _ in range(9))]:
            kills += self.kill_after(self.start_or_resume(), seconds)
            if (self.run_dir.path / "run.db").exists():
                now = self.run_dir.done()
                self.assertLessEqual(seen, now, "a finished stage was lost or done again")
                seen = now
        self.assertGreaterEqual(kills, 5, "too few kills hit a run that was going")
        self.assertEqual(self.start_or_resume().wait().code, OK)
        self.assertLessEqual(seen, self.run_dir.done(), "a finished stage was done again")
        self.assertAllDone(self.run_dir)
        self.assertSameResults(self.run_dir, whole)
        self.assertEqual([p.name for p in (self.run_dir.path / "artifacts").iterdir() if ".part" in p.name], [])

    def test_before_the_first_stage_there_is_no_run_or_a_whole_plan(self):
        write_plan(self.dir, self.long_answers())
        for i in range(25):
            going = self.start("run", "plan.yaml", "--out", f"out{i}")
            self.kill_after(going, 0.001 * i)
            made = self.dir / f"out{i}" / "run.db"
            if made.exists():
                (plan_text,) = Run(made.parent).rows("SELECT value FROM meta WHERE key = 'plan_yaml'")
                self.assertEqual(plan_text[0], (self.dir / "plan.yaml").read_text())


class Stopped(Resuming):
    def stop(self, going, sig, at_most=STOP_AT_MOST_S):
        """Sends the signal and checks how the run stops; returns what it said."""
        workers = workers_of(going.pid)
        sent = time.monotonic()
        going.process.send_signal(sig)
        going.process.wait(60)
        took = time.monotonic() - sent
        done = going.wait()
        print(f"[{signal.Signals(sig).name}: stopped in {took:.2f} s, wanted {STOP_S}] ", end="", flush=True)
        self.assertLess(took, at_most, done)
        self.assertEqual(done.code, FAILED, done)
        self.assertSays(done.err, "What is done is kept. To go on: edge-eval run --resume out", "stopped")
        self.assertEqual([w for w in workers if is_alive(w)], [])
        self.assertEqual(done.out, "", "no report of half a run")
        return done

    def check_stop_and_resume(self, sig):
        write_plan(self.dir, self.long_answers())
        going = self.start("run", "plan.yaml", "--out", "out")
        going.wait_for("load tiny fp16")
        going.wait_for_worker()
        self.stop(going, sig)
        self.assertEqual([t for t, _ in self.run_dir.stages()], ["quantize tiny fp16", "load tiny fp16"])
        before = self.run_dir.done()
        self.resume()
        self.assertLessEqual(before, self.run_dir.done())
        self.assertAllDone(self.run_dir)

    def test_by_ctrl_c(self):
        self.check_stop_and_resume(signal.SIGINT)

    def test_by_sigterm(self):
        self.check_stop_and_resume(signal.SIGTERM)

    def test_while_idle_power_is_measured(self):
        write_plan(self.dir, plan(self.model, energy={"idle_s": 60}))
        going = self.start("run", "plan.yaml", "--out", "out")
        going.wait_for("Measuring into out")
        # The models are inspected first; then nothing but the idle machine, for five seconds or more.
        time.sleep(1.2)
        self.stop(going, signal.SIGINT, at_most=3)
        self.assertEqual(self.run_dir.stages(), [])

    def test_a_second_signal_ends_it_at_once(self):
        write_plan(self.dir, plan(self.model, energy={"idle_s": 60}))
        codes = []
        while len(codes) < 5 and -signal.SIGINT not in codes:
            going = self.start("run", "plan.yaml", "--out", f"out{len(codes)}")
            going.wait_for("Measuring into")
            time.sleep(1.2)
            going.process.send_signal(signal.SIGINT)
            time.sleep(0.05)  # of the second it may take before it looks at the first signal
            going.process.send_signal(signal.SIGINT)
            codes.append(going.wait(30).code)
        self.assertIn(-signal.SIGINT, codes)

    def test_a_hangup_that_was_ignored_stays_ignored(self):
        """As under nohup."""
        write_plan(self.dir, self.long_answers())
        going = self.start("run", "plan.yaml", "--out", "out", before_exec=ignore_hangup)
        going.wait_for("load tiny fp16")
        going.process.send_signal(signal.SIGHUP)
        self.assertEqual(going.wait().code, OK)


class Twice(Resuming):
    def test_a_second_process_is_refused_while_one_measures(self):
        write_plan(self.dir, self.long_answers(2500))
        going = self.start("run", "plan.yaml", "--out", "out")
        going.wait_for("load tiny fp16")
        for args in (["plan.yaml", "--out", "out"], ["--resume", "out"]):
            refused = self.edge_eval("run", *args, code=USAGE)
            self.assertSays(refused.err, "out is in use by another edge-eval run", "another --out")
        report = self.edge_eval("report", "out")
        self.assertSays(report.out, "fp16")
        done = going.wait()
        self.assertEqual(done.code, OK, done)
        self.assertAllDone(self.run_dir)

    def test_resume_wants_a_run(self):
        (self.dir / "empty").mkdir()
        for directory in ("empty", "nowhere"):
            refused = self.edge_eval("run", "--resume", directory, code=FAILED)
            self.assertSays(refused.err, f"{directory} holds no run", "run.db")
        self.assertFalse((self.dir / "nowhere").exists())
        self.assertEqual(list((self.dir / "empty").iterdir()), [])

    def test_resume_wants_a_database_of_ours(self):
        other = self.dir / "other"
        other.mkdir()
        (other / "run.db").write_bytes(b"not a database, but long enough to be asked whether it is one" * 20)
        refused = self.edge_eval("run", "--resume", "other", code=FAILED)
        self.assertSays(refused.err, "other/run.db", "not a database")


class Changed(Resuming):
    """What a resumed run finds changed since."""

    def test_an_artifact_that_is_gone_is_made_again_and_nothing_else(self):
        run, _ = self.measure(plan(self.model))
        kept = run.done()
        (run.path / "artifacts" / "tiny.none.int4.gguf").unlink()
        again, done = self.resume()
        self.assertAllDone(again)
        titles = {key: title for key, title in again.rows("SELECT key, title FROM stage")}
        self.assertEqual([titles[row[0]] for row in kept - again.done()], ["quantize tiny int4"], done)

    def test_a_task_file_changed_and_changed_back(self):
        lines = [f'{{"id": "q{i}", "context": "Sky is blue {i}.", "question": "Colour?", "answers": ["blue"]}}\n' for i in range(3)]
        data = self.dir / "own.jsonl"
        data.write_text("".join(lines[:2]))
        content = plan(self.model, precisions=["fp16"], tasks={"rag": {"max_tokens": 4, "data": "own.jsonl"}})
        run, _ = self.measure(content)
        first = run.answers()
        self.assertEqual(len(first), 2)
        data.write_text("".join(lines))
        run, _ = self.resume()
        self.assertEqual(len(run.answers()), 3)
        self.assertEqual({row["n"] for row in run.metrics() if row["metric"] == "score"}, {"3"})
        data.write_text("".join(lines[:2]))
        run, done = self.resume()
        self.assertEqual(done.err.count("reused"), 4, done)
        self.assertEqual(run.answers(), first)
        self.assertEqual({row["n"] for row in run.metrics() if row["metric"] == "score"}, {"2"})


if __name__ == "__main__":
    unittest.main()
