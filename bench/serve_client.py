#!/usr/bin/env python3
"""What the serving client of edge-eval can do, against the null server on another core.

Beside it, in turn on the same core, a Python asyncio client as the yardstick (this file, --yardstick).
With --peers also AIPerf and GuideLLM, where they are installed, on the same server. Medians over runs.
Ends with a table of goals: what was measured, and whether it is enough.
Measure on a quiet machine only: the null server needs a core of its own. Needs `make build`.

The client's times are the kernel's, its default, but for the delay beside asyncio, which reads its clock when
it reads: so does the client there (--timestamps read). --keep-awake runs an idle-priority loop on both cores, so
that a virtual machine's cores do not have to be woken; what was measured so is marked.

usage: bench/serve_client.py [--runs 3] [--seconds 3] [--client-cpu 0] [--server-cpu 1] [--keep-awake]
                             [--peers BIN_DIR] [--only NAME,...] [--held N] [--json FILE]
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import serving_scaling

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("EDGE_EVAL", str(ROOT / "build" / "edge-eval"))


# ---- the yardstick: asyncio streams, the usual way


def percentile(values, p):
    values = sorted(values)
    if not values:
        return None
    at = p * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


class Yardstick:
    """One connection a stream, kept alive; time stamps at each event, JSON of the first one only."""

    def __init__(self, port, tokens, tls):
        self.tls = None
        if tls:
            self.tls = ssl.create_default_context()
            self.tls.check_hostname = False
            self.tls.verify_mode = ssl.CERT_NONE
        body = json.dumps({"model": "null", "max_tokens": tokens, "stream": True, "messages": []}).encode()
        self.port = port
        self.request = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        ) + body
        self.done = 0
        self.events = 0
        self.delays = []
        self.lags = []

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20, ssl=self.tls)

    async def one(self, stream):
        reader, writer = stream
        writer.write(self.request)
        await writer.drain()
        while (await reader.readline()) != b"\r\n":
            pass
        first = True
        while True:
            size = int(await reader.readline(), 16)
            data = await reader.readexactly(size + 2)
            if size == 0:
                break
            now = time.monotonic_ns()
            if data.startswith(b"data: {"):
                self.events += 1
                if first:
                    stamps = json.loads(data[6:].strip()).get("stamps_ns")
                    if stamps:
                        self.delays.append((now - stamps[0]) / 1e9)
                        first = False
        self.done += 1

    async def closed(self, n, seconds):
        streams = [await self.connect() for _ in range(n)]
        end = time.monotonic() + seconds

        async def loop(stream):
            while time.monotonic() < end:
                await self.one(stream)

        begin = time.monotonic()
        await asyncio.gather(*(loop(s) for s in streams))
        return time.monotonic() - begin

    async def open(self, rate, seconds):
        import random

        random.seed(1)
        idle = [await self.connect() for _ in range(64)]
        begin = time.monotonic()
        due = begin
        tasks = []

        async def send(at):
            stream = idle.pop() if idle else await self.connect()
            self.lags.append(time.monotonic() - at)
            await self.one(stream)
            idle.append(stream)

        while due < begin + seconds:
            due += random.expovariate(rate)
            await asyncio.sleep(max(0, due - time.monotonic()))
            tasks.append(asyncio.create_task(send(due)))
        await asyncio.gather(*tasks)
        return time.monotonic() - begin


def yardstick(a):
    y = Yardstick(a.port, a.tokens, a.tls)
    cpu = time.process_time()
    seconds = asyncio.run(y.open(a.rate, a.seconds) if a.rate else y.closed(a.concurrency, a.seconds))
    cpu = time.process_time() - cpu
    print(
        json.dumps(
            {
                "requests_per_s": y.done / seconds,
                "events_per_s": y.events / seconds,
                "delay_p50_us": us(percentile(y.delays, 0.5)),
                "delay_p99_us": us(percentile(y.delays, 0.99)),
                "lag_p50_us": us(percentile(y.lags, 0.5)),
                "lag_p99_us": us(percentile(y.lags, 0.99)),
                "busy": cpu / seconds,
                "cpu_us_a_request": us(cpu / max(y.done, 1)),
                "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


def us(seconds):
    return None if seconds is None else seconds * 1e6


# ---- running things


@contextlib.contextmanager
def null_server(a, *args):
    command = ["taskset", "-c", str(a.server_cpu), PROGRAM, "null-server", "--for", "300", *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


SPINNER = """
import os
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1000000):
        pass
