#!/usr/bin/env python3
"""Recomputes the five published metrics of the 72 published variants, for tests/test_metrics_paper.c.

Independent of src/metrics: exact rational arithmetic on the decimal digits of data/reference/, so
that each printed value is the true one rounded once. An empty cell is a metric that has no value.

    python3 scripts/goldens/make_paper_goldens.py > tests/goldens/metrics/paper.csv
"""

import csv
import pathlib
import sys
from fractions import Fraction

REFERENCE = pathlib.Path(__file__).resolve().parents[2] / "data" / "reference"
KEYS = ("family", "size", "method", "task", "precision")
KWH_USD = Fraction("0.12")
API_REQUEST_USD = Fraction(500, 1000) * Fraction("0.0025")
NOMINAL_GB = {
    ("1B", "fp16"): "2.0", ("1B", "int8"): "1.0", ("1B", "int4"): "0.625",
    ("3B", "fp16"): "6.0", ("3B", "int8"): "3.0", ("3B", "int4"): "1.875",
    ("7B", "fp16"): "14.0", ("7B", "int8"): "7.0", ("7B", "int4"): "4.375",
}


def load(name, keys):
    with open(REFERENCE / f"{name}.csv", newline="") as f:
        rows = {tuple(row[k] for k in keys): row for row in csv.DictReader(f)}
    return rows


def metrics(key, serve, train, quality):
    family, size, method, task, precision = key
    row = serve[key]
    request_j = Fraction(row["energy_j"]) / Fraction(row["n_requests"])
    adapt_usd = Fraction(train[family, size, method, task]["energy_j"]) / 3600000 * KWH_USD
    saving_usd = API_REQUEST_USD - request_j / 3600000 * KWH_USD
    score = Fraction(quality[key]["primary_mean"])
    fp16 = quality.get((family, size, method, task, "fp16"))
    return (
        adapt_usd / saving_usd,
        (score / 10 if task == "chat" else score) / request_j,
        Fraction(row["output_tokens_per_s"]) / Fraction(NOMINAL_GB[size, precision]),
        Fraction(row["load_s"]) * Fraction(row["power_mean_w"]) / request_j,
        100 * score / Fraction(fp16["primary_mean"]) if fp16 else None,
    )


def main():
    serve = load("inference", KEYS)
    train = load("training", KEYS[:4])
    quality = load("quality", KEYS)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(KEYS + ("n_break", "ipw_paper", "rho_sys", "c_tax", "q_ret"))
    for key in sorted(serve):
        values = metrics(key, serve, train, quality)
        out.writerow(key + tuple("" if v is None else f"{float(v):.17g}" for v in values))


if __name__ == "__main__":
    main()
