"""edge-eval meter: the command it measures keeps its life, and the figures are right."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from harness import FAILED, OK, PROGRAM, SOURCE, USAGE, Case, environment, is_alive, start, wait_until

HEADER = {"edge_eval_power": 1, "repeat": True}


class Meter(Case):
    def recording(self, *samples, components=({"name": "gpu0", "scope": "gpu", "update_ms": 10},)):
        """A source of known power that goes on for ever."""
        lines = [{**HEADER, "components": list(components)}, *samples]
        (self.dir / "power.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return f"replay:{self.dir}/power.jsonl"

    def constant(self, watts=100):
        return self.recording({"t_s": 0, "gpu0": {"w": watts}}, {"t_s": 100, "gpu0": {"w": watts}})

    def meter(self, *args, code=OK, **kw):
        return self.edge_eval("meter", *args, code=code, **kw)

    def measure(self, *args, code=OK):
        """The result as JSON."""
        self.meter("--json", "--output", "out.json", *args, code=code)
        return json.loads((self.dir / "out.json").read_text())


class Commands(Meter):
    def test_the_command_keeps_its_output_input_and_status(self):
        done = subprocess.run(
            [PROGRAM, "meter", "--source", self.constant(), "--", "sh", "-c", "cat; echo oops >&2; exit 3"],
            input=b"hello\n", capture_output=True, cwd=self.dir, env=environment(), check=False)  # fmt: skip
        self.assertEqual(done.returncode, 3)
        self.assertEqual(done.stdout, b"hello\n")
        err = done.stderr.decode()
        self.assertTrue(err.startswith("oops\n"), err)
        self.assertRegex(err, r"(?m)^ Energy of sh -c cat; echo oops >&2; exit 3$")
        self.assertRegex(err, r"(?m)^ component +joules +interval +mean W +peak W +covered +quality +source$")

    def test_joules_are_power_times_time(self):
        out = self.measure("--source", self.constant(123), "--", "sleep", "0.5")
        self.assertEqual(out["of"], "sleep 0.5")
        self.assertGreaterEqual(out["seconds"], 0.5)
        for part in (out["components"][0], out["total"]):
            self.assertAlmostEqual(part["joules"], 123 * out["seconds"], delta=123 * 0.01)
            self.assertLess(part["low_j"], part["joules"])
            self.assertGreater(part["high_j"], part["joules"])
            self.assertAlmostEqual(part["mean_w"], 123, delta=0.01)
        self.assertEqual(out["components"][0]["quality"], "integrated")
        self.assertEqual(out["total"]["scope"], "GPU only")
        self.assertEqual(out["runs"][0]["exit_status"], 0)
        self.assertGreater(out["runs"][0]["max_rss_bytes"], 0)

    def test_what_cannot_be_run_is_one_clear_line(self):
        for command, code, part in [
            ("/nonexistent/program", 127, "cannot run /nonexistent/program: No such file or directory"),
            ("no-such-program", 127, "cannot run no-such-program: No such file or directory"),
            ("/etc/passwd", 126, "cannot run /etc/passwd: Permission denied"),
        ]:
            done = self.meter("--", command, code=code)
            self.assertEqual(done.out, "")
            self.assertEqual(done.err, f"edge-eval: {part}\n")

    def test_a_command_killed_by_a_signal(self):
        for name, number in [("SEGV", 11), ("KILL", 9)]:
            out = self.measure("--", "sh", "-c", f"ulimit -c 0; kill -{name} $$", code=128 + number)
            self.assertEqual(out["runs"][0]["exit_status"], 128 + number)

    def test_a_command_that_detaches_is_told(self):
        for how in ("sleep 30 &", "setsid sleep 30 &"):
            done = self.meter("--", "sh", "-c", f"{how} echo $!")
            left = int(done.out)
            self.assertTrue(is_alive(left), how)
            os.kill(left, signal.SIGKILL)
            self.assertIn("left 1 process running: what they used after its end is not counted", done.err)
        done = self.meter("--", "sh", "-c", "sleep 0.01 & wait")
        self.assertNotIn("left", done.err)

    def test_signals_go_to_the_command(self):
        for sent, name in [(signal.SIGTERM, "TERM"), (signal.SIGUSR1, "USR1"), (signal.SIGINT, "INT")]:
            script = f"trap 'echo got {name}; exit 9' {name}; echo ready >&2; while :; do sleep 0.05; done"
            meter = start("meter", "--", "sh", "-c", script, cwd=self.dir)
            meter.wait_for("ready")
            meter.process.send_signal(sent)
            done = meter.wait()
            self.assertEqual(done.code, 9, done)
            self.assertEqual(done.out, f"got {name}\n")
            self.assertIn("Energy of sh", done.err)

    def test_ctrl_c_reaches_the_command_once(self):
        """The terminal sends it to the whole group: passing it on as well would be a second one."""
        script = "n=0; trap 'n=$((n+1))' INT; echo ready >&2; i=0; while [ $i -lt 20 ]; do sleep 0.05; i=$((i+1)); done; echo $n"
        master, terminal = os.openpty()
        with open(self.dir / "err", "wb") as err:
            process = subprocess.Popen([PROGRAM, "meter", "--", "sh", "-c", script], stdin=terminal,
                                       stdout=subprocess.PIPE, stderr=err, cwd=self.dir, env=environment(),
                                       start_new_session=True, preexec_fn=lambda: take_terminal(0))  # fmt: skip
        wait_until(lambda: b"ready" in (self.dir / "err").read_bytes(), "the command", 60)
        os.write(master, b"\x03")
        out, _ = process.communicate(timeout=60)
        os.close(master)
        os.close(terminal)
        self.assertEqual(out, b"1\n", (self.dir / "err").read_text())

    def test_a_hangup_that_was_ignored_stays_so(self):
        meter = start("meter", "--", "sh", "-c", "echo ready >&2; kill -HUP $$; sleep 0.1; exit 4",
                      cwd=self.dir, before_exec=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # fmt: skip
        self.assertEqual(meter.wait().code, 4)

    def test_a_process_that_runs_already(self):
        child = subprocess.Popen(["sleep", "60"])
        meter = start("meter", "--pid", child.pid, "--source", self.constant(), cwd=self.dir)
        time.sleep(0.5)
        child.kill()
        child.wait()
        done = meter.wait()
        self.assertEqual(done.code, OK, done)
        self.assertIn(f"Energy of process {child.pid}", done.out)
        self.assertEqual(done.err, "")
        done = self.meter("--pid", child.pid, code=FAILED)
        self.assertEqual(done.err, f"edge-eval: there is no process {child.pid} to measure\n")

    def test_a_while_without_a_command(self):
        out = self.measure("--duration", "0.3", "--source", self.constant())
        self.assertAlmostEqual(out["seconds"], 0.3, delta=0.2)
        self.assertNotIn("exit_status", out["runs"][0])


def take_terminal(fd):
    import fcntl
    import termios

    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


class Results(Meter):
    def test_repeats_show_their_spread(self):
        script = "read n < n 2>/dev/null || n=1; echo $((n+1)) > n; sleep 0.$n"
        out = self.measure("--source", self.constant(), "--repeat", "4", "--", "sh", "-c", script)
        joules = [run["joules"]["gpu0"] for run in out["runs"]]
        self.assertEqual(len(joules), 4)
        for n, j in enumerate(joules):
            self.assertAlmostEqual(j, 10 * (n + 1), delta=9)
        c = out["components"][0]
        self.assertAlmostEqual(c["joules"], sum(joules) / 4, places=6)
        self.assertAlmostEqual(c["min_j"], min(joules), places=6)
        self.assertLess(c["spread_low_j"], c["joules"] - 5)
        self.assertGreater(c["spread_high_j"], c["joules"] + 5)
        done = self.meter("--source", self.constant(), "--repeat", "2", "--", "sleep", "0.1")
        self.assertRegex(done.err, r"(?m)^ Energy of sleep 0.1, mean of 2 runs$")
        self.assertRegex(done.err, r"(?m)^ gpu0 .* ±[0-9.e+-]+ % ")

    def test_a_failing_repeat_gives_its_status(self):
        script = "read n < n 2>/dev/null || n=1; echo $((n+1)) > n; [ $n != 2 ] || exit 5"
        done = self.meter("--repeat", "3", "--", "sh", "-c", script, code=5)
        self.assertIn(" run 2 ended with status 5\n", done.err)
        self.assertNotIn(" run 1 ended", done.err)

    def test_a_signal_ends_the_repeats(self):
        script = "echo run >&2; sleep 0.2"
        meter = start("meter", "--repeat", "500", "--", "sh", "-c", script, cwd=self.dir)
        wait_until(lambda: meter.text(1).count("run\n") >= 3, "the third run", 60)
        meter.process.send_signal(signal.SIGTERM)
        done = meter.wait()
        self.assertEqual(done.code, 128 + signal.SIGTERM, done)
        n = int(re.search(r"stopped after (\d+) of 500 runs", done.err)[1])
        self.assertIn(f"mean of {n} runs", done.err)
        self.assertEqual(done.err.count("run\n"), n + 1)

    def test_the_time_series_adds_up(self):
        source = self.recording({"t_s": 0, "gpu0": {"w": 50}}, {"t_s": 0.3, "gpu0": {"w": 250}}, {"t_s": 60, "gpu0": {"w": 250}})
        out = self.measure("--source", source, "--csv", "power.csv", "--interval", "20", "--repeat", "2", "--", "sleep", "0.6")
        with open(self.dir / "power.csv", newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
        self.assertEqual(list(rows[0]), ["run", "t_s", "gpu0_w"])
        for run in ("1", "2"):
            points = [(float(r["t_s"]), float(r["gpu0_w"])) for r in rows if r["run"] == run]
            self.assertGreater(len(points), 10)
            times = [0.0] + [t for t, _ in points]
            joules = sum(w * (b - a) for (_, w), a, b in zip(points, times, times[1:]))
            seconds = out["runs"][int(run) - 1]["seconds"]
            self.assertAlmostEqual(times[-1], seconds, delta=0.1)
            self.assertAlmostEqual(joules, out["runs"][int(run) - 1]["joules"]["gpu0"], delta=250 * 0.1)

    def test_cost(self):
        out = self.measure("--source", self.constant(3600), "--kwh-usd", "0.5", "--", "sleep", "0.2")
        self.assertAlmostEqual(out["usd"], out["total"]["joules"] / 3.6e6 * 0.5, places=12)
        self.assertLess(out["usd_low"], out["usd"])
        done = self.meter("--source", self.constant(3600), "--cost", "--kwh-usd", "0.5", "--", "sleep", "0.2")
        self.assertRegex(done.err, r"(?m)^ cost: \$0\.000\d+ \([0-9.]+\.\.[0-9.]+\) of electricity at \$0\.5/kWh, for GPU only$")

    def test_the_price_book_knows_tariffs(self):
        source = ["--source", self.constant(3600)]
        out = self.measure(*source, "--cost", "--electricity", "us-texas", "--", "sleep", "0.2")
        self.assertEqual(out["usd_per_kwh"], 0.0882)
        self.assertIn("us-texas, 2024-10-17", out["price_source"])
        (self.dir / "own.yaml").write_text(
            "currency: USD\nelectricity:\n  ours: {per_kwh: 0.25, source: contract, date: 2026-09-01}\n"
            "  theirs: {per_kwh: -1, source: contract, date: 2026-09-01}\n"
        )
        own = ["--prices", "own.yaml", "--electricity"]
        done = self.meter(*source, *own, "ours", "--", "sleep", "0.2")
        self.assertRegex(done.err, r"of electricity at \$0\.25/kWh \(ours, 2026-09-01(, stale)?\), for GPU only")
        done = self.meter(*source, *own, "theirs", "--", "true", code=FAILED)
        self.assertIn("per_kwh of electricity theirs is -1, which is negative", done.err)
        done = self.meter(*source, "--prices", "none.yaml", "--electricity", "ours", "--", "true", code=FAILED)
        self.assertIn("none.yaml", done.err)

    def test_openmetrics_for_a_collector(self):
        path = self.dir / "meter.prom"
        self.meter("--source", self.constant(), "--openmetrics", path, "--", "sh", "-c", "sleep 0.2; exit 2", code=2)
        text = path.read_text()
        self.assertTrue(text.endswith("# EOF\n"))
        values, typed = {}, set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                typed.add(line.split()[2])
            elif not line.startswith("#"):
                name, labels, value = re.fullmatch(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)+)\})? (\S+)', line).groups()
                self.assertIn(name, typed)
                component = re.search(r'component="([^"]*)"', labels or "")
                values[name, component and component[1]] = float(value)
        self.assertAlmostEqual(values["edge_eval_meter_energy_joules", "gpu0"], 100 * values["edge_eval_meter_duration_seconds", None], delta=2)
        self.assertEqual(values["edge_eval_meter_exit_status", None], 2)
        self.assertAlmostEqual(values["edge_eval_meter_end_timestamp_seconds", None], time.time(), delta=600)

    def test_a_sensor_that_goes_away_is_missing_and_never_0(self):
        source = self.recording({"t_s": 0, "gpu0": {"w": 50}}, {"t_s": 0.2, "gpu0": {"error": "GPU is \"lost\""}}, {"t_s": 60, "gpu0": {"error": "GPU is \"lost\""}})
        done = self.meter("--source", source, "--openmetrics", "m", "--json", "--output", "out", "--", "sleep", "0.5")
        self.assertEqual(done.err, "")
        out = json.loads((self.dir / "out").read_text())
        for part in (out["components"][0], out["total"]):
            self.assertEqual(part["quality"], "missing")
            self.assertNotIn("joules", part)
        self.assertEqual(out["components"][0]["reason"], 'power: GPU is "lost"')
        text = (self.dir / "m").read_text()
        self.assertIn('edge_eval_meter_missing{component="gpu0",reason="power: GPU is \\"lost\\""} 1\n', text)
        self.assertNotIn("edge_eval_meter_energy_joules{", text)
        done = self.meter("--source", source, "--kwh-usd", "1", "--", "sleep", "0.5")
        self.assertIn('gpu0: missing: power: GPU is "lost"', done.err)
        self.assertIn("cost: none, because the total is missing", done.err)

    def test_an_idle_baseline_is_measured_once_and_subtracted(self):
        env = environment(XDG_CACHE_HOME=str(self.dir / "cache"))
        source = ["--source", self.constant(40)]
        before = self.meter(*source, "--", "sleep", "0.3", env=env)
        self.assertIn(" idle: no idle baseline has been measured: --idle measure does it", before.err)
        self.assertNotIn("above idle", before.err)
        first = self.meter(*source, "--idle", "measure", "--", "sleep", "0.3", env=env)
        self.assertIn("measuring idle power", first.err)
        self.assertEqual(len(list((self.dir / "cache/edge-eval/idle").iterdir())), 1)
        self.meter(*source, "--json", "-o", "out", "--", "sleep", "0.3", env=env)
        out = json.loads((self.dir / "out").read_text())
        c = out["components"][0]
        self.assertAlmostEqual(c["idle_w"], 40, places=3)
        self.assertAlmostEqual(c["above_idle_j"], 0, delta=0.1)
        self.assertLess(c["above_idle_low_j"], c["above_idle_high_j"])
        self.assertTrue(out["idle"]["settled"])
        without = self.meter(*source, "--idle", "none", "--", "sleep", "0.3", env=env)
        self.assertNotIn("idle", without.err)

    def test_no_sensor_at_all(self):
        done = self.meter("--source", "null", "--", "true")
        self.assertIn("total: missing: no energy sensor is in use", done.err)

    def test_files_that_cannot_be_written(self):
        for option in ("--csv", "--output", "--openmetrics"):
            done = self.meter(option, "nowhere/file", "--", "echo", "ran", code=FAILED)
            self.assertIn("nowhere/file", done.err)
            self.assertEqual(done.out, "", "told before the command runs")

    def test_gpus_that_are_not_there(self):
        for source in ("auto", "model"):
            done = self.edge_eval("meter", "--source", source, "--gpus", "gpu7", "--", "echo", "ran", code=FAILED)
            self.assertRegex(done.err, "gpu7")
            self.assertEqual(done.out, "")

    def test_wrong_usage(self):
        for args, part in [
            ([], "usage: edge-eval meter [OPTIONS] -- COMMAND"),
            (["--pid", "1", "--", "true"], "give a command or --pid or --duration"),
            (["--pid", "-4"], "--pid and --duration must be positive"),
            (["--repeat", "0", "--", "true"], "--repeat must be 1 to 1000"),
            (["--repeat", "2", "--duration", "1"], "--repeat needs a command"),
            (["--interval", "1", "--", "true"], "--interval must be 10 to 10000 ms"),
            (["--cost", "--", "true"], "--cost needs the price of electricity: --kwh-usd 0.15"),
            (["--electricity", "eu", "--kwh-usd", "1", "--", "true"], "give --kwh-usd or --electricity, not both"),
            (["--prices", "x.yaml", "--", "true"], "--prices needs --electricity REGION"),
            (["--electricity", "moon", "--", "true"], 'the price book has no electricity "moon"; it has: us-'),
            (["--kwh-usd", "-1", "--", "true"], "--kwh-usd must not be negative"),
            (["ls", "-l"], "unknown option -l"),
            (["--source", "psychic", "--", "true"], 'no energy source "psychic"; known: auto, null, nvml'),
        ]:
            with self.subTest(args=args):
                done = self.meter(*args, code=USAGE)
                self.assertEqual(done.out, "")
                self.assertIn(part, done.err)
                self.assertEqual(done.err.count("\n"), 1, done.err)


@unittest.skipUnless(shutil.which("cc"), "no C compiler to build a fake NVML with")
class Gpus(Meter):
    """Two GPUs of 100 W and 250 W, by a library in NVML's place."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lib = tempfile.TemporaryDirectory()
        tests = SOURCE / "tests"
        subprocess.run(["cc", "-shared", "-fPIC", "-std=c11", "-D_GNU_SOURCE", "-DFAKE_NVML_LIVE", f"-I{tests}",
                        f"-I{SOURCE / 'src'}", "-o", f"{cls.lib.name}/libnvidia-ml.so.1",
                        tests / "support" / "energy_fake_nvml_live.c", tests / "support" / "energy_fake_nvml.c"],
                       check=True)  # fmt: skip

    @classmethod
    def tearDownClass(cls):
        cls.lib.cleanup()
        super().tearDownClass()

    def env(self, **add):
        return environment(LD_LIBRARY_PATH=self.lib.name, XDG_CACHE_HOME=str(self.dir), **add)

    def measure(self, *args, **add):
        self.meter("--json", "-o", "out.json", *args, env=self.env(**add))
        return json.loads((self.dir / "out.json").read_text())

    def test_each_gpu_has_its_joules(self):
        out = self.measure("--", "sleep", "1.5")
        gpus = {c["name"]: c for c in out["components"] if c["scope"] == "gpu"}
        for name, watts in (("gpu0", 100), ("gpu1", 250)):
            self.assertEqual(gpus[name]["quality"], "counter")
            truth = watts * out["seconds"]
            self.assertLess(gpus[name]["low_j"], truth)
            self.assertGreater(gpus[name]["high_j"], truth)
        self.assertEqual([g["driver"] for g in out["gpus"]], ["999.1", "999.1"])
        self.assertEqual([g["max_temperature_c"] for g in out["gpus"]], [60, 60])
        self.assertNotIn("total_of_used_gpus", out)
        self.assertEqual([g["throttled"] for g in out["gpus"]], [0, 0])

    def test_a_job_pays_for_the_gpu_that_it_is_on(self):
        pids = self.dir / "pids"
        out = self.measure("--", "sh", "-c", f"sleep 2.5 & echo $! > {pids}; wait", FAKE_NVML_PIDS=str(pids))
        self.assertEqual([g["used_by_job"] for g in out["gpus"]], [False, True])
        self.assertIs(out["total_of_used_gpus"], True)
        parts = {c["name"]: c.get("joules") for c in out["components"]}
        self.assertAlmostEqual(out["total"]["joules"], parts["gpu1"] + parts["cpu"], places=3)
        pids.write_text("1")  # a process of somebody else
        out = self.measure("--", "sleep", "1.2", FAKE_NVML_PIDS=str(pids))
        self.assertEqual([g["used_by_job"] for g in out["gpus"]], [False, False])
        self.assertNotIn("total_of_used_gpus", out)

    def test_a_gpu_held_back_is_told(self):
        done = self.meter("--", "sleep", "0.5", env=self.env(FAKE_NVML_THROTTLE="1"))
        self.assertRegex(done.err, r"gpu0: its clocks were held back in \d+ of \d+ looks \(power cap\); 1500 to 1500 MHz")

    def test_only_the_gpus_asked_for(self):
        out = self.measure("--gpus", "gpu1", "--source", "nvml", "--", "sleep", "0.5")
        self.assertEqual([c["name"] for c in out["components"]], ["gpu1"])

    def test_doctor_times_their_counters(self):
        out = json.loads(self.edge_eval("doctor", "--json", "--seconds", "1", env=self.env()).out)
        nvml = next(s for s in out["sensors"] if s["name"] == "nvml")
        self.assertEqual(nvml["state"], "found")
        self.assertEqual([c["device"] for c in nvml["components"]], ["Fake GPU", "Fake GPU"])
        self.assertAlmostEqual(nvml["components"][0]["counter"]["update_s"], 0.1, delta=0.05)
        self.assertEqual({c["source"] for c in out["meter"]["components"] if c["name"] != "cpu"}, {"nvml counter"})

    def test_the_proof_for_real_machines_runs(self):
        """On a counter that moves as it should every check holds."""
        done = subprocess.run([sys.executable, SOURCE / "scripts" / "gpu-meter.py", PROGRAM, "out.md", "--", "sleep", "1"],
                              cwd=self.dir, env=self.env(), capture_output=True, text=True, check=False)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("FAILED", done.stdout)
        text = (self.dir / "out.md").read_text()
        self.assertRegex(text, r"(?m)^\| meter -- sleep 5 \| gpu1 \| 1 \| 5\.\d+ \| 12\d\d\.\d \|")
        self.assertEqual(len(re.findall(r"(?m)^\| meter --repeat 5 \| gpu0 \|", text)), 5)
        self.assertIn("`meter --repeat 5 -- sleep 1`:", text)
        found = json.loads((self.dir / "out.json").read_text())
        self.assertTrue(found["pass"])
        self.assertEqual(len(found["clauses"]), 3)
        self.assertEqual([len(c["checks"]) for c in found["clauses"].values()], [4, 12, 2])
        self.assertEqual(len(found["windows"]), 2 + 2 * 5)

    def test_what_the_scripts_read_beside_is_the_counter(self):
        code = """
import json, time, nvml
driver = nvml.Driver()
gpus = {"first": driver.gpu(), "second": driver.gpu("GPU-00000001")}
with nvml.Counters(driver, gpus, memory=True) as counters:
    time.sleep(0.3)
    begin = time.monotonic()
    time.sleep(2)
    end = time.monotonic()
print(json.dumps({
    "name": driver.text("nvmlDeviceGetName", gpus["first"]),
    "watts": [counters.between(name, begin, end) / (end - begin) for name in gpus],
    "before": counters.between("first", begin - 60, end), "after": counters.between("first", begin, end + 60),
    "used": [counters.used_before["first"], counters.used_most["second"]],
}))
"""
        done = subprocess.run([sys.executable, "-c", code], env=self.env(PYTHONPATH=str(SOURCE / "scripts")),
                              capture_output=True, text=True, check=False)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        out = json.loads(done.stdout)
        self.assertEqual(out["name"], "Fake GPU")
        for watts, truth in zip(out["watts"], (100, 250)):
            self.assertAlmostEqual(watts / truth, 1, delta=0.2)
        self.assertEqual([out["before"], out["after"]], [None, None])
        self.assertEqual(out["used"], [20_000_000_000] * 2)


