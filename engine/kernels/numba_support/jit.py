"""Compiling: ``@kernel`` for what Python calls, ``@inline`` for what kernels call.

A kernel takes 4-D arrays of any strides, so that a contiguous and a transposed argument share one
specialisation; 1-D arrays are contiguous.  Machine code is kept on disk by Numba's own cache; a
folder that cannot be written only means that the next process compiles again.

Cached code is only ever that of the sources this process runs: what it was made from is looked at
when a module is imported, not when its kernels are first called.  If the files have changed
between the two, Numba itself would save old code as new, or run new code on old buffers.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import sys
import threading
from pathlib import Path

import numba
import numpy as np
from numba.core import types
from numba.core.caching import FunctionCache, IndexDataCacheFile

from .machine import VECTOR_BYTES

_PATIENCE = 1.0  # seconds of compiling before a line on stderr says so
_SUPPORT = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
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
        self._sources = _digest(inspect.getfile(function))
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
            with contextlib.suppress(RuntimeError, OSError):  # no folder to put a cache in
                compiler._cache = _Cache(self._function, self._sources)
            with _patience(f"compiling {self.__name__} with Numba"):
                compiler.compile(signature)
            self.dispatcher.add_overload(compiler.overloads[signature])

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


class _Cache(FunctionCache):
    """Numba's cache on disk, for one state of the sources and one vector width, never fatal."""

    def __init__(self, function, sources):
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, sources)

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


class _Files(IndexDataCacheFile):
    """A file for each key, named by it.

    Numba numbers its files and keeps an index of them: two processes that save at the same time
    may choose the same number, and one of them then runs the code of the other.
    """

    def save(self, key, data):
        self._save_data(self._name(key), data)

    def load(self, key):
        try:
            return self._load_data(self._name(key))
        except OSError:  # not there yet
            return None

    def _name(self, key):
        """The source stamp is the digest of the sources; ``key`` has the CPU and the dtypes."""
        everything = (key, self._source_stamp, self._version, VECTOR_BYTES)
        digest = hashlib.sha256(repr(everything).encode()).hexdigest()
        return f"{self._index_name.removesuffix('.nbi')}.{digest[:24]}.nbc"


@functools.cache
def _digest(path) -> str:
    """Of this package and the file a kernel is written in: Numba itself looks only at the file."""
    return hashlib.sha256(_SUPPORT + Path(path).read_bytes()).hexdigest()
