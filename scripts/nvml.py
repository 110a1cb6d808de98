"""NVIDIA's driver library, for the scripts that prove and time things on real GPUs: energy counters and memory,
read over and over beside what is measured."""

import bisect
import ctypes
import threading
import time

POLL_S = 0.01  # the counter moves every 100 ms: seen soon after it did
LAST_STEP_S = 0.3  # one step of the counter after what was measured, so that its end lies between two


class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class Driver:
    def __init__(self):
        self.nvml = ctypes.CDLL("libnvidia-ml.so.1")
        self.call("nvmlInit_v2")

    def call(self, function, *args):
        rc = getattr(self.nvml, function)(*args)
        if rc != 0:
            raise SystemExit(f"NVML: {function}: error {rc}")

    def gpu(self, uuid=None):
        """The GPU of that UUID; without one the first."""
        handle = ctypes.c_void_p()
        if uuid:
            self.call("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(handle))
        else:
            self.call("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(handle))
        return handle

    def text(self, function, *first):
        out = ctypes.create_string_buffer(96)
        self.call(function, *first, out, 96)
        return out.value.decode()

    def joules(self, gpu):
        mj = ctypes.c_ulonglong()
        self.call("nvmlDeviceGetTotalEnergyConsumption", gpu, ctypes.byref(mj))
        return mj.value / 1e3

    def used_bytes(self, gpu):
        memory = Memory()
        self.call("nvmlDeviceGetMemoryInfo", gpu, ctypes.byref(memory))
        return memory.used


class Counters:
    """The energy counters of some GPUs (name to handle), read in a thread of their own; with memory also what
    the GPUs have in use, before and at most."""

    def __init__(self, driver, gpus, memory=False):
        self.driver, self.gpus, self.memory = driver, gpus, memory
        self.times = {name: [] for name in gpus}
        self.joules = {name: [] for name in gpus}
        self.used_before = {name: driver.used_bytes(gpu) for name, gpu in gpus.items()} if memory else {}
        self.used_most = dict(self.used_before)
        self.failed = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.poll)

    def poll(self):
        try:
            while not self.stop.is_set():
                for name, gpu in self.gpus.items():
                    self.look(name, gpu)
                self.stop.wait(POLL_S)
        except SystemExit as e:
            self.failed = e

    def look(self, name, gpu):
        before = time.monotonic()
        joules = self.driver.joules(gpu)
        if not self.joules[name] or joules != self.joules[name][-1]:
            self.times[name].append((before + time.monotonic()) / 2)
            self.joules[name].append(joules)
        if self.memory:
            self.used_most[name] = max(self.used_most[name], self.driver.used_bytes(gpu))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        time.sleep(LAST_STEP_S)
        self.stop.set()
        self.thread.join()
        if self.failed:
            raise self.failed

    def at(self, name, t):
        """Joules at a moment, on the line between the counter's steps around it; None where there are none."""
        times, joules = self.times[name], self.joules[name]
        i = bisect.bisect_left(times, t)
        if i == 0 or i == len(times):
            return None
        share = (t - times[i - 1]) / (times[i] - times[i - 1])
        return joules[i - 1] + share * (joules[i] - joules[i - 1])

    def between(self, name, start, end):
        a, b = self.at(name, start), self.at(name, end)
        return None if a is None or b is None else b - a
