"""Pooling of every kind, forward and backward: a thread for each result.

Along each axis a table has, for every output, where its window starts and how many elements of it
count, and for every input, which outputs see it (``geometry.py``): so strides, dilation, ceil mode
and adaptive windows are all alike.  The gradient is gathered too, by each element of x from the
windows that see it, in the order of dy: no atomics, the same bits every time.
"""

from __future__ import annotations

from functools import cache

from .intrinsics import (
    accumulator,
    add,
    beats,
    block,
    both,
    constant,
    convert,
    device,
    div,
    equal,
    fma,
    inside,
    less,
    load,
    load_index,
    mul,
    power,
    quotient,
    rem,
    select,
    sign,
    store,
    thread,
    wide,
    wrap,
)
from .kernel import ADDRESS, I32, I64, Kernel

THREADS = 256
NOWHERE = -1


@device
def split(place, channels, height, width):
    """(channel, row, column) of a result of channels-first order."""
    line = div(place, width)
    return div(line, height), rem(line, height), rem(place, width)


@device
def split_last(place, channels, height, width):
    pixel = div(place, channels)
    return rem(place, channels), div(pixel, width), rem(pixel, width)


@cache
def extreme(kind: str, dtype: str, order: str) -> Kernel:
    """y and, where asked for, the position of the extreme within its plane."""
    wide_dtype = accumulator(dtype)
    number, write, write_place = load(dtype), store(dtype), store("int64")
    better, zero, block_x, block_y = beats(kind, wide_dtype), constant(wide_dtype, 0), block(0), (
        block(1))
    coordinates = split if order == "nchw" else split_last

    def kernel(x: ADDRESS, y: ADDRESS, places: ADDRESS, start_h: ADDRESS, count_h: ADDRESS,
               start_w: ADDRESS, count_w: ADDRESS, results: I32, channels: I32, oh: I32, ow: I32,
               most_h: I32, most_w: I32, step_h: I32, step_w: I32, iw: I32, x_n: I64, x_c: I64,
               x_h: I64, x_w: I64, y_n: I64, y_c: I64, y_h: I64, y_w: I64, i_n: I64, i_c: I64,
               i_h: I64, i_w: I64, with_y: I32, with_places: I32):
        place, image = add(mul(block_x(), THREADS), thread()), block_y()
        alive = less(place, results)
        channel, row, column = coordinates(select(alive, place, 0), channels, oh, ow)
        top, high = load_index(start_h, row), load_index(count_h, row)
        left, broad = load_index(start_w, column), load_index(count_w, column)
        plane = add(mul(wide(image), x_n), mul(wide(channel), x_c))
        best, winner = zero(), add(mul(place, 0), NOWHERE)
        for r in range(most_h):
            for s in range(most_w):
                h, w = add(top, r * step_h), add(left, s * step_w)
                seen = both(both(inside(r, high), inside(s, broad)), alive)
                value = number(x, add(plane, add(mul(wide(h), x_h), mul(wide(w), x_w))), seen)
                wins = both(seen, better(value, best))
                first = both(seen, equal(winner, NOWHERE))
                best = select(wins, value, select(first, value, best))
                at = add(mul(h, iw), w)
                winner = select(wins, at, select(first, at, winner))
        to = add(add(mul(wide(image), y_n), mul(wide(channel), y_c)),
                 add(mul(wide(row), y_h), mul(wide(column), y_w)))
        write(y, to, best, both(alive, less(0, with_y)))
        to = add(add(mul(wide(image), i_n), mul(wide(channel), i_c)),
                 add(mul(wide(row), i_h), mul(wide(column), i_w)))
        write_place(places, to, winner, both(alive, less(0, with_places)))

    return Kernel(f"extreme_{kind}_{dtype}_{order}", kernel, THREADS)


