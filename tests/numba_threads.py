"""Four Python threads make 1,000 mixed calls each of Numba's kernels, then a forked child some.

Run as a program of its own; it says whether one of Numba's threading layers was started.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from test_concurrency import in_child

import engine


def mixed_call(seed):
    """The bytes of one small call, of a kind and size that depend on the seed."""
    rng = np.random.default_rng(seed)
    dtype, size = ("float32", "float64")[seed % 2], 9 + seed % 5
    x = rng.standard_normal((2, 8, size, size)).astype(dtype)
    weight = rng.standard_normal((16, 8, 3, 3)).astype(dtype)
    kind = seed % 3
    if kind == 0:
        return engine.max_pool2d(x, 2, backend="numba").tobytes()
    y = engine.conv2d(x, weight, padding=1, backend="numba")
    if kind == 1:
        return y.tobytes()
    return b"".join(each.tobytes() for each in
                    engine.conv2d_backward(y, x, weight, padding=1, backend="numba"))


def thousand(first):
    return all(mixed_call(seed % 30) == alone[seed % 30] for seed in range(first, first + 1000))


alone = [mixed_call(seed) for seed in range(30)]
with ThreadPoolExecutor(4) as pool:
    assert list(pool.map(thousand, range(4))) == [True] * 4
if hasattr(os, "fork"):
    assert in_child(lambda: [mixed_call(seed) for seed in range(30)] == alone) == 0
try:
    numba.threading_layer()
except ValueError:  # that none was started
    print("no layer was started")
