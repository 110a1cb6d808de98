#!/usr/bin/env python3
"""Writes tests/goldens/quality/*.jsonl from the reference implementations of the scores.

    python3 -m venv /tmp/goldens
    /tmp/goldens/bin/pip install rouge-score==0.1.2 nltk==3.10.4 sacrebleu==2.6.0 transformers==4.57.3
    /tmp/goldens/bin/python scripts/goldens/make_quality_goldens.py

squad.jsonl  transformers.data.metrics.squad_metrics, which carries the functions of the official
             SQuAD 2.0 evaluation script
rouge.jsonl  Google's rouge-score, without and with stemming
porter.jsonl NLTK's PorterStemmer in its default mode, which rouge-score stems with
chrf.jsonl   sacreBLEU's sentence_chrf with its defaults
text.jsonl   Python's own str.lower, str.isspace and re's \\w, for every character it knows, and
             its decoding of ill-formed UTF-8

The first line of each file tells where it comes from. The same versions write the same bytes but
for the date.
"""

import datetime
import importlib.metadata
import json
import pathlib
import platform
import random
import re
import string
import sys
import types
import unicodedata

import nltk.stem.porter
import sacrebleu
from rouge_score import rouge_scorer
from transformers.data.metrics import squad_metrics

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "quality"
SCRIPT = "scripts/goldens/make_quality_goldens.py"

# Texts that break scorers. Every one is paired with itself, and with its neighbours.
NASTY = [
    "",
    " ",
    "\n",
    "\t \r\n",
    ".",
    "...",
    "?!,;:",
    "-",
    "'",
    "_",
    "a",
    "A",
    "an",
    "the",
    "The",
    "THE A AN",
    "a an the",
    "a.",
    "the-cat",
    "theatre",
    "an apple a day",
    "ana than bathe",
    "a_b",
    "a_the_b",
    "the_",
    "the's",
    "a1 1a the2",
    "a\u0301 propos",
    "the\u0301 end",
    "\u00e0 la carte",
    "the\u00a0end",
    "the\u200bend",
    "the\u200b end",
    "the\u2060end",
    "\ufeffthe end",
    "the\u3000end",
    "the\u2003end\u2009of\u202fit",
    "line one\u2028line two\u2029para",
    "next\u0085line",
    "unit\u001fseparator \u001c file",
    "bell\u0007 and \u001b[0m escape",
    "del\u007fete",
    "vertical\u000btab\fform feed",
    "caf\u00e9",
    "cafe\u0301",
    "CAF\u00c9",
    "na\u00efve co\u00f6perate",
    "\u0130stanbul",
    "istanbul",
    "i\u0307stanbul",
    "ISPARTA \u0131\u0131l\u0131k \u0130\u0130",
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3",
    "\u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03c5\u03c2",
    "\u03a3",
    "\u03a3.",
    "\u0391\u03a3.",
    "\u0391\u03a3'\u0391",
    "\u0391\u03a3\u0301\u0391",
    "\u0391\u0301\u03a3",
    "\u0391.\u03a3",
    "\u0391\u03a3\u00ad \u03a3\u0391\u03a3",
    "\u0391\u02b0\u03a3",
    "\u24b6\u03a3 \u2160\u03a3 \u00aa\u03a3",
    "1\u03a3 \u4e2d\u03a3",
    "\u1e9e stra\u00dfe STRASSE",
    "\u01c5 \u01c4 \u01c6",
    "\u13a0\ua64a \u10a0 \u1c90",
    "\U00010400\U00010428",
    "\u212a \u212b \u2126",
    "\u212aelvin",
    "\uff34\uff28\uff25 \uff21\uff22\uff23",
    "\uff11\uff12\uff13",
    "123",
    "\u0661\u0662\u0663",
    "\u00bd cup",
    "x\u00b2 + y\u00b3",
    "\u2167",
    "\u2478 the\u2478",
    "\u4e2d\u6587\u7b54\u6848",
    "\u4e2d\u6587 \u7b54\u6848",
    "\u7b54\u6848\u3002",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8",
    "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8",
    "\u1112\u1161\u11ab",
    "the\u7b54\u6848",
    "\u7b54 the \u6848",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0661",
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u05d0\u05f4\u05d1",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u092a\u093e\u0920",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\U0001f600",
    "\U0001f600\U0001f600 \U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f44d\U0001f3fd good",
    "\u2764\ufe0f",
    "the \U0001f431 sat",
    "a\U0001f431the",
    "z\u0335\u0321\u0353a\u0334l\u0337g\u0338o",
    "it's",
    "it\u2019s",
    "its",
    "don't can't won't",
    "state-of-the-art",
    "state of the art",
    "state\u2013of\u2014the art",
    "1,234.56",
    "1234.56",
    "1 234,56",
    "$1,000",
    "1000 dollars",
    "3.14",
    "-5",
    "5",
    "50%",
    "10:30 a.m.",
    "10:30 A.M.",
    "U.S.A.",
    "USA",
    "Vitamin A",
    "Plan B",
    "x = y + z;",
    "foo(bar, baz) -> {\"k\": [1, 2]}",
    "https://example.org/a/b?the=1",
    "user@example.org",
    "back\\slash",
    "\"quoted\"",
    "\u201cquoted\u201d",
    "quoted",
    "<b>bold</b>",
    "No answer.",
    "no answer",
    "unanswerable",
    "yes",
    "Yes.",
    "word word word word",
    "word",
    "word word",
    "a word a word a",
    "word WORD Word wOrD",
    "  leading and trailing  ",
    "many    inner     spaces",
    "tabs\tand\nnewlines\r\nhere",
    "\n\nfirst\n\nsecond\n",
    "one two three four five",
    "five four three two one",
    "one two three",
    "two three four",
    "\ufffd",
    "broken \ufffd\ufffd end",
    "\ue000 private \U000f0000",
    "\U0010ffff",
    "\u00ad soft\u00adhyphen",
    "\u2044 1\u20442",
    "\u0345\u03b1 \u1fb3 \u1fbc",
    "\u1e0a\u0323 d\u0323\u0307",
    "\ufb01ne \ufb03x",
    "\u2170\u03a3\u2170",
    "".join(f"x{c}y {c} " for c in string.punctuation),
    "longwordwithoutanyspace" * 40,
    "!" * 500,
    " " * 500 + "x" + " " * 500,
    "a " * 300,
]

