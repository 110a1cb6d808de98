#!/usr/bin/env python3
"""Writes tests/goldens/stats/*.jsonl: what src/stats must compute, from somewhere else.

    python3 -m venv /tmp/goldens
    /tmp/goldens/bin/pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0 mpmath==1.4.1 arch==8.0.0
    /tmp/goldens/bin/python scripts/goldens/make_stats_goldens.py

dist.jsonl        normal and beta quantiles by mpmath, with 40 digits
proportion.jsonl  statsmodels, scipy, published examples, and the score interval by maximizing the
                  likelihood numerically instead of in closed form
tied.jsonl        the two added items really added; Fieller by root finding
bootstrap.jsonl   scipy.stats.bootstrap (BCa), and bootstrap-t in numpy, with many resamples
percentile.jsonl  numpy quantiles, binomial ranks by scipy, block lengths by arch
repeats.jsonl     scipy's t, and Monte Carlo in numpy with 2,000,000 draws
multiple.jsonl    Holm by statsmodels

The first line of each file tells where it comes from. A bound that is infinite is null.
"""

import datetime
import json
import math
import pathlib
import platform

import arch
import mpmath
import numpy as np
import scipy
import statsmodels
from arch.bootstrap import optimal_block_length
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "stats"
Z = stats.norm.ppf(0.975)


def bound(x):
    return float(x) if math.isfinite(x) else None


def interval(low, high):
    return {"low": bound(low), "high": bound(high)}


# --- Distributions -----------------------------------------------------------------------------


def dist_goldens():
    mpmath.mp.dps = 40
    for p in [1e-300, 1e-12, 1e-6, 0.001, 0.025, 0.3, 0.5, 0.84, 0.975, 0.9999]:
        with mpmath.workdps(400 if p < 1e-30 else 40):
            tail = lambda z: mpmath.log(mpmath.ncdf(z)) - mpmath.log(mpmath.mpf(p))
            z = mpmath.findroot(tail, mpmath.mpf(stats.norm.ppf(p)), tol=1e-60, verify=False)
        yield {"kind": "normal", "p": p, "x": float(z)}
    for a, b in [(1, 40), (40, 1), (2, 39), (380, 21), (9900.5, 101), (0.5, 0.5), (20, 0.3), (950000, 50001)]:
        for p in [0.025, 0.5, 0.975]:
            guess = stats.beta.ppf(p, a, b)
            if a + b > 1e5:
                x = guess  # mpmath is slow there; scipy's Boost is good to 1e-14
            else:
                # A Newton step from 14 digits gives 28.
                g = mpmath.mpf(guess)
                off = mpmath.betainc(a, b, 0, g, regularized=True) - mpmath.mpf(p)
                x = float(g - off * mpmath.beta(a, b) / (g ** (a - 1) * (1 - g) ** (b - 1)))
            yield {"kind": "beta", "p": p, "a": a, "b": b, "x": x}


# --- Proportions -------------------------------------------------------------------------------


def wilson_low(x, n):
    if 1 <= x <= 3 and 2 * x <= n:
        return stats.chi2.ppf(0.05, 2 * x) / 2 / n
    return proportion_confint(x, n, method="wilson")[0] if x else 0.0


def most_likely_cells(counts, ratio):
    """The cells of largest likelihood among those with the given ratio of proportions.

    The constraint is linear, sum(w p) = 0, so that Lagrange's condition is p = n / (N + m w) with one
    unknown m; a cell without items may take what is left where its own condition N + m w >= 0 binds.
    """
    n, w = np.array(counts, float), np.array([1 - ratio, 1, -ratio, 0])
    total = n.sum()
    some = n > 0
    excess = lambda m: np.sum(w[some] * n[some] / (total + m * w[some]))
    low = max((-total / v for v in w if v > 0), default=-math.inf)
    high = min((-total / v for v in w if v < 0), default=math.inf)
    # At a cell with items the excess diverges: step off the edge there.
    inner = lambda m, edge: m + (edge - m) * (1 - 1e-13)
    low_in, high_in = inner(0, low), inner(0, high)
    if excess(low_in) > 0 > excess(high_in):
        m = optimize.brentq(excess, low_in, high_in, xtol=1e-13)
        slack = 0
    else:
        m = low if excess(low_in) < 0 else high
        slack = excess(m)
    p = np.where(some, n / np.where(some, total + m * w, 1), 0)
    empty = [i for i in range(4) if not some[i] and abs(total + m * w[i]) < 1e-6 * total]
    if empty:
        p[empty[0]] = -slack / w[empty[0]]
    assert abs(p.sum() - 1) < 1e-6 and abs(w @ p) < 1e-6, (counts, ratio, p)
    return p


