#!/usr/bin/env python3
"""Writes tests/goldens/quality/choice.jsonl: multiple choice by lm-evaluation-harness on the default model.

    python3 -m venv /tmp/goldens
    /tmp/goldens/bin/pip install torch==2.8.0 transformers==4.57.3 gguf==0.19.0 lm_eval==0.4.9.1
    /tmp/goldens/bin/python scripts/goldens/make_choice_goldens.py [.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf]

The items are made up for this file, in the three shapes of the harness that are read. Weights are
dequantized to float32, where edge-eval computes in F16; items that are nearly tied are refused here, so
that rounding decides none.
"""

import datetime
import importlib.metadata
import json
import pathlib
import sys

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.task import MultipleChoiceTask
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "goldens" / "quality" / "choice.jsonl"
SCRIPT = "scripts/goldens/make_choice_goldens.py"
LEAST_MARGIN = 0.15  # nats, and nats a character times ten

ITEMS = [
    {"query": "The sun rises in the", "choices": ["east.", "kitchen sink.", "late evening."], "gold": 0},
    {"query": "She put the letter in an envelope and", "gold": 1,
     "choices": ["ate.", "took it to the post office before it closed.", "swam."]},
    {"query": "To make tea, first boil the", "choices": ["water", "chair", "question of the day"], "gold": 0},
    {"query": "A triangle has three ", "choices": ["sides", "wheels", "grandmothers"], "gold": 0},
    {"query": "The opposite of hot is", "choices": ["cold", "very hot indeed", "soup"], "gold": 0},
    {"query": "He was so tired that he", "choices": ["fell asleep on the sofa.", "flew.", "is blue."], "gold": 0},
    {"query": "Le ciel est", "choices": ["bleu.", "mang\u00e9 par les \u00e9l\u00e8ves.", "\u732b"], "gold": 0},
    {"query": "Birds can", "choices": ["fly", "repair bicycles in the afternoon", "x"], "gold": 0},
    {"question": "Which of these is hot?", "answerKey": "2",
     "choices": {"text": ["ice", "fire", "snow", "milk"], "label": ["1", "2", "3", "4"]}},
    {"question": "Which animal barks?", "answerKey": "C",
     "choices": {"text": ["cat", "fish", "dog", "worm"], "label": ["A", "B", "C", "D"]}},
    {"question": "What do plants need to grow?", "answerKey": "A",
     "choices": {"text": ["sunlight and water", "shoes", "a television", "salt"], "label": ["A", "B", "C", "D"]}},
    {"question": "What is the boiling point of water at sea level?", "answerKey": "D",
     "choices": {"text": ["10 degrees", "50 degrees", "75 degrees", "100 degrees Celsius"],
                 "label": ["A", "B", "C", "D"]}},
    {"question": "What is 2 + 2?", "choices": ["3", "4", "5", "22"], "answer": 1},
    {"question": "What is the capital of France?", "choices": ["Berlin", "Madrid", "Paris", "Rome"], "answer": 2},
    {"question": "How many days has a week?", "choices": ["five", "six", "seven", "eight"], "answer": "C"},
    {"question": "Who wrote Romeo and Juliet?", "answer": 0,
     "choices": ["William Shakespeare", "a potato", "Isaac Newton, who was a physicist", "Mozart"]},
    {"question": "Which planet is the largest?", "choices": ["Mars", "Jupiter", "Venus", "Mercury"], "answer": 1},
    {"question": "What is H2O?", "choices": ["water", "gold", "oxygen alone", "a kind of cheese"], "answer": "A"},
]  # fmt: skip


def as_harness(item):
    """Query, choices and the right one's index."""
    query = item.get("query", f"Question: {item.get('question')}\nAnswer:")
    choices, labels = item["choices"], "ABCDEFGH"
    if isinstance(choices, dict):
        choices, labels = choices["text"], choices["label"]
    right = item.get("gold", item.get("answer", item.get("answerKey")))
    return query, choices, right if isinstance(right, int) else list(labels).index(right)


def margin(values):
    first, second = sorted(values, reverse=True)[:2]
    return first - second


def main():
    torch.set_num_threads(1)
    default = ROOT / ".cache" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    names = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**names, dtype=torch.float32)
    lm = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(**names), batch_size=1, device="cpu")
    packages = ("lm_eval", "transformers", "torch", "gguf")
    origin = {
        "package": ", ".join(packages), "version": ", ".join(map(importlib.metadata.version, packages)),
        "functions": "HFLM.loglikelihood, MultipleChoiceTask.process_results", "model": path.name,
        "script": SCRIPT, "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    lines = []
    for item in ITEMS:
        query, choices, right = as_harness(item)
        requests = [Instance("loglikelihood", item, (query, f" {c}"), i) for i, c in enumerate(choices)]
        log_p = [value for value, _ in lm.loglikelihood(requests, disable_tqdm=True)]
        scores = MultipleChoiceTask.process_results(
            None, {"gold": right, "choices": choices}, [(v, False) for v in log_p])
        margins = margin(log_p), 10 * margin([v / len(c) for v, c in zip(log_p, choices)])
        if min(margins) < LEAST_MARGIN:
            print(f"left out, nearly tied by {margins}: {query}")
            continue
        lines.append({**item, "log_p": log_p, **scores})
    with open(OUT, "w", encoding="utf-8", newline="\n") as f:
        f.write(json.dumps({"origin": origin}) + "\n")
        for i, line in enumerate(lines):
            f.write(json.dumps({"id": f"q{i}", **line}, separators=(",", ":")) + "\n")
    print(f"{OUT.name}: {len(lines)} goldens")


if __name__ == "__main__":
    main()