"""


@contextlib.contextmanager
def kept_awake(a):
    """Both cores, by loops that run when nothing else would."""
    cpus = (a.client_cpu, a.server_cpu) if a.keep_awake else ()
    loops = [subprocess.Popen(["taskset", "-c", str(cpu), sys.executable, "-c", SPINNER]) for cpu in cpus]
    try:
        yield
    finally:
        for loop in loops:
            loop.terminate()
            loop.wait()


def run(a, command):
    p = subprocess.run(["taskset", "-c", str(a.client_cpu), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       text=True, check=False)  # fmt: skip
    if p.returncode != 0:
        raise SystemExit(f"{command} failed ({p.returncode}): {p.stdout}")
    return p.stdout


def ours(a, url, tokens, *args):
    text = run(
        a,
        [PROGRAM, "bench", url, "--json", "--no-calibration", "--no-out", "--input", "4", "--output", str(tokens),
         *map(str, args)],
    )  # fmt: skip
    r = json.loads(text)
    latency = r["latency"]
    whole = r["throughput"]["whole"]

    def at(figure, p):
        return us(latency.get(figure, {}).get(p))

    return {
        "requests_per_s": whole["requests_per_s"],
        "events_per_s": r["tokens"]["events"] / whole["seconds"],
        "delay_p50_us": at("delivery", "p50_s"),
        "delay_p99_us": at("delivery", "p99_s"),
        "lag_p50_us": at("send_lag", "p50_s"),
        "lag_p99_us": at("send_lag", "p99_s"),
        "write_us": us(r["client"]["write_mean_s"]),
        "busy": r["client"]["busy"],
        "cpu_us_a_request": us(sum(x["cpu_s"] for x in r["client"]["loops"]) / max(r["requests"]["ok"], 1)),
        "rss_mib": r["client"]["peak_rss_bytes"] / 2**20,
        "anon_mib": r["client"]["anonymous_bytes"] / 2**20,
        "failed": r["requests"]["failed"],
        "result": r,
    }


def theirs(a, url, tokens, concurrency=1, rate=0, tls=False):
    port = url.split(":")[2].split("/")[0]
    text = run(
        a,
        [sys.executable, __file__, "--yardstick", "--port", port, "--tokens", str(tokens), "--concurrency",
         str(concurrency), "--rate", str(rate), "--seconds", str(a.seconds), *(["--tls"] if tls else [])],
    )  # fmt: skip
    return json.loads(text)


# ---- what is measured: server arguments, tokens, our load, the yardstick's, figures shown

SCENARIOS = {
    "one-event": (["--tokens", 1], 1, ["-c", 64], {"concurrency": 64},
                  ["requests_per_s", "cpu_us_a_request"]),
    "coalesced": (
        ["--tokens", 1000, "--events-per-write", 256, "--event-bytes", 220], 1000, ["-c", 16], {"concurrency": 16},
        ["events_per_s"],
    ),
    "paced": (
        ["--tokens", 50, "--ttft-ms", 500, "--itl-ms", 20], 50, ["-c", 1000, "--timestamps", "read"], {"concurrency": 1000},
        ["delay_p50_us", "delay_p99_us", "busy", "rss_mib", "anon_mib"],
    ),
    "schedule": (["--tokens", 1], 1, ["--rate", 2000], {"rate": 2000}, ["lag_p50_us", "lag_p99_us", "write_us"]),
}  # fmt: skip


class Goals:
    """What is to be reached, in the order in which it was measured."""

    def __init__(self):
        self.rows = []

    def add(self, name, measured, limit, unit, at_most=True, of=None):
        """of: what the limit is multiplied with, such as the yardstick's figure."""
        due = limit if of is None else limit * of
        met = measured <= due if at_most else measured >= due
        self.rows.append({"goal": name, "limit": due, "unit": unit, "at_most": at_most, "measured": measured, "met": met})

    def show(self):
        print(f"\n{'goal':<58} {'limit':>13} {'measured':>13}")
        for r in self.rows:
            limit = f"{'<=' if r['at_most'] else '>='} {r['limit']:,.1f}"
            print(f"{r['goal'] + ', ' + r['unit']:<58} {limit:>13} {r['measured']:>13,.1f}  {'pass' if r['met'] else 'FAIL'}")
        print(f"{sum(r['met'] for r in self.rows)} of {len(self.rows)} goals met")


