"""edge-eval bench against the null server: what it counts, and every way a server can fail."""

import contextlib
import csv
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from harness import FAILED, OK, PROGRAM, SOURCE, USAGE, Case, arrivals_stamped, environment, wait_until


class BenchCase(Case):
    def null_server(self, *args):
        """A null server in the background: its base address."""
        server = self.start("null-server", "--for", 120, *args)
        wait_until(lambda: server.text(0).endswith("/v1\n") or server.process.poll() is not None, "an address", 30)
        self.assertIsNone(server.process.poll(), server.text(1))
        self.server = server
        return server.text(0).strip()

    def bench(self, url, *args, code=OK, **more):
        """The JSON of a run; without calibration, which has a test of its own."""
        done = self.edge_eval("bench", url, "--json", "--no-calibration", "--input", 8, "--output", 6, *args,
                              code=code, **more)  # fmt: skip
        return json.loads(done.out)

    def kinds(self, result):
        return {kind: row["n"] for kind, row in result["requests"]["outcomes"].items()}


class Counts(BenchCase):
    def test_every_request_is_answered_and_counted(self):
        url = self.null_server("--ttft-ms", 5, "--itl-ms", 2, "--tokens", 6)
        r = self.bench(url, "-c", 4, "-n", 40)
        self.assertEqual(self.kinds(r), {"ok": 40})
        self.assertEqual(r["requests"]["measured"], 40)
        self.assertEqual(r["tokens"]["output"], 240)
        self.assertEqual(r["tokens"]["events"], 240)
        self.assertEqual(r["latency"]["ttft"]["n"], 40)
        self.assertEqual(r["latency"]["itl_event"]["n"] + r["tokens"]["coalesced_events"], 200)
        # The script is a lower bound whatever else the machine does.
        self.assertGreaterEqual(r["latency"]["ttft"]["min_s"], 0.005)
        self.assertGreaterEqual(r["latency"]["e2e"]["min_s"], 0.015)
        self.assertEqual(r["target"]["model"], "null")

    def test_open_loop_sends_the_whole_schedule(self):
        url = self.null_server("--tokens", 2)
        a = self.bench(url, "--rate", 200, "-n", 100, "--seed", 5)
        b = self.bench(url, "--rate", 200, "-n", 100, "--seed", 5, "--arrival", "bursty", "--burst", 10)
        self.assertEqual(self.kinds(a), {"ok": 100})
        self.assertEqual(self.kinds(b), {"ok": 100})
        for r in (a, b):
            self.assertEqual(r["latency"]["send_lag"]["n"], 100)
            self.assertGreaterEqual(r["latency"]["ttft_schedule"]["min_s"], r["latency"]["ttft"]["min_s"])

    def test_several_loops_share_the_load(self):
        url = self.null_server("--tokens", 3, "--threads", 2)
        r = self.bench(url, "-c", 7, "-n", 101, "--loops", 3)
        self.assertEqual(self.kinds(r), {"ok": 101})
        self.assertEqual(len(r["client"]["loops"]), 3)
        self.assertTrue(all(loop["bytes"] > 0 for loop in r["client"]["loops"]))

    def test_shapes_of_good_answers(self):
        for shape in ("role", "usage", "ping", "crlf", "early-head", "split", "close", "tool",
                      "role,ping,crlf,split,usage"):  # fmt: skip
            with self.subTest(shape=shape):
                url = self.null_server("--tokens", 6, "--shape", shape)
                r = self.bench(url, "-c", 2, "-n", 10)
                self.assertEqual(self.kinds(r), {"ok": 10})
                self.assertEqual(r["tokens"]["events"], 60)
                self.assertEqual(r["tokens"]["output"], 60)

    def test_role_chunk_is_no_token(self):
        url = self.null_server("--tokens", 2, "--ttft-ms", 50, "--shape", "role,early-head")
        r = self.bench(url, "-c", 1, "-n", 5)
        self.assertGreaterEqual(r["latency"]["ttft"]["min_s"], 0.05)

    def test_reasoning_counts_for_ttft_and_not_for_ttfo(self):
        url = self.null_server("--tokens", 6, "--reasoning", 3, "--itl-ms", 10)
        r = self.bench(url, "-c", 1, "-n", 5)
        self.assertEqual(self.kinds(r), {"ok": 5})
        self.assertGreaterEqual(r["latency"]["ttfo"]["min_s"] - r["latency"]["ttft"]["max_s"], 0.0)
        self.assertEqual(r["tokens"]["events"], 30)

    def test_several_tokens_an_event_leave_itl_per_token_out(self):
        url = self.null_server("--tokens", 6, "--tokens-per-event", 3, "--itl-ms", 5)
        r = self.bench(url, "-c", 1, "-n", 4)
        self.assertEqual(r["tokens"]["output"], 24)
        self.assertEqual(r["tokens"]["events"], 8)
        self.assertEqual(r["tokens"]["answers_without_event_tokens"], 4)
        self.assertEqual(r["latency"]["itl_token"]["n"], 0)
        self.assertEqual(r["latency"]["itl_event"]["n"], 4)
        self.assertEqual(r["latency"]["tpot"]["n"], 4)

    def test_events_of_one_read_are_marked(self):
        url = self.null_server("--tokens", 6, "--events-per-write", 6)
        r = self.bench(url, "-c", 1, "-n", 4)
        self.assertEqual(r["tokens"]["coalesced_events"], 20)
        self.assertEqual(r["latency"]["itl_event"]["n"], 0)

    def test_without_usage_there_is_no_token_rate(self):
        url = self.null_server("--tokens", 6, "--shape", "no-usage")
        r = self.bench(url, "-c", 1, "-n", 4)
        self.assertEqual(r["tokens"]["answers_without_usage"], 4)
        self.assertIsNone(r["tokens"]["output"])
        self.assertIsNone(r["throughput"]["whole"]["output_tokens_per_s"])
        self.assertEqual(r["latency"]["tpot"]["n"], 0)
        text = self.edge_eval("bench", url, "--no-calibration", "--input", 8, "--output", 6, "-n", 2)
        self.assertSays(text.out, "without usage")

    def test_text_completions(self):
        url = self.null_server("--tokens", 6)
        r = self.bench(url, "-c", 2, "-n", 10, "--api", "text")
        self.assertEqual(self.kinds(r), {"ok": 10})
        self.assertTrue(r["target"]["path"].endswith("/v1/completions"))

    def test_conversations_send_what_was_answered(self):
        url = self.null_server("--tokens", 3)
        r = self.bench(url, "-c", 2, "-n", 5, "--turns", 3, "--think", 0.01)
        self.assertEqual(self.kinds(r), {"ok": 15})

    def test_goodput_counts_failures_as_misses(self):
        url = self.null_server("--tokens", 2, "--fault", "500", "--fault-every", 4)
        r = self.bench(url, "-c", 1, "-n", 40, "--slo", "ttft=10s,e2e=10s")
        self.assertEqual(r["goodput"]["met"], 30)
        self.assertAlmostEqual(r["goodput"]["attained"], 0.75)
        r = self.bench(url, "-c", 1, "-n", 4, "--slo", "ttft=1us")
        self.assertEqual(r["goodput"]["met"], 0)

    def test_warmup_is_not_counted(self):
        url = self.null_server("--tokens", 2, "--ttft-ms", 10)
        r = self.bench(url, "-c", 1, "-d", 0.5, "--warmup", 0.5)
        self.assertGreater(r["requests"]["warmup"], 0)
        self.assertEqual(r["requests"]["warmup"] + r["requests"]["measured"], r["requests"]["all"])

    def test_times_are_the_kernels_and_reads_come_after_them(self):
        url = self.null_server("--tokens", 6, "--itl-ms", 1)
        with arrivals_stamped():
            r = self.bench(url, "-n", 8, "-c", 2)
        client = r["client"]
        self.assertEqual(client["timestamps"], "kernel")
        self.assertEqual(client["reads"], sum(loop["reads"] for loop in client["loops"]))
        self.assertEqual(client["reads_by_kernel"], client["reads"])
        self.assertGreater(client["write_mean_s"], 0)
        waits = client["read_waits"]
        self.assertEqual(waits["reads"], client["reads"])
        self.assertLessEqual(0, waits["p50_below_s"])
        self.assertLessEqual(waits["p50_below_s"], waits["p99_below_s"])
        self.assertLessEqual(waits["p99_below_s"], waits["max_below_s"])
        self.assertLess(waits["max_below_s"], 60)
        for figure in ("delivery", "event_delivery", "server_late"):
            self.assertGreaterEqual(r["latency"][figure]["min_s"], 0)
        gaps = r["latency"]["itl_event"]["n"]
        self.assertEqual(r["latency"]["event_delivery"]["n"], gaps + 8)
        self.assertEqual(r["latency"]["server_late"]["n"], gaps + 8)
        text = self.edge_eval("bench", url, "--no-calibration", "--input", 8, "--output", 6, "-n", 2)
        self.assertSays(text.out, "times by the kernel, read within")

    def test_times_of_reads_where_they_are_asked_for(self):
        url = self.null_server("--tokens", 6, "--itl-ms", 1)
        r = self.bench(url, "-n", 8, "-c", 2, "--timestamps", "read")
        self.assertEqual(r["client"]["timestamps"], "read")
        self.assertEqual(r["client"]["reads_by_kernel"], 0)
        self.assertIsNone(r["client"]["read_waits"])
        self.assertEqual(r["latency"]["event_delivery"]["n"], r["latency"]["itl_event"]["n"] + 8)

    def test_libcurl_is_not_loaded_where_nothing_needs_it(self):
        url = self.null_server("--tokens", 2, "--ttft-ms", 1000)
        for args, loaded in (((), False), (("--http2", "--stall", 2), True)):
            going = self.start("bench", url, "--no-calibration", "--no-out", "--input", 8, "--output", 2, "-d", 60,
                               "--model", "m", *args)  # fmt: skip
            maps = f"/proc/{going.pid}/maps"

            def mapped(maps=maps):
                with open(maps, encoding="utf-8") as f:
                    return f.read()

            with self.subTest(args=args):
                if loaded:
                    wait_until(lambda: "libcurl" in mapped() or going.process.poll() is not None, "libcurl", 30)
                else:  # once it has connected, all is loaded
                    wait_until(lambda: self.connections(going.pid) > 0, "a connection", 30)
                    self.assertNotIn("libcurl", mapped())
            going.end()

    def test_where_libcurl_cannot_be_loaded_only_what_needs_it_is_refused(self):
        (self.dir / "lib").mkdir()
        (self.dir / "lib" / "libcurl.so.4").write_bytes(b"")
        env = environment(LD_LIBRARY_PATH=str(self.dir / "lib"))
        url = self.null_server("--tokens", 6)
        self.assertEqual(self.kinds(self.bench(url, "-n", 2, env=env)), {"ok": 2})
        for args in ((url, "--http2"), (url.replace("http:", "https:"),)):
            with self.subTest(args=args):
                done = self.edge_eval("bench", *args, "--model", "m", "-n", 1, "--no-calibration", code=FAILED, env=env)
                self.assertSays(done.err, "need libcurl (Debian: libcurl4), which cannot be loaded: ", "libcurl.so.4")
                self.assertEqual(done.err.count("\n"), 1)

    def connections(self, pid):
        links = pathlib.Path(f"/proc/{pid}/fd").iterdir()
        return sum(os.readlink(link).startswith("socket:") for link in links if os.path.islink(link))

    def test_a_null_server_that_never_sleeps_keeps_its_script(self):
        url = self.null_server("--tokens", 6, "--ttft-ms", 5, "--itl-ms", 2, "--awake")
        r = self.bench(url, "-n", 8, "-c", 2)
        self.assertEqual(self.kinds(r), {"ok": 8})
        self.assertGreaterEqual(r["latency"]["e2e"]["min_s"], 0.015)
        before = self.server_cpu_s()
        wait_until(lambda: self.server_cpu_s() > before, "an idle server that works", 30)

    def server_cpu_s(self):
        with open(f"/proc/{self.server.process.pid}/stat", encoding="utf-8") as f:
            fields = f.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def test_the_script_that_scales_says_what_it_had_no_cores_for(self):
        for loops, measured in (("1,4096", [1]), ("4096", [])):
            script = [sys.executable, SOURCE / "bench" / "serving_scaling.py", "--program", PROGRAM, "--loops", loops,
                      "--runs", "1", "--seconds", "0.2"]  # fmt: skip
            done = subprocess.run(script, env=environment(), capture_output=True, text=True, check=False)
            if "need a core each" in done.stderr:
                self.skipTest(done.stderr.strip())
            self.assertEqual(done.returncode, 0, done.stderr)
            r = json.loads(done.stdout)
            self.assertEqual([row["loops"] for row in r["scaling"]], measured)
            self.assertEqual([said.split(":")[0] for said in r["not_measured"]], ["4096 loops"])
            self.assertEqual(len(r["truth"]), 4)

    def test_calibration_travels_with_the_result(self):
        url = self.null_server("--tokens", 4, "--ttft-ms", 30, "--itl-ms", 5)
        done = self.edge_eval("bench", url, "--json", "--input", 8, "--output", 4, "-n", 20, "-c", 2)
        client = json.loads(done.out)["client"]
        self.assertTrue(client["calibration"]["done"])
        self.assertGreater(client["calibration"]["delivery"]["n"], 0)
        self.assertGreater(client["calibration"]["floor_p50_s"], client["calibration"]["delivery"]["p50_s"])
        self.assertGreaterEqual(client["calibration"]["floor_p99_s"], client["calibration"]["floor_p50_s"])
        self.assertIn(client["verdict"], ("valid", "invalid"))
        self.assertEqual(sum(b["n"] for b in client["send_lag_histogram"]), 20)

    def test_a_floor_as_high_as_the_figure_is_not_valid(self):
        url = self.null_server("--tokens", 1)  # answers at once: nothing but the client is measured
        done = self.edge_eval("bench", url, "--input", 8, "--output", 1, "-n", 200, "-c", 1)
        self.assertSays(done.out, "NOT VALID")


