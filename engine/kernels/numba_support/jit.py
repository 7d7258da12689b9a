"""Compiling: ``@kernel`` for what Python calls, ``@inline`` for what kernels call.

A kernel takes 4-D arrays of any strides, so that a contiguous and a transposed argument share one
specialisation; 1-D arrays are contiguous.  Machine code is kept on disk by Numba's own cache; a
folder that cannot be written only means that the next process compiles again.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import threading
from pathlib import Path

import numba
import numpy as np
from numba.core import types
from numba.core.caching import FunctionCache

from . import vectors

_OPTIONS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
inline = numba.njit(**_OPTIONS, no_cpython_wrapper=True)


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
        self._lock = threading.Lock()
        # Left to itself, Numba would give every mixture of contiguous and other arrays a
        # specialisation of its own; so this dispatcher only ever gets what `_compile` adds.
        self.dispatcher = numba.njit(**_OPTIONS)(function)
        self.dispatcher._can_compile = False

    def __call__(self, *args):
        try:
            return self.dispatcher(*args)
        except TypeError:  # nothing compiled yet for these dtypes
            self._compile(args)
        return self.dispatcher(*args)

    def _compile(self, args) -> None:
        signature = tuple(self._type(name, arg)
                          for name, arg in zip(self._names, args, strict=True))
        with self._lock:
            if signature in self.dispatcher.overloads:
                return  # another thread was faster
            compiler = numba.njit(**_OPTIONS)(self._function)
            try:
                compiler._cache = _Cache(self._function)
            except RuntimeError:  # no folder to put a cache in
                pass
            compiler.compile(signature)
            self.dispatcher.add_overload(compiler.overloads[signature])

    def _type(self, name, arg):
        if not isinstance(arg, np.ndarray):
            return types.intp if isinstance(arg, int) else numba.typeof(arg)
        layout = "A" if arg.ndim == 4 else "C"
        return types.Array(numba.from_dtype(arg.dtype), arg.ndim, layout,
                           readonly=name not in self._writes)


class _Cache(FunctionCache):
    """Numba's cache on disk, keyed also by these modules and the vector width, never fatal."""

    def __init__(self, function):
        super().__init__(function)
        self._cache_file._source_stamp = (self._cache_file._source_stamp, _support_stamp())

    def _index_key(self, sig, codegen):
        return (*super()._index_key(sig, codegen), vectors.VECTOR_BYTES)

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged or foreign file: compile instead
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError:  # read-only or full
            pass


@functools.cache
def _support_stamp() -> str:
    """A digest of this package: Numba itself looks only at the file a kernel is written in."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
