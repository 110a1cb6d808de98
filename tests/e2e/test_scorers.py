"""Scores that need a model of their own: entailment by classifiers and by a model asked in words."""

import json
import math
import unittest

import encoders
from harness import FAILED, MODEL, SOURCE, Case, f16_model, plan, tiny_model, write_plan


def write_items(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path.name


RAG = [
    {"id": "a", "context": "The pump is checked every Tuesday.", "question": "When is it checked?", "answers": ["Tuesday"]},
    {"id": "b", "context": "The pump is red.", "question": "Who made it?", "answers": []},
    {"id": "long", "context": "The pump is red and old. " * 40, "question": "Which colour is it?", "answers": ["red"]},
]
SUMM = [{"id": "s", "document": "Rain fell all day. " * 30, "summary": "It rained."}]


class Scored(Case):
    def setUp(self):
        super().setUp()
        tiny_model(self.dir)
        write_items(self.dir / "rag.jsonl", RAG)
        write_items(self.dir / "summ.jsonl", SUMM)

    def plan(self, **changes):
        tasks = {"rag": {"max_tokens": 6, "data": "rag.jsonl"}, "summ": {"max_tokens": 6, "data": "summ.jsonl"}}
        return plan({"path": "tiny.gguf"}, **{"precisions": ["fp16"], "tasks": tasks, **changes})

    def results(self, run):
        """task -> the score stage's result"""
        rows = run.rows("SELECT title, result_json FROM stage WHERE kind = 'score'")
        return {title.split()[2]: json.loads(result) for title, result in rows}

    def scores(self, run, scorer):
        rows = run.rows("SELECT item_id, pass, value, is_primary FROM score WHERE scorer = ? ORDER BY 1, 2", scorer)
        return {(item, n): (value, primary) for item, n, value, primary in rows}


class Entailment(Scored):
    def test_a_classifier_scores_what_it_is_asked(self):
        encoders.roberta(self.dir / "nli.gguf", labels=encoders.NLI)
        run, done = self.measure(self.plan(score={"entailment": {"model": "nli.gguf"}}))
        self.assertAllDone(run)
        rag, summ = self.scores(run, "entailment"), self.scores(run, "non_contradiction")
        self.assertEqual(set(rag), {("a", 0), ("b", 0), ("long", 0)})
        self.assertEqual(set(summ), {("s", 0)})
        for value, primary in [*rag.values(), *summ.values()]:
            self.assertTrue(0 <= value <= 1 and primary == 1, (rag, summ))
        self.assertEqual({p for _, p in self.scores(run, "f1").values()}, {0}, "the secondary score is there beside it")
        results = self.results(run)
        self.assertEqual((results["rag"]["scorer"], results["summ"]["scorer"]), ("entailment", "non_contradiction"))
        model = results["rag"]["models"]["entail"]
        self.assertEqual((model["read_as"], model["failed"]), ("classifier", {}))
        self.assertEqual(model["asked"] + model["decided_without"], 3)
        self.assertGreater(model["windows"], model["asked"], "a long context is read in windows")
        self.assertEqual(run.rows("SELECT DISTINCT window FROM energy JOIN stage USING (stage_id) WHERE kind = 'score'"),
                         [("score/entailment",)])  # fmt: skip
        scores = {m["variant_id"]: m for m in run.metrics() if m["metric"] == "score"}
        self.assertEqual(len(scores), 2)
        for m in scores.values():
            self.assertEqual(m["reason"], "", m)
        self.assertSays(done.out, "rag entailment (nli.gguf), summ non_contradiction")
        self.assertNotIn("no score S", done.err)
        right = model["controls"]["right"]
        self.assertEqual(f"got {right} of 8 control questions right; do not trust" in done.err, right < 7)

        # Another classifier, another score; the same one, nothing to do.
        again, done = self.resume()
        self.assertSays(done.err, "reused")
        encoders.roberta(self.dir / "other.gguf", labels=encoders.NLI, seed=2)
        other, _ = self.measure(self.plan(score={"entailment": {"model": "other.gguf"}}), out="other")
        self.assertNotEqual(self.scores(other, "entailment"), rag)
        self.assertEqual(self.scores(again, "entailment"), rag)

    def test_without_one_the_score_is_refused_and_says_so(self):
        content = self.plan(score=None)
        path = write_plan(self.dir, content)
        dry = self.edge_eval("run", path, "--dry-run")
        run, done = self.measure(content)
        for text in (dry.out, done.err):
            self.assertSays(text, "rag has no score S", "summ has no score S", "score.entailment.model",
                            "score: {primary: text}")  # fmt: skip
        self.assertEqual(self.scores(run, "entailment"), {})
        self.assertEqual({p for _, p in self.scores(run, "f1").values()}, {0})
        self.assertSays(self.results(run)["rag"]["refused"], "no model judges entailment")
        for m in run.metrics():
            if m["metric"] in ("score", "ipw", "q_ret"):
                self.assertEqual(m["value"], "", m)
        score = next(m for m in run.metrics() if m["metric"] == "score")
        self.assertSays(score["reason"], "no model judges entailment")

    def test_the_plan_lets_a_text_score_stand_in(self):
        run, done = self.measure(self.plan(score={"primary": {"rag": "f1", "summ": "rouge2"}, "also": ["rougeL-stem"]}))
        self.assertEqual({p for _, p in self.scores(run, "f1").values()}, {1})
        self.assertEqual({p for _, p in self.scores(run, "rouge2").values()}, {1})
        self.assertEqual({p for _, p in self.scores(run, "rougeL-stem").values()}, {0})
        self.assertSays(done.out, "rag f1, summ rouge2")
        parts = self.results(run)["rag"]["means"]["f1"]
        self.assertEqual((parts["n"], parts["answerable"]["n"], parts["unanswerable"]["n"]), (3, 2, 1))

    def test_classifiers_that_cannot_be_trusted_cost_the_score_alone(self):
        for name, part, options in [
            ("nameless", "names no labels", {"pooling": encoders.RANK}),
            ("plain", "is a plain BERT", {"labels": encoders.NLI, "token_types": 2}),
            ("sentiment", 'has no label "entailment"', {"labels": ("positive", "negative")}),
            ("embedder", "has no whole classification head", {"pooling": encoders.MEAN}),
        ]:
            with self.subTest(name=name):
                encoders.roberta(self.dir / f"{name}.gguf", **options)
                content = self.plan(tasks={"rag": {"max_tokens": 6, "data": "rag.jsonl"}},
                                    score={"entailment": {"model": f"{name}.gguf"}})  # fmt: skip
                run, done = self.measure(content, out=name, code=FAILED)
                self.assertSays(done.err, part, f"{name}.gguf")
                self.assertEqual([s for t, s in run.stages() if not t.startswith("score")], ["done"] * 3)
        (self.dir / "noise.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 8)
        content = self.plan(score={"entailment": {"model": "noise.gguf"}})
        self.assertSays(self.measure(content, out="noise", code=FAILED)[1].err, "noise.gguf")

    def test_a_model_asked_in_words(self):
        f16_model(self.dir, "words.gguf", "tiny.gguf")
        run, _ = self.measure(self.plan(score={"entailment": {"model": "words.gguf"}}))
        result = self.results(run)["rag"]["models"]["entail"]
        self.assertEqual(result["read_as"], "causal model")
        for value, primary in self.scores(run, "entailment").values():
            self.assertTrue(0 <= value <= 1 and primary == 1)


class Similarity(Scored):
    def test_it_is_the_cosine_of_the_two_vectors(self):
        encoders.roberta(self.dir / "embed.gguf", pooling=encoders.MEAN)
        write_items(self.dir / "summ.jsonl", [{"id": str(i), "document": f"The {i}th rain.", "summary": s}
                                              for i in range(2) for s in [f"It rained {i} times, I think."]])  # fmt: skip
        tasks = {"summ": {"max_tokens": 6, "data": "summ.jsonl"}}
        score = {"primary": "text", "similarity": {"model": "embed.gguf", "prefix": "q: "}}
        run, done = self.measure(self.plan(tasks=tasks, score=score))
        self.assertAllDone(run)
        answers = {item: text for _, _, _, item, *_, text in run.answers()}
        values = self.scores(run, "similarity")
        self.assertEqual(len(values), 2)
        for (item, _), (value, primary) in values.items():
            vectors = [encoders.embed(self.dir / "embed.gguf", f"q: {text}")
                       for text in (answers[item], f"It rained {item} times, I think.")]  # fmt: skip
            self.assertAlmostEqual(value, encoders.cosine(*vectors), delta=2e-3)
            self.assertEqual(primary, 0)
        by = self.results(run)["summ"]["models"]["similarity"]
        self.assertEqual((by["name"], by["failed"], by["controls"]["of"]), ("embed.gguf", {}, 6))
        right = by["controls"]["right"]
        self.assertEqual(f"got {right} of 6 control questions right; do not trust" in done.err, right < 5)

    def test_what_has_no_vector_has_no_value(self):
        """A summary longer than the model reads is no summary like another."""
        encoders.roberta(self.dir / "embed.gguf", pooling=encoders.MEAN)
        write_items(self.dir / "summ.jsonl", [{"id": "s", "document": "Rain.", "summary": "It rained. " * 30}])
        tasks = {"summ": {"max_tokens": 6, "data": "summ.jsonl"}}
        run, done = self.measure(self.plan(tasks=tasks, score={"primary": "text", "similarity": {"model": "embed.gguf"}}))
        self.assertEqual(self.results(run)["summ"]["models"]["similarity"]["failed"], {"too_long": 1})
        self.assertEqual(self.scores(run, "similarity"), {})
        self.assertSays(done.err, "score/similarity summ: 1 without a value (too_long 1)")

    def test_models_that_embed_nothing_cost_the_score_alone(self):
        encoders.roberta(self.dir / "nli.gguf", labels=encoders.NLI, pooling=encoders.RANK)
        encoders.roberta(self.dir / "bare.gguf")
        for name, part in (("nli", "is that of a classifier"), ("bare", "names no way to pool tokens"),
                           ("tiny", "names no way to pool tokens")):  # fmt: skip
            with self.subTest(name=name):
                tasks = {"summ": {"max_tokens": 6, "data": "summ.jsonl"}}
                score = {"primary": "text", "similarity": {"model": f"{name}.gguf"}}
                run, done = self.measure(self.plan(tasks=tasks, score=score), out=name, code=FAILED)
                self.assertSays(done.err, part, f"{name}.gguf")


CHOICES = [
    {"id": "query", "query": "The sun rises in the", "choices": ["east.", "kitchen sink.", "late evening."], "gold": 0},
    {"id": "arc", "question": "Which of these is hot?",
     "choices": {"text": ["ice", "fire", "snow", "milk"], "label": ["1", "2", "3", "4"]}, "answerKey": "2"},
    {"id": "mmlu", "question": "What is 2 + 2?", "choices": ["3", "4", "5", "22"], "answer": 1},
]  # fmt: skip


class Likelihood(Scored):
    def test_choices_are_weighed_and_answers_read(self):
        write_items(self.dir / "choices.jsonl", CHOICES)
        tasks = {"choice": {"max_tokens": 4, "data": "choices.jsonl"}}
        run, done = self.measure(self.plan(tasks=tasks, score=None))
        self.assertAllDone(run)
        self.assertNotIn("no score S", done.err)
        for scorer, primary in (("acc_norm", 1), ("acc", 0), ("choice", 0)):
            values = self.scores(run, scorer)
            self.assertEqual(set(values), {("query", 0), ("arc", 0), ("mmlu", 0)}, scorer)
            self.assertEqual({p for _, p in values.values()}, {primary})
            self.assertLessEqual({v for v, _ in values.values()}, {0, 1})
        self.assertSays(done.out, "choice acc_norm")
        # The words of the model may count instead.
        run, done = self.measure(self.plan(tasks=tasks, score={"primary": "text"}), out="text")
        self.assertEqual({p for _, p in self.scores(run, "choice").values()}, {1})
        self.assertSays(done.out, "choice choice")

    def test_a_choice_file_is_needed(self):
        path = write_plan(self.dir, self.plan(tasks={"choice": {}}))
        self.assertSays(self.edge_eval("run", path, code=FAILED).err, "name yours with data: FILE")

    def test_perplexity_of_the_references(self):
        run, done = self.measure(self.plan(score={"primary": "text", "also": ["reference_logp"]}))
        self.assertAllDone(run)
        values = {k: v for k, (v, primary) in self.scores(run, "reference_logp").items()}
        self.assertEqual(set(values), {("a", 0), ("b", 0), ("long", 0), ("s", 0)})
        self.assertTrue(all(v < 0 for v in values.values()), values)
        by = self.results(run)["summ"]["models"]["likelihood"]
        self.assertEqual(by["failed"], {})
        self.assertAlmostEqual(by["reference_perplexity"], math.exp(-values[("s", 0)]), places=6)


class Passes(Scored):
    """Three sampled passes, as the paper has them: every item's score of every pass is kept."""

    def scored(self, seed, out):
        items = [{"id": f"s{i}", "document": f"Rain fell for {i} days.", "summary": f"It rained {i} days."} for i in range(4)]
        write_items(self.dir / "summ.jsonl", items)
        content = self.plan(seed=seed, precisions=["fp16", "int8"], sampling={"temperature": 1.5},
                            tasks={"summ": {"max_tokens": 12, "data": "summ.jsonl"}},
                            score={"passes": 3, "primary": {"summ": "chrf"}})  # fmt: skip
        run, _ = self.measure(content, out=out)
        self.assertAllDone(run)
        values = {}
        for variant, item, n, scorer, value, _ in run.scores():
            if scorer == "chrf":
                values.setdefault(variant, {})[item, n] = value
        return run, values

    def test_three_passes_are_stored_and_paired(self):
        run, values = self.scored(1, "one")
        pairs = {(f"s{i}", n) for i in range(4) for n in range(3)}
        self.assertEqual(len(values), 2)
        for of_variant in values.values():
            self.assertEqual(set(of_variant), pairs, "every variant has every item in every pass")
        for item in ("s0", "s1", "s2", "s3"):
            self.assertGreater(len({v for of in values.values() for (i, _), v in of.items() if i == item}), 1, values)
        # An item's passes are one observation: the figure is the mean of items, over items.
        for row in (m for m in run.metrics() if m["metric"] == "score"):
            of_variant = values[row["variant_id"]]
            means = [sum(of_variant[f"s{i}", n] for n in range(3)) / 3 for i in range(4)]
            self.assertEqual(row["n"], "4")
            self.assertAlmostEqual(float(row["value"]), sum(means) / 4, places=9)
        # The quantized variant is compared with its FP16 over the same items.
        q_ret = [m for m in run.metrics() if m["metric"] == "q_ret" and m["profile"] == "full"]
        self.assertEqual([m["n"] for m in q_ret if m["precision"] == "int8"], ["4"], q_ret)
        self.assertNotIn("nan", "".join(m["label"] for m in q_ret), "where no number of items would do, none is named")
        again, same = self.scored(1, "again")
        self.assertEqual(same, values, "seeds decide the passes")
        _, other = self.scored(2, "other")
        self.assertNotEqual(other, values)


class WholeModel(Scored):
    def test_the_default_model_judges_in_words(self):
        """It is small, but it tells a repeated sentence from an unrelated one more often than not."""
        if not MODEL.exists():
            raise unittest.SkipTest(f"the default model is not at {MODEL}: run make deps")
        content = self.plan(tasks={"rag": {"items": 6, "max_tokens": 12}}, models=[str(MODEL)],
                            score={"entailment": {"model": str(MODEL)}})  # fmt: skip
        content["models"] = [{"path": str(MODEL), "id": "whole"}]
        run, _ = self.measure(content)
        self.assertAllDone(run)
        values = self.scores(run, "entailment")
        self.assertEqual(len(values), 6)
        self.assertGreater(len({v for v, _ in values.values()}), 1, values)


    def test_choices_are_weighed_as_the_harness_weighs_them(self):
        if not MODEL.exists():
            raise unittest.SkipTest(f"the default model is not at {MODEL}: run make deps")
        with open(SOURCE / "tests/goldens/quality/choice.jsonl", encoding="utf-8") as f:
            goldens = [json.loads(line) for line in f][1:]
        self.assertGreaterEqual(len(goldens), 10)
        self.assertTrue({(0.0, 1.0), (1.0, 0.0)} & {(g["acc"], g["acc_norm"]) for g in goldens}, "they differ somewhere")
        write_items(self.dir / "choices.jsonl", goldens)
        content = self.plan(tasks={"choice": {"max_tokens": 1, "data": "choices.jsonl"}}, score=None)
        content["models"] = [{"path": str(MODEL), "id": "whole"}]
        run, _ = self.measure(content)
        for scorer in ("acc", "acc_norm"):
            got = {item: value for (item, _), (value, _) in self.scores(run, scorer).items()}
            self.assertEqual(got, {g["id"]: g[scorer] for g in goldens}, scorer)


if __name__ == "__main__":
    unittest.main()
