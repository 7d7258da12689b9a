"""Winograd's F(3x3, 4x4): the gradient of 3x3 weights in 36 matrix products over tiles.

With tiles of 4x4 of dy in the role of the weights, dweight is what F(3, 4) gives, summed over all
tiles of all images before it is transformed back.
"""

from __future__ import annotations

import numpy as np

from . import threads
from .copies import element_steps, pixels_to_planes
from .jit import kernel
from .products import CHUNK, multiples, product
from .tile import BEST_VECS, MAX_ROWS
from .transforms import transform
from .vectors import add, at, fill, get, lanes, lanes_of, load, move, put, store
from .winograd import MANY_WEIGHTS, MARGIN, TILES, TILES_WIDE, transform_row

_SLICES = 8  # partial sums, at most, that are added up at the end
_TAPS = 8  # channels whose gradients are transformed back at a time


def wins(problem) -> bool:
    """Whether it is expected to be faster than a direct sum: a matter of one image alone."""
    p = problem
    size = lanes_of(p.dtype)
    channels, out_vectors = p.ic // p.g, -(-(p.oc // p.g) // size)
    tiles = -(-p.oh // 4) * -(-p.ow // 4)
    transforms = (250 * tiles * -(-channels // size) + 220 * tiles * out_vectors
                  + 150 * channels * out_vectors)
    return (min(channels, p.oc // p.g) >= 4 and 36 * tiles * channels * out_vectors + transforms
            <= 1.2 * 9 * p.oh * p.ow * channels * out_vectors)


def correlate(problem, dy, x, dweight, workers) -> None:
    """dweight of that problem."""
    p = problem
    dtype, size = dweight.dtype, lanes_of(dweight.dtype)
    channels, outputs = p.ic // p.g, p.oc // p.g
    vecs = min(BEST_VECS, -(-outputs // size))
    block = vecs * size
    blocks = -(-outputs // block)
    tiles_h, tiles_w = -(-p.oh // 4), -(-p.ow // 4)
    units = p.n * tiles_h  # rows of tiles
    slices = max(1, min(_SLICES // (p.g * blocks), units))
    parts = min(blocks, workers)
    most = TILES_WIDE if channels * outputs > MANY_WEIGHTS else TILES
    together = max(1, min(-(-most // tiles_w), units))
    padded = -(-channels // size) * size
    pitch = padded + MARGIN
    plane = together * tiles_w * pitch + MARGIN + MAX_ROWS
    gradient_plane = together * tiles_w * block + MARGIN
    total_plane = (channels + MAX_ROWS) * block + MARGIN
    partial = threads.scratch("partial", slices * p.g * blocks * 36 * total_plane, dtype)

    def work(first, last):
        correlate_tiles_weight(
            first, last, x, dy, partial, slices, p.g, units, together, parts, tiles_h, tiles_w,
            channels, outputs, p.pad_t, p.pad_l, vecs, blocks, pitch, plane, gradient_plane,
            total_plane,
            threads.scratch("strip", max((6 * p.iw + 1) * padded, (4 * p.ow + 1) * block), dtype),
            threads.scratch("tiles", 36 * plane, dtype),
            threads.scratch("gradient", 36 * gradient_plane, dtype),
            threads.scratch("rows", 36 + channels + MAX_ROWS + together * tiles_w + CHUNK,
                            np.int64))

    threads.run(slices * p.g * parts, work, workers)

    def finish(first, last):
        finish_tiles(first, last, partial, dweight, slices, p.g, blocks, block, channels, outputs,
                     total_plane, threads.scratch("taps", _TAPS * 9 * block, dtype),
                     threads.scratch("rows", 36, np.int64))

    threads.run(p.g * blocks * -(-channels // _TAPS), finish, workers)


@kernel(writes="partial strip tiles gradient rows")
def correlate_tiles_weight(first, last, x, dy, partial, slices, groups, units, together, parts,
                           tiles_h, tiles_w, channels, outputs, pad_t, pad_l, vecs, blocks, pitch,
                           plane, gradient_plane, total_plane, strip, tiles, gradient, rows):
    """partial[slice][group][block][36][channel][output]; one task is one slice of the rows of
    tiles of one group, for one part of the output channels."""
    size = lanes(strip)
    block = vecs * size
    cells = at(rows, 0)
    channel_at = multiples(at(rows, 36), 1, channels + MAX_ROWS)
    gradient_at = multiples(at(rows, 36 + channels + MAX_ROWS), block, CHUNK)
    tile_at = multiples(at(rows, 36 + channels + MAX_ROWS + CHUNK), pitch, together * tiles_w)
    for task in range(first, last):
        part, group, piece = task % parts, task // parts % groups, task // (parts * groups)
        block0, block1 = part * blocks // parts, (part + 1) * blocks // parts
        total = at(partial, ((piece * groups + group) * blocks + block0) * 36 * total_plane)
        fill(total, (block1 - block0) * 36 * total_plane)
        end = (piece + 1) * units // slices
        for unit0 in range(piece * units // slices, end, together):
            here = min(together, end - unit0)
            for u in range(here):
                transform_row(x, (unit0 + u) // tiles_h, group * channels, channels, 6,
                              (unit0 + u) % tiles_h * 4 - pad_t, -pad_l, tiles_w, strip, cells,
                              at(tiles, u * tiles_w * pitch), pitch, plane)
            for b in range(block0, block1):
                for u in range(here):
                    transform_row(dy, (unit0 + u) // tiles_h, group * outputs + b * block,
                                  min(block, outputs - b * block), 4, (unit0 + u) % tiles_h * 4,
                                  0, tiles_w, strip, cells, at(gradient, u * tiles_w * block),
                                  block, gradient_plane)
                for e in range(36):
                    product(vecs, channels, here * tiles_w, at(tiles, e * plane), channel_at,
                            tile_at, at(gradient, e * gradient_plane), gradient_at,
                            move(total, ((b - block0) * 36 + e) * total_plane), True)


@kernel(writes="partial dweight taps rows")
def finish_tiles(first, last, partial, dweight, slices, groups, blocks, block, channels, outputs,
                 plane, taps, rows):
    """dweight = the partial sums added in order, transformed; one task is some channels."""
    size = lanes(partial)
    out_step, channel_step, row_step, col_step = element_steps(dweight)
    pieces = (channels + _TAPS - 1) // _TAPS
    cells = multiples(at(rows, 0), plane, 36)
    for task in range(first, last):
        c0, panel = task % pieces * _TAPS, task // pieces
        some = min(_TAPS, channels - c0)
        out0 = panel % blocks * block
        valid = min(block, outputs - out0)
        for c in range(some):
            for v in range(0, valid, size):
                total = at(partial, panel * 36 * plane + (c0 + c) * block + v)
                for piece in range(1, slices):
                    more = move(total, piece * groups * blocks * 36 * plane)
                    for e in range(36):
                        place = move(total, e * plane)
                        store(place, add(load(place), load(move(more, e * plane))))
                transform("weight gradient", total, cells, at(taps, c * 9 * block + v), 3 * block,
                          block)
        target = at(dweight, (panel // blocks * outputs + out0) * out_step + c0 * channel_step)
        if col_step == 1 and row_step == 3 and channel_step == 9:
            pixels_to_planes(target, out_step, at(taps, 0), block, valid, some * 9)
            continue
        for k in range(some * 9):
            here = k // 9 * channel_step + k // 3 % 3 * row_step + k % 3 * col_step
            for out in range(valid):
                put(target, here + out * out_step, get(at(taps, 0), k * block + out))
