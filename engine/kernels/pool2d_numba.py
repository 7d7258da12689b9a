"""2-D pooling of every kind in Numba, forward and backward.

Every lane of a vector is a channel, and every tap of every window is one load: so any stride,
dilation, padding, ceil-mode or adaptive window runs alike.  Channels-last images are read and
written in place; of others, a strip of as many planes as a vector has lanes is transposed into a
buffer and the result back, in registers.

Along each axis a table of *spans* says, for each output index, the first real input index its
window sees, how many it sees, and what an average is divided by.  One task is one strip of one
vector of channels; each element of dx is summed within a single task, in the order of dy, so bits
do not depend on the number of threads.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .numba_support import threads
from .numba_support.copies import copy, element_steps, pixels_to_planes, planes_to_pixels
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
    move,
    multiply,
    put,
    same_dtype,
    select,
    sign,
    splat_as,
    square_root,
    store,
    zeros,
)

_STRIP_BYTES = 192 << 10
_PARALLEL_WINDOW_CELLS = 1 << 17  # less work is done before a second thread has woken up
_NO_INDICES = np.empty((0, 0, 0, 0), np.int64)


def refusal(problem, direction) -> str | None:
    """Why this backend cannot run the problem, or None."""
    if problem.dtype.kind not in "iuf" or problem.dtype.itemsize == 2 and problem.dtype.kind == "f":
        return f"numba has no arithmetic on {problem.dtype.name}"
    if problem.ih * problem.iw >= 1 << 31:
        return "positions within a plane are kept in 32 bits"
    return None


def forward(problem, x, y, indices) -> None:
    """y = the pooled x; for max and min also the position of each winner in its plane."""
    t = _tables(problem)
    if problem.kind in ("max", "min"):
        where = _NO_INDICES if indices is None else indices

        def work(first, last):
            extremes(first, last, x, y, where, indices is not None, *t.common, t.flip_mask,
                     *t.buffers("x", "y", "places"))
    else:
        def work(first, last):
            sums(first, last, x, y, *t.common, t.norm, t.p, *t.buffers("x", "y", "spare"))

    threads.run(problem.n * t.strips * t.blocks, work, _threads_for(problem))


def backward(problem, dy, x, indices, dx) -> None:
    """dx = the adjoint of forward at x, applied to dy."""
    t = _tables(problem)
    if problem.kind in ("max", "min"):
        where = _NO_INDICES if indices is None else indices
        x = dy if x is None else x  # not looked at then

        def work(first, last):
            extremes_backward(first, last, dy, x, where, indices is not None, dx, *t.common,
                              t.flip_mask, *t.buffers("x", "y", "places", "dx"))
    else:
        x = dy if x is None else x

        def work(first, last):
            sums_backward(first, last, dy, x, dx, *t.common, t.norm, t.p,
                          *t.buffers("x", "y", "dx", "spare"))

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
    blocks: int  # vectors of channels
    flip_mask: int  # bits that turn a minimum into a maximum
    norm: int
    p: float
    compute: np.dtype
    sizes: dict  # of the buffers

    def buffers(self, *names):
        """This thread's scratch."""
        places = np.dtype(f"i{self.compute.itemsize}")
        return [threads.scratch(name, self.sizes[name], places if name == "places"
                                else self.compute) for name in names]


