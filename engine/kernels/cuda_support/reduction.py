"""Sums and extremes along some axes: a block for each result, or several where that is long.

Each thread goes over every 256th term, then the block adds up as a tree: one order, whatever the
GPU, so the same call gives the same bits.
"""

from __future__ import annotations

from functools import cache

from .elementwise import memory_dtype
from .intrinsics import (
    accumulator,
    add,
    block,
    compute,
    constant,
    convert,
    device,
    div,
    equal,
    less,
    load,
    mul,
    rem,
    select,
    store,
    thread,
    wide,
)
from .kernel import ADDRESS, I32, I64, Kernel
from .sums import block_fold

THREADS = 256
AXES = 3  # that are kept, and as many that are not
LONG = 4096  # terms for one block
MOST_SPLITS = 64


@cache
def reduction(name: str, dtype: str, loop: str, out: str) -> Kernel:
    """y[result, split] = the terms of that split, put together by `name` in the dtype `loop`."""
    number = accumulator(memory_dtype(loop))
    get, to_loop, write = load(memory_dtype(dtype)), convert(number), store(memory_dtype(out))
    rounded = convert(accumulator(memory_dtype(out)))
    operation, fold = compute(name, number), block_fold(name, number, THREADS)
    nothing, is_sum = constant(number, 0), name == "add"
    block_x, block_y = block(0), block(1)

    @device
    def at(place, size_j, size_k, step_i, step_j, step_k):
        k, line = rem(place, size_k), div(place, size_k)
        j, i = rem(line, size_j), div(line, size_j)
        return add(add(mul(wide(i), step_i), mul(wide(j), step_j)), mul(wide(k), step_k))

    def kernel(x: ADDRESS, y: ADDRESS, steps: I32, terms: I32, splits: I32, size_j: I32,
               size_k: I32, term_j: I32, term_k: I32, x_i: I64, x_j: I64, x_k: I64, t_i: I64,
               t_j: I64, t_k: I64):
        result, split, t = block_x(), block_y(), thread()
        start = at(result, size_j, size_k, x_i, x_j, x_k)
        if is_sum:
            value = nothing()
        else:
            value = to_loop(get(x, start, less(0, terms)))
        first = add(mul(split, mul(steps, THREADS)), t)
        for step in range(steps):
            term = add(first, step * THREADS)
            alive = less(term, terms)
            place = add(start, at(term, term_j, term_k, t_i, t_j, t_k))
            value = select(alive, operation(value, to_loop(get(x, place, alive))), value)
        total = rounded(fold(value))
        write(y, add(mul(wide(result), splits), wide(split)), total, equal(t, 0))

    return Kernel(f"reduction_{name}_{dtype}_{loop}_{out}", kernel, THREADS)
