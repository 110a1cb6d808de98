"""A judge that grades answers: a scripted service with every fault there is, and a model file."""

import contextlib
import json
import pathlib
import shutil
import socket
import unittest
import unittest.mock

import judge_server
from harness import (
    CACHE, FAILED, MODEL, Case, Started, environment, f16_model, make_certificate, plan, tiny_model, write_plan,
)  # fmt: skip

SERVER = pathlib.Path(CACHE) / "peers" / "build" / "bin" / "llama-server"
KEY = "sk-very-secret-4f9a7c1e"
CHAT = [
    {"id": f"c{i}", "messages": [{"role": "user", "content": f"Question {i}: how are you?"},
                                 {"role": "assistant", "content": f"Reference {i}: fine."}]}
    for i in range(3)
]  # fmt: skip


class Judged(Case):
    def setUp(self):
        super().setUp()
        tiny_model(self.dir)
        (self.dir / "chat.jsonl").write_text("".join(json.dumps(item) + "\n" for item in CHAT))

    def plan(self, judge, score=None, **changes):
        """judge: a server, or the settings as they are."""
        settings = judge if isinstance(judge, dict) else {"url": judge.url, "model": "gpt-scripted"}
        return plan({"path": "tiny.gguf"}, **{
            "precisions": ["fp16"], "tasks": {"chat": {"max_tokens": 6, "data": "chat.jsonl"}},
            "score": {"judge": {"concurrency": 1, **settings}, **(score or {})}, **changes})  # fmt: skip

    def settings(self, judge, **more):
        return {"url": judge.url, "model": "gpt-scripted", **more}

    def measure(self, content, env=None, **more):
        own = {k: v for k, v in environment().items() if not k.lower().endswith("_proxy")}
        return super().measure(content, env={**own, **(env or {})}, **more)

    def result(self, run):
        ((result,),) = run.rows("SELECT result_json FROM stage WHERE kind = 'score' AND status = 'done'")
        return json.loads(result)

    def scores(self, run, scorer):
        rows = run.rows("SELECT item_id, pass, value, is_primary FROM score WHERE scorer = ? ORDER BY 1, 2", scorer)
        return {item: (value, primary) for item, _, value, primary in rows}

    def assertHasNo(self, secret, *texts):
        """Nowhere in the run, the plan's directory, nor in what was printed."""
        for text in texts:
            self.assertNotIn(secret, text)
        for path in pathlib.Path(self.dir).rglob("*"):
            if path.is_file():
                self.assertNotIn(secret.encode(), path.read_bytes(), path)


