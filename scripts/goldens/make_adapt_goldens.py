#!/usr/bin/env python3
"""Writes tests/goldens/adapt/steps.jsonl: five steps of LoRA training by PyTorch.

    python3 -m venv /tmp/goldens
    /tmp/goldens/bin/pip install torch==2.15.0 transformers==5.23.0 peft==0.21.2 xxhash==3.5.0
    /tmp/goldens/bin/python scripts/goldens/make_adapt_goldens.py

One line a model: the transformers implementation of its architecture with PEFT's LoRA on seven
modules and torch's AdamW, in F32, on the weights that tests/support/gguf_make.c makes (the same
random numbers, from the generator written out in make_base_goldens.py) and the batch and adapter
that tests/test_adapt_golden.c repeats. "losses" has the mean loss of each step before its update,
"norms" the norm of its gradient. The first line of the file tells where it comes from.
"""

import datetime
import importlib.metadata
import json
import math
import pathlib
import platform
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from make_base_goldens import MASK, Xoshiro256StarStar, splitmix64  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "adapt"
HEAD, VOCAB, RANK, ALPHA, STEPS, RATE, DECAY = 32, 261, 4, 8, 5, 5e-3, 0.01
TOKENS, FIRST_LEN = 41, 17
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GGUF_NAMES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]

MODELS = {
    "llama": {"n_layers": 2, "n_embd": 128, "n_ff": 160, "n_head_kv": 2, "untied": False},
    "qwen2": {"n_layers": 2, "n_embd": 96, "n_ff": 128, "n_head_kv": 1, "untied": True},
}


def stream(seed, number):
    """rng_init_stream of src/base/rng.c."""
    _, mixed = splitmix64(seed)
    return Xoshiro256StarStar.seeded(mixed ^ number)


def weight(name, rows, row, spread=0.4):
    number = 0
    for c in name.encode():
        number = (number * 31 + c) & MASK
    rng = stream(1, number)
    values = [((rng.next() >> 11) * 2.0**-53) for _ in range(rows * row)]
    t = (torch.tensor(values, dtype=torch.float64).float() - 0.5) * spread
    return t.reshape(rows, row) if rows > 1 else t


