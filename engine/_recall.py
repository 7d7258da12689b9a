"""Checked calls, remembered: the next call with arrays of the same kind skips the checks.

A key holds all that a check looks at: the operation, shape, strides and dtype of every array, the
options, and the backend in force.  It never holds values of arrays.
"""

from __future__ import annotations

from marshal import dumps

from numpy import ndarray

from engine._config import mode

LIMIT = 2048  # calls remembered; then all are forgotten

calls: dict = {}  # by key; no call has the key None
steps: dict = {}  # those on CUDA arrays


def key(op: str, arrays: tuple, options: tuple):
    """What identifies the call, or None where it has to be checked every time."""
    backend, record = mode.get()
    if record is not None:
        return None
    parts = [op, backend]
    for array in arrays:
        if array is None:
            parts.append(None)
        elif type(array) is ndarray:
            parts += (array.shape, array.strides, array.dtype)
        else:
            return None
    try:
        parts.append(dumps(options, 2))  # unlike ==, this tells 1 from 1.0 and from True
    except ValueError:
        return None
    return tuple(parts)


def keep(key, call, options: tuple) -> None:
    """Remember a checked call."""
    if key is None or not plain(options):
        return
    if len(calls) >= LIMIT:
        calls.clear()
    calls[key] = call


def plain(value) -> bool:
    """Whether marshal keeps the type of `value` (it takes arrays for mere bytes)."""
    if type(value) in (tuple, list):
        return all(map(plain, value))
    return value is None or type(value) in (int, float, bool, str)
