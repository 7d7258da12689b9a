"""2-D pooling of every kind in Numba, forward and backward.

An axis is described by a table of *spans*: for each output index, the first real input index its
window sees, how many it sees, and for averages what to divide by.  Regular, ceil-mode and
adaptive windows differ in nothing else.  One task is one plane of one image, so overlapping
windows add up in a fixed order whatever the number of threads.
"""

from __future__ import annotations

import functools

import numpy as np

from .numba_support import threads
from .numba_support.jit import inline, kernel

_PARALLEL_WINDOW_CELLS = 1 << 18  # less work is done before a second thread has woken up
_NO_INDICES = np.empty((0, 0, 0, 0), np.int64)


def refusal(problem, direction) -> str | None:
    """Why this backend cannot run the problem, or None."""
    if problem.dtype.kind not in "iuf" or problem.dtype.itemsize == 2 and problem.dtype.kind == "f":
        return f"numba has no arithmetic on {problem.dtype.name}"
    return None


def forward(problem, x, y, indices) -> None:
    """y = the pooled x; for max and min also the position of each winner in its plane."""
    p = problem
    rows, cols = _spans(p)
    has_indices = indices is not None
    if p.kind in ("max", "min"):
        where = indices if has_indices else _NO_INDICES
        _run(p, extremes, x, y, where, has_indices, rows, cols, p.dil_h, p.dil_w, p.kind == "max")
    elif p.kind == "avg":
        _run(p, averages, x, y, rows, cols, p.dil_h, p.dil_w)
    else:
        _run(p, norms, x, y, rows, cols, p.dil_h, p.dil_w, float(p.p))


def backward(problem, dy, x, indices, dx) -> None:
    """dx = the adjoint of forward at x, applied to dy."""
    p = problem
    rows, cols = _spans(p)
    if p.kind in ("max", "min"):
        if indices is None:
            _run(p, extremes_backward, dy, x, dx, rows, cols, p.dil_h, p.dil_w, p.kind == "max")
        else:
            _run(p, scatter, dy, indices, dx)
    elif p.kind == "avg":
        _run(p, averages_backward, dy, dx, rows, cols, p.dil_h, p.dil_w)
    else:
        _run(p, norms_backward, dy, x, dx, rows, cols, p.dil_h, p.dil_w, float(p.p))


def _run(problem, kernel, *args) -> None:
    p = problem
    cells = p.n * p.c * (p.oh * p.ow * p.kh * p.kw + p.ih * p.iw)
    workers = threads.num_threads() if cells > _PARALLEL_WINDOW_CELLS else 1
    threads.run(p.n * p.c, lambda first, last: kernel(first, last, *args), workers)


def _spans(problem):
    """The span tables of rows and columns: columns first, count, divisor."""
    p = problem
    if p.adaptive:
        return _adaptive_spans(p.ih, p.oh), _adaptive_spans(p.iw, p.ow)
    return (_regular_spans(p.ih, p.oh, p.kh, p.stride_h, p.pad_t, p.pad_b, p.dil_h,
                           p.count_include_pad),
            _regular_spans(p.iw, p.ow, p.kw, p.stride_w, p.pad_l, p.pad_r, p.dil_w,
                           p.count_include_pad))


@functools.lru_cache(256)
def _regular_spans(size, out, kernel, stride, before, after, dilation, include_pad):
    taps = (np.arange(out) * stride - before)[:, None] + np.arange(kernel) * dilation
    real = (taps >= 0) & (taps < size)
    counts = real.sum(axis=1)
    first = np.where(counts > 0, taps[np.arange(out), real.argmax(axis=1)], 0)
    divisor = (taps < size + after).sum(axis=1) if include_pad else counts
    return np.stack([first, counts, divisor], axis=1).astype(np.int64)


