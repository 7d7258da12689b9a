"""2-D pooling of every kind on a GPU: the same contract, with arrays whose memory is on the device.

A position that `backward` is given is compared, never followed: one that is not in the window it
stands for adds nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .cuda_support import pooling
from .cuda_support.geometry import Steps, window_axes
from .cuda_support.intrinsics import accumulator
from .cuda_support.launch import MOST_BLOCKS, address, device, launch, scratch, table

CHECKS_INDICES = True  # there is nothing to check them for
_INDEX_BYTES = 8


def refusal(problem, direction) -> str | None:
    """Why this backend cannot run the problem, or None."""
    p = problem
    if p.c * max(p.ih * p.iw, p.oh * p.ow) >= 1 << 31:
        return "positions within an image are kept in 32 bits"
    return None


def forward(problem, x, y, indices) -> None:
    """y = the pooled x; for max and min also the position of each winner in its plane."""
    p = problem
    if p.kind in ("max", "min"):
        _extremes(p, x, y, None if indices is None else (address(indices), Steps.of(indices)))
    else:
        _means(p, p.dtype.name, x, address(y), Steps.of(y))


def backward(problem, dy, x, indices, dx) -> None:
    """dx = dy moved to where it came from."""
    p = problem
    if p.kind in ("max", "min"):
        _extremes_backward(p, dy, x, indices, dx)
    elif p.kind == "avg":
        _means_backward(p, dy, dx)
    else:
        _norms_backward(p, dy, x, dx)


# ---------------------------------------------------------------- max, min

def _extremes(p, x, y, places) -> None:
    high, wide = _windows(device(), p)
    kernel = pooling.extreme(p.kind, p.dtype.name, p.order)
    y_steps = Steps(0, 0, 0, 0) if y is None else Steps.of(y)
    at, place_steps = places or (0, Steps(0, 0, 0, 0))
    for first, grid in _grids(p, p.oh * p.ow):
        launch(kernel, grid, address(x) + first * x.strides[0],
               address(y) + (0 if y is None else first * y.strides[0]),
               at + first * place_steps.n * _INDEX_BYTES, *_starts(high), *_starts(wide),
               p.c * p.oh * p.ow, p.c, p.oh, p.ow, high.most, wide.most, high.step, wide.step,
               p.iw, *Steps.of(x), *y_steps, *place_steps, int(y is not None),
               int(places is not None))


def _extremes_backward(p, dy, x, indices, dx) -> None:
    high, wide = _windows(device(), p)
    kept = None
    if indices is None:
        at, kept = scratch(p.n * p.c * p.oh * p.ow, _INDEX_BYTES)
        steps = Steps(p.c * p.oh * p.ow, p.oh * p.ow, p.ow, 1)
        _extremes(p, x, None, (at, steps))
    else:
        at, steps = address(indices), Steps.of(indices)
    kernel = pooling.extreme_backward(p.dtype.name, p.order)
    for first, grid in _grids(p, p.ih * p.iw):
        launch(kernel, grid, address(dy) + first * dy.strides[0],
               at + first * steps.n * _INDEX_BYTES, address(dx) + first * dx.strides[0],
               *_seen(high), *_seen(wide), p.c * p.ih * p.iw, p.c, p.ih, p.iw, high.most_seen,
               wide.most_seen, *Steps.of(dy), *steps, *Steps.of(dx))
    del kept


# ---------------------------------------------------------------- avg, lp

def _means(p, dtype, x, y, y_steps) -> None:
    """y of `dtype`; for float32 sums of 16-bit floats, y may be float32."""
    high, wide = _windows(device(), p)
    kernel = pooling.mean(p.kind, p.dtype.name, dtype, p.order, _exponent(p))
    for first, grid in _grids(p, p.oh * p.ow):
        launch(kernel, grid, address(x) + first * x.strides[0],
               y + first * y_steps.n * _size(dtype), *_parts(high), *_parts(wide),
               p.c * p.oh * p.ow, p.c, p.oh, p.ow, high.most, wide.most, high.step, wide.step,
               *Steps.of(x), *y_steps, _exponents(p))


def _means_backward(p, dy, dx) -> None:
    high, wide = _windows(device(), p)
    kernel = pooling.mean_backward(p.dtype.name, p.order)
    for first, grid in _grids(p, p.ih * p.iw):
        launch(kernel, grid, address(dy) + first * dy.strides[0],
               address(dx) + first * dx.strides[0], *_parts(high), *_parts(wide),
               *_seen(high), *_seen(wide), p.c * p.ih * p.iw, p.c, p.ih, p.iw, high.most_seen,
               wide.most_seen, high.step, wide.step, *Steps.of(dy), *Steps.of(dx))


def _norms_backward(p, dy, x, dx) -> None:
    high, wide = _windows(device(), p)
    sums = accumulator(p.dtype.name)
    norms, kept = scratch(p.n * p.c * p.oh * p.ow, _size(sums))
    steps = Steps(p.c * p.oh * p.ow, p.oh * p.ow, p.ow, 1)
    _means(p, sums, x, norms, steps)
    kernel = pooling.norm_backward(p.dtype.name, p.order, _exponent(p))
    for first, grid in _grids(p, p.ih * p.iw):
        launch(kernel, grid, address(dy) + first * dy.strides[0], address(x) + first * x.strides[0],
               norms + first * steps.n * _size(sums), address(dx) + first * dx.strides[0],
               *_starts(high), *_starts(wide), *_seen(high), *_seen(wide), p.c * p.ih * p.iw, p.c,
               p.ih, p.iw, p.oh, p.ow, high.most_seen, wide.most_seen, high.step, wide.step,
               *Steps.of(dy), *Steps.of(x), *Steps.of(dx), _exponents(p))
    del kept


def _exponent(p) -> int:
    """The exponents that have kernels of their own; 0 stands for any other."""
    return int(p.p) if p.kind == "lp" and p.p in (1, 2) else 0 if p.kind == "lp" else 1


def _exponents(p) -> int:
    return table(np.array([p.p, 1 / p.p, p.p - 1], accumulator(p.dtype.name)))


# ---------------------------------------------------------------- parts

def _size(dtype) -> int:
    return {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}[dtype]


@lru_cache(maxsize=1024)
def _windows(where, p):
    """The windows along both axes, with addresses in place of tables on the device `where`."""
    return [axis._replace(start=table(axis.start), count=table(axis.count), part=table(axis.part),
                          first=table(axis.first), seen=table(axis.seen))
            for axis in window_axes(p)]


def _starts(windows):
    return windows.start, windows.count


def _parts(windows):
    return windows.start, windows.count, windows.part


def _seen(windows):
    return windows.first, windows.seen


def _grids(p, results):
    """(first image, grid) for as many images as an axis of the grid has blocks."""
    for first in range(0, p.n, MOST_BLOCKS):
        yield first, (-(-p.c * results // pooling.THREADS), min(MOST_BLOCKS, p.n - first))
