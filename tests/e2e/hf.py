"""Tiny Hugging Face checkpoints and PEFT adapters, made with the standard library alone.

Weights are a fixed arithmetic sequence, so that equal arguments give equal bytes on any machine:
scripts/goldens/make_import_goldens.py feeds the same directories to llama.cpp's own converters.
"""

import hashlib
import json
import struct

import gguf

EMBD, FF, LAYERS, HEADS, KV_HEADS, CONTEXT = 64, 96, 2, 4, 2, 512
HEAD = EMBD // HEADS

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {"llama-bpe": CONTRACTIONS + r"\p{N}{1,3}" + REST, "qwen2": CONTRACTIONS + r"\p{N}" + REST}

TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("a", "n"), ("Ġ", "a")]


def byte_letters():
    """GPT-2's printable stand-ins of the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {b: chr(b) for b in plain}, 256
    for b in range(256):
        if b not in letters:
            letters[b] = chr(extra)
            extra += 1
    return [letters[b] for b in range(256)]


def pre_tokenizer(pre):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pre == "smollm"}
    if pre == "smollm":
        first = {"type": "Digits", "individual_digits": True}
    else:
        first = {"type": "Split", "pattern": {"Regex": SPLITS[pre]}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [first, byte_level]}


def tokenizer(pre, old_merges=False):
    words = byte_letters() + [a + b for a, b in MERGES]
    n = len(words)
    added = [
        {"id": n + i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True} for i, t in enumerate(SPECIALS)
    ]  # fmt: skip
    added.append({**added[0], "id": n + 3, "content": "<tool>", "special": False})
    begin = {"SpecialToken": {"id": SPECIALS[0], "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {SPECIALS[0]: {"id": SPECIALS[0], "ids": [n], "tokens": [SPECIALS[0]]}},
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "NFC"} if pre == "qwen2" else None,
        "pre_tokenizer": pre_tokenizer(pre),
        "post_processor": template if pre == "llama-bpe" else byte_level,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": pre == "llama-bpe", "vocab": {w: i for i, w in enumerate(words)},
            "merges": [f"{a} {b}" for a, b in MERGES] if old_merges else [list(m) for m in MERGES],
        },
    }  # fmt: skip


# --- Weights --------------------------------------------------------------------------------------


def values(n, seed, scale, mean=0.0):
    """n values around mean that BF16 and F16 both hold exactly: 1/64 steps of the scale."""
    state = (seed * 2654435761 + 12345) & 0xFFFFFFFF
    out = []
    for _ in range(n):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(mean + scale * ((state >> 24) - 128) / 64)
    return out


def pack(numbers, dtype):
    if dtype == "F32":
        # Bits that 16-bit types have to round.
        return struct.pack(f"<{len(numbers)}f", *(x * 1.0009765625 + 1e-6 for x in numbers))
    if dtype == "F16":
        return struct.pack(f"<{len(numbers)}e", *numbers)
    return b"".join(struct.pack("<f", x)[2:] for x in numbers)  # BF16


def save(path, tensors, dtype):
    """tensors: name to (shape, numbers)."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (shape, numbers) in tensors.items():
        data = pack(numbers, dtype)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def weights(n_vocab, tied=True, biases=""):
    """biases: the projections of attention that have one, "qkv" or "qkvo"."""
    shapes = {"model.embed_tokens.weight": [n_vocab, EMBD]}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        kv = KV_HEADS * HEAD
        rows = {"q": EMBD, "k": kv, "v": kv, "o": EMBD}
        shapes[at + "input_layernorm.weight"] = [EMBD]
        for p, n in rows.items():
            shapes[f"{at}self_attn.{p}_proj.weight"] = [n, EMBD]
            if p in biases:
                shapes[f"{at}self_attn.{p}_proj.bias"] = [n]
        shapes[at + "post_attention_layernorm.weight"] = [EMBD]
        shapes[at + "mlp.gate_proj.weight"] = [FF, EMBD]
        shapes[at + "mlp.up_proj.weight"] = [FF, EMBD]
        shapes[at + "mlp.down_proj.weight"] = [EMBD, FF]
    shapes["model.norm.weight"] = [EMBD]
    if not tied:
        shapes["lm_head.weight"] = [n_vocab, EMBD]
    out = {}
    for i, (name, shape) in enumerate(shapes.items()):
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        out[name] = (shape, values(n, i + 1, 0.0625, 1.0 if "norm" in name else 0.0))
    return out


LLAMA3_ROPE = {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}  # fmt: skip

