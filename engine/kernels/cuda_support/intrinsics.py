"""The operations that kernels are written in, and what each means on NumPy arrays.

A value of a thread is an array with an axis for blocks and one for threads, either of them 1 where
it does not matter.  A *lane* value, of a few numbers that one thread holds in registers, has an
axis more in front; operations that are elementwise broadcast over it.  Control flow must be the
same for all blocks and threads: what differs is a condition given to `load`, `store` or `select`.

Calling an intrinsic is emulating it.  What it is on a GPU stands under its name in
``toolchain/lowering*.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from engine._problem import named_dtype

from . import emulate
from .fragments import HALVES, bits_of, cut, split, unpacked, warp_product


class Intrinsic:
    """An operation by name, the constants it was made with, and its meaning."""

    __slots__ = ("name", "constants", "meaning")

    def __init__(self, name: str, constants: tuple, meaning: Callable):
        self.name = name
        self.constants = constants
        self.meaning = meaning

    def __call__(self, *args):
        return self.meaning(*args)

    def __repr__(self):
        return f"{self.name}{self.constants or ''}"


def _plain(meaning):
    return Intrinsic(meaning.__name__, (), meaning)


def _family(make):
    """An intrinsic for each combination of constants; `make` returns the meaning."""
    return cache(lambda *constants: Intrinsic(make.__name__, constants, make(*constants)))


def device(function):
    """Mark a function that kernels call; the compiler inlines it."""
    function.is_device = True
    return function


ACCUMULATOR = {"float16": "float32", "bfloat16": "float32", "float32": "float32",
               "float64": "float64"}


def accumulator(dtype: str) -> str:
    """What values of a dtype are loaded as: float32 for 16-bit floats, 64-bit integers."""
    return ACCUMULATOR.get(dtype) or ("uint64" if dtype.startswith("u") else "int64")


# ---- threads -----------------------------------------------------------------------------------

@_plain
def thread():
    """The number of this thread within its block."""
    return emulate.machine().threads


@_family
def block(axis):
    """The number of this block along an axis of the grid."""
    return lambda: emulate.machine().blocks[axis]


@_plain
def barrier():
    """Wait for all threads of the block."""
    emulate.machine().barrier()


# ---- numbers, elementwise ----------------------------------------------------------------------

@_plain
def add(a, b):
    return a + b


@_plain
def mul(a, b):
    return a * b


@_plain
def wide(a):
    """As a 64-bit integer; others have 32 bits."""
    return np.asarray(a, np.int64)


@_plain
def div(a, b):
    """The quotient of integers that are not negative."""
    return np.asarray(a) // b


@_plain
def rem(a, b):
    return np.asarray(a) % b


@_plain
def inside(a, size):
    """Whether 0 <= a < size."""
    return (np.asarray(a) >= 0) & (a < size)


@_plain
def both(a, b):
    return np.logical_and(a, b)


@_plain
def equal(a, b):
    return np.equal(a, b)


@_plain
def less(a, b):
    return np.less(a, b)


@_plain
def select(condition, a, b):
    return np.where(condition, a, b)


@_family
def constant(dtype, value):
    """A number of that dtype."""
    return lambda: np.dtype(dtype).type(value)


@_family
def convert(dtype):
    """A number in that dtype, which is one that numbers are loaded as."""
    return lambda a: np.asarray(a).astype(dtype)


@_family
def fma(dtype):
    """a * b + c, of floats with one rounding."""
    if dtype == "float32":
        return lambda a, b, c: (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)
    return lambda a, b, c: a * b + c


@_family
def wrap(dtype):
    """A 64-bit integer as it reads back from memory of that dtype; floats as they are."""
    if np.dtype(dtype).kind not in "iu":
        return lambda a: a
    return lambda a: np.asarray(a).astype(dtype).astype(accumulator(dtype))


@_family
def activate(name, dtype):
    """An activation, or nothing for None; NaN stays NaN."""
    def relu6(a):
        return np.clip(a, 0, 6)

    def sigmoid(a):
        return np.asarray(1 / (1 + np.exp(-np.asarray(a, np.float64))), dtype)

    return {None: lambda a: a, "relu": lambda a: np.maximum(a, a.dtype.type(0)), "relu6": relu6,
            "tanh": lambda a: np.tanh(a), "sigmoid": sigmoid}[name]


@_family
def beats(kind, dtype):
    """Whether a comes before b as the extreme of a window: larger (or less), or the first NaN."""
    better = np.greater if kind == "max" else np.less
    return lambda a, b: better(a, b) | ((a != a) & (b == b))


@_family
def quotient(dtype):
    return lambda a, b: np.divide(a, b)


@_family
def power(dtype, exponent):
    """abs(a) ** exponent; 0 means that the exponent is the second argument."""
    return {1: lambda a, e: np.abs(a), 2: lambda a, e: a * a, 0.5: lambda a, e: np.sqrt(np.abs(a)),
            0: lambda a, e: (np.abs(a) ** e).astype(dtype)}[exponent]


@_family
def sign(dtype):
    return lambda a: np.sign(a)


@_family
def compute(name, dtype):
    """NumPy's universal function of that name, of numbers of a dtype; truth is a 0 or 1."""
    if name == "where":
        return lambda a, b, c: np.where(a, b, c)
    function = getattr(np, name)
    if function.nin == 1:
        return lambda a: np.asarray(function(a))
    return lambda a, b: np.asarray(function(a, b))


