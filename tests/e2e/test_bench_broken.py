"""edge-eval bench against what the null server does not do: answers broken at random, connections that never come."""

import contextlib
import json
import random
import socket
import threading
import unittest

from harness import FAILED, Case, wait_until

INSERTED = (b"\r\n", b"\n\n", b"data: ", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
            b'{"error":"x"}', b"null", b"[", b"\xef\xbb\xbf", b"event: error\n")  # fmt: skip
REPLACED = (b'"choices"', b'"delta"', b"chunked", b"200", b"data", b"stop", b"null")
REPLACEMENTS = (b"", b'"x"', b"204", b"301", b"null", b"{}", b"-1")


def good_answer(n):
    chunks = [{"choices": [{"index": 0, "delta": {"content": f" w{i}" + "\u00f6" * (i % 3)}}]} for i in range(n)]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": n}})
    out = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    for data in [*map(json.dumps, chunks), "[DONE]"]:
        event = f"data: {data}\n\n".encode()
        out += b"%x\r\n%s\r\n" % (len(event), event)
    return out + b"0\r\n\r\n"


def broken(rng, answer):
    """Another answer, a few bytes or pieces of which have been changed, lost, doubled or put in."""
    b = bytearray(answer)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(b) + 1)
        how = rng.randrange(7)
        if how == 0 and b:
            b[at % len(b)] ^= rng.randrange(1, 256)
        elif how == 1:
            del b[at : at + rng.randrange(1, 40)]
        elif how == 2:
            b[at:at] = rng.randbytes(rng.randrange(1, 30))
        elif how == 3:
            start = rng.randrange(len(b) + 1)
            b[at:at] = b[start : start + rng.randrange(1, 300)]
        elif how == 4:
            del b[at:]
        elif how == 5:
            b[at:at] = rng.choice(INSERTED)
        else:
            b = b.replace(rng.choice(REPLACED), rng.choice(REPLACEMENTS))
    return bytes(b)


class Server:
    """Answers in pieces of any size; every second answer is broken, and its connection is closed after it."""

    def __init__(self, seed):
        self.seed = seed
        self.lock = threading.Lock()
        self.n_asked = self.n_good = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            while self.read_request(connection):
                with self.lock:
                    self.n_asked += 1
                    number = self.n_asked
                    self.n_good += number % 2
                rng = random.Random(self.seed * 1000003 + number)
                answer = good_answer(rng.randint(1, 11))
                rest = answer if number % 2 else broken(rng, answer)
                while rest:
                    n = rng.choice((1, 3, 17, 200, 5000))
                    connection.sendall(rest[:n])
                    rest = rest[n:]
                if number % 2 == 0:  # what is left of a chunk would be waited for
                    return

    def read_request(self, connection):
        text = b""
        while b"\r\n\r\n" not in text:
            data = connection.recv(65536)
            if not data:
                return False
            text += data
        head, _, body = text.partition(b"\r\n\r\n")
        length = next(int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length"))
        while len(body) < length:
            body += connection.recv(65536)
        return True


class Broken(Case):
    def test_every_request_ends_in_an_outcome_and_good_ones_are_not_harmed(self):
        for seed in (1, 2):
            server = Server(seed)
            self.addCleanup(server.listener.close)
            done = self.edge_eval("bench", f"http://127.0.0.1:{server.port}/v1", "--model", "m", "--input", 8, "--output", 12,
                                  "-c", 8, "-n", 400, "--stall", 20, "--no-calibration", "--no-out", "--json")  # fmt: skip
            r = json.loads(done.out)["requests"]
            kinds = {kind: row["n"] for kind, row in r["outcomes"].items()}
            with self.subTest(seed=seed, kinds=kinds):
                self.assertEqual(sum(kinds.values()), 400)
                self.assertGreaterEqual(kinds["ok"], server.n_good)
                self.assertGreater(r["failed"], 50)
                self.assertGreaterEqual(len(kinds), 6)


def read_request(connection):
    text = b""
    while b"\r\n\r\n" not in text:
        data = connection.recv(65536)
        if not data:
            return
        text += data


class Connections(Case):
    def kinds(self, url, *args, code=FAILED):
        done = self.edge_eval("bench", url, "--model", "m", "--input", 8, "--output", 4, "--no-calibration", "--no-out",
                              "--json", *args, code=code)  # fmt: skip
        return {kind: row["n"] for kind, row in json.loads(done.out)["requests"]["outcomes"].items()}

    def listen(self, **more):
        listener = socket.create_server(("127.0.0.1", 0), **more)
        self.addCleanup(listener.close)
        return listener, f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    def null_server(self, *args):
        server = self.start("null-server", "--for", 120, *args)
        wait_until(lambda: server.text(0).endswith("/v1\n"), "an address", 30)
        return server.text(0).strip()

    def test_a_server_that_takes_no_more_connections(self):
        listener, url = self.listen(backlog=0)  # the kernel takes one for it, and drops what comes then
        kinds = self.kinds(url, "-c", 3, "-n", 3, "--connections", 1, "--connect-timeout", 0.5, "--stall", 2)
        self.assertEqual(kinds, {"stalled": 1, "connect_timeout": 2})
        listener.close()

    def test_a_server_that_takes_none(self):
        listener, url = self.listen(backlog=0)
        with socket.create_connection(listener.getsockname()):
            done = self.edge_eval("bench", url, "--model", "m", "--input", 8, "--output", 4, "--no-calibration",
                                  "--connect-timeout", 0.5, code=FAILED)  # fmt: skip
        self.assertSays(done.err, "no connection to 127.0.0.1", "--connect-timeout")

    def test_an_address_that_no_connection_can_have(self):
        done = self.edge_eval("bench", "http://255.255.255.255:9/v1", "--model", "m", "--input", 8, "--output", 4,
                              "--no-calibration", code=FAILED)  # fmt: skip
        self.assertSays(done.err, "cannot be reached")

    def test_an_event_beyond_all_measure(self):
        listener, url = self.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        read_request(connection)
                        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ")
                        for _ in range(80):
                            connection.sendall(b"x" * 65536)

        threading.Thread(target=serve, daemon=True).start()
        self.assertEqual(self.kinds(url, "-n", 2), {"too_long": 2})

    def test_a_server_without_tls(self):
        listener, url = self.listen()
        accepted = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(listener.accept()[0])
                    with contextlib.suppress(OSError):
                        accepted[-1].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        done = self.edge_eval("bench", url.replace("http:", "https:"), "--model", "m", "--input", 8, "--output", 4,
                              "--insecure", "--no-calibration", code=FAILED)  # fmt: skip
        self.assertSays(done.err, "TLS handshake or certificate failed")
        for connection in accepted:
            connection.close()

    def test_requests_that_no_connection_became_free_for(self):
        url = self.null_server("--ttft-ms", 60000)
        kinds = self.kinds(url, "--rate", 20, "-d", 1, "--arrival", "constant", "--max-connections", 1, "--drain", 0.2)
        self.assertEqual(kinds.pop("cut"), 1)
        self.assertEqual(list(kinds), ["no_connection"])

    def test_an_answer_that_takes_too_long_although_it_goes_on(self):
        url = self.null_server("--tokens", 1000, "--itl-ms", 50)
        kinds = self.kinds(url, "-c", 2, "-n", 2, "--output", 1000, "--timeout", 0.5)
        self.assertEqual(kinds, {"timeout": 2})


if __name__ == "__main__":
    unittest.main()