def score_statistic(counts, ratio):
    both, only_a, only_b, neither = counts
    p = most_likely_cells(counts, ratio)
    n = sum(counts)
    return (both + only_a - ratio * (both + only_b)) / math.sqrt(n * ratio * (max(p[1], 0) + max(p[2], 0)))


def score_ratio(counts):
    both, only_a, only_b, _ = counts
    middle = math.log((both + only_a + 0.01) / (both + only_b + 0.01))

    def root(target, outer):
        f = lambda log_r: score_statistic(counts, math.exp(log_r)) - target
        return math.exp(optimize.brentq(f, middle + outer * 1e-3, middle + outer * 6, xtol=1e-12))

    return root(Z, -1), root(-Z, 1)


def bonett_price_difference(counts):
    _, a, b, _ = counts
    n = sum(counts) + 2
    p, q = (a + 1) / n, (b + 1) / n
    half = Z * math.sqrt((p + q - (p - q) ** 2) / n)
    return p - q - half, p - q + half


def proportion_goldens():
    for x, n in [(0, 40), (1, 40), (2, 40), (3, 40), (20, 40), (38, 40), (39, 40), (40, 40), (1, 1), (0, 1),
                 (3, 100), (4, 100), (97, 100), (77, 100), (1, 2), (500, 100000)]:
        yield {"kind": "wilson", "x": x, "n": n, **interval(wilson_low(x, n), 1 - wilson_low(n - x, n))}
        low, high = proportion_confint(x, n, method="beta")
        yield {"kind": "clopper", "x": x, "n": n, **interval(low, high)}
    tables = [(6, 26, 4, 12), (59, 6, 16, 80), (30, 1, 3, 6), (30, 0, 3, 7), (70, 5, 2, 23), (31, 0, 2, 7), (2, 1, 1, 36)]
    for t in tables:
        low, high = score_ratio(t)
        p = mcnemar([[t[0], t[1]], [t[2], t[3]]], exact=False, correction=False).pvalue
        yield {"kind": "ratio", "counts": t, "estimate": (t[0] + t[1]) / (t[0] + t[2]), "p": p, **interval(low, high)}
    for t in tables + [(31, 0, 0, 9), (0, 0, 0, 40), (40, 0, 0, 0)]:
        low, high = bonett_price_difference(t)
        yield {"kind": "difference", "counts": t, "estimate": (t[1] - t[2]) / sum(t), **interval(low, high)}
    # Published with as many digits: the documentation of R's statpsych (by D. G. Bonett) and the tests of
    # R's contingencytables (by M. W. Fagerland and others).
    yield {"kind": "published difference", "counts": (6, 26, 4, 12), "digits": 7, **interval(0.2548067, 0.6251933)}
    yield {"kind": "published ratio", "counts": (6, 26, 4, 12), "digits": 6, **interval(1.766544, 5.796628)}
    yield {"kind": "published ratio", "counts": (59, 6, 16, 80), "digits": 4, **interval(0.7579, 0.9910)}
    yield {"kind": "published score ratio", "counts": (59, 6, 16, 80), "digits": 4, **interval(0.7476, 0.9876)}
    rng = np.random.default_rng(3)
    for x in [rng.beta(8, 3, 40), np.where(rng.random(60) < 0.3, 0, rng.beta(2, 1.5, 60)), np.full(12, 0.5)]:
        n, m = len(x), x.mean()
        s = x.std(ddof=1)
        effective = n * m * (1 - m) / s**2 if s > 1e-12 else n
        t = stats.t.ppf(0.975, n - 1)
        # The roots of (m - p)^2 = t^2 p (1 - p) / n.
        roots = np.roots([1 + t * t / effective, -2 * m - t * t / effective, m * m])
        yield {"kind": "bounded mean", "x": x.tolist(), "estimate": m, **interval(min(roots), max(roots))}


