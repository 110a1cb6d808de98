"""What the end-to-end tests share: the program, plans, tiny models, and a look into runs.

Tests drive the real program with the real model, or with one cut out of it (tiny_model) where the
answers do not matter. Everything a test writes lies in a directory of its own that goes away.
"""

import contextlib
import csv
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import unittest

import gguf

SOURCE = pathlib.Path(os.environ.get("EDGE_EVAL_SOURCE_DIR") or pathlib.Path(__file__).parents[2])
PROGRAM = os.environ.get("EDGE_EVAL") or str(SOURCE / "build" / "edge-eval")
CACHE = os.environ.get("EDGE_EVAL_CACHE") or str(SOURCE / ".cache")
DATA = os.environ.get("EDGE_EVAL_DATA") or str(SOURCE / "data")

MODEL_ID = "smollm2-135m-instruct"
MODEL = pathlib.Path(CACHE) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"

OK, FAILED, USAGE = 0, 1, 2

CSV_HEADER = (
    "run_id,variant_id,family,size,method,task,precision,engine,device,metric,profile,value,"
    "low,high,n,unit,label,reason"
).split(",")

# Long enough for a machine that is busy with other things.
PATIENCE_S = 240


def environment(**add):
    env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_EVAL")}
    return {**env, "EDGE_EVAL_CACHE": CACHE, "EDGE_EVAL_DATA": DATA, "LC_ALL": "C", **add}


