"""2-D pooling of every kind in Numba, forward and backward.

Every lane of a vector is a channel, and every tap of every window is one load: so any stride,
dilation, padding, ceil-mode or adaptive window runs alike.  Channels-last images are read and
written in place; of others, a strip of as many planes as a vector has lanes is transposed into a
buffer and the result back.

Along each axis a table of *spans* says, for each output index, the first real input index its
window sees, how many it sees, and what an average is divided by.  One task is one strip, of all
channels or of one vector of them; each element of dx is summed within a single task, in the
order of dy, so bits do not depend on the number of threads.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .numba_support import threads
from .numba_support.copies import copy, element_steps, pixels_to_planes, planes_to_pixels
from .numba_support.halves import widened
from .numba_support.jit import inline, kernel
from .numba_support.vectors import (
    absolute,
    add,
    at,
    at_as,
    beats,
    divide,
    equal,
    flip,
    get,
    is_zero,
    lanes,
    lanes_of,
    load,
    load_positions,
    move,
    multiply,
    put,
    same_dtype,
    select,
    sign,
    splat_as,
    splat_position,
    square_root,
    store,
    zeros,
)

_STRIP_BYTES = 192 << 10
_PARALLEL_WINDOW_CELLS = 1 << 17  # less work is done before a second thread has woken up
_NO_INDICES = np.empty((0, 0, 0, 0), np.int64)


def refusal(problem, direction) -> str | None:
    """Why this backend cannot run the problem, or None."""
    if problem.ih * problem.iw >= 1 << 31:
        return "positions within a plane are kept in 32 bits"
    return None


@widened("y")
def forward(problem, x, y, indices) -> None:
    """y = the pooled x; for max and min also the position of each winner in its plane."""
    t = _tables(problem)
    if problem.kind in ("max", "min"):
        where = _NO_INDICES if indices is None else indices

        def work(first, last):
            extremes(first, last, x, y, where, indices is not None, *t.common, t.flip_mask,
                     *t.buffers("x", "y", "places", "taps"))
    else:
        def work(first, last):
            sums(first, last, x, y, *t.common, t.norm, t.p, *t.buffers("x", "y", "taps",
                                                                          "spare"))

    threads.run(problem.n * t.strips * t.blocks, work, _threads_for(problem))


@widened("dx")
def backward(problem, dy, x, indices, dx) -> None:
    """dx = the adjoint of forward at x, applied to dy."""
    t = _tables(problem)
    if problem.kind in ("max", "min"):
        where = _NO_INDICES if indices is None else indices
        x = dy if x is None else x  # not looked at then

        def work(first, last):
            extremes_backward(first, last, dy, x, where, indices is not None, dx, *t.common,
                              t.tiled, t.flip_mask, *t.buffers("x", "y", "places", "dx",
                                          "taps"))
    else:
        x = dy if x is None else x

        def work(first, last):
            sums_backward(first, last, dy, x, dx, *t.common, t.tiled, t.norm, t.p,
                          *t.buffers("x", "y", "dx", "taps", "spare"))

    threads.run(problem.n * t.strips * t.blocks, work, _threads_for(problem))


def _threads_for(problem) -> int:
    p = problem
    cells = p.n * p.c * (p.oh * p.ow * p.kh * p.kw + p.ih * p.iw)
    return threads.num_threads() if cells > _PARALLEL_WINDOW_CELLS else 1


# ---------------------------------------------------------------- tables

(STRIP_Y0, STRIP_Y1,  # rows of y whose windows meet the strip
 STRIP_X0, STRIP_X1,  # rows of x those windows see
 STRIP_DX0, STRIP_DX1,  # rows of dx that belong to the strip
 STRIP_OWN, STRIP_OWN_X0,  # the first row of y that begins in the strip, and the first of x then
 ) = range(8)


class _Tables(NamedTuple):
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
def _tables(problem) -> _Tables:
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
    return _Tables(
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


_MEAN, _NORM1, _NORM2, _NORMP = range(4)


def _norm(problem) -> int:
    return _MEAN if problem.kind != "lp" else {1: _NORM1, 2: _NORM2}.get(problem.p, _NORMP)


# ---------------------------------------------------------------- max and min

@kernel(writes="y indices x_buffer y_buffer place_buffer taps")
def extremes(first, last, x, y, indices, has_indices, rows, cols, dil_h, dil_w, strips, blocks,
             flip_mask, x_buffer, y_buffer, place_buffer, taps):
    size, width = lanes(x_buffer), x.shape[3]
    offsets, positions = at(taps, 0), at(taps, len(taps) // 4)
    for task in range(first, last):
        image, strip, channel, channels = decode(task, len(strips), blocks, x.shape[1], size)
        i0, i1 = strips[strip, STRIP_OWN], strips[strip, STRIP_Y1]
        x0, x1 = strips[strip, STRIP_OWN_X0], strips[strip, STRIP_X1]
        while channel < channels and i0 < i1:
            some = channels - channel
            if not (direct(x, x_buffer) and direct(y, y_buffer)
                    and (not has_indices or direct(indices, place_buffer))):
                some = min(some, size)
            elif some > size:
                some -= some % size
            source, x_row, x_col = read(x, image, channel, some, x0, x1, x_buffer, size)
            target, y_row, y_col = room(y, image, channel, some, i0, y_buffer, size)
            places, place_row, place_col = at(place_buffer, 0), 0, 0
            if has_indices:
                places, place_row, place_col = room(indices, image, channel, some, i0,
                                                    place_buffer, size)
            high, wide = 0, 0
            for i in range(i0, i1):
                for j in range(len(cols)):
                    if high != rows[i, 1] or wide != cols[j, 1]:
                        high, wide = rows[i, 1], cols[j, 1]
                        tabulate(offsets, positions, 0, high, wide, dil_h, dil_w, x_row, x_col,
                                 width)
                    window = move(source, (rows[i, 0] - x0) * x_row + cols[j, 0] * x_col)
                    out = move(target, (i - i0) * y_row + j * y_col)
                    place_out = move(places, (i - i0) * place_row + j * place_col)
                    corner = rows[i, 0] * width + cols[j, 0]
                    for c in range(0, some, size):
                        if has_indices:
                            best, place = winner(move(window, c), high * wide, offsets, positions,
                                                 corner, flip_mask)
                            store(move(place_out, c), place)
                        else:
                            best = extreme(move(window, c), high * wide, offsets, flip_mask)
                        store(move(out, c), flip(best, flip_mask))
            write(y, image, channel, some, i0, i1, y_buffer, size)
            if has_indices:
                write(indices, image, channel, some, i0, i1, place_buffer, size)
            channel += some


@kernel(writes="dx x_buffer y_buffer place_buffer dx_buffer taps")
def extremes_backward(first, last, dy, x, indices, has_indices, dx, rows, cols, dil_h, dil_w,
                      strips, blocks, tiled, flip_mask, x_buffer, y_buffer, place_buffer,
                      dx_buffer, taps):
    size, width = lanes(dx_buffer), dx.shape[3]
    part = len(taps) // 4
    offsets, positions = at(taps, 0), at(taps, part)  # where values and gradients are, in dx
    x_offsets, x_positions = at(taps, 2 * part), at(taps, 3 * part)  # the same in x
    for task in range(first, last):
        image, strip, channel, channels = decode(task, len(strips), blocks, dx.shape[1], size)
        i0, i1 = strips[strip, STRIP_Y0], strips[strip, STRIP_Y1]
        x0, x1 = strips[strip, STRIP_X0], strips[strip, STRIP_X1]
        h0, h1 = strips[strip, STRIP_DX0], strips[strip, STRIP_DX1]
        while channel < channels:
            some = channels - channel
            if not (direct(dx, dx_buffer) and direct(dy, y_buffer)
                    and (direct(indices, place_buffer) if has_indices else direct(x, x_buffer))):
                some = min(some, size)
            elif some > size:
                some -= some % size
            source, x_row, x_col = at(x_buffer, 0), 0, 0
            places, place_row, place_col = at(place_buffer, 0), 0, 0
            if has_indices:
                places, place_row, place_col = read(indices, image, channel, some, i0, i1,
                                                    place_buffer, size)
            else:
                source, x_row, x_col = read(x, image, channel, some, x0, x1, x_buffer, size)
            gradient, y_row, y_col = read(dy, image, channel, some, i0, i1, y_buffer, size)
            target, dx_row, dx_col = room(dx, image, channel, some, h0, dx_buffer, size)
            if not tiled:
                clear(target, dx_row, dx_col, h1 - h0, width, some)
            for i in range(i0, i1):
                r0, r1 = inside(rows, i, dil_h, h0, h1)
                wide = 0
                for j in range(len(cols)):
                    if wide != cols[j, 1]:
                        wide = cols[j, 1]
                        tabulate(offsets, positions, r0, r1, wide, dil_h, dil_w, dx_row, dx_col,
                                 width)
                        tabulate(x_offsets, x_positions, 0, rows[i, 1], wide, dil_h, dil_w, x_row,
                                 x_col, width)
                    window = move(source, (rows[i, 0] - x0) * x_row + cols[j, 0] * x_col)
                    place_at = move(places, (i - i0) * place_row + j * place_col)
                    share_at = move(gradient, (i - i0) * y_row + j * y_col)
                    out = move(target, (rows[i, 0] - h0) * dx_row + cols[j, 0] * dx_col)
                    corner = rows[i, 0] * width + cols[j, 0]
                    for c in range(0, some, size):
                        if has_indices:
                            place = load_positions(target, move(place_at, c))
                        else:
                            place = winner(move(window, c), rows[i, 1] * wide, x_offsets,
                                           x_positions, corner, flip_mask)[1]
                        share = load(move(share_at, c))
                        for tap in range((r1 - r0) * wide):
                            here = move(out, get(offsets, tap) + c)
                            mine = equal(place, splat_position(target, corner
                                                               + get(positions, tap)))
                            more = select(mine, share, zeros(here))
                            store(here, more if tiled else add(load(here), more))
            write(dx, image, channel, some, h0, h1, dx_buffer, size)
            channel += some


@inline
def extreme(window, count, offsets, flip_mask):
    """The (flipped) extremes of one window: NaN above all."""
    best = flip(load(move(window, get(offsets, 0))), flip_mask)
    for tap in range(1, count):
        value = flip(load(move(window, get(offsets, tap))), flip_mask)
        best = select(beats(value, best), value, best)
    return best


@inline
def winner(window, count, offsets, positions, corner, flip_mask):
    """The (flipped) extremes of one window and their positions: first of equals, NaN above all."""
    best = flip(load(move(window, get(offsets, 0))), flip_mask)
    place = splat_position(window, get(positions, 0))
    for tap in range(1, count):
        value = flip(load(move(window, get(offsets, tap))), flip_mask)
        better = beats(value, best)
        best = select(better, value, best)
        place = select(better, splat_position(window, get(positions, tap)), place)
    return best, add(place, splat_position(window, corner))


# ---------------------------------------------------------------- averages and norms

@kernel(writes="y x_buffer y_buffer taps spare")
def sums(first, last, x, y, rows, cols, dil_h, dil_w, strips, blocks, norm, p, x_buffer,
         y_buffer, taps, spare):
    size, width = lanes(x_buffer), x.shape[3]
    offsets, positions = at(taps, 0), at(taps, len(taps) // 4)
    for task in range(first, last):
        image, strip, channel, channels = decode(task, len(strips), blocks, x.shape[1], size)
        i0, i1 = strips[strip, STRIP_OWN], strips[strip, STRIP_Y1]
        x0, x1 = strips[strip, STRIP_OWN_X0], strips[strip, STRIP_X1]
        while channel < channels and i0 < i1:
            some = channels - channel
            if not (direct(x, x_buffer) and direct(y, y_buffer)):
                some = min(some, size)
            elif some > size:
                some -= some % size
            source, x_row, x_col = read(x, image, channel, some, x0, x1, x_buffer, size)
            target, y_row, y_col = room(y, image, channel, some, i0, y_buffer, size)
            high, wide = 0, 0
            for i in range(i0, i1):
                for j in range(len(cols)):
                    if high != rows[i, 1] or wide != cols[j, 1]:
                        high, wide = rows[i, 1], cols[j, 1]
                        tabulate(offsets, positions, 0, high, wide, dil_h, dil_w, x_row, x_col,
                                 width)
                    window = move(source, (rows[i, 0] - x0) * x_row + cols[j, 0] * x_col)
                    out = move(target, (i - i0) * y_row + j * y_col)
                    divisor = splat_as(target, rows[i, 2] * cols[j, 2])
                    for c in range(0, some, size):
                        value = window_sum(move(window, c), high * wide, offsets, norm, p, spare)
                        if norm == _MEAN:
                            value = divide(value, divisor)
                        store(move(out, c), value)
            write(y, image, channel, some, i0, i1, y_buffer, size)
            channel += some


@kernel(writes="dx x_buffer y_buffer dx_buffer taps spare")
def sums_backward(first, last, dy, x, dx, rows, cols, dil_h, dil_w, strips, blocks, tiled, norm,
                  p, x_buffer, y_buffer, dx_buffer, taps, spare):
    """The slope of a norm y by its x is sign(x) * (|x| / y)**(p-1), and 0 where y is 0."""
    size, width = lanes(dx_buffer), dx.shape[3]
    part = len(taps) // 4
    offsets, positions = at(taps, 0), at(taps, part)  # of the gradients in dx
    x_offsets, x_positions = at(taps, 2 * part), at(taps, 3 * part)  # of all values in x
    for task in range(first, last):
        image, strip, channel, channels = decode(task, len(strips), blocks, dx.shape[1], size)
        i0, i1 = strips[strip, STRIP_Y0], strips[strip, STRIP_Y1]
        x0, x1 = strips[strip, STRIP_X0], strips[strip, STRIP_X1]
        h0, h1 = strips[strip, STRIP_DX0], strips[strip, STRIP_DX1]
        while channel < channels:
            some = channels - channel
            if not (direct(dx, dx_buffer) and direct(dy, y_buffer)
                    and (norm == _MEAN or direct(x, x_buffer))):
                some = min(some, size)
            elif some > size:
                some -= some % size
            source, x_row, x_col = at(x_buffer, 0), 0, 0
            if norm != _MEAN:
                source, x_row, x_col = read(x, image, channel, some, x0, x1, x_buffer, size)
            gradient, y_row, y_col = read(dy, image, channel, some, i0, i1, y_buffer, size)
            target, dx_row, dx_col = room(dx, image, channel, some, h0, dx_buffer, size)
            if not tiled:
                clear(target, dx_row, dx_col, h1 - h0, width, some)
            for i in range(i0, i1):
                r0, r1 = inside(rows, i, dil_h, h0, h1)
                wide = 0
                for j in range(len(cols)):
                    if wide != cols[j, 1]:
                        wide = cols[j, 1]
                        tabulate(offsets, positions, r0, r1, wide, dil_h, dil_w, dx_row, dx_col,
                                 width)
                        tabulate(x_offsets, x_positions, 0, rows[i, 1], wide, dil_h, dil_w, x_row,
                                 x_col, width)
                    window = move(source, (rows[i, 0] - x0) * x_row + cols[j, 0] * x_col)
                    share_at = move(gradient, (i - i0) * y_row + j * y_col)
                    out = move(target, (rows[i, 0] - h0) * dx_row + cols[j, 0] * dx_col)
                    divisor = splat_as(target, rows[i, 2] * cols[j, 2])
                    for c in range(0, some, size):
                        share = load(move(share_at, c))
                        if norm == _MEAN:
                            share = divide(share, divisor)
                            for tap in range((r1 - r0) * wide):
                                here = move(out, get(offsets, tap) + c)
                                store(here, share if tiled else add(load(here), share))
                            continue
                        length = window_sum(move(window, c), rows[i, 1] * wide, x_offsets, norm, p,
                                            spare)
                        for tap in range((r1 - r0) * wide):
                            here = move(out, get(offsets, tap) + c)
                            value = load(move(window, get(x_offsets, r0 * wide + tap) + c))
                            more = multiply(share, slope(value, length, norm, p, spare))
                            store(here, more if tiled else add(load(here), more))
            write(dx, image, channel, some, h0, h1, dx_buffer, size)
            channel += some


@inline
def window_sum(window, count, offsets, norm, p, spare):
    """The sum (for means) or the norm of one window."""
    total = zeros(window)
    for tap in range(count):
        value = load(move(window, get(offsets, tap)))
        if norm == _NORM1:
            value = absolute(value)
        elif norm == _NORM2:
            value = multiply(value, value)
        elif norm == _NORMP:
            value = raised(absolute(value), p, spare)
        total = add(total, value)
    if norm == _NORM2:
        return square_root(total)
    if norm == _NORMP:
        return raised(total, 1 / p, spare)
    return total


@inline
def slope(value, length, norm, p, spare):
    """The derivative of a norm by one of its values."""
    ratio = divide(value, length)
    if norm == _NORM1:
        ratio = sign(value)
    elif norm == _NORMP:
        ratio = multiply(sign(value), raised(absolute(ratio), p - 1, spare))
    return select(is_zero(length), zeros(spare), ratio)


@inline
def raised(value, p, spare):
    """Each lane to the power p."""
    place = at(spare, 0)
    store(place, value)
    for i in range(lanes(spare)):
        put(place, i, get(place, i) ** spare.dtype.type(p))
    return load(place)


# ---------------------------------------------------------------- strips

@inline
def decode(task, strips, blocks, channels, size):
    """Image, strip, first channel and the channel after the last of a task."""
    image, strip, block = task // (strips * blocks), task % strips, task // strips % blocks
    if blocks == 1:
        return image, strip, 0, channels
    return image, strip, block * size, min(channels, (block + 1) * size)


@inline
def direct(array, buffer):
    """Whether whole vectors of channels can be read from and written to the array itself."""
    return same_dtype(array, buffer) and element_steps(array)[1] == 1


@inline
def in_place(array, some, buffer, size):
    return direct(array, buffer) and some >= size


@inline
def inside(rows, i, dilation, h0, h1):
    """The range of taps of one window that fall on rows [h0, h1)."""
    r0, r1 = 0, rows[i, 1]
    while r0 < r1 and rows[i, 0] + r0 * dilation < h0:
        r0 += 1
    while r0 < r1 and rows[i, 0] + (r1 - 1) * dilation >= h1:
        r1 -= 1
    return r0, r1


@inline
def tabulate(offsets, positions, r0, r1, wide, dil_h, dil_w, row_step, col_step, width):
    """Where the taps of a window are from its first, in memory and as positions in the plane."""
    tap = 0
    for r in range(r0, r1):
        for s in range(wide):
            put(offsets, tap, r * dil_h * row_step + s * dil_w * col_step)
            put(positions, tap, r * dil_h * width + s * dil_w)
            tap += 1


@inline
def room(array, image, channel0, some, row0, buffer, size):
    """Pointer to the pixels of a row of an array, or the buffer instead; row and column steps."""
    sn, sc, sh, sw = element_steps(array)
    pointer = at(buffer, 0)
    if in_place(array, some, buffer, size):
        return at_as(pointer, array, image * sn + channel0 * sc + row0 * sh), sh, sw
    return pointer, array.shape[3] * size, size


@inline
def read(array, image, channel0, some, row0, row1, buffer, size):
    """``room`` for some rows, filled with what the array holds there."""
    pointer, row_step, col_step = room(array, image, channel0, some, row0, buffer, size)
    if not in_place(array, some, buffer, size) and row0 < row1:
        sn, sc, sh, sw = element_steps(array)
        width = array.shape[3]
        flat = sh == width * sw
        run = (row1 - row0) * width if flat else width
        for row in range(row0, row0 + 1 if flat else row1):
            source = at(array, image * sn + channel0 * sc + row * sh)
            target = move(pointer, (row - row0) * row_step)
            if sw == 1:
                planes_to_pixels(target, col_step, source, sc, some, run)
            else:
                for w in range(run):
                    copy(move(target, w * col_step), move(source, w * sw), sc, some)
    return pointer, row_step, col_step


@inline
def write(array, image, channel0, some, row0, row1, buffer, size):
    """Rows of an array from the buffer, unless they were written in place."""
    if in_place(array, some, buffer, size) or row0 >= row1:
        return
    sn, sc, sh, sw = element_steps(array)
    width = array.shape[3]
    flat = sh == width * sw
    run = (row1 - row0) * width if flat else width
    for row in range(row0, row0 + 1 if flat else row1):
        target = at(array, image * sn + channel0 * sc + row * sh)
        source = at(buffer, (row - row0) * width * size)
        if sw == 1 and sc != 1:
            pixels_to_planes(target, sc, source, size, some, run)
        else:
            for w in range(run):
                pixel, out = move(source, w * size), move(target, w * sw)
                if sc == 1:
                    copy(out, pixel, 1, some)
                else:
                    for c in range(some):
                        put(out, c * sc, get(pixel, c))


@inline
def clear(target, row_step, col_step, rows, cols, channels):
    for r in range(rows):
        for w in range(cols):
            for c in range(0, channels, lanes(target)):
                store(move(target, r * row_step + w * col_step + c), zeros(target))
