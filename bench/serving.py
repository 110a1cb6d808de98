#!/usr/bin/env python3
"""In-process serving against llama-batched-bench, in turn on one machine: the ratio of medians.

Both come from the same llama.cpp source and run the same model, threads, batch and lengths. Output
tokens a second are counted over prefill and decode on both sides. Needs `make deps build` and
`bench/peers.sh`.

usage: bench/serving.py MODEL.gguf [--prompt 128] [--output 64] [--sequences 1,8,32] [--runs 5]
                        [--threads 2] [--batch 512] [--gpu] [--peers DIR]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("EDGE_EVAL_CACHE", ROOT / ".cache"))


def ours(a, n):
    out = subprocess.run(
        [ROOT / "build/bench/engine_throughput", a.model, str(a.prompt), str(a.output),
         str(a.threads), str(a.batch), str(n)],
        env={**os.environ, "GPU_LAYERS": "all" if a.gpu else "0"},
        check=True, capture_output=True, text=True).stdout
    row = json.loads(out)
    return row["output_tokens_per_s"], row["harness_fraction"]


def theirs(a, n):
    out = subprocess.run(
        [a.peers / "llama-batched-bench", "-ngl", "999" if a.gpu else "0", "-m", a.model, "-npp", str(a.prompt),
         "-ntg", str(a.output), "-npl", str(n), "-c", str(n * (a.prompt + a.output + 256)),
         "-b", str(a.batch), "-ub", str(a.batch), "-t", str(a.threads), "-tb", str(a.threads),
         "--output-format", "jsonl"],
        check=True, capture_output=True, text=True).stdout
    row = json.loads([line for line in out.splitlines() if line.startswith("{")][-1])
    return row["pl"] * row["tg"] / row["t"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--prompt", type=int, default=128)
    p.add_argument("--output", type=int, default=64)
    p.add_argument("--sequences", default="1,8,32")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--batch", type=int, default=512)
    p.add_argument("--gpu", action="store_true", help="the model on the accelerator, on both sides")
    p.add_argument("--peers", type=pathlib.Path, default=CACHE / "peers/build/bin")
    a = p.parse_args()
    print(f"{a.model}: prompt {a.prompt}, output {a.output}, {a.threads} threads, batch {a.batch}, "
          f"{a.runs} runs each, in turn")
    print(f"{'sequences':>9} {'ours tok/s':>12} {'batched-bench':>14} {'ratio':>7} {'harness':>8}")
    for n in (int(s) for s in a.sequences.split(",")):
        pairs = [(ours(a, n), theirs(a, n)) for _ in range(a.runs)]
        mine = statistics.median(o[0] for o, _ in pairs)
        peer = statistics.median(t for _, t in pairs)
        harness = statistics.median(o[1] for o, _ in pairs)
        print(f"{n:>9} {mine:>12.1f} {peer:>14.1f} {mine / peer:>7.3f} {harness:>7.2%}")


if __name__ == "__main__":
    main()