WORDS = (
    "pump valve nurse ward sensor battery river bank loan rate court ruling teacher school model "
    "answer context river station train bridge winter summer oil gas price share market doctor "
    "patient dose clinic data chip power energy joule watt second minute hour year report city "
    "town village mayor vote law bill police fire water road plane flight airport engine wheel"
).split()
FILLER = (
    "the a an of in on at to for with by from and or but was were is are has had its their this "
    "that after before while which who when where not more less about into over under"
).split()


def sentence(rng, length):
    words = [rng.choice(FILLER if rng.random() < 0.45 else WORDS) for _ in range(length)]
    for i, word in enumerate(words):
        draw = rng.random()
        if draw < 0.06:
            words[i] = str(rng.randrange(1, 4000))
        elif draw < 0.10:
            words[i] = word + "'s"
        elif draw < 0.14:
            words[i] = word + "-" + rng.choice(WORDS)
        elif draw < 0.22:
            words[i] = word + ","
        elif draw < 0.26:
            words[i] = word.upper()
    text = " ".join(words)
    return text[:1].upper() + text[1:] + rng.choice([".", ".", ".", "!", "?", ""])


def mutated(rng, text):
    """What a model might say instead: words lost, added, repeated, swapped, in another case."""
    out = []
    for word in text.split():
        draw = rng.random()
        if draw < 0.15:
            continue
        if draw < 0.25:
            out.append(rng.choice(WORDS + FILLER))
        if draw > 0.95:
            out.append(word)
        out.append(word.lower() if rng.random() < 0.2 else word)
    if len(out) > 2 and rng.random() < 0.4:
        i = rng.randrange(len(out) - 1)
        out[i], out[i + 1] = out[i + 1], out[i]
    return " ".join(out)


def random_unicode(rng):
    """Characters that the scorers treat unlike: spaces, marks, letters of both cases, digits."""
    pool = (
        "aAtThHeEnN  ..,'-_09\u00a0\u3000\u200b\u0301\u0130\u0131\u03a3\u03c2\u0391\u00df\u4e2d"
        "\uff21\uff11\u212a\U0001f600\u0085\u001c\u00aa\u02b0\u2160\u24b6\u00b7\u2019\u00ad\n"
    )
    return "".join(rng.choice(pool) for _ in range(rng.randrange(1, 30)))


