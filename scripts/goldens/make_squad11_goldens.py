#!/usr/bin/env python3
"""Writes tests/goldens/quality/squad11.jsonl: what the official script of SQuAD 1.1 says of the pairs in squad.jsonl.

    pip download --no-deps allennlp==0.9.0
    scripts/goldens/make_squad11_goldens.py allennlp-0.9.0-py3-none-any.whl

The wheel carries that script as allennlp/tools/squad_eval.py; nothing else of it is run, and nothing
is installed. Questions without an answer are not in SQuAD 1.1, so pairs without one are left out.
"""

import datetime
import json
import pathlib
import platform
import sys
import types
import unicodedata
import zipfile

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "quality"
SCRIPT = "scripts/goldens/make_squad11_goldens.py"


def official(wheel):
    script = types.ModuleType("squad_eval")
    with zipfile.ZipFile(wheel) as z:
        exec(compile(z.read("allennlp/tools/squad_eval.py"), "squad_eval.py", "exec"), script.__dict__)
    return script


def main():
    script = official(sys.argv[1])
    origin = {
        "package": "allennlp", "version": "0.9.0",
        "functions": "allennlp/tools/squad_eval.py, the official evaluation script for v1.1: "
                     "metric_max_over_ground_truths of exact_match_score and f1_score",
        "python": platform.python_version(), "unicode": unicodedata.unidata_version,
        "script": SCRIPT, "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    with open(OUT / "squad.jsonl", encoding="utf-8") as f:
        pairs = [json.loads(line) for line in f][1:]
    count = 0
    with open(OUT / "squad11.jsonl", "w", encoding="utf-8", newline="\n") as f:
        f.write(json.dumps({"origin": origin}) + "\n")
        for pair in pairs:
            golds, prediction = pair["golds"], pair["prediction"]
            if not golds:
                continue
            line = {
                "golds": golds,
                "prediction": prediction,
                "gold_is_empty": any(not script.normalize_answer(g) for g in golds),
                "em": int(script.metric_max_over_ground_truths(script.exact_match_score, prediction, golds)),
                "f1": script.metric_max_over_ground_truths(script.f1_score, prediction, golds),
            }
            f.write(json.dumps(line, separators=(",", ":")) + "\n")
            count += 1
    print(f"squad11.jsonl: {count} goldens")


if __name__ == "__main__":
    main()
