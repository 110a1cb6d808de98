#!/usr/bin/env python3
"""Checks the task sets data/tasks/{rag,summ,chat}/{eval,train}.jsonl against the rules of their
data card: shape, unique ids, answers that stand where they are said to stand, lengths, balance, and
nothing shared between two items of any set. Prints one line for each fault and exits with 1, or
prints nothing; --stats prints the figures the data card gives.
"""

import argparse
import collections
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TASKS = ("rag", "summ", "chat")
SPLITS = ("eval", "train")
DOMAINS = ("healthcare", "finance", "enterprise", "conversation")

RUN_WORDS = 8  # two items share no run of this many words
NEAR_DUPLICATE = 0.3  # of an item's runs are in another item
ANSWER_WORDS = 8
SUMMARY_WORDS = (18, 40)
COPIED_WORDS = 6  # a summary is in its own words: no run of this many is in its document
NO_ANSWER_SHARE = (0.2, 0.3)
OPENING_WORDS = 3
OPENING_SHARE = 0.02  # no more of a set's items than this begin with the same words
NAME = re.compile(r"[A-Z][\w-]+(?: (?:& )?[A-Z][\w-]+)+")


def words_of(text):
    return re.findall(r"[\w']+", text.lower())


def runs_of(words, length):
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


class Item:
    """One line of a set: where it stands, its object and the text compared with other items."""

    def __init__(self, task, split, line, obj):
        self.task = task
        self.split = split
        self.where = f"data/tasks/{task}/{split}.jsonl:{line}"
        self.obj = obj
        self.parts = TEXTS[task](obj)
        self.words = [words_of(part) for part in self.parts]

    def runs(self):
        return set().union(*(runs_of(words, RUN_WORDS) for words in self.words))


def rag_texts(obj):
    return [obj["context"], obj["question"]]


def summ_texts(obj):
    return [obj["document"], obj["summary"]]


def chat_texts(obj):
    return [m["content"] for m in obj["messages"] if m["role"] != "system"]


TEXTS = {"rag": rag_texts, "summ": summ_texts, "chat": chat_texts}


def want_text(obj, *keys):
    for key in keys:
        if not isinstance(obj.get(key), str) or not obj[key].strip():
            yield f'"{key}" is missing or empty'
        elif obj[key] != obj[key].strip():
            yield f'"{key}" begins or ends with blanks'


def is_list_of(value, kind):
    return isinstance(value, list) and all(isinstance(v, kind) for v in value)


def check_answers(context, answers):
    if not (
        isinstance(answers, dict)
        and is_list_of(answers.get("text"), str)
        and is_list_of(answers.get("answer_start"), int)
    ):
        yield '"answers" is not {"text": [string, ...], "answer_start": [number, ...]}'
        return
    texts, starts = answers["text"], answers["answer_start"]
    if len(texts) != len(starts) or len(set(texts)) != len(texts):
        yield "answers repeat, or not each of them has one start"
    for text, start in zip(texts, starts):
        before, after = context[max(start - 1, 0) : start], context[start + len(text) :][:1]
        if not text.strip() or context[start : start + len(text)] != text:
            yield f'the answer "{text}" is not in the context at {start}'
        elif before.isalnum() or after.isalnum():
            yield f'the answer "{text}" begins or ends inside a word'
        if len(text.split()) > ANSWER_WORDS:
            yield f'the answer "{text}" has more than {ANSWER_WORDS} words'


def check_rag(obj):
    yield from check_answers(obj["context"], obj.get("answers"))
    if not obj["question"].endswith("?"):
        yield "the question does not end with a question mark"


def check_summ(obj):
    low, high = SUMMARY_WORDS
    n = len(obj["summary"].split())
    if not low <= n <= high:
        yield f"the summary has {n} words, not {low} to {high}"
    if not obj["summary"].endswith((".", '."')):
        yield "the summary does not end with a full stop"
    texts = (words_of(obj[key]) for key in ("document", "summary"))
    for run in set.intersection(*(runs_of(words, COPIED_WORDS) for words in texts)):
        yield f'the summary copies "{" ".join(run)}" from its document'


