"""Says where engine is installed and runs a convolution of every kind of number on the C backend.

As a program, for wheels: `python smoke.py` prints what ran and fails if that was not the level
that ENGINE_ISA caps, or if the answer is not that of the NumPy backend.
"""

import os
import sys

import numpy as np

import engine
from engine import _library, _plan


def main():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64, np.int32, np.int64):
        x = rng.integers(-8, 8, (2, 8, 14, 14)).astype(dtype)
        weight = rng.integers(-8, 8, (16, 8, 3, 3)).astype(dtype)
        y = engine.conv2d(x, weight, stride=2, padding=1, backend="c")
        ran = _plan.last_run()
        if not np.array_equal(y, engine.conv2d(x, weight, stride=2, padding=1, backend="numpy")):
            sys.exit(f"smoke: {ran} gave another answer than NumPy for {np.dtype(dtype)}")
    wanted = os.environ.get("ENGINE_ISA", ran.isa)
    if (ran.backend, ran.isa) != ("c", wanted):
        sys.exit(f"smoke: {ran} ran, expected the level {wanted} of the C library")
    print(os.path.dirname(engine.__file__), engine.__version__, ran.isa,
          *_library.isa_levels(), sep="\n")


if __name__ == "__main__":
    main()
