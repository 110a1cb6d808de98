"""Plans whose answers come from a server: the null server with its faults, and the real llama-server."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import unittest

from harness import (
    CACHE,
    FAILED,
    MODEL,
    MODEL_ID,
    PROGRAM,
    Case,
    plan,
    stat_of,
    wait_until,
    write_plan,
)

LLAMA_SERVER = pathlib.Path(CACHE) / "peers" / "build" / "bin" / "llama-server"


def null_server(*more):
    return [PROGRAM, "null-server", "--port", "{port}", "--model", "{model}", "--tokens", "6", *map(str, more)]


def served(command=None, precisions=("fp16",), name="null", **changes):
    """A plan for a server with weights of its own, called by another name in each precision."""
    server = changes.pop("server", {})
    if command:
        server = {"name": "nullserv", "command": command, **server}
    return plan(
        {"name": {p: f"{name}-{p}" for p in precisions}, "id": "null", "size": "1B"},
        precisions=list(precisions),
        engine={"threads": 1, "server": server},
        **{"energy": {"source": "model", "idle_s": 0}, **changes},
    )


def with_argument(text):
    """Processes that have it among their arguments."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/cmdline", "rb") as f:
                if name.isdigit() and text.encode() in f.read().split(b"\0") and int(name) != os.getpid():
                    found.append(int(name))
    return [pid for pid in found if (stat_of(pid) or ("Z",))[0] not in "ZX"]