@cache
def extreme_backward(dtype: str, order: str) -> Kernel:
    """dx: every element adds up dy of the windows whose position it is."""
    wide_dtype = accumulator(dtype)
    number, write, place_at = load(dtype), store(dtype), load("int64")
    zero, one, plus = constant(wide_dtype, 0), constant(wide_dtype, 1), fma(wide_dtype)
    wrapped, block_x, block_y = wrap(dtype), block(0), block(1)
    coordinates = split if order == "nchw" else split_last

    def kernel(dy: ADDRESS, places: ADDRESS, dx: ADDRESS, first_h: ADDRESS, seen_h: ADDRESS,
               first_w: ADDRESS, seen_w: ADDRESS, results: I32, channels: I32, ih: I32, iw: I32,
               most_h: I32, most_w: I32, dy_n: I64, dy_c: I64, dy_h: I64, dy_w: I64, i_n: I64,
               i_c: I64, i_h: I64, i_w: I64, dx_n: I64, dx_c: I64, dx_h: I64, dx_w: I64):
        place, image = add(mul(block_x(), THREADS), thread()), block_y()
        alive = less(place, results)
        channel, row, column = coordinates(select(alive, place, 0), channels, ih, iw)
        top, high = load_index(first_h, row), load_index(seen_h, row)
        left, broad = load_index(first_w, column), load_index(seen_w, column)
        me = wide(add(mul(row, iw), column))
        value = zero()
        for r in range(most_h):
            for s in range(most_w):
                h, w = add(top, r), add(left, s)
                seen = both(both(inside(r, high), inside(s, broad)), alive)
                at = add(add(mul(wide(image), i_n), mul(wide(channel), i_c)),
                         add(mul(wide(h), i_h), mul(wide(w), i_w)))
                mine = both(seen, equal(place_at(places, at, seen), me))
                at = add(add(mul(wide(image), dy_n), mul(wide(channel), dy_c)),
                         add(mul(wide(h), dy_h), mul(wide(w), dy_w)))
                value = plus(number(dy, at, mine), one(), value)
        to = add(add(mul(wide(image), dx_n), mul(wide(channel), dx_c)),
                 add(mul(wide(row), dx_h), mul(wide(column), dx_w)))
        write(dx, to, wrapped(value), alive)

    return Kernel(f"extreme_backward_{dtype}_{order}", kernel, THREADS)


@cache
def mean(kind: str, dtype: str, y_dtype: str, order: str, exponent: int) -> Kernel:
    """y of "avg" or "lp"; an exponent of 0 is one that only the launch knows."""
    wide_dtype = accumulator(dtype)
    number, write = load(dtype), store(y_dtype)
    zero, one, plus = constant(wide_dtype, 0), constant(wide_dtype, 1), fma(wide_dtype)
    real, over, raised = convert(wide_dtype), quotient(wide_dtype), power(wide_dtype, exponent)
    root = power(wide_dtype, {0: 0, 1: 1, 2: 0.5}[exponent])
    block_x, block_y, is_mean = block(0), block(1), kind == "avg"
    exponent_of = load(wide_dtype)
    coordinates = split if order == "nchw" else split_last

    def kernel(x: ADDRESS, y: ADDRESS, start_h: ADDRESS, count_h: ADDRESS, part_h: ADDRESS,
               start_w: ADDRESS, count_w: ADDRESS, part_w: ADDRESS, results: I32, channels: I32,
               oh: I32, ow: I32, most_h: I32, most_w: I32, step_h: I32, step_w: I32, x_n: I64,
               x_c: I64, x_h: I64, x_w: I64, y_n: I64, y_c: I64, y_h: I64, y_w: I64,
               exponents: ADDRESS):
        place, image = add(mul(block_x(), THREADS), thread()), block_y()
        alive = less(place, results)
        channel, row, column = coordinates(select(alive, place, 0), channels, oh, ow)
        top, high = load_index(start_h, row), load_index(count_h, row)
        left, broad = load_index(start_w, column), load_index(count_w, column)
        plane = add(mul(wide(image), x_n), mul(wide(channel), x_c))
        value = zero()
        p, inverse = exponent_of(exponents, 0, less(0, 1)), exponent_of(exponents, 1, less(0, 1))
        for r in range(most_h):
            for s in range(most_w):
                h, w = add(top, r * step_h), add(left, s * step_w)
                seen = both(both(inside(r, high), inside(s, broad)), alive)
                each = number(x, add(plane, add(mul(wide(h), x_h), mul(wide(w), x_w))), seen)
                if is_mean:
                    value = plus(each, one(), value)
                else:
                    value = plus(raised(each, p), one(), value)
        if is_mean:
            value = over(value, real(mul(load_index(part_h, row), load_index(part_w, column))))
        else:
            value = root(value, inverse)
        to = add(add(mul(wide(image), y_n), mul(wide(channel), y_c)),
                 add(mul(wide(row), y_h), mul(wide(column), y_w)))
        write(y, to, value, alive)

    return Kernel(f"mean_{kind}_{dtype}_{y_dtype}_{order}_{exponent}", kernel, THREADS)


