#!/usr/bin/env python3
"""ROUGE-L, F1 and EM of edge-eval against ROUGE-L alone of rouge-score, in turn on one machine.

Pairs of a target of 30 and a prediction of 60 words are made from a seed. Both sides score all of
them in every run; the ratio is that of the medians, and the sums of the scores must agree. Needs
`make all`, and a Python with rouge-score==0.1.2:

    python3 -m venv /tmp/rouge && /tmp/rouge/bin/pip install rouge-score==0.1.2
    /tmp/rouge/bin/python bench/quality.py [--pairs 10000] [--runs 3] [--target 30] [--prediction 60]
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

from rouge_score import rouge_scorer

ROOT = pathlib.Path(__file__).resolve().parent.parent


def make_pairs(a):
    """Words as frequent as in text: a few common ones and a long tail."""
    rng = random.Random(1)
    syllables = [c + v for c in "bdfgklmnprstvw" for v in "aeiou"]
    words = ["".join(rng.choice(syllables) for _ in range(rng.randrange(1, 5))) for _ in range(2000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]

    def text(n):
        drawn = rng.choices(words, weights, k=n)
        return " ".join(drawn).capitalize() + "."

    return [{"target": text(a.target), "prediction": text(a.prediction)} for _ in range(a.pairs)]


def ours(path):
    out = subprocess.run([ROOT / "build/bench/quality", path, "1"], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def theirs(scorer, pairs):
    begin = time.perf_counter()
    total = sum(scorer.score(p["target"], p["prediction"])["rougeL"].fmeasure for p in pairs)
    return {"seconds": time.perf_counter() - begin, "rougeL": total}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--pairs", type=int, default=10000)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--target", type=int, default=30)
    p.add_argument("--prediction", type=int, default=60)
    a = p.parse_args()
    pairs = make_pairs(a)
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.writelines(json.dumps(pair) + "\n" for pair in pairs)
        f.flush()
        runs = [(ours(f.name), theirs(scorer, pairs)) for _ in range(a.runs)]
    for mine, peer in runs:
        assert abs(mine["rougeL"] - peer["rougeL"]) < 1e-12 * len(pairs), (mine, peer)
    mine = statistics.median(m["seconds"] for m, _ in runs)
    peer = statistics.median(t["seconds"] for _, t in runs)
    print(f"{len(pairs)} pairs of {a.target} x {a.prediction} words, medians of {a.runs} runs, in turn")
    print(f"edge-eval, ROUGE-L + F1 + EM: {mine:.3f} s ({mine / len(pairs) * 1e6:.2f} us a pair)")
    print(f"rouge-score, ROUGE-L:         {peer:.3f} s ({peer / len(pairs) * 1e6:.2f} us a pair)")
    print(f"ratio: {peer / mine:.0f}; sums of ROUGE-L agree to 1e-12 a pair")


if __name__ == "__main__":
    main()
