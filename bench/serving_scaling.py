#!/usr/bin/env python3
"""How the serving client scales over cores, and how far its times are from a script; prints one JSON object.

Needs nothing but the program and Python's own library. For 1, 2 and 4 event loops, each bound to a core of
its own, one-event requests a second against a null server on other cores: in one process with so many loops
(`together`), and in so many processes of one loop with a null server each (`apart`), which share nothing but
the machine. Where `apart` does not grow in proportion, the machine does not; what `together` loses against
`apart` is the client's. CPU time tells who was at the limit. Then a paced script of 50 ms and 20 x 10 ms:
time to first token and between tokens against the script. All of it in turn, medians over rounds.

Cores are taken from those this process may use, one hyperthread a core and from one NUMA node first. Two
cores of the server to each of the client's where there are enough, else one. Where there are not even so
many, the load is left out, and the result says so.

usage: bench/serving_scaling.py [--program edge-eval] [--loops 1,2,4] [--runs 3] [--seconds 2] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STREAMS_A_LOOP = 64
GOAL = 0.875  # of n times one loop: 3.5 for four
TTFT_MS, ITL_MS, TOKENS, STREAMS = 50, 10, 20, 8


# ---- the machine


def first_number(path, otherwise):
    try:
        return int(re.search(r"\d+", pathlib.Path(path).read_text(encoding="ascii")).group())
    except (OSError, AttributeError, ValueError):
        return otherwise


def node_of(cpu):
    for path in pathlib.Path(f"/sys/devices/system/cpu/cpu{cpu}").glob("node[0-9]*"):
        return int(path.name[4:])
    return 0


def whole_cores():
    """One CPU of each physical core that this process may use, node by node, the largest node first."""
    cpus = sorted(os.sched_getaffinity(0))
    cores = {}
    for cpu in cpus:
        first = first_number(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", cpu)
        cores.setdefault(first, cpu)
    nodes = {}
    for cpu in sorted(cores.values()):
        nodes.setdefault(node_of(cpu), []).append(cpu)
    return [cpu for node in sorted(nodes.values(), key=len, reverse=True) for cpu in node], len(cpus)


def busy_before(cpus, seconds=0.5):
    """Share of the time that these CPUs did something while we did nothing; None where that is not told."""

    def read():
        with open("/proc/stat", encoding="ascii") as f:
            rows = [line.split() for line in f if re.match(r"cpu\d", line)]
        return {int(r[0][3:]): [int(x) for x in r[1:9]] for r in rows}

    before = read()
    time.sleep(seconds)
    after = read()
    if not all(c in before and c in after for c in cpus):
        return None
    spent = [sum(after[c]) - sum(before[c]) for c in cpus]
    idle = [after[c][3] + after[c][4] - before[c][3] - before[c][4] for c in cpus]
    return 1 - sum(idle) / sum(spent) if sum(spent) else None


def model_name():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), None)


# ---- running things


def start(cpus, command):
    """A process on those CPUs, which it inherits from us."""
    all_of_ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        return subprocess.Popen([str(x) for x in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        os.sched_setaffinity(0, all_of_ours)


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def null_server(a, cpus, *args):
    server = start(cpus, [a.program, "null-server", "--for", 120, "--threads", len(cpus), *args])
    try:
        url = server.stdout.readline().strip()
        if not url:
            sys.exit(f"serving_scaling: no null server: {server.stderr.read()}")
        yield server.pid, url
    finally:
        server.terminate()
        server.communicate()


def bench(a, cpus, url, tokens, *args):
    return start(cpus, [a.program, "bench", url, "--json", "--no-calibration", "--no-out", "--input", 4, "--output",
                        tokens, "-d", a.seconds, "--loops", len(cpus), "--cpus", ",".join(map(str, cpus)), *args])  # fmt: skip


def result_of(client):
    out, err = client.communicate(timeout=60)
    if client.returncode != 0:
        sys.exit(f"serving_scaling: {client.args} failed ({client.returncode}): {err[-1000:]}")
    return json.loads(out)


# ---- what is measured


def load(a, groups):
    """Requests a second of one client a group, all at once. A group: CPUs of its loops, CPUs of its server."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(null_server(a, theirs, "--tokens", 1)) for _, theirs in groups]
        before = [cpu_s(pid) for pid, _ in servers]
        clients = [
            bench(a, ours, url, 1, "-c", STREAMS_A_LOOP * len(ours)) for (ours, _), (_, url) in zip(groups, servers)
        ]
        results = [result_of(c) for c in clients]
        spent = sum(cpu_s(pid) for pid, _ in servers) - sum(before)
    loops = [x for r in results for x in r["client"]["loops"]]
    answered = sum(r["requests"]["ok"] for r in results)
    return {
        "requests_per_s": sum(r["throughput"]["whole"]["requests_per_s"] for r in results),
        "failed": sum(r["requests"]["failed"] for r in results),
        "client_busy": [x["cpu_s"] / x["wall_s"] for x in loops],
        "client_cpu_us_a_request": 1e6 * sum(x["cpu_s"] for x in loops) / answered,
        "server_busy": spent / a.seconds / sum(len(theirs) for _, theirs in groups),
        "server_cpu_us_a_request": 1e6 * spent / answered,
    }