def measure(a, name):
    """figure -> (ours, the yardstick's)"""
    server, tokens, load, other, shown = SCENARIOS[name]
    pairs = []
    for _ in range(a.runs):
        with null_server(a, *server) as url:
            mine = ours(a, url, tokens, *load, "-d", a.seconds)
            pairs.append((mine, theirs(a, url, tokens, **other)))
    return show_pairs(name, pairs, shown)


def show_pairs(name, pairs, shown):
    rows = {}
    for figure in shown:
        mine = statistics.median(m[figure] for m, _ in pairs)
        if figure not in pairs[0][1]:
            rows[figure] = (mine, None)
            print(f"{name:<10} {figure:<16} {mine:>14.1f}")
            continue
        peer = statistics.median(t[figure] for _, t in pairs)
        rows[figure] = (mine, peer)
        print(f"{name:<10} {figure:<16} {mine:>14.1f} {peer:>14.1f} {mine / peer:>9.3f}")
    return rows


def one_event(a, goals):
    rate = measure(a, "one-event")["requests_per_s"]
    goals.add("one-event requests", rate[0], 75000, "1/s", at_most=False)
    goals.add("one-event requests, 5 x asyncio", rate[0], 5, "1/s", at_most=False, of=rate[1])


def coalesced(a, goals):
    goals.add("coalesced events", measure(a, "coalesced")["events_per_s"][0], 3.5e6, "1/s", at_most=False)


def paced(a, goals):
    r = measure(a, "paced")
    name = "1,000 streams paced at 20 ms"
    goals.add(f"{name}: first-event delay p50", r["delay_p50_us"][0], 50, "us")
    goals.add(f"{name}: delay p99, asyncio's / 10", r["delay_p99_us"][0], 0.1, "us", of=r["delay_p99_us"][1])
    goals.add(f"{name}: share of the core", 100 * r["busy"][0], 50, "%")
    goals.add(f"{name}: memory", r["rss_mib"][0], 16, "MiB")


def schedule(a, goals):
    r = measure(a, "schedule")
    lag = r["lag_p50_us"][0] + r["write_us"][0]
    goals.add("2,000 Poisson arrivals/s: lag p50, the write included", lag, 20, "us")


def tls(a, goals):
    """One-event requests over TLS."""
    pairs = []
    with tempfile.TemporaryDirectory() as tmp:
        pem = f"{tmp}/both.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
             "-keyout", pem, "-out", f"{tmp}/cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        with open(pem, "ab") as both, open(f"{tmp}/cert.pem", "rb") as one:
            both.write(one.read())
        for _ in range(a.runs):
            with null_server(a, "--tokens", 1, "--tls", pem) as url:
                mine = ours(a, url, 1, "-c", 64, "-d", a.seconds, "--insecure")
                pairs.append((mine, theirs(a, url, 1, concurrency=64, tls=True)))
    rate = show_pairs("tls", pairs, ["requests_per_s", "cpu_us_a_request"])["requests_per_s"]
    goals.add("one-event requests over TLS, 2 x asyncio", rate[0], 2, "1/s", at_most=False, of=rate[1])


def truth(a, goals):
    """
    How far times are from the script, 50 ms and 10 ms, and from the moments at which the null server wrote: by
    the kernel's times and by those of reads, with a server that sleeps between its writes and one that does not.
    """
    print(f"{'us, p50 / p99':<32} {'TTFT':>15} {'ITL':>15} {'our delay':>15} {'server late':>15}")
    for server, awake in (("sleeping", []), ("awake", ["--awake"])):
        for stamps in ("read", "kernel"):
            rows = []
            for _ in range(a.runs):
                with null_server(a, "--tokens", 20, "--ttft-ms", 50, "--itl-ms", 10, *awake) as url:
                    args = ("-c", 8, "-d", a.seconds, "--timestamps", stamps)
                    rows.append(distances(ours(a, url, 20, *args)["result"]["latency"]))
            row = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
            cells = [f"{row[f'{name} p50']:.0f} / {row[f'{name} p99']:.0f}" for name in TRUTHS]
            print(f"{f'server {server}, times by {stamps}':<32} " + " ".join(f"{c:>15}" for c in cells))
            if stamps == "kernel":
                goals.add(f"p99 of our times after the writes, server {server}", row["event_delivery p99"], 100, "us")
            if stamps == "kernel" and awake:
                goals.add("TTFT p99 off the script, server awake", abs(row["ttft p99"]), 100, "us")
                goals.add("ITL p99 off the script, server awake", abs(row["itl_event p99"]), 100, "us")


