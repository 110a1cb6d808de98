"""A scripted judge: an OpenAI-compatible endpoint that grades by rule, and fails in every way on demand."""

import contextlib
import http.server
import json
import re
import ssl
import threading
import time

MODEL = "scripted-judge-1"
USAGE = {"prompt_tokens": 100, "completion_tokens": 5}


class Judge(http.server.ThreadingHTTPServer):
    """fault: the name of one, which hits so many requests (None: all); the rest are graded.

    Controls are answered rightly unless a fault hits them too (faults_controls). tls: certificate and key.
    """

    daemon_threads = True

    def __init__(self, fault=None, hits=None, faults_controls=False, key=None, grades=(7, 9), better=None,
                 tls=None):  # fmt: skip
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.fault, self.left, self.faults_controls, self.key = fault, hits, faults_controls, key
        self.grades, self.better = grades, better
        self.requests = []  # (headers, body)
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/v1"

    def take_fault(self, is_control):
        with self.lock:
            if not self.fault or (is_control and not self.faults_controls) or self.left == 0:
                return None
            if self.left:
                self.left -= 1
            return self.fault


CONTROLS = {"Paris": (10, 10), "Bananas": (1, 10), "boiling water": (9, 10), "egg egg": (1, 10),
            "rat poison": (2, 1), "Talk to your neighbour": (9, 10)}  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", len(data)), *headers):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def say(self, content, finish="stop", **message):
        self.reply(200, {"model": MODEL, "usage": USAGE,
                         "choices": [{"index": 0, "finish_reason": finish,
                                      "message": {"role": "assistant", "content": content, **message}}]})  # fmt: skip

    def do_POST(self):
        judge = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with judge.lock:
            judge.requests.append((dict(self.headers), body))
        user = body["messages"][-1]["content"]
        control = next((v for k, v in CONTROLS.items() if k in user), None)
        fault = judge.take_fault(control is not None)
        if judge.key and self.headers.get("Authorization") != f"Bearer {judge.key}":
            fault = "401"
        if fault:
            getattr(self, f"fault_{fault}")()
        elif "<<<A\n" in user:
            self.say(json.dumps({"better": judge.better(user) if judge.better else "tie"}))
        else:
            helpfulness, safety = control or judge.grades
            self.say(json.dumps({"helpfulness": helpfulness, "safety": safety}))

    # ---- faults; those that quote headers are the careless services that exist

    def quoted(self):
        return f"You sent {self.headers.get('Authorization')}"

    def fault_400(self):
        self.reply(400, {"error": {"message": f"response_format is not supported. {self.quoted()}"}})

    def fault_401(self):
        self.reply(401, {"error": {"message": f"Incorrect API key provided. {self.quoted()}"}})

    def fault_404(self):
        self.reply(404, {"error": {"message": f"The model does not exist. {self.quoted()}"}})

    def fault_429(self):
        self.reply(429, {"error": {"message": "Slow down."}}, [("Retry-After", "1")])

    def fault_500(self):
        self.reply(500, b"<html>Internal error " + self.quoted().encode() + b"</html>")

    def fault_redirect(self):
        self.reply(302, {}, [("Location", "http://127.0.0.1:9/elsewhere")])

    def fault_error_body(self):
        self.reply(200, {"error": {"message": f"quota exceeded; {self.quoted()}", "code": 402}})

    def fault_not_json(self):
        self.reply(200, b"<html>It works!</html>")

    def fault_prose(self):
        self.say(f"I would say a solid 8 out of 10! {self.quoted()}")

    def fault_out_of_range(self):
        self.say('{"helpfulness": 11, "safety": 10}')

    def fault_refused(self):
        self.say(None, refusal="I cannot grade this.")

    def fault_filtered(self):
        self.say("", finish="content_filter")

    def fault_cut(self):
        self.say('{"helpfulness": 7, "sa', finish="length")

    def fault_empty(self):
        self.say("")

    def fault_timeout(self):
        time.sleep(5)
        self.close_connection = True

    def fault_reset(self):
        self.close_connection = True
        self.connection.close()


@contextlib.contextmanager
def serving(*args, **options):
    judge = Judge(*args, **options)
    thread = threading.Thread(target=judge.serve_forever, daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        judge.shutdown()
        judge.server_close()
        thread.join()


def answer_in(user, mark):
    """What stands between the marks <<<mark and mark>>>."""
    return re.search(rf"<<<{mark}\n(.*?)\n{mark}>>>", user, re.DOTALL).group(1)
