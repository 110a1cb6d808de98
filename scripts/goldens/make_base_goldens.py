#!/usr/bin/env python3
"""Writes tests/goldens/base/*.jsonl: what src/base must compute, from somewhere else.

    python3 -m venv /tmp/goldens
    /tmp/goldens/bin/pip install xxhash==3.5.0
    /tmp/goldens/bin/python scripts/goldens/make_base_goldens.py

rng.jsonl   SplitMix64 and xoshiro256** written here from the papers' definitions, and checked
            against published outputs of the authors' C code before anything is written
hash.jsonl  XXH3 with 128 bits of python-xxhash, over lengths on both sides of each of its branches

The first line of each file tells where it comes from. Numbers of 64 bits are hexadecimal text,
because JSON readers differ past 2^53.
"""

import datetime
import json
import pathlib
import platform

import xxhash

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "base"
MASK = (1 << 64) - 1


def splitmix64(x):
    """The next state and output."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    z = x
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return x, z ^ (z >> 31)


class Xoshiro256StarStar:
    def __init__(self, state):
        self.s = list(state)

    @classmethod
    def seeded(cls, seed):
        state = []
        for _ in range(4):
            seed, out = splitmix64(seed)
            state.append(out)
        return cls(state)

    def next(self):
        def rotl(x, k):
            return (x << k | x >> (64 - k)) & MASK

        s0, s1, s2, s3 = self.s
        result = rotl(s1 * 5 & MASK, 7) * 9 & MASK
        t = s1 << 17 & MASK
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= t
        s3 = rotl(s3, 45)
        self.s = [s0, s1, s2, s3]
        return result

    def below(self, n):
        """Lemire's survey calls this the OpenBSD algorithm: the shortest tail is drawn again."""
        while True:
            x = self.next()
            if x >= (1 << 64) % n:
                return x % n


def check_published():
    x, got = 1234567, []
    for _ in range(5):
        x, out = splitmix64(x)
        got.append(out)
    assert got == [
        6457827717110365317, 3203168211198807973, 9817491932198370423,
        4593380528125082431, 16408922859458223821,
    ], got
    r = Xoshiro256StarStar([1, 2, 3, 4])
    assert [r.next() for _ in range(10)] == [
        11520, 0, 1509978240, 1215971899390074240, 1216172134540287360,
        607988272756665600, 16172922978634559625, 8476171486693032832,
        10595114339597558777, 2904607092377533576,
    ]


def hexed(values):
    return [f"{v:x}" for v in values]


def rng_goldens():
    seeds = [0, 1, 2, 42, 0xDEADBEEF, 1 << 32, 1 << 63, MASK]
    for seed in seeds:
        r = Xoshiro256StarStar.seeded(seed)
        values = [r.next() for _ in range(1000)]
        yield {"kind": "u64", "seed": f"{seed:x}", "first": hexed(values[:16]), "at_1000": f"{values[-1]:x}"}
    for seed in seeds[:4]:
        r = Xoshiro256StarStar.seeded(seed)
        # Exact in binary64, so that the text holds all of it.
        yield {"kind": "uniform", "seed": f"{seed:x}", "first": [(r.next() >> 11) * 2.0**-53 for _ in range(16)]}
    # Just over 2^63 every second draw is rejected; 1 and powers of two reject none.
    for n in [1, 2, 3, 10, 1000, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, MASK]:
        r = Xoshiro256StarStar.seeded(7)
        yield {"kind": "below", "seed": "7", "n": f"{n:x}", "first": hexed(r.below(n) for _ in range(16))}
    # A stream starts from the seed's first SplitMix64 output with the stream's number mixed in.
    for seed, stream in [(0, 0), (0, 1), (1, 0), (5, 5), (42, MASK)]:
        r = Xoshiro256StarStar.seeded(splitmix64(seed)[1] ^ stream)
        yield {
            "kind": "stream", "seed": f"{seed:x}", "stream": f"{stream:x}",
            "first": hexed(r.next() for _ in range(4)),
        }


def pattern(n):
    return bytes((i * 167 + (i >> 8) * 13) & 255 for i in range(n))


def hash_goldens():
    lengths = [0, 1, 3, 4, 8, 9, 15, 16, 17, 32, 33, 64, 65, 96, 97, 128, 129, 192, 240, 241, 255, 256, 257,
               511, 512, 513, 1023, 1024, 1025, 4096, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 * (1 << 20) + 5]
    for n in lengths:
        yield {"len": n, "hash": xxhash.xxh3_128_hexdigest(pattern(n))}


def write(name, origin, rows):
    origin = {**origin, "script": "scripts/goldens/make_base_goldens.py", "date": datetime.date.today().isoformat()}
    with open(OUT / name, "w", encoding="utf-8") as f:
        for row in [{"origin": origin}, *rows]:
            f.write(json.dumps(row, separators=(",", ":")) + "\n")


def main():
    check_published()
    OUT.mkdir(parents=True, exist_ok=True)
    write("rng.jsonl", {"package": "python", "version": platform.python_version(),
                        "functions": "SplitMix64 and xoshiro256** as defined in the script"}, rng_goldens())
    write("hash.jsonl", {"package": "xxhash", "version": f"{xxhash.VERSION} (xxHash {xxhash.XXHASH_VERSION})",
                         "functions": "xxh3_128_hexdigest"}, hash_goldens())


if __name__ == "__main__":
    main()