# --- Paired scores that mostly agree ------------------------------------------------------------


def added_items(a, b, limit):
    d = a - b
    different = d[d != 0]
    squares = np.append(different**2, limit**2) if limit else different**2
    return math.sqrt(squares.mean())


def tied_difference(a, b, limit):
    d = added_items(a, b, limit)
    x = np.concatenate([a - b, [d, -d]])
    half = stats.t.ppf(0.975, len(a) - 1) * x.std() / math.sqrt(len(x))
    return x.mean() - half, x.mean() + half


def tied_ratio(a, b, limit):
    n = len(a)
    d = added_items(a, b, limit)
    cov = np.cov(a, b) + np.eye(2) * d * d / n
    t = stats.t.ppf(0.975, n - 1)

    def excess(r):
        w = np.array([1, -r])
        return abs(a.mean() - r * b.mean()) / math.sqrt(w @ cov @ w / n) - t

    r = a.mean() / b.mean()
    low = optimize.brentq(excess, r - 20, r, xtol=1e-13) if excess(r - 20) > 0 else -math.inf
    high = optimize.brentq(excess, r, r + 1e4, xtol=1e-13) if excess(r + 1e4) > 0 else math.inf
    return max(low, 0) if limit else low, high


def tied_goldens():
    rng = np.random.default_rng(4)

    def f1(n):
        u = rng.random(n)
        return np.where(u < 0.2, 0.0, np.where(u > 0.5, 1.0, np.round(rng.beta(2, 1.5, n), 6)))

    for n, share, limit in [(40, 0.05, 1), (40, 0.3, 1), (100, 0.1, 1), (25, 0.5, 0), (8, 0.4, 1)]:
        b = f1(n)
        a = np.where(rng.random(n) < share, f1(n), b)
        row = {"a": a.tolist(), "b": b.tolist(), "bound": limit}
        yield {"kind": "difference", **row, "estimate": (a - b).mean(), **interval(*tied_difference(a, b, limit))}
        yield {"kind": "ratio", **row, "estimate": a.mean() / b.mean(), **interval(*tied_ratio(a, b, limit))}
    b = f1(30)
    row = {"a": b.tolist(), "b": b.tolist(), "bound": 1}
    yield {"kind": "difference", **row, "estimate": 0, **interval(*tied_difference(b, b, 1))}
    yield {"kind": "ratio", **row, "estimate": 1, **interval(*tied_ratio(b, b, 1))}


# --- Resampling ----------------------------------------------------------------------------------

RESAMPLES = 400000


