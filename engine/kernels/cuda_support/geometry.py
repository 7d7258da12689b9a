"""Where things are: tables of the taps of a convolution, and of the windows of a pooling.

A convolution and the gradient of its data are sums over k = (channel, tap) alike.  Only the latter
falls into *phases* where it is strided: the rows of dx that are r modulo the stride meet the same
taps, and from one to the next the place in dy moves by one (V. Dumoulin & F. Visin, "A guide to
convolution arithmetic", 2016, section 4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FAR = 1 << 29  # a row or column that no image has
AHEAD = 64  # entries after the last k that kernels may read


class Steps(NamedTuple):
    """Of an array (n, c, h, w), in elements."""

    n: int
    c: int
    h: int
    w: int

    @classmethod
    def of(cls, array: np.ndarray) -> Steps:
        return cls(*(step // array.itemsize for step in array.strides))


class Taps(NamedTuple):
    """One product: for every k the place of what is read, and of the weight."""

    offsets: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    entries: np.ndarray  # of four numbers: the first three of these and a zero
    terms: int  # how many k there are; the tables go on with entries outside of every image
    grid_h: int  # results
    grid_w: int
    step_h: int  # from a result to the next, what is read moves by so much
    step_w: int
    first: int  # of the results, in elements from the start of the image
    apart_h: int  # of the results, in rows and columns
    apart_w: int


def forward_taps(p, x: Steps, weight: Steps, order: str) -> list[Taps]:
    """y from x."""
    rows = [(r, r * p.dil_h - p.pad_t) for r in range(p.kh)]
    columns = [(s, s * p.dil_w - p.pad_l) for s in range(p.kw)]
    tables = _tables(p.ic // p.g, x, rows, columns, weight.c, weight, order)
    return [Taps(*tables, p.oh, p.ow, p.stride_h, p.stride_w, 0, 1, 1)]


def backward_data_taps(p, dy: Steps, weight: Steps, dx: Steps, order: str) -> list[Taps]:
    """dx from dy, a product for each phase."""
    found = []
    for top in range(min(p.stride_h, p.ih)):
        for left in range(min(p.stride_w, p.iw)):
            rows = _phase(top + p.pad_t, p.kh, p.dil_h, p.stride_h)
            columns = _phase(left + p.pad_l, p.kw, p.dil_w, p.stride_w)
            tables = _tables(p.oc // p.g, dy, rows, columns, weight.n, weight, order)
            found.append(Taps(*tables, -(-(p.ih - top) // p.stride_h),
                              -(-(p.iw - left) // p.stride_w), 1, 1,
                              top * dx.h + left * dx.w, p.stride_h, p.stride_w))
    return found


def _phase(place, kernel, dilation, stride):
    """(tap, place in dy) for the taps that lead from a place in padded x to one in dy."""
    return [(r, (place - r * dilation) // stride) for r in range(kernel)
            if (place - r * dilation) % stride == 0]


def _tables(channels, read: Steps, rows, columns, weight_c, weight: Steps, order):
    """offsets, rows, columns, weights and the number of terms; k runs in the order of memory."""
    r, row = np.array(rows, np.int64).reshape(-1, 2).T
    s, column = np.array(columns, np.int64).reshape(-1, 2).T
    c = np.arange(channels)
    if order == "nchw":
        c, r, s = c[:, None, None], r[:, None], s
        row, column = row[:, None], column
    else:
        r, s, c = r[:, None, None], s[:, None], c
        row, column = row[:, None, None], column[:, None]
    offsets = c * read.c + row * read.h + column * read.w
    weights = c * weight_c + r * weight.h + s * weight.w
    shape = offsets.shape
    tables = [_extended(np.broadcast_to(each, shape), fill) for each, fill in
              ((offsets, 0), (row, -FAR), (column, -FAR), (weights, 0))]
    entries = np.stack([*tables[:3], np.zeros_like(tables[0])], axis=-1).ravel()
    return (*tables, entries, offsets.size)


def _extended(values, fill):
    """Flat, with entries after the end."""
    return np.concatenate([values.ravel(), np.full(AHEAD, fill)]).astype(np.int32)


# ---- pooling -----------------------------------------------------------------------------------

class Windows(NamedTuple):
    """Along one axis."""

    start: np.ndarray  # for every output: the first element inside the image
    count: np.ndarray  # how many elements are inside
    part: np.ndarray  # how many an average counts
    first: np.ndarray  # for every input: the first output that may see it
    seen: np.ndarray  # how many may
    step: int  # from one element of a window to the next
    most: int  # the largest of `count`
    most_seen: int


def windows(size, out, kernel, stride, before, after, dilation, *, adaptive, with_pad) -> Windows:
    """The windows of an axis; `with_pad` counts padding in averages."""
    i = np.arange(out, dtype=np.int64)
    if adaptive:
        start, stop = i * size // out, -(-(i + 1) * size // out)
        count, part, step = stop - start, stop - start, 1
        begin, end = start, stop - 1
    else:
        taps = (i * stride - before)[:, None] + np.arange(kernel) * dilation
        inside = (taps >= 0) & (taps < size)
        start = np.where(inside, taps, size).min(axis=1)
        count, step = inside.sum(axis=1), dilation
        part = (taps < size + after).sum(axis=1) if with_pad else count
        begin, end = taps[:, 0], taps[:, -1]  # which grow with i; `start` need not
    place = np.arange(size, dtype=np.int64)
    first = np.searchsorted(end, place)
    seen = np.maximum(np.searchsorted(begin, place, side="right") - first, 0)
    tables = [each.astype(np.int32) for each in (start, count, part, first, seen)]
    return Windows(*tables, step, int(count.max()), int(seen.max()))


def window_axes(p) -> tuple[Windows, Windows]:
    """Of a pooling, along height and width."""
    options = {"adaptive": p.adaptive, "with_pad": p.count_include_pad}
    return (windows(p.ih, p.oh, p.kh, p.stride_h, p.pad_t, p.pad_b, p.dil_h, **options),
            windows(p.iw, p.ow, p.kw, p.stride_w, p.pad_l, p.pad_r, p.dil_w, **options))