def unpermuted(t, n_head):
    """GGUF llama rows pair neighbours for RoPE, transformers' pair halves."""
    rest = t.shape[1:]
    return t.reshape(n_head, HEAD // 2, 2, *rest).transpose(1, 2).reshape(t.shape)


def build(arch, m):
    common = dict(vocab_size=VOCAB, hidden_size=m["n_embd"], intermediate_size=m["n_ff"],
                  num_hidden_layers=m["n_layers"], num_attention_heads=m["n_embd"] // HEAD,
                  num_key_value_heads=m["n_head_kv"], rms_norm_eps=1e-5,
                  tie_word_embeddings=not m["untied"], max_position_embeddings=2048,
                  rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    model = (LlamaForCausalLM(LlamaConfig(**common)) if arch == "llama"
             else Qwen2ForCausalLM(Qwen2Config(**common)))
    n_head = m["n_embd"] // HEAD
    kv = m["n_head_kv"] * HEAD
    shapes = {"attn_q": (m["n_embd"], m["n_embd"]), "attn_k": (kv, m["n_embd"]),
              "attn_v": (kv, m["n_embd"]), "attn_output": (m["n_embd"], m["n_embd"]),
              "ffn_gate": (m["n_ff"], m["n_embd"]), "ffn_up": (m["n_ff"], m["n_embd"]),
              "ffn_down": (m["n_embd"], m["n_ff"])}
    state = {"model.embed_tokens.weight": weight("token_embd.weight", VOCAB, m["n_embd"]),
             "model.norm.weight": weight("output_norm.weight", 1, m["n_embd"])}
    state["lm_head.weight"] = (weight("output.weight", VOCAB, m["n_embd"]) if m["untied"]
                               else state["model.embed_tokens.weight"])
    for i in range(m["n_layers"]):
        at = f"model.layers.{i}."
        for hf, gguf in zip(MODULES, GGUF_NAMES):
            t = weight(f"blk.{i}.{gguf}.weight", *shapes[gguf])
            bias = None
            if arch == "qwen2" and gguf in ("attn_q", "attn_k", "attn_v"):
                bias = weight(f"blk.{i}.{gguf}.bias", 1, shapes[gguf][0])
            if arch == "llama" and gguf in ("attn_q", "attn_k"):
                t = unpermuted(t, n_head if gguf == "attn_q" else m["n_head_kv"])
            block = "self_attn." if hf in MODULES[:4] else "mlp."
            state[f"{at}{block}{hf}.weight"] = t
            if bias is not None:
                state[f"{at}{block}{hf}.bias"] = bias
        state[at + "input_layernorm.weight"] = weight(f"blk.{i}.attn_norm.weight", 1, m["n_embd"])
        state[at + "post_attention_layernorm.weight"] = weight(f"blk.{i}.ffn_norm.weight", 1,
                                                               m["n_embd"])
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("rotary" in k for k in missing), (missing, unexpected)
    return model


def set_adapter(model, arch, m):
    """Value k of tensor number n (A before B, in GGUF's order) is 0.1 sin(0.7 k + n)."""
    params = dict(model.named_parameters())
    number = 0
    for i in range(m["n_layers"]):
        for hf, gguf in zip(MODULES, GGUF_NAMES):
            for half in "AB":
                key = next(k for k in params
                           if f"layers.{i}." in k and f"{hf}.lora_{half}." in k)
                p = params[key]
                values = [0.1 * math.sin(0.7 * k + number) for k in range(p.numel())]
                t = torch.tensor(values, dtype=torch.float64).float().reshape(p.shape)
                if half == "B" and arch == "llama" and gguf in ("attn_q", "attn_k"):
                    t = unpermuted(t, p.shape[0] // HEAD)
                with torch.no_grad():
                    p.copy_(t)
                number += 1


def sequences():
    tokens = [(i * 37 + i // 5) % VOCAB for i in range(TOKENS)]
    targets = [(i * 53 + 11) % VOCAB for i in range(TOKENS)]
    for start, end in ((0, FIRST_LEN), (FIRST_LEN, TOKENS)):
        yield tokens[start:end], targets[start:end]


def train(arch, m):
    torch.manual_seed(1)
    model = get_peft_model(build(arch, m), LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0,
                                                      target_modules=MODULES))
    set_adapter(model, arch, m)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=RATE, weight_decay=DECAY)
    losses, norms = [], []
    for _ in range(STEPS):
        optimiser.zero_grad()
        parts = []
        for tokens, targets in sequences():
            logits = model(input_ids=torch.tensor([tokens])).logits[0]
            parts.append(torch.nn.functional.cross_entropy(
                logits[4:], torch.tensor(targets[4:]), reduction="none"))
        loss = torch.cat(parts).mean()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 0.1).item())
        optimiser.step()
        losses.append(loss.item())
    return losses, norms


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    versions = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "peft")}
    with open(OUT / "steps.jsonl", "w", encoding="utf-8", newline="\n") as f:
        origin = {"package": "transformers, peft, torch",
                  "version": ", ".join(versions.values()),
                  "functions": "LlamaForCausalLM, Qwen2ForCausalLM, get_peft_model, AdamW, "
                               "clip_grad_norm_",
                  "python": platform.python_version(),
                  "script": "scripts/goldens/make_adapt_goldens.py",
                  "date": datetime.date.today().isoformat()}
        f.write(json.dumps({"origin": origin}) + "\n")
        for arch, m in MODELS.items():
            losses, norms = train(arch, m)
            f.write(json.dumps({"arch": arch, "losses": losses, "norms": norms}) + "\n")
            print(arch, losses, norms)


if __name__ == "__main__":
    main()