class Doctor(Case):
    def test_every_sensor_has_a_state_and_the_meter_a_verdict(self):
        out = json.loads(self.edge_eval("doctor", "--json", "--seconds", "1").out)
        states = {s["name"]: s for s in out["sensors"]}
        self.assertLessEqual({"nvml", "powercap", "perf", "ina3221", "acpi", "model", "battery", "ipmi", "redfish"}, set(states))
        for s in states.values():
            self.assertIn(s["state"], ("found", "refused", "absent"))
            self.assertTrue(s["state"] == "found" or s["why"], s)
            for c in s["components"]:
                self.assertTrue(c["readable"] or c["why"], c)
        self.assertEqual(states["model"]["state"], "found")
        self.assertGreaterEqual(states["model"]["components"][0]["counter"]["call_s"], 0)
        self.assertGreater(out["meter"]["samples"], 5)
        self.assertGreaterEqual(out["meter"]["cpu_share"], 0)
        self.assertGreater(out["verdict"]["half_width_60s"], 0)
        self.assertLess(out["verdict"]["half_width_60s"], out["verdict"]["half_width_10s"])
        self.assertTrue(out["engine"]["version"] and out["engine"]["device"], out["engine"])

    def test_the_same_for_people(self):
        done = self.edge_eval("doctor", "--seconds", "0.5")
        self.assertEqual(done.err, "")
        for part in ("Energy sensors\n", "  model     found ", "The meter, for 0.5 s", "  overhead  ", "Verdict\n",
                     "Engine\n", "  llama.cpp "):  # fmt: skip
            self.assertIn(part, done.out)

    def test_wrong_usage(self):
        for args in (["--seconds", "0"], ["--seconds", "-1"], ["now"]):
            self.assertEqual(self.edge_eval("doctor", *args, code=USAGE).out, "")


if __name__ == "__main__":
    unittest.main()
