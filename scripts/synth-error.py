#!/usr/bin/env python3
"""How far random weights mislead: a real model beside its synthetic twin, measured in one run.

    scripts/synth-error.py EDGE_EVAL MODEL.gguf DIR [--items N] [--window S] [--repeats N] [--rows N] [--threads N]

writes the model's twin into DIR (edge-eval synth --like: same shape, same types, random numbers), measures
both from one plan (serving rag prompts in three precisions with forced answer lengths, and one LoRA
training on the same rows) and prints, for each stage, the twin's time, joules and power over the real
model's: medians over the repeats, and the range of all their pairs. Joules are the GPU's, or the whole
machine's where no GPU is measured. DIR/synth-error.json has the same; the run lies in DIR/run, and what is
done there is not done again. Leave the machine alone meanwhile.
"""

import argparse
import json
import os
import pathlib
import sqlite3
import statistics
import subprocess
import sys

PLAN = """
name: synth-error
seed: 1
models:
  - {{path: "{real}", id: real}}
  - {{path: twin.gguf, id: twin}}
methods: {{none: [fp16, int8, int4], lora: [fp16]}}
tasks: {{rag: {{items: {items}, max_tokens: 150}}}}
adapt: {{items: {rows}}}
serve: {{concurrency: {items}, lengths: forced, window_s: {window}, repeats: {repeats}}}
load: {{warm: 1, cold: 0}}
engine: {{batch: 2048, threads: {threads}}}
energy: {{idle_s: 5, phases_s: 0}}
score: {{primary: text}}
"""

# One row a window: the work in it is that of its requests, or of all steps of the training.
WINDOWS = """
SELECT title, window, component, scope, (end_ns - start_ns) / 1e9, joules, above_idle_j,
  CASE kind WHEN 'adapt' THEN 1 ELSE
    (SELECT count(*) FROM request WHERE request.stage_id = stage.stage_id AND window = 'serve/' || repeat) END
FROM energy JOIN stage USING (stage_id)
WHERE status = 'done' AND joules IS NOT NULL AND (window LIKE 'serve/%' OR window = 'adapt/steps')
"""
FIGURES = ("seconds", "joules", "watts", "watts above idle")


def measure(args):
    twin = args.dir / "twin.gguf"
    if not twin.exists():
        subprocess.run([args.binary, "synth", "--like", args.model, twin], check=True)
    run = args.dir / "run"
    if (run / "run.db").exists():
        how = ["--resume", run]
    else:
        plan = args.dir / "plan.yaml"
        plan.write_text(PLAN.format(real=args.model.resolve(), **vars(args)), encoding="utf-8")
        how = [plan, "--out", run]
    subprocess.run([args.binary, "run", *how], check=True)
    return run


def figures(run):
    """{stage without the model's name: {real|twin: [a window's figures for each unit of work]}}, scope of joules."""
    with sqlite3.connect(f"file:{run / 'run.db'}?mode=ro", uri=True) as db:
        rows = db.execute(WINDOWS).fetchall()
    gpu = any(component.startswith("gpu") for _, _, component, *_ in rows)
    scope, stages = "the GPU's own" if gpu else "no energy", {}
    for title, _, component, whose, seconds, joules, above, work in rows:
        if not (component.startswith("gpu") if gpu else component == "total"):
            continue
        scope = scope if gpu else whose
        words = title.split()
        who = words.pop(1)  # "serve MODEL TASK PRECISION", "adapt MODEL TASK METHOD"
        one = (seconds / work, joules / work, joules / seconds, above and above / seconds)
        stages.setdefault(" ".join(words), {}).setdefault(who, []).append(dict(zip(FIGURES, one)))
    return stages, scope


def ratios(sides):
    """Twin over real, figure by figure: (of the medians, lowest pair, highest pair)."""
    out = {}
    for name in FIGURES:
        real, twin = ([w[name] for w in sides.get(who, []) if w[name]] for who in ("real", "twin"))
        if real and twin:
            pairs = [t / r for t in twin for r in real]
            out[name] = (statistics.median(twin) / statistics.median(real), min(pairs), max(pairs))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", metavar="EDGE_EVAL")
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL.gguf")
    parser.add_argument("dir", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--items", type=int, default=100, help="prompts, all in flight (100)")
    parser.add_argument("--window", type=float, default=5, help="seconds of a repeat at least (5)")
    parser.add_argument("--repeats", type=int, default=3, help="of serving (3)")
    parser.add_argument("--rows", type=int, default=400, help="to train on (400)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the CPU (all)")
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    stages, scope = figures(measure(args))
    result = {s: {"windows": sides, "twin_over_real": ratios(sides)} for s, sides in stages.items()}
    (args.dir / "synth-error.json").write_text(json.dumps({"scope": scope, "stages": result}, indent=1))
    print(f"twin / real model, joules: {scope}")
    print("| stage | " + " | ".join(FIGURES) + " |\n|---" + "|---" * len(FIGURES) + "|")
    for stage, r in result.items():
        cells = ("%.3f (%.3f to %.3f)" % r["twin_over_real"][f] if f in r["twin_over_real"] else "-" for f in FIGURES)
        print(f"| {stage} | " + " | ".join(cells) + " |")
    return 0 if result and all(r["twin_over_real"] for r in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
