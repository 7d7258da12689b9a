"""What a computation on a device needs: memory of the arrays' owner, a stream, and launches.

Kernel modules get ndarrays whose memory is on the device; such an array is looked at (its shape,
strides and address), never read.  The space that it belongs to is a setting of the context.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .kernel import Kernel

_space: ContextVar = ContextVar("engine_cuda_space")
MOST_BLOCKS = 65535  # along the second and third axis of a grid


class Space(NamedTuple):
    """Where a call runs."""

    device: object  # a driver.Device, or what stands in for it in tests
    stream: int
    scratch: Callable  # (bytes) -> (address, what keeps it alive)


@contextmanager
def using(space: Space):
    """Run the kernels inside the ``with`` block there."""
    token = _space.set(space)
    try:
        yield
    finally:
        _space.reset(token)


def device():
    """The device of the space."""
    return _space.get().device


def address(array: np.ndarray | None) -> int:
    """Where an array is; 0 for none."""
    return 0 if array is None else array.__array_interface__["data"][0]


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
    """Start a kernel on the stream of the space; an empty grid is nothing to do."""
    grid = (*grid, 1, 1)[:3]
    if 0 in grid:
        return
    space = _space.get()
    space.device.launch(kernel, grid, args, space.stream)
