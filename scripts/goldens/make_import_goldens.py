#!/usr/bin/env python3
"""Makes tests/goldens/import/converted.json: what llama.cpp's own converters write for the checkpoints
and adapters of tests/e2e/hf.py, as keys and hashes of tensors.

    python3 scripts/goldens/make_import_goldens.py LLAMA_CPP [KEEP_DIR]

LLAMA_CPP is a checkout of the version that scripts/deps.sh builds. Needs torch, transformers,
safetensors, numpy, sentencepiece and PyYAML in the same Python. The converter recognises a
pre-tokenizer by the hash of a text tokenized with the full vocabulary, which a tiny one cannot have;
so that one function is told the answer. KEEP_DIR keeps the converted files.
"""

import json
import pathlib
import runpy
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests" / "e2e"))

import hf  # noqa: E402

TYPES = {"F16": "f16", "BF16": "bf16", "F32": "f32"}
ADAPTERS = {"llama3": "F32", "qwen2": "BF16"}


def run_converter(llama, script, args, pre=""):
    """In a process of its own: this file again, with the converter's arguments."""
    command = [sys.executable, __file__, "--convert", str(llama), script, pre, *map(str, args)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def convert(llama, script, pre, args):
    sys.path[:0] = [llama, str(pathlib.Path(llama) / "gguf-py")]
    sys.modules.pop("gguf")  # the tests' own
    from conversion import base

    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    sys.argv = [script, *args]
    runpy.run_path(str(pathlib.Path(llama) / script), run_name="__main__")


def main():
    llama = pathlib.Path(sys.argv[1]).resolve()
    keep = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    version = subprocess.run(["git", "-C", llama, "log", "-1", "--format=%H"], capture_output=True, text=True, check=True)
    import torch
    import transformers

    out = {
        "origin": f"llama.cpp {version.stdout.strip()}, convert_hf_to_gguf.py and convert_lora_to_gguf.py; "
        f"torch {torch.__version__}, transformers {transformers.__version__}",
        "models": {},
        "adapters": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        at = keep or pathlib.Path(scratch)
        for name, make in hf.CHECKPOINTS.items():
            directory = hf.checkpoint(at / name, name)
            for type_name, outtype in TYPES.items():
                to = at / f"{name}.{type_name}.gguf"
                args = [directory, "--outfile", to, "--outtype", outtype]
                run_converter(llama, "convert_hf_to_gguf.py", args, make["pre"])
                out["models"][f"{name}.{type_name}"] = hf.summary(to)
        for name, dtype in ADAPTERS.items():
            directory = hf.adapter(at / f"{name}-adapter", dtype)
            to = at / f"{name}-adapter.gguf"
            args = ["--base", at / name, "--outfile", to, directory]
            run_converter(llama, "convert_lora_to_gguf.py", args)
            out["adapters"][name] = hf.summary(to)
    path = SOURCE / "tests" / "goldens" / "import" / "converted.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(out, indent=None, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--convert":
        convert(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        main()