def check_chat(obj):
    messages = obj.get("messages")
    if not is_list_of(messages, dict) or len(messages) < 2:
        yield '"messages" does not hold a question and its answer'
        return
    turns = messages[1:] if messages[0].get("role") == "system" else messages
    roles = [m.get("role") for m in turns]
    if roles != ["user", "assistant"] * (len(turns) // 2):
        yield f'the roles after the system message are {roles}, not "user" and "assistant" in turn'
    for i, message in enumerate(messages):
        for fault in want_text(message, "content"):
            yield f"messages[{i}]: {fault}"


CHECKS = {"rag": check_rag, "summ": check_summ, "chat": check_chat}
TEXT_KEYS = {"rag": ("title", "context", "question"), "summ": ("document", "summary"), "chat": ()}


def check_item(task, obj):
    found = list(want_text(obj, "id", "domain", *TEXT_KEYS[task]))
    if found:
        return found
    if obj["domain"] not in DOMAINS:
        found.append(f'the domain "{obj["domain"]}" is none of {", ".join(DOMAINS)}')
    return found + list(CHECKS[task](obj))


def unique_keys(pairs):
    obj = dict(pairs)
    if len(obj) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return obj


def load(task, split, path, faults):
    items = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        where = f"data/tasks/{task}/{split}.jsonl:{number}"
        if not line.strip():
            continue
        try:
            obj = json.loads(line.decode("utf-8"), object_pairs_hook=unique_keys)
            if not isinstance(obj, dict):
                raise ValueError("not an object")
        except ValueError as e:
            faults.append(f"{where}: {e}")
            continue
        found = check_item(task, obj)
        faults += [f"{where}: {fault}" for fault in found]
        if not found:
            items.append(Item(task, split, number, obj))
    return items


def check_set(task, split, items, faults):
    """What only a whole set can get wrong: balance, and openings that repeat."""
    where = f"data/tasks/{task}/{split}.jsonl"
    for i, item in enumerate(items):
        if item.obj["domain"] != DOMAINS[i % len(DOMAINS)]:
            faults.append(f"{item.where}: the domains do not take turns: {', '.join(DOMAINS)}")
            break
    if task == "rag":
        share = sum(not i.obj["answers"]["text"] for i in items) / len(items)
        if not NO_ANSWER_SHARE[0] <= share <= NO_ANSWER_SHARE[1]:
            faults.append(f"{where}: {share:.0%} of the items have no answer")
    if task != "chat":
        openings = collections.Counter(tuple(i.words[0][:OPENING_WORDS]) for i in items)
        words, n = openings.most_common(1)[0]
        if n > max(2, OPENING_SHARE * len(items)):
            faults.append(f'{where}: {n} items begin with "{" ".join(words)}"')


def check_ids_and_wording(items, faults):
    """Each id, question, summary and first request stands once; each run of words in one item."""
    first = {}
    for item in items:
        wording = " ".join(item.words[0 if item.task == "chat" else 1])
        for key, what in (("id " + item.obj["id"], "id"), (wording, "question or summary")):
            if key in first:
                faults.append(f"{item.where}: has the {what} of {first[key].where}")
            first.setdefault(key, item)

    owner = {}
    for item in items:
        runs = item.runs()
        shared = collections.defaultdict(list)
        for run in runs:
            if run in owner:
                shared[owner[run]].append(run)
            else:
                owner[run] = item
        for other, common in shared.items():
            kind = "nearly repeats" if len(common) > NEAR_DUPLICATE * len(runs) else "shares with"
            faults.append(f'{item.where}: {kind} {other.where}: "{" ".join(min(common))}"')


def names(item, ordinary):
    """Runs of capitalised words, some of which are written so only: persons, firms, products."""
    found = (m for part in item.parts for m in NAME.findall(part))
    return {name for name in found if any(w.lower() not in ordinary for w in name.split())}


def check_names(items, faults):
    """A name of an eval set comes up in no train set."""
    texts = [part for item in items for part in item.parts]
    ordinary = {word for text in texts for word in re.findall(r"\b[a-z][\w-]*", text)}
    ordinary.update("january february march april may june july august september october".split())
    ordinary.update("november december monday tuesday wednesday thursday friday".split())
    ordinary.update("saturday sunday dear mr mrs ms dr".split())
    known = {}
    for item in items:
        if item.split == "eval":
            known.update(dict.fromkeys(names(item, ordinary), item.where))
    for item in items:
        if item.split == "train":
            for name in sorted(names(item, ordinary) & known.keys()):
                faults.append(f'{item.where}: the name "{name}" is also at {known[name]}')


def spread(values):
    values = sorted(values)
    return f"{values[0]}/{sum(values) / len(values):.0f}/{values[-1]}"


def stats(task, split, items):
    objs = [i.obj for i in items]
    counts = [len(part.split()) for i in items for part in i.parts[:2]]
    figures = [f"{task}/{split}: {len(items)} items"]
    if task == "chat":
        figures.append(f"{sum(len(o['messages']) > 3 for o in objs)} of several turns")
        figures.append(f"prompts {spread([len(i.parts[-2].split()) for i in items])} words")
        figures.append(f"references {spread([len(i.parts[-1].split()) for i in items])} words")
    else:
        keys = ("contexts", "questions") if task == "rag" else ("documents", "summaries")
        figures += [f"{key} {spread(counts[k::2])} words" for k, key in enumerate(keys)]
    if task == "rag":
        golds = [o["answers"]["text"] for o in objs]
        figures.append(f"{sum(not g for g in golds)} without an answer")
        figures.append(f"answers {spread([len(g[0].split()) for g in golds if g])} words")
        figures.append(f"{sum(len(g) > 1 for g in golds)} with several golds")
    return ", ".join(figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--stats", action="store_true", help="print min/mean/max lengths and counts")
    args = parser.parse_args()
    faults, all_items = [], []
    for task in TASKS:
        for split in SPLITS:
            path = ROOT / "data" / "tasks" / task / f"{split}.jsonl"
            if not path.exists():
                if split == "eval":
                    faults.append(f"data/tasks/{task}/{split}.jsonl: is missing")
                continue
            items = load(task, split, path, faults)
            if not items:
                faults.append(f"data/tasks/{task}/{split}.jsonl: holds no sound item")
                continue
            check_set(task, split, items, faults)
            all_items += items
            if args.stats:
                print(stats(task, split, items))
    check_ids_and_wording(all_items, faults)
    check_names(all_items, faults)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
