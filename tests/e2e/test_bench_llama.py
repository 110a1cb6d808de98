"""edge-eval bench against the real llama-server, and in process: the same model, the same prompts."""

import contextlib
import json
import pathlib
import shlex
import socket
import unittest
import urllib.request

from harness import CACHE, FAILED, MODEL, Case, Started, tiny_model, wait_until

SERVER = pathlib.Path(CACHE) / "peers" / "build" / "bin" / "llama-server"


def free_port():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as s:
        return s.getsockname()[1]


class InProcess(Case):
    def bench(self, *args, **more):
        return json.loads(self.edge_eval("bench", *args, "--json", "--threads", 1, **more).out)

    def test_closed_and_open_loop(self):
        model = tiny_model(self.dir)
        closed = self.bench(model, "-c", 2, "-n", 6, "--input", "30..40", "--output", 5, "--ignore-eos")
        self.assertEqual(closed["requests"]["ok"], 6)
        self.assertEqual(closed["tokens"]["output"], 30)
        self.assertEqual(closed["tokens"]["events"] + closed["tokens"]["answers_without_event_tokens"] >= 6, True)
        self.assertEqual(closed["target"]["transport"], "in process")
        opened = self.bench(model, "--rate", 20, "-n", 6, "--input", 30, "--output", 5, "--ignore-eos", "--parallel", 2)
        self.assertEqual(opened["requests"]["ok"], 6)
        self.assertEqual(opened["settings"]["loop"], "open")
        self.assertGreaterEqual(opened["latency"]["ttft_schedule"]["min_s"], 0)
        metered = self.bench(model, "-c", 2, "-d", 1, "--input", 30, "--output", 5, "--energy",
                             "--energy-source", "model")  # fmt: skip
        self.assertEqual(metered["energy"]["load"]["quality"], "modelled")
        self.assertGreater(metered["energy"]["load"]["per_output_token_j"], 0)
        timed = self.bench(model, "-c", 2, "-d", 1, "--input", 30, "--output", 5, "--ignore-eos")
        self.assertGreater(timed["requests"]["ok"], 0)

    def test_what_cannot_be_measured_is_refused(self):
        model = tiny_model(self.dir)
        done = self.edge_eval("bench", model, "-c", "1,2", "--step", 1, "--input", 30, "--output", 5, code=FAILED)
        self.assertSays(done.err, "concurrency cannot change")
        done = self.edge_eval("bench", "missing.gguf", "-n", 1, "--input", 30, "--output", 5, code=FAILED)
        self.assertSays(done.err, "missing.gguf")
        (self.dir / "bad.gguf").write_bytes(b"GGUF" + b"\x03\0\0\0" + b"\xff" * 64)
        done = self.edge_eval("bench", "bad.gguf", "-n", 1, "--input", 30, "--output", 5, code=FAILED)
        self.assertSays(done.err, "bad.gguf")


@unittest.skipUnless(SERVER.exists(), f"no {SERVER}: run bench/peers.sh llama-server")
@unittest.skipUnless(MODEL.exists(), "the default model is not here: run make deps")
class LlamaServer(Case):
    def command(self, port, *more):
        return " ".join(map(str, (SERVER, "-m", MODEL, "--port", port, "-t", 1, "-np", 2, "-c", 4096, "--metrics", *more)))

    def test_it_is_started_loaded_and_stopped(self):
        port = free_port()
        done = self.edge_eval(
            "bench", f"http://127.0.0.1:{port}", "--json", "--no-calibration", "--server", self.command(port),
            "--tokenizer", MODEL, "--task", "rag", "--prompt-count", 4, "--output", 8, "-c", 2, "-o", "out",
            "--energy-source", "model",
        )  # fmt: skip
        r = json.loads(done.out)
        self.assertEqual(r["requests"]["ok"], 4, r["requests"])
        check = r["tokens"]["check"]
        self.assertEqual((check["prompts"], check["prompts_equal"]), (4, 4), check)
        self.assertEqual(r["tokens"]["answers_without_usage"], 0)
        self.assertEqual(r["tokens"]["answers_without_event_tokens"], 0)
        self.assertGreater(r["server"]["ready_s"], r["server"]["port_open_s"])
        self.assertGreater(r["server"]["first_request_ttft_s"], 0)
        self.assertEqual(r["energy"]["cold_start"]["quality"], "modelled")
        self.assertGreater(r["energy"]["load"]["per_output_token_j"], 0)
        # It counts what it computed for the four prompts.
        counted = r["server_metrics"]["counters"]["llamacpp:tokens_predicted_total"]
        self.assertEqual(counted, r["tokens"]["output"])
        self.assertTrue((self.dir / "out" / "server.log").read_text(errors="replace"))
        with contextlib.closing(socket.socket()) as s:
            self.assertNotEqual(s.connect_ex(("127.0.0.1", port)), 0, "the server still runs")

    def test_the_prompt_has_the_same_token_ids_as_in_process(self):
        prompts = self.dir / "prompts.jsonl"
        self.edge_eval("bench", MODEL, "--task", "chat", "--prompt-count", 3, "-n", 1, "--output", 1, "--threads", 1,
                       "--prompts-out", prompts, "--no-out")  # fmt: skip
        port = free_port()
        server = Started(shlex.split(self.command(port)), self.dir)
        self.addCleanup(server.end)

        def post(path, body):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(),
                                             {"content-type": "application/json"})  # fmt: skip
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)

        def ready():
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
                    return response.status == 200
            return False

        wait_until(ready, "llama-server", 120, poll=0.1)
        rows = [json.loads(line) for line in prompts.read_text().splitlines()]
        self.assertEqual(len(rows), 3)
        for row in rows:
            text = post("/apply-template", {"messages": row["messages"]})["prompt"]
            ids = post("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
            self.assertEqual(ids, row["prompt_ids"])

    def test_a_synthetic_prompt_is_as_long_as_asked(self):
        port = free_port()
        for api, more in (("chat", ()), ("text", ()), ("text", ("--send-ids",))):
            with self.subTest(api=api, more=more):
                done = self.edge_eval(
                    "bench", f"http://127.0.0.1:{port}", "--json", "--no-calibration", "--server", self.command(port),
                    "--tokenizer", MODEL, "--input", 64, "--output", 4, "-n", 3, "--prompt-count", 3, "--api", api,
                    "--no-out", *more,
                )  # fmt: skip
                r = json.loads(done.out)
                self.assertEqual(r["requests"]["ok"], 3, r["requests"])
                self.assertEqual(r["tokens"]["prompt"], 3 * 64)
                self.assertEqual(r["tokens"]["check"]["prompts_equal"], 3)


if __name__ == "__main__":
    unittest.main()