class Outcome:
    """How the program ended: code, out, err, and seconds."""

    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def __repr__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Started:
    """The program in the background. Its stderr can be watched while it goes."""

    def __init__(self, args, cwd, env=None, before_exec=None):
        self.begun = time.monotonic()
        self.dir = tempfile.mkdtemp(prefix="edge-eval-io-")
        self.paths = [os.path.join(self.dir, name) for name in ("out", "err")]

        def prepare():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if before_exec:
                before_exec()

        with open(self.paths[0], "wb") as out, open(self.paths[1], "wb") as err:
            self.process = subprocess.Popen(
                args, cwd=cwd, env=env or environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                preexec_fn=prepare,
            )  # fmt: skip
        self.pid = self.process.pid

    def text(self, which):
        with open(self.paths[which], encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait(self, timeout=PATIENCE_S):
        try:
            code = self.process.wait(timeout)
            return Outcome(code, self.text(0), self.text(1), time.monotonic() - self.begun)
        finally:
            self.end()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def wait_for(self, text, timeout=PATIENCE_S):
        """Until stderr holds the text."""
        wait_until(lambda: text in self.text(1) or self.process.poll() is not None, f"stderr to say {text!r}", timeout)
        if text not in self.text(1):
            raise AssertionError(f"ended without saying {text!r}: {self.wait()}")

    def wait_for_worker(self, timeout=PATIENCE_S):
        """The pid of a worker that runs now."""
        found = []

        def look():
            found[:] = workers_of(self.pid)
            return found or self.process.poll() is not None

        wait_until(look, "a worker", timeout)
        if not found:
            raise AssertionError(f"ended without a worker: {self.wait()}")
        return found[0]


def wait_until(true, what, timeout, poll=0.005):
    end = time.monotonic() + timeout
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(poll)


@contextlib.contextmanager
def arrivals_stamped():
    """Linux begins to stamp what comes some milliseconds after somebody asks, and ends after the last: here it has begun."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as asking:
        asking.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS, which Python has no name for
        asking.settimeout(PATIENCE_S)
        asking.connect(listener.getsockname())
        with listener.accept()[0] as sending:

            def stamped():
                sending.sendall(b"x")
                return asking.recvmsg(100, 100)[1]

            wait_until(stamped, "arrival times", 30, poll=0)
            yield


def start(*args, cwd, env=None, before_exec=None, prefix=()):
    return Started([*prefix, PROGRAM, *map(str, args)], cwd, env, before_exec)


def edge_eval(*args, cwd, env=None, prefix=(), timeout=PATIENCE_S):
    return start(*args, cwd=cwd, env=env, prefix=prefix).wait(timeout)


# ---- processes


def stat_of(pid):
    """(state, parent) of a process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
        return fields[0], int(fields[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(pid):
    st = stat_of(pid)
    return st is not None and st[0] not in "ZX"


def workers_of(parent):
    """Children of a process that have become workers: past exec, not dead."""
    found = []
    for name in os.listdir("/proc"):
        st = stat_of(name) if name.isdigit() else None
        if st is None or st[1] != parent or st[0] in "ZX":
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{name}/cmdline", "rb") as f:
                if f.read().split(b"\0")[1:2] == [b"worker"]:
                    found.append(int(name))
    return found


# ---- models and plans

_tiny = {}


def tiny_model(directory, name="tiny.gguf", change=None):
    """Two layers and the first tokens of the default model: 10 MB, nonsense for answers.

    change(gguf) edits it before it is written.
    """
    if not MODEL.exists():
        raise unittest.SkipTest(f"the default model is not at {MODEL}: run make deps")
    if "model" not in _tiny:
        _tiny["model"] = gguf.shrink(gguf.Gguf.read(MODEL))
    model = _tiny["model"].copy()
    if change:
        change(model)
    return model.write(pathlib.Path(directory) / name)


def f16_model(directory, name="tiny-f16.gguf", source=None):
    """The tiny model in F16, which serves as it is and is quantized in one step."""
    path = pathlib.Path(directory) / name
    source = source or tiny_model(directory, name + ".source")
    done = edge_eval("quantize", source, path, "--type", "F16", "--threads", "1", cwd=directory)
    assert done.code == OK, done
    return path


def plan(model, **changes):
    """A plan that is done in seconds. Keys given replace whole entries; None removes one."""
    p = {
        "name": "test",
        "models": [model] if not isinstance(model, list) else model,
        "precisions": ["fp16", "int4"],
        "tasks": {"rag": {"items": 3, "max_tokens": 6}},
        "serve": {"concurrency": 2},
        "load": {"warm": 1, "cold": 0},
        "engine": {"threads": 1},
        "energy": {"idle_s": 0},
        "score": {"primary": "text"},
    }
    p.update(changes)
    return {k: v for k, v in p.items() if v is not None}


def make_certificate(cert, key, names="IP:127.0.0.1"):
    """A self-signed one for these names; needs openssl."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", f"subjectAltName={names}", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip


def write_plan(directory, content, name="plan.yaml"):
    """JSON is YAML; a string is written as it is."""
    path = pathlib.Path(directory) / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


# ---- runs


class Run:
    """A run directory, read while nobody writes to it."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def rows(self, sql, *args):
        # A copy, because a reader of the real one would finish what a killed writer left.
        with tempfile.TemporaryDirectory(prefix="edge-eval-db-") as copy:
            for name in ("run.db", "run.db-wal"):
                if (self.path / name).exists():
                    shutil.copy(self.path / name, copy)
            with contextlib.closing(sqlite3.connect(os.path.join(copy, "run.db"))) as db:
                return db.execute(sql, args).fetchall()

    def stages(self, columns="title, status"):
        return self.rows(f"SELECT {columns} FROM stage ORDER BY stage_id")

    def done(self):
        """What identifies each finished stage: it must never be done again."""
        return set(self.rows("SELECT key, stage_id, started_utc, wall_s FROM stage WHERE status = 'done'"))

    def failures(self):
        """title -> (error code, error)"""
        return {t: (c, e) for t, c, e in self.rows("SELECT title, error_code, error FROM stage WHERE status = 'failed'")}

    def answers(self):
        return self.rows(
            "SELECT variant_id, repeat, ordinal, item_id, status, finish, prompt_tokens, output_tokens, text"
            " FROM request JOIN variant_stage USING (stage_id) ORDER BY 1, 2, 3"
        )

    def scores(self):
        return self.rows(
            "SELECT variant_id, item_id, pass, scorer, value, is_primary"
            " FROM score JOIN variant_stage USING (stage_id) ORDER BY 1, 2, 3, 4"
        )

    def metrics(self):
        with open(self.path / "metrics.csv", newline="", encoding="utf-8") as f:
            return list(csv.DictReader(f))


class Case(unittest.TestCase):
    """A test with a directory, and words for what the program should do."""

    maxDiff = None

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="edge-eval-test-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def edge_eval(self, *args, code=OK, **more):
        done = edge_eval(*args, cwd=more.pop("cwd", self.dir), **more)
        self.assertEqual(done.code, code, done)
        return done

    def start(self, *args, **more):
        started = start(*args, cwd=more.pop("cwd", self.dir), **more)
        self.addCleanup(started.end)
        return started

    def measure(self, content, out="out", code=OK, **more):
        """Runs a plan; the run and how it ended."""
        path = write_plan(self.dir, content)
        done = self.edge_eval("run", path, "--out", out, code=code, **more)
        return Run(self.dir / out), done

    def resume(self, out="out", code=OK, **more):
        done = self.edge_eval("run", "--resume", out, code=code, **more)
        return Run(self.dir / out), done

    def kill_after(self, going, seconds):
        """SIGKILL to the parent alone, that long from now; its workers must follow it.

        Whether it was still going.
        """
        workers = set()
        end = time.monotonic() + seconds
        while time.monotonic() < end and going.process.poll() is None:
            workers.update(workers_of(going.pid))
            time.sleep(min(0.02, max(0, end - time.monotonic())))
        workers.update(workers_of(going.pid))
        going.process.kill()
        killed = going.process.wait() == -signal.SIGKILL
        wait_until(lambda: not any(map(is_alive, workers)), f"workers {workers} to die with their parent", 10)
        return killed

    def assertSays(self, text, *parts):
        for part in parts:
            self.assertIn(part, text)

    def assertAllDone(self, run):
        """Every stage that a variant uses; what failed under other inputs stays as history."""
        rows = run.rows("SELECT variant_id, title, status, error FROM stage JOIN variant_stage USING (stage_id)")
        self.assertEqual({status for _, _, status, _ in rows}, {"done"}, rows)
        self.assertEqual({v for v, *_ in rows}, {v for (v,) in run.rows("SELECT variant_id FROM variant")})

    def assertSameResults(self, a, b):
        self.assertEqual(a.answers(), b.answers())
        self.assertEqual(a.scores(), b.scores())

    def assertCountersHold(self, err):
        """"3/12" at the start of progress lines: counts up by one, and never past the total."""
        counters = [line.split()[0].split("/") for line in err.splitlines() if line[:1] == " " and "/" in line[:8]]
        self.assertTrue(counters, err)
        self.assertEqual([int(i) for i, _ in counters], list(range(1, len(counters) + 1)), err)
        self.assertLessEqual(len(counters), int(counters[-1][1]), err)


# ---- what only some machines allow


def mount_namespace():
    """A command prefix under which mounting is allowed and seen by nobody else."""
    for prefix in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        with contextlib.suppress(FileNotFoundError):
            trial = [*prefix, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
            if subprocess.run(trial, stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return prefix
    raise unittest.SkipTest("mounting is not allowed here (neither as root nor in a user namespace)")


def in_mount_namespace(script, cwd, *args, timeout=PATIENCE_S):
    """Runs a shell script that may mount; $EE is the program, $1... the args."""
    prefix = mount_namespace()
    command = [*prefix, "sh", "-euc", script, "sh", *map(str, args)]
    return Started(command, cwd, environment(EE=PROGRAM)).wait(timeout)


@contextlib.contextmanager
def memory_limit(n_bytes):
    """A control group below our own with so much memory: a function that puts the caller in it."""
    own = {}
    with open("/proc/self/cgroup", encoding="utf-8") as f:
        for line in f:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for c in controllers.split(","):
                own[c] = path.lstrip("/")
    choices = []
    if "memory" in own:
        choices.append((pathlib.Path("/sys/fs/cgroup/memory") / own["memory"], "memory.limit_in_bytes"))
    if "" in own:
        choices.append((pathlib.Path("/sys/fs/cgroup") / own[""], "memory.max"))
    for parent, limit in choices:
        group = parent / f"edge-eval-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if not (group / limit).exists():
                continue  # the controller is not passed on to children
            (group / limit).write_text(str(n_bytes))
            if (group / "memory.swap.max").exists():
                (group / "memory.swap.max").write_text("0")
            yield lambda group=group: (group / "cgroup.procs").write_text(str(os.getpid()))
            return
        finally:
            wait_until(lambda group=group: _removed(group), f"{group} to be empty", 30)
    raise unittest.SkipTest("no control group with a memory limit can be made here")


def _removed(group):
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