TRUTHS = {"ttft": 0.05, "itl_event": 0.01, "event_delivery": 0, "server_late": 0}


def distances(latency):
    return {f"{name} {p}": us(latency[name][f"{p}_s"] - script) for name, script in TRUTHS.items() for p in ("p50", "p99")}


def cores(a, goals):
    """One event loop and four, each on a core of its own, against null servers on others."""
    here, _ = serving_scaling.whole_cores()
    if len(here) < 8:
        print(f"cores      four loops and their servers need 8 cores, here are {len(here)}: not measured")
        return
    one, four = (row["together"] for row in serving_scaling.scaling(a, here, (1, 4)))
    print(f"{'cores':<10} {'requests_per_s':<16} {one['requests_per_s']:>14.1f} {four['requests_per_s']:>14.1f} "
          f"{four['times_one']:>9.3f}")  # fmt: skip
    goals.add("four loops on four cores, 3.5 x one", four["times_one"], 3.5, "times", at_most=False)


def held(a, goals):
    """Connections held open at once, each with a stream. Where a process may not open so many, several share them."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200
    share = min(a.held, limit)
    n = -(-a.held // share)
    each = -(-a.held // n)
    script = ["--tokens", 3, "--ttft-ms", 6000, "--itl-ms", 100]
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(null_server(a, *script)) for _ in range(n)]
        clients = [
            subprocess.Popen(
                ["taskset", "-c", str(a.client_cpu), PROGRAM, "bench", url, "--json", "--no-calibration", "--no-out",
                 "--input", "4", "--output", "3", "-c", str(each), "-n", str(each), "--connect-timeout", "30"],
                stdout=subprocess.PIPE, text=True,
            )
            for url in urls
        ]  # fmt: skip
        results = [json.loads(c.communicate()[0]) for c in clients]
    ok = sum(r["requests"]["ok"] for r in results)
    # All at once: the last one was sent before the first one was answered.
    sent = [r["client"]["connect_s"] for r in results]
    mib = sum(r["client"]["peak_rss_bytes"] for r in results) / 2**20
    print(f"{'held open':<10} {n * each} connections by {n} process(es): {ok} answered, connected in {max(sent):.1f} s, "
          f"{mib:.0f} MiB")  # fmt: skip
    goals.add("connections held open, all answered", ok, 20000, "connections", at_most=False)


# ---- other tools on the same server


def tokenizer_dir(path):
    """A tokenizer of words, since none can be fetched here."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "</s>"] + [f"w{i}" for i in range(5000)]
    t = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=t, unk_token="<unk>", eos_token="</s>").save_pretrained(path)


def peers(a, goals):
    """TTFT, ITL and rate that each reports for 16 streams of 32 tokens: 20 ms, then 5 ms each."""
    bin_dir = pathlib.Path(a.peers)
    print(f"\n{'16 streams, 20 ms + 31 x 5 ms':<32} {'req/s':>9} {'TTFT p50':>9} {'TTFT p99':>9} {'ITL mean':>9}")
    with tempfile.TemporaryDirectory() as tmp, null_server(
        a, "--tokens", 32, "--ttft-ms", 20, "--itl-ms", 5, "--shape", "role,usage"
    ) as url:
        n = 800
        r = ours(a, url, 32, "-c", 16, "-n", n)["result"]
        show_peer("edge-eval", r["throughput"]["whole"]["requests_per_s"], r["latency"]["ttft"]["p50_s"] * 1e3,
                  r["latency"]["ttft"]["p99_s"] * 1e3, r["latency"]["itl_event"]["mean_s"] * 1e3)  # fmt: skip
        measured = 0
        subprocess.run([bin_dir / "python3", __file__, "--make-tokenizer", f"{tmp}/tokenizer"], check=True)
        for name, function in (("AIPerf", aiperf), ("GuideLLM", guidellm)):
            try:
                figures = function(bin_dir, url, f"{tmp}/tokenizer", f"{tmp}/{name}", n)
                show_peer(name, *figures)
                measured += 1
                ours_off = r["latency"]["ttft"]["p99_s"] * 1e3 - 20
                goals.add(f"TTFT p99 off the script, at most {name}'s", ours_off, 1, "ms", of=figures[2] - 20)
            except (OSError, subprocess.SubprocessError, KeyError, IndexError, StopIteration) as problem:
                print(f"{name}: could not be measured: {problem}")
        goals.add("other tools measured on the same server", measured, 2, "tools", at_most=False)


