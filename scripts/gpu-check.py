#!/usr/bin/env python3
"""Proves the GPU path on a machine that has one, since no build machine does.

Runs a plan twice with the same program, on the GPU and on the CPU, and checks in the runs'
databases that the GPU did the work: the device, its memory, sampling on the device, joules from
the driver's energy counter within the sensor's power limits, and answers that agree with the
CPU's. Prints what it found; exits 1 when a check fails.

usage: scripts/gpu-check.py EDGE_EVAL PLAN OUT_DIR
"""

import pathlib
import re
import sqlite3
import subprocess
import sys


def run(edge_eval, plan_text, plan_path, out, gpu_layers):
    text = plan_text + f"\nengine: {{gpu_layers: {gpu_layers}}}\n"
    plan_path.write_text(text)
    subprocess.run([edge_eval, "run", str(plan_path), "--out", str(out)], check=True)
    return sqlite3.connect(f"file:{out}/run.db?mode=ro", uri=True)


def rows(db, sql, *args):
    return db.execute(sql, args).fetchall()


class Checks:
    def __init__(self):
        self.failed = 0

    def that(self, ok, what):
        print(("ok      " if ok else "FAILED  ") + what)
        self.failed += not ok


def check_device(checks, gpu):
    devices = {d for (d,) in rows(gpu, "SELECT DISTINCT device FROM variant")}
    checks.that(devices and all("NVIDIA" in d for d in devices), f"device: {devices}")
    memory = rows(gpu, "SELECT part, min(bytes) FROM memory WHERE device = 'gpu' GROUP BY part")
    parts = dict(memory)
    checks.that(parts.get("device_peak", 0) > parts.get("weights", 1), f"device memory: {parts}")
    sampling = rows(gpu, "SELECT DISTINCT json_extract(result_json, '$.device_sampling')"
                         " FROM stage WHERE kind = 'serve'")
    checks.that(sampling == [(1,)], f"tokens are picked on the device: {sampling}")


def check_energy(checks, gpu):
    windows = rows(gpu, "SELECT window, source, quality, joules, low_j, high_j, mean_w, coverage,"
                        " is_short FROM energy WHERE component LIKE 'gpu%' AND window LIKE 'serve/%'")
    checks.that(bool(windows), f"{len(windows)} GPU energy windows")
    for window, source, quality, joules, low, high, mean_w, coverage, short in windows:
        ok = quality == "counter" and low <= joules <= high and 20 < mean_w < 1200
        checks.that(ok, f"{window}: {joules:.1f} J ({low:.1f}..{high:.1f}), {mean_w:.0f} W, {source},"
                        f" coverage {coverage:.2f}{', short' if short else ''}")


def check_answers(checks, gpu, cpu):
    sql = ("SELECT variant_id, avg(value) FROM score JOIN variant_stage USING (stage_id)"
           " WHERE is_primary GROUP BY variant_id")
    on_cpu = dict(rows(cpu, sql))
    for variant, score in rows(gpu, sql):
        other = on_cpu.get(variant)
        ok = other is not None and abs(score - other) < 0.15
        checks.that(ok, f"{variant}: score {score:.3f} on the GPU, {other} on the CPU")


def main(argv):
    if len(argv) != 4:
        print(__doc__.strip().splitlines()[-1], file=sys.stderr)
        return 2
    edge_eval, plan, out = argv[1], pathlib.Path(argv[2]), pathlib.Path(argv[3])
    out.mkdir(parents=True, exist_ok=True)
    text = plan.read_text()
    gpu = run(edge_eval, text, out / "gpu.yaml", out / "gpu", "all")
    once = re.sub(r"repeats: \d+", "repeats: 1", text)
    cpu = run(edge_eval, once, out / "cpu.yaml", out / "cpu", 0)
    checks = Checks()
    check_device(checks, gpu)
    check_energy(checks, gpu)
    check_answers(checks, gpu, cpu)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
