"""Depthwise convolution: a thread sums four neighbouring pixels of one channel.

Memory is all that counts here, so each row of the four windows is loaded once, and so are weights.
Products are summed in the order of ``direct.gather``: the bits are the same.
"""

from __future__ import annotations

from functools import cache

from .intrinsics import (
    accumulator,
    activate,
    add,
    block,
    both,
    constant,
    div,
    fma,
    inside,
    iota,
    less,
    load,
    mul,
    rem,
    row_products,
    store,
    thread,
    wide,
    wrap,
    zeros,
)
from .kernel import ADDRESS, I32, I64, Kernel

THREADS = 256
NEIGHBOURS = 4
MOST_LANES = 16  # of a row that a thread holds


def lanes(taps: int, step: int, apart: int) -> int:
    """How many pixels of a row the windows of all neighbours span."""
    return (NEIGHBOURS - 1) * step + (taps - 1) * apart + 1


@cache
def depthwise(dtype: str, order: str, activation: str | None, taps: int, step: int,
              apart: int) -> Kernel:
    """y; windows have `taps` columns that are `apart`, and move on by `step`."""
    wide_dtype = accumulator(dtype)
    number, write, finish = load(dtype), store(dtype), activate(activation, wide_dtype)
    nothing, one = zeros(NEIGHBOURS, wide_dtype), constant(wide_dtype, 1)
    plus, wrapped = fma(wide_dtype), wrap(dtype)
    products = row_products(wide_dtype, taps, step, apart)
    span, each, neighbours = iota(lanes(taps, step, apart), 1), iota(taps, 1), iota(NEIGHBOURS, 1)
    block_x, block_y = block(0), block(1)
    pixels_first = order == "nchw"

    def kernel(x: ADDRESS, weight: ADDRESS, bias: ADDRESS, y: ADDRESS, rows: I32, results: I32,
               channels: I32, multiplier: I32, grid_h: I32, grid_w: I32, fours: I32, step_h: I32,
               apart_h: I32, pad_t: I32, pad_l: I32, ih: I32, iw: I32, x_n: I64, x_c: I64,
               x_h: I64, x_w: I64, w_n: I64, w_h: I64, w_w: I64, y_n: I64, y_c: I64, y_h: I64,
               y_w: I64, bias_step: I64, has_bias: I32):
        place, image = add(mul(block_x(), THREADS), thread()), block_y()
        alive = less(place, results)
        if pixels_first:
            four, line = rem(place, fours), div(place, fours)
            row, channel = rem(line, grid_h), div(line, grid_h)
        else:
            channel, line = rem(place, channels), div(place, channels)
            four, row = rem(line, fours), div(line, fours)
        first = mul(four, NEIGHBOURS)
        column = add(add(mul(first, step), mul(pad_l, -1)), span())
        there = both(inside(column, iw), alive)
        plane = add(add(mul(wide(image), x_n), mul(wide(div(channel, multiplier)), x_c)),
                    mul(wide(column), x_w))
        taps_at = add(mul(wide(channel), w_n), mul(wide(each()), w_w))
        value = nothing()
        for r in range(rows):
            h = add(add(mul(row, step_h), mul(pad_t, -1)), r * apart_h)
            pixels = number(x, add(plane, mul(wide(h), x_h)), both(there, inside(h, ih)))
            factors = number(weight, add(taps_at, wide(r) * w_h), alive)
            value = products(value, pixels, factors)
        added = number(bias, mul(wide(channel), bias_step), both(alive, less(0, has_bias)))
        value = finish(wrapped(plus(added, one(), value)))
        column = add(first, neighbours())
        to = add(add(mul(wide(image), y_n), mul(wide(channel), y_c)),
                 add(mul(wide(row), y_h), mul(wide(column), y_w)))
        write(y, to, value, both(alive, less(column, grid_w)))

    name = f"depthwise_{dtype}_{order}_{activation}_{taps}_{step}_{apart}"
    return Kernel(name, kernel, THREADS)
