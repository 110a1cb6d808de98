"""Reads, edits and writes GGUF files: enough to derive small and damaged models from a real one."""

import math
import mmap
import struct

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32

STRING, ARRAY, BOOL = 8, 9, 7
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
UINT32, INT32, FLOAT32 = 4, 5, 6

# type id: (weights in a block, bytes in a block)
F32, F16, Q4_0, Q4_1, Q8_0, BF16 = 0, 1, 2, 3, 8, 30
BLOCKS = {F32: (1, 4), F16: (1, 2), BF16: (1, 2), Q4_0: (32, 18), Q4_1: (32, 20), Q8_0: (32, 34)}


class Tensor:
    """name, dims (fastest first), type id, and the bytes."""

    def __init__(self, name, dims, type_id, data):
        self.name, self.dims, self.type_id, self.data = name, tuple(dims), type_id, data

    @property
    def row_bytes(self):
        weights, size = BLOCKS[self.type_id]
        return self.dims[0] // weights * size


class Gguf:
    """A file as an ordered dict of key -> (type, value), and a list of tensors.

    The value of an array is (item type, list).
    """

    def __init__(self):
        self.kv = {}
        self.tensors = []

    def copy(self):
        """Another one to edit; values and tensors are shared until they are replaced."""
        other = Gguf()
        other.kv = dict(self.kv)
        other.tensors = list(self.tensors)
        return other

    def set(self, key, type_id, value):
        self.kv[key] = (type_id, value)

    def set_array(self, key, item_type, values):
        self.kv[key] = (ARRAY, (item_type, values))

    def array(self, key):
        return self.kv[key][1][1]

    @classmethod
    def read(cls, path):
        with open(path, "rb") as f:
            return _Reader(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)).file(cls())

    def header(self):
        """The bytes before the tensor data, as if all data were there."""
        out = bytearray(MAGIC + struct.pack("<IQQ", VERSION, len(self.tensors), len(self.kv)))
        for key, (type_id, value) in self.kv.items():
            out += _string(key) + struct.pack("<I", type_id) + _value(type_id, value)
        offset = 0
        for t in self.tensors:
            out += _string(t.name) + struct.pack("<I", len(t.dims))
            out += struct.pack(f"<{len(t.dims)}Q", *t.dims) + struct.pack("<IQ", t.type_id, offset % (1 << 64))
            offset += _padded(math.prod(t.dims[1:]) * t.row_bytes)
        return bytes(out + bytes(-len(out) % ALIGNMENT))

    def write(self, path):
        with open(path, "wb") as f:
            f.write(self.header())
            for t in self.tensors:
                f.write(t.data)
                f.write(bytes(-len(t.data) % ALIGNMENT))
        return path


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        values = struct.unpack_from(fmt, self.data, self.at)
        self.at += struct.calcsize(fmt)
        return values[0] if len(values) == 1 else values

    def string(self):
        n = self.take("<Q")
        self.at += n
        return bytes(self.data[self.at - n : self.at])

    def value(self, type_id):
        if type_id == STRING:
            return self.string()
        if type_id == ARRAY:
            item, n = self.take("<IQ")
            return item, [self.value(item) for _ in range(n)]
        return self.take(SCALARS[type_id])

    def file(self, out):
        magic, version, n_tensors, n_kv = self.take("<4sIQQ")
        assert magic == MAGIC and version == VERSION, (magic, version)
        for _ in range(n_kv):
            key = self.string().decode()
            type_id = self.take("<I")
            out.kv[key] = (type_id, self.value(type_id))
        infos = []
        for _ in range(n_tensors):
            name = self.string().decode()
            dims = [self.take("<Q") for _ in range(self.take("<I"))]
            infos.append((name, dims, *self.take("<IQ")))
        base = _padded(self.at)
        for name, dims, type_id, offset in infos:
            t = Tensor(name, dims, type_id, b"")
            size = math.prod(dims[1:]) * t.row_bytes
            t.data = self.data[base + offset : base + offset + size]
            out.tensors.append(t)
        return out


def _padded(n):
    return n + -n % ALIGNMENT


def _string(s):
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(type_id, value):
    if type_id == STRING:
        return _string(value)
    if type_id == ARRAY:
        item, values = value
        return struct.pack("<IQ", item, len(values)) + b"".join(_value(item, v) for v in values)
    return struct.pack(SCALARS[type_id], value)


def shrink(model, n_layers=2, n_tokens=8192):
    """A model with the first layers and the first tokens of one with byte-level BPE.

    It answers nonsense, deterministically, through the same code as a whole model.
    """
    small = model.copy()
    small.tensors = []
    arch = model.kv["general.architecture"][1].decode()
    small.set(f"{arch}.block_count", UINT32, n_layers)
    if f"{arch}.vocab_size" in small.kv:
        small.set(f"{arch}.vocab_size", UINT32, n_tokens)
    for key in ("tokens", "token_type", "scores"):
        key = f"tokenizer.ggml.{key}"
        if key in small.kv:
            item = small.kv[key][1][0]
            small.set_array(key, item, model.array(key)[:n_tokens])
    kept = set(small.array("tokenizer.ggml.tokens"))
    merges = model.array("tokenizer.ggml.merges")
    small.set_array("tokenizer.ggml.merges", STRING, [m for m in merges if m.replace(b" ", b"", 1) in kept])
    for t in model.tensors:
        if t.name.startswith("blk.") and int(t.name.split(".")[1]) >= n_layers:
            continue
        if t.name in ("token_embd.weight", "output.weight"):
            t = Tensor(t.name, (t.dims[0], n_tokens), t.type_id, t.data[: n_tokens * t.row_bytes])
        small.tensors.append(t)
    return small
