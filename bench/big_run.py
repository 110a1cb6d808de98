#!/usr/bin/env python3
"""What reports of a run of a million stored requests take: seconds, CPU seconds, peak memory, bytes.

Makes the run once (build/bench/big_run, about 400 MB), then runs each command several times and prints one JSON
line a command with the medians. Goal for `metrics` and `report`: under 5 s and 200 MiB.

usage: bench/big_run.py [--requests 1000000] [--runs 3] [--dir DIR]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(os.environ.get("EDGE_EVAL", ROOT / "build/edge-eval"))

COMMANDS = {
    "metrics": ["metrics", "{run}"],
    "report --format text": ["report", "{run}"],
    "report --format json": ["report", "{run}", "--format", "json"],
    "report --format html": ["report", "{run}", "--format", "html"],
    "compare": ["compare", "{run}"],
    "audit": ["audit", "{run}"],
}


def once(argv):
    """Wall seconds, CPU seconds, peak MiB and bytes on stdout of one process."""
    with tempfile.TemporaryFile() as out:
        begin = time.monotonic()
        p = subprocess.Popen(argv, stdout=out)
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        if p.returncode:
            raise SystemExit(f"{argv} ended with {p.returncode}")
        return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.seek(0, os.SEEK_END)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--requests", type=int, default=1000000)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--dir", type=pathlib.Path, help="keep the run here, and use one that is there")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = a.dir or pathlib.Path(scratch) / "run"
        if not run.exists():
            subprocess.run([ROOT / "build/bench/big_run", run, str(a.requests)], check=True)
        for name, args in COMMANDS.items():
            rows = [once([PROGRAM, *(s.format(run=run) for s in args)]) for _ in range(a.runs)]
            seconds, cpu_s, mib, size = (statistics.median(column) for column in zip(*rows, strict=True))
            print(json.dumps({"command": name, "seconds": round(seconds, 2), "cpu_seconds": round(cpu_s, 2),
                              "peak_mib": round(mib, 1), "bytes": round(size)}), flush=True)


if __name__ == "__main__":
    main()
