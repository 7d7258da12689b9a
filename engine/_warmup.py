"""Every Numba kernel called once for each floating-point dtype, so that all are in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import engine
from engine.kernels.numba_support.machine import HAS_TILES

DTYPES = ("float32", "float64")


def warm_up() -> Iterator[str]:
    """Compile, naming what comes next."""
    for dtype in DTYPES:
        for algorithm in ("direct", "im2col", "winograd"):
            yield f"convolution, {algorithm}, {dtype}"
            x, weight = np.ones((1, 8, 9, 9), dtype), np.ones((16, 8, 3, 3), dtype)
            _convolve(x, weight, algorithm)
        if dtype == "float32" and HAS_TILES:
            yield f"convolution, bf16x6, {dtype}"
            for size in (3, 1):
                engine.conv2d(x, weight[:, :, :size, :size], algorithm="bf16x6", backend="numba")
        yield f"convolution, one tap, few channels, {dtype}"
        _convolve(x, np.ones((16, 8, 1, 1), dtype), "direct")
        _convolve(x, np.ones((2, 8, 3, 3), dtype), "direct")
        yield f"convolution, depthwise, {dtype}"
        for stride in (1, 2):
            _convolve(x, np.ones((8, 1, 3, 3), dtype), "direct", groups=8, stride=stride)
        for name in ("max_pool2d", "avg_pool2d"):
            yield f"{name}, {dtype}"
            y = getattr(engine, name)(x, 3, backend="numba")
            getattr(engine, f"{name}_backward")(y, x, 3, backend="numba")


def _convolve(x, weight, algorithm, **geometry):
    options = {"algorithm": algorithm, "backend": "numba", **geometry}
    y = engine.conv2d(x, weight, **options)
    engine.conv2d_backward(y, x, weight, **options)
