"""One file per operation and backend; every backend of an operation has the same functions."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from types import ModuleType

BACKENDS = ("c", "numba", "numpy")  # in order of preference
ASKED_FOR = ("cuda",)  # only where that is asked for, or where the arrays are


@functools.cache
def load(op: str, backend: str) -> ModuleType | str:
    """The kernels of `op` on `backend`, or the reason why there are none."""
    if backend == "c" and not _c_is_built():
        return "the C module was not built"
    if backend == "numba" and importlib.util.find_spec("numba") is None:
        return "numba is not installed"
    name = f"{__name__}.{op}_{backend}"
    if importlib.util.find_spec(name) is None:
        return f"there is no {backend} kernel for {op}"
    if backend == "cuda":
        from .cuda_support.toolchain import driver

        if driver.missing() is not None:
            return driver.missing()
    try:
        return importlib.import_module(name)
    except ImportError as error:  # a broken installation of numba, say
        return f"{name} cannot be imported: {error}"


def _c_is_built() -> bool:
    from engine import _library

    return _library.lib is not None
