"""A small thread pool, and scratch memory that each thread keeps.

Numba's own threading layers are not used: workqueue aborts on concurrent calls, OpenMP breaks
after fork.  Kernels release the GIL, so Python threads that pull task numbers from one counter
do the same job and have neither problem.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from engine import _config, _memory

from . import subnormal

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_local = threading.local()


def num_threads() -> int:
    """Threads one call may use, its caller included."""
    return _config.num_threads()


def run(tasks: int, work, threads: int, subnormals: bool = False) -> None:
    """Call ``work(first, last)`` until every task in range(tasks) was covered exactly once.

    Which thread gets which tasks is left to chance, so a task's result must not depend on it.
    Subnormal numbers are zeros there, unless ``subnormals`` says that they matter.
    """
    threads = min(threads, tasks)
    mode = contextlib.nullcontext if subnormals else subnormal.as_zeros
    if threads <= 1:
        with mode():
            if tasks:
                work(0, tasks)
        return
    step = max(1, tasks // (threads * 4))
    starts = iter(range(0, tasks, step))  # next() on it is atomic under the GIL

    def pull():
        with mode():
            for start in starts:
                work(start, min(start + step, tasks))

    helpers = _submit(pull, threads - 1)
    try:
        pull()
    finally:
        started = [helper for helper in helpers if not helper.cancel()]
        errors = [helper.exception() for helper in started]
    for error in errors:
        if error is not None:
            raise error


def _submit(work, count):
    """Start ``work`` on ``count`` helper threads; fewer if the interpreter is shutting down."""
    global _pool, _pool_size
    helpers = []
    with _lock:
        try:
            if _pool_size < count:
                # The old pool's idle threads leave once their last work is done.
                if _pool is not None:
                    _pool.shutdown(wait=False)
                _pool = ThreadPoolExecutor(count, thread_name_prefix="engine")
                _pool_size = count
            for _ in itertools.repeat(None, count):
                helpers.append(_pool.submit(work))
        except RuntimeError:
            pass
    return helpers


def _forget_pool():
    """A forked child has none of its parent's threads, and perhaps a lock held by one of them."""
    global _pool, _pool_size, _lock
    _pool, _pool_size, _lock = None, 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def scratch(name: str, size: int, dtype) -> np.ndarray:
    """This thread's 1-D buffer of that name, at least ``size`` long, contents undefined.

    Raises
    ------
    MemoryError
        If that is more than ENGINE_WORKSPACE_LIMIT allows.
    """
    kept = _local.__dict__.setdefault("buffers", {})
    key = (name, dtype)
    buffer = kept.get(key)
    if buffer is None or buffer.size < size:
        dtype = np.dtype(dtype)
        kept[key] = None  # so that it can be used again
        kept[key] = buffer = _memory.workspace(size * dtype.itemsize).view(dtype)
    return buffer
