"""Convolution as one matrix product per group, whose left side is gathered as it is needed.

    y[pixel, o] = sum over k = (channel, tap) of x[pixel moved by tap, channel] * weight[k, o]

A block computes `tile_m` pixels times `tile_n` output channels, `depth` words of k at a time: while
one step is multiplied out of shared memory, each thread has its part of the next one on the way in
registers (K. Chellapilla et al., 2006; S. Chetlur et al., "cuDNN", 2014, section 3.1).  Where the
pixels of a tap are found is in tables (``geometry.py``), so this is also the gradient of the data.

What multiplies is an `Inner`: FFMA with 8x8 sums a thread, or tensor cores with the same number.
A word of k is one float32, or two 16-bit floats.
"""

from __future__ import annotations

from functools import cache

from .intrinsics import (
    activate,
    add,
    barrier,
    block,
    both,
    cols8,
    device,
    div,
    every,
    inside,
    iota,
    join,
    lds_at,
    less,
    listed,
    load,
    load4,
    load4_at,
    load_index,
    mma,
    mul,
    outer8,
    pack,
    picked,
    rem,
    round_tf32,
    rows8,
    select,
    shared,
    store,
    sts4_at,
    sts_at,
    thread,
    wide,
    zeros,
)
from .kernel import ADDRESS, I32, I64, Kernel

PAD = 8  # more words in a row of a tile in shared memory: fragments then meet every bank once
TILES = ((128, 128), (128, 64), (64, 64))  # of pixels and output channels


# ---- inner products ----------------------------------------------------------------------------

@cache
def inner(precision: str, tile_m: int, tile_n: int, depth: int):
    """What a thread does with a step in shared memory, and where its 8x8 sums belong.

    Returns three device functions: ``accumulate(tile, a, b, first)``, where `first` is the first
    row of the step, ``rows(t)`` and ``columns(t)``, 8 lanes each.
    """
    make = _ffma if precision == "fp32" else _tensor
    return make(precision, tile_m, tile_n, depth)


def _ffma(precision, tile_m, tile_n, depth):
    """Each thread has 4 + 4 rows and 4 + 4 columns, half a tile apart."""
    pitch_m, pitch_n = tile_m + PAD, tile_n + PAD
    half_m, half_n = tile_m // 2, tile_n // 2
    across = tile_n // 8
    four = iota(4, 1)
    products = outer8(depth, pitch_m, half_m, pitch_n, half_n)

    @device
    def accumulate(tile, a, b, first):
        t = thread()
        return products(tile, a, b, add(mul(div(t, across), 4), mul(first, pitch_m)),
                        add(mul(rem(t, across), 4), mul(first, pitch_n)))

    @device
    def rows(t):
        lanes = add(mul(div(t, across), 4), four())
        return join(lanes, add(lanes, half_m))

    @device
    def columns(t):
        lanes = add(mul(rem(t, across), 4), four())
        return join(lanes, add(lanes, half_n))

    return accumulate, rows, columns


def _tensor(precision, tile_m, tile_n, depth):
    """Each warp has 64 rows and 32 columns: four by four mma of 16x8."""
    pitch_m, pitch_n = tile_m + PAD, tile_n + PAD
    across = tile_n // 32
    word = "uint32" if precision in ("bf16", "fp16") else "float32"
    product = mma(precision)
    # lanes of a: tile * 4 + word + 4 * row + 8, as places in shared memory; b: tile * 2 + word + 4
    lefts = [lds_at(word, *(16 * tile + 8 * r + (4 * w + k) * pitch_m
                            for tile in range(4) for w in range(2) for r in range(2)))
             for k in range(0, depth, 8)]
    rights = [lds_at(word, *(8 * tile + (4 * w + k) * pitch_n
                             for tile in range(4) for w in range(2)))
              for k in range(0, depth, 8)]
    left, right, left_8, right_8 = lefts[0], rights[0], lefts[-1], rights[-1]
    row_lanes = listed(*(16 * tile + 8 * r for tile in range(4) for r in range(2)))
    column_lanes = listed(*(8 * tile + e for tile in range(4) for e in range(2)))

    @device
    def accumulate(tile, a, b, first):
        t = thread()
        warp, lane = div(t, 32), rem(t, 32)
        g, w = div(lane, 4), rem(lane, 4)
        at_a = add(add(mul(w, pitch_m), mul(div(warp, across), 64)), g)
        at_b = add(add(mul(w, pitch_n), mul(rem(warp, across), 32)), g)
        at_a, at_b = add(at_a, mul(first, pitch_m)), add(at_b, mul(first, pitch_n))
        tile = product(tile, left(a, at_a), right(b, at_b))
        if depth > 8:
            tile = product(tile, left_8(a, at_a), right_8(b, at_b))
        return tile

    @device
    def rows(t):
        return add(add(mul(div(div(t, 32), across), 64), div(rem(t, 32), 4)), row_lanes())

    @device
    def columns(t):
        warp_column = mul(rem(div(t, 32), across), 32)
        return add(add(warp_column, mul(rem(rem(t, 32), 4), 2)), column_lanes())

    return accumulate, rows, columns


