"""2-D pooling in NumPy: the contract that the other backends keep, for every dtype and kind.

A window is a row of *cells*, flat positions h*iw + w within the plane in C order, with -1 for
those that lie in the padding or past it.  Gathering the cells of all windows turns every kind of
pooling, regular or adaptive, into a reduction along the last axis:

    max, min    y = x[first cell with the extreme]     dx[that] += dy
    avg         y = sum(x) / divisor                   dx[each] += dy / divisor
    lp          y = sum(|x|**p) ** (1/p)               dx[each] += dy * sign(x) * (|x|/y)**(p-1)

A few output rows and channels are done at a time, which bounds what is gathered at once.
"""

from __future__ import annotations

import numpy as np

from engine import _memory

GATHERED_BYTES = 8 << 20


def refusal(problem, direction):
    return None


def forward(problem, x, y, indices):
    p = problem
    for rows, cells in _row_tiles(p):
        for image, channels in _blocks(p, cells):
            planes = x[image, channels].reshape(-1, p.ih * p.iw)
            here = (image, channels, rows)
            if p.kind in ("max", "min"):
                winners = _winners(p, planes, cells)
                y[here] = _tile(p, np.take_along_axis(planes, winners, axis=1))
                if indices is not None:
                    indices[here] = _tile(p, winners)
            elif p.kind == "avg":
                values = np.where(cells < 0, 0, planes[:, cells]).astype(p.acc_dtype, copy=False)
                y[here] = _tile(p, values.sum(axis=-1) / _divisors(p, rows, cells))
            else:
                y[here] = _tile(p, _norms(p, planes, cells))


def backward(problem, dy, x, indices, dx):
    p = problem
    dplanes = np.empty((p.c, p.ih * p.iw), p.acc_dtype)
    for image in range(p.n):
        dplanes[...] = 0
        for rows, cells in _row_tiles(p):
            for _, channels in _blocks(p, cells, (image,)):
                gradient = dy[image, channels, rows].astype(p.acc_dtype)
                gradient = gradient.reshape(-1, len(cells))
                planes = None if x is None else x[image, channels].reshape(-1, p.ih * p.iw)
                if p.kind in ("max", "min"):
                    winners = (_winners(p, planes, cells) if indices is None else
                               indices[image, channels, rows].reshape(-1, len(cells)))
                    channel = np.arange(len(winners))[:, None]
                    np.add.at(dplanes[channels], (channel, winners), gradient)
                    continue
                if p.kind == "avg":
                    share = (gradient / _divisors(p, rows, cells))[:, :, None]
                else:
                    share = gradient[:, :, None] * _norm_slopes(p, planes, cells)
                real = cells >= 0
                share = np.broadcast_to(share, (len(gradient), *cells.shape))[:, real]
                np.add.at(dplanes[channels], (slice(None), cells[real]), share)
        dx[image] = dplanes.reshape(p.c, p.ih, p.iw).astype(p.dtype)


def _winners(p, planes, cells):
    """The cell of every window's extreme: the first of equals, a NaN before any number."""
    values = planes[:, cells]
    if p.dtype.itemsize == 2 and p.dtype.kind not in "iu":
        values = values.astype(np.float32)
    window = np.arange(len(cells))
    absent = cells < 0
    values[:, absent] = _never_wins(values.dtype, p.kind)
    place = values.argmax(axis=-1) if p.kind == "max" else values.argmin(axis=-1)
    tied_with_absent = absent[window, place]  # so every real cell is equal: take the first
    place = np.where(tied_with_absent, (~absent).argmax(axis=-1), place)
    return cells[window, place]


def _never_wins(dtype, kind):
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return limits.min if kind == "max" else limits.max
    return -np.inf if kind == "max" else np.inf


def _norms(p, planes, cells):
    values = np.where(cells < 0, 0, planes[:, cells]).astype(p.acc_dtype, copy=False)
    return (abs(values) ** p.p).sum(axis=-1) ** (1 / p.p)


def _norm_slopes(p, planes, cells):
    """The derivative of every window's norm by each of its cells; 0 where the norm is 0."""
    values = np.where(cells < 0, 0, planes[:, cells]).astype(p.acc_dtype, copy=False)
    norms = _norms(p, planes, cells)[:, :, None]
    ratios = np.divide(abs(values), norms, out=np.zeros_like(values), where=norms != 0)
    return np.sign(values) * ratios ** (p.p - 1)


def _divisors(p, rows, cells):
    """What each window's sum is divided by."""
    if p.adaptive or not p.count_include_pad:
        return (cells >= 0).sum(axis=-1).astype(p.acc_dtype)
    high, wide = (np.sum(taps < size + after, axis=1) for taps, size, after in (
        (_taps(p.oh, p.kh, p.stride_h, p.pad_t, p.dil_h)[rows], p.ih, p.pad_b),
        (_taps(p.ow, p.kw, p.stride_w, p.pad_l, p.dil_w), p.iw, p.pad_r)))
    return np.outer(high, wide).ravel().astype(p.acc_dtype)


def _row_tiles(p):
    """(slice of output rows, the cells of their windows) for all of y."""
    if p.adaptive:
        high, wide = _adaptive_taps(p.ih, p.oh), _adaptive_taps(p.iw, p.ow)
    else:
        high = _inside(_taps(p.oh, p.kh, p.stride_h, p.pad_t, p.dil_h), p.ih)
        wide = _inside(_taps(p.ow, p.kw, p.stride_w, p.pad_l, p.dil_w), p.iw)
    row_bytes = 8 * high.shape[1] * wide.size
    step = min(p.oh, max(1, GATHERED_BYTES // row_bytes))
    _memory.check_workspace(step * row_bytes)
    for start in range(0, p.oh, step):
        rows = slice(start, min(start + step, p.oh))
        h, w = high[rows, None, :, None], wide[None, :, None, :]
        cells = np.where((h < 0) | (w < 0), -1, h * p.iw + w)
        yield rows, cells.reshape(-1, high.shape[1] * wide.shape[1])


def _taps(out, kernel, stride, pad, dilation):
    """The coordinate of every window's every tap along one axis; negative in the padding."""
    return (np.arange(out) * stride - pad)[:, None] + np.arange(kernel) * dilation


def _inside(taps, size):
    return np.where((taps < 0) | (taps >= size), -1, taps)


def _adaptive_taps(size, out):
    start = np.arange(out) * size // out
    stop = -(-(np.arange(out) + 1) * size // out)
    taps = start[:, None] + np.arange((stop - start).max())
    return np.where(taps < stop[:, None], taps, -1)


def _blocks(p, cells, images=None):
    """(image, slice of channels), few enough channels that GATHERED_BYTES hold their windows."""
    step = max(1, GATHERED_BYTES // (cells.size * p.acc_dtype.itemsize))
    for image in range(p.n) if images is None else images:
        for start in range(0, p.c, step):
            yield image, slice(start, min(start + step, p.c))


def _tile(p, values):
    """(channels, windows) as (channels, rows, columns)."""
    return values.reshape(len(values), -1, p.ow)
