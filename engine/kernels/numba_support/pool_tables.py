"""Where the windows of a pooling lie: spans along each axis, strips, and sizes of buffers."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from . import threads
from .machine import lanes_of

_STRIP_BYTES = 192 << 10


(STRIP_Y0, STRIP_Y1,  # rows of y whose windows meet the strip
 STRIP_X0, STRIP_X1,  # rows of x those windows see
 STRIP_DX0, STRIP_DX1,  # rows of dx that belong to the strip
 STRIP_OWN, STRIP_OWN_X0,  # the first row of y that begins in the strip, and the first of x then
 ) = range(8)


class Tables(NamedTuple):
    """Everything about a problem that does not change from call to call."""

    common: tuple  # arguments that all kernels take
    strips: int
    blocks: int  # vectors of channels; 1 stands for all channels, of a channels-last image
    tiled: bool  # every element of x is seen by exactly one window
    flip_mask: int  # bits that turn a minimum into a maximum
    norm: int
    p: float
    compute: np.dtype
    sizes: dict  # of the buffers

    def buffers(self, *names):
        """This thread's scratch."""
        return [threads.scratch(name, self.sizes[name], np.dtype(np.int64)
                                if name in ("places", "taps") else self.compute) for name in names]


@functools.lru_cache(256)
def tables(problem) -> Tables:
    p = problem
    rows, cols = _spans(p)
    compute = p.acc_dtype
    size, channels_last = lanes_of(compute), p.order == "nhwc"
    blocks = 1 if channels_last else -(-p.c // size)
    row_bytes = p.iw * compute.itemsize * (p.c if channels_last else size)
    height = max(1, _STRIP_BYTES // row_bytes)
    strips = _strips(rows, p.dil_h, p.ih, -(-p.ih // -(-p.ih // height)))
    y_rows, x_rows, dx_rows = (int((strips[:, b] - strips[:, a]).max(initial=1))
                               for a, b in ((STRIP_Y0, STRIP_Y1), (STRIP_X0, STRIP_X1),
                                            (STRIP_DX0, STRIP_DX1)))
    return Tables(
        common=(rows, cols, p.dil_h, p.dil_w, strips, blocks),
        strips=len(strips), blocks=blocks,
        tiled=_tiles(rows, p.dil_h, p.ih) and _tiles(cols, p.dil_w, p.iw),
        flip_mask=_flip_mask(p), norm=_norm(p), p=float(p.p),
        compute=compute,
        sizes={"x": x_rows * p.iw * size, "dx": dx_rows * p.iw * size,
               "y": y_rows * p.ow * size, "places": y_rows * p.ow * size, "spare": size,
               "taps": 4 * int(rows[:, 1].max() * cols[:, 1].max())})


def _tiles(spans, dilation, size) -> bool:
    """Whether the windows of an axis cover it without a gap or an overlap."""
    first, counts = spans[:, 0], spans[:, 1]
    return bool((dilation == 1 or counts.max() == 1) and first[0] == 0
                and (first[1:] == (first + counts)[:-1]).all() and first[-1] + counts[-1] == size)


def _strips(rows, dilation, size, height):
    """Cut the rows of dx every ``height``, with the rows of y and x each piece has to do with.

    The forward pass does those rows of y whose windows begin in the strip.
    """
    first, counts, starts = rows[:, 0], rows[:, 1], rows[:, 3]
    end = first + np.maximum(counts - 1, 0) * dilation + 1
    table = []
    for dx0 in range(0, size, height):
        dx1 = min(dx0 + height, size)
        meets = np.flatnonzero((end > dx0) & (starts < dx1))
        y0, y1 = (meets[0], meets[-1] + 1) if len(meets) else (0, 0)
        own = y0 + np.count_nonzero(starts[y0:y1] < dx0)
        table.append((y0, y1, first[y0:y1].min(initial=dx1), end[y0:y1].max(initial=dx0),
                      dx0, dx1, own, first[own:y1].min(initial=dx1)))
    return np.array(table, np.int64)


def _spans(problem):
    """The span tables of rows and columns, with the columns: first, count, divisor, start.

    ``start`` is where the window begins, be that padding (then 0) or a hole of the dilation.
    """
    p = problem
    if p.adaptive:
        return _adaptive_spans(p.ih, p.oh), _adaptive_spans(p.iw, p.ow)
    return (_regular_spans(p.ih, p.oh, p.kh, p.stride_h, p.pad_t, p.pad_b, p.dil_h,
                           p.count_include_pad),
            _regular_spans(p.iw, p.ow, p.kw, p.stride_w, p.pad_l, p.pad_r, p.dil_w,
                           p.count_include_pad))


def _regular_spans(size, out, kernel, stride, before, after, dilation, include_pad):
    taps = (np.arange(out) * stride - before)[:, None] + np.arange(kernel) * dilation
    real = (taps >= 0) & (taps < size)
    counts = real.sum(axis=1)
    first = np.where(counts > 0, taps[np.arange(out), real.argmax(axis=1)],
                     taps[:, 0].clip(0, size - 1))
    divisor = (taps < size + after).sum(axis=1) if include_pad else counts
    starts = taps[:, 0].clip(0, size - 1)
    return np.stack([first, counts, divisor, starts], axis=1).astype(np.int64)


def _adaptive_spans(size, out):
    first = np.arange(out) * size // out
    counts = -(-(np.arange(out) + 1) * size // out) - first
    return np.stack([first, counts, counts, first], axis=1).astype(np.int64)


def _flip_mask(problem) -> int:
    """Bits to invert so that the minimum is the maximum: the sign of floats, all of integers."""
    if problem.kind != "min":
        return 0
    return -1 << (8 * problem.dtype.itemsize - 1) if problem.dtype.kind == "f" else -1


MEAN, NORM1, NORM2, NORMP = range(4)


def _norm(problem) -> int:
    return MEAN if problem.kind != "lp" else {1: NORM1, 2: NORM2}.get(problem.p, NORMP)
