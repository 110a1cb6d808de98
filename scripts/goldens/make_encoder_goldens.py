#!/usr/bin/env python3
"""Writes tests/goldens/quality/encoder.jsonl: logits and embeddings of the encoders that tests make.

    python3 -m venv /tmp/goldens
    /tmp/goldens/bin/pip install torch==2.8.0 transformers==4.57.3
    /tmp/goldens/bin/python scripts/goldens/make_encoder_goldens.py

tests/support/gguf_encoder.c writes GGUF files whose weights are random numbers seeded by each
tensor's name. Here the same numbers become RobertaForSequenceClassification,
ModernBertForSequenceClassification (classifier_pooling mean) and RobertaModel of transformers. The
engine's GELU is an approximation in half precision, so its values are near these, not equal.
"""

import datetime
import json
import pathlib
import random

import torch
import transformers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "quality" / "encoder.jsonl"
SCRIPT = "scripts/goldens/make_encoder_goldens.py"
MASK = (1 << 64) - 1

# As in gguf_encoder.c.
LAYERS, EMBD, FF, HEADS, CONTEXT, TOKENS, OUTPUTS, SLIDING = 2, 64, 96, 2, 96, 261, 3, 16


def splitmix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    z = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return x, z ^ (z >> 31)


def uniform(seed, stream, n):
    """n numbers of rng_uniform after rng_init_stream(seed, stream)."""
    x = splitmix64(seed)[1] ^ stream
    s = []
    for _ in range(4):
        x, out = splitmix64(x)
        s.append(out)
    numbers = []
    for _ in range(n):
        r = s[1] * 5 & MASK
        r = (r << 7 | r >> 57) & MASK
        numbers.append((r * 9 & MASK) >> 11)
        t = s[1] << 17 & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = (s[3] << 45 | s[3] >> 19) & MASK
    return [x * 2.0**-53 for x in numbers]


def weights(name, row, n_rows=1):
    """The tensor of that name: rows of float32 in -0.5 to 0.5."""
    stream = 0
    for c in name.encode():
        stream = (stream * 31 + c) & MASK
    values = torch.tensor(uniform(1, stream, row * n_rows), dtype=torch.float64).to(torch.float32) - 0.5
    return values.reshape(n_rows, row) if n_rows > 1 else values


def linear(prefix, row, n_rows):
    return {"weight": weights(f"{prefix}.weight", row, n_rows), "bias": weights(f"{prefix}.bias", n_rows)}


def norm(prefix):
    return {"weight": weights(f"{prefix}.weight", EMBD), "bias": weights(f"{prefix}.bias", EMBD)}


def flat(prefix, parts):
    return {f"{prefix}.{key}": value for key, value in parts.items()}


def load(model, state):
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert all("position_ids" in m or "token_type_ids" in m for m in missing), missing
    return model.eval()


def roberta(with_head):
    config = transformers.RobertaConfig(
        vocab_size=TOKENS, hidden_size=EMBD, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=FF, max_position_embeddings=CONTEXT + 2, type_vocab_size=1, layer_norm_eps=1e-5,
        hidden_act="gelu", pad_token_id=1, num_labels=OUTPUTS, attn_implementation="eager",
    )  # fmt: skip
    p = "roberta." if with_head else ""
    positions = torch.zeros(CONTEXT + 2, EMBD)
    positions[2:] = weights("position_embd.weight", EMBD, CONTEXT)
    state = {
        f"{p}embeddings.word_embeddings.weight": weights("token_embd.weight", EMBD, TOKENS),
        f"{p}embeddings.token_type_embeddings.weight": weights("token_types.weight", EMBD).reshape(1, EMBD),
        f"{p}embeddings.position_embeddings.weight": positions,
        **flat(f"{p}embeddings.LayerNorm", norm("token_embd_norm")),
    }
    for i in range(LAYERS):
        layer, blk = f"{p}encoder.layer.{i}", f"blk.{i}"
        state |= flat(f"{layer}.attention.self.query", linear(f"{blk}.attn_q", EMBD, EMBD))
        state |= flat(f"{layer}.attention.self.key", linear(f"{blk}.attn_k", EMBD, EMBD))
        state |= flat(f"{layer}.attention.self.value", linear(f"{blk}.attn_v", EMBD, EMBD))
        state |= flat(f"{layer}.attention.output.dense", linear(f"{blk}.attn_output", EMBD, EMBD))
        state |= flat(f"{layer}.attention.output.LayerNorm", norm(f"{blk}.attn_output_norm"))
        state |= flat(f"{layer}.intermediate.dense", linear(f"{blk}.ffn_up", EMBD, FF))
        state |= flat(f"{layer}.output.dense", linear(f"{blk}.ffn_down", FF, EMBD))
        state |= flat(f"{layer}.output.LayerNorm", norm(f"{blk}.layer_output_norm"))
    if not with_head:
        return load(transformers.RobertaModel(config, add_pooling_layer=False), state)
    state |= flat("classifier.dense", linear("cls", EMBD, EMBD))
    state |= flat("classifier.out_proj", linear("cls.output", EMBD, OUTPUTS))
    return load(transformers.RobertaForSequenceClassification(config), state)


