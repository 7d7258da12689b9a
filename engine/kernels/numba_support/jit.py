"""Compiling: ``@kernel`` for what Python calls, ``@inline`` for what kernels call.

A kernel takes 4-D arrays of any strides, so that a contiguous and a transposed argument share one
specialisation; 1-D arrays are contiguous.  Machine code is kept on disk (``cache``).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
import time
from typing import NamedTuple

import numba
import numpy as np
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock

from . import cache

_PATIENCE = 1.0  # seconds of compiling before a line on stderr says so
_OPTIONS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
inline = numba.njit(**_OPTIONS, no_cpython_wrapper=True)


class Made(NamedTuple):
    """How this process came by a specialisation of a kernel."""

    kernel: str
    dtype: str  # of its first array
    compiled: bool  # or loaded from the cache
    kept: bool  # in the cache
    seconds: float


kernels: list[Kernel] = []  # of all modules imported
made: list[Made] = []  # in the order of their first calls

if hasattr(os, "register_at_fork"):  # a child would wait for its parent's compiler for ever
    os.register_at_fork(before=global_compiler_lock.acquire,
                        after_in_parent=global_compiler_lock.release,
                        after_in_child=global_compiler_lock.release)


def kernel(writes: str):
    """Decorator: compile a function on its first call for each combination of dtypes.

    ``writes`` names the array arguments that are written; all others may be read-only.
    """
    return lambda function: Kernel(function, frozenset(writes.split()))


class Kernel:
    """A compiled function that releases the GIL and is safe to call from any thread."""

    def __init__(self, function, writes):
        functools.update_wrapper(self, function)
        self._function = function
        self._writes = writes
        self._names = list(inspect.signature(function).parameters)
        self._sources = cache.digest(inspect.getfile(function))
        # Left to itself, Numba would give every mixture of contiguous and other arrays a
        # specialisation of its own; so this dispatcher only ever gets what `_compile` adds.
        self.dispatcher = numba.njit(**_OPTIONS)(function)
        self.dispatcher._can_compile = False
        kernels.append(self)

    def __call__(self, *args):
        try:
            return self.dispatcher(*args)
        except TypeError:  # nothing compiled yet for these dtypes
            self._compile(args)
        return self.dispatcher(*args)

    def _compile(self, args) -> None:
        signature = tuple(self._type(name, arg)
                          for name, arg in zip(self._names, args, strict=True))
        with global_compiler_lock:
            if signature in self.dispatcher.overloads:
                return  # another thread was faster
            start = time.perf_counter()
            compiler = numba.njit(**_OPTIONS)(self._function)
            compiler._cache = stored = cache.Cache(self._function, self._sources)
            with _patience(f"compiling {self.__name__} with Numba"):
                compiler.compile(signature)
            self.dispatcher.add_overload(compiler.overloads[signature])
            dtypes = [arg.dtype.name for arg in args if isinstance(arg, np.ndarray)]
            made.append(Made(self.__name__, dtypes[0] if dtypes else "", not stored.had_it,
                             stored.had_it or stored.took_it, time.perf_counter() - start))

    def _type(self, name, arg):
        if not isinstance(arg, np.ndarray):
            return types.intp if isinstance(arg, int) else numba.typeof(arg)
        layout = "A" if arg.ndim == 4 else "C"
        return types.Array(numba.from_dtype(arg.dtype), arg.ndim, layout,
                           readonly=name not in self._writes)


@contextlib.contextmanager
def _patience(what):
    """Say what takes so long, if it does."""
    timer = threading.Timer(_PATIENCE, lambda: print(f"engine: {what} ...", file=sys.stderr))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
