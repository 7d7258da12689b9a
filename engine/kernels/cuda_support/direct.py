"""Convolution as it is defined: a thread sums the products of one result.

For every dtype and geometry, and the fastest for depthwise convolutions, which read memory more
than they multiply.  The tables of ``geometry.py`` make it the gradient of the data as well.
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
    equal,
    fma,
    inside,
    less,
    load,
    load_index,
    mul,
    rem,
    store,
    thread,
    wide,
    wrap,
)
from .kernel import ADDRESS, I32, I64, Kernel
from .sums import block_fold

THREADS = 256
WEIGHT_THREADS = 128


@cache
def gather(dtype: str, order: str, activation: str | None) -> Kernel:
    """y; neighbouring threads have neighbouring pixels ("nchw") or channels ("nhwc")."""
    wide_dtype = accumulator(dtype)
    number, write, finish = load(dtype), store(dtype), activate(activation, wide_dtype)
    zero, one, plus = constant(wide_dtype, 0), constant(wide_dtype, 1), fma(wide_dtype)
    wrapped = wrap(dtype)
    block_x, block_y = block(0), block(1)
    pixels_first = order == "nchw"

    def kernel(x: ADDRESS, weight: ADDRESS, bias: ADDRESS, y: ADDRESS, offsets: ADDRESS,
               row_of: ADDRESS, column_of: ADDRESS, weight_offsets: ADDRESS, terms: I32,
               results: I32, channels: I32, outputs: I32, grid_h: I32, grid_w: I32, step_h: I32,
               step_w: I32, ih: I32, iw: I32, x_g: I64, x_n: I64, x_h: I64, x_w: I64, w_g: I64,
               w_n: I64, y_n: I64, y_c: I64, y_h: I64, y_w: I64, bias_step: I64,
               has_bias: I32):
        place, image = add(mul(block_x(), THREADS), thread()), block_y()
        alive = less(place, results)
        if pixels_first:
            column, line = rem(place, grid_w), div(place, grid_w)
            row, channel = rem(line, grid_h), div(line, grid_h)
        else:
            channel, line = rem(place, channels), div(place, channels)
            column, row = rem(line, grid_w), div(line, grid_w)
        group, output = div(channel, outputs), rem(channel, outputs)
        top, left = mul(row, step_h), mul(column, step_w)
        from_x = add(add(mul(wide(image), x_n), mul(wide(group), x_g)),
                     add(mul(wide(top), x_h), mul(wide(left), x_w)))
        from_w = add(mul(wide(group), w_g), mul(wide(output), w_n))
        value = zero()
        for k in range(terms):
            seen = both(inside(add(top, load_index(row_of, k)), ih),
                        inside(add(left, load_index(column_of, k)), iw))
            pixel = number(x, add(from_x, wide(load_index(offsets, k))), both(seen, alive))
            factor = number(weight, add(from_w, wide(load_index(weight_offsets, k))), alive)
            value = plus(pixel, factor, value)
        added = number(bias, mul(wide(channel), bias_step), both(alive, less(0, has_bias)))
        value = finish(wrapped(plus(added, one(), value)))
        to = add(add(mul(wide(image), y_n), mul(wide(channel), y_c)),
                 add(mul(wide(row), y_h), mul(wide(column), y_w)))
        write(y, to, value, alive)

    return Kernel(f"gather_{dtype}_{order}_{activation}", kernel, THREADS)


@cache
def gather_weight(dtype: str) -> Kernel:
    """dweight; a block sums the products of one weight over all pixels."""
    wide_dtype = accumulator(dtype)
    number, write = load(dtype), store(dtype)
    zero, plus = constant(wide_dtype, 0), fma(wide_dtype)
    total = block_fold("add", wide_dtype, WEIGHT_THREADS)
    block_x, block_y = block(0), block(1)

    def kernel(dy: ADDRESS, x: ADDRESS, dweight: ADDRESS, offsets: ADDRESS, row_of: ADDRESS,
               column_of: ADDRESS, weight_offsets: ADDRESS, steps: I32, pixels: I32,
               outputs: I32, grid_h: I32, grid_w: I32, step_h: I32, step_w: I32, ih: I32, iw: I32,
               dy_n: I64, dy_c: I64, dy_h: I64, dy_w: I64, x_g: I64, x_n: I64, x_h: I64, x_w: I64,
               w_o: I64):
        t, term, channel = thread(), block_x(), block_y()
        group = div(channel, outputs)
        row_k, column_k = load_index(row_of, term), load_index(column_of, term)
        from_x = add(mul(wide(group), x_g), wide(load_index(offsets, term)))
        from_dy = mul(wide(channel), dy_c)
        value = zero()
        for step in range(steps):
            pixel = add(mul(step, WEIGHT_THREADS), t)
            column, line = rem(pixel, grid_w), div(pixel, grid_w)
            row, image = rem(line, grid_h), div(line, grid_h)
            top, left = mul(row, step_h), mul(column, step_w)
            seen = both(both(inside(add(top, row_k), ih), inside(add(left, column_k), iw)),
                        less(pixel, pixels))
            of_x = add(add(from_x, mul(wide(image), x_n)),
                       add(mul(wide(top), x_h), mul(wide(left), x_w)))
            of_dy = add(add(from_dy, mul(wide(image), dy_n)),
                        add(mul(wide(row), dy_h), mul(wide(column), dy_w)))
            value = plus(number(dy, of_dy, seen), number(x, of_x, seen), value)
        to = add(mul(wide(channel), w_o), wide(load_index(weight_offsets, term)))
        write(dweight, to, total(value), equal(t, 0))

    return Kernel(f"gather_weight_{dtype}", kernel, WEIGHT_THREADS)
