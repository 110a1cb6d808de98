"""What a person sees of a run: on a terminal of any width, without one, and with --quiet."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import unittest

import harness

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Terminal(harness.Case):
    @classmethod
    def setUpClass(cls):
        if not harness.MODEL.exists():
            raise unittest.SkipTest(f"the default model is not at {harness.MODEL}: run make deps")

    def watch(self, columns, out, *options, **env):
        """Everything that a run shows on a terminal of that width, and its exit status."""
        tasks = {"rag": {"items": 2, "max_tokens": 24}}
        harness.write_plan(self.dir, harness.plan(harness.MODEL_ID, tasks=tasks, precisions=["int4"]))
        return self.on_terminal(columns, "stderr", "run", "plan.yaml", "--out", out, *options, **env)

    def on_terminal(self, columns, stream, *args, **env):
        """What a command writes to that stream, which is a terminal, and its exit status."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: slave}
        process = subprocess.Popen(
            [harness.PROGRAM, *args], cwd=self.dir, stdin=subprocess.DEVNULL, **streams,
            env={**harness.environment(), "TERM": "xterm", **env},
        )  # fmt: skip
        os.close(slave)
        shown = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            shown += chunk
        os.close(master)
        return shown.decode(), process.wait()

    def progress_lines(self, shown):
        return [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", shown) if "%" in line]

    def test_progress_fits_every_width_and_keeps_its_figures(self):
        for columns in (48, 80, 120):
            with self.subTest(columns=columns):
                shown, status = self.watch(columns, f"out-{columns}")
                self.assertEqual(status, 0, shown)
                lines = self.progress_lines(shown)
                self.assertTrue(lines, shown)
                self.assertLess(max(map(len, lines)), columns)
                self.assertTrue(any("tok/s" in line for line in lines) or columns < 60, shown)
                self.assertEqual(any("\u2591" in line for line in lines), columns >= 80, shown)
                self.assertTrue(any(re.search(r"[1-9]\d* MB", line) for line in lines) or columns < 80, shown)
                self.assertIn("\x1b[32mdone", shown)
        for command in ("report", "metrics", "compare", "audit"):
            for columns in (60, 80, 100, 140):
                with self.subTest(command=command, columns=columns):
                    shown, status = self.on_terminal(columns, "stdout", command, "out-80")
                    self.assertEqual(status, 0, shown)
                    self.assertLessEqual(max(map(len, shown.splitlines())), min(columns, 100), shown)
                    self.assertIn({"compare": "memory", "audit": "rules"}.get(command, "Q_ret"), shown)

    def test_no_color_and_quiet(self):
        shown, status = self.watch(100, "plain", NO_COLOR="1")
        self.assertEqual(status, 0, shown)
        self.assertNotRegex(shown, r"\x1b\[[0-9;]*m")
        shown, status = self.watch(100, "quiet", "--quiet")
        self.assertEqual((shown, status), ("", 0))

    def test_plain_lines_without_a_terminal(self):
        tasks = {"rag": {"items": 2, "max_tokens": 8}}
        _, done = self.measure(harness.plan(harness.MODEL_ID, tasks=tasks, precisions=["int4"]))
        self.assertNotIn("\x1b", done.err)
        self.assertNotIn("\r", done.err)
        self.assertIn("at a glance", done.out)


if __name__ == "__main__":
    unittest.main()