# name: what to make. Both families, all vocabularies, dtypes, tied and not, old and new keys.
CHECKPOINTS = {
    "llama3": {"pre": "llama-bpe", "dtype": "BF16", "tied": True,
               "config": {"rope_theta": 500000.0, "rope_scaling": LLAMA3_ROPE, "head_dim": HEAD}},
    "llama3-shards": {"pre": "llama-bpe", "dtype": "F16", "tied": False, "shards": 3, "old_merges": True,
                      "biases": "qkvo",
                      "config": {"rope_theta": 500000.0, "rope_scaling": LLAMA3_ROPE, "attention_bias": True}},
    "smollm": {"pre": "smollm", "dtype": "F32", "tied": True,
               "config": {"rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}}},
    "qwen2": {"pre": "qwen2", "dtype": "BF16", "tied": True, "biases": "qkv", "config": {"rope_theta": 1000000.0}},
    "qwen2-untied": {"pre": "qwen2", "dtype": "F32", "tied": False, "biases": "qkv",
                     "config": {"rope_theta": 1000000.0, "rope_scaling": {
                         "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}}},
}  # fmt: skip


def checkpoint(path, name):
    """Writes CHECKPOINTS[name] into the new directory path; returns path."""
    make = CHECKPOINTS[name]
    path.mkdir(parents=True)
    words = tokenizer(make["pre"], make.get("old_merges", False))
    n_words = len(words["model"]["vocab"]) + len(words["added_tokens"])
    n_vocab = n_words + 2  # padded, as many are
    qwen = make["pre"] == "qwen2"
    config = {
        "architectures": ["Qwen2ForCausalLM" if qwen else "LlamaForCausalLM"],
        "model_type": "qwen2" if qwen else "llama",
        "hidden_size": EMBD, "intermediate_size": FF, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "vocab_size": n_vocab, "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": make["tied"],
        "bos_token_id": n_words - 4, "eos_token_id": n_words - 2, **make["config"],
    }  # fmt: skip
    eos = {"__type": "AddedToken", "content": SPECIALS[2], "lstrip": False, "normalized": False, "rstrip": False,
           "single_word": False, "special": True}  # fmt: skip
    settings = {
        "tokenizer_class": "Qwen2Tokenizer" if qwen else "PreTrainedTokenizerFast",
        "bos_token": None if qwen else SPECIALS[0], "eos_token": eos if qwen else SPECIALS[2],
        "pad_token": SPECIALS[0], "chat_template": TEMPLATE, "model_max_length": CONTEXT,
    }  # fmt: skip
    if qwen:
        settings["add_bos_token"] = False
    if name == "llama3":
        del settings["chat_template"]
        (path / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    for file, content in [("config", config), ("tokenizer", words), ("tokenizer_config", settings)]:
        (path / f"{file}.json").write_text(json.dumps(content), encoding="utf-8")
    tensors = weights(n_vocab, make["tied"], make.get("biases", ""))
    save_shards(path, tensors, make["dtype"], make.get("shards", 1))
    return path


def save_shards(path, tensors, dtype, n):
    if n == 1:
        save(path / "model.safetensors", tensors, dtype)
        return
    index = {}
    for i in range(n):
        file = f"model-{i + 1:05}-of-{n:05}.safetensors"
        part = dict(list(tensors.items())[i::n])
        save(path / file, part, dtype)
        index.update(dict.fromkeys(part, file))
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


MODULES = {"self_attn.q_proj": (EMBD, EMBD), "self_attn.k_proj": (EMBD, KV_HEADS * HEAD),
           "self_attn.o_proj": (EMBD, EMBD), "mlp.down_proj": (FF, EMBD)}  # fmt: skip


def adapter(path, dtype="F32", rank=4, **config):
    """A PEFT LoRA adapter for any of CHECKPOINTS, on four of the seven modules."""
    path.mkdir(parents=True)
    tensors = {}
    for layer in range(LAYERS):
        for i, (module, (n_in, n_out)) in enumerate(MODULES.items()):
            at = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{at}.lora_A.weight"] = ([rank, n_in], values(rank * n_in, 100 + 20 * layer + i, 0.25))
            tensors[f"{at}.lora_B.weight"] = ([n_out, rank], values(n_out * rank, 200 + 20 * layer + i, 0.25))
    save(path / "adapter_model.safetensors", tensors, dtype)
    content = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "bias": "none", "task_type": "CAUSAL_LM",
               "target_modules": [m.split(".")[1] for m in MODULES], **config}  # fmt: skip
    (path / "adapter_config.json").write_text(json.dumps(content), encoding="utf-8")
    return path


def summary(path):
    """A GGUF file as JSON can hold it: keys (long lists as their hash), tensors as [type, dims, hash]."""
    file = gguf.Gguf.read(path)
    keys = {}
    for key, (type_id, value) in file.kv.items():
        text = json.dumps([type_id, value], default=lambda b: b.decode())
        keys[key] = hashlib.sha256(text.encode()).hexdigest() if len(text) > 400 else json.loads(text)
    tensors = {t.name: [t.type_id, list(t.dims), hashlib.sha256(t.data).hexdigest()] for t in file.tensors}
    return {"keys": keys, "tensors": tensors}