# ---- memory ------------------------------------------------------------------------------------

@_family
def load(dtype, may_change=False):
    """The element at that index of the array at an address, 0 where the condition is false.

    Unless it `may_change`, nothing writes that array while the kernel runs.
    """
    memory, wide_dtype = named_dtype(dtype), np.dtype(accumulator(dtype))
    return lambda address, index, condition: emulate.machine().load(
        memory, address, index, condition).astype(wide_dtype)


@_plain
def load_index(address, index):
    """The element of an int32 table."""
    return emulate.machine().load(np.dtype(np.int32), address, index, True).astype(np.int64)


@_family
def load4(dtype):
    """Four 32-bit words from each index, a multiple of 4, as lanes."""
    return lambda address, index: emulate.machine().load(np.dtype(dtype), address, _fours(index),
                                                         True)


@_family
def load4_at(dtype, *offsets):
    """Four words so far from an index, and four for each further offset; multiples of 4."""
    return lambda address, index: emulate.machine().load(
        np.dtype(dtype), address, _fours(np.asarray(index) + _lanes(offsets)), True)


@_family
def store(dtype):
    """Write the value, rounded to the dtype, where the condition is true."""
    memory = named_dtype(dtype)
    return lambda address, index, value, condition: emulate.machine().store(
        memory, address, index, value, condition)


@_family
def shared(dtype, count):
    """Memory that the threads of a block share."""
    return lambda: emulate.machine().shared(dtype, count)


@_family
def lds(dtype):
    """The element at that index of shared memory."""
    return lambda memory, index: memory.load(index)


@_family
def lds_at(dtype, *offsets):
    """The elements of shared memory that lie so far from an index, as lanes."""
    return lambda memory, index: memory.load(np.asarray(index) + _lanes(offsets))


@_family
def sts_at(dtype, *offsets):
    """Write lanes so far from an index."""
    return lambda memory, index, values: memory.store(np.asarray(index) + _lanes(offsets), values)


@_family
def sts4_at(dtype, *offsets):
    """Write four lanes so far from an index, and four for each further offset; multiples of 4."""
    return lambda memory, index, values: memory.store(
        _fours(np.asarray(index) + _lanes(offsets)), values)


@_family
def lds4(dtype):
    """Four words of shared memory from each index, a multiple of 4, as lanes."""
    return lambda memory, index: memory.load(_fours(index))


@_family
def sts(dtype):
    return lambda memory, index, value: memory.store(index, value)


@_family
def sts4(dtype):
    return lambda memory, index, values: memory.store(_fours(index), values)