def show_peer(name, *figures):
    print(f"{name:<32} " + " ".join(f"{x:>9.2f}" for x in figures))


def aiperf(bin_dir, url, tokenizer, out, n):
    subprocess.run(
        [bin_dir / "aiperf", "profile", "--model", "m", "--url", url.removesuffix("/v1"), "--endpoint-type", "chat",
         "--streaming", "--concurrency", "16", "--request-count", str(n), "--tokenizer", tokenizer,
         "--synthetic-input-tokens-mean", "8", "--output-tokens-mean", "32", "--use-server-token-count",
         "--artifact-dir", out, "--ui", "none"],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    with open(next(pathlib.Path(out).rglob("profile_export_aiperf.json")), encoding="utf-8") as f:
        r = json.load(f)
    return (r["request_throughput"]["avg"], r["time_to_first_token"]["p50"], r["time_to_first_token"]["p99"],
            r["inter_token_latency"]["avg"])  # fmt: skip


def guidellm(bin_dir, url, tokenizer, out, n):
    os.makedirs(out)
    subprocess.run(
        [bin_dir / "guidellm", "run", "--backend", f"kind=openai_http,target={url.removesuffix('/v1')},model=m",
         "--profile", "kind=concurrent,streams=16", "--constraint", f"kind=max_requests,count={n}",
         "--tokenizer", f"kind=hf_auto,model={tokenizer}", "--data",
         "kind=synthetic_text,prompt_tokens=8,output_tokens=32", "--output", f"kind=json,path={out}/r.json",
         "--disable-console"],
        check=True, capture_output=True, timeout=300, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    with open(f"{out}/r.json", encoding="utf-8") as f:
        m = json.load(f)["benchmarks"][0]["metrics"]
    good = {k: m[k]["successful"] for k in ("requests_per_second", "time_to_first_token_ms", "inter_token_latency_ms")}
    ttft = good["time_to_first_token_ms"]["percentiles"]
    return (good["requests_per_second"]["mean"], ttft["p50"], ttft["p99"], good["inter_token_latency_ms"]["mean"])


MEASURES = {
    "one-event": one_event, "coalesced": coalesced, "paced": paced, "schedule": schedule, "tls": tls, "truth": truth,
    "cores": cores, "held": held,
}  # fmt: skip


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--client-cpu", type=int, default=0)
    p.add_argument("--server-cpu", type=int, default=1)
    p.add_argument("--keep-awake", action="store_true", help="idle-priority loops on both cores")
    p.add_argument("--peers", help="directory with the programs aiperf, guidellm and python3")
    p.add_argument("--only", default=",".join(MEASURES))
    p.add_argument("--held", type=int, default=20000, help="connections to hold open")
    p.add_argument("--json", help="write the goals there")
    p.add_argument("--program", default=PROGRAM, help=argparse.SUPPRESS)
    p.add_argument("--yardstick", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--make-tokenizer", help=argparse.SUPPRESS)
    p.add_argument("--tls", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--port", type=int, help=argparse.SUPPRESS)
    p.add_argument("--tokens", type=int, default=1, help=argparse.SUPPRESS)
    p.add_argument("--concurrency", type=int, default=1, help=argparse.SUPPRESS)
    p.add_argument("--rate", type=float, default=0, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.make_tokenizer:
        return tokenizer_dir(a.make_tokenizer)
    if a.yardstick:
        return yardstick(a)
    load = os.getloadavg()[0]
    print(f"client on CPU {a.client_cpu}, null server on CPU {a.server_cpu}, {a.runs} runs of {a.seconds:g} s, in turn; "
          f"load average before: {load:.2f}{' (NOT QUIET)' if load > 0.5 else ''}"
          f"{'; both cores KEPT AWAKE' if a.keep_awake else ''}")  # fmt: skip
    print(f"{'':<10} {'':<16} {'edge-eval':>14} {'asyncio':>14} {'ratio':>9}")
    goals = Goals()
    only = a.only.split(",")
    with kept_awake(a):
        for name, function in MEASURES.items():
            if name in only:
                function(a, goals)
        if a.peers:
            peers(a, goals)
    goals.show()
    if a.json:
        with open(a.json, "w", encoding="utf-8") as f:
            json.dump({"load_average_before": load, "kept_awake": a.keep_awake, "goals": goals.rows}, f, indent=1)


if __name__ == "__main__":
    main()
