"""Run a kernel without a GPU: all threads of all blocks in step, each value a NumPy array.

Shared memory starts as NaN (or a large number), and between two barriers no element may be written
by one thread and read or written by another: `Race` says where that happens.  Global memory is that
of the registered arrays; an address outside of them is an `Astray`.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from bisect import bisect_right
from collections import Counter

import numpy as np

from .launch import patched

_NOBODY, _SEVERAL = -1, -2
_local = threading.local()


class Race(AssertionError):
    """Two threads met in shared memory without a barrier between them."""


class Astray(AssertionError):
    """An address outside every array."""


def machine() -> Machine:
    """The machine that this thread of Python is running a kernel on."""
    return _local.machine


class Memory:
    """The arrays that kernels may touch, by address."""

    def __init__(self):
        self.starts: list[int] = []
        self.arrays: list[np.ndarray] = []

    def register(self, array: np.ndarray) -> int:
        """Let kernels touch the whole buffer behind an array; returns the array's address."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if owner.nbytes:
            low, high = np.lib.array_utils.byte_bounds(owner)
            buffer = (ctypes.c_uint8 * (high - low)).from_address(low)
            buffer.owner = owner  # keep it alive
            raw = np.frombuffer(buffer, np.uint8)
            place = bisect_right(self.starts, low)
            if not (place and self.starts[place - 1] == low):
                self.starts.insert(place, low)
                self.arrays.insert(place, raw)
            else:
                self.arrays[place - 1] = raw
        return array.__array_interface__["data"][0]

    def find(self, dtype, address, index, condition):
        """The array that holds these elements as a flat one, and their places in it."""
        index, condition = np.broadcast_arrays(np.asarray(index, np.int64), condition)
        address = int(address)
        place = bisect_right(self.starts, address) - 1
        if not condition.any():
            return np.zeros(1, dtype), np.zeros(index.shape, np.int64), condition
        if place < 0:
            raise Astray(f"no array at {address:#x}")
        start, raw = self.starts[place], self.arrays[place]
        first = (address - start) // dtype.itemsize
        skip = (address - start) % dtype.itemsize
        flat = raw[skip : skip + (raw.size - skip) // dtype.itemsize * dtype.itemsize].view(dtype)
        where = np.where(condition, index + first, 0)
        if where.min() < 0 or where.max() >= flat.size:
            raise Astray(f"elements {where.min() - first} to {where.max() - first} of an array "
                         f"with {flat.size - first}")
        return flat, where, condition


class Machine:
    """One launch of a kernel: its grid, the memory, and what happened."""

    def __init__(self, grid: tuple[int, int, int], threads: int, memory: Memory,
                 without_barrier: int | None = None):
        index = np.arange(int(np.prod(grid)), dtype=np.int64).reshape(-1, 1)
        self.blocks = (index % grid[0], index // grid[0] % grid[1], index // (grid[0] * grid[1]))
        self.threads = np.arange(threads, dtype=np.int64).reshape(1, -1)
        self.memory = memory
        self.without_barrier = without_barrier  # the line of a barrier to leave out
        self.barriers: Counter[int] = Counter()  # how often each was passed, by line
        self.shareds: list[Shared] = []

    def run(self, function, *args) -> None:
        """Carry out the kernel."""
        _local.machine = self
        with np.errstate(all="ignore"):
            function(*args)

    def barrier(self) -> None:
        line = sys._getframe(3).f_lineno  # of the kernel: meaning, Intrinsic.__call__, kernel
        self.barriers[line] += 1
        if line != self.without_barrier:
            for each in self.shareds:
                each.settle()

    def load(self, dtype, address, index, condition):
        flat, where, condition = self.memory.find(dtype, address, index, condition)
        return np.where(condition, flat[where], np.zeros((), dtype))

    def store(self, dtype, address, index, value, condition) -> None:
        flat, where, condition = self.memory.find(dtype, address, index, condition)
        value = np.broadcast_to(value, where.shape)[condition]
        flat[where[condition]] = value.astype(dtype)

    def shared(self, dtype: str, count: int) -> Shared:
        memory = Shared(self, np.dtype(dtype), count)
        self.shareds.append(memory)
        return memory


class Shared:
    """Shared memory of every block, with who touched what since the last barrier."""

    def __init__(self, machine: Machine, dtype: np.dtype, count: int):
        blocks = len(machine.blocks[0])
        poison = np.nan if dtype.kind == "f" else np.iinfo(dtype).max
        self.machine, self.count = machine, count
        self.first = np.arange(blocks)[:, None] * count
        self.values = np.full(blocks * count, poison, dtype)
        self.writer = np.full(blocks * count, _NOBODY, np.int32)
        self.reader = np.full(blocks * count, _NOBODY, np.int32)
        self.is_read = self.is_written = False  # since the last barrier

    def settle(self) -> None:
        if self.is_written:
            self.writer.fill(_NOBODY)
        if self.is_read:
            self.reader.fill(_NOBODY)
        self.is_read = self.is_written = False

    def _place(self, index, *more):
        """Element and thread of every access."""
        index = np.asarray(index)
        if index.size and not 0 <= index.min() <= index.max() < self.count:
            raise Astray(f"elements {index.min()} to {index.max()} of shared memory with "
                         f"{self.count}")
        return np.broadcast_arrays(self.first + index, self.machine.threads, *more)

    def load(self, index):
        place, thread = self._place(index)
        if self.is_written:
            writer = self.writer[place]
            if ((writer != _NOBODY) & (writer != thread)).any():
                raise Race("shared memory is read before a barrier, where another thread writes")
        shared = self.is_read and (before := self.reader[place]) != thread
        self.reader[place] = thread
        several = self.reader[place] != thread  # of new readers the last is noted
        if self.is_read:
            several |= shared & (before != _NOBODY)
        self.reader[place[several]] = _SEVERAL
        self.is_read = True
        return self.values[place]

    def store(self, index, value) -> None:
        place, thread, value = self._place(index, value)
        for touched, who in ((self.is_read, self.reader), (self.is_written, self.writer)):
            met = who[place] if touched else thread
            if ((met != _NOBODY) & (met != thread)).any():
                raise Race("shared memory is written before a barrier, where another thread "
                           "reads or writes")
        self.writer[place] = thread
        self.is_written = True
        if (self.writer[place] != thread).any():
            raise Race("two threads write the same element of shared memory")
        self.values[place] = value


class Device:
    """Stands in for a GPU: addresses are those of NumPy arrays, which must be registered."""

    target, ordinal = "emulated", 0

    def __init__(self):
        self.memory = Memory()
        self.kept: list[np.ndarray] = []  # what was uploaded
        self.launches: Counter[str] = Counter()  # by kernel
        self.without_barrier: int | None = None
        self.barriers: Counter[int] = Counter()  # of the last launch

    def upload(self, array: np.ndarray) -> int:
        self.kept.append(array.copy())
        return self.memory.register(self.kept[-1])

    def scratch(self, nbytes: int, stream: int = 0):
        """Memory that is all NaN, and what keeps it alive."""
        array = np.full(-(-nbytes // 8), np.nan)
        return self.memory.register(array), array

    def enter(self) -> None:
        """There are no contexts."""

    def wait(self, stream: int, other: int) -> None:
        """Everything is done at once."""

    def copy_in(self, address: int, array: np.ndarray, stream: int) -> None:
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def copy_out(self, array: np.ndarray, address: int, stream: int) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def prepared(self, kernel, grid, args, moving):
        return patched(self, kernel, grid, args, moving)

    def launch(self, kernel, grid, args, stream) -> None:
        machine = Machine(grid, kernel.threads, self.memory, self.without_barrier)
        machine.run(kernel.function, *args)
        self.launches[kernel.name] += 1
        self.barriers = machine.barriers
