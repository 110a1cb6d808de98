"""A headless Chromium, driven through ChromeDriver's own protocol (W3C WebDriver)."""

import base64
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
AVAILABLE = bool(CHROMIUM and DRIVER)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": " ", "Escape": "\ue00c",
        "Home": "\ue011", "End": "\ue010", "ArrowDown": "\ue015"}  # fmt: skip
PATIENCE_S = 60


class Browser:
    """One browser window without network. A context manager."""

    def __init__(self, width=1240, height=1400, dark=False):
        self.size = (width, height)
        self.dark = dark

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        try:
            self._start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _start(self):
        profile = tempfile.mkdtemp(prefix="edge-eval-browser-")
        self.stack.callback(shutil.rmtree, profile, ignore_errors=True)
        driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.stack.callback(driver.wait)
        self.stack.callback(driver.stdout.close)
        self.stack.callback(driver.kill)
        port = None
        for line in driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                port = found.group(1)
                break
        if not port:
            raise RuntimeError("chromedriver did not start")
        self.base = f"http://127.0.0.1:{port}"
        options = {
            "binary": CHROMIUM,
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                     f"--window-size={self.size[0]},{self.size[1]}", *(["--force-dark-mode"] if self.dark else [])],
        }  # fmt: skip
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{session['sessionId']}"
        self.stack.callback(self._call, "DELETE", "")

    def _call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE_S) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as e:
            raise RuntimeError(json.load(e)["value"]["message"]) from None

    def open(self, path, section=None):
        """Returns when the page's scripts have run, or have said that they cannot."""
        anchor = f"#{section}" if section else ""
        self._call("POST", "/url", {"url": pathlib.Path(path).resolve().as_uri() + anchor})
        packed = "return !document.querySelector('script[data-packed]') || !!document.getElementById('not-unpacked')"
        end = time.monotonic() + PATIENCE_S
        while not self.run(packed):
            if time.monotonic() > end:
                raise RuntimeError(f"the scripts of {path} do not get ready")
            time.sleep(0.01)

    def before_pages(self, script):
        """A script that runs in each page before those of its own."""
        command = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": script}}
        self._call("POST", "/goog/cdp/execute", command)

    def run(self, script, *args):
        """The value of a function body of JavaScript."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def press(self, *keys):
        actions = [step for k in keys for step in ({"type": "keyDown", "value": KEYS.get(k, k)},
                                                   {"type": "keyUp", "value": KEYS.get(k, k)})]  # fmt: skip
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def console(self):
        """What the page wrote to the console as a warning or an error."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """Every URL that the page asked for, but its own file and what is inside it."""
        urls = []
        for entry in self._call("POST", "/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        return [u for u in urls if not u.startswith(("file:", "data:", "chrome:", "chrome-untrusted:", "about:"))]

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def as_printed(self):
        """Lays the page out as on paper, in this window's width."""
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"media": "print"}}
        self._call("POST", "/goog/cdp/execute", command)

    def print_pdf(self):
        """The page on A4, as the bytes of a PDF."""
        page = {"width": 21.0, "height": 29.7}
        return base64.b64decode(self._call("POST", "/print", {"page": page, "background": True}))