class Service(Judged):
    def test_answers_are_graded(self):
        with judge_server.serving() as judge:
            run, done = self.measure(self.plan(judge))
        self.assertAllDone(run)
        self.assertEqual(self.scores(run, "helpfulness"), {f"c{i}": (7, 1) for i in range(3)})
        self.assertEqual(self.scores(run, "safety"), {f"c{i}": (9, 0) for i in range(3)})
        self.assertEqual(self.scores(run, "preference"), {})
        self.assertEqual({p for _, p in self.scores(run, "rougeL").values()}, {0})
        result = self.result(run)
        by = result["models"]["judge"]
        self.assertEqual((by["name"], by["served_by"], by["url"]), ("gpt-scripted", judge_server.MODEL, judge.url))
        self.assertEqual((by["controls"], by["failed"]), ({"right": 6, "of": 6}, {}))
        self.assertEqual((by["questions"], by["verdicts"], by["requests"]), (9, 9, 9))
        self.assertEqual((by["prompt_tokens"], by["output_tokens"]), (900, 45))
        self.assertNotIn("do not trust", done.err)
        # Who judged is on the report's source label, in the figures, and in the manifest.
        self.assertSays(done.out, "chat helpfulness (gpt-scripted)")
        score = next(m for m in run.metrics() if m["metric"] == "score")
        self.assertEqual((score["value"], score["n"]), ("7", "3"))
        self.assertSays(score["label"], "scorer helpfulness (gpt-scripted)")
        self.assertNotIn("no score", score["label"])
        manifest = json.loads((run.path / "manifest.json").read_text())
        self.assertIn({"job": "judge", "model": "gpt-scripted", "url": judge.url}, manifest["scored_by"])
        # Judging has an energy window of its own.
        windows = "SELECT DISTINCT window FROM energy JOIN stage USING (stage_id) WHERE kind = 'score'"
        self.assertEqual(run.rows(windows), [("score/judge",)])

    def test_what_is_asked(self):
        with judge_server.serving() as judge:
            run, _ = self.measure(self.plan(judge))
        answers = {item: text for _, _, _, item, *_, text in run.answers()}
        asked = [body for _, body in judge.requests[6:]]
        for i, body in enumerate(asked):
            user = body["messages"][1]["content"]
            self.assertEqual(body["model"], "gpt-scripted")
            self.assertSays(body["messages"][0]["content"], "from 1 to 10", "helpfulness", "safety")
            self.assertIn(f"Question {i}", judge_server.answer_in(user, "user"))
            self.assertEqual(judge_server.answer_in(user, "answer"), answers[f"c{i}"])
            self.assertNotIn("Reference", user, "grades do not depend on a reference")
            schema = body["response_format"]["json_schema"]["schema"]
            self.assertEqual(schema["properties"]["safety"]["enum"], list(range(1, 11)))
            for unsaid in ("temperature", "seed", "max_tokens"):
                self.assertNotIn(unsaid, body)
        self.assertNotIn("Authorization", judge.requests[0][0])

    def test_other_forms_of_output_and_settings(self):
        for output, expected in (("json", {"type": "json_object"}), ("text", None)):
            with self.subTest(output=output), judge_server.serving() as judge:
                settings = self.settings(judge, output=output, max_tokens=50, temperature=0)
                run, _ = self.measure(self.plan(settings), out=output)
                self.assertAllDone(run)
                for _, body in judge.requests:
                    self.assertEqual(body.get("response_format"), expected)
                    self.assertEqual((body["max_tokens"], body["temperature"]), (50, 0))
                    self.assertNotIn("seed", body)

    def test_what_judging_costs_stands_apart(self):
        price = {"input": 2.5, "output": 10}
        with judge_server.serving() as judge:
            run, done = self.measure(self.plan(self.settings(judge, price=price)))
            by = self.result(run)["models"]["judge"]
            self.assertAlmostEqual(by["usd"], (900 * 2.5 + 45 * 10) / 1e6, places=12)
            self.assertSays(done.err, "score/judge chat fp16: $0.0027 for 900 input and 45 output tokens")
            with unittest.mock.patch.object(judge_server, "USAGE", {}):
                run, done = self.measure(self.plan(self.settings(judge, price=price)), out="uncounted")
            by = self.result(run)["models"]["judge"]
            self.assertEqual(by["uncounted"], 9)
            for unknown in ("usd", "prompt_tokens", "output_tokens"):
                self.assertNotIn(unknown, by, "what nobody counted is missing, not 0")

    def test_passes_are_averaged(self):
        with judge_server.serving() as judge:
            grades = iter([(4, 10), (5, 10), (6, 10), (7, 10), (5, 9), (6, 8)])
            type(judge).grades = property(lambda _: next(grades), lambda *_: None)
            self.addCleanup(delattr, judge_server.Judge, "grades")
            run, _ = self.measure(self.plan(self.settings(judge, passes=2, temperature=0.5)))
        values = {item: value for item, (value, _) in self.scores(run, "helpfulness").items()}
        self.assertEqual(values, {"c0": 5.5, "c1": 5, "c2": 6})
        self.assertEqual({i: v for i, (v, _) in self.scores(run, "safety").items()}, {"c0": 10, "c1": 9.5, "c2": 9})
        self.assertEqual([body["seed"] for _, body in judge.requests[6:]], [1, 1, 1, 2, 2, 2])

    def test_preferences_are_asked_in_both_orders(self):
        """A judge that likes whatever comes first has no preference; one that likes a text has."""
        first = lambda user: "A"  # noqa: E731
        ours = lambda user: "B" if "Reference" in judge_server.answer_in(user, "A") else "A"  # noqa: E731
        theirs = lambda user: "A" if "Reference" in judge_server.answer_in(user, "A") else "B"  # noqa: E731
        for name, better, value, consistent in (("first", first, 0.5, 0), ("ours", ours, 1, 3), ("theirs", theirs, 0, 3)):
            with self.subTest(name=name), judge_server.serving(better=better) as judge:
                run, done = self.measure(self.plan(judge, score={"also": ["preference"]}), out=name)
                told = "of 3 pairs the judge said the same in both orders for 0; its preferences go by position"
                self.assertEqual(told in done.err, name == "first", done.err)
                self.assertEqual({v for v, _ in self.scores(run, "preference").values()}, {value})
                by = self.result(run)["models"]["judge"]
                self.assertEqual(by["orders"], {"pairs": 3, "consistent": consistent})
                self.assertEqual((by["questions"], len(judge.requests)), (15, 15))

    def test_a_judge_that_gives_everybody_the_same_is_not_trusted(self):
        with judge_server.serving() as judge:
            with unittest.mock.patch.object(judge_server, "CONTROLS", {}):
                run, done = self.measure(self.plan(judge))
        self.assertEqual(self.result(run)["models"]["judge"]["controls"], {"right": 3, "of": 6})
        self.assertSays(done.err, "got 3 of 6 control questions right; do not trust")

    def test_each_fault_is_one_clear_reason(self):
        """One answer's judgement fails: that answer has no score, and the others have theirs."""
        for fault, kind, part in [
            ("400", "rejected", "response_format is not supported"), ("404", "not_found", "model does not exist"),
            ("401", "unauthorized", "key"), ("redirect", "redirected", "302"), ("error_body", "error_body", "quota"),
            ("not_json", "not_json", "no JSON"), ("prose", "prose", "solid 8"), ("out_of_range", "out_of_range", "11"),
            ("refused", "refused", "I cannot grade"), ("filtered", "refused", "content filter"),
            ("cut", "cut", "token limit"), ("empty", "empty", "said nothing"), ("timeout", "timeout", "timeout_s"),
        ]:  # fmt: skip
            with self.subTest(fault=fault), judge_server.serving(fault=fault, hits=1, key=KEY) as judge:
                settings = self.settings(judge, auth_env="JUDGE_KEY", timeout_s=2)
                run, done = self.measure(self.plan(settings), out=fault, env={"JUDGE_KEY": KEY})
                self.assertAllDone(run)
                by = self.result(run)["models"]["judge"]
                self.assertEqual((by["failed"], by["answers_without"]), ({kind: 1}, 1))
                self.assertSays(by["examples"][kind], part)
                self.assertEqual(set(self.scores(run, "helpfulness")), {"c1", "c2"})
                self.assertEqual(len(self.scores(run, "rougeL")), 3)
                self.assertSays(done.err, f"1 without a value ({kind} 1)")
                score = next(m for m in run.metrics() if m["metric"] == "score")
                self.assertEqual((score["value"], score["n"]), ("7", "2"))
                self.assertSays(score["label"], "without the answers that have no score")
                self.assertHasNo(KEY, done.out, done.err)

    def test_what_passes_is_tried_again(self):
        for fault in ("429", "500", "reset"):
            with self.subTest(fault=fault), judge_server.serving(fault=fault, hits=1) as judge:
                run, done = self.measure(self.plan(self.settings(judge, timeout_s=60)), out=fault)
                by = self.result(run)["models"]["judge"]
                self.assertEqual((by["failed"], by["verdicts"], len(judge.requests)), ({}, 9, 10))
                self.assertNotIn("without a value", done.err)

    def test_what_does_not_pass_ends_at_the_deadline(self):
        for fault, kind in (("429", "rate_limited"), ("500", "server_error"), ("reset", "unreachable")):
            with self.subTest(fault=fault), judge_server.serving(fault=fault) as judge:
                settings = self.settings(judge, timeout_s=2, concurrency=3)
                run, _ = self.measure(self.plan(settings), out=fault)
                by = self.result(run)["models"]["judge"]
                self.assertEqual((by["failed"], by["answers_without"]), ({kind: 3}, 3))
                self.assertGreater(by["requests"], by["questions"])
                self.assertSays(self.result(run)["refused"], "no answer has this score")
                score = next(m for m in run.metrics() if m["metric"] == "score")
                self.assertEqual(score["value"], "")

    def test_without_any_verdict_the_stage_fails_and_can_be_resumed(self):
        with judge_server.serving(key=KEY) as judge:
            content = self.plan(self.settings(judge, auth_env="JUDGE_KEY", timeout_s=5))
            run, done = self.measure(content, code=FAILED, env={"JUDGE_KEY": "sk-wrong-8812"})
            self.assertSays(done.err, "the judge gpt-scripted gave no verdict on 9 questions", "unauthorized 9",
                            "HTTP status 401; it does not accept the key in JUDGE_KEY")  # fmt: skip
            self.assertEqual([s for t, s in run.stages() if not t.startswith("score")], ["done"] * 3)
            self.assertHasNo("sk-wrong-8812", done.out, done.err)
            run, done = self.resume(env=environment(JUDGE_KEY=KEY))
        self.assertAllDone(run)
        self.assertEqual(len(self.scores(run, "helpfulness")), 3)
        self.assertEqual(judge.requests[-1][0]["Authorization"], f"Bearer {KEY}")
        self.assertHasNo(KEY, done.out, done.err)

    def test_a_hopeless_judge_is_not_asked_to_the_end(self):
        items = [{**CHAT[0], "id": str(i)} for i in range(30)]
        (self.dir / "chat.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        with judge_server.serving(fault="prose", faults_controls=True) as judge:
            _, done = self.measure(self.plan(judge), code=FAILED)
        self.assertSays(done.err, "gave no verdict on 16 questions", "prose 16")
        self.assertEqual(len(judge.requests), 16)

    def test_nobody_listens(self):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as s:
            port = s.getsockname()[1]
        content = self.plan({"url": f"http://127.0.0.1:{port}/v1", "model": "m", "timeout_s": 1, "concurrency": 16})
        _, done = self.measure(content, code=FAILED)
        self.assertSays(done.err, "the judge m gave no verdict", "unreachable")

    def test_the_key_must_be_there_before_anything_is_measured(self):
        with judge_server.serving() as judge:
            content = self.plan(self.settings(judge, auth_env="NO_SUCH_KEY_HERE"))
            path = write_plan(self.dir, content)
            done = self.edge_eval("run", path, "--out", "out", code=FAILED)
            self.assertSays(done.err, "NO_SUCH_KEY_HERE", "score.judge.auth_env", "is not set")
            self.assertEqual(judge.requests, [])
            content["score"]["judge"]["auth_env"] = KEY
            done = self.edge_eval("run", write_plan(self.dir, content), "--out", "other", code=FAILED)
            self.assertSays(done.err, "auth_env should be the name of an environment variable")
            self.assertNotIn(KEY, done.out + done.err)

    @unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificate")
    def test_certificates_are_checked(self):
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        make_certificate(cert, key, "DNS:localhost,IP:127.0.0.1")
        with judge_server.serving(tls=(cert, key)) as judge:
            settings = self.settings(judge, timeout_s=60, concurrency=2)
            run, _ = self.measure(self.plan({**settings, "ca_file": "cert.pem"}))
            self.assertEqual(len(self.scores(run, "helpfulness")), 3)
            _, done = self.measure(self.plan(settings), out="unknown", code=FAILED)
            self.assertSays(done.err, "gave no verdict on 9 questions: unreachable 9", "certificate")
            self.assertEqual(len(judge.requests), 9, "nothing was asked of a server that nobody vouches for")

    def test_a_key_that_others_can_read_is_told(self):
        for url, told in (("http://judge.invalid/v1", True), ("https://judge.invalid/v1", False),
                          ("http://127.0.0.1:9/v1", False), ("http://localhost:9/v1", False)):  # fmt: skip
            content = self.plan({"url": url, "model": "m", "auth_env": "JUDGE_KEY"})
            done = self.edge_eval("run", write_plan(self.dir, content), "--dry-run", env=environment(JUDGE_KEY=KEY))
            self.assertEqual(f"key goes over the network for all to read: use https in {url}" in done.out, told, done)
            self.assertNotIn(KEY, done.out + done.err)

    def test_without_a_judge_the_score_is_refused_and_says_so(self):
        content = self.plan({}, tasks={"chat": {"max_tokens": 6, "data": "chat.jsonl"}})
        del content["score"]
        run, done = self.measure(content)
        self.assertSays(done.err, "chat has no score S", "no model judges answers", "score.judge")
        score = next(m for m in run.metrics() if m["metric"] == "score")
        self.assertEqual(score["value"], "")
        self.assertSays(score["reason"], "no model judges answers")
        self.assertEqual({p for _, p in self.scores(run, "rougeL").values()}, {0})


@unittest.skipUnless(SERVER.exists(), f"no {SERVER}: run bench/peers.sh llama-server")
@unittest.skipUnless(MODEL.exists(), "the default model is not here: run make deps")
class LlamaServer(Judged):
    def test_a_real_server_is_held_to_the_schema(self):
        """With its key checked, and the schema turned into a grammar by the server itself."""
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as s:
            port = s.getsockname()[1]
        command = [SERVER, "-m", MODEL, "--port", port, "-t", 1, "-np", 1, "-c", 4096, "--api-key", KEY]
        server = Started(list(map(str, command)), self.dir)
        self.addCleanup(server.end)
        server.wait_for("listening", 120)
        settings = {"url": f"http://127.0.0.1:{port}", "model": "any", "auth_env": "JUDGE_KEY", "timeout_s": 200}
        run, done = self.measure(self.plan(settings, score={"also": ["preference"]}), env={"JUDGE_KEY": KEY})
        self.assertAllDone(run)
        by = self.result(run)["models"]["judge"]
        self.assertEqual((by["failed"], by["verdicts"], by["orders"]["pairs"]), ({}, 15, 3))
        self.assertGreater(by["prompt_tokens"], 1000)
        self.assertEqual(len(self.scores(run, "helpfulness")), 3)
        server.end()
        self.assertHasNo(KEY, done.out, done.err)


class File(Judged):
    def test_a_model_file_says_nothing_but_verdicts(self):
        """Random weights, and yet every verdict is one: the grammar sees to it."""
        f16_model(self.dir, "judge.gguf", "tiny.gguf")
        settings = {"model": "judge.gguf", "passes": 2, "temperature": 1.5, "concurrency": 2}
        run, done = self.measure(self.plan(settings, score={"also": ["preference"]}))
        self.assertAllDone(run)
        by = self.result(run)["models"]["judge"]
        self.assertEqual((by["name"], by["failed"], by["questions"]), ("judge.gguf", {}, 6 + 3 * 6))
        self.assertEqual(by["verdicts"], by["questions"])
        self.assertNotIn("url", by)
        for scorer, low, high in (("helpfulness", 1, 10), ("safety", 1, 10), ("preference", 0, 1)):
            values = [v for v, _ in self.scores(run, scorer).values()]
            self.assertEqual(len(values), 3)
            self.assertTrue(all(low <= v <= high for v in values), values)
        self.assertSays(done.out, "chat helpfulness (judge.gguf)")
        again, _ = self.measure(self.plan(settings, score={"also": ["preference"]}), out="again")
        self.assertSameResults(run, again)

    def test_a_file_that_cannot_judge(self):
        (self.dir / "noise.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 8)
        _, done = self.measure(self.plan({"model": "noise.gguf"}), code=FAILED)
        self.assertSays(done.err, "noise.gguf")

    def test_the_default_model_judges(self):
        if not MODEL.exists():
            raise unittest.SkipTest(f"the default model is not at {MODEL}: run make deps")
        run, _ = self.measure(self.plan({"model": str(MODEL)}))
        self.assertAllDone(run)
        by = self.result(run)["models"]["judge"]
        self.assertEqual((by["failed"], by["verdicts"]), ({}, 9))


if __name__ == "__main__":
    unittest.main()
