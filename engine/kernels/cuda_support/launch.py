"""What kernel modules launch is recorded, and then carried out for arrays wherever they are.

A kernel module gets ndarrays that are looked at (shape, strides and address), never read.  A call
like an earlier one needs neither checks nor the module: its launches are replayed with addresses
of the new arrays, which takes some microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import numpy as np

from .kernel import Kernel

_space: ContextVar = ContextVar("engine_cuda_space")
LEGACY_STREAM = 1  # the default stream, which waits for all others that do not ask to be apart
MOST_BLOCKS = 65535  # along the second and third axis of a grid
_PLACE = 56  # bits within one array of a recording; no address of a device is as large
_MIDDLE = 1 << _PLACE - 1  # where an array starts: strides may be negative


class Recorder:
    """Stands in for a device while a kernel module says what it would launch.

    Its arrays lie at addresses of their own, 2**56 apart, so that an argument of a kernel tells
    which array it points into, and where; scratch memory is one more such array.  It is also what
    a `DeviceArray` takes for its device: what NumPy's functions launch is recorded as well.
    """

    def __init__(self, device):
        self.device, self.ordinal = device, device.ordinal
        self.sizes: list[int] = []  # bytes of scratch
        self.free: list[int] = []  # which of it nobody uses any more
        self.launches: list[tuple] = []
        self.arrays = 0

    def place(self) -> int:
        """The address of one more array; the first is number 1."""
        self.arrays += 1
        return (self.arrays << _PLACE) + _MIDDLE

    def scratch(self, nbytes: int, stream=None):
        """An address, and what keeps that memory from being used again."""
        if self.free:
            number = min(self.free, key=lambda each: (self.sizes[each] < nbytes,
                                                      abs(self.sizes[each] - nbytes)))
            self.free.remove(number)
            self.sizes[number] = max(self.sizes[number], nbytes)
        else:
            number = len(self.sizes)
            self.sizes.append(nbytes)
        return (_SCRATCH + number + 1 << _PLACE) + _MIDDLE, _Room(self, number)

    def enter(self) -> None:
        """Nothing runs yet."""

    def launch(self, kernel, grid, args, stream=None) -> None:
        moving = [(i, value >> _PLACE, (value & (1 << _PLACE) - 1) - _MIDDLE)
                  for i, (value, kind) in enumerate(zip(args, kernel.parameters, strict=True))
                  if kind == "ADDRESS" and value >> _PLACE]
        self.launches.append((kernel, grid, list(args), moving))

    def replay(self) -> Replay:
        return Replay(self)


class _Room:
    """Scratch of a recording, for other work when nothing refers to this: launches are in order."""

    def __init__(self, recorder: Recorder, number: int):
        self.recorder, self.number = recorder, number

    def __del__(self):
        self.recorder.free.append(self.number)


_SCRATCH = 63  # scratch memory is counted from here


class Replay:
    """The launches of a computation, for arrays anywhere; the first time they are prepared."""

    def __init__(self, recorder: Recorder):
        def base(number):  # of the arrays, then of the scratch
            return number - 1 if number <= _SCRATCH else recorder.arrays + number - _SCRATCH - 1

        self.device, self.sizes = recorder.device, tuple(recorder.sizes)
        self.launches = [
            (kernel, grid, args, [(i, base(number), offset) for i, number, offset in moving])
            for kernel, grid, args, moving in recorder.launches]
        self.prepared = None

    def __call__(self, stream: int, addresses: list[int], scratch: Callable) -> None:
        """Launch them for arrays at these addresses, in the order of their recording."""
        kept = None
        if self.sizes:
            kept = [scratch(nbytes) for nbytes in self.sizes]
            addresses = [*addresses, *(address for address, _ in kept)]
        if self.prepared is None:
            self.prepared = [self.device.prepared(*each) for each in self.launches]
        for launch in self.prepared:
            launch(stream, addresses)


def patched(device, kernel, grid, args, moving) -> Callable:
    """A launch as a function of the stream and the addresses that arguments count from.

    `moving` lists them: (number of the argument, number of the address, bytes from there).
    """
    def launch(stream, addresses):
        filled = args.copy()
        for i, number, offset in moving:
            filled[i] = addresses[number] + offset
        device.launch(kernel, grid, filled, stream)

    return launch


@contextmanager
def recording(recorder: Recorder):
    """Let the kernel modules inside the ``with`` block launch into it."""
    token = _space.set(recorder)
    try:
        yield
    finally:
        _space.reset(token)


def recorder() -> Recorder:
    """What kernel modules launch into."""
    return _space.get()


def device():
    """The device that is recorded for."""
    return _space.get().device


def address(array: np.ndarray | None) -> int:
    """Where an array is; 0 for none."""
    if array is None:
        return 0
    return (array.__array_interface__["data"][0] if isinstance(array, np.ndarray)
            else array.address)


def scratch(count: int, itemsize: int):
    """The address of that many elements, and what keeps them alive."""
    return _space.get().scratch(max(count, 1) * itemsize)


def table(values: np.ndarray) -> int:
    """The address of a copy of a table on the device, which stays there."""
    return _table(device(), values.tobytes(), values.dtype.str)


@lru_cache(maxsize=4096)
def _table(where, data: bytes, dtype: str) -> int:
    return where.upload(np.frombuffer(data, dtype))


def launch(kernel: Kernel, grid: tuple[int, ...], *args) -> None:
    """Start a kernel; an empty grid is nothing to do."""
    grid = (*grid, 1, 1)[:3]
    if 0 not in grid:
        _space.get().launch(kernel, grid, args)