def text_pairs():
    """(target, prediction), a few hundred ordinary ones and every nasty text several times."""
    rng = random.Random(20240229)
    pairs = [(t, t) for t in NASTY]
    pairs += list(zip(NASTY, NASTY[1:] + NASTY[:1]))
    pairs += [(rng.choice(NASTY), rng.choice(NASTY)) for _ in range(150)]
    pairs += [(sentence(rng, 8), t) for t in NASTY[::3]] + [(t, "") for t in NASTY[::5]]
    for _ in range(150):
        text = sentence(rng, rng.randrange(1, 40))
        pairs.append((text, mutated(rng, text)))
    for _ in range(50):
        text = "\n".join(sentence(rng, rng.randrange(5, 20)) for _ in range(rng.randrange(2, 6)))
        pairs.append((text, mutated(rng, text)))
    for _ in range(150):
        text = random_unicode(rng)
        pairs.append((text, random_unicode(rng) if rng.random() < 0.5 else text.swapcase()))
    for length in (700, 1500):
        text = " ".join(sentence(rng, 20) for _ in range(length // 20))
        pairs += [(text, mutated(rng, text)), (text, sentence(rng, 12)), (sentence(rng, 12), text)]
    return pairs


def squad_line(golds, prediction):
    example = types.SimpleNamespace(qas_id="q", answers=[{"text": g} for g in golds])
    exact, f1 = squad_metrics.get_raw_scores([example], {"q": prediction})
    return {
        "golds": golds,
        "prediction": prediction,
        "normalized": squad_metrics.normalize_answer(prediction),
        "em": exact["q"],
        "f1": f1["q"],
    }


def squad_lines():
    rng = random.Random(7)
    pairs = text_pairs()
    for gold, prediction in pairs:
        yield squad_line([gold], prediction)
    for t in NASTY:
        yield squad_line([], t)
    for _ in range(150):
        golds = [rng.choice(pairs)[0] for _ in range(rng.randrange(2, 5))]
        golds = [g for g in golds if len(g) < 400]
        yield squad_line(golds, rng.choice(golds + [rng.choice(NASTY)]))


ENDINGS = (
    "s ss sses ies ied ied eed ed ing y ational tional enci anci izer bli abli alli entli eli ousli "
    "ization ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative "
    "alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent sion tion ion ou ism "
    "ate iti ous ive ize e le ll at bl iz tt zz ying yed ously fully ability ingly"
).split()
IRREGULAR = (
    "sky skies dying lying tying news inning innings outing outings canning cannings howe proceed "
    "exceed succeed proceeds dies died lies lied ties tied spied flies tries cry say says enjoy "
    "enjoyed happy toy yyyy yyyyy syzygy yes eyed a as is was the oed ate ion lion onion agreed feed "
    "bleed hopping hoping falling hissing fizzed failing filing sized troubled conflated sing red "
    "controll roll probate rate cease abatement replacement adjustment element apology geology "
    "trilogi actually really thoroughly rally 1990s 2nd 3rds x1ing 12345"
).split()


def inflected(rng):
    """A word that looks like English, with up to three endings that stemmers know."""
    root = "".join(
        rng.choice("bcdfghjklmnprstvwz") + rng.choice(("a", "e", "i", "o", "u", "ee", "ai", "y"))
        for _ in range(rng.randrange(1, 3))
    ) + rng.choice(("", "t", "n", "l", "r", "st", "y"))
    return root + "".join(rng.choice(ENDINGS) for _ in range(rng.randrange(4)))


def porter_lines():
    stemmer = nltk.stem.porter.PorterStemmer()
    rng = random.Random(1980)
    words = IRREGULAR + ["y" * n + e for n in range(1, 5) for e in ("", "ed", "ing", "s", "ies")]
    words += ENDINGS + [inflected(rng) for _ in range(4000)]
    words += ["".join(rng.choice("aeiysbtl") for _ in range(rng.randrange(1, 9))) for _ in range(500)]
    for word in dict.fromkeys(words):
        yield {"word": word, "stem": stemmer.stem(word)}


def line_pairs():
    """Texts of several lines over few words, so that there are many longest subsequences."""
    rng = random.Random(2004)
    for _ in range(200):
        words = [inflected(rng) for _ in range(rng.randrange(2, 12))]

        def text():
            lines = (" ".join(rng.choice(words) for _ in range(rng.randrange(0, 14)))
                     for _ in range(rng.randrange(1, 5)))
            return rng.choice(("\n", "\n\n", " \n", ".\r\n")).join(lines)

        yield text(), text()
    for length in (65, 128, 200):
        words = [inflected(rng) for _ in range(30)]
        text = " ".join(rng.choice(words) for _ in range(length))
        yield text, mutated(rng, text) + "\n" + mutated(rng, text)


def rouge_lines():
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    plain = rouge_scorer.RougeScorer(kinds, use_stemmer=False)
    stemmed = rouge_scorer.RougeScorer(kinds, use_stemmer=True)
    for target, prediction in [*text_pairs(), *line_pairs()]:
        line = {"target": target, "prediction": prediction}
        scores = plain.score(target, prediction)
        line.update({name: list(scores[name]) for name in kinds})
        scores = stemmed.score(target, prediction)
        line.update({name + "-stem": list(scores[name]) for name in kinds})
        yield line


def chrf_lines():
    rng = random.Random(2015)
    pairs = text_pairs()
    for gold, prediction in pairs:
        golds = [gold] if rng.random() < 0.8 else [gold, rng.choice(pairs)[0]]
        score = sacrebleu.sentence_chrf(prediction, golds).score
        yield {"golds": golds, "prediction": prediction, "chrf": score}


def ranges(wanted):
    """[first, last] of each run of assigned characters for which wanted holds."""
    runs = []
    for cp in assigned():
        if wanted(chr(cp)):
            if runs and runs[-1][1] == cp - 1:
                runs[-1][1] = cp
            else:
                runs.append([cp, cp])
    return runs


def assigned():
    """Every code point with a character, but not surrogates, which UTF-8 cannot hold."""
    return (c for c in range(1, sys.maxunicode + 1)
            if unicodedata.category(chr(c)) not in ("Cn", "Cs"))


def decides_sigma(text):
    """True when a capital sigma after text ends a word."""
    return (text + "\u03a3").lower().endswith("\u03c2")


def text_lines():
    word = re.compile(r"\w")
    yield {"class": "assigned", "ranges": ranges(lambda c: True)}
    yield {"class": "space", "ranges": ranges(str.isspace)}
    yield {"class": "word", "ranges": ranges(lambda c: bool(word.match(c)))}
    # A character decides the form of a sigma beside it if it is cased, or lets the next decide.
    yield {"class": "cased", "ranges": ranges(decides_sigma)}
    yield {"class": "case_ignorable",
           "ranges": ranges(lambda c: decides_sigma("A" + c) and not decides_sigma(c))}
    for cp in assigned():
        if chr(cp).lower() != chr(cp):
            yield {"text": chr(cp), "lower": chr(cp).lower()}
    for text in NASTY:
        yield {"text": text, "lower": text.lower()}
    rng = random.Random(11)
    for _ in range(200):
        text = random_unicode(rng)
        yield {"text": text, "lower": text.lower()}
    for raw in ill_formed(rng):
        yield {"hex": raw.hex(), "decoded": raw.decode("utf-8", "replace")}


def ill_formed(rng):
    good = "a\u00e9\u4e2d\U0001f600\ud7ff\ue000\U0010ffff".encode("utf-8")
    for i in range(1, len(good)):
        yield good[:i]
        yield good[i:]
        yield good[:i] + b"x" + good[i:]
    yield from (bytes([b]) + b"a" for b in range(0x80, 0x100))
    yield from (b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80",
                b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xef\xbf", b"\xf0\x9f\x98")
    for _ in range(200):
        raw = bytes(rng.choice(good + bytes([0x20, 0xC1, 0xED, 0xA0, 0xF4, 0x90, 0xFF]))
                    for _ in range(rng.randrange(1, 12)))
        yield raw


def write(name, package, functions, lines):
    origin = {
        "package": package,
        "version": platform.python_version() if package == "python"
        else importlib.metadata.version(package),
        "functions": functions,
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "script": SCRIPT,
        "date": datetime.date.today().isoformat(),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / name, "w", encoding="utf-8", newline="\n") as f:
        f.write(json.dumps({"origin": origin}) + "\n")
        count = 0
        for line in lines:
            f.write(json.dumps(line, separators=(",", ":")) + "\n")
            count += 1
    print(f"{name}: {count} goldens")


def main():
    write("squad.jsonl", "transformers",
          "transformers.data.metrics.squad_metrics: normalize_answer, get_raw_scores",
          squad_lines())
    write("rouge.jsonl", "rouge-score", "rouge_scorer.RougeScorer(use_stemmer=...).score",
          rouge_lines())
    write("porter.jsonl", "nltk", "nltk.stem.porter.PorterStemmer().stem", porter_lines())
    write("chrf.jsonl", "sacrebleu", "sentence_chrf", chrf_lines())
    write("text.jsonl", "python", "str.lower, str.isspace, re \\w, bytes.decode", text_lines())


if __name__ == "__main__":
    main()
