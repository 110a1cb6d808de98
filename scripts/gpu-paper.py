#!/usr/bin/env python3
"""Measures plans/paper.yaml, or another plan of shapes, piece by piece on GPU machines that come and go.

    scripts/gpu-paper.py EDGE_EVAL PLAN WORK_DIR OUT_DIR --seconds 570 [--from paper-run.tar.xz]

goes on with the run in WORK_DIR/run, or unpacks the one an earlier machine left, or begins a new one; measures
for so many seconds; and leaves in OUT_DIR what the next piece needs and what there is to read:

    paper-run.tar.xz    the run's directory without model files, some megabytes
    report.txt          what the rows say so far
    progress.txt        which variants are complete, and what each stage took

Models are written with random weights into WORK_DIR/models (60 GB at most for the published matrix) and
deleted when nothing needs them, so nothing large is carried: a machine needs EDGE_EVAL (a dist folder with
the CUDA backend in its lib/) and the vocabularies of .cache/llama/vocab beside it as vocab/.

--quick asks less of each measurement, for when time on the GPU is short: half the window and half the rows, no
idle power, and no starts from a cold page cache. A run begun with it goes on with it.

Ends with 0 when every stage is done, with 3 when there is more to do, with 1 when that would not help: the run
failed, with time left, and no stage was done.
"""

import argparse
import pathlib
import re
import sqlite3
import subprocess
import sys
import tarfile
import time

PACKING_S = 20  # for the report and the archive, after measuring
KEPT = ("run.db", "run.db-wal", "manifest.json", "logs", "metrics.csv", "metrics.json")


def half_rows(match):
    few, more = int(match[1]), int(match[2])
    return f"rows: [{few}, {few + max(8, (more - few) // 16 * 8)}]"


def quick(text):
    text = re.sub(r"window_s: \d+", "window_s: 5", text)
    text = re.sub(r"rows: \[(\d+), (\d+)\]", half_rows, text)
    text = re.sub(r"idle_s: \d+", "idle_s: 0", text)
    return re.sub(r"cold: \d+", "cold: 0", text)


def rows(run, sql):
    with sqlite3.connect(f"file:{run / 'run.db'}?mode=ro", uri=True) as db:
        return db.execute(sql).fetchall()


def stages_done(run):
    there = (run / "run.db").exists()
    return set(rows(run, "SELECT stage_id FROM stage WHERE status = 'done'")) if there else set()


def prepare(args, run):
    """The arguments that begin the run, or go on with it."""
    if not (run / "run.db").exists() and args.come_from:
        run.mkdir(parents=True, exist_ok=True)
        with tarfile.open(args.come_from) as tar:
            # Python 3.11 as Debian 12 has it knows no filter yet.
            tar.extractall(run, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    if (run / "run.db").exists():
        return ["run", "--resume", run, "--same-machine"]
    plan = args.plan
    if args.quick:
        plan = args.plan.with_name(args.plan.stem + "-quick.yaml")
        plan.write_text(quick(args.plan.read_text(encoding="utf-8")), encoding="utf-8")
    return ["run", plan, "--out", run]


def pack(run, out):
    with tarfile.open(out / "paper-run.tar.xz", "w:xz", preset=3) as tar:
        for name in KEPT:
            if (run / name).exists():
                tar.add(run / name, name)


def progress(run):
    stages = rows(run, "SELECT kind, title, status, wall_s, coalesce(error, '') FROM stage ORDER BY stage_id")
    used = rows(run, "SELECT variant_id, group_concat(kind || ' ' || status, ', ') FROM variant"
                     " LEFT JOIN variant_stage USING (variant_id) LEFT JOIN stage USING (stage_id)"
                     " GROUP BY variant_id ORDER BY variant.ord")  # fmt: skip
    complete = [v for v, s in used if s and "serve done" in s and "score done" in s]
    lines = [f"{len(complete)} of {len(used)} variants complete", ""]
    lines += [f"{title:<52} {status:<7} {wall:8.1f} s  {error}" for _, title, status, wall, error in stages]
    kinds = sorted({k for k, *_ in stages})
    lines += ["", *(f"{k:<9} {sum(s[3] for s in stages if s[0] == k):8.1f} s" for k in kinds)]
    lines += ["", "not complete:", *(f"  {v}: {s or 'nothing yet'}" for v, s in used if v not in complete)]
    return len(complete) == len(used), "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edge_eval")
    parser.add_argument("plan", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--from", dest="come_from", metavar="ARCHIVE")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    begun = time.monotonic()
    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    run = args.work / "run"
    command = [args.edge_eval, *prepare(args, run), "--scratch", args.work / "models"]
    done_before = stages_done(run)
    measuring = time.monotonic()
    budget = int(args.seconds - PACKING_S - (measuring - begun))
    if budget < 1:
        parser.error(f"--seconds should leave time to measure: {PACKING_S} s are for packing")
    done = subprocess.run([*map(str, command), "--budget", str(budget)], check=False)
    has_time_left = time.monotonic() - measuring < budget
    if not (run / "run.db").exists():
        return 1
    report = subprocess.run([args.edge_eval, "report", str(run)], check=False, capture_output=True, text=True)
    (args.out / "report.txt").write_text(report.stdout + report.stderr, encoding="utf-8")
    all_done, text = progress(run)
    (args.out / "progress.txt").write_text(text, encoding="utf-8")
    pack(run, args.out)
    if done.returncode != 0 and has_time_left and stages_done(run) <= done_before:
        print(f"edge-eval run ended with {done.returncode} and did no stage: see its error above", file=sys.stderr)
        return 1
    print(text)
    return 0 if all_done else 3


if __name__ == "__main__":
    sys.exit(main())