class Served(Case):
    def metric(self, run, name, profile):
        rows = [r for r in run.metrics() if r["metric"] == name and r["profile"] == profile]
        self.assertTrue(rows, name)
        return rows[0]

    def result(self, run, kind):
        ((text,),) = run.rows("SELECT result_json FROM stage WHERE kind = ?", kind)
        return json.loads(text)

    def test_it_is_loaded_served_scored_and_stopped(self):
        run, done = self.measure(served(null_server("--ttft-ms", 20, "--itl-ms", 5), load={"warm": 2, "cold": 1},
                                        serve={"concurrency": 2, "repeats": 2}))  # fmt: skip
        self.assertEqual([title for title, _ in run.stages()],
                         ["load null fp16", "serve null rag fp16", "score null rag fp16"])  # fmt: skip
        self.assertAllDone(run)
        self.assertSays(done.err, "cold page cache not measured", "does not tell in which files")
        self.assertEqual(with_argument("null-fp16"), [], "the server still runs")
        rows = run.rows("SELECT repeat, ordinal, status, finish, prompt_tokens, output_tokens, length(events),"
                        " queued_ns, started_ns, first_token_ns, last_token_ns, done_ns FROM request ORDER BY 1, 2")  # fmt: skip
        self.assertEqual([r[:2] for r in rows], [(r, i) for r in (0, 1) for i in (0, 1, 2)])
        for _, _, status, finish, prompt, output, events, *times in rows:
            self.assertEqual((status, finish, output, events), ("ok", "length", 6, 4 * 5))
            self.assertGreater(prompt, 0)
            self.assertEqual(times, sorted(times))
            self.assertGreaterEqual(times[2] - times[1], 20e6, "the scripted time to first token")
            self.assertGreater(times[3], times[2], "and between tokens")
        starts = run.rows("SELECT cache, main_s, context_s, first_token_s, warm_first_token_s, joules FROM cold_start")
        self.assertEqual([s[:2] for s in starts], [("warm", None)] * 2)
        for _, _, ready, first, again, joules in starts:
            self.assertGreater(first, ready + 0.02)
            self.assertGreaterEqual(again, 0.02)
            self.assertGreater(joules, 0)
        told = self.result(run, "load")["starts"]
        self.assertTrue(all(0 < t["port_open_s"] <= t["ready_s"] < t["first_token_s"] for t in told), told)
        serve = self.result(run, "serve")
        self.assertEqual((serve["engine"], serve["loop"], serve["concurrency"], serve["ok"]), ("nullserv", "closed", 2, 6))
        self.assertIn(serve["client_verdict"], ("valid", "unknown", "invalid"))
        self.assertTrue(serve["client"][0]["calibration"]["done"])
        windows = run.rows("SELECT window, quality FROM energy WHERE component = 'total'")
        self.assertEqual(dict(windows)["serve/1"], "modelled")
        # Labelled with the engine; what a server does not tell is refused by name.
        self.assertEqual({r["engine"] for r in run.metrics()}, {"nullserv"})
        self.assertGreater(float(self.metric(run, "output_tokens_per_s", "measured")["value"]), 0)
        self.assertSays(self.metric(run, "rho_sys", "full")["reason"], "neither the engine nor the system told")
        self.assertSays(done.out, "null (null 1B) on nullserv")
        again, _ = self.resume()
        self.assertEqual(run.done(), again.done(), "nothing is done twice")

    def test_power_of_the_server_waiting(self):
        recording = self.dir / "power.jsonl"
        lines = [{"edge_eval_power": 1, "components": [{"name": "gpu0", "scope": "gpu", "update_ms": 5}]},
                 {"t_s": 0, "gpu0": {"w": 40}}, {"t_s": 600, "gpu0": {"w": 40}}]  # fmt: skip
        recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
        run, _ = self.measure(served(null_server(), energy={"source": f"replay:{recording}", "idle_s": 6}))
        idle = self.result(run, "serve")["idle"]
        self.assertAlmostEqual(idle["resident"]["watts"], 40, places=3)
        self.assertAlmostEqual(idle["bare"]["watts"], 40, places=3)

    def test_an_open_loop_tells_no_capacity(self):
        content = served(null_server("--ttft-ms", 5), serve={"rate": 50, "arrival": "constant"},
                         cost={"deployment": "cloud", "cloud": 1, "traffic": "1/h"})  # fmt: skip
        run, _ = self.measure(content)
        serve = self.result(run, "serve")
        self.assertEqual((serve["loop"], serve["rate_per_s"], serve["ok"]), ("open", 50, 3))
        self.assertNotIn("concurrency", serve)
        (times,) = zip(*run.rows("SELECT queued_ns FROM request ORDER BY ordinal"))
        gaps = [b - a for a, b in zip(times, times[1:])]
        self.assertTrue(all(abs(g - 20e6) < 1e3 for g in gaps), gaps)
        reasons = {r["reason"] for r in run.metrics()}
        self.assertTrue(any("served in an open loop" in r for r in reasons), reasons)

    def test_forced_lengths_are_scored_by_answers_of_their_own(self):
        run, _ = self.measure(served(null_server(), serve={"concurrency": 2, "lengths": "forced"}))
        self.assertAllDone(run)
        self.assertEqual(len(run.scores()) > 0, True)
        self.assertEqual(self.result(run, "serve")["lengths"], "forced")

    def test_a_server_that_runs_already(self):
        port_line = self.start("null-server", "--port", "0", "--model", "null-fp16", "--tokens", "6")
        wait_until(lambda: port_line.text(0).endswith("\n"), "the address", 30)
        run, _ = self.measure(served(server={"url": port_line.text(0).strip()}))
        self.assertEqual([title for title, _ in run.stages()], ["serve null rag fp16", "score null rag fp16"])
        ((quality, reason),) = run.rows("SELECT quality, reason FROM energy")
        self.assertEqual(quality, "missing")
        self.assertSays(reason, "the plan did not start the server's")
        row = self.metric(run, "joules_per_request", "measured")
        self.assertEqual(row["value"], "")
        self.assertSays(row["reason"], "did not start the server's")
        self.assertEqual(run.rows("SELECT * FROM cold_start"), [])
        self.assertTrue(port_line.process.poll() is None, "it is not ours to stop")

    # ---- faults: the variant fails with one line, the others go on, nothing is left behind

    def fails(self, content, *parts, code=FAILED, **more):
        run, done = self.measure(content, code=code, **more)
        failures = run.failures()
        self.assertTrue(failures, done)
        for _, error in failures.values():
            self.assertEqual(len(error.splitlines()), 1, error)
        text = " ".join(error for _, error in failures.values())
        self.assertSays(text, *parts)
        self.assertEqual(with_argument("null-fp16"), [])
        return run, failures

    def test_the_matrix_goes_on_past_a_server_that_does_not_start(self):
        script = 'case "$1" in null-int4) echo "loading"; echo "no such weights" >&2; exit 4;; esac; shift; exec "$@"'
        content = served(["sh", "-c", script, "sh", "{model}", *null_server()], precisions=("fp16", "int4"))
        run, failures = self.fails(content, "exited with code 4", "no such weights")
        self.assertEqual(set(failures), {"load null int4", "serve null rag int4"})
        self.assertIn(("score null rag fp16", "done"), run.stages())

    def test_never_ready_and_not_there(self):
        slow = {"ready_timeout_s": 0.6}
        self.fails(served(["sh", "-c", "sleep 60 # null-fp16 {port}"], server=slow), "did not open its port within",
                   "engine.server.ready_timeout_s")  # fmt: skip
        self.fails(served([*null_server(), "null-fp16"], server={**slow, "ready": "/nowhere"}), "exited with code",
                   out="b")  # fmt: skip
        self.fails(served(null_server(), server={**slow, "ready": "/nowhere"}), "was not ready within", out="c")
        self.fails(served(["no-such-server", "{port}"]), "cannot run no-such-server", out="d")
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as s:
            port = s.getsockname()[1]
        self.fails(served(server={"url": f"http://127.0.0.1:{port}"}), f"{port}", out="e")

    def test_the_wrong_model(self):
        content = served(null_server(), server={"model": "another"})
        self.fails(content, 'does not have the model "another"', 'it lists "null-fp16"')

    def test_it_dies_while_it_serves(self):
        command = null_server("--ttft-ms", 10, "--itl-ms", 2000, "--for", "2")
        run, failures = self.fails(served(command), "exited with code 0 while it served")
        self.assertEqual(run.rows("SELECT * FROM request"), [], "half a repeat is no result")

    def test_requests_that_fail(self):
        self.fails(served(null_server("--fault", "503")), "first request failed: HTTP status 503")
        no_usage = null_server("--shape", "no-usage")
        run, failures = self.fails(served(no_usage), "sent no usage", "stream_options.include_usage", out="b")
        self.assertEqual(set(failures), {"serve null rag fp16"})
        # One of several: a figure of the others, and its reason kept.
        some = served(null_server("--fault", "error", "--fault-every", 4), load={"warm": 1, "cold": 0})
        run, _ = self.measure(some, out="c")
        rows = run.rows("SELECT status, finish, error FROM request ORDER BY ordinal")
        self.assertEqual(sorted(status for status, *_ in rows), ["failed", "ok", "ok"])
        self.assertTrue(all(e for status, _, e in rows if status == "failed"), rows)

    def test_nothing_is_left_when_the_plan_is_stopped_or_killed(self):
        # The server leaves a process behind that is no child of ours when it goes.
        script = '(exec -a null-fp16 sleep 300) & shift; exec "$@"'
        command = ["bash", "-c", script, "sh", "null-fp16", *null_server("--ttft-ms", 60000)]
        for how, sign in (("a", signal.SIGINT), ("b", signal.SIGKILL)):
            write_plan(self.dir, served(command))
            going = self.start("run", "plan.yaml", "--out", how)
            wait_until(lambda: len(with_argument("null-fp16")) >= 2, "the server", 60)
            os.kill(going.pid, sign)
            going.process.wait(60)
            wait_until(lambda: not with_argument("null-fp16"), "all of it to die", 15)

    def test_plans_that_cannot_be(self):
        def refused(content, *parts):
            done = self.edge_eval("run", write_plan(self.dir, content), "--dry-run", code=FAILED)
            self.assertSays(done.err, *parts)

        refused(served(), "a server needs a command to start it, or the url")
        refused(served(["server", "--port", "80"]), "put {port} where the command takes its port")
        refused(served(["server", "{port}", "{tokens}"]), 'nothing is filled in for "{tokens}"')
        refused(served(["server", "{port}", "{cells}"]), "serve: {context: TOKENS}")
        refused(served(null_server(), server={"extra": "[1]"}), "extra should be a JSON object")
        refused(served(null_server(), methods=["lora"]), "lora of null needs the model's file")
        refused(served(null_server(), serve={"rate": 1, "concurrency": 2}), "give one of them")
        refused(plan({"name": "x", "id": "x"}, precisions=["fp16"]), "engine: {server: ...}")
        refused(plan(MODEL_ID, serve={"rate": 1}), "a rate needs engine: {server: ...}")
        many = served(null_server())
        many["models"][0]["name"] = "x"
        many["precisions"] = ["fp16", "int8"]
        refused(many, "say the name of the model in each")


