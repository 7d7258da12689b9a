"""Universal functions: a thread computes four elements of the result.

Operands are arrays of any strides and dtypes, or numbers that the launch brings.  Where all arrays
lie alike in memory they are walked as lines, else by four indices.
"""

from __future__ import annotations

from functools import cache

from .intrinsics import (
    accumulator,
    add,
    block,
    compute,
    convert,
    device,
    div,
    iota,
    less,
    load,
    mul,
    rem,
    store,
    thread,
    wide,
)
from .kernel import ADDRESS, F64, I32, I64, Kernel

THREADS = 256
EACH = 4  # elements of a thread, a block apart: loads of neighbours are neighbours
AXES = 4
_each, _block = iota(EACH, THREADS), block(0)


def memory_dtype(dtype: str) -> str:
    """As kernels load and store it."""
    return "uint8" if dtype == "bool" else dtype


@cache
def elementwise(name: str, dtypes: tuple, loop: str, out: str, flat: bool) -> Kernel:
    """y = name(a, b, c), as many as there are `dtypes`; None stands for a number of the launch.

    Operands are converted to `loop`, the result to `out`.
    """
    number = accumulator(memory_dtype(loop))
    get_a, get_b, get_c = (_operand(each, number) for each in (*dtypes, None, None)[:3])
    operation, places = _operation(name, number, len(dtypes)), _flat if flat else _strided
    rounded, write = convert(accumulator(memory_dtype(out))), store(memory_dtype(out))

    def kernel(a: ADDRESS, b: ADDRESS, c: ADDRESS, y: ADDRESS, number_a: F64, number_b: F64,
               number_c: F64, count: I64, size_j: I32, size_k: I32, size_m: I32, a_i: I64,
               a_j: I64, a_k: I64, a_m: I64, b_i: I64, b_j: I64, b_k: I64, b_m: I64, c_i: I64,
               c_j: I64, c_k: I64, c_m: I64, y_i: I64, y_j: I64, y_k: I64, y_m: I64):
        place, i, j, k, m = places(size_j, size_k, size_m)
        alive = less(place, count)
        value_a = get_a(a, number_a, _at(i, j, k, m, a_i, a_j, a_k, a_m), alive)
        value_b = get_b(b, number_b, _at(i, j, k, m, b_i, b_j, b_k, b_m), alive)
        value_c = get_c(c, number_c, _at(i, j, k, m, c_i, c_j, c_k, c_m), alive)
        value = operation(value_a, value_b, value_c)
        write(y, _at(i, j, k, m, y_i, y_j, y_k, y_m), rounded(value), alive)

    kinds = "_".join(each or "number" for each in dtypes)
    shape = "flat" if flat else "strided"
    return Kernel(f"elementwise_{name}_{kinds}_{loop}_{out}_{shape}", kernel, THREADS)


@device
def _flat(size_j, size_k, size_m):
    """(number, its four indices) of a thread's elements: here they are numbers in a line."""
    place = add(mul(wide(_block()), THREADS * EACH), add(thread(), _each()))
    return place, 0, 0, 0, place


@device
def _strided(size_j, size_k, size_m):
    place = add(mul(_block(), THREADS * EACH), add(thread(), _each()))
    m, line = rem(place, size_m), div(place, size_m)
    k, plane = rem(line, size_k), div(line, size_k)
    return wide(place), div(plane, size_j), rem(plane, size_j), k, m


@device
def _at(i, j, k, m, step_i, step_j, step_k, step_m):
    return add(add(mul(wide(i), step_i), mul(wide(j), step_j)),
               add(mul(wide(k), step_k), mul(wide(m), step_m)))


@cache
def _operand(dtype, number):
    """What gets one: from an array of that dtype, or for None, the number that was launched."""
    to_loop = convert(number)
    get = load(memory_dtype(dtype or "float64"), True)  # the result may be written over it

    @device
    def of_array(address, value, place, alive):
        return to_loop(get(address, place, alive))

    @device
    def of_launch(address, value, place, alive):
        return to_loop(value)

    return of_launch if dtype is None else of_array


@cache
def _operation(name, number, operands):
    function = compute(name, number)

    @device
    def of_one(a, b, c):
        return function(a)

    @device
    def of_two(a, b, c):
        return function(a, b)

    @device
    def of_three(a, b, c):
        return function(a, b, c)

    return (of_one, of_two, of_three)[operands - 1]
