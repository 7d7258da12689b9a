"""A float32 correlation in six products of bfloat16 parts, on the tiles of ``tiles_bf16``.

Pixels are rows of the tiles, result channels columns, and a step of the sum is one tap of up to 32
channels.  A task lays out a strip of the source in words:

    word (pixel, block, part, pair) is at  pixel*pitch + (block*PARTS + part)*pairs + pair

Channels are taken in blocks of 2*pairs; pair j of a block is its channels j and pairs + j.  Pixels
are numbered row by row, dealt by the step into phases, so that a tap is a shift by a whole number
of pixels whatever the step.  What falls between two rows is computed and thrown away.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from . import geometry, pointwise_bf16, threads
from .arithmetic import add
from .copies import planes_to_pixels
from .jit import inline, kernel
from .loads import lanes, load, load_part, load_strided, store, stream_end
from .machine import HAS_TILES, lanes_of
from .pointers import at, fill, move
from .results import SPARE, write
from .splats import zeros
from .strips import pixels_of_rows
from .tiles_bf16 import LINES, PARTS, SIDE, TILE_WORDS, begin, end, multiply, put_words

_PAIRS = 16  # words of a step, at most
_CHUNK = 36  # steps summed from zero before they are added up
_STRIP_PIXELS = 1024  # of the result, gaps between its rows not counted
_STRIP_BYTES = 1 << 20  # of a strip: processors with AMX have 2 MiB of L2 a core
_TURN_PIXELS = 128  # turned from planes to pixels at a time, at least where rows follow one another
_FEWEST_PIXELS = 128  # that pay for packing the weights, part by part
_FEWEST_CHANNELS = 16


def refusal(problem, direction) -> str | None:
    """Why it cannot be done this way, or None."""
    if not HAS_TILES:
        return "bf16x6 needs the tiles of AMX"
    if problem.dtype.kind in "iu" or problem.dtype.itemsize > 4:
        return "bf16x6 is for float32 and narrower"
    if direction == "backward_weight":
        return "bf16x6 has no gradient of the weight"
    return None


def wins(problem, direction) -> bool:
    """Whether it is expected to be faster than a direct sum: a matter of one image alone."""
    p = problem
    _, rows, _ = geometry.axes(p, direction)[0][0]
    _, cols, _ = geometry.axes(p, direction)[2][0]
    if p.kh * p.kw == 1:
        return pointwise_bf16.wins(p, direction)
    return (min(p.ic, p.oc) // p.g >= _FEWEST_CHANNELS
            and rows * cols >= _FEWEST_PIXELS)


@dataclass(frozen=True, eq=False)
class Phase:
    """Pixels of the result a step apart, in the same taps; of a forward pass there is only one."""

    first: tuple[int, int]  # row and column of the result
    size: tuple[int, int]  # its rows and columns
    pad: tuple[int, int]  # rows and columns of zeros before the source
    strip: tuple[int, int]  # rows and columns of one strip
    deals: tuple[int, int]  # into how many the rows and columns of the source are dealt
    dealt: tuple[int, int]  # rows and columns of each
    pairs: int
    blocks: int
    words: int  # of a strip
    windows: np.ndarray  # row and column of each tap in the kernel
    offsets: np.ndarray  # of each step, in words


@functools.lru_cache(256)
def phases(problem, direction) -> list[Phase]:
    """Those of a direction."""
    p = problem
    step = (p.stride_h, p.stride_w) if direction == "forward" else (1, 1)
    channels = (p.ic if direction == "forward" else p.oc) // p.g
    rows, pad_t, cols, pad_l = geometry.axes(p, direction)
    return [_phase(row, col, (pad_t, pad_l), step, channels) for row in rows for col in cols]


def _phase(row, col, pad, step, channels) -> Phase:
    first, size, taps = zip(row, col, strict=True)
    nearest = [min((offset for _, offset in axis), default=0) for axis in taps]
    reach = [max((offset for _, offset in axis), default=0) - low
             for axis, low in zip(taps, nearest, strict=True)]
    deals = tuple(min(s, r + 1) for s, r in zip(step, reach, strict=True))
    pairs = -(-channels // 2)
    blocks = -(-pairs // _PAIRS)
    pairs = -(-pairs // blocks)
    pitch = blocks * PARTS * pairs

    def dealt(strip):
        return tuple(n + r // s for n, r, s in zip(strip, reach, step, strict=True))

    def words(strip):  # products read past the last pixel
        return (deals[0] * deals[1] * dealt(strip)[0] * dealt(strip)[1] + SIDE) * pitch

    strip = [max(1, min(size[0], _STRIP_PIXELS // size[1])), min(size[1], _STRIP_PIXELS)]
    while 4 * words(strip) > _STRIP_BYTES and (strip[0] > 1 or strip[1] > 2 * SIDE):
        if strip[0] > 1:
            strip[0] -= 1
        else:
            strip[1] = max(2 * SIDE, strip[1] // 2)
    strip = tuple(-(-n // -(-n // most)) for n, most in zip(size, strip, strict=True))

    def offset(*distance):
        deal, place = zip(*(divmod(d, s)[::-1] for d, s in zip(distance, step, strict=True)),
                          strict=True)
        pixel = ((deal[0] * deals[1] + deal[1]) * dealt(strip)[0] + place[0]) * dealt(strip)[1]
        return (pixel + place[1]) * pitch

    return Phase(
        first=first, size=size, pad=tuple(p - low for p, low in zip(pad, nearest, strict=True)),
        strip=strip, deals=deals, dealt=dealt(strip), pairs=pairs, blocks=blocks,
        words=words(strip),
        windows=np.array([(r, s) for r, _ in taps[0] for s, _ in taps[1]],
                         np.int64).reshape(-1, 2),
        offsets=np.array([block * PARTS * pairs + offset(h - nearest[0], w - nearest[1])
                          for block in range(blocks) for _, h in taps[0] for _, w in taps[1]],
                         np.int64))


def correlate(problem, direction, source, weight, bias, result, workers) -> None:
    """The forward or data-gradient convolution of that problem."""
    p = problem
    if pointwise_bf16.suits(p, source, result):
        pointwise_bf16.correlate(p, direction, source, weight, bias, result, workers)
        return
    r = geometry.Roles.of(p, direction, weight, bias, result.dtype)
    channels, outputs, step = r.channels, r.outputs, r.from_step
    tiles = -(-outputs // LINES)
    padded = -(-channels // lanes_of(result.dtype)) * lanes_of(result.dtype)

    for phase in phases(p, direction):
        taps, steps = len(phase.windows), len(phase.offsets)
        chunk = max(1, -(-steps // max(1, -(-steps // _CHUNK))))
        strips = [-(-size // strip) for size, strip in zip(phase.size, phase.strip, strict=True)]
        units = p.n * p.g * strips[0] * strips[1]
        parts = min(-(-tiles // 2), -(-4 * workers // max(1, units))) if workers > 1 else 1
        pixels = (phase.strip[0] - 1) * phase.dealt[1] + phase.strip[1]
        span = (phase.strip[1] - 1) * step[1] + phase.dealt[1] * step[1]
        turn = -(-_TURN_PIXELS // source.shape[3]) + 1
        packed = threads.scratch("words", p.g * tiles * steps * PARTS * TILE_WORDS, np.int32)

        def pack(first, last, phase=phase, taps=taps, packed=packed):
            pack_words(first, last, weight, r.group_step, r.out_step, r.channel_step,
                       *r.tap_steps, packed, phase.windows, tiles, outputs, channels, phase.pairs,
                       phase.blocks,
                       threads.scratch("taps", 2 * phase.pairs * taps * LINES, np.float32))

        threads.run(p.g * tiles, pack, workers)

        def work(first, last, phase=phase, steps=steps, chunk=chunk, strips=strips, parts=parts,
                 pixels=pixels, span=span, turn=turn, packed=packed):
            correlate_words(
                first, last, source, packed, phase.offsets, r.bias, r.has_bias, r.relu, result,
                p.g, *strips, parts, *phase.strip, *phase.size, *step, *phase.deals, *phase.dealt,
                *phase.pad, channels, outputs, phase.pairs, phase.blocks, tiles, chunk,
                *phase.first, *r.to_step, turn,
                threads.scratch("strip words", phase.words, np.int32),
                threads.scratch("pixels", turn * min(span, source.shape[3]) * padded, np.float32),
                threads.scratch("sums", (pixels + SIDE) * SIDE + SPARE, np.float32),
                threads.scratch("chunk", SIDE * SIDE, np.float32))

        threads.run(units * parts, work, workers)


# ---------------------------------------------------------------- kernels

@kernel(writes="packed filters")
def pack_words(first, last, weight, group_step, out_step, channel_step, row_step, col_step, packed,
               windows, tiles, outputs, channels, pairs, blocks, filters):
    """packed[group][two tiles of outputs][step][part][tile][pair][output]; a task is one tile."""
    taps = len(windows)
    height, width = weight.shape[2:]
    no_gaps = (col_step == 1 and row_step == width and channel_step == height * width
               and taps == height * width and windows[0, 0] + windows[0, 1] == 0)
    for task in range(first, last):
        tile, group = task % tiles, task // tiles
        some = min(LINES, outputs - tile * LINES)
        tile0 = tile // 2 * 2
        part_words = min(2, tiles - tile0) * TILE_WORDS
        target = at(packed, (group * tiles + tile0) * taps * blocks * PARTS * TILE_WORDS
                    + tile % 2 * TILE_WORDS)
        for block in range(blocks):
            channel0 = block * 2 * pairs
            count = min(2 * pairs, channels - channel0)
            source = at(weight, group * group_step + tile * LINES * out_step
                        + channel0 * channel_step)
            if no_gaps:
                planes_to_pixels(at(filters, 0), LINES, source, out_step, some, count * taps)
            else:
                for k in range(count * taps):
                    tap = k % taps
                    here = (k // taps * channel_step + windows[tap, 0] * row_step
                            + windows[tap, 1] * col_step)
                    store(at(filters, k * LINES), load_strided(move(source, here), out_step, some))
            fill(at(filters, count * taps * LINES), (2 * pairs - count) * taps * LINES)
            for tap in range(taps):
                for j in range(pairs):
                    put_words(move(target, j * LINES), load(at(filters, (j * taps + tap) * LINES)),
                              load(at(filters, ((pairs + j) * taps + tap) * LINES)), part_words,
                              LINES)
                target = move(target, PARTS * part_words)


@kernel(writes="y strip pixels sums chunk_sums")
def correlate_words(first, last, x, packed, offsets, bias, has_bias, relu, y, groups, strips_h,
                    strips_w, parts, strip_rows, strip_cols, all_rows, all_cols, step_h, step_w,
                    deals_h, deals_w, dealt_rows, dealt_cols, pad_t, pad_l, channels, outputs,
                    pairs, blocks, tiles, chunk, oy, ox, sy, sx, turn, strip, pixels, sums,
                    chunk_sums):
    """One task is one strip of one group of one image, for one part of the output channels."""
    steps, pitch, both = len(offsets), blocks * PARTS * pairs, (tiles + 1) // 2
    for task in range(first, last):
        part, place = task % parts, task // parts
        col0 = place % strips_w * strip_cols
        row0 = place // strips_w % strips_h * strip_rows
        group = place // (strips_w * strips_h) % groups
        image = place // (strips_w * strips_h * groups)
        rows, cols = min(strip_rows, all_rows - row0), min(strip_cols, all_cols - col0)
        if rows <= 0 or cols <= 0:  # equal strips can cover the plane before the last one
            continue
        lay_out(x, image, group * channels, channels, row0 * step_h - pad_t, col0 * step_w - pad_l,
                step_h, step_w, deals_h, deals_w, dealt_rows, dealt_cols, pairs, blocks, turn,
                pixels, at(strip, 0))
        begin(pairs)
        for b in range(part * both // parts, (part + 1) * both // parts):
            weights = at(packed, (group * tiles + 2 * b) * steps * PARTS * TILE_WORDS)
            multiply_strip((strip_rows - 1) * dealt_cols + strip_cols, min(2, tiles - 2 * b), steps,
                           chunk, at(offsets, 0), at(strip, 0), pitch, pairs, weights, at(sums, 0),
                           at(chunk_sums, 0))
            for i in range(rows):
                write(at(sums, i * dealt_cols * SIDE), at(sums, len(sums) - SPARE), SIDE,
                      min(SIDE, outputs - b * SIDE), 0, cols, cols, y, image,
                      group * outputs + b * SIDE, oy + (row0 + i) * sy, ox + col0 * sx, sy, sx,
                      bias, has_bias, relu)
        end()
    stream_end()


# ---------------------------------------------------------------- parts of the kernels

@inline
def multiply_strip(pixels, tiles, steps, chunk, offsets, strip, pitch, pairs, weights, sums,
                   chunk_sums):
    """sums[pixel][SIDE] of one or two tiles of outputs."""
    for start in range(0, max(1, steps), chunk):
        count, offset = min(chunk, steps - start), move(offsets, start)
        cols = move(weights, start * PARTS * tiles * TILE_WORDS)
        for pixel in range(0, pixels, SIDE):
            rows, total = move(strip, pixel * pitch), move(sums, pixel * SIDE)
            target = total if start == 0 else chunk_sums
            if pixels - pixel > LINES:
                if tiles == 2:
                    multiply(2, 2, count, offset, rows, pitch, pairs, cols, target)
                else:
                    multiply(2, 1, count, offset, rows, pitch, pairs, cols, target)
            elif tiles == 2:
                multiply(1, 2, count, offset, rows, pitch, pairs, cols, target)
            else:
                multiply(1, 1, count, offset, rows, pitch, pairs, cols, target)
            if start > 0:
                for i in range(0, min(SIDE, pixels - pixel) * SIDE, lanes(sums)):
                    store(move(total, i), add(load(move(total, i)), load(move(target, i))))


@inline
def lay_out(x, image, channel0, channels, top, left, step_h, step_w, deals_h, deals_w, rows, cols,
            pairs, blocks, turn, pixels, strip):
    """The words of the strip whose first pixel is row ``top``, column ``left`` of x."""
    pitch = blocks * PARTS * pairs
    left0, left1 = max(0, left), min(x.shape[3], left + (cols - 1) * step_w + deals_w)
    for r0 in range(0, rows * step_h, turn):
        row0, row1 = max(0, top + r0), min(x.shape[2], top + min(r0 + turn, rows * step_h))
        source, row_step, col_step = at(pixels, 0), 0, 0
        if row0 < row1 and left0 < left1:
            source, row_step, col_step = pixels_of_rows(
                x, image, channel0, channels, row0, row1, left0, left1, pixels)
        for r in range(r0, min(r0 + turn, rows * step_h)):
            if r % step_h >= deals_h:
                continue
            for deal in range(deals_w):
                place = ((r % step_h * deals_w + deal) * rows + r // step_h) * cols
                target, begins = move(strip, place * pitch), left + deal
                before = min(cols, max(0, (step_w - 1 - begins) // step_w))
                after = max(before, min(cols, (x.shape[3] - begins + step_w - 1) // step_w))
                if not row0 <= top + r < row1:
                    before = after = cols
                fill(target, before * pitch)
                here = move(source, (top + r - row0) * row_step
                            + (begins + before * step_w - left0) * col_step)
                for i in range(after - before):
                    split_pixel(move(here, i * step_w * col_step), channels,
                                move(target, (before + i) * pitch), pairs, blocks)
                fill(move(target, after * pitch), (cols - after) * pitch)


@inline
def split_pixel(source, channels, target, pairs, blocks):
    """The words of one pixel."""
    for block in range(blocks):
        low = block * 2 * pairs
        high = low + pairs
        first = load_part(move(source, low), min(pairs, channels - low))
        second = zeros(source)
        if high < channels:
            second = load_part(move(source, high), min(pairs, channels - high))
        put_words(move(target, block * PARTS * pairs), first, second, pairs, pairs)
