"""Winograd's F(3x3, 4x4): the gradient of 3x3 weights in 36 matrix products over tiles.

With tiles of 4x4 of dy in the role of the weights, dweight is what F(3, 4) gives, summed over all
tiles of all images before it is transformed back.  Where there are few tiles for many weights, a
task has all of the tiles, and a piece of the sums at a time, which stays in the second-level cache.
"""

from __future__ import annotations

import numpy as np

from . import threads
from .arithmetic import add
from .copies import element_steps, pixels_to_planes
from .jit import inline, kernel
from .loads import lanes, load, store
from .machine import lanes_of
from .pointers import at, fill, get, move, put
from .products import CHUNK, multiples, product
from .tile import BEST_VECS, MAX_ROWS
from .transforms import transform
from .winograd import MANY_WEIGHTS, MARGIN, TILES, TILES_WIDE, transform_row

_SLICES = 8  # partial sums, at most, that are added up at the end
_TAPS = 8  # channels whose gradients are transformed back at a time
_WHOLE_TILES, _WHOLE_WEIGHTS = 160, 8000  # up to so many tiles, for more than so many weights
_PIECE = 64  # channels of a piece


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
    whole = units * tiles_w <= _WHOLE_TILES and channels * outputs > _WHOLE_WEIGHTS
    slices = 1 if whole else max(1, min(_SLICES // (p.g * blocks), units))
    parts = min(blocks, workers)
    most = TILES_WIDE if channels * outputs > MANY_WEIGHTS else TILES
    together = units if whole else max(1, min(-(-most // tiles_w), units))
    padded = -(-channels // size) * size
    pitch = padded + MARGIN
    plane = together * tiles_w * pitch + MARGIN + MAX_ROWS
    gradient_plane = together * tiles_w * block + MARGIN
    sums = min(channels, _PIECE) if whole else channels
    total_plane = (sums + MAX_ROWS) * block + MARGIN
    partial = threads.scratch("partial", 0 if whole else
                              slices * p.g * blocks * 36 * total_plane, dtype)

    def work(first, last):
        correlate_tiles_weight(
            first, last, x, dy, dweight, whole, partial, slices, p.g, units, together, parts,
            tiles_h, tiles_w, channels, outputs, p.pad_t, p.pad_l, vecs, blocks, pitch, plane,
            gradient_plane, total_plane,
            threads.scratch("strip", max((6 * p.iw + 1) * padded, (4 * p.ow + 1) * block), dtype),
            threads.scratch("tiles", 36 * plane, dtype),
            threads.scratch("gradient", 36 * gradient_plane, dtype),
            threads.scratch("piece", 36 * total_plane if whole else 0, dtype),
            threads.scratch("taps", _TAPS * 9 * block, dtype),
            threads.scratch("rows", 72 + channels + MAX_ROWS + together * tiles_w + CHUNK,
                            np.int64))

    threads.run(slices * p.g * parts if units else 0, work, workers)
    if not units:
        dweight[...] = 0
    if whole or not units:
        return

    def finish(first, last):
        finish_tiles(first, last, partial, dweight, slices, p.g, blocks, block, channels, outputs,
                     total_plane, threads.scratch("taps", _TAPS * 9 * block, dtype),
                     threads.scratch("rows", 36, np.int64))

    threads.run(p.g * blocks * -(-channels // _TAPS), finish, workers)


@kernel(writes="dweight partial strip tiles gradient piece taps rows")
def correlate_tiles_weight(first, last, x, dy, dweight, whole, partial, slices, groups, units,
                           together, parts, tiles_h, tiles_w, channels, outputs, pad_t, pad_l,
                           vecs, blocks, pitch, plane, gradient_plane, total_plane, strip, tiles,
                           gradient, piece, taps, rows):
    """partial[slice][group][block][36][channel][output]; one task is one slice of the rows of
    tiles of one group, for one part of the output channels."""
    size = lanes(strip)
    block = vecs * size
    cells, back = at(rows, 0), multiples(at(rows, 36), total_plane, 36)
    channel_at = multiples(at(rows, 72), 1, channels + MAX_ROWS)
    gradient_at = multiples(at(rows, 72 + channels + MAX_ROWS), block, CHUNK)
    tile_at = multiples(at(rows, 72 + channels + MAX_ROWS + CHUNK), pitch, together * tiles_w)
    for task in range(first, last):
        part, group, turn = task % parts, task // parts % groups, task // (parts * groups)
        block0, block1 = part * blocks // parts, (part + 1) * blocks // parts
        total = at(partial, 0)
        if not whole:
            total = at(partial, ((turn * groups + group) * blocks + block0) * 36 * total_plane)
            fill(total, (block1 - block0) * 36 * total_plane)
        end = (turn + 1) * units // slices
        for unit0 in range(turn * units // slices, end, together):
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
                if not whole:
                    for e in range(36):
                        product(vecs, channels, here * tiles_w, at(tiles, e * plane), channel_at,
                                tile_at, at(gradient, e * gradient_plane), gradient_at,
                                move(total, ((b - block0) * 36 + e) * total_plane), True)
                    continue
                for c in range(0, channels, _PIECE):
                    some = min(_PIECE, channels - c)
                    for e in range(36):
                        product(vecs, some, here * tiles_w, at(tiles, e * plane + c), channel_at,
                                tile_at, at(gradient, e * gradient_plane), gradient_at,
                                at(piece, e * total_plane), False)
                    for c0 in range(0, some, _TAPS):
                        write_taps(at(piece, c0 * block), back, at(taps, 0), block, dweight,
                                   group * outputs + b * block, min(block, outputs - b * block),
                                   c + c0, min(_TAPS, some - c0))


@kernel(writes="partial dweight taps rows")
def finish_tiles(first, last, partial, dweight, slices, groups, blocks, block, channels, outputs,
                 plane, taps, rows):
    """dweight = the partial sums added in order, transformed; one task is some channels."""
    size = lanes(partial)
    pieces = (channels + _TAPS - 1) // _TAPS
    cells = multiples(at(rows, 0), plane, 36)
    for task in range(first, last):
        c0, panel = task % pieces * _TAPS, task // pieces
        some, out0 = min(_TAPS, channels - c0), panel % blocks * block
        valid = min(block, outputs - out0)
        total = at(partial, panel * 36 * plane + c0 * block)
        for turn in range(1, slices):
            more = move(total, turn * groups * blocks * 36 * plane)
            for e in range(36):
                for i in range(e * plane, e * plane + some * block, size):
                    store(move(total, i), add(load(move(total, i)), load(move(more, i))))
        write_taps(total, cells, at(taps, 0), block, dweight, panel // blocks * outputs + out0,
                   valid, c0, some)


@inline
def write_taps(total, cells, taps, block, dweight, output, outputs, channel, channels):
    """Some channels (8 at most) of one block of outputs of dweight from their sums."""
    out_step, channel_step, row_step, col_step = element_steps(dweight)
    for c in range(channels):
        for v in range(0, outputs, lanes(taps)):
            transform("weight gradient", move(total, c * block + v), cells,
                      move(taps, c * 9 * block + v), 3 * block, block)
    target = at(dweight, output * out_step + channel * channel_step)
    if col_step == 1 and row_step == 3 and channel_step == 9:
        pixels_to_planes(target, out_step, taps, block, outputs, channels * 9)
        return
    for k in range(channels * 9):
        here = k // 9 * channel_step + k // 3 % 3 * row_step + k % 3 * col_step
        for out in range(outputs):
            put(target, here + out * out_step, get(taps, k * block + out))
