"""Where the intermediate results of a compiled model are: those that never live together share."""

from __future__ import annotations

import math

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class Value:
    """A result, images (N, C, H, W) or rows (N, features): it has memory, or is part of another."""

    def __init__(self, shape, base: Value | None = None, view=None, flattened=None):
        self.shape, self.base, self.view = tuple(shape), base, view
        self.flattened = flattened  # (C, H, W) of images whose features are in memory's own order
        self._array: np.ndarray | None = None

    @property
    def root(self) -> Value:
        return self if self.base is None else self.base.root

    @property
    def array(self) -> np.ndarray:
        return self._array if self.base is None else self.view(self.base.array)

    def allocate(self, memory: np.ndarray, dtype, order: str) -> None:
        flat = memory[:math.prod(self.shape) * dtype.itemsize].view(dtype)
        if order == "NHWC" and len(self.shape) > 2:
            n, c, *size = self.shape
            self._array = np.moveaxis(flat.reshape(n, *size, c), -1, 1)
        else:
            self._array = flat.reshape(self.shape)


def place(steps, first: Value, last: Value, dtype, order: str) -> int:
    """Give memory to all values of the steps, pairs of inputs and output; the bytes in all.

    Greedy, in the order of first use: each value takes the lowest place that is free while it
    lives.
    """
    dies = {first.root: 0}
    born = {first.root: -1}
    for time, (inputs, out) in enumerate(steps):
        for value in (*inputs, out):
            born.setdefault(value.root, time)
            dies[value.root] = time
    dies[last.root] = dies[first.root] = len(steps)  # x is what the user fills in
    placed: list[tuple[int, int, Value]] = []  # begin, end, whose
    for value in sorted(born, key=born.get):
        size = -(-math.prod(value.shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        begin = 0
        for other_begin, other_end, other in placed:
            if dies[other] >= born[value] and other_begin < begin + size and begin < other_end:
                begin = other_end
        placed.append((begin, begin + size, value))
        placed.sort(key=lambda piece: piece[0])
    total = max(end for _, end, _ in placed)
    memory = _aligned(total)
    for begin, _end, value in placed:
        value.allocate(memory[begin:], dtype, order)
    return total


def _aligned(nbytes: int) -> np.ndarray:
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start:start + nbytes]
