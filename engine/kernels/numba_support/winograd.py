"""Winograd's F(4x4, 3x3): a 3x3 correlation in 36 matrix products over tiles of 4x4 results.

Vectors are channels everywhere.  A task transforms some rows of tiles of one or more images, then
block by block of result channels multiplies all of them by the transformed weights, transforms
the products back and writes them.  Where there are few tiles for many weights, the tasks
transform the weights they need themselves, some channels at a time, so that these never leave the
second-level cache.  None of these choices changes a bit.
"""

from __future__ import annotations

import numpy as np

from . import threads
from .copies import planes_to_pixels
from .geometry import Roles
from .jit import inline, kernel
from .loads import lanes, load_strided, store, stream_end
from .machine import lanes_of
from .pointers import at, distance, fill, move, put
from .products import CHUNK, multiples, product
from .results import SPARE, write
from .strips import pixels_of_rows
from .tile import BEST_VECS, MAX_ROWS
from .transforms import transform

TILES, TILES_WIDE = 24, 64  # of a task, at least; where weights or sums come from afar
MANY_WEIGHTS = 80_000
MARGIN = 16  # keeps rows of matrices from falling into the same cache sets
_FRESH_TILES, _FRESH_WEIGHTS = 64, 256  # tasks transform weights for so many tiles and fewer
_CHANNELS = 64  # summed from zero before they join the others
_TAPS = 8  # channels whose weights are transformed at a time


def refusal(problem, direction) -> str | None:
    """Why it cannot be done this way, or None."""
    p = problem
    if p.dtype.kind in "iu":
        return "winograd needs a floating-point dtype"
    if (p.kh, p.kw) != (3, 3):
        return f"winograd needs a 3x3 kernel, not {p.kh}x{p.kw}"
    if (p.stride_h, p.stride_w, p.dil_h, p.dil_w) != (1, 1, 1, 1):
        return "winograd needs stride 1 and dilation 1"
    return None


