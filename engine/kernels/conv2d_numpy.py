"""2-D convolution in NumPy: the contract that the other backends keep, for every dtype.

All three directions are one matrix product per image and group with the *patches* of the image:
the matrix with a row for every weight (channel, r, s) and a column for every output pixel, whose
entry is the input pixel which that weight meets there (K. Chellapilla et al., 2006).

    forward          y       = weight @ patches(x)
    backward data    dx      = fold(weight.T @ dy)       fold is the adjoint of patches
    backward weight  dweight = sum over images of dy @ patches(x).T

A few output rows are done at a time, so that the patches of a large image never exist at once.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from engine import _memory

ALGORITHMS = ("im2col",)
PATCH_BYTES = 8 << 20


def refusal(problem, direction, algorithm):
    return None


def forward(problem, algorithm, x, weight, bias, y):
    p = problem
    matrices = weight.reshape(p.g, p.oc // p.g, -1).astype(p.acc_dtype)
    for image, out in zip(x, y, strict=True):
        padded = _padded(p, image)
        for group, channels, filters in _groups(p):
            for rows in _row_tiles(p):
                columns = _patches(p, padded[channels], rows)
                tile = (matrices[group] @ columns).reshape(-1, rows.stop - rows.start, p.ow)
                if bias is not None:
                    tile += bias[filters, None, None].astype(p.acc_dtype)
                tile = tile.astype(p.dtype)  # integers wrap here, before their sign is asked
                if p.activation == "relu":
                    np.maximum(tile, p.dtype.type(0), out=tile)
                out[filters, rows] = tile


def backward_data(problem, algorithm, dy, weight, dx):
    p = problem
    matrices = weight.reshape(p.g, p.oc // p.g, -1).astype(p.acc_dtype)
    for dout, dimage in zip(dy, dx, strict=True):
        dpadded = np.zeros(_padded_shape(p), p.acc_dtype)
        for group, channels, filters in _groups(p):
            for rows in _row_tiles(p):
                pixels = dout[filters, rows].reshape(p.oc // p.g, -1).astype(p.acc_dtype)
                _fold(p, matrices[group].T @ pixels, dpadded[channels], rows)
        inside = dpadded[:, p.pad_t : p.pad_t + p.ih, p.pad_l : p.pad_l + p.iw]
        dimage[...] = inside.astype(p.dtype)


def backward_weight(problem, algorithm, dy, x, dweight):
    p = problem
    total = np.zeros((p.g, p.oc // p.g, p.ic // p.g * p.kh * p.kw), p.acc_dtype)
    for dout, image in zip(dy, x, strict=True):
        padded = _padded(p, image)
        for group, channels, filters in _groups(p):
            for rows in _row_tiles(p):
                pixels = dout[filters, rows].reshape(p.oc // p.g, -1).astype(p.acc_dtype)
                total[group] += pixels @ _patches(p, padded[channels], rows).T
    dweight[...] = total.reshape(p.weight_shape).astype(p.dtype)


def backward_bias(problem, dy, dbias):
    dbias[...] = dy.sum(axis=(0, 2, 3), dtype=problem.acc_dtype).astype(problem.dtype)


def _groups(p):
    """(group, its input channels, its output channels), the latter two as slices."""
    ic, oc = p.ic // p.g, p.oc // p.g
    for group in range(p.g):
        yield group, slice(group * ic, (group + 1) * ic), slice(group * oc, (group + 1) * oc)


def _row_tiles(p):
    """Slices of output rows with at most PATCH_BYTES of patches each."""
    row_bytes = p.ic // p.g * p.kh * p.kw * p.ow * p.acc_dtype.itemsize
    step = min(p.oh, max(1, PATCH_BYTES // row_bytes))
    _memory.check_workspace(step * row_bytes)
    for start in range(0, p.oh, step):
        yield slice(start, min(start + step, p.oh))


def _padded_shape(p):
    """Up to the last input pixel and to the last one that a window touches."""
    return p.ic, p.pad_t + p.ih + p.pad_b, p.pad_l + p.iw + p.pad_r


def _padded(p, image):
    """One image among zeros, in the dtype that sums are held in."""
    _memory.check_workspace(prod(_padded_shape(p)) * p.acc_dtype.itemsize)
    padded = np.zeros(_padded_shape(p), p.acc_dtype)
    padded[:, p.pad_t : p.pad_t + p.ih, p.pad_l : p.pad_l + p.iw] = image
    return padded


def _taps(p, padded, rows):
    """What each weight meets in those output rows: a view (channel, kh, kw, row, column)."""
    span = (p.dil_h * (p.kh - 1) + 1, p.dil_w * (p.kw - 1) + 1)
    windows = sliding_window_view(padded, span, axis=(1, 2), writeable=True)
    windows = windows[:, rows.start * p.stride_h :: p.stride_h, :: p.stride_w,
                      :: p.dil_h, :: p.dil_w]
    return windows[:, : rows.stop - rows.start, : p.ow].transpose(0, 3, 4, 1, 2)


def _patches(p, padded, rows):
    taps = _taps(p, padded, rows)
    return taps.reshape(p.ic // p.g * p.kh * p.kw, -1)


def _fold(p, columns, dpadded, rows):
    """Add every entry of a patch matrix to the pixel it came from."""
    taps = _taps(p, dpadded, rows)
    columns = columns.reshape(taps.shape)
    for r in range(p.kh):  # weights overlap in memory with one another, pixels of one never do
        for s in range(p.kw):
            taps[:, r, s] += columns[:, r, s]
