#!/usr/bin/env python3
"""LoRA training on the CPU: edge-eval adapt against PyTorch with PEFT, in turn, in one run.

    bench/adapt.py [--model FILE] [--rounds 3] [--batch 4] [--tokens 512] [--python PYTHON] [--json]

Both train rank 16 on seven modules of the 135M shape (30 layers of 576), dropout 0.05, AdamW, F32
compute and F32 frozen weights, the loss on all tokens, activations recomputed (checkpointing), with
as many threads as the process may use. PyTorch has the shape with random weights, which costs the
same; it runs with SDPA attention, its default. Speeds are tokens a second over whole steps, the
first step of each process left out; memory is the process's peak resident set. PyTorch comes from
PyPI into a virtual environment beside the cache, once, unless --python names one that has it.

Prints both medians and their ratio. A machine that does other work at the same time makes the
figures worthless.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path(os.environ.get("EDGE_EVAL_CACHE", ROOT / ".cache"))
PACKAGES = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2", "numpy==2.4.6"]

PEER = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from peft import LoraConfig, get_peft_model
batch, tokens, steps, threads, recompute = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(1)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
    num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
    max_position_embeddings=2048))
model.config.use_cache = False
if recompute:
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
model = get_peft_model(model, LoraConfig(
    r=16, lora_alpha=16, lora_dropout=0.05, target_modules=["q_proj", "k_proj", "v_proj", "o_proj",
                                                            "gate_proj", "up_proj", "down_proj"]))
model.train()
opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
ids = torch.randint(0, 49000, (batch, tokens))
seconds = []
for _ in range(steps + 1):
    begin = time.perf_counter()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    opt.step()
    opt.zero_grad()
    seconds.append(time.perf_counter() - begin)
print(json.dumps({"tokens_per_s": batch * tokens * steps / sum(seconds[1:]),
                  "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def peer_python():
    home = CACHE / "venv-bench-adapt"
    python = home / "bin" / "python"
    if not python.exists():
        print(f"making {home} ({', '.join(PACKAGES)})", file=sys.stderr)
        venv.create(home, with_pip=True)
    have = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True,
                          check=True).stdout.splitlines()
    if not set(PACKAGES) <= set(have):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def last_json(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_rows(path, rows, words):
    with open(path, "w", encoding="utf-8") as f:
        for i in range(rows):
            document = " ".join(["word"] * words + [str(i)])
            f.write(json.dumps({"id": str(i), "document": document, "summary": "word"}) + "\n")


def train(args, work, words, rows, steps):
    """Our binary on `rows` rows of that many words; the first step is left out of the speed."""
    data = work / "rows.jsonl"
    write_rows(data, rows, words)
    command = [str(args.binary), "adapt", str(args.model), "--task", "summ", "--data", str(data),
               "--out", str(work / "adapter.gguf"), "--force", "--quiet", "--json", "--base", "f32",
               "--loss", "all", "--batch", str(args.batch), "--accumulate", "1", "--threads",
               str(args.threads), "--max-steps", str(steps), "--clip", "0"]
    if args.no_recompute:
        command.append("--no-recompute")
    r = last_json(command)
    if r["steps"] > 1:
        counted = r["tokens"] * (r["steps"] - 1) / r["steps"]
        r["tokens_per_s"] = counted / (r["train_s"] - r["first_step_s"])
    return r


def words_for(args, work):
    """How many words make rows of args.tokens computed tokens."""
    probe = train(argparse.Namespace(**{**vars(args), "batch": 1}), work, 20, 1, 1)
    return 20 + args.tokens - probe["tokens"]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--binary", type=pathlib.Path, default=ROOT / "build" / "edge-eval")
    p.add_argument("--model", type=pathlib.Path,
                   default=CACHE / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=3, help="timed steps of each process")
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--tokens", type=int, default=512)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--python", help="with torch, transformers and peft (default: one is made)")
    p.add_argument("--no-recompute", action="store_true", help="keep activations, on both sides")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    python = args.python or peer_python()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as tmp:
        work = pathlib.Path(tmp)
        words = words_for(args, work)
        for _ in range(args.rounds):
            n = args.steps + 1
            ours.append(train(args, work, words, args.batch * n, n))
            theirs.append(last_json([str(python), "-c", PEER, str(args.batch), str(args.tokens),
                                     str(args.steps), str(args.threads),
                                     str(int(not args.no_recompute))]))
    result = {}
    for name, runs in (("edge_eval", ours), ("pytorch", theirs)):
        result[name] = {"tokens_per_s": statistics.median(r["tokens_per_s"] for r in runs),
                        "peak_mib": statistics.median(r["peak_bytes"] for r in runs) / 2**20,
                        "all": [round(r["tokens_per_s"], 1) for r in runs]}
    for key in ("tokens_per_s", "peak_mib"):
        result["ratio_" + key] = result["edge_eval"][key] / result["pytorch"][key]
    if args.json:
        print(json.dumps(result))
        return
    for name in ("edge_eval", "pytorch"):
        r = result[name]
        print(f"{name:10} {r['tokens_per_s']:7.1f} tok/s  {r['peak_mib']:7.0f} MiB  {r['all']}")
    print(f"ratio      {result['ratio_tokens_per_s']:7.2f}        {result['ratio_peak_mib']:7.2f}")


if __name__ == "__main__":
    main()
