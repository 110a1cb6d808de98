"""Tiny encoders on a byte-level vocabulary: classifiers and embedding models of random weights."""

import math
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


def tokens_of(text):
    """The ids that the byte-level vocabulary has for a text: one a byte, and one for "th"."""
    data, ids, i = text.encode(), [0], 0
    while i < len(data):
        pair = data[i : i + 2] == b"th"
        ids.append(260 if pair else 4 + data[i])
        i += 2 if pair else 1
    return [*ids, 2]


def embed(path, text):
    """The mean-pooled vector of a text, by plain arithmetic on the file's weights."""
    tensors = {t.name: t for t in gguf.Gguf.read(path).tensors}

    def matrix(name):
        t = tensors[name]
        values = struct.unpack(f"<{len(t.data) // 4}f", bytes(t.data))
        return [values[i : i + t.dims[0]] for i in range(0, len(values), t.dims[0])]

    def linear(name, x):
        weight, (bias,) = matrix(f"{name}.weight"), matrix(f"{name}.bias")
        return [[sum(a * b for a, b in zip(row, w)) + c for w, c in zip(weight, bias)] for row in x]

    def norm(name, x):
        (weight,), (bias,) = matrix(f"{name}.weight"), matrix(f"{name}.bias")
        out = []
        for row in x:
            mean = sum(row) / EMBD
            scale = math.sqrt(sum((v - mean) ** 2 for v in row) / EMBD + 1e-5)
            out.append([(v - mean) / scale * w + b for v, w, b in zip(row, weight, bias)])
        return out

    def add(x, y):
        return [[a + b for a, b in zip(p, q)] for p, q in zip(x, y)]

    def attention(q, k, v, heads=2):
        size, out = EMBD // heads, [[] for _ in q]
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            for i, row in enumerate(q):
                scores = [sum(a * b for a, b in zip(row[part], other[part])) / math.sqrt(size) for other in k]
                top = max(scores)
                weights = [math.exp(s - top) for s in scores]
                total = sum(weights)
                out[i] += [sum(w * other[part][d] for w, other in zip(weights, v)) / total for d in range(size)]
        return out

    words, positions, (types, *_) = (matrix(f"{n}.weight") for n in ("token_embd", "position_embd", "token_types"))
    x = [[a + b + c for a, b, c in zip(words[t], positions[i], types)] for i, t in enumerate(tokens_of(text))]
    x = norm("token_embd_norm", x)
    for i in range(LAYERS):
        b = f"blk.{i}."
        q, k, v = (linear(f"{b}attn_{n}", x) for n in "qkv")
        x = norm(f"{b}attn_output_norm", add(x, linear(f"{b}attn_output", attention(q, k, v))))
        up = [[u * 0.5 * (1 + math.erf(u / math.sqrt(2))) for u in row] for row in linear(f"{b}ffn_up", x)]
        x = norm(f"{b}layer_output_norm", add(x, linear(f"{b}ffn_down", up)))
    return [sum(row[d] for row in x) / len(x) for d in range(EMBD)]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
