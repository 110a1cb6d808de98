"""Tiny encoders on a byte-level vocabulary: classifiers and embedding models of random weights."""

import random
import struct

import gguf

LAYERS, EMBD, FF, CONTEXT = 2, 64, 96, 128
MEAN, RANK = 1, 4
NLI = ("contradiction", "entailment", "neutral")


def _alphabet():
    """GPT-2's letters for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def _tensor(rng, name, row, n_rows=1):
    data = struct.pack(f"<{row * n_rows}f", *(rng.uniform(-0.5, 0.5) for _ in range(row * n_rows)))
    return gguf.Tensor(name, (row, n_rows) if n_rows > 1 else (row,), gguf.F32, data)


def roberta(path, labels=None, pooling=None, tokenizer="gpt2", token_types=1, seed=1):
    """With labels a classifier, with pooling an embedding model."""
    rng = random.Random(seed)
    tokens = [b"<s>", b"<pad>", b"</s>", b"<unk>", *(c.encode() for c in _alphabet()), b"th"]
    m = gguf.Gguf()
    m.set("general.architecture", gguf.STRING, b"bert")
    for key, value in (("block_count", LAYERS), ("context_length", CONTEXT), ("embedding_length", EMBD),
                       ("feed_forward_length", FF), ("attention.head_count", 2)):  # fmt: skip
        m.set(f"bert.{key}", gguf.UINT32, value)
    m.set("bert.attention.layer_norm_epsilon", gguf.FLOAT32, 1e-5)
    m.set("bert.attention.causal", gguf.BOOL, False)
    if labels:
        m.set_array("bert.classifier.output_labels", gguf.STRING, [label.encode() for label in labels])
    if pooling is not None:
        m.set("bert.pooling_type", gguf.UINT32, pooling)
    m.set("tokenizer.ggml.model", gguf.STRING, tokenizer.encode())
    m.set("tokenizer.ggml.pre", gguf.STRING, b"roberta-bpe")
    m.set_array("tokenizer.ggml.tokens", gguf.STRING, tokens)
    m.set_array("tokenizer.ggml.token_type", gguf.INT32, [3, 3, 3, 2, *([1] * 257)])
    m.set_array("tokenizer.ggml.merges", gguf.STRING, [b"t h"])
    for key, value in (("bos", 0), ("padding", 1), ("eos", 2), ("unknown", 3)):
        m.set(f"tokenizer.ggml.{key}_token_id", gguf.UINT32, value)
    m.set("tokenizer.ggml.add_bos_token", gguf.BOOL, True)
    m.set("tokenizer.ggml.add_eos_token", gguf.BOOL, True)
    m.set("tokenizer.ggml.token_type_count", gguf.UINT32, token_types)

    def add(name, *shape):
        m.tensors.append(_tensor(rng, name, *shape))

    add("token_embd.weight", EMBD, len(tokens))
    add("token_types.weight", EMBD, token_types)
    add("position_embd.weight", EMBD, CONTEXT)
    add("token_embd_norm.weight", EMBD)
    add("token_embd_norm.bias", EMBD)
    for i in range(LAYERS):
        for name, row, n_rows in (
            ("attn_q", EMBD, EMBD), ("attn_k", EMBD, EMBD), ("attn_v", EMBD, EMBD), ("attn_output", EMBD, EMBD),
            ("ffn_up", EMBD, FF), ("ffn_down", FF, EMBD),
        ):  # fmt: skip
            add(f"blk.{i}.{name}.weight", row, n_rows)
            add(f"blk.{i}.{name}.bias", n_rows)
        for name in ("attn_output_norm", "layer_output_norm"):
            add(f"blk.{i}.{name}.weight", EMBD)
            add(f"blk.{i}.{name}.bias", EMBD)
    if labels or pooling == RANK:
        add("cls.weight", EMBD, EMBD)
        add("cls.bias", EMBD)
        add("cls.output.weight", EMBD, len(labels or NLI))
        add("cls.output.bias", len(labels or NLI))
    return m.write(path)