def boot_t(statistic, se, data, centre, inverse, rng):
    """The symmetric bootstrap-t of a statistic on a scale, transformed back."""
    n = data.shape[1]
    t = []
    for _ in range(RESAMPLES // 1000):
        sample = data[:, rng.integers(0, n, (1000, n))]
        with np.errstate(divide="ignore", invalid="ignore"):
            t.append(np.abs(statistic(sample) - centre) / se(sample))
    half = np.quantile(np.concatenate(t), 0.95) * se(data[:, None, :])[0]
    return inverse(centre - half), inverse(centre + half)


def bootstrap_goldens():
    rng = np.random.default_rng(5)
    same = lambda v: v
    for n, sigma in [(30, 0.4), (40, 0.9), (12, 0.3)]:
        b = rng.lognormal(0, sigma, n)
        a = 0.8 * b * rng.lognormal(0, 0.3 * sigma, n)
        row = {"a": a.tolist(), "b": b.tolist()}
        mean = lambda x, axis: x.mean(axis=axis)
        r = stats.bootstrap((b,), mean, n_resamples=RESAMPLES, method="BCa", batch=20000, rng=rng)
        yield {"kind": "bca mean", **row, "estimate": b.mean(), **interval(*r.confidence_interval)}
        ratio = lambda x, y, axis: x.sum(axis=axis) / y.sum(axis=axis)
        r = stats.bootstrap((a, b), ratio, n_resamples=RESAMPLES, method="BCa", paired=True, batch=20000, rng=rng)
        yield {"kind": "bca ratio", **row, "estimate": a.sum() / b.sum(), **interval(*r.confidence_interval)}

        data = np.array([b])
        se = lambda s: s[0].std(axis=-1, ddof=1) / math.sqrt(n)
        low, high = boot_t(lambda s: s[0].mean(axis=-1), se, data, b.mean(), same, rng)
        yield {"kind": "t mean", **row, "estimate": b.mean(), **interval(low, high)}
        log_se = lambda s: s[0].std(axis=-1, ddof=1) / math.sqrt(n) / s[0].mean(axis=-1)
        low, high = boot_t(lambda s: np.log(s[0].mean(axis=-1)), log_se, data, math.log(b.mean()), np.exp, rng)
        yield {"kind": "t log mean", **row, "estimate": b.mean(), **interval(low, high)}

        def ratio_se(s):
            u = s[0] / s[0].mean(axis=-1, keepdims=True) - s[1] / s[1].mean(axis=-1, keepdims=True)
            return u.std(axis=-1, ddof=1) / math.sqrt(n)

        data = np.array([a, b])
        low, high = boot_t(lambda s: np.log(s[0].mean(axis=-1) / s[1].mean(axis=-1)), ratio_se, data,
                           math.log(a.mean() / b.mean()), np.exp, rng)
        yield {"kind": "t log ratio", **row, "estimate": a.mean() / b.mean(), **interval(low, high)}


# --- Percentiles ---------------------------------------------------------------------------------


def ranks(n, p, tail=0.025):
    lower = max((l for l in range(0, n + 1) if l == 0 or stats.binom.cdf(l - 1, n, p) <= tail))
    upper = min((u for u in range(1, n + 2) if u == n + 1 or stats.binom.sf(u - 1, n, p) <= tail))
    return lower, upper


def circular_variance(x, block):
    n = len(x)
    means = np.convolve(np.concatenate([x, x[: block - 1]]), np.ones(block) / block, mode="valid")[:n]
    return ((means - x.mean()) ** 2).mean() * block / n / (1 - block / n)


def in_time(x, p):
    n = len(x)
    length = optimal_block_length((x <= np.quantile(x, 0.5)).astype(float))["circular"].iloc[0]
    block = min(math.ceil(3 * max(length, 1)), n // 5)
    marks = (x <= np.quantile(x, p)).astype(float)
    share = marks.mean()
    t = stats.t.ppf(0.975, max(n / block - 1, 1)) / Z
    effective = min(share * (1 - share) / (circular_variance(marks, block) * t * t), n)

    def from_one_end(values, q):
        if (1 - q) ** effective > 0.025:
            return math.inf
        k = math.floor(n * stats.beta.ppf(0.025, effective * q, effective * (1 - q) + 1))
        return values[k - 1] if k else math.inf

    s = np.sort(x)
    return -abs(v) if math.isinf(v := from_one_end(s, p)) else v, from_one_end(s[::-1], 1 - p)


def percentile_goldens():
    rng = np.random.default_rng(6)
    for n in [1, 5, 6, 40, 71, 72, 100, 367, 368, 1000]:
        x = np.sort(np.round(rng.lognormal(0, 0.5, n), 9))
        for p in [0.5, 0.9, 0.95, 0.99]:
            lower, upper = ranks(n, p)
            low = x[lower - 1] if lower else -math.inf
            high = x[upper - 1] if upper <= n else math.inf
            estimate = x[-1] if upper > n and p > 0.5 else np.quantile(x, p)
            yield {"kind": "independent", "x": x.tolist(), "q": p, "estimate": float(estimate), **interval(low, high)}
    for n, phi in [(500, 0.6), (2000, 0.85)]:
        z = np.zeros(n)
        for i in range(1, n):
            z[i] = phi * z[i - 1] + rng.standard_normal()
        x = np.round(np.exp(0.5 * z), 9)
        yield {"kind": "block length", "x": x.tolist(), "length": float(optimal_block_length(x)["circular"].iloc[0])}
        for p in [0.5, 0.95, 0.99]:
            low, high = in_time(x, p)
            estimate = x.max() if math.isinf(high) and p > 0.5 else np.quantile(x, p)
            yield {"kind": "in time", "x": x.tolist(), "q": p, "estimate": float(estimate), **interval(low, high)}
        block = min(math.ceil(3 * optimal_block_length(x)["circular"].iloc[0]), n // 5)
        half = stats.t.ppf(0.975, n / block - 1) * math.sqrt(circular_variance(x, block))
        yield {"kind": "mean", "x": x.tolist(), "estimate": x.mean(), **interval(x.mean() - half, x.mean() + half)}


# --- Repeats ---------------------------------------------------------------------------------------

DRAWS = 2000000


def mean_draws(rng, x):
    n = len(x)
    return x.mean() + x.std(ddof=1) / math.sqrt(n) * rng.standard_t(n - 1, DRAWS)


def joules_draws(rng, readings, gains, edges, gamma):
    """readings: devices x windows; gamma: the devices' draws of their relative gain errors."""
    total = mean_draws(rng, readings.sum(axis=0)) if readings.shape[1] >= 5 else readings.sum(axis=0).mean()
    factor = 1 + sum(g * c * r.mean() for g, c, r in zip(gains, gamma, readings)) / readings.sum(axis=0).mean()
    noise = sum(e * rng.uniform(-1, 1, DRAWS) for e in np.ravel(edges)) / readings.shape[1]
    return total * factor + noise


def repeats_goldens():
    rng = np.random.default_rng(7)
    for n in [5, 8, 20]:
        a, b = rng.normal(80, 4, n), rng.normal(100, 5, n)
        low, high = stats.t.interval(0.95, n - 1, b.mean(), stats.sem(b))
        yield {"kind": "mean", "b": b.tolist(), "estimate": b.mean(), **interval(low, high)}
        low, high = np.quantile(mean_draws(rng, a) / mean_draws(rng, b), [0.025, 0.975])
        yield {"kind": "ratio", "a": a.tolist(), "b": b.tolist(), "estimate": a.mean() / b.mean(), **interval(low, high)}
    for n in [1, 3, 5, 10]:
        gpu, cpu = rng.normal([[60], [80]], 2, (2, n)), rng.normal([[20], [25]], 1, (2, n))
        gains, edge = [0.05, 0.4], 1.5
        gamma = rng.uniform(-1, 1, (2, DRAWS))
        a, b = (np.array([gpu[i], cpu[i]]) for i in range(2))
        edges = np.full((2, n), edge)
        row = {"a": a.tolist(), "b": b.tolist(), "gains": gains, "edge": edge}
        draws = [joules_draws(rng, x, gains, edges, gamma) for x in (a, b)]
        mean_a, mean_b = a.sum(axis=0).mean(), b.sum(axis=0).mean()
        yield {"kind": "joules", **row, "estimate": mean_a, **interval(*np.quantile(draws[0], [0.025, 0.975]))}
        yield {"kind": "joules ratio", **row, "estimate": mean_a / mean_b,
               **interval(*np.quantile(draws[0] / draws[1], [0.025, 0.975]))}


# --- Many comparisons ---------------------------------------------------------------------------------


def multiple_goldens():
    rng = np.random.default_rng(8)
    for p in [[0.01, 0.04, 0.03, 0.005], [0.2], [0.01, 0.01, 0.5, 0.9, 0.0001], rng.random(30).tolist()]:
        yield {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()}


def write(name, package, rows):
    version = {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__,
               "mpmath": mpmath.__version__, "arch": arch.__version__, "python": platform.python_version()}
    origin = {"package": package, "version": ", ".join(f"{k} {v}" for k, v in version.items()),
              "script": "scripts/goldens/make_stats_goldens.py", "date": datetime.date.today().isoformat()}
    with open(OUT / name, "w", encoding="utf-8") as f:
        for row in [{"origin": origin}, *rows]:
            f.write(json.dumps(row, separators=(",", ":"), allow_nan=False, default=float) + "\n")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    write("dist.jsonl", "mpmath", dist_goldens())
    write("proportion.jsonl", "statsmodels, scipy; published examples", proportion_goldens())
    write("tied.jsonl", "numpy, scipy", tied_goldens())
    write("bootstrap.jsonl", "scipy, numpy", bootstrap_goldens())
    write("percentile.jsonl", "numpy, scipy, arch", percentile_goldens())
    write("repeats.jsonl", "scipy, numpy", repeats_goldens())
    write("multiple.jsonl", "statsmodels", multiple_goldens())


if __name__ == "__main__":
    main()
