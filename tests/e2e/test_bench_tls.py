"""edge-eval bench over TLS: a proxy of Python's ssl before the null server."""

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import threading
import unittest

from harness import FAILED, Case, Started, arrivals_stamped, make_certificate, wait_until


class TlsProxy:
    """Ends TLS on a free port of 127.0.0.1 and passes bytes to another, in a thread of its own."""

    def __init__(self, cert, key, port):
        self.loop = asyncio.new_event_loop()
        self.target = port
        self.n_handshakes = 0
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=context)
        )
        self.servers = [self.server]
        self.port = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def also_on(self, address):
        async def listen():
            self.servers.append(await asyncio.start_server(self.serve, address, self.port, ssl=self.context))

        asyncio.run_coroutine_threadsafe(listen(), self.loop).result(10)

    async def serve(self, reader, writer):
        self.n_handshakes += 1
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(self.copy(reader, up_writer), self.copy(up_reader, writer))

    async def copy(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    def close(self):
        async def finish():
            for server in self.servers:
                server.close()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.loop.stop()

        asyncio.run_coroutine_threadsafe(finish(), self.loop)
        self.thread.join(10)
        self.loop.close()


@unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificate")
class Tls(Case):
    def setUp(self):
        super().setUp()
        self.cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        make_certificate(self.cert, key, "DNS:localhost,IP:127.0.0.1")
        server = self.start("null-server", "--for", 120, "--tokens", 6, "--ttft-ms", 5, "--shape", "role", *self.faults())
        wait_until(lambda: server.text(0).endswith("/v1\n"), "an address", 30)
        self.proxy = TlsProxy(self.cert, key, int(server.text(0).split(":")[2].split("/")[0]))
        self.addCleanup(self.proxy.close)
        self.url = f"https://127.0.0.1:{self.proxy.port}/v1"

    def faults(self):
        return ()

    def bench(self, *args, **more):
        done = self.edge_eval("bench", self.url, "--json", "--no-calibration", "--no-out", "--input", 8, "--output", 6,
                              *args, **more)  # fmt: skip
        return done

    def test_a_trusted_certificate(self):
        r = json.loads(self.bench("-c", 3, "-n", 20, "--ca-file", self.cert).out)
        self.assertEqual(r["requests"]["ok"], 20, r["requests"])
        self.assertEqual((r["target"]["scheme"], r["target"]["transport"]), ("https", "HTTP/1.1"))
        self.assertEqual(r["tokens"]["events"], 120)
        self.assertGreaterEqual(r["latency"]["ttft"]["min_s"], 0.005)
        # Connections were opened before, and used again; one more asked for the model's name.
        self.assertLessEqual(self.proxy.n_handshakes, 6)
        self.assertEqual(r["requests"]["fresh_connections"], 0)

    def test_open_loop(self):
        r = json.loads(self.bench("--rate", 100, "-n", 30, "--insecure").out)
        self.assertEqual(r["requests"]["ok"], 30, r["requests"])
        self.assertEqual(r["latency"]["send_lag"]["n"], 30)

    def test_bodies_longer_than_the_sockets_buffers(self):
        r = json.loads(self.bench("-c", 2, "-n", 4, "--insecure", "--input", 600000, "--prompt-count", 2).out)
        self.assertEqual(r["requests"]["ok"], 4, r["requests"])
        self.assertEqual(r["tokens"]["events"], 24)

    def test_another_hosts_certificate_and_a_server_without_tls(self):
        self.url = self.url.replace("127.0.0.1", "127.0.0.2")  # the certificate is 127.0.0.1's
        self.proxy.also_on("127.0.0.2")
        done = self.bench("-n", 3, "--model", "m", "--ca-file", self.cert, code=FAILED)
        self.assertSays(done.err.lower(), "certificate")
        self.assertEqual(json.loads(self.bench("-n", 3, "--model", "m", "--insecure").out)["requests"]["ok"], 3)
        self.url = f"https://127.0.0.1:{self.proxy.target}/v1"
        done = self.bench("-n", 3, "--model", "m", "--insecure", "--connect-timeout", 1, code=FAILED)
        self.assertSays(done.err, "no connection within --connect-timeout")

    def test_an_unknown_certificate_is_refused(self):
        done = self.bench("-n", 3, code=FAILED)
        self.assertSays(done.err.lower(), "certificate")
        done = self.bench("-n", 3, "--model", "m", code=FAILED)
        self.assertSays(done.err.lower(), "certificate")


@unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificate")
class NullServer(Case):
    """The null server's own TLS, which the client is measured with."""

    def serve(self, *args):
        pem, cert = self.dir / "both.pem", self.dir / "cert.pem"
        make_certificate(cert, pem)
        with open(pem, "ab") as both:
            both.write(cert.read_bytes())
        server = self.start("null-server", "--for", 120, "--tls", pem, *args)
        wait_until(lambda: server.text(0).endswith("/v1\n"), "an address", 30)
        self.assertTrue(server.text(0).startswith("https://127.0.0.1:"), server.text(0))
        return server.text(0).strip(), cert

    def bench(self, url, cert, *args):
        done = self.edge_eval("bench", url, "--json", "--no-calibration", "--no-out", "--ca-file", cert, "--input", 8, *args)
        return json.loads(done.out)

    def test_streams_of_every_shape(self):
        for shape in ("role,crlf", "split", "close", "early-head,ping"):
            with self.subTest(shape=shape):
                url, cert = self.serve("--tokens", 6, "--ttft-ms", 5, "--itl-ms", 1, "--shape", shape)
                with arrivals_stamped():
                    r = self.bench(url, cert, "--output", 6, "-c", 4, "-n", 40)
                self.assertEqual((r["requests"]["ok"], r["tokens"]["events"]), (40, 240), r["requests"])
                self.assertGreaterEqual(r["latency"]["ttft"]["min_s"], 0.005)
                self.assertGreaterEqual(r["latency"]["delivery"]["min_s"], 0)
                self.assertEqual(r["client"]["timestamps"], "kernel")
                self.assertEqual(r["client"]["reads_by_kernel"], r["client"]["reads"])

    def test_more_than_the_sockets_take(self):
        url, cert = self.serve("--tokens", 5000, "--events-per-write", 500, "--event-bytes", 900)
        r = self.bench(url, cert, "--output", 5000, "-c", 2, "-n", 4)
        self.assertEqual((r["requests"]["ok"], r["tokens"]["events"]), (4, 20000), r["requests"])

    def test_a_file_without_a_key(self):
        done = self.edge_eval("null-server", "--tls", "none.pem", code=FAILED)
        self.assertSays(done.err, "none.pem")


class ManyRecords:
    """Answers each chat with words of its own, each in a TLS record of its own, all of them in one write."""

    def __init__(self, cert, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.said, self.heard = [], []  # answers, and what second turns had of them
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with contextlib.suppress(OSError, ssl.SSLError), connection:
                    self.talk(connection)

    def talk(self, connection):
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(came, goes, server_side=True)

        def wait_for(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    connection.sendall(goes.read())
                    data = connection.recv(65536)
                    if not data:
                        raise OSError("closed") from None
                    came.write(data)

        wait_for(tls.do_handshake)
        while True:
            text = b""
            while b"\r\n\r\n" not in text:
                text += wait_for(lambda: tls.read(65536))
            head, _, body = text.partition(b"\r\n\r\n")
            length = next(int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length"))
            while len(body) < length:
                body += wait_for(lambda: tls.read(65536))
            messages = json.loads(body)["messages"]
            self.heard += [m["content"] for m in messages if m["role"] == "assistant"]
            self.answer(tls)
            connection.sendall(goes.read())

    def answer(self, tls):
        words = [f" {len(self.said)}-{i}" + "x" * (7 * i % 11) for i in range(40)]
        self.said.append("".join(words))
        tls.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        chunks = [{"choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]} for w in words]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": len(words)}})
        for data in [*map(json.dumps, chunks), "[DONE]"]:
            event = f"data: {data}\n\n".encode()
            tls.write(b"%x\r\n%s\r\n" % (len(event), event))
        tls.write(b"0\r\n\r\n")

    def close(self):
        self.listener.close()


@unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificate")
class Records(Case):
    def certificate(self):
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        make_certificate(cert, key)
        return cert, key

    def test_a_connection_without_tls_in_the_middle_of_a_load(self):
        cert, key = self.certificate()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        kept = []

        def serve():
            with contextlib.suppress(OSError):
                kept.append(context.wrap_socket(listener.accept()[0], server_side=True))  # and never answers
                while True:
                    kept.append(listener.accept()[0])
                    kept[-1].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        done = self.edge_eval("bench", f"https://127.0.0.1:{listener.getsockname()[1]}/v1", "--ca-file", cert, "--json",
                              "--no-out", "--no-calibration", "--model", "m", "--input", 8, "--output", 4, "-c", 2,
                              "-n", 2, "--connections", 1, "--stall", 2, code=FAILED)  # fmt: skip
        kinds = {kind: row["n"] for kind, row in json.loads(done.out)["requests"]["outcomes"].items()}
        self.assertEqual(kinds, {"stalled": 1, "tls": 1})
        for connection in kept:
            connection.close()

    def test_what_lies_in_many_records_of_a_read_is_read_as_it_was_said(self):
        cert, key = self.certificate()
        server = ManyRecords(cert, key)
        self.addCleanup(server.close)
        done = self.edge_eval("bench", f"https://127.0.0.1:{server.port}/v1", "--ca-file", cert, "--json", "--no-out",
                              "--no-calibration", "--model", "m", "--input", 8, "--output", 60, "--turns", 2,
                              "--turn-input", 4, "-c", 1, "-n", 5)  # fmt: skip
        r = json.loads(done.out)
        self.assertEqual(r["requests"]["ok"], 10, r["requests"])
        self.assertEqual(r["tokens"]["events"], 400)
        self.assertGreater(r["tokens"]["coalesced_events"], 0)
        self.assertEqual(server.heard, server.said[::2])


@unittest.skipUnless(shutil.which("nghttpx") and shutil.which("openssl"), "nghttpx (nghttp2-proxy) speaks HTTP/2")
class Http2(Case):
    def test_streams_share_connections(self):
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        make_certificate(cert, key)
        server = self.start("null-server", "--for", 120, "--tokens", 6, "--ttft-ms", 20, "--itl-ms", 5)
        wait_until(lambda: server.text(0).endswith("/v1\n"), "an address", 30)
        backend = server.text(0).split(":")[2].split("/")[0].strip()
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as s:
            port = s.getsockname()[1]
        proxy = Started(["nghttpx", f"--frontend=127.0.0.1,{port}", f"--backend=127.0.0.1,{backend}", "--workers=1",
                         "--conf=/dev/null", "--errorlog-file=/dev/null", str(key), str(cert)], self.dir)  # fmt: skip
        self.addCleanup(proxy.end)

        def listens():
            with contextlib.closing(socket.socket()) as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, "nghttpx", 30)
        done = self.edge_eval("bench", f"https://127.0.0.1:{port}/v1", "--http2", "--ca-file", cert, "--json", "--no-out",
                              "--no-calibration", "--input", 8, "--output", 6, "-c", 8, "-n", 40)  # fmt: skip
        r = json.loads(done.out)
        self.assertEqual(r["requests"]["ok"], 40, r["requests"])
        self.assertEqual(r["tokens"]["events"], 240)
        self.assertGreaterEqual(r["latency"]["ttft"]["min_s"], 0.02)
        self.assertLessEqual(r["client"]["loops"][0]["connections"], 2)
        self.assertEqual(r["client"]["timestamps"], "read")
        self.assertIn("libcurl", r["client"]["timestamps_reason"])


class TlsFaults(Tls):
    NAMES = ("401", "redirect", "gzip", "html", "die", "stall", "bad-chunk", "bad-utf8", "error", "truncated")

    def faults(self):
        return ("--fault", ",".join(self.NAMES), "--fault-every", 2)

    def test_a_trusted_certificate(self):
        r = json.loads(self.bench("-c", 4, "-n", 40, "--insecure", "--stall", 1.5).out)
        kinds = {k: row["n"] for k, row in r["requests"]["outcomes"].items()}
        self.assertEqual(
            kinds,
            {"ok": 20, "status": 2, "redirect": 2, "compressed": 2, "not_events": 2, "died": 2, "stalled": 2,
             "bad_http": 2, "bad_utf8": 2, "error_event": 2, "truncated": 2},
        )  # fmt: skip

    test_open_loop = None
    test_bodies_longer_than_the_sockets_buffers = None
    test_another_hosts_certificate_and_a_server_without_tls = None
    test_an_unknown_certificate_is_refused = None


if __name__ == "__main__":
    unittest.main()
