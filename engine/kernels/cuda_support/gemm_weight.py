"""The gradient of weights as one matrix product per group, both sides gathered.

    dweight[o, k = (channel, tap)] = sum over pixels of
        dy[pixel, o] * x[pixel moved by tap, channel]

The sum over pixels is long and the result small, so the pixels are split among blocks; each writes
a partial result and ``sums.add_up`` adds these in one order.  Otherwise as in ``gemm.py``.
"""

from __future__ import annotations

from functools import cache

from .gemm import PAD, inner, share, words
from .intrinsics import (
    add,
    barrier,
    block,
    both,
    cols8,
    device,
    div,
    inside,
    less,
    listed,
    load,
    load_index,
    mul,
    rem,
    rows8,
    select,
    shared,
    store,
    sts_at,
    thread,
    wide,
    zeros,
)
from .kernel import ADDRESS, I32, Kernel

DEPTH = 8  # words of a step
TILES = ((128, 128), (64, 128), (128, 64))  # of output channels and terms


@cache
def gather_gemm_weight(dtype: str, precision: str, tile_m: int, tile_n: int, order: str) -> Kernel:
    """The kernel; `order` is the memory order of x and dy, whose dtype is `dtype`."""
    depth, threads = DEPTH, tile_m * tile_n // 64
    per_word, word, to_words = words(precision)
    per_step = depth * per_word  # an expression in the kernel would have 64 bits
    accumulate, rows, columns = inner(precision, tile_m, tile_n, depth)
    pitch_m, pitch_n = tile_m + PAD, tile_n + PAD
    parts = threads, depth, per_word, order == "nchw"
    outputs_of, pixel_a, places_a, onward_a, further_a = share(tile_m, *parts)
    terms_of, pixel_b, places_b, onward_b, further_b = share(tile_n, *parts)
    memory_a, memory_b = shared(word, 2 * depth * pitch_m), shared(word, 2 * depth * pitch_n)
    pixels_a, pixels_b = listed(*onward_a), listed(*onward_b)
    put_a, put_b = sts_at(word, *further_a), sts_at(word, *further_b)
    number, write = load(dtype), store("float32")
    block_m, block_n, block_z, sums = block(0), block(1), block(2), zeros(64, "float32")

    @device
    def bring_dy(dy, origin, base, pixel, pixels, grid_h, grid_w, dy_n, dy_h, dy_w):
        column, line = rem(pixel, grid_w), div(pixel, grid_w)
        row, image = rem(line, grid_h), div(line, grid_h)
        place = add(add(mul(image, dy_n), base), add(mul(row, dy_h), mul(column, dy_w)))
        return to_words(number(dy, add(origin, wide(place)), less(pixel, pixels)))

    @device
    def bring_x(x, origin, base, row_k, column_k, pixel, pixels, grid_h, grid_w, step_h, step_w,
                ih, iw, x_n, x_h, x_w):
        column, line = rem(pixel, grid_w), div(pixel, grid_w)
        row, image = mul(rem(line, grid_h), step_h), div(line, grid_h)
        column = mul(column, step_w)
        place = add(add(mul(image, x_n), base), add(mul(row, x_h), mul(column, x_w)))
        seen = both(inside(add(row, row_k), ih), inside(add(column, column_k), iw))
        return to_words(number(x, add(origin, wide(place)), both(seen, less(pixel, pixels))))

    def kernel(dy: ADDRESS, x: ADDRESS, partial: ADDRESS, offsets: ADDRESS, row_of: ADDRESS,
               column_of: ADDRESS, steps: I32, pixels: I32, groups: I32, outputs: I32, terms: I32,
               grid_h: I32, grid_w: I32, step_h: I32, step_w: I32, ih: I32, iw: I32, dy_n: I32,
               dy_c: I32, dy_h: I32, dy_w: I32, x_g: I32, x_n: I32, x_h: I32, x_w: I32):
        a, b = memory_a(), memory_b()
        t, group, split = thread(), rem(block_z(), groups), div(block_z(), groups)
        first_output, first_term = mul(block_m(), tile_m), mul(block_n(), tile_n)
        # a block counts pixels, and with 32 bits elements, from its first image
        first_pixel = mul(split, mul(steps, per_step))
        image_pixels = mul(grid_h, grid_w)
        first_image = div(first_pixel, image_pixels)
        first_pixel = add(first_pixel, mul(mul(first_image, image_pixels), -1))
        pixels = add(pixels, mul(mul(first_image, image_pixels), -1))
        origin_dy, origin_x = mul(wide(first_image), dy_n), mul(wide(first_image), x_n)

        # what lies beyond the last output or term is computed from the first, and not written
        output, term = add(first_output, outputs_of(t)), add(first_term, terms_of(t))
        output = select(less(output, outputs), output, 0)
        term = select(less(term, terms), term, 0)
        base_a = mul(add(mul(group, outputs), output), dy_c)
        base_b = add(mul(group, x_g), load_index(offsets, term))
        row_k, column_k = load_index(row_of, term), load_index(column_of, term)
        near_a, near_b = add(pixel_a(t), pixels_a()), add(pixel_b(t), pixels_b())
        near_a, near_b = add(first_pixel, near_a), add(first_pixel, near_b)
        place_a, place_b = places_a(t), places_b(t)

        put_a(a, place_a, bring_dy(dy, origin_dy, base_a, near_a, pixels, grid_h, grid_w, dy_n,
                                 dy_h, dy_w))
        put_b(b, place_b, bring_x(x, origin_x, base_b, row_k, column_k, near_b, pixels, grid_h,
                                grid_w, step_h, step_w, ih, iw, x_n, x_h, x_w))
        barrier()
        tile = sums()
        for step in range(steps):
            now, later = mul(rem(step, 2), depth), mul(rem(add(step, 1), 2), depth)
            ahead = mul(add(step, 1), per_step)
            more_a = bring_dy(dy, origin_dy, base_a, add(near_a, ahead), pixels, grid_h, grid_w,
                              dy_n, dy_h, dy_w)
            more_b = bring_x(x, origin_x, base_b, row_k, column_k, add(near_b, ahead), pixels,
                             grid_h, grid_w, step_h, step_w, ih, iw, x_n, x_h, x_w)
            tile = accumulate(tile, a, b, now)
            put_a(a, add(place_a, mul(later, pitch_m)), more_a)
            put_b(b, add(place_b, mul(later, pitch_n)), more_b)
            barrier()

        output, term = add(first_output, rows(t)), add(first_term, columns(t))
        to_row = mul(wide(add(mul(block_z(), outputs), output)), terms)
        write(partial, add(rows8(to_row), cols8(wide(term))), tile,
              both(rows8(less(output, outputs)), cols8(less(term, terms))))

    name = f"gather_gemm_weight_{dtype}_{precision}_{tile_m}x{tile_n}_{order}"
    return Kernel(name, kernel, threads, 256 // threads)
