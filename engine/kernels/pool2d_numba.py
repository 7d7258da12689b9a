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

import numpy as np

from .numba_support import threads
from .numba_support.arithmetic import absolute, add, divide, multiply, sign, square_root
from .numba_support.choosing import beats, equal, flip, is_zero, select
from .numba_support.halves import widened
from .numba_support.jit import inline, kernel
from .numba_support.loads import lanes, load, load_positions, store
from .numba_support.pointers import at, get, move, put
from .numba_support.pool_strips import clear, decode, direct, inside, read, room, tabulate, write
from .numba_support.pool_tables import (
    MEAN,
    NORM1,
    NORM2,
    NORMP,
    STRIP_DX0,
    STRIP_DX1,
    STRIP_OWN,
    STRIP_OWN_X0,
    STRIP_X0,
    STRIP_X1,
    STRIP_Y0,
    STRIP_Y1,
    tables,
)
from .numba_support.splats import splat_as, splat_position, zeros

_PARALLEL_WINDOW_CELLS = 1 << 20  # less work is done before a second thread has woken up
_NO_INDICES = np.empty((0, 0, 0, 0), np.int64)


def refusal(problem, direction) -> str | None:
    """Why this backend cannot run the problem, or None."""
    if problem.ih * problem.iw >= 1 << 31:
        return "positions within a plane are kept in 32 bits"
    return None


@widened("y")
def forward(problem, x, y, indices) -> None:
    """y = the pooled x; for max and min also the position of each winner in its plane."""
    t = tables(problem)
    if problem.kind in ("max", "min"):
        where = _NO_INDICES if indices is None else indices

        def work(first, last):
            extremes(first, last, x, y, where, indices is not None, *t.common, t.flip_mask,
                     *t.buffers("x", "y", "places", "taps"))
    else:
        def work(first, last):
            sums(first, last, x, y, *t.common, t.norm, t.p, *t.buffers("x", "y", "taps",
                                                                          "spare"))

    threads.run(problem.n * t.strips * t.blocks, work, _threads_for(problem),
                subnormals=problem.kind in ("max", "min"))


@widened("dx")
def backward(problem, dy, x, indices, dx) -> None:
    """dx = the adjoint of forward at x, applied to dy."""
    t = tables(problem)
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

    threads.run(problem.n * t.strips * t.blocks, work, _threads_for(problem),
                subnormals=problem.kind in ("max", "min"))


def _threads_for(problem) -> int:
    p = problem
    cells = p.n * p.c * (p.oh * p.ow * p.kh * p.kw + p.ih * p.iw)
    return threads.num_threads() if cells > _PARALLEL_WINDOW_CELLS else 1


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
                        if norm == MEAN:
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
                    and (norm == MEAN or direct(x, x_buffer))):
                some = min(some, size)
            elif some > size:
                some -= some % size
            source, x_row, x_col = at(x_buffer, 0), 0, 0
            if norm != MEAN:
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
                        if norm == MEAN:
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
        if norm == NORM1:
            value = absolute(value)
        elif norm == NORM2:
            value = multiply(value, value)
        elif norm == NORMP:
            value = raised(absolute(value), p, spare)
        total = add(total, value)
    if norm == NORM2:
        return square_root(total)
    if norm == NORMP:
        return raised(total, 1 / p, spare)
    return total


@inline
def slope(value, length, norm, p, spare):
    """The derivative of a norm by one of its values."""
    ratio = divide(value, length)
    if norm == NORM1:
        ratio = sign(value)
    elif norm == NORMP:
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
