#!/usr/bin/env python3
"""Proves and times edge-eval adapt on a machine with an NVIDIA GPU, against PyTorch with PEFT.

    scripts/gpu-adapt.py check EDGE_EVAL DIR MODEL.gguf          # does the GPU learn what the CPU learns?
    scripts/gpu-adapt.py time  EDGE_EVAL DIR SHAPE [--only NAME,...] [--vocab FILE] [--python PYTHON]

check trains a few steps of a small model on the CPU and, in each compute type, on the GPU: equal
losses up to rounding.

time takes a shape of data/shapes.yaml (llama-3.2-1b, llama-3.1-8b) with random weights, rank 16 on
seven modules, 4 rows of 512 tokens a step, the loss on all of them, AdamW: LoRA in F32, BF16 and F16,
QLoRA, with activations recomputed or kept, and PEFT in BF16 and F32 (its products in TF32, as ours
are), with Python's torch, transformers and peft. The first step of each is left out. Joules are the
driver's energy counter over the steps, nothing subtracted; memory is what the whole GPU has in use
at most, less what it had before. Results gather in DIR/adapt-SHAPE.json; what is run again replaces
its row. Goals are checked over all rows there are; exit 1 when one is missed.

Each command takes some minutes at most; --only cuts it shorter. Model files are made in DIR once
(F16 and Q4_0) and take 3.3 GB at 1B, 21 GB at 8B. Leave the machine alone meanwhile.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import nvml

GPU = "gpu0"
ROWS, TOKENS = 4, 512
STEPS = {"llama-3.2-1b": 40, "llama-3.1-8b": 20}
# Ours: the model file's type, and options. Theirs: compute type, activations recomputed.
OURS = {
    "lora f32": ("F16", ["--compute", "f32"]),
    "lora bf16": ("F16", ["--compute", "bf16"]),
    "lora bf16 kept": ("F16", ["--compute", "bf16", "--no-recompute"]),
    "lora f16": ("F16", ["--compute", "f16"]),
    "qlora f32": ("Q4_0", ["--compute", "f32", "--method", "qlora"]),
    "qlora bf16": ("Q4_0", ["--compute", "bf16", "--method", "qlora"]),
    "qlora bf16 kept": ("Q4_0", ["--compute", "bf16", "--method", "qlora", "--no-recompute"]),
}
THEIRS = {
    "peft bf16": ("bfloat16", True),
    "peft bf16 kept": ("bfloat16", False),
    "peft f32": ("float32", True),
}
DEFAULT = {
    "llama-3.2-1b": [*OURS, *THEIRS],
    "llama-3.1-8b": ["lora f32", "lora bf16", "qlora f32", "qlora bf16", "peft bf16"],
}

PEER = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from peft import LoraConfig, get_peft_model
shape, dtype, recompute, batch, tokens, steps = json.loads(sys.argv[1])
torch.manual_seed(1)
torch.set_float32_matmul_precision("high")
torch.set_default_dtype(getattr(torch, dtype))
torch.set_default_device("cuda")
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=shape["vocab"], hidden_size=shape["embd"], intermediate_size=shape["ff"],
    num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
    num_key_value_heads=shape["kv_heads"], head_dim=shape["head_dim"],
    tie_word_embeddings=bool(shape.get("tied")), max_position_embeddings=4096))
model.config.use_cache = False
if recompute:
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
model = get_peft_model(model, LoraConfig(
    r=16, lora_alpha=16, lora_dropout=0.05, target_modules=["q_proj", "k_proj", "v_proj", "o_proj",
                                                            "gate_proj", "up_proj", "down_proj"]))
model.train()
opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
ids = torch.randint(0, shape["vocab"], (batch, tokens))
begin = None
for step in range(steps):
    if step == 1:
        torch.cuda.synchronize()
        begin = time.monotonic()
    model(input_ids=ids, labels=ids).loss.backward()
    opt.step()
    opt.zero_grad()
torch.cuda.synchronize()
end = time.monotonic()
versions = [m.__version__ for m in (torch, sys.modules["transformers"], sys.modules["peft"])]
print(json.dumps({"begin": begin, "end": end, "tokens": batch * tokens * (steps - 1),
                  "allocated_bytes": torch.cuda.max_memory_allocated(), "versions": versions}))
"""


def watch():
    """The first GPU's counter and memory, read while a block runs."""
    driver = nvml.Driver()
    return nvml.Counters(driver, {GPU: driver.gpu()}, memory=True)


def peak_gib(gpu):
    return (gpu.used_most[GPU] - gpu.used_before[GPU]) / 2**30


def write_rows(path, rows, words):
    with open(path, "w", encoding="utf-8") as f:
        for i in range(rows):
            document = " ".join(["word"] * words + [str(i)])
            f.write(json.dumps({"id": str(i), "document": document, "summary": "word"}) + "\n")


