#!/usr/bin/env python3
"""In-process serving on a GPU against llama-batched-bench, in turn: the ratio of medians.

For the shapes of Llama 3.2 1B (Q4_0, F16) and 3.1 8B (Q4_0), with random weights that `edge-eval synth`
writes into WORK_DIR, at 1, 16, 40 and 100 sequences of 128 prompt and 128 answer tokens. Both programs
measure all four counts in one start; rounds go on, at most 5, while the next would end in time. Where the
goal of 0.97 is missed and time is left, picking tokens on the host is measured as well. Prints one JSON
object; exits 1 when the goal is missed.

BUILD is a build directory of edge-eval (bench/engine_throughput and edge-eval in it), PEER the
llama-batched-bench of the same llama.cpp source. Both need the CUDA backend beside their libraries
(scripts/cuda-backend.sh).

usage: scripts/gpu-serving.py BUILD PEER WORK_DIR [--seconds 220] [--sequences 1,16,40,100]
                              [--models 1b-q4,1b-f16,8b-q4,FILE.gguf] [--batch 2048] [--threads 8] [--cpu]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

GOAL = 0.97
PROMPT = OUTPUT = 128
MOST_ROUNDS = 5
MODELS = {
    "1b-q4": ("llama-3.2-1b", "Q4_0"),
    "1b-f16": ("llama-3.2-1b", "F16"),
    "8b-q4": ("llama-3.1-8b", "Q4_0"),
}


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def json_lines(argv, env=None):
    done = subprocess.run([str(a) for a in argv], env={**os.environ, **(env or {})},
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"gpu-serving: {argv[0]} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Bench:
    def __init__(self, a):
        self.a = a
        self.counts = [int(n) for n in a.sequences.split(",")]
        self.begin = time.monotonic()

    def left(self):
        return self.a.seconds - (time.monotonic() - self.begin)

    def ours(self, model, sampling=None):
        """{sequences: row of engine_throughput}"""
        env = {"GPU_LAYERS": "0" if self.a.cpu else "all"}
        if sampling:
            env["DEVICE_SAMPLING"] = sampling
        rows = json_lines([self.a.build / "bench/engine_throughput", model, PROMPT, OUTPUT,
                           self.a.threads, self.a.batch, *self.counts], env)
        return {r["sequences"]: r for r in rows}

    def theirs(self, model):
        """{sequences: output tokens a second, over prefill and decode}"""
        rows = json_lines([self.a.peer, "-m", model, "-ngl", "0" if self.a.cpu else "999",
                           "-npp", PROMPT, "-ntg", OUTPUT,
                           "-npl", ",".join(map(str, self.counts)),
                           "-c", max(self.counts) * (PROMPT + OUTPUT + 256),
                           "-b", self.a.batch, "-ub", self.a.batch,
                           "-t", self.a.threads, "-tb", self.a.threads,
                           "--output-format", "jsonl"])
        return {r["pl"]: r["pl"] * r["tg"] / r["t"] for r in rows if "pl" in r}

    def synth(self, name):
        if name.endswith(".gguf"):
            return pathlib.Path(name)
        shape, kind = MODELS[name]
        path = self.a.work / f"{shape}.{kind}.gguf"
        if not path.exists():
            part = path.with_suffix(".part")
            json_lines([self.a.build / "edge-eval", "synth", shape, part, "--type", kind, "--json"])
            part.rename(path)
        return path

    def rounds(self, paths):
        """{name: ([ours], [theirs])}, measured in turn until the time is over."""
        found = {name: ([], []) for name in paths}
        longest = 0.0
        for i in range(MOST_ROUNDS):
            if i > 0 and self.left() < 1.1 * longest:
                break
            began = time.monotonic()
            for name, path in paths.items():
                for side in (0, 1) if i % 2 == 0 else (1, 0):
                    found[name][side].append(self.theirs(path) if side else self.ours(path))
            longest = max(longest, time.monotonic() - began)
            say(f"round {i + 1}: {time.monotonic() - began:.0f} s")
        return found


def density(ours, n):
    """Tokens a second for each GB of device memory; None without a device."""
    taken = ours[0][n]["device_bytes"]
    return taken and round(statistics.median(r[n]["output_tokens_per_s"] for r in ours) / (taken / 1e9), 1) or None


def ratio_row(n, ours, theirs):
    mine = [r[n]["output_tokens_per_s"] for r in ours]
    peer = [r[n] for r in theirs]
    ratio = statistics.median(mine) / statistics.median(peer)
    return {"sequences": n, "ratio": round(ratio, 4), "ok": ratio >= GOAL,
            "ours_tokens_per_s": round(statistics.median(mine), 1),
            "batched_bench_tokens_per_s": round(statistics.median(peer), 1),
            "harness_fraction": statistics.median(r[n]["harness_fraction"] for r in ours),
            "weights_bytes": ours[0][n]["weights_bytes"], "kv_bytes": ours[0][n]["kv_bytes"],
            "device_bytes": ours[0][n]["device_bytes"], "rho_sys_tokens_per_s_per_gb": density(ours, n),
            "prefill_s": statistics.median(r[n]["prefill_s"] for r in ours),
            "ours": [round(v, 1) for v in mine], "batched_bench": [round(v, 1) for v in peer]}


def gpu_facts():
    try:
        out = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm",
                              "--format=csv,noheader"], capture_output=True, text=True, timeout=20)
        return out.stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("peer", type=pathlib.Path)
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--seconds", type=float, default=220)
    p.add_argument("--sequences", default="1,16,40,100")
    p.add_argument("--models", default="1b-q4,1b-f16,8b-q4")
    p.add_argument("--batch", type=int, default=2048)
    p.add_argument("--threads", type=int, default=min(8, os.cpu_count() or 1))
    p.add_argument("--cpu", action="store_true", help="no accelerator on either side: a trial")
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(a)
    paths = {name: bench.synth(name) for name in a.models.split(",")}
    say(f"models ready after {time.monotonic() - bench.begin:.0f} s")
    found = bench.rounds(paths)
    result = {"gpu": gpu_facts(), "goal": GOAL, "prompt": PROMPT, "output": OUTPUT,
              "batch": a.batch, "models": []}
    for name, path in paths.items():
        ours, theirs = found[name]
        rows = [ratio_row(n, ours, theirs) for n in bench.counts]
        entry = {"model": name, "file_bytes": path.stat().st_size, "rounds": len(ours),
                 "sequences": rows}
        began = time.monotonic()
        if not all(r["ok"] for r in rows) and not a.cpu and bench.left() > 25:
            host = bench.ours(path, "off")
            entry["picked_on_the_host"] = {n: host[n] for n in bench.counts}
            say(f"{name}: picking on the host measured in {time.monotonic() - began:.0f} s")
        result["models"].append(entry)
    result["seconds"] = round(time.monotonic() - bench.begin, 1)
    result["ok"] = all(r["ok"] for m in result["models"] for r in m["sequences"])
    print(json.dumps(result, indent=1))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
