#!/usr/bin/env python3
"""Goldens of the economics calculator: tests/goldens/metrics/econ.jsonl.

Written from the formulas in docs/metrics.md alone, in exact rational arithmetic where they are
rational, and by a different road where they are not: the paying range by looking at every replica
count, N_break under falling prices by root finding on 60-digit decimals. Deployments are drawn at random;
the report's calculator is tested against the same file.

    python3 scripts/goldens/make_econ_goldens.py > tests/goldens/metrics/econ.jsonl
"""

import json
import math
import random
import sys
from decimal import Decimal, getcontext
from fractions import Fraction as F

getcontext().prec = 60


def ceil(q):
    return -((-q.numerator) // q.denominator)


class Deployment:
    def __init__(self, fields):
        self.fields = fields
        self.__dict__.update({k: None if v is None else F(v) for k, v in fields.items()})

    def hardware(self):
        device = self.capex_usd / self.lifetime_h + self.maintenance_usd_per_h if self.owned else self.cloud_usd_per_h
        return self.devices * self.share * device

    def joules_usd(self, joules):
        return joules / F("3.6e6") * self.pue * self.kwh_usd

    def idle(self):
        return self.share * self.idle_w / 1000 * self.pue * self.kwh_usd if self.owned else F(0)

    def common(self):
        return self.ops_usd_per_h + (self.recurring_usd / self.refresh_h if self.refresh_h else 0)

    def fixed(self, replicas):
        return replicas * (self.hardware() + self.idle()) + self.common()

    def carries(self):
        return self.capacity_per_h * self.headroom / self.peak_ratio

    def replicas(self, r):
        return max(self.replicas_min, F(ceil(r / self.carries())))

    def marginal(self):
        return (self.joules_usd(self.request_above_idle_j) if self.owned else 0) + self.variable_usd

    def once(self, hourly=None):
        hourly = self.hardware() if hourly is None else hourly
        seconds = F(0)
        if self.once_is_extra and self.once_s:
            seconds = self.once_s
            if not self.owned:
                seconds = max(F(ceil((seconds + self.boot_s) / self.bill_step_s)) * self.bill_step_s, self.bill_minimum_s)
        return self.labour_usd + (self.joules_usd(self.once_j) if self.owned else 0) + hourly * seconds / 3600

    def api(self):
        parts = ("uncached", "cached", "written", "output")
        return self.api_batch_factor * sum(
            getattr(self, f"api_{p}_tokens") * getattr(self, f"api_{p}_usd_per_mtok") / 10**6 for p in parts
        )

    def saving(self, r):
        return r * (self.api() - self.marginal()) - self.fixed(self.replicas(r))

    def n_break(self, r):
        saving = self.saving(r)
        return r * self.once() / saving if saving > 0 else None

    def paying(self):
        """Every replica count in turn, until the gain of one more has closed all gaps."""
        d, k = self.api() - self.marginal(), self.carries()
        if d <= 0 or k * d <= self.hardware() + self.idle():
            return []
        ranges, replicas = [], self.replicas_min
        while True:
            low_end = F(0) if replicas == self.replicas_min else (replicas - 1) * k
            root = self.fixed(replicas) / d
            if replicas > self.replicas_min and root <= low_end:
                if ranges and ranges[-1][1] == low_end:
                    ranges[-1][1] = None
                else:
                    ranges.append([low_end, None])
                return ranges
            if root < replicas * k:
                ranges.append([max(low_end, root), replicas * k])
            replicas += 1

    def cash(self, months, fall, discount):
        r, n = self.traffic_per_h, self.replicas(self.traffic_per_h)
        rent = self.devices * self.share * (self.maintenance_usd_per_h if self.owned else self.cloud_usd_per_h)
        own = n * (rent + self.idle()) + self.common() + r * self.marginal()
        per_month = 1 / (1 + float(discount)) ** (1 / 12)
        cash = -float(self.once(rent))
        if self.owned:
            life = float(self.lifetime_h) / 730
            k = 0
            while k * life < months:
                cash -= float(n * self.devices * self.share * self.capex_usd) * per_month ** (k * life)
                k += 1
        flows = [
            730 * (float(r * self.api()) * (1 - float(fall)) ** ((m - 0.5) / 12) - float(own)) * per_month**m
            for m in range(1, months + 1)
        ]
        return math.fsum([cash, *flows])

    def n_break_falling(self):
        r = self.traffic_per_h
        dec = lambda q: Decimal(q.numerator) / Decimal(q.denominator)
        once, api = dec(self.once()), dec(r * self.api())
        own = dec(self.fixed(self.replicas(r)) + r * self.marginal())
        k = (1 - dec(self.api_fall_per_year)).ln() / 8760
        saved = lambda h: api * ((k * h).exp() - 1) / k - own * h
        if api <= own:
            return None
        if once == 0:
            return 0.0
        high = (own / api).ln() / k
        if saved(high) < once:
            return None
        low = Decimal(0)
        for _ in range(180):
            middle = (low + high) / 2
            low, high = (middle, high) if saved(middle) < once else (low, middle)
        return float(dec(r) * high)

    def carbon(self):
        r = self.traffic_per_h
        idle = self.replicas(r) * self.share * self.idle_w / 1000 / r
        return (idle + self.request_above_idle_j / F("3.6e6")) * self.pue * self.carbon_g_per_kwh

    def embodied(self):
        r = self.traffic_per_h
        return self.replicas(r) * self.devices * self.share * self.embodied_kg * 1000 / self.lifetime_h / r


def draw(rng):
    """A deployment whose figures look like ones that people have."""
    log = lambda low, high: float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.4g}")
    owned = rng.random() < 0.5
    throughput = log(200, 50000)
    request_j = log(0.5, 2000)
    fields = {
        "owned": float(owned),
        "devices": float(rng.choice([1, 1, 2, 4])),
        "share": rng.choice([1.0, 1.0, 0.5, 0.25]),
        "capex_usd": log(250, 30000),
        "lifetime_h": rng.choice([26280.0, 35040.0, 43800.0, 10000.0]),
        "maintenance_usd_per_h": rng.choice([0.0, log(0.001, 0.5)]),
        "cloud_usd_per_h": log(0.3, 11),
        "bill_minimum_s": rng.choice([0.0, 60.0, 3600.0]),
        "bill_step_s": rng.choice([1.0, 60.0, 3600.0]),
        "boot_s": log(10, 900),
        "kwh_usd": log(0.05, 0.45),
        "pue": float(f"{rng.uniform(1, 2):.3g}"),
        "ops_usd_per_h": rng.choice([0.0, log(0.01, 5)]),
        "labour_usd": rng.choice([0.0, log(10, 50000)]),
        "recurring_usd": log(1, 500),
        "refresh_h": rng.choice([0.0, 168.0, 720.0]),
        "variable_usd": rng.choice([0.0, log(1e-6, 1e-4)]),
        "traffic_per_h": log(10, 100000),
        "peak_ratio": float(f"{rng.uniform(1, 5):.3g}"),
        "headroom": rng.choice([1.0, 0.8, 0.7]),
        "replicas_min": float(rng.choice([1, 1, 2, 3])),
        "capacity_per_h": float(f"{throughput * rng.uniform(0.5, 1):.4g}"),
        "throughput_per_h": throughput,
        "idle_w": log(5, 150),
        "request_j": request_j,
        "request_above_idle_j": float(f"{request_j * rng.uniform(0.3, 1):.4g}"),
        "once_j": rng.choice([0.0, log(1e3, 1e8)]),
        "once_s": rng.choice([0.0, log(5, 1e5)]),
        "once_is_extra": float(rng.random() < 0.7),
        "start_s": log(0.5, 120),
        "input_tokens": log(20, 8000),
        "output_tokens": log(5, 1000),
        "accepted_share": float(f"{rng.uniform(0.3, 1):.3g}"),
        "api_uncached_tokens": log(20, 8000),
        "api_cached_tokens": rng.choice([0.0, log(20, 8000)]),
        "api_written_tokens": rng.choice([0.0, log(20, 8000)]),
        "api_output_tokens": log(5, 3000),
        "api_uncached_usd_per_mtok": log(0.03, 5),
        "api_cached_usd_per_mtok": log(0.005, 0.5),
        "api_written_usd_per_mtok": log(0.1, 6),
        "api_output_usd_per_mtok": log(0.05, 25),
        "api_batch_factor": rng.choice([1.0, 1.0, 0.5]),
        "api_fall_per_year": rng.choice([0.5, 0.2, 0.9]),
        "fallback_usd": log(1e-4, 0.1),
        "discount_per_year": rng.choice([0.0, 0.08, 0.12]),
        "carbon_g_per_kwh": log(20, 800),
        "embodied_kg": log(20, 2500),
    }
    unused = ("cloud_usd_per_h", "bill_minimum_s", "bill_step_s", "boot_s") if owned else ("capex_usd", "maintenance_usd_per_h", "kwh_usd")
    return {k: None if k in unused else v for k, v in fields.items()}