# What each fault of the null server is counted as.
FAULTS = {
    "hang": "stalled",
    "401": "status",
    "429": "status",
    "500": "status",
    "503": "status",
    "redirect": "redirect",
    "gzip": "compressed",
    "html": "not_events",
    "slow-headers": "ok",
    "die": "died",
    "stall": "stalled",
    "bad-chunk": "bad_http",
    "bad-utf8": "bad_utf8",
    "bad-json": "bad_json",
    "error": "error_event",
    "no-done": "ok",
    "truncated": "truncated",
    "endless": "endless",
}


class Faults(BenchCase):
    def test_each_fault_is_counted_by_its_kind_and_harms_no_other_request(self):
        for fault, kind in FAULTS.items():
            with self.subTest(fault=fault):
                url = self.null_server("--tokens", 6, "--fault", fault, "--fault-every", 4)
                r = self.bench(url, "-c", 3, "-n", 40, "--stall", 1.5, "--timeout", 20)
                want = {"ok": 40} if kind == "ok" else {"ok": 30, kind: 10}
                self.assertEqual(self.kinds(r), want)
                self.assertEqual(r["latency"]["ttft"]["n"], want["ok"])
                if fault == "no-done":
                    self.assertEqual(r["requests"]["without_done"], 10)
                if kind == "status":
                    self.assertEqual(r["requests"]["statuses"], {fault: 10})
                    self.assertIn("scripted", r["requests"]["outcomes"]["status"]["first_message"])

    def test_all_faults_at_once(self):
        names = list(FAULTS)
        url = self.null_server("--tokens", 6, "--fault", ",".join(names), "--fault-every", 2)
        n = 4 * len(names)
        r = self.bench(url, "-c", 8, "-n", n, "--stall", 1.5, "--timeout", 20)
        want = {"ok": n // 2}
        for name in names:
            want[FAULTS[name]] = want.get(FAULTS[name], 0) + 2
        self.assertEqual(self.kinds(r), want)

    def test_a_reset_is_tried_once_more_on_a_connection_of_its_own(self):
        url = self.null_server("--tokens", 2, "--fault", "reset", "--fault-every", 15)
        r = self.bench(url, "-c", 1, "-n", 40)
        self.assertEqual(self.kinds(r), {"ok": 40})
        self.assertEqual(r["requests"]["sent_again"], 2)
        url = self.null_server("--tokens", 2, "--fault", "reset")
        r = self.bench(url, "-c", 1, "-n", 5, code=FAILED)
        self.assertEqual(self.kinds(r), {"reset": 5})

    def test_prompts_that_are_written_are_read_back(self):
        url = self.null_server("--tokens", 2)
        first = self.dir / "first.jsonl"
        second = self.dir / "second.jsonl"
        self.bench(url, "-n", 4, "--prompt-count", 4, "--prompts-out", first)
        done = self.edge_eval("bench", url, "--json", "--no-calibration", "--prompts", first, "--output", 6,
                              "--prompts-out", second)  # fmt: skip
        self.assertEqual(self.kinds(json.loads(done.out)), {"ok": 4})
        self.assertEqual(first.read_bytes(), second.read_bytes())
        self.assertEqual(len(first.read_text().splitlines()), 4)

    def test_records_are_kept_and_measured_again(self):
        url = self.null_server("--tokens", 4, "--ttft-ms", 5, "--fault", "503", "--fault-every", 4)
        r = self.bench(url, "-n", 20, "-o", "kept", "--csv", "requests.csv")
        again = self.edge_eval("bench", "--from", "kept/requests.eebench", "--json", "--slo", "ttft=10s")
        again = json.loads(again.out)
        self.assertEqual(again["latency"], r["latency"])
        self.assertEqual(again["requests"], r["requests"])
        self.assertEqual(again["settings"], r["settings"])
        self.assertEqual(again["goodput"]["met"], 15)
        with open(self.dir / "requests.csv", newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
        self.assertEqual(len(rows), 20)
        self.assertEqual(sum(row["outcome"] == "ok" for row in rows), 15)
        for row in rows:
            if row["outcome"] == "ok":
                ttft = (int(row["first_token_ns"]) - int(row["sent_ns"])) / 1e9
                self.assertAlmostEqual(ttft, float(row["ttft_s"]), places=8)
                self.assertEqual(row["output_tokens"], "4")
            else:
                self.assertEqual((row["status"], row["ttft_s"]), ("503", ""))
        for tool in ("vllm", "guidellm", "aiperf"):
            out = self.edge_eval("bench", "--from", "kept/requests.eebench", "--compat", tool).out
            self.assertSays(out, "would print it")

    def test_a_damaged_file_of_records_is_refused(self):
        (self.dir / "x").write_bytes(b"EEBENCH1garbage")
        done = self.edge_eval("bench", "--from", "x", code=FAILED)
        self.assertSays(done.err, "no whole file")

    def test_a_sweep_finds_the_knee(self):
        url = self.null_server("--tokens", 2, "--ttft-ms", 20)
        done = self.edge_eval("bench", url, "--sweep", "-c", 1, "--max-connections", 8, "-d", 1, "--input", 8,
                              "--output", 2, "--slo", "ttft=10s", "--no-calibration", "--json", "-q")  # fmt: skip
        r = json.loads(done.out)
        self.assertGreaterEqual(len(r["points"]), 2)
        self.assertTrue(r["end"])
        self.assertEqual(len(r["runs"]), len(r["points"]))
        done = self.edge_eval("bench", url, "--sweep", "--input", 8, "--output", 2, code=USAGE)
        self.assertSays(done.err, "--duration")

    def test_a_server_of_our_own_is_started_timed_and_stopped(self):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as s:
            port = s.getsockname()[1]
        url = f"http://127.0.0.1:{port}/v1"
        # Late enough for a start to be longer than what the meter refuses as too short.
        command = f"'{PROGRAM}' null-server --port {port} --tokens 4 --ttft-ms 90"
        r = self.bench(url, "-n", 20, "--server", command, "--energy-source", "model")
        self.assertEqual(self.kinds(r), {"ok": 20})
        self.assertGreater(r["server"]["ready_s"], 0)
        self.assertGreaterEqual(r["server"]["cold_start_s"], r["server"]["ready_s"] + 0.09)
        self.assertEqual(r["energy"]["cold_start"]["quality"], "modelled")
        self.assertGreater(r["energy"]["load"]["per_request_j"], 0)
        self.assertEqual(r["server_metrics"]["counters"]["null_requests_total"], 20)
        with contextlib.closing(socket.socket()) as s:
            self.assertNotEqual(s.connect_ex(("127.0.0.1", port)), 0)
        with contextlib.closing(socket.create_server(("127.0.0.1", port))):
            done = self.edge_eval("bench", url, "--server", command, "--input", 8, "--output", 2, "--no-calibration",
                                  code=USAGE)  # fmt: skip
            self.assertSays(done.err, "somebody listens")
        for command, words in (("/bin/false", "exited with code 1"), ("no-such-program", "cannot run"),
                               ("sh -c 'echo out of luck; exit 3'", "out of luck"),
                               ("sleep 60", "did not open its port within")):  # fmt: skip
            done = self.edge_eval("bench", url, "--server", command, "--ready-timeout", 1, "--input", 8, "--output", 2,
                                  "--no-calibration", code=FAILED)  # fmt: skip
            self.assertSays(done.err, words)

    def test_all_ports_in_use(self):
        # In a network of its own, because ports are counted for the whole machine.
        script = (
            "ip link set lo up 2>/dev/null || true; echo 40000 40019 >/proc/sys/net/ipv4/ip_local_port_range\n"
            '"$EE" null-server --port 8000 --ttft-ms 300 --tokens 2 --for 60 & sleep 1\n'
            '"$EE" bench http://127.0.0.1:8000 --json --no-calibration --no-out --model m --input 8 --output 2 '
            "--rate 200 -n 40 --connections 1; kill $!"
        )
        prefix = ["unshare", "--net", "--map-root-user", "sh", "-c"]
        probe = "echo 1 1 >/proc/sys/net/ipv4/ping_group_range; command -v ip"
        if subprocess.run([*prefix, probe], capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("no network of one's own can be made here")
        done = subprocess.run([*prefix, script], cwd=self.dir, env=environment(EE=PROGRAM), capture_output=True,
                              timeout=100, check=False)  # fmt: skip
        kinds = self.kinds(json.loads(done.stdout.decode().splitlines()[-1]))
        self.assertEqual(sum(kinds.values()), 40, kinds)
        self.assertGreater(kinds["no_ports"], 0, kinds)
        self.assertGreater(kinds["ok"], 0, kinds)

    def test_too_many_open_files(self):
        url = self.null_server("--tokens", 2, "--ttft-ms", 400)

        def bench(*load):
            return self.start("bench", url, "--no-calibration", "--input", 8, "--output", 2, *load,
                              before_exec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))).wait()  # fmt: skip

        done = bench("-c", 64, "-n", 64)
        self.assertEqual(done.code, USAGE, done)
        self.assertSays(done.err, "64 connections need 128 descriptors", "may open 32", "ulimit -n")
        done = bench("--rate", 300, "-n", 100, "--no-out", "--json")  # how many at once nobody knows before
        kinds = self.kinds(json.loads(done.out))
        self.assertGreater(kinds["no_files"], 0, kinds)
        self.assertGreater(kinds["ok"], 0, kinds)

    def test_thousands_of_connections_from_one_machine(self):
        # More than one address of this machine has ports for without a search: they come from several.
        url = self.null_server("--tokens", 2, "--ttft-ms", 1500)
        n = min(7000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 100)
        r = self.bench(url, "-c", n, "-n", n, "--input", 4, "--output", 2, "--connect-timeout", 30)
        self.assertEqual(self.kinds(r), {"ok": n})
        self.assertEqual(r["client"]["loops"][0]["connections"], n)

    def test_faults_of_libcurls_transport(self):
        # HTTP/2 without TLS is refused by the null server, which speaks HTTP/1.1 alone.
        url = self.null_server("--tokens", 6)
        done = self.edge_eval("bench", url, "--http2", "--input", 8, "--output", 6, "-n", 4, "--no-calibration",
                              code=FAILED)  # fmt: skip
        self.assertSays(done.err, "no connection to 127.0.0.1")

    def test_a_server_that_is_down(self):
        with contextlib.closing(socket.socket()) as s:
            s.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{s.getsockname()[1]}/v1"
            done = self.edge_eval("bench", url, "--input", 8, "--output", 6, "--model", "m", "--no-calibration",
                                  code=FAILED)  # fmt: skip
        self.assertSays(done.err, "connection refused", "is the server running")
        self.assertLess(done.seconds, 30)

    def test_refuse_is_a_port_without_a_listener(self):
        url = self.null_server("--fault", "refuse")
        done = self.edge_eval("bench", url, "--input", 8, "--output", 6, "--model", "m", "--no-calibration",
                              code=FAILED)  # fmt: skip
        self.assertSays(done.err, "connection refused")

    def test_a_server_that_goes_away_in_the_middle(self):
        url = self.null_server("--tokens", 6, "--ttft-ms", 20, "--itl-ms", 5)
        going = self.start("bench", url, "--json", "--no-calibration", "--input", 8, "--output", 6, "-c", 4, "-d", 2)
        time.sleep(1)
        self.server.process.send_signal(signal.SIGKILL)
        done = going.wait()
        self.assertEqual(done.code, OK, done)
        kinds = self.kinds(json.loads(done.out))
        self.assertGreater(kinds["ok"], 0)
        self.assertGreater(kinds["refused"], 0)
        self.assertLess(kinds["refused"], 200)  # a place waits before it tries again

    def test_a_wrong_model_name(self):
        url = self.null_server("--model", "right")
        done = self.edge_eval("bench", url, "--input", 8, "--output", 6, "--model", "wrong", "-n", 3,
                              "--no-calibration", code=FAILED)  # fmt: skip
        self.assertSays(done.out, "404", "the model does not exist")
        self.assertSays(done.err, "no request was answered")
        self.assertEqual(self.kinds(self.bench(url, "-n", 3)), {"ok": 3})

    def test_a_host_that_does_not_exist(self):
        done = self.edge_eval("bench", "http://no-such-host.invalid/v1", "--input", 8, "--output", 6, code=FAILED)
        self.assertSays(done.err, "no-such-host.invalid", "cannot be resolved")

    def test_no_more_connections_than_allowed(self):
        url = self.null_server("--tokens", 2, "--ttft-ms", 30)
        r = self.bench(url, "--rate", 300, "-n", 60, "--max-connections", 2)
        self.assertEqual(self.kinds(r), {"ok": 60})
        self.assertLessEqual(r["client"]["loops"][0]["connections"], 2)
        # Two at a time for 30 ms each: the wait is in the lag, not hidden.
        self.assertGreater(r["latency"]["send_lag"]["max_s"], 0.3)
        self.assertLess(r["latency"]["ttft"]["p50_s"], r["latency"]["ttft_schedule"]["p50_s"])

    def test_several_source_addresses(self):
        url = self.null_server("--tokens", 2)
        r = self.bench(url, "-c", 6, "-n", 30, "--source", "127.0.0.1,127.0.0.2,127.0.0.3")
        self.assertEqual(self.kinds(r), {"ok": 30})

    def test_what_is_in_flight_at_the_end_is_cut_and_not_failed(self):
        url = self.null_server("--tokens", 1000, "--itl-ms", 50)
        r = self.bench(url, "-c", 2, "-d", 0.5, "--drain", 0.2, "--output", 1000, code=FAILED)
        self.assertEqual(self.kinds(r), {"cut": 2})
        self.assertEqual(r["requests"]["failed"], 0)

    def test_ctrl_c_prints_what_was_measured(self):
        url = self.null_server("--tokens", 4, "--ttft-ms", 5)
        going = self.start("bench", url, "--json", "--no-calibration", "--input", 8, "--output", 4, "-d", 60)
        time.sleep(1)
        going.process.send_signal(signal.SIGINT)
        done = going.wait(20)
        self.assertEqual(done.code, OK, done)
        r = json.loads(done.out)
        self.assertTrue(r["stopped"])
        self.assertGreater(r["requests"]["ok"], 0)

    def test_an_api_key_is_sent_and_shown_nowhere(self):
        seen = []
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    conn, _ = listener.accept()
                    with conn:
                        seen.append(conn.recv(65536).decode())
                        conn.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        done = self.edge_eval("bench", url, "--input", 8, "--output", 4, "-n", 1, "--model", "m", "--no-calibration",
                              "--auth-env", "MY_KEY", "--connections", 1, code=FAILED,
                              env=environment(MY_KEY="s3cret"))  # fmt: skip
        self.assertTrue(any("Authorization: Bearer s3cret\r\n" in s for s in seen), seen)
        self.assertNotIn("s3cret", done.out + done.err)
        for path in self.dir.rglob("*"):
            if path.is_file():
                self.assertNotIn(b"s3cret", path.read_bytes())


class BadUsage(BenchCase):
    def test_each_is_refused_with_what_to_do(self):
        cases = [
            ([], "address of a server"),
            (["ftp://x"], "must begin with http"),
            (["http://"], "no host"),
            (["http://u:p@h/"], "user name or password"),
            (["http://h:99999"], "port"),
            (["http://127.0.0.1:1", "--rate", "1", "--concurrency", "1"], "--rate is an open loop"),
            (["http://127.0.0.1:1", "--rate", "x"], "--rate is"),
            (["http://127.0.0.1:1", "--model", "m"], "--task, --prompts, --trace and --input"),
            (["http://127.0.0.1:1", "--model", "m", "--input", "5"], "--output"),
            (["http://127.0.0.1:1", "--model", "m", "--input", "5", "--output", "0"], "--output is"),
            (["http://127.0.0.1:1", "--slo", "ttft"], "--slo is"),
            (["http://127.0.0.1:1", "--slo", "speed=1s"], "--slo is"),
            (["http://127.0.0.1:1", "--loops", "0"], "--loops is 0"),
            (["http://127.0.0.1:1", "--model", "m", "--input", "5", "--output", "5", "--extra", "[]"], "--extra"),
        ]
        for args, words in cases:
            with self.subTest(args=args):
                done = self.edge_eval("bench", *args, code=USAGE)
                self.assertSays(done.err, words)


if __name__ == "__main__":
    unittest.main()