@cache
def mean_backward(dtype: str, order: str) -> Kernel:
    """dx of "avg": every element adds up its part of dy of the windows that it counts in."""
    wide_dtype = accumulator(dtype)
    number, write = load(dtype), store(dtype)
    zero, one, plus = constant(wide_dtype, 0), constant(wide_dtype, 1), fma(wide_dtype)
    real, over, block_x, block_y = convert(wide_dtype), quotient(wide_dtype), block(0), block(1)
    coordinates = split if order == "nchw" else split_last

    def kernel(dy: ADDRESS, dx: ADDRESS, start_h: ADDRESS, count_h: ADDRESS, part_h: ADDRESS,
               start_w: ADDRESS, count_w: ADDRESS, part_w: ADDRESS, first_h: ADDRESS,
               seen_h: ADDRESS, first_w: ADDRESS, seen_w: ADDRESS, results: I32, channels: I32,
               ih: I32, iw: I32, most_h: I32, most_w: I32, step_h: I32, step_w: I32, dy_n: I64,
               dy_c: I64, dy_h: I64, dy_w: I64, dx_n: I64, dx_c: I64, dx_h: I64, dx_w: I64):
        place, image = add(mul(block_x(), THREADS), thread()), block_y()
        alive = less(place, results)
        channel, row, column = coordinates(select(alive, place, 0), channels, ih, iw)
        top, high = load_index(first_h, row), load_index(seen_h, row)
        left, broad = load_index(first_w, column), load_index(seen_w, column)
        plane = add(mul(wide(image), dy_n), mul(wide(channel), dy_c))
        value = zero()
        for r in range(most_h):
            for s in range(most_w):
                listed_h, listed_w = inside(r, high), inside(s, broad)
                h, w = select(listed_h, add(top, r), 0), select(listed_w, add(left, s), 0)
                far_h = add(row, mul(load_index(start_h, h), -1))
                far_w = add(column, mul(load_index(start_w, w), -1))
                counts = both(counted(far_h, step_h, load_index(count_h, h)),
                              counted(far_w, step_w, load_index(count_w, w)))
                seen = both(both(both(listed_h, listed_w), counts), alive)
                each = number(dy, add(plane, add(mul(wide(h), dy_h), mul(wide(w), dy_w))), seen)
                part = real(mul(load_index(part_h, h), load_index(part_w, w)))
                value = plus(over(each, part), one(), value)
        to = add(add(mul(wide(image), dx_n), mul(wide(channel), dx_c)),
                 add(mul(wide(row), dx_h), mul(wide(column), dx_w)))
        write(dx, to, value, alive)

    return Kernel(f"mean_backward_{dtype}_{order}", kernel, THREADS)