@unittest.skipUnless(MODEL.exists(), "the default model is not here: run make deps")
class Phases(Case):
    """Joules by phase, in process: with a sensor that has its own mind, and with none."""

    def phases(self, source, seconds):
        one = plan(MODEL_ID, precisions=["int8"], tasks={"rag": {"items": 2, "max_tokens": 8}},
                   energy={"source": source, "idle_s": 0, "phases_s": seconds})  # fmt: skip
        run, done = self.measure(one, out=f"out-{seconds}")
        ((text,),) = run.rows("SELECT result_json FROM stage WHERE kind = 'serve'")
        rows = {r["metric"]: r for r in run.metrics() if r["metric"].endswith("_token_j")}
        self.assertEqual(set(rows), {"prefill_token_j", "decode_token_j"})
        windows = {w for (w,) in run.rows("SELECT window FROM energy")}
        return json.loads(text), rows, windows, done

    def test_power_that_load_does_not_move_costs_no_token_anything(self):
        recording = self.dir / "power.jsonl"
        lines = [{"edge_eval_power": 1, "repeat": True, "components": [{"name": "gpu0", "scope": "gpu", "update_ms": 20}]}]
        lines += [{"t_s": i / 50, "gpu0": {"w": 100 + (i * 7919) % 13}} for i in range(500)]
        recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
        result, rows, windows, done = self.phases(f"replay:{recording}", 9)
        fit = result["phases"]
        self.assertNotIn("phases_work", result)
        self.assertIn("phases", windows)
        if "refused" in fit:  # noise may look like a gain, which no token can be
            self.assertSays(fit["refused"], "less than nothing")
            return
        for name in ("prefill_token_j", "decode_token_j"):
            self.assertLess(fit[name]["low"], 0.01 + abs(fit[name]["value"]))
            self.assertLess(abs(fit[name]["value"]), 1, "a token of a load that the sensor does not see")
            if fit[name]["value"] < 0:
                self.assertSays(rows[name]["reason"], "too little to be told from noise")
                continue
            self.assertEqual(float(rows[name]["value"]), fit[name]["value"])
            self.assertSays(rows[name]["label"], "residual", "R2")
            self.assertSays(done.out, "joules above the loaded engine's idle")
        self.assertTrue(95 < fit["base_w"]["value"] < 120, fit)
        self.assertGreaterEqual(fit["periods"], 20)

    def test_a_model_of_energy_is_refused_and_costs_no_time(self):
        result, rows, windows, _ = self.phases("model", 60)
        self.assertSays(result["phases"]["refused"], "modelled from CPU time")
        self.assertNotIn("phases", windows)
        self.assertEqual(rows["prefill_token_j"]["value"], "")
        self.assertSays(rows["prefill_token_j"]["reason"], "modelled from CPU time")


