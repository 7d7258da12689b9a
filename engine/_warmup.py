"""Calls that need every Numba kernel for floating-point numbers: compiled ahead, all are cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

import engine
from engine.kernels.numba_support.machine import HAS_TILES

DTYPES = ("float32", "float64")  # 16-bit ones are computed in float32


def warm_up() -> Iterator[str]:
    """Make every call once, naming what comes next."""
    for dtype in DTYPES:
        for name, call in calls(dtype).items():
            yield f"{name}, {dtype}"
            call()


def calls(dtype: str) -> dict[str, Callable[[], object]]:
    """One small call of each kind, by its name; "im2col" runs the kernels of "direct"."""
    x, large = np.ones((1, 8, 9, 9), dtype), np.ones((1, 8, 40, 40), dtype)
    weight, dy = np.ones((16, 8, 3, 3), dtype), np.ones((1, 16, 7, 7), dtype)
    found = {}

    def add(name, function, *arguments, **options):
        found[name] = partial(function, *arguments, backend="numba", **options)

    for algorithm in ("direct", "winograd"):
        add(f"conv2d, {algorithm}", engine.conv2d, x, weight, algorithm=algorithm)
        add(f"conv2d_backward, {algorithm}", engine.conv2d_backward, dy, x, weight,
            algorithm=algorithm)
    add("conv2d, winograd, many tiles", engine.conv2d, large, weight, algorithm="winograd")
    if dtype == "float32" and HAS_TILES:
        add("conv2d, bf16x6", engine.conv2d, x, weight, algorithm="bf16x6")
        add("conv2d, bf16x6, 1x1", engine.conv2d, x, weight[:, :, :1, :1], algorithm="bf16x6")
    add("conv2d, 1x1", engine.conv2d, x, weight[:, :, :1, :1], algorithm="direct")
    add("conv2d, few channels", engine.conv2d, x, weight[:2], algorithm="direct")
    add("conv2d, first layer", engine.conv2d, np.ones((1, 3, 9, 64), dtype), weight[:, :3],
        padding=1, algorithm="direct")
    depthwise = {"groups": 8, "stride": 2, "algorithm": "direct"}
    add("conv2d, depthwise", engine.conv2d, x, weight[:8, :1], **depthwise)
    add("conv2d_backward, depthwise", engine.conv2d_backward, dy[:, :8, :4, :4], x, weight[:8, :1],
        **depthwise)
    for name in ("max_pool2d", "avg_pool2d"):
        add(name, getattr(engine, name), x, 3)
        add(f"{name}_backward", getattr(engine, f"{name}_backward"), dy[:, :8, :3, :3], x, 3)
    return found
