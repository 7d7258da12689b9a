"""Machine code on disk: a file for each specialisation, in the first folder that has or takes it.

Cached code is only ever that of the sources this process runs: what it was made from is looked at
when a module is imported, not when its kernels are first called.  If the files have changed
between the two, Numba's own cache would save old code as new, or run new code on old buffers.  It
also keeps an index of numbered files: two processes that save at the same time may choose the same
number, and one of them then runs the code of the other.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import sys
import tempfile
from pathlib import Path

import numba
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from .machine import VECTOR_BYTES

_HERE = Path(__file__).parent
_SUPPORT = b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))


def folders() -> list[Path]:
    """Where machine code is looked for, in this order; the first that can be written gets it.

    The one that NUMBA_CACHE_DIR names, and no other.  Without it one of the package, for whoever
    may write there, and one of the user.  What is only read need not be writable, as Numba's own
    cache asks: an image may bring its kernels compiled.
    """
    if numba.config.CACHE_DIR:
        return [Path(numba.config.CACHE_DIR) / "engine"]
    users = AppDirs(appname="numba", appauthor=False).user_cache_dir
    return [_HERE / "__pycache__", Path(users) / "engine"]


class Cache:
    """Takes the place of Numba's cache of a function; whatever goes wrong costs time only.

    Afterwards it tells whether it had the code, or has taken it.
    """

    def __init__(self, function, sources: str):
        self._name, self._sources = function.__name__, sources
        self.had_it = self.took_it = False

    def load_overload(self, signature, target):
        """The compiled function, or None.

        Numba's own cache would first import all that a compiler may need: 0.2 s and more.
        """
        rtsys.initialize(target)
        for folder in folders():
            try:
                data = (folder / self._file(signature, target.codegen())).read_bytes()
                result = CompileResult._rebuild(target, *pickle.loads(data))
                self.had_it = True
                return result
            except Exception:  # not there, damaged, or not of Numba
                continue
        return None

    def save_overload(self, signature, result) -> None:
        data = dumps(result._reduce())
        for folder in folders():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _write(folder / self._file(signature, result.codegen), data)
                self.took_it = True
                return
            except OSError:  # read-only or full
                continue

    def _file(self, signature, codegen) -> str:
        """Named by all that the code depends on."""
        everything = (signature, codegen.magic_tuple(), VECTOR_BYTES, numba.__version__,
                      sys.implementation.cache_tag, self._sources)
        return f"{self._name}-{hashlib.sha256(repr(everything).encode()).hexdigest()[:24]}.nbc"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, for readers of other processes."""
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".tmp", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)  # mkstemp's are of their owner alone
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@functools.cache
def digest(path) -> str:
    """Of this package and the file a kernel is written in: Numba itself looks only at the file."""
    return hashlib.sha256(_SUPPORT + Path(path).read_bytes()).hexdigest()