def modern_bert():
    config = transformers.ModernBertConfig(
        vocab_size=TOKENS, hidden_size=EMBD, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=FF, max_position_embeddings=CONTEXT, norm_eps=1e-5, global_rope_theta=160000.0,
        local_rope_theta=10000.0, local_attention=SLIDING, global_attn_every_n_layers=2, pad_token_id=1,
        bos_token_id=0, cls_token_id=0, eos_token_id=2, sep_token_id=2, classifier_pooling="mean",
        num_labels=OUTPUTS, attn_implementation="eager", reference_compile=False,
    )  # fmt: skip
    state = {
        "model.embeddings.tok_embeddings.weight": weights("token_embd.weight", EMBD, TOKENS),
        "model.embeddings.norm.weight": weights("token_embd_norm.weight", EMBD),
        "model.final_norm.weight": weights("output_norm.weight", EMBD),
        "head.dense.weight": weights("cls.weight", EMBD, EMBD),
        "head.norm.weight": weights("cls.norm.weight", EMBD),
        **flat("classifier", linear("cls.output", EMBD, OUTPUTS)),
    }
    for i in range(LAYERS):
        layer, blk = f"model.layers.{i}", f"blk.{i}"
        if i > 0:
            state[f"{layer}.attn_norm.weight"] = weights(f"{blk}.attn_norm.weight", EMBD)
        state[f"{layer}.attn.Wqkv.weight"] = weights(f"{blk}.attn_qkv.weight", EMBD, 3 * EMBD)
        state[f"{layer}.attn.Wo.weight"] = weights(f"{blk}.attn_output.weight", EMBD, EMBD)
        state[f"{layer}.mlp_norm.weight"] = weights(f"{blk}.ffn_norm.weight", EMBD)
        state[f"{layer}.mlp.Wi.weight"] = weights(f"{blk}.ffn_up.weight", EMBD, 2 * FF)
        state[f"{layer}.mlp.Wo.weight"] = weights(f"{blk}.ffn_down.weight", FF, EMBD)
    return load(transformers.ModernBertForSequenceClassification(config), state)


def run(model, ids):
    ids = torch.tensor([ids])
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids))


def lines():
    rng = random.Random(3)
    classifier, modern, encoder = roberta(True), modern_bert(), roberta(False)
    for _ in range(12):
        premise = [rng.randrange(4, TOKENS) for _ in range(rng.randrange(1, 60))]
        hypothesis = [rng.randrange(4, TOKENS) for _ in range(rng.randrange(1, 30))]
        pair = {"premise": premise, "hypothesis": hypothesis}
        logits = run(classifier, [0, *premise, 2, 2, *hypothesis, 2]).logits[0]
        yield {"arch": "bert", **pair, "logits": logits.tolist()}
        logits = run(modern, [0, *premise, 2, *hypothesis, 2]).logits[0]
        yield {"arch": "modern-bert", **pair, "logits": logits.tolist()}
    for _ in range(4):
        tokens = [0, *(rng.randrange(4, TOKENS) for _ in range(rng.randrange(1, 60))), 2]
        states = run(encoder, tokens).last_hidden_state[0]
        yield {"arch": "bert", "tokens": tokens, "mean": states.mean(0).tolist(), "cls": states[0].tolist()}


def main():
    origin = {
        "package": "transformers, torch", "version": f"{transformers.__version__}, {torch.__version__}",
        "functions": "RobertaForSequenceClassification, ModernBertForSequenceClassification, RobertaModel",
        "script": SCRIPT, "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    count = 0
    with open(OUT, "w", encoding="utf-8", newline="\n") as f:
        f.write(json.dumps({"origin": origin}) + "\n")
        for line in lines():
            f.write(json.dumps(line, separators=(",", ":")) + "\n")
            count += 1
    print(f"{OUT.name}: {count} goldens")


if __name__ == "__main__":
    main()