def _fours(index):
    """Each index and the three that follow it."""
    index = np.asarray(index)
    index = index if index.ndim == 3 else index[None]
    return (index[:, None] + np.arange(4).reshape(4, 1, 1)).reshape(-1, *index.shape[1:])


# ---- lanes -------------------------------------------------------------------------------------

def _lanes(values):
    return np.asarray(values).reshape(-1, 1, 1)


@_family
def iota(count, step):
    """0, step, 2 * step ..."""
    return lambda: _lanes(np.arange(count) * step)


@_family
def listed(*numbers):
    """These numbers."""
    return lambda: _lanes(numbers)


@_family
def zeros(count, dtype):
    return lambda: np.zeros((count, 1, 1), dtype)


@_plain
def join(a, b):
    """The lanes of a, then those of b."""
    return np.concatenate(np.broadcast_arrays(a, b))


@_plain
def rows8(a):
    """8 lanes as the rows of an 8x8 tile."""
    return np.repeat(a, 8, axis=0)


@_plain
def cols8(a):
    """8 lanes as the columns of an 8x8 tile."""
    return np.concatenate([a] * 8)


@_family
def every(step, first):
    """Lanes `first`, `first + step` ..."""
    return lambda a: a[first::step]


@_family
def picked(*places):
    """These lanes."""
    return lambda a: a[list(places)]


# ---- products ----------------------------------------------------------------------------------

@_family
def outer8(depth, pitch_a, half_a, pitch_b, half_b):
    """An 8x8 tile plus `depth` outer products of 8 and 8 words of shared memory.

    The words are four from a place and four from `half` beyond it, `pitch` further for every step.
    """
    product = fma("float32")

    def words(memory, at, pitch, half):
        steps, places = np.arange(depth) * pitch, np.arange(4) + [[0], [half]]
        found = memory.load(at + _lanes(steps[:, None, None] + places))
        return found.reshape(depth, 8, *found.shape[1:])

    def meaning(tile, a, b, at_a, at_b):
        for left, right in zip(words(a, at_a, pitch_a, half_a), words(b, at_b, pitch_b, half_b),
                               strict=True):
            tile = product(rows8(left), cols8(right), tile)
        return tile

    return meaning


@_family
def row_products(dtype, taps, step, apart):
    """Sums of 4 neighbours plus the products of the taps of one row of their windows.

    The window of the next neighbour starts `step` lanes further, taps are `apart` lanes.
    """
    plus = fma(dtype)

    def meaning(sums, row, factors):
        for tap in range(taps):
            first = tap * apart
            sums = plus(row[first : first + 3 * step + 1 : step], factors[tap], sums)
        return sums

    return meaning


@_plain
def round_tf32(a):
    """To the 10 bits of mantissa that tensor cores multiply; ties away from zero."""
    return cut(bits_of(a), nearest=True)


@_family
def pack(kind):
    """Two numbers rounded to 16-bit floats, the first in the low half of a word."""
    dtype = named_dtype(HALVES[kind])

    def meaning(low, high):
        low, high = (np.asarray(each, np.float32).astype(dtype).view(np.uint16).astype(np.uint32)
                     for each in (low, high))
        return low | high << np.uint32(16)

    return meaning


@_family
def mma(kind):
    """An 8x8 tile per thread, 64x32 per warp, plus the product of 8 words of depth.

    `a` are 16 words, the fragments of four 16-row matrices, `b` 8 words of four 8-column ones, as
    PTX lays out mma.m16n8k8 (tf32) and mma.m16n8k16 (16-bit floats).
    """
    def meaning(tile, a, b):
        if kind != "fp32x3":
            return warp_product(tile, unpacked(kind, a), unpacked(kind, b))
        (a, a_rest), (b, b_rest) = split(a), split(b)
        tile = warp_product(tile, cut(a_rest)[None], b[None])
        tile = warp_product(tile, a[None], cut(b_rest)[None])
        return warp_product(tile, a[None], b[None])

    return meaning