@functools.lru_cache(256)
def _adaptive_spans(size, out):
    first = np.arange(out) * size // out
    counts = -(-(np.arange(out) + 1) * size // out) - first
    return np.stack([first, counts, counts], axis=1).astype(np.int64)


# ---------------------------------------------------------------- max and min

@kernel(writes="y indices")
def extremes(first, last, x, y, indices, has_indices, rows, cols, dil_h, dil_w, highest):
    _, channels, _, width = x.shape
    for task in range(first, last):
        n, c = task // channels, task % channels
        for i in range(len(rows)):
            for j in range(len(cols)):
                h, w = winner(x, n, c, rows, cols, i, j, dil_h, dil_w, highest)
                y[n, c, i, j] = x[n, c, h, w]
                if has_indices:
                    indices[n, c, i, j] = h * width + w


@kernel(writes="dx")
def extremes_backward(first, last, dy, x, dx, rows, cols, dil_h, dil_w, highest):
    channels = x.shape[1]
    for task in range(first, last):
        n, c = task // channels, task % channels
        clear(dx, n, c)
        for i in range(len(rows)):
            for j in range(len(cols)):
                h, w = winner(x, n, c, rows, cols, i, j, dil_h, dil_w, highest)
                dx[n, c, h, w] += dy[n, c, i, j]


@kernel(writes="dx")
def scatter(first, last, dy, indices, dx):
    """dx = dy, each element added where its index says."""
    _, channels, _, width = dx.shape
    for task in range(first, last):
        n, c = task // channels, task % channels
        clear(dx, n, c)
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                h, w = divmod(indices[n, c, i, j], width)
                dx[n, c, h, w] += dy[n, c, i, j]


@inline
def winner(x, n, c, rows, cols, i, j, dil_h, dil_w, highest):
    """Row and column of the extreme of one window: the first of equals, NaN before any number."""
    best_h, best_w = rows[i, 0], cols[j, 0]
    best = x[n, c, best_h, best_w]
    for r in range(rows[i, 1]):
        h = rows[i, 0] + r * dil_h
        for s in range(cols[j, 1]):
            w = cols[j, 0] + s * dil_w
            value = x[n, c, h, w]
            better = value > best if highest else value < best
            if better or (value != value and best == best):
                best, best_h, best_w = value, h, w
    return best_h, best_w


@inline
def clear(dx, n, c):
    for h in range(dx.shape[2]):
        for w in range(dx.shape[3]):
            dx[n, c, h, w] = 0


# ---------------------------------------------------------------- averages

@kernel(writes="y")
def averages(first, last, x, y, rows, cols, dil_h, dil_w):
    channels = x.shape[1]
    for task in range(first, last):
        n, c = task // channels, task % channels
        for i in range(len(rows)):
            for j in range(len(cols)):
                total = x.dtype.type(0)
                for r in range(rows[i, 1]):
                    for s in range(cols[j, 1]):
                        total += x[n, c, rows[i, 0] + r * dil_h, cols[j, 0] + s * dil_w]
                y[n, c, i, j] = total / x.dtype.type(rows[i, 2] * cols[j, 2])


@kernel(writes="dx")
def averages_backward(first, last, dy, dx, rows, cols, dil_h, dil_w):
    channels = dx.shape[1]
    for task in range(first, last):
        n, c = task // channels, task % channels
        clear(dx, n, c)
        for i in range(len(rows)):
            for j in range(len(cols)):
                share = dy[n, c, i, j] / dx.dtype.type(rows[i, 2] * cols[j, 2])
                for r in range(rows[i, 1]):
                    for s in range(cols[j, 1]):
                        dx[n, c, rows[i, 0] + r * dil_h, cols[j, 0] + s * dil_w] += share


# ---------------------------------------------------------------- Lp norms

@kernel(writes="y")
def norms(first, last, x, y, rows, cols, dil_h, dil_w, p):
    channels = x.shape[1]
    for task in range(first, last):
        n, c = task // channels, task % channels
        for i in range(len(rows)):
            for j in range(len(cols)):
                y[n, c, i, j] = norm(x, n, c, rows, cols, i, j, dil_h, dil_w, p)


@kernel(writes="dx")
def norms_backward(first, last, dy, x, dx, rows, cols, dil_h, dil_w, p):
    """The slope of a norm y by its x is sign(x) * (|x| / y)**(p-1), and 0 where y is 0."""
    channels = x.shape[1]
    for task in range(first, last):
        n, c = task // channels, task % channels
        clear(dx, n, c)
        for i in range(len(rows)):
            for j in range(len(cols)):
                length = norm(x, n, c, rows, cols, i, j, dil_h, dil_w, p)
                if length == 0:
                    continue
                for r in range(rows[i, 1]):
                    for s in range(cols[j, 1]):
                        h, w = rows[i, 0] + r * dil_h, cols[j, 0] + s * dil_w
                        slope = np.sign(x[n, c, h, w]) * power(abs(x[n, c, h, w]) / length, p - 1)
                        dx[n, c, h, w] += dy[n, c, i, j] * slope


@inline
def norm(x, n, c, rows, cols, i, j, dil_h, dil_w, p):
    total = x.dtype.type(0)
    for r in range(rows[i, 1]):
        for s in range(cols[j, 1]):
            total += power(abs(x[n, c, rows[i, 0] + r * dil_h, cols[j, 0] + s * dil_w]), p)
    return total ** x.dtype.type(1 / p)


@inline
def power(value, p):
    """value**p in the dtype of value, quickly for the common exponents."""
    if p == 1:
        return value
    if p == 2:
        return value * value
    return value ** type(value)(p)