def results(fields):
    # The doubles themselves, not their decimal spelling: the program has nothing else either.
    x = Deployment({k: None if v is None else F(v) for k, v in fields.items()})
    r = x.traffic_per_h
    request = x.fixed(x.replicas(r)) / r + x.marginal()
    busy = x.hardware() / x.throughput_per_h + (x.joules_usd(x.request_j) if x.owned else 0) + x.variable_usd
    ranges = x.paying()
    number = lambda q: None if q is None else float(q)
    falls = (F(0), x.api_fall_per_year)
    out = {
        "hardware_usd_per_h": x.hardware(), "replicas": x.replicas(r), "fixed_usd_per_h": x.fixed(x.replicas(r)),
        "marginal_usd": x.marginal(), "once_usd": x.once(), "api_usd": x.api(), "saving_usd_per_h": x.saving(r),
        "request_usd": request, "busy_request_usd": busy, "accepted_usd": request + (1 - x.accepted_share) * x.fallback_usd,
        "n_break": x.n_break(r), "break_even_days": None if x.n_break(r) is None else x.n_break(r) / r / 24,
        "n_break_falling": x.n_break_falling(), "rate_one_lost_per_h": (x.replicas(r) - 1) * x.capacity_per_h,
        "request_g": x.carbon(), "embodied_g": x.embodied(),
    }  # fmt: skip
    out = {k: number(v) for k, v in out.items()}
    for months in (12, 36):
        for name, fall in zip(("", "_falling"), falls):
            out[f"cash_{months}{name}"] = x.cash(months, fall, F(0))
            out[f"npv_{months}{name}"] = x.cash(months, fall, x.discount_per_year)
    out["paying"] = [[number(low), number(high)] for low, high in ranges[:8]]
    out["n_paying"] = len(ranges)
    out["always_from"] = number(ranges[-1][0]) if ranges else None
    return out


def main():
    rng = random.Random(3)
    origin = {
        "package": "none: the formulas of docs/metrics.md in Python's fractions and decimal",
        "version": sys.version.split()[0],
        "script": "scripts/goldens/make_econ_goldens.py",
        "date": "2026-11-23",
    }
    print(json.dumps({"origin": origin}))
    kept = {"never": 0, "one": 0, "many": 0}
    while sum(kept.values()) < 90:
        fields = draw(rng)
        want = results(fields)
        kind = "never" if not want["n_paying"] else "one" if want["n_paying"] == 1 else "many"
        # Sawteeth with more teeth than a list shows are all alike.
        if want["n_paying"] > 40 or kept[kind] >= 30:
            continue
        kept[kind] += 1
        print(json.dumps({"fields": fields, "want": want}))


if __name__ == "__main__":
    main()