def wins(problem, direction) -> bool:
    """Whether it is expected to be faster than a direct sum: a matter of one image alone."""
    p = problem
    size = lanes_of(p.dtype)
    channels, outputs, rows, cols = p.ic // p.g, p.oc // p.g, p.oh, p.ow
    if direction == "backward_data":
        channels, outputs, rows, cols = outputs, channels, p.ih, p.iw
    tiles, out_vectors = -(-rows // 4) * -(-cols // 4), -(-outputs // size)
    transforms = (250 * tiles * -(-channels // size) + 300 * tiles * out_vectors
                  + 180 * channels * out_vectors + 2000)
    share = 0.75 if p.dtype == np.float64 else 1  # float64 pays with digits: more must be won
    return (min(channels, outputs) >= 4 and 36 * tiles * channels * out_vectors + transforms
            <= share * 9 * rows * cols * channels * out_vectors)


def correlate(problem, direction, source, weight, bias, result, workers) -> None:
    """The forward or data-gradient convolution of that problem."""
    p = problem
    dtype, size = result.dtype, lanes_of(result.dtype)
    r = Roles.of(p, direction, weight, bias, dtype)
    channels, outputs = r.channels, r.outputs
    weight_at, taps, pad = 0, r.tap_steps, (p.pad_t, p.pad_l)
    if direction != "forward":  # the same with the taps in reverse
        weight_at, pad = 2 * sum(taps), (2 - p.pad_t, 2 - p.pad_l)
        taps = [-step for step in taps]
    steps = (weight_at, r.group_step, r.out_step, r.channel_step, *taps)

    vecs = min(BEST_VECS, -(-outputs // size))
    block = vecs * size
    blocks = -(-outputs // block)
    rows, cols = result.shape[2:]
    tiles_h, tiles_w = -(-rows // 4), -(-cols // 4)
    units = p.n * tiles_h  # rows of tiles
    many = channels * outputs > MANY_WEIGHTS
    fresh = many or units * tiles_w <= _FRESH_TILES + channels * outputs // _FRESH_WEIGHTS
    together = max(1, min(-(-(TILES_WIDE if fresh else TILES) // tiles_w), units))
    together = -(-units // -(-units // together)) if units else 1
    parts = 1
    if -(-units // together) * p.g < 2 * workers:
        if fresh:
            parts = min(blocks, 2 * workers)
        else:
            together = max(1, min(together, units * p.g // (2 * workers)))
    padded = -(-channels // size) * size
    pitch = padded + MARGIN  # of a tile
    plane = (together * tiles_w + MAX_ROWS) * pitch + MARGIN
    sums_plane = (together * tiles_w + MAX_ROWS) * block + MARGIN
    weight_plane = min(_CHANNELS, channels) * block + MARGIN
    panel = 36 * weight_plane * -(-channels // _CHANNELS)
    packed = threads.scratch("packed", 0 if fresh else p.g * blocks * panel, dtype)

    def pack(first, last):
        pack_transformed(first, last, weight, *steps, packed, blocks, block, channels, outputs,
                         weight_plane, threads.scratch("taps", _TAPS * 9 * block, dtype),
                         threads.scratch("rows", 9, np.int64))

    if not fresh:
        threads.run(p.g * blocks * -(-channels // _CHANNELS), pack, workers)

    def work(first, last):
        correlate_tiles(
            first, last, source, weight, *steps, packed, fresh, r.bias, r.has_bias, r.relu,
            result, p.g, units, together, parts, tiles_h, tiles_w, channels, outputs, *pad, vecs,
            blocks, pitch, plane, sums_plane, weight_plane,
            threads.scratch("strip", (6 * source.shape[3] + 1) * padded, dtype),
            threads.scratch("tiles", 36 * plane, dtype),
            threads.scratch("fresh", 36 * weight_plane if fresh else 0, dtype),
            threads.scratch("products", 36 * sums_plane, dtype),
            threads.scratch("sums", (16 * tiles_w + 4) * block + SPARE, dtype),
            threads.scratch("taps", _TAPS * 9 * block, dtype),
            threads.scratch("rows", together * tiles_w + MAX_ROWS + 2 * CHUNK + 81, np.int64))

    threads.run(p.g * -(-units // together) * parts, work, workers)


# ---------------------------------------------------------------- kernels

@kernel(writes="packed taps rows")
def pack_transformed(first, last, weight, weight_at, group_step, out_step, channel_step, row_step,
                     col_step, packed, blocks, block, channels, outputs, plane, taps, rows):
    """packed[group][block][chunk of channels][36][channel][output]; a task is one chunk."""
    chunks = (channels + _CHANNELS - 1) // _CHANNELS
    for task in range(first, last):
        c0, b = task % chunks * _CHANNELS, task // chunks % blocks
        group = task // (chunks * blocks)
        source = at(weight, weight_at + group * group_step + b * block * out_step
                    + c0 * channel_step)
        transform_weights(source, out_step, channel_step, row_step, col_step,
                          min(block, outputs - b * block), min(_CHANNELS, channels - c0),
                          at(packed, task * 36 * plane), block, plane, at(taps, 0), at(rows, 0))


@kernel(writes="y strip tiles fresh_weights products sums taps rows")
def correlate_tiles(first, last, x, weight, weight_at, group_step, out_step, channel_step,
                    row_step, col_step, packed, fresh, bias, has_bias, relu, y, groups, units,
                    together, parts, tiles_h, tiles_w, channels, outputs, pad_t, pad_l, vecs,
                    blocks, pitch, plane, sums_plane, weight_plane, strip, tiles, fresh_weights,
                    products, sums, taps, rows):
    """One task is some rows of tiles of one group, for one part of the result channels."""
    size = lanes(sums)
    block = vecs * size
    height, width = y.shape[2:]
    chunks = (channels + _CHANNELS - 1) // _CHANNELS
    cells, back = at(rows, 0), multiples(at(rows, 36), sums_plane, 36)
    tap_cells, ahead = at(rows, 72), multiples(at(rows, 81), 1, CHUNK)
    weight_steps = multiples(at(rows, 81 + CHUNK), block, CHUNK)
    tile_at = multiples(at(rows, 81 + 2 * CHUNK), pitch, together * tiles_w + MAX_ROWS)
    for task in range(first, last):
        part, group = task % parts, task // parts % groups
        unit0 = task // (parts * groups) * together
        here = min(together, units - unit0)
        for u in range(here):
            transform_row(x, (unit0 + u) // tiles_h, group * channels, channels, 6,
                          (unit0 + u) % tiles_h * 4 - pad_t, -pad_l, tiles_w, strip, cells,
                          at(tiles, u * tiles_w * pitch), pitch, plane)
        for b in range(part * blocks // parts, (part + 1) * blocks // parts):
            some = min(block, outputs - b * block)
            for chunk in range(chunks):
                c0 = chunk * _CHANNELS
                length = min(_CHANNELS, channels - c0)
                weights = at(packed, ((group * blocks + b) * chunks + chunk) * 36 * weight_plane)
                if fresh:
                    weights = at(fresh_weights, 0)
                    source = at(weight, weight_at + group * group_step + b * block * out_step
                                + c0 * channel_step)
                    transform_weights(source, out_step, channel_step, row_step, col_step, some,
                                      length, weights, block, weight_plane, at(taps, 0), tap_cells)
                for e in range(36):
                    product(vecs, here * tiles_w, length, at(tiles, e * plane + c0), tile_at,
                            ahead, move(weights, e * weight_plane), weight_steps,
                            at(products, e * sums_plane), c0 > 0)
            for u in range(here):
                image, row0 = (unit0 + u) // tiles_h, (unit0 + u) % tiles_h * 4
                for i in range(tiles_w - 1, -1, -1):  # what hangs over goes where the next row is
                    source = at(products, (u * tiles_w + i) * block)
                    for v in range(0, block, size):
                        transform("output", move(source, v), back, at(sums, 4 * i * block + v),
                                  width * block, block)
                write(at(sums, 0), at(sums, len(sums) - SPARE), block, some, 0,
                      min(4, height - row0) * width, width, y, image, group * outputs + b * block,
                      row0, 0, 1, 1, bias, has_bias, relu)
    stream_end()


# ---------------------------------------------------------------- parts of the kernels

@inline
def transform_weights(source, out_step, channel_step, row_step, col_step, outputs, channels,
                      target, block, plane, taps, cells):
    """target[36][channel][output] of some channels of one block of outputs."""
    size = lanes(target)
    multiples(cells, block, 9)
    for c0 in range(0, channels, _TAPS):
        some = min(_TAPS, channels - c0)
        here = move(source, c0 * channel_step)
        if col_step == 1 and row_step == 3 and channel_step == 9:  # no gaps
            planes_to_pixels(taps, block, here, out_step, outputs, some * 9)
        else:
            for k in range(some * 9):
                tap = move(here, k // 9 * channel_step + k // 3 % 3 * row_step + k % 3 * col_step)
                for out in range(0, outputs, size):
                    store(move(taps, k * block + out),
                          load_strided(move(tap, out * out_step), out_step,
                                       min(size, outputs - out)))
        for c in range(some):
            for out in range(0, outputs, size):
                transform("weight", move(taps, c * 9 * block + out), cells,
                          move(target, (c0 + c) * block + out), 6 * plane, plane)


@inline
def transform_row(x, image, channel0, channels, side, top, left, count, strip, cells, target,
                  pitch, plane):
    """target[36][tile][channel] of a row of tiles: 6x6 pixels of x each, or 4x4 of a gradient."""
    size = lanes(strip)
    pixels, row_step, col_step, zero = pixel_rows(x, image, channel0, channels, top, side, strip)
    for i in range(count):
        locate(cells, side, top, left + 4 * i, x, row_step, col_step, zero)
        for c in range(0, channels, size):
            here = min(c, max(0, channels - size))  # the last vector overlaps the one before
            out = move(target, i * pitch + here)
            if side == 6:
                transform("input", move(pixels, here), cells, out, 6 * plane, plane)
            else:
                transform("output gradient", move(pixels, here), cells, out, 6 * plane, plane)


@inline
def pixel_rows(x, image, channel0, channels, top, side, strip):
    """Some rows of x, pixel by pixel: where column 0 of row ``top`` is or would be.

    Also the steps from row to row and column to column, and where a pixel of zeros is from there.
    Channels-last images are read in place, of others the rows are transposed into the strip.
    """
    size = lanes(strip)
    padded = (channels + size - 1) // size * size
    zero = at(strip, side * x.shape[3] * padded)
    fill(zero, padded)
    row0, row1 = max(0, top), min(x.shape[2], top + side)
    first, row_step, col_step = pixels_of_rows(x, image, channel0, channels, row0, row1, 0,
                                               x.shape[3], strip)
    pixels = move(first, (top - row0) * row_step)
    return pixels, row_step, col_step, distance(pixels, zero)


@inline
def locate(cells, side, top, left, x, row_step, col_step, zero):
    """Where the pixels of a tile are, those outside of the image being zeros."""
    for r in range(side):
        for s in range(side):
            place = r * row_step + (left + s) * col_step
            if not (0 <= top + r < x.shape[2] and 0 <= left + s < x.shape[3]):
                place = zero
            put(cells, side * r + s, place)