@functools.lru_cache(256)
def _tables(problem) -> _Tables:
    p = problem
    rows, cols = _spans(p)
    compute = p.acc_dtype
    size = lanes_of(compute)
    blocks = -(-p.c // size)
    channels_last = p.order == "nhwc"
    row_bytes = p.iw * compute.itemsize * (p.c if channels_last else size)
    height = max(1, _STRIP_BYTES // row_bytes)
    strips = _strips(rows, p.dil_h, p.ih, -(-p.ih // -(-p.ih // height)))
    y_rows, x_rows, dx_rows = (int((strips[:, b] - strips[:, a]).max(initial=1))
                               for a, b in ((STRIP_Y0, STRIP_Y1), (STRIP_X0, STRIP_X1),
                                            (STRIP_DX0, STRIP_DX1)))
    return _Tables(
        common=(rows, cols, p.dil_h, p.dil_w, strips, blocks, channels_last),
        strips=len(strips), blocks=blocks, flip_mask=_flip_mask(p), norm=_norm(p), p=float(p.p),
        compute=compute,
        sizes={"x": x_rows * p.iw * size, "dx": dx_rows * p.iw * size,
               "y": y_rows * p.ow * size, "places": y_rows * p.ow * size, "spare": size})


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

@kernel(writes="y indices x_buffer y_buffer place_buffer")
def extremes(first, last, x, y, indices, has_indices, rows, cols, dil_h, dil_w, strips, blocks,
             channels_last, flip_mask, x_buffer, y_buffer, place_buffer):
    size, width = lanes(x_buffer), x.shape[3]
    for task in range(first, last):
        image, strip, channel0 = decode(task, len(strips), blocks, channels_last, size)
        some = min(size, x.shape[1] - channel0)
        i0, i1 = strips[strip, STRIP_OWN], strips[strip, STRIP_Y1]
        if i0 == i1:
            continue
        x0 = strips[strip, STRIP_OWN_X0]
        source, row_step, col_step = read(x, image, channel0, some, x0, strips[strip, STRIP_X1],
                                          x_buffer)
        target, y_row, y_col = room(y, image, channel0, some, i0, y_buffer)
        place_at, place_row, place_col = at(place_buffer, 0), 0, 0
        if has_indices:
            place_at, place_row, place_col = room(indices, image, channel0, some, i0, place_buffer)
        for i in range(i0, i1):
            for j in range(len(cols)):
                best, place = winner(source, row_step, col_step, x0, rows, cols, i, j, dil_h,
                                     dil_w, width, flip_mask, place_at)
                store(move(target, (i - i0) * y_row + j * y_col), flip(best, flip_mask))
                if has_indices:
                    store(move(place_at, (i - i0) * place_row + j * place_col), place)
        write(y, image, channel0, some, i0, i1, y_buffer)
        if has_indices:
            write(indices, image, channel0, some, i0, i1, place_buffer)


@kernel(writes="dx x_buffer y_buffer place_buffer dx_buffer")
def extremes_backward(first, last, dy, x, indices, has_indices, dx, rows, cols, dil_h, dil_w,
                      strips, blocks, channels_last, flip_mask, x_buffer, y_buffer,
                      place_buffer, dx_buffer):
    size, width = lanes(dx_buffer), dx.shape[3]
    for task in range(first, last):
        image, strip, channel0 = decode(task, len(strips), blocks, channels_last, size)
        some = min(size, dx.shape[1] - channel0)
        i0, i1 = strips[strip, STRIP_Y0], strips[strip, STRIP_Y1]
        x0, h0, h1 = strips[strip, STRIP_X0], strips[strip, STRIP_DX0], strips[strip, STRIP_DX1]
        source, row_step, col_step = at_as(at(x_buffer, 0), x_buffer, 0), 0, 0
        place_at, place_row, place_col = at(place_buffer, 0), 0, 0
        if has_indices:
            place_at, place_row, place_col = read(indices, image, channel0, some, i0, i1,
                                                  place_buffer)
        else:
            source, row_step, col_step = read(x, image, channel0, some, x0,
                                              strips[strip, STRIP_X1], x_buffer)
        gradient, y_row, y_col = read(dy, image, channel0, some, i0, i1, y_buffer)
        target, dx_row, dx_col = room(dx, image, channel0, some, h0, dx_buffer)
        clear(target, dx_row, dx_col, h1 - h0, width)
        for i in range(i0, i1):
            for j in range(len(cols)):
                if has_indices:
                    place = load(move(place_at, (i - i0) * place_row + j * place_col))
                else:
                    place = winner(source, row_step, col_step, x0, rows, cols, i, j, dil_h, dil_w,
                                   width, flip_mask, place_at)[1]
                share = load(move(gradient, (i - i0) * y_row + j * y_col))
                for r in range(rows[i, 1]):
                    h = rows[i, 0] + r * dil_h
                    if h0 <= h < h1:
                        for s in range(cols[j, 1]):
                            w = cols[j, 0] + s * dil_w
                            here = move(target, (h - h0) * dx_row + w * dx_col)
                            mine = equal(place, splat_as(place_at, h * width + w))
                            more = select(mine, share, zeros(here))
                            store(here, add(load(here), more))
        write(dx, image, channel0, some, h0, h1, dx_buffer)


@inline
def winner(source, row_step, col_step, x0, rows, cols, i, j, dil_h, dil_w, width, flip_mask,
           place_at):
    """The (flipped) extremes of one window and their positions: first of equals, NaN above all."""
    h, w = rows[i, 0], cols[j, 0]
    best = flip(load(move(source, (h - x0) * row_step + w * col_step)), flip_mask)
    place = splat_as(place_at, h * width + w)
    for r in range(rows[i, 1]):
        h = rows[i, 0] + r * dil_h
        for s in range(cols[j, 1]):
            w = cols[j, 0] + s * dil_w
            value = flip(load(move(source, (h - x0) * row_step + w * col_step)), flip_mask)
            better = beats(value, best)
            best = select(better, value, best)
            place = select(better, splat_as(place_at, h * width + w), place)
    return best, place


# ---------------------------------------------------------------- averages and norms

@kernel(writes="y x_buffer y_buffer spare")
def sums(first, last, x, y, rows, cols, dil_h, dil_w, strips, blocks, channels_last, norm, p,
         x_buffer, y_buffer, spare):
    size = lanes(x_buffer)
    for task in range(first, last):
        image, strip, channel0 = decode(task, len(strips), blocks, channels_last, size)
        some = min(size, x.shape[1] - channel0)
        i0, i1 = strips[strip, STRIP_OWN], strips[strip, STRIP_Y1]
        if i0 == i1:
            continue
        x0 = strips[strip, STRIP_OWN_X0]
        source, row_step, col_step = read(x, image, channel0, some, x0, strips[strip, STRIP_X1],
                                          x_buffer)
        target, y_row, y_col = room(y, image, channel0, some, i0, y_buffer)
        for i in range(i0, i1):
            for j in range(len(cols)):
                value = window_sum(source, row_step, col_step, x0, rows, cols, i, j, dil_h, dil_w,
                                   norm, p, spare)
                store(move(target, (i - i0) * y_row + j * y_col), value)
        write(y, image, channel0, some, i0, i1, y_buffer)


@kernel(writes="dx x_buffer y_buffer dx_buffer spare")
def sums_backward(first, last, dy, x, dx, rows, cols, dil_h, dil_w, strips, blocks,
                  channels_last, norm, p, x_buffer, y_buffer, dx_buffer, spare):
    """The slope of a norm y by its x is sign(x) * (|x| / y)**(p-1), and 0 where y is 0."""
    size, width = lanes(dx_buffer), dx.shape[3]
    for task in range(first, last):
        image, strip, channel0 = decode(task, len(strips), blocks, channels_last, size)
        some = min(size, dx.shape[1] - channel0)
        i0, i1 = strips[strip, STRIP_Y0], strips[strip, STRIP_Y1]
        x0, h0, h1 = strips[strip, STRIP_X0], strips[strip, STRIP_DX0], strips[strip, STRIP_DX1]
        source, row_step, col_step = at_as(at(x_buffer, 0), x_buffer, 0), 0, 0
        if norm != _MEAN:
            source, row_step, col_step = read(x, image, channel0, some, x0,
                                              strips[strip, STRIP_X1], x_buffer)
        gradient, y_row, y_col = read(dy, image, channel0, some, i0, i1, y_buffer)
        target, dx_row, dx_col = room(dx, image, channel0, some, h0, dx_buffer)
        clear(target, dx_row, dx_col, h1 - h0, width)
        for i in range(i0, i1):
            for j in range(len(cols)):
                share = load(move(gradient, (i - i0) * y_row + j * y_col))
                length = share
                if norm == _MEAN:
                    share = divide(share, splat_as(target, rows[i, 2] * cols[j, 2]))
                else:
                    length = window_sum(source, row_step, col_step, x0, rows, cols, i, j, dil_h,
                                        dil_w, norm, p, spare)
                for r in range(rows[i, 1]):
                    h = rows[i, 0] + r * dil_h
                    if h0 <= h < h1:
                        for s in range(cols[j, 1]):
                            w = cols[j, 0] + s * dil_w
                            here = move(target, (h - h0) * dx_row + w * dx_col)
                            more = share
                            if norm != _MEAN:
                                value = load(move(source, (h - x0) * row_step + w * col_step))
                                more = multiply(share, slope(value, length, norm, p, spare))
                            store(here, add(load(here), more))
        write(dx, image, channel0, some, h0, h1, dx_buffer)


@inline
def window_sum(source, row_step, col_step, x0, rows, cols, i, j, dil_h, dil_w, norm, p, spare):
    """The mean or the norm of one window."""
    total = zeros(source)
    for r in range(rows[i, 1]):
        row = move(source, (rows[i, 0] + r * dil_h - x0) * row_step)
        for s in range(cols[j, 1]):
            value = load(move(row, (cols[j, 0] + s * dil_w) * col_step))
            if norm == _NORM1:
                value = absolute(value)
            elif norm == _NORM2:
                value = multiply(value, value)
            elif norm == _NORMP:
                value = raised(absolute(value), p, spare)
            total = add(total, value)
    if norm == _MEAN:
        return divide(total, splat_as(source, rows[i, 2] * cols[j, 2]))
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
def decode(task, strips, blocks, channels_last, size):
    """Image, strip and first channel of a task, in the order in which memory likes them."""
    if channels_last:
        return task // (blocks * strips), task // blocks % strips, task % blocks * size
    return task // (blocks * strips), task % strips, task // strips % blocks * size


@inline
def in_place(array, some, buffer):
    """Whether vectors can be read from and written to the array itself."""
    return same_dtype(array, buffer) and element_steps(array)[1] == 1 and some == lanes(buffer)


@inline
def room(array, image, channel0, some, row0, buffer):
    """Pointer to the pixels of a row of an array, or the buffer instead; row and column steps."""
    sn, sc, sh, sw = element_steps(array)
    pointer = at(buffer, 0)
    if in_place(array, some, buffer):
        return at_as(pointer, array, image * sn + channel0 * sc + row0 * sh), sh, sw
    return pointer, array.shape[3] * lanes(buffer), lanes(buffer)


@inline
def read(array, image, channel0, some, row0, row1, buffer):
    """``room`` for some rows, filled with what the array holds there."""
    pointer, row_step, col_step = room(array, image, channel0, some, row0, buffer)
    if not in_place(array, some, buffer) and row0 < row1:
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
def write(array, image, channel0, some, row0, row1, buffer):
    """Rows of an array from the buffer, unless they were written in place."""
    if in_place(array, some, buffer) or row0 >= row1:
        return
    sn, sc, sh, sw = element_steps(array)
    width, size = array.shape[3], lanes(buffer)
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
def clear(target, row_step, col_step, rows, cols):
    for r in range(rows):
        for w in range(cols):
            store(move(target, r * row_step + w * col_step), zeros(target))