def adapt(args, model, rows, options):
    """Trains; the result, and when the steps began (s, monotonic)."""
    command = [args.binary, "adapt", str(model), "--task", "summ", "--data", str(rows), "--out",
               str(args.dir / "adapter.gguf"), "--force", "--json", "--loss", "all",
               "--accumulate", "1", "--clip", "0", *options]  # fmt: skip
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    begun, log = None, []
    for line in p.stderr:
        begun = begun or (time.monotonic() if "steps" in line else None)
        log.append(line)
    out = p.stdout.read()
    if p.wait() != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{''.join(log)[-2000:]}")
    return json.loads(out), begun


def rows_of(args, model, steps):
    """Rows of TOKENS computed tokens each: every word is one token, the rest is template."""
    path = args.dir / "rows.jsonl"
    if args.words is None:
        write_rows(path, 1, 20)
        probe, _ = adapt(args, model, path, ["--batch", "1", "--max-steps", "1", "--device", "gpu"])
        args.words = 20 + TOKENS - probe["tokens"]
    write_rows(path, ROWS * steps, args.words)
    return path


def model_of(args, kind):
    path = args.dir / f"{args.shape}.{kind}.gguf"
    if not path.exists():
        vocab = ["--vocab", str(args.vocab)] if args.vocab else []
        subprocess.run([args.binary, "synth", args.shape, str(path), "--type", kind, *vocab],
                       check=True)
    return path


def time_ours(args, name, steps):
    kind, options = OURS[name]
    model = model_of(args, kind)
    rows = rows_of(args, model, steps)
    with watch() as gpu:
        r, begun = adapt(args, model, rows, ["--batch", str(ROWS), "--device", "gpu", *options])
    seconds = r["train_s"] - r["first_step_s"]
    tokens = r["tokens"] * (r["steps"] - 1) / r["steps"]
    joules = gpu.between(GPU, begun + r["first_step_s"], begun + r["train_s"])
    return {"tokens_per_s": tokens / seconds, "tokens_per_step": r["tokens"] / r["steps"],
            "j_per_token": joules and joules / tokens, "mean_w": joules and joules / seconds,
            "peak_gib": peak_gib(gpu), "allocated_gib": r["peak_bytes"] / 2**30,
            "base": r["base"], "compute": r["compute"],
            "steps": r["steps"], "phase_s": r["phase_s"], "first_step_s": r["first_step_s"],
            "losses": [p["loss"] for p in r["curve"]]}  # fmt: skip


