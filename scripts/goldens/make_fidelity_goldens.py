#!/usr/bin/env python3
"""Writes tests/goldens/quality/fidelity.jsonl: rows of logits and what they say of two models.

    python3 -m venv /tmp/goldens && /tmp/goldens/bin/pip install numpy==2.4.6
    /tmp/goldens/bin/python scripts/goldens/make_fidelity_goldens.py

Exact values are computed with decimal numbers of 60 digits. Those "as the tool" follow
llama-perplexity of llama.cpp v0.5.0 step by step in numpy's float32; its exponential may differ
from the C library's in the last bit, so they are good to about 1e-5. The last line has the figures
of all rows together, one window a line, from numpy.
"""

import datetime
import decimal
import json
import math
import pathlib

import numpy as np

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "quality" / "fidelity.jsonl"
SCRIPT = "scripts/goldens/make_fidelity_goldens.py"
F = np.float32

decimal.getcontext().prec = 60


def exact(base, other, token):
    b = [decimal.Decimal(float(x)) for x in base]
    o = [decimal.Decimal(float(x)) for x in other]
    log_b = sum(x.exp() for x in b).ln()
    log_o = sum(x.exp() for x in o).ln()
    kl = sum((x - log_b).exp() * ((x - log_b) - (y - log_o)) for x, y in zip(b, o))
    return {
        "kl": float(kl),
        "nll_base": float(log_b - b[token]),
        "nll_other": float(log_o - o[token]),
        "same_top": int(np.argmax(base)) == int(np.argmax(other)),
    }


def log_sum(x):
    return F(math.log(np.exp(x - x.max()).astype(np.float64).sum()))


def tool(base, other, token):
    top = base.max()
    low = max(base.min(), top - F(16))
    log_base = log_sum(base)
    lowest = low - top - log_base
    scale = (top - low) / F(65535)
    rounded = np.where(base > low, np.rint((F(1) / scale if scale else F(0)) * (base - low)), F(0)).astype(F)
    log_p = scale * rounded + lowest
    log_other = log_sum(other)
    kept = log_p > F(-16)
    terms = np.exp(log_p) * (log_p - other + (other.max() + log_other))
    nll_other = other.max() + log_other - other[token]
    nll_base = -(scale * rounded[token] + lowest)
    return {
        "nll_exact": float(top + log_base - base[token]),
        "nll_base": float(nll_base),
        "nll_other": float(nll_other),
        "kl": float(terms[kept].astype(np.float64).sum()),
        "p_diff": float(np.exp(-nll_other) - np.exp(-nll_base)),
        "same_top": int(np.argmax(other)) == int(np.argmax(rounded)),
    }


def short(row):
    """As few digits as tell a float32 from its neighbours."""
    return [float(str(x)) for x in row]


def rows():
    rng = np.random.default_rng(16)
    for i in range(120):
        n = int(rng.integers(2, 120))
        base = (rng.normal(size=n) * rng.choice([0.1, 1, 3, 8])).astype(F)
        other = (base + rng.normal(size=n) * rng.choice([0, 1e-4, 0.05, 1, 5])).astype(F)
        if i % 7 == 0:
            other = other + F(rng.normal() * 30)  # a shift of all logits changes nothing
        if i % 11 == 0:
            base[:] = base[0]  # no preference at all
        if i % 13 == 0:
            base[rng.integers(n)] += F(40)  # certainty
        yield base, other, int(rng.integers(n))


def main():
    lines = []
    for base, other, token in rows():
        lines.append({
            "base": short(base), "other": short(other), "next": token,
            "exact": exact(base, other, token), "tool": tool(base, other, token),
        })  # fmt: skip
    values = {k: np.array([line["exact"][k] for line in lines], dtype=float) for k in lines[0]["exact"]}
    kl = values["kl"]
    summary = {
        "kl_mean": kl.mean(), "kl_median": np.quantile(kl, 0.5), "kl_p99": np.quantile(kl, 0.99),
        "kl_max": kl.max(), "same_top": values["same_top"].mean(),
        "ppl_base": math.exp(values["nll_base"].mean()), "ppl_other": math.exp(values["nll_other"].mean()),
        "ppl_ratio": math.exp((values["nll_other"] - values["nll_base"]).mean()),
    }  # fmt: skip
    origin = {
        "package": "numpy, decimal", "version": np.__version__,
        "functions": "decimal.Decimal.exp, ln; numpy float32 and quantile",
        "script": SCRIPT, "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    with open(OUT, "w", encoding="utf-8", newline="\n") as f:
        for line in [{"origin": origin}, *lines, {"summary": {k: float(v) for k, v in summary.items()}}]:
            f.write(json.dumps(line, separators=(",", ":")) + "\n")
    print(f"{OUT.name}: {len(lines)} rows")


if __name__ == "__main__":
    main()