def depth_of(precision: str, tile_m: int, tile_n: int) -> int:
    """Words of k in a step; threads of small tiles would have to hold too many."""
    return 16 if precision != "fp32" and (tile_m, tile_n) == TILES[0] else 8


def occupancy(precision: str, threads: int) -> int:
    """Blocks on a multiprocessor: for 256 threads two with 128 registers, of tensor cores one."""
    if threads == 256:
        return 2 if precision == "fp32" else 1
    return 384 // threads  # 168 registers for each


# ---- what a thread brings of a step ------------------------------------------------------------

@cache
def words(precision: str):
    """How many numbers of k a word holds, its dtype, and what makes words of numbers."""
    if precision in ("bf16", "fp16"):
        pair, evens, odds = pack(precision), every(2, 0), every(2, 1)

        @device
        def halves(values):
            return pair(evens(values), odds(values))

        return 2, "uint32", halves
    if precision == "tf32":
        @device
        def rounded(values):
            return round_tf32(values)

        return 1, "float32", rounded

    @device
    def same(values):
        return values

    return 1, "float32", same


@cache
def share(tile: int, threads: int, depth: int, per_word: int, words_first: bool):
    """Which part of `depth` words for each of `tile` entries a thread brings.

    Returns three device functions of the number of the thread: the entries of its numbers, the
    number of k of its first one within the step, and the place in shared memory of its first word;
    then how far from these its numbers of k and its words are.  With `words_first` neighbouring
    threads have neighbouring words of an entry, else they have neighbouring entries.
    """
    pitch = tile + PAD
    each = range(depth * tile // threads)
    within = depth if words_first else tile
    step = threads // within
    entry_lanes = listed(*(i * step if words_first else 0 for i in each for _ in range(per_word)))
    onward = [(0 if words_first else i * step * per_word) + half
              for i in each for half in range(per_word)]
    further = [i * step * (1 if words_first else pitch) for i in each]

    @device
    def entries(t):
        return add(div(t, within) if words_first else rem(t, within), entry_lanes())

    @device
    def numbers(t):
        word = rem(t, within) if words_first else div(t, within)
        return mul(word, per_word)

    @device
    def places(t):
        near, far = rem(t, within), div(t, within)
        return add(mul(near, pitch), far) if words_first else add(mul(far, pitch), near)

    return entries, numbers, places, onward, further


NOWHERE = -(1 << 30)  # a row outside of every image


# ---- the kernel --------------------------------------------------------------------------------

@cache
def gather_gemm(dtype: str, precision: str, tile_m: int, tile_n: int, order: str,
                activation: str | None) -> Kernel:
    """The kernel; `dtype` is that of x, bias and y, `order` the order in which x is read."""
    depth, threads = depth_of(precision, tile_m, tile_n), tile_m * tile_n // 64
    per_word, word, to_words = words(precision)
    accumulate, rows, columns = inner(precision, tile_m, tile_n, depth)
    pitch_m, pitch_n = tile_m + PAD, tile_n + PAD
    pixels_of, number_of, places_of, onward, further = share(tile_m, threads, depth, per_word,
                                                             order == "nhwc")
    quarters = range(depth * tile_n // threads // 4)  # of the words of b that a thread brings
    apart = 4 * threads // tile_n  # in rows
    row_lanes = listed(*(i * apart for i in quarters))
    memory_a, memory_b = shared(word, 2 * depth * pitch_m), shared(word, 2 * depth * pitch_n)
    put, fetch4 = sts_at(word, *further), load4(word)
    put4 = sts4_at(word, *(i * apart * pitch_n for i in quarters))
    once = sorted(set(onward))  # neighbours may have numbers of k in common
    entries = load4_at("int32", *(4 * number for number in once))
    first_of, second_of, third_of = (
        picked(*(4 * once.index(number) + i for number in onward)) for i in range(3))
    number, write, finish = load(dtype), store(dtype), activate(activation, "float32")
    block_m, block_n, block_g, sums = block(0), block(1), block(2), zeros(64, "float32")

    @device
    def bring(x, origin, base, row, column, taps, k, ih, iw):
        found = entries(taps, mul(k, 4))
        seen = both(inside(add(row, second_of(found)), ih),
                    inside(add(column, third_of(found)), iw))
        return to_words(number(x, add(origin, wide(add(base, first_of(found)))), seen))

    def kernel(x: ADDRESS, packed: ADDRESS, bias: ADDRESS, y: ADDRESS, taps: ADDRESS, steps: I32,
               pixels: I32, grid_h: I32, grid_w: I32, step_h: I32, step_w: I32, ih: I32, iw: I32,
               x_g: I64, x_n: I32, x_h: I32, x_w: I32, outputs: I32, packed_w: I32, packed_g: I64,
               y_g: I64, y_n: I64, y_c: I64, y_h: I64, y_w: I64, bias_step: I64, has_bias: I32):
        a, b = memory_a(), memory_b()
        t, group = thread(), block_g()
        first_pixel, first_output = mul(block_m(), tile_m), mul(block_n(), tile_n)

        pixel = add(first_pixel, pixels_of(t))
        column, line = rem(pixel, grid_w), div(pixel, grid_w)
        row, image = mul(rem(line, grid_h), step_h), div(line, grid_h)
        column = mul(column, step_w)
        first_image = div(div(first_pixel, grid_w), grid_h)  # 32 bits reach from there
        origin = add(mul(wide(group), x_g), mul(wide(first_image), x_n))
        base = add(mul(add(image, mul(first_image, -1)), x_n),
                   add(mul(row, x_h), mul(column, x_w)))
        row = select(less(pixel, pixels), row, NOWHERE)
        number_k, place_a = number_of(t), places_of(t)

        row_b, column_b = div(mul(t, 4), tile_n), rem(mul(t, 4), tile_n)
        place_b = add(mul(row_b, pitch_n), column_b)
        row_b = add(row_b, row_lanes())
        from_b = add(mul(wide(group), packed_g),
                     wide(add(add(first_output, column_b), mul(row_b, packed_w))))

        put(a, place_a, bring(x, origin, base, row, column, taps, number_k, ih, iw))
        put4(b, place_b, fetch4(packed, from_b))
        barrier()
        tile = sums()
        for step in range(steps):
            now, later = mul(rem(step, 2), depth), mul(rem(add(step, 1), 2), depth)
            ahead = mul(add(step, 1), depth)  # tables and packed weights go one step further
            more_a = bring(x, origin, base, row, column, taps,
                           add(number_k, mul(ahead, per_word)), ih, iw)
            more_b = fetch4(packed, add(from_b, mul(ahead, packed_w)))
            tile = accumulate(tile, a, b, now)
            put(a, add(place_a, mul(later, pitch_m)), more_a)
            put4(b, add(place_b, mul(later, pitch_n)), more_b)
            barrier()

        pixel, output = add(first_pixel, rows(t)), add(first_output, columns(t))
        alive, wanted = less(pixel, pixels), less(output, outputs)
        column, line = rem(pixel, grid_w), div(pixel, grid_w)
        row, image = rem(line, grid_h), div(line, grid_h)
        to_pixel = add(mul(wide(image), y_n), add(mul(wide(row), y_h), mul(wide(column), y_w)))
        to_output = add(mul(wide(group), y_g), mul(wide(output), y_c))
        from_bias = mul(wide(add(output, mul(group, outputs))), bias_step)
        added = number(bias, from_bias, both(wanted, less(0, has_bias)))
        write(y, add(rows8(to_pixel), cols8(to_output)), finish(add(tile, cols8(added))),
              both(rows8(alive), cols8(wanted)))

    name = f"gather_gemm_{dtype}_{precision}_{tile_m}x{tile_n}_{order}_{activation}"
    return Kernel(name, kernel, threads, occupancy(precision, threads))


@cache
def pack_weights(dtype: str, precision: str) -> Kernel:
    """Weights as words [group][word of k][output channel], zeros where there are none.

    A block has 256 output channels of one word; blocks go over words, channels and groups.
    """
    per_word, word, to_words = words(precision)
    halves = iota(per_word, 1)
    number, write = load(dtype), store(word)
    block_k, block_n, block_g = block(0), block(1), block(2)
    only = listed(0)

    def kernel(weight: ADDRESS, offsets: ADDRESS, packed: ADDRESS, terms: I32, outputs: I32,
               w_n: I64, w_g: I64, packed_w: I32, packed_g: I64):
        word_k, group = block_k(), block_g()
        output = add(mul(block_n(), 256), thread())
        k = add(mul(word_k, per_word), halves())
        there = both(less(k, terms), less(output, outputs))
        place = select(less(k, terms), k, 0)
        base = add(mul(wide(group), w_g), mul(wide(output), w_n))
        values = to_words(number(weight, add(base, wide(load_index(offsets, place))), there))
        to = add(mul(wide(group), packed_g), wide(add(mul(word_k, packed_w), output)))
        write(packed, add(to, only()), values, less(output, packed_w))

    return Kernel(f"pack_weights_{dtype}_{precision}", kernel, 256)
