"""Outputs and scratch: large buffers are reused once no array refers to them any more.

The first write to fresh memory costs a page fault for every 4 KiB, which for a large output can
take longer than its computation.  So outputs of 256 KiB and more are views of buffers that a pool
keeps; a buffer is handed out again only when the pool holds the last reference to it.  NumPy
keeps the buffer of a view as its ``base``, so as long as the output or any view of it lives, the
buffer has a second reference.  The pool never keeps more than was in use at one time, and at most
`CAP` bytes.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections.abc import Callable
from functools import cache, partial
from math import prod

import numpy as np

from engine import _check, _config
from engine._problem import channels_first, empty

POOLED = 1 << 18  # bytes from which an output comes from the pool
POOLED_SCRATCH = 1 << 16  # and scratch, of which one call at a time needs a piece or two
HUGE_PAGE = 1 << 21
ALIGNMENT = 64


def empty_output(shape: tuple[int, ...], dtype: np.dtype, order: str) -> np.ndarray:
    """A new array for kernels, with its memory in `order`, "nchw" or "nhwc"."""
    nbytes = prod(shape) * dtype.itemsize
    if nbytes < POOLED:
        return empty(shape, dtype, order)
    return _shaped(_pool.take(nbytes, "an output"), shape, dtype, order)


def scratch(shape: tuple[int, ...], dtype: np.dtype, order: str) -> np.ndarray:
    """As `empty_output`, within ENGINE_WORKSPACE_LIMIT."""
    return _shaped(workspace(prod(shape) * dtype.itemsize), shape, dtype, order)


def scratch_like(array, shape: tuple[int, ...], dtype: np.dtype, order: str):
    """As `scratch`; for an array of a device, there."""
    if isinstance(array, np.ndarray):
        return scratch(shape, dtype, order)
    if order == "nhwc":
        return channels_first(np.empty((shape[0], *shape[2:], shape[1]), dtype, like=array))
    return np.empty(shape, dtype, like=array)


def _shaped(buffer, shape, dtype, order):
    flat = buffer[: prod(shape) * dtype.itemsize].view(dtype)
    if order == "nhwc":
        return channels_first(flat.reshape(shape[0], *shape[2:], shape[1]))
    return flat.reshape(shape)


def output_maker(shape: tuple[int, ...], dtype: np.dtype, order: str) -> Callable:
    """What makes such an output again and again."""
    if prod(shape) * dtype.itemsize < POOLED and order == "nchw":
        return partial(np.empty, shape, dtype)
    return partial(empty_output, shape, dtype, order)


def workspace(nbytes: int) -> np.ndarray:
    """Scratch of `nbytes` bytes, 64-byte aligned, free again when the caller drops it.

    Raises
    ------
    MemoryError
        If that is more than ENGINE_WORKSPACE_LIMIT allows.
    """
    check_workspace(nbytes)
    if nbytes >= POOLED_SCRATCH:  # soon free again: a buffer far too large is as good as any
        return _pool.take(nbytes, "scratch", at_most=1 << 62)[:nbytes]
    return _aligned(nbytes)


def _aligned(nbytes: int) -> np.ndarray:
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


def check_workspace(nbytes: int) -> None:
    """Raise MemoryError for scratch of more bytes than ENGINE_WORKSPACE_LIMIT or than exist."""
    limit = _config.workspace_limit
    if limit is not None and nbytes > limit:
        raise _check.too_large("scratch", nbytes, limit, "ENGINE_WORKSPACE_LIMIT")
    if nbytes > _physical_memory():
        raise _check.too_large("scratch", nbytes, _physical_memory(), "the memory of this machine")


@cache
def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


class _Pool:
    """Buffers, those in use and those free to be used again."""

    def __init__(self):
        self.cap = min(1 << 30, _physical_memory() // 4)
        self.lock = threading.Lock()
        self.buffers = [np.empty(0, np.uint8)]  # most recently taken last
        self.alone = sys.getrefcount(self.buffers[0])  # what Python counts if nobody else holds it
        self.buffers.clear()
        self.most_in_use = 0

    def take(self, nbytes: int, what: str, at_most: int | None = None) -> np.ndarray:
        """A buffer of `nbytes` or somewhat more that nothing else refers to."""
        if nbytes > _physical_memory():
            raise _check.too_large(what, nbytes, _physical_memory(), "the memory of this machine")
        if not _exact_reference_counts():
            return _allocate(nbytes)
        with self.lock:
            place = self._best_fit(nbytes, 4 * nbytes if at_most is None else at_most)
            if place is None:
                buffer = self._add(nbytes)
            else:
                buffer = self.buffers.pop(place)
                self.buffers.append(buffer)
        return buffer

    def _best_fit(self, nbytes: int, at_most: int) -> int | None:
        """The place of the smallest free buffer of `nbytes` or more, but less than `at_most`."""
        best, best_size = None, at_most
        for place in reversed(range(len(self.buffers))):
            if nbytes <= self.buffers[place].size < best_size and self._is_free(place):
                best, best_size = place, self.buffers[place].size
        return best

    def _is_free(self, place: int) -> bool:
        return sys.getrefcount(self.buffers[place]) == self.alone

    def _add(self, nbytes: int) -> np.ndarray:
        """Allocate, and drop free buffers (oldest first) beyond what was ever in use at once."""
        buffer = _allocate(nbytes)
        free = [place for place in range(len(self.buffers)) if self._is_free(place)]
        total = buffer.size + sum(each.size for each in self.buffers)
        in_use = total - sum(self.buffers[place].size for place in free)
        self.most_in_use = max(self.most_in_use, in_use)
        keep = min(self.most_in_use, self.cap, _config.workspace_limit or self.cap)
        dropped = []
        for place in free:
            if total <= keep:
                break
            total -= self.buffers[place].size
            dropped.append(place)
        for place in reversed(dropped):
            del self.buffers[place]
        if total <= keep:
            self.buffers.append(buffer)
        return buffer


def _exact_reference_counts() -> bool:
    """Whether one thread can see that nobody else holds a reference: not without the GIL."""
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def _allocate(nbytes: int) -> np.ndarray:
    """Fresh pages, huge ones where the system grants them; not a view of another array.

    NumPy gives a view of a view the base of the latter, up to the first that is no array: here
    the map or memoryview, so that the references to the buffer itself count its views.
    """
    if not (hasattr(mmap, "MAP_ANONYMOUS") and hasattr(mmap, "MADV_HUGEPAGE")):
        return np.frombuffer(memoryview(_aligned(nbytes)), np.uint8)
    size = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    if size >= HUGE_PAGE:
        size = -(-nbytes // HUGE_PAGE) * HUGE_PAGE
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"engine: {nbytes} bytes cannot be allocated ({error})") from None
    pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)


_pool = _Pool()
if hasattr(os, "register_at_fork"):  # another thread may hold the lock while this one forks
    os.register_at_fork(after_in_child=lambda: setattr(_pool, "lock", threading.Lock()))
