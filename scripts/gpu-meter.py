#!/usr/bin/env python3
"""Proves edge-eval meter on a machine with an NVIDIA GPU, since no build machine has one.

Reads the driver's energy counter itself, over and over, beside edge-eval meter, and compares the
two over exactly the meter's windows: five seconds of nothing, and five repeats of a fixed load
on the GPU. Prints what it found, writes it as Markdown and, beside it, as JSON with a verdict on each
thing that was to be shown, and exits with 1 when a check fails.

usage: scripts/gpu-meter.py EDGE_EVAL OUT.md [-- COMMAND...]

COMMAND is the load: some seconds of work on the GPU, the same each time. Without one it is matrix
products by PyTorch where this Python has it, else bench/engine_throughput beside EDGE_EVAL, on the first
model in $EDGE_EVAL_CACHE/models (.cache). Leave the machine alone meanwhile; it takes two to three
minutes.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import nvml

REPEATS = 5
PRODUCTS = """
import torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
b = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
for i in range(2500):
    c = a @ b
torch.cuda.synchronize()
"""


class Checks:
    def __init__(self):
        self.clauses = {}

    def that(self, clause, ok, what):
        print(("ok      " if ok else "FAILED  ") + what)
        c = self.clauses.setdefault(clause, {"pass": True, "checks": []})
        c["pass"] = c["pass"] and bool(ok)
        c["checks"].append({"pass": bool(ok), "what": what})


def number(x, digits=1, unit=""):
    """A figure that may be missing."""
    return "-" if x is None else f"{x:.{digits}f}{unit}"


def share(x, of):
    return None if x is None or not of else 100 * x / of


def doctor(edge_eval):
    out = subprocess.run([edge_eval, "doctor", "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)


def gpus_of(report):
    """Component name to UUID, of the GPUs with an energy counter that can be read."""
    sensor = next(s for s in report["sensors"] if s["name"] == "nvml")
    if sensor["state"] != "found":
        raise SystemExit(f"no GPU to measure: {sensor['why']} {sensor.get('fix', '')}")
    return {c["name"]: c["id"] for c in sensor["components"] if c["readable"] and "counter" in c}


def meter(edge_eval, options, command):
    """The result, and the table a person sees (both of one measurement)."""
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / "out.json"
        subprocess.run([edge_eval, "meter", "--json", "--output", path, *options, "--", *command],
                       stdout=subprocess.DEVNULL, check=True)  # fmt: skip
        return json.loads(path.read_text())


def compare(checks, what, out, counter):
    """One row of the table for each GPU and repeat."""
    rows = []
    clause = f"{what} agrees with the counter within its own interval"
    for c in out["components"]:
        if c["name"] not in counter.gpus:
            continue
        checks.that(clause, c["quality"] == "counter", f"{what}, {c['name']}: {c['quality']} by {c['source']}")
        half = (c["high_j"] - c["low_j"]) / 2
        for n, run in enumerate(out["runs"]):
            joules = run["joules"][c["name"]]
            truth = counter.between(c["name"], run["start_s"], run["end_s"])
            if truth is None:
                checks.that(clause, False, f"{what}, {c['name']}, run {n + 1}: the counter stood still around it")
                continue
            checks.that(clause, abs(joules - truth) <= half,
                        f"{what}, {c['name']}, run {n + 1}: {joules:.1f} J, the counter itself {truth:.1f} J"
                        f" ({100 * (joules / truth - 1):+.2f} %), interval ±{half:.1f} J")  # fmt: skip
            rows.append((what, c["name"], n + 1, run["seconds"], joules, truth, half))
    return rows


def timing(t, unit_s, digits, unit):
    """"every 100 ms at 4.2 ms a read"; of a value that stood still, what is stated."""
    every = t.get("update_s", t["stated_s"])
    return f"every {1e3 * every:.0f} ms at {number(t.get('call_s') and t['call_s'] / unit_s, digits)} {unit} a read"


def device_lines(report, load):
    sensor = next(s for s in report["sensors"] if s["name"] == "nvml")
    first = sensor["components"][0]
    driver = load["gpus"][0].get("driver", "?") if load["gpus"] else "?"
    text = f"{first.get('device', 'GPU')}, driver {driver}; counter {timing(first['counter'], 1e-3, 1, 'ms')}"
    if "power" in first:
        text += f", power {timing(first['power'], 1e-6, 0, 'us')}"
    m = report["meter"]
    return [text + ". " + report["verdict"]["text"],
            f"The meter's overhead: {100 * m['cpu_share']:.2f} % of one core, {1e3 * m['sample_s']:.2f} ms to read"
            f" all sensors, {m['missed_deadlines']} of {m['samples']} deadlines missed."]  # fmt: skip


def window_lines(rows):
    lines = ["| window | GPU | run | s | meter, J | counter read beside it, J | difference | interval |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for what, name, n, seconds, joules, truth, half in rows:
        lines.append(f"| {what} | {name} | {n} | {seconds:.2f} | {joules:.1f} | {truth:.1f} |"
                     f" {100 * (joules / truth - 1):+.2f} % | ±{100 * half / joules:.1f} % |")  # fmt: skip
    return lines


def repeat_lines(load, command):
    lines = [f"`meter --repeat {REPEATS} -- {' '.join(command)}`:", "",
             "| component | joules | interval | spread of the mean | deviation | above idle | quality |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for c in [*load["components"], load["total"]]:
        if c["quality"] == "missing":
            lines.append(f"| {c['name']} | missing: {c['reason']} | | | | | |")
            continue
        half = c["spread_high_j"] - c["joules"] if "spread_high_j" in c else None
        lines.append(f"| {c['name']} | {c['joules']:.1f} | {c['low_j']:.1f}..{c['high_j']:.1f} |"
                     f" {number(share(half, c['joules']), 2, ' %')} | {number(share(c.get('sd_j'), c['joules']), 2, ' %')} |"
                     f" {number(c.get('above_idle_j'))} | {c['quality']} |")  # fmt: skip
    return lines


def remark_lines(idle, load):
    lines = []
    for c in load["components"]:
        if "disagreement" in c:
            lines += ["", f"{c['name']}: integrated power differs from the counter by {100 * c['disagreement']:+.2f} % at most."]
    for g in load["gpus"]:
        why = f" ({g['throttle_reasons']})" if g.get("throttle_reasons") else ""
        lines += ["", f"{g['name']}: busy {number(share(g.get('mean_busy'), 1), 0)} %, at most"
                      f" {number(g.get('max_temperature_c'), 0)} °C, {number(g.get('min_sm_mhz'), 0)} to"
                      f" {number(g.get('max_sm_mhz'), 0)} MHz, held back in {number(share(g.get('throttled'), 1), 0)} %"
                      f" of the looks{why}; used by the job: {g.get('used_by_job', 'not told')}."]  # fmt: skip
    watts = ", ".join(f"{c['name']} {c['mean_w']:.1f} W" for c in idle["components"] if "mean_w" in c)
    return [*lines, "", f"With nothing to do: {watts}."]


def markdown(report, idle, load, rows, command):
    lines = [*device_lines(report, load), "", *window_lines(rows), "", *repeat_lines(load, command)]
    return "\n".join([*lines, *remark_lines(idle, load)]) + "\n"


def shown(command):
    """A program given as text is not repeated in a table."""
    return ["2,500 bf16 products of 8192 x 8192 (PyTorch)"] if PRODUCTS in command else command


def default_load(edge_eval):
    has_torch = subprocess.run([sys.executable, "-c", "import torch, sys; sys.exit(not torch.cuda.is_available())"],
                               stderr=subprocess.DEVNULL, check=False).returncode == 0  # fmt: skip
    if has_torch:
        return [sys.executable, "-c", PRODUCTS]
    program = pathlib.Path(edge_eval).resolve().parent / "bench" / "engine_throughput"
    cache = pathlib.Path(os.environ.get("EDGE_EVAL_CACHE", ".cache"))
    models = sorted((cache / "models").glob("*.gguf"))
    if not program.exists() or not models:
        raise SystemExit(f"no {program} or no model in {cache}/models: give a load after --")
    return [program, models[0], 512, 128, 4, 512, 32, 32, 32, 32]


def main(argv):
    if len(argv) < 3 or (len(argv) > 3 and argv[3] != "--"):
        print(__doc__.split("\n\n")[2], file=sys.stderr)
        return 2
    edge_eval, out_path = argv[1], pathlib.Path(argv[2])
    load_command = [str(word) for word in argv[4:] or default_load(edge_eval)]
    begin = time.monotonic()
    checks = Checks()
    report = doctor(edge_eval)
    driver = nvml.Driver()
    gpus = {name: driver.gpu(uuid) for name, uuid in gpus_of(report).items()}
    with nvml.Counters(driver, gpus) as counter:
        idle = meter(edge_eval, ["--idle", "measure"], ["sleep", "5"])
        load = meter(edge_eval, ["--repeat", str(REPEATS)], load_command)
    rows = compare(checks, "meter -- sleep 5", idle, counter) + compare(checks, f"meter --repeat {REPEATS}", load, counter)
    spread = f"meter --repeat {REPEATS} of a fixed load shows its spread"
    checks.that(spread, len(load["runs"]) == REPEATS, f"{len(load['runs'])} repeats of the load")
    checks.that(spread, all("sd_j" in c for c in load["components"] if c["quality"] != "missing"),
                "the repeats show a spread")  # fmt: skip
    used = [g for g in load["gpus"] if g.get("used_by_job")]
    print(f"note    GPUs on which the driver showed the load's process: {[g['name'] for g in used]}")
    text = markdown(report, idle, load, rows, shown(load_command))
    out_path.write_text(text)
    passed = bool(rows) and all(c["pass"] for c in checks.clauses.values())
    found = {"pass": passed, "seconds": round(time.monotonic() - begin, 1), "clauses": checks.clauses,
             "gpus": load["gpus"], "windows": [dict(zip(("window", "gpu", "run", "seconds", "joules", "counter_j", "half_width_j"), r))
                                               for r in rows], "repeats": load["components"], "total": load["total"],
             "idle": idle["components"], "verdict": report["verdict"]}  # fmt: skip
    out_path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print("\n" + text)
    print(json.dumps({"pass": passed, "seconds": found["seconds"], "clauses": {k: c["pass"] for k, c in checks.clauses.items()}}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
