"""A run of many variants, made of one that was measured: its stages and variants several times, with figures of their own."""

import contextlib
import random
import sqlite3
import struct

# What is known of a stage. Columns that are shares of something stay as they are.
TABLES = ("energy", "request", "cold_start", "memory", "artifact", "score", "power", "training", "gpu_look")
SHARES = {"coverage", "resident_fraction", "throttled_share", "busy"}
TIMES = ("started_ns", "first_token_ns", "last_token_ns", "done_ns")
STEPS = 200
POWER_POINTS = 190


def insert(db, table, row):
    db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", list(row.values()))


def power(rng):
    """Points of 50 ms, as the store has them."""
    return b"".join(struct.pack("<IIf", 500 * i, 500, rng.uniform(20, 400)) for i in range(POWER_POINTS))


def vary(rng, table, row):
    factor = rng.uniform(0.5, 1)
    for name, value in row.items():
        if isinstance(value, float) and name not in SHARES:
            row[name] = value * factor
    for name in TIMES if table == "request" else ():
        row[name] = row["queued_ns"] + int((row[name] - row["queued_ns"]) * factor)
    if table == "power":
        row["points"] = power(rng)


def add_trainings(db, rng):
    for (stage,) in db.execute("SELECT stage_id FROM stage WHERE kind = 'adapt'").fetchall():
        db.execute("DELETE FROM training WHERE stage_id = ?", (stage,))
        db.executemany("INSERT INTO training VALUES (?, ?, 1, ?, 1e-4, ?, ?)",
                       [(stage, i, rng.uniform(0.5, 3), rng.uniform(0, 2), rng.uniform(0.5, 3) if i % 20 == 0 else None)
                        for i in range(1, STEPS + 1)])  # fmt: skip


def multiply(path, times, seed=1):
    """Makes the run's variants `times` as many, each time of another model, and gives every stage a second component, a long
    power curve and every training many steps: the volume of a real run, whose digits do not repeat."""
    rng = random.Random(seed)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        db.execute("INSERT INTO energy SELECT stage_id, window, start_ns, end_ns, 'gpu0', 'gpu', 'nvml counter', 'counter', joules * 3.1,"
                   " low_j * 3, high_j * 3.2, above_idle_j * 2.9, idle_w, mean_w * 3.1, peak_w * 3.3, coverage, is_short, reason"
                   " FROM energy WHERE component = 'cpu' AND joules IS NOT NULL")  # fmt: skip
        db.execute("INSERT INTO power SELECT stage_id, 'gpu0', start_ns, points FROM power WHERE component = 'cpu'")
        stages = [dict(r) for r in db.execute("SELECT * FROM stage")]
        variants = [dict(r) for r in db.execute("SELECT * FROM variant")]
        used = [dict(r) for r in db.execute("SELECT * FROM variant_stage")]
        rows = {t: [dict(r) for r in db.execute(f"SELECT * FROM {t}")] for t in TABLES}
        step = max(s["stage_id"] for s in stages)
        for k in range(1, times):
            for s in stages:
                insert(db, "stage", {**s, "stage_id": s["stage_id"] + k * step, "key": f"{s['key']}-{k}",
                                     "title": s["title"].replace("tiny", f"tiny{k}"), "wall_s": s["wall_s"] * rng.uniform(0.5, 2)})  # fmt: skip
            for v in variants:
                insert(db, "variant", {**v, "variant_id": f"{v['variant_id']}-{k}", "ord": v["ord"] + k * len(variants),
                                       "model_id": f"tiny{k}"})  # fmt: skip
            for u in used:
                insert(db, "variant_stage", {"variant_id": f"{u['variant_id']}-{k}", "stage_id": u["stage_id"] + k * step})
            for table in TABLES:
                for row in rows[table]:
                    mine = {**row, "stage_id": row["stage_id"] + k * step}
                    vary(rng, table, mine)
                    insert(db, table, mine)
        add_trainings(db, rng)
        db.commit()
