"""Kernels that add up: partial results, and gradients of biases."""

from __future__ import annotations

from functools import cache

from .intrinsics import (
    accumulator,
    add,
    barrier,
    block,
    compute,
    constant,
    device,
    div,
    equal,
    fma,
    lds,
    less,
    load,
    load_index,
    mul,
    rem,
    shared,
    store,
    sts,
    thread,
    wide,
)
from .kernel import ADDRESS, I32, I64, Kernel

THREADS = 256


@cache
def block_fold(name: str, dtype: str, threads: int):
    """A device function: a number of each thread put together over the block, in one order.

    Halves how many there are at each step, a tree; all threads get the result.
    """
    memory, get, put = shared(dtype, threads), lds(dtype), sts(dtype)
    operation = compute(name, dtype)
    halvings = threads.bit_length() - 1

    @device
    def folded(value):
        kept, t = memory(), thread()
        put(kept, t, value)
        barrier()
        half = threads // 2
        for _ in range(halvings):
            other = rem(add(t, half), threads)
            value = operation(get(kept, other), get(kept, t))
            barrier()
            put(kept, t, value)
            barrier()
            half = half // 2
        return value

    return folded


@cache
def add_up(dtype: str) -> Kernel:
    """dweight[group, o, k] = the sum of the partial results of all splits, in order."""
    number, write, one, plus = load("float32"), store(dtype), constant("float32", 1), fma("float32")
    zero, block_x = constant("float32", 0), block(0)

    def kernel(partial: ADDRESS, dweight: ADDRESS, offsets: ADDRESS, splits: I32, count: I32,
               terms: I32, w_o: I64):
        place = add(mul(block_x(), THREADS), thread())
        there = less(place, count)
        value = zero()
        for split in range(splits):
            value = plus(number(partial, add(wide(place), wide(split) * count), there), one(),
                         value)
        output, term = div(place, terms), rem(place, terms)
        to = add(mul(wide(output), w_o), wide(load_index(offsets, term)))
        write(dweight, to, value, there)

    return Kernel(f"add_up_{dtype}", kernel, THREADS)


@cache
def bias_gradient(dtype: str) -> Kernel:
    """dbias[channel] = the sum of dy over images and pixels; a block for each channel."""
    wide_dtype = accumulator(dtype)
    number, write = load(dtype), store(dtype)
    one, zero, plus = constant(wide_dtype, 1), constant(wide_dtype, 0), fma(wide_dtype)
    total, block_x = block_fold("add", wide_dtype, THREADS), block(0)

    def kernel(dy: ADDRESS, dbias: ADDRESS, steps: I32, pixels: I32, height: I32, width: I32,
               dy_n: I64, dy_c: I64, dy_h: I64, dy_w: I64):
        t, channel = thread(), block_x()
        value = zero()
        for step in range(steps):
            pixel = add(mul(step, THREADS), t)
            column, line = rem(pixel, width), div(pixel, width)
            row, image = rem(line, height), div(line, height)
            place = add(add(mul(wide(image), dy_n), mul(wide(channel), dy_c)),
                        add(mul(wide(row), dy_h), mul(wide(column), dy_w)))
            value = plus(number(dy, place, less(pixel, pixels)), one(), value)
        write(dbias, channel, total(value), equal(t, 0))

    return Kernel(f"bias_gradient_{dtype}", kernel, THREADS)