def split(cores, n, servers):
    """n loops on the first cores, their servers' on the next: as one group, and as n."""
    ours, theirs = cores[:n], cores[n : n + n * servers]
    return [(ours, theirs)], [([cpu], theirs[i * servers : (i + 1) * servers]) for i, cpu in enumerate(ours)]


def scaling(a, cores, counts):
    servers = 2 if 3 * max(counts, default=0) <= len(cores) else 1
    runs = {(n, kind): [] for n in counts for kind in ("together", "apart")}
    for _ in range(a.runs):
        for n in counts:
            together, apart = split(cores, n, servers)
            runs[n, "together"].append(load(a, together))
            runs[n, "apart"].append(load(a, apart))
    rows = []
    for n in counts:
        row = {"loops": n, "server_cores": n * servers}
        for kind in ("together", "apart"):
            row[kind] = {
                "requests_per_s": statistics.median(r["requests_per_s"] for r in runs[n, kind]),
                "client_busy": statistics.median(statistics.mean(r["client_busy"]) for r in runs[n, kind]),
                "server_busy": statistics.median(r["server_busy"] for r in runs[n, kind]),
                "runs": runs[n, kind],
            }
        rows.append(row)
    for row in rows:
        for kind in ("together", "apart"):
            row[kind]["times_one"] = row[kind]["requests_per_s"] / rows[0][kind]["requests_per_s"] * rows[0]["loops"]
        row["together_of_apart"] = row["together"]["requests_per_s"] / row["apart"]["requests_per_s"]
    return rows


def truth(a, cores):
    """Microseconds between what was measured and the script, by each way to take times."""
    ways = [
        (f"{server} server, {stamps} times", ["--timestamps", stamps], awake)
        for server, awake in (("sleeping", []), ("awake", ["--awake"]))
        for stamps in ("read", "kernel")
    ]
    runs = {name: [] for name, _, _ in ways}
    script = ["--tokens", TOKENS, "--ttft-ms", TTFT_MS, "--itl-ms", ITL_MS]
    for _ in range(a.runs):
        for name, ours, theirs in ways:
            with null_server(a, cores[1:2], *script, *theirs) as (_, url):
                r = result_of(bench(a, cores[:1], url, TOKENS, "-c", STREAMS, *ours))
                runs[name].append(distances(r["latency"]))
    return {
        name: {key: statistics.median(r[key] for r in rows) for key in rows[0]} | {"runs": rows}
        for name, rows in runs.items()
    }


def distances(latency):
    out = {}
    for figure, script_ms in (("ttft", TTFT_MS), ("itl_event", ITL_MS), ("delivery", 0), ("event_delivery", 0),
                              ("server_late", 0)):  # fmt: skip
        for p in ("p50", "p99"):
            out[f"{figure}_{p}_us"] = 1e6 * latency[figure][f"{p}_s"] - 1e3 * script_ms
    return out


def say(text):
    print(text, file=sys.stderr)


def show(result):
    for row in result["scaling"]:
        say(f"{row['loops']} loops: {row['together']['requests_per_s']:,.0f} requests/s in one process "
            f"({row['together']['times_one']:.2f} x one), {row['apart']['requests_per_s']:,.0f} in as many "
            f"processes ({row['apart']['times_one']:.2f} x); the one has {row['together_of_apart']:.2f} of it; its cores "
            f"are busy for {row['together']['client_busy']:.0%}, the server's for {row['together']['server_busy']:.0%}")  # fmt: skip
    for name, row in result["truth"].items():
        say(f"{name}: TTFT {row['ttft_p99_us']:.0f} us, between tokens {row['itl_event_p99_us']:.0f} us off at p99")
    for reason in result["not_measured"]:
        say(f"not measured: {reason}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default=os.environ.get("EDGE_EVAL", str(ROOT / "build" / "edge-eval")))
    p.add_argument("--loops", default="1,2,4")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--json", help="write it there too")
    a = p.parse_args()
    cores, n_cpus = whole_cores()
    wanted = sorted(int(n) for n in a.loops.split(","))
    counts = [n for n in wanted if 2 * n <= len(cores)]
    if len(cores) < 2:
        sys.exit("serving_scaling: the client and the null server need a core each, and here is one")
    begin = time.monotonic()
    result = {
        "cpu": model_name(),
        "cores": cores,
        "cpus": n_cpus,
        "load_average_before": os.getloadavg()[0],
        "busy_before": busy_before(cores),
        "not_measured": [f"{n} loops: {2 * n} cores needed, {len(cores)} here" for n in wanted if n not in counts],
        "scaling": scaling(a, cores, counts),
        "truth": truth(a, cores),
        "goals": [],
    }
    for row in result["scaling"][1:]:
        result["goals"].append(
            {"goal": f"{row['loops']} loops, {GOAL:g} of {row['loops']} times one", "limit": GOAL * row["loops"],
             "measured": row["together"]["times_one"], "met": row["together"]["times_one"] >= GOAL * row["loops"]}
        )  # fmt: skip
    result["seconds"] = time.monotonic() - begin
    text = json.dumps(result, indent=1)
    print(text)
    if a.json:
        pathlib.Path(a.json).write_text(text + "\n", encoding="utf-8")
    show(result)


if __name__ == "__main__":
    main()