@unittest.skipUnless(LLAMA_SERVER.exists(), f"no {LLAMA_SERVER}: run bench/peers.sh llama-server")
@unittest.skipUnless(MODEL.exists(), "the default model is not here: run make deps")
class LlamaServer(Case):
    def test_it_gives_the_answers_that_the_engine_in_process_gives(self):
        common = {"precisions": ["int8"], "tasks": {"rag": {"items": 3, "max_tokens": 12}}, "load": {"warm": 1, "cold": 1}}
        command = [str(LLAMA_SERVER), "-m", "{model}", "--port", "{port}", "-t", "1", "-np", "{concurrency}", "-c", "{cells}"]
        server = {"command": command, "extra": '{"cache_prompt": false}', "device": "CPU"}
        inside, _ = self.measure(plan(MODEL_ID, **common), out="inside")
        behind, done = self.measure(plan(MODEL_ID, engine={"threads": 1, "server": server}, **common), out="behind")
        self.assertAllDone(behind)
        # Same prompts to the token, same texts, same counts, same scores.
        self.assertEqual(inside.answers(), behind.answers())
        self.assertEqual(inside.scores(), behind.scores())
        self.assertSays(done.out, "on llama-server CPU")
        starts = behind.rows("SELECT cache, resident_fraction, context_s, first_token_s, warm_first_token_s FROM cold_start")
        self.assertEqual([(cache, round(resident)) for cache, resident, *_ in starts], [("cold", 0), ("warm", 1)])
        for _, _, ready, first, again in starts:
            self.assertGreater(first, ready)
            self.assertGreater(again, 0)
        ((serve,),) = behind.rows("SELECT result_json FROM stage WHERE kind = 'serve'")
        serve = json.loads(serve)
        self.assertTrue(serve["server"]["version"], "llama-server tells its build")
        self.assertEqual(serve["cached_tokens"], 0)
        self.assertEqual({p for (p,) in behind.rows("SELECT part FROM memory")}, {"rss_peak"})
        self.assertSays(self.reason(behind, "rho_sys"), "neither the engine nor the system told")

    def reason(self, run, metric):
        (row,) = [r for r in run.metrics() if r["metric"] == metric and r["profile"] == "full"]
        return row["reason"]


if __name__ == "__main__":
    unittest.main()