def time_theirs(args, name, steps, shape):
    dtype, recompute = THEIRS[name]
    spec = json.dumps([shape, dtype, recompute, ROWS, TOKENS, steps])
    with watch() as gpu:
        done = subprocess.run([args.python, "-c", PEER, spec], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    r = json.loads(done.stdout.strip().splitlines()[-1])
    seconds = r["end"] - r["begin"]
    joules = gpu.between(GPU, r["begin"], r["end"])
    return {"tokens_per_s": r["tokens"] / seconds, "j_per_token": joules and joules / r["tokens"],
            "mean_w": joules and joules / seconds,
            "peak_gib": peak_gib(gpu), "allocated_gib": r["allocated_bytes"] / 2**30,
            "steps": steps, "versions": r["versions"]}  # fmt: skip


class Goals:
    def __init__(self, runs):
        self.runs = runs
        self.rows = []

    def ratio(self, key, of, to, ok, what):
        """Where both rows are there."""
        a, b = (self.runs.get(n, {}).get(key) for n in (of, to))
        if a is not None and b is not None:
            self.rows.append({"what": f"{key} of {of} / {to}", "is": a / b, "goal": what,
                              "met": bool(ok(a / b))})

    def check(self, shape):
        at_least = (lambda r: r >= 1, "at least 1")
        self.ratio("tokens_per_s", "lora bf16", "peft bf16", *at_least)
        self.ratio("tokens_per_s", "lora bf16 kept", "peft bf16 kept", *at_least)
        self.ratio("tokens_per_s", "lora f32", "peft f32", *at_least)
        # What --compute auto chooses for either.
        self.ratio("j_per_token", "qlora f32", "lora bf16", lambda r: r <= 1.3, "at most 1.3")
        q = self.runs.get("qlora f32")
        if q and shape == "llama-3.1-8b":
            self.rows.append({"what": "peak GiB of qlora f32", "is": q["peak_gib"],
                              "goal": "under 12", "met": q["peak_gib"] < 12})
        wide = self.runs.get("lora f32", {}).get("losses")
        for name in ("lora bf16", "lora f16"):
            narrow = self.runs.get(name, {}).get("losses")
            if wide and narrow and len(wide) == len(narrow):
                off = max(abs(a - b) / b for a, b in zip(narrow, wide))
                self.rows.append({"what": f"losses of {name} off from lora f32 at most", "is": off,
                                  "goal": "under 0.01", "met": off < 0.01})
        return all(r["met"] for r in self.rows)


def number(x, digits):
    return "-" if x is None else f"{x:.{digits}f}"


def show(result):
    print(f"{result['shape']} on {result['gpu']}, driver {result['driver']}, {ROWS} x {TOKENS}")
    print("| | tokens/s | J a token | mean W | peak GiB | of it allocated |\n|---|---|---|---|---|---|")
    for name, r in result["runs"].items():
        print(f"| {name} | {r['tokens_per_s']:.0f} | {number(r['j_per_token'], 4)} |"
              f" {number(r['mean_w'], 0)} | {r['peak_gib']:.2f} | {r['allocated_gib']:.2f} |")
    for g in result["goals"]:
        print(f"{'ok     ' if g['met'] else 'MISSED '} {g['what']}: {g['is']:.3f} ({g['goal']})")


def timed(args):
    path = args.dir / f"adapt-{args.shape}.json"
    driver = nvml.Driver()
    result = json.loads(path.read_text()) if path.exists() else {"runs": {}}
    result |= {"shape": args.shape, "gpu": driver.text("nvmlDeviceGetName", driver.gpu()),
               "driver": driver.text("nvmlSystemGetDriverVersion")}  # fmt: skip
    names = args.only.split(",") if args.only else DEFAULT[args.shape]
    steps = args.steps or STEPS[args.shape]
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        if name in OURS:
            row = time_ours(args, name, steps)
        else:
            row = time_theirs(args, name, steps, SHAPES[args.shape])
        result["runs"][name] = row
        print(f"{name}: {row['tokens_per_s']:.0f} tokens/s", file=sys.stderr, flush=True)
        goals = Goals(result["runs"])
        met = goals.check(args.shape)
        result["goals"] = goals.rows
        path.write_text(json.dumps(result, indent=1))
    show(result)
    return 0 if met else 1


# As data/shapes.yaml, which needs a YAML reader.
SHAPES = {
    "llama-3.2-1b": {"layers": 16, "embd": 2048, "ff": 8192, "heads": 32, "kv_heads": 8,
                     "head_dim": 64, "vocab": 128256, "tied": True},
    "llama-3.1-8b": {"layers": 32, "embd": 4096, "ff": 14336, "heads": 32, "kv_heads": 8,
                     "head_dim": 128, "vocab": 128256, "tied": False},
}  # fmt: skip


def checked(args):
    """Losses and gradient norms of the first steps, against the CPU's kernels in F32."""
    rows = args.dir / "rows.jsonl"
    write_rows(rows, 8 * int(args.steps), 60)
    options = ["--batch", "4", "--max-steps", args.steps, "--base", args.base, "--threads", args.threads]
    want = adapt(args, args.model, rows, options)[0]["curve"]
    failed = False
    for compute, most in (("f32", 2e-3), ("bf16", 2e-2), ("f16", 1e-2)):
        for keep in ([], ["--no-recompute"]):
            got = adapt(args, args.model, rows, [*options, *args.device.split(), "--compute", compute,
                                                 *keep])[0]
            loss, norm = (max(abs(a[k] - b[k]) / b[k] for a, b in zip(got["curve"], want))
                          for k in ("loss", "grad_norm"))
            ok = loss < most and norm < 5 * most and len(got["curve"]) == len(want)
            failed = failed or not ok
            print(f"{'ok     ' if ok else 'FAILED '} {compute:4} base {got['base']}"
                  f"{', kept' if keep else ''}: loss off by {loss:.1e}, gradient norm by {norm:.1e}"
                  f" of the CPU's (at most {most:.0e})")  # fmt: skip
    return 1 if failed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = p.add_subparsers(required=True, metavar="check|time")
    check = what.add_parser("check", help="does the GPU learn what the CPU learns?")
    clock = what.add_parser("time", help="tokens/s, joules and memory, against PEFT")
    for sub in (check, clock):
        sub.add_argument("binary", metavar="EDGE_EVAL")
        sub.add_argument("dir", type=pathlib.Path, metavar="DIR")
    check.add_argument("model", type=pathlib.Path, metavar="MODEL.gguf")
    check.add_argument("--base", default="q8_0", help="type of frozen matrices (q8_0)")
    check.add_argument("--device", default="--device gpu",
                       help="options that choose it (--device gpu); --device=--plain-ops rehearses on the CPU")
    check.add_argument("--steps", default="6", help="to compare (6)")
    check.add_argument("--threads", default="0", help="of the CPU (all)")
    check.set_defaults(run=checked)
    clock.add_argument("shape", choices=sorted(SHAPES))
    clock.add_argument("--only", help="rows to run, of: " + ", ".join([*OURS, *THEIRS]))
    clock.add_argument("--steps", type=int, help="of each row, the first left out")
    clock.add_argument("--vocab", type=pathlib.Path, help="the shape's vocabulary, a GGUF file")
    clock.add_argument("--python", default=sys.executable, help="with torch, transformers, peft")
    clock.set_defaults(run=timed, words=None)
    args = p.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