@device
def counted(far, step, count):
    """Whether an element that far from the start of a window is one of its `count`."""
    return both(both(less(-1, far), equal(rem(select(less(-1, far), far, 0), step), 0)),
                less(div(select(less(-1, far), far, 0), step), count))


@cache
def norm_backward(dtype: str, order: str, exponent: int) -> Kernel:
    """dx of "lp": dy * sign(x) * (|x| / y) ** (p - 1) over the windows that an element counts in.

    `norms` are y, in the dtype that sums are held in and contiguous in the order (n, c, h, w).
    """
    wide_dtype = accumulator(dtype)
    number, write, norm = load(dtype), store(dtype), load(wide_dtype)
    zero, plus = constant(wide_dtype, 0), fma(wide_dtype)
    over, signed, times = quotient(wide_dtype), sign(wide_dtype), mul
    slope = power(wide_dtype, {0: 0, 1: 0, 2: 1}[exponent])
    block_x, block_y = block(0), block(1)
    coordinates = split if order == "nchw" else split_last
    exponent_of = load(wide_dtype)

    def kernel(dy: ADDRESS, x: ADDRESS, norms: ADDRESS, dx: ADDRESS, start_h: ADDRESS,
               count_h: ADDRESS, start_w: ADDRESS, count_w: ADDRESS, first_h: ADDRESS,
               seen_h: ADDRESS, first_w: ADDRESS, seen_w: ADDRESS, results: I32, channels: I32,
               ih: I32, iw: I32, oh: I32, ow: I32, most_h: I32, most_w: I32, step_h: I32,
               step_w: I32, dy_n: I64, dy_c: I64, dy_h: I64, dy_w: I64, x_n: I64, x_c: I64,
               x_h: I64, x_w: I64, dx_n: I64, dx_c: I64, dx_h: I64, dx_w: I64,
               exponents: ADDRESS):
        place, image = add(mul(block_x(), THREADS), thread()), block_y()
        alive = less(place, results)
        channel, row, column = coordinates(select(alive, place, 0), channels, ih, iw)
        top, high = load_index(first_h, row), load_index(seen_h, row)
        left, broad = load_index(first_w, column), load_index(seen_w, column)
        plane = add(mul(wide(image), dy_n), mul(wide(channel), dy_c))
        plane_y = mul(add(mul(wide(image), channels), wide(channel)), mul(wide(oh), ow))
        mine = number(x, add(add(mul(wide(image), x_n), mul(wide(channel), x_c)),
                             add(mul(wide(row), x_h), mul(wide(column), x_w))), alive)
        less_one = exponent_of(exponents, 2, less(0, 1))
        value = zero()
        for r in range(most_h):
            for s in range(most_w):
                listed_h, listed_w = inside(r, high), inside(s, broad)
                h, w = select(listed_h, add(top, r), 0), select(listed_w, add(left, s), 0)
                far_h = add(row, mul(load_index(start_h, h), -1))
                far_w = add(column, mul(load_index(start_w, w), -1))
                counts = both(counted(far_h, step_h, load_index(count_h, h)),
                              counted(far_w, step_w, load_index(count_w, w)))
                seen = both(both(both(listed_h, listed_w), counts), alive)
                each = number(dy, add(plane, add(mul(wide(h), dy_h), mul(wide(w), dy_w))), seen)
                size = norm(norms, add(plane_y, wide(add(mul(h, ow), w))), seen)
                flat = equal(size, zero())
                ratio = select(flat, zero(), over(mine, size))
                share = times(signed(mine), slope(ratio, less_one))
                value = plus(each, select(flat, zero(), share), value)
        to = add(add(mul(wide(image), dx_n), mul(wide(channel), dx_c)),
                 add(mul(wide(row), dx_h), mul(wide(column), dx_w)))
        write(dx, to, value, alive)

    return Kernel(f"norm_backward_{dtype}_{order}_{exponent}", kernel, THREADS)
