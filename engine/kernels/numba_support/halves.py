"""16-bit floats: LLVM has no vectors of them on most machines, so they are widened for a call."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace

import numpy as np

_WIDE = np.dtype(np.float32)


def is_half(dtype) -> bool:
    """Whether it is float16 or bfloat16."""
    return dtype.itemsize == 2 and dtype.kind not in "iu"


def wide(problem):
    """The problem in the dtype that it is computed in."""
    return replace(problem, dtype=_WIDE) if is_half(problem.dtype) else problem


def widened(result):
    """Decorator of an entry point: float16 and bfloat16 are computed in float32.

    ``result`` names the argument that is written.
    """
    def decorate(run):
        place = list(inspect.signature(run).parameters).index(result) - 1

        @functools.wraps(run)
        def call(problem, *arguments):
            narrow = problem.dtype
            if not is_half(narrow):
                run(problem, *arguments)
                return
            out = arguments[place]
            arguments = [each.astype(_WIDE) if isinstance(each, np.ndarray)
                         and each.dtype == narrow and each is not out else each
                         for each in arguments]
            arguments[place] = np.empty_like(out, dtype=_WIDE)
            run(wide(problem), *arguments)
            out[...] = arguments[place].astype(narrow)

        return call

    return decorate
