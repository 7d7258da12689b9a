"""2-D convolution in Numba, forward and backward.

All three directions are one register tile (``numba_support.tile``) fed by offset tables
(``numba_support.geometry``).  A task copies a zero-padded strip of the source into a buffer of
its own ("direct"), or on top of that gathers the patches of some dozens of pixels at a time
("im2col"), runs the tiles, and writes the sums into the result.  Sums run over the (channel, tap)
pairs in chunks of ``CHUNK``, each chunk from zero: fewer rounding errors at no cost.

What a task computes does not depend on how many threads or images there are, so neither do bits.
"""

from __future__ import annotations

import numpy as np

from .numba_support import (
    bf16x6,
    depthwise,
    first_layer,
    geometry,
    narrow,
    pointwise,
    threads,
    winograd,
    winograd_weight,
)
from .numba_support.arithmetic import add
from .numba_support.copies import copy, element_steps, pixels_to_planes, planes_to_pixels
from .numba_support.geometry import (
    PHASE_COLS,
    PHASE_PIXELS,
    PHASE_ROWS,
    PHASE_TAPS,
    PHASE_WEIGHTS,
    PHASE_WINDOW,
    PHASE_WINDOWS,
    PHASE_X,
    PHASE_Y,
)
from .numba_support.halves import wide, widened
from .numba_support.jit import inline, kernel
from .numba_support.loads import lanes, load, store, stream_end
from .numba_support.pointers import at, fill, get, move, put
from .numba_support.products import CHUNK, clamped, multiples, product
from .numba_support.results import SPARE, write
from .numba_support.strips import source_strip
from .numba_support.tile import MAX_ROWS

ALGORITHMS = ("direct", "im2col", "winograd", "bf16x6")

_MARGIN = 2 * MAX_ROWS + 4  # rows of sums that tiles and transpositions touch past the last pixel
_SLICES = 8  # backward_weight: partial sums, at most, that are added up at the end
_PARALLEL_MACS = 1 << 24  # less work than this is done before a second thread has woken up


def refusal(problem, direction, algorithm) -> str | None:
    """Why this backend cannot run the problem, or None."""
    if algorithm == "winograd":
        return winograd.refusal(problem, direction)
    if algorithm == "bf16x6":
        return bf16x6.refusal(problem, direction)
    return None


def order(problem, direction) -> tuple[str, ...]:
    """The algorithms, the one expected to be fastest first: a matter of one image alone.

    Winograd and parts of bfloat16 lead in float32, where they are as exact as a direct sum;
    Winograd also in float64, where it saves much.
    """
    problem = wide(problem)
    if winograd.refusal(problem, direction) is None:
        if direction == "backward_weight":
            wins = winograd_weight.wins(problem)
        else:
            wins = winograd.wins(problem, direction)
        if wins:
            return _first("winograd")
    if bf16x6.refusal(problem, direction) is None and bf16x6.wins(problem, direction):
        return _first("bf16x6")
    return ALGORITHMS


def _first(algorithm):
    return (algorithm, *(other for other in ALGORITHMS if other != algorithm))


# ---------------------------------------------------------------- the four entry points

@widened("y")
def forward(problem, algorithm, x, weight, bias, y) -> None:
    """y = correlation of x with weight, plus bias, then the activation."""
    if algorithm == "winograd":
        winograd.correlate(problem, "forward", x, weight, bias, y, _threads_for(problem))
        return
    if algorithm == "bf16x6":
        bf16x6.correlate(problem, "forward", x, weight, bias, y, _threads_for(problem))
        return
    _correlate("forward", problem, algorithm, x, weight, bias, y)


@widened("dx")
def backward_data(problem, algorithm, dy, weight, dx) -> None:
    """dx = the adjoint of forward in x, applied to dy."""
    if algorithm == "winograd":
        winograd.correlate(problem, "backward_data", dy, weight, None, dx, _threads_for(problem))
        return
    if algorithm == "bf16x6":
        bf16x6.correlate(problem, "backward_data", dy, weight, None, dx, _threads_for(problem))
        return
    _correlate("backward_data", problem, algorithm, dy, weight, None, dx)


@widened("dweight")
def backward_weight(problem, algorithm, dy, x, dweight) -> None:
    """dweight = the adjoint of forward in the weights, applied to dy; x is what forward saw."""
    if algorithm == "winograd":
        winograd_weight.correlate(problem, dy, x, dweight, _threads_for(problem))
        return
    compute = _compute_dtype(problem)
    workers = _threads_for(problem)
    t = geometry.cached(geometry.backward_weight, problem, compute, _pitches(x), 1)
    units = problem.n * t.strips
    slices = max(1, min(_SLICES // (t.groups * t.blocks), units))
    tap_rows = t.max_taps + MAX_ROWS  # the last tile may hang over
    patch_pixels = t.patch_pixels if algorithm == "im2col" else 0
    partial = threads.scratch("partial", slices * t.groups * t.blocks * tap_rows * t.block, compute)

    def correlate(first, last):
        correlate_weight(
            first, last, x, dy, partial, slices, t.groups, t.blocks, units, t.strips,
            t.strip_rows, t.rows, t.span, t.channels, t.depth, t.outputs, t.dh, t.pad_t, t.pad_l,
            t.in_place, t.width, t.channel_pitch, t.row_pitch, t.col_pitch, t.vecs, t.phases,
            t.taps, t.pixels, tap_rows, patch_pixels,
            threads.scratch("strip", t.strip_size, compute),
            threads.scratch("gradient", (t.max_pixels + _MARGIN) * t.block, compute),
            threads.scratch("patch", patch_pixels * t.max_taps * t.patch_width, compute),
            threads.scratch("rows", 2 * tap_rows + patch_pixels + CHUNK, np.int64))

    threads.run(slices * t.groups * t.blocks, correlate, workers)

    def finish(first, last):
        finish_weight(first, last, partial, dweight, slices, *t.output_blocks, t.block, t.depth,
                      tap_rows)

    threads.run(t.groups * t.blocks, finish, workers if partial.size > 1 << 18 else 1)


@widened("dbias")
def backward_bias(problem, dy, dbias) -> None:
    """dbias = dy summed over images and pixels."""
    wide = np.float64(0) if problem.dtype.kind == "f" else np.int64(0)
    threads.run(problem.oc, lambda first, last: sum_channels(first, last, dy, dbias, wide),
                _threads_for(problem))


def _correlate(direction, problem, algorithm, source, weight, bias, result):
    """Pack the weights, then every strip of every image: the body of forward and backward_data."""
    compute = _compute_dtype(problem)
    workers = _threads_for(problem)
    if algorithm == "direct" and pointwise.suits(problem, result):
        pointwise.correlate(problem, direction, source, weight, bias, result, workers)
        return
    planes = algorithm == "direct" and depthwise.plan(problem, direction, source, result)
    if planes:
        depthwise.correlate(problem, planes, direction, source, weight, bias, result, workers)
        return
    few = algorithm == "direct" and first_layer.plan(problem, direction, result)
    if few:
        first_layer.correlate(problem, few, direction, source, weight, bias, result, workers)
        return
    wanted = -(-2 * workers // max(1, problem.n * problem.g)) if workers > 1 else 1
    t = geometry.cached(getattr(geometry, direction), problem, compute, _pitches(source), wanted)
    r = geometry.Roles.of(problem, direction, weight, bias, compute)
    packed = threads.scratch("packed", t.packed_size, compute)
    steps = (r.group_step, r.out_step, r.channel_step, *r.tap_steps)
    if t.depthwise:  # one block is channels of many groups
        steps = (0, r.group_step, *steps[2:])

    def pack(first, last):
        pack_weights(first, last, weight, *steps, packed, *t.output_blocks, t.block, t.depth,
                     t.phases, t.windows)

    threads.run(t.groups * t.blocks, pack, workers if t.packed_size > 1 << 18 else 1)

    parts = min(t.blocks, -(-wanted // t.strips))  # share out the output channels if need be
    patch_pixels = t.patch_pixels if algorithm == "im2col" else 0

    if t.narrow and algorithm == "direct":
        narrow.correlate(t, problem.n, source, packed, r.bias, r.has_bias, r.relu, result,
                         workers)
        return

    def correlate(first, last):
        correlate_strips(
            first, last, source, packed, r.bias, r.has_bias, r.relu, result, t.groups, t.strips,
            parts, t.strip_rows, t.rows, t.span, t.channels, t.depth, t.outputs, t.dh, t.sy, t.sx,
            t.pad_t, t.pad_l, t.in_place, t.width, t.channel_pitch, t.row_pitch, t.col_pitch,
            t.vecs, t.blocks, t.phases, t.taps, t.pixels, patch_pixels,
            threads.scratch("strip", t.strip_size, compute),
            threads.scratch("sums", (t.max_pixels + 2 * _MARGIN) * t.block, compute),
            threads.scratch("patch", patch_pixels and (patch_pixels + MAX_ROWS) * t.max_taps
                            * t.patch_width, compute),
            threads.scratch("rows", t.max_pixels + patch_pixels + 2 * MAX_ROWS + t.max_taps + CHUNK,
                            np.int64))

    threads.run(problem.n * t.groups * t.strips * parts, correlate, workers)


def _compute_dtype(problem):
    """Integers of any kind are computed as int64: modulo 2^64 the sign makes no difference."""
    return problem.dtype if problem.dtype.kind == "f" else np.dtype(np.int64)


def _steps(array):
    """Strides in elements."""
    return tuple(stride // array.itemsize for stride in array.strides)


def _pitches(array):
    """Channel, row and column strides in elements."""
    return _steps(array)[1:]


def _threads_for(problem) -> int:
    return threads.num_threads() if problem.macs > _PARALLEL_MACS else 1


# ---------------------------------------------------------------- kernels

@kernel(writes="packed")
def pack_weights(first, last, weight, group_step, out_step, channel_step, row_step, col_step,
                 packed, groups, blocks, outputs, block, channels, phases, windows):
    """packed[phase][group][block][(channel, tap)][output]; one task is one (group, block)."""
    height, width = weight.shape[2:]
    no_gaps = col_step == 1 and row_step == width and channel_step == height * width
    for task in range(first, last):
        group, out0 = task // blocks, task % blocks * block
        valid = min(block, outputs - out0)
        source = at(weight, group * group_step + out0 * out_step)
        for p in range(len(phases)):
            count, window0 = phases[p, PHASE_WINDOW], phases[p, PHASE_WINDOWS]
            taps = count * channels
            target = at(packed, phases[p, PHASE_WEIGHTS] + task * taps * block)
            if no_gaps and count == height * width and windows[0, 0] + windows[0, 1] == 0:
                planes_to_pixels(target, block, source, out_step, valid, taps)
                continue
            for tap in range(count):
                here = move(source, windows[window0 + tap, 0] * row_step
                            + windows[window0 + tap, 1] * col_step)
                if channel_step == 1:
                    planes_to_pixels(move(target, tap * block), count * block, here, out_step,
                                     valid, channels)
                    continue
                for c in range(channels):
                    copy(move(target, (c * count + tap) * block), move(here, c * channel_step),
                         out_step, valid)


@kernel(writes="y strip sums patch rows")
def correlate_strips(first, last, x, packed, bias, has_bias, relu, y, groups, strips, parts,
                     strip_rows, all_rows, span, channels, depth, outputs, dh, sy, sx, pad_t,
                     pad_l, in_place, width, channel_pitch, row_pitch, col_pitch, vecs,
                     blocks, phases, taps, pixels, patch_pixels,
                     strip, sums, patch, rows):
    """One task is one strip of one group of one image, for one part of the output channels."""
    size = lanes(sums)
    block = max(1, vecs) * size
    patch_width = size if vecs == 0 else 1
    weight_steps = multiples(at(rows, len(rows) - CHUNK), block, CHUNK)
    for task in range(first, last):
        part = task % parts
        row0 = task // parts % strips * strip_rows
        group = task // (parts * strips) % groups
        image = task // (parts * strips * groups)
        height = (min(strip_rows, all_rows - row0) - 1) * dh + span
        source = source_strip(x, image, group * channels, channels, row0 * dh - pad_t, -pad_l,
                              height, width, in_place, strip, channel_pitch, row_pitch, col_pitch)
        for p in range(len(phases)):
            cols = phases[p, PHASE_COLS]
            count = (min(phases[p, PHASE_ROWS], row0 + strip_rows) - row0) * cols
            tap_count = phases[p, PHASE_WINDOW] * depth
            step = patch_pixels if patch_pixels else max(1, count)
            for pixel0 in range(0, count, step):
                here = min(step, count - pixel0)
                first_block = part * blocks // parts
                base, pixel_at, tap_at = source, at(rows, 0), at(taps, phases[p, PHASE_TAPS])
                for b in range(first_block, (part + 1) * blocks // parts):
                    if vecs == 0 or b == first_block:
                        base, tap_at = source, at(taps, phases[p, PHASE_TAPS])
                        if vecs == 0:
                            base = move(source, b * block)
                        clamped(pixel_at, at(pixels, phases[p, PHASE_PIXELS] + pixel0), here)
                        if patch_pixels:
                            base = gather(at(patch, 0), base, pixel_at, here, tap_at, tap_count,
                                          patch_width)
                            multiples(pixel_at, tap_count * patch_width, here + MAX_ROWS)
                            tap_at = multiples(at(rows, here + MAX_ROWS), patch_width, tap_count)
                    out0 = group * outputs + b * block
                    weights = at(packed, phases[p, PHASE_WEIGHTS]
                                 + (group * blocks + b) * tap_count * block)
                    product(vecs, here, tap_count, base, pixel_at, tap_at, weights, weight_steps,
                            at(sums, 0), False)
                    write(at(sums, 0), at(sums, len(sums) - SPARE), block,
                          min(block, outputs - b * block, y.shape[1] - out0), pixel0, here, cols,
                          y, image, out0, phases[p, PHASE_Y] + row0 * sy, phases[p, PHASE_X], sy,
                          sx, bias, has_bias, relu)
    stream_end()


@kernel(writes="partial strip gradient patch rows")
def correlate_weight(first, last, x, dy, partial, slices, groups, blocks, units, strips,
                     strip_rows, all_rows, span, channels, depth, outputs, dh, pad_t, pad_l,
                     in_place, width, channel_pitch, row_pitch, col_pitch, vecs, phases,
                     taps, pixels, tap_rows, patch_pixels, strip, gradient, patch, rows):
    """One task sums one slice of the strips of all images, for one block of output channels.

    Tile rows are (channel, tap) pairs, tile columns output channels, the sum runs over pixels.
    """
    size = lanes(gradient)
    block = max(1, vecs) * size
    patch_width = size if vecs == 0 else 1
    cols, tap_count = phases[0, PHASE_COLS], phases[0, PHASE_WINDOW] * depth
    gradient_steps = multiples(at(rows, len(rows) - CHUNK), block, CHUNK)
    for task in range(first, last):
        b, group = task % blocks, task // blocks % groups
        part = task // (blocks * groups)
        total = at(partial, task * tap_rows * block)
        fill(total, tap_rows * block)
        for unit in range(part * units // slices, (part + 1) * units // slices):
            image, row0 = unit // strips, unit % strips * strip_rows
            rows_here = min(strip_rows, all_rows - row0)
            source = source_strip(x, image, group * channels, channels, row0 * dh - pad_t, -pad_l,
                                  (rows_here - 1) * dh + span, width, in_place, strip,
                                  channel_pitch, row_pitch, col_pitch)
            count = rows_here * cols
            out0 = group * outputs + b * block
            read_gradient(dy, image, out0, min(block, outputs - b * block, dy.shape[1] - out0),
                          row0, rows_here, cols, gradient, block)
            step = patch_pixels if patch_pixels else count
            for pixel0 in range(0, count, step):
                here = min(step, count - pixel0)
                base, pixel_at = source, at(pixels, pixel0)
                if vecs == 0:
                    base = move(source, b * block)
                tap_at = clamped(at(rows, 0), at(taps, 0), tap_count)
                if patch_pixels:
                    base = gather(at(patch, 0), base, pixel_at, here, tap_at, tap_count,
                                  patch_width)
                    tap_at = clamped(tap_at, multiples(at(rows, tap_rows), patch_width, tap_count),
                                     tap_count)
                    pixel_at = multiples(at(rows, 2 * tap_rows), tap_count * patch_width, here)
                product(vecs, tap_count, here, base, tap_at, pixel_at,
                        at(gradient, pixel0 * block), gradient_steps, total, True)


@kernel(writes="partial dweight")
def finish_weight(first, last, partial, dweight, slices, groups, blocks, outputs, block,
                  channels, tap_rows):
    """dweight = the partial sums added in order; one task is one (group, block)."""
    out_step, channel_step, row_step, col_step = element_steps(dweight)
    height, width = dweight.shape[2:]
    no_gaps = col_step == 1 and row_step == width and channel_step == height * width
    taps = channels * height * width
    for task in range(first, last):
        group, out0 = task // blocks, task % blocks * block
        valid = min(block, outputs - out0)
        total = at(partial, task * tap_rows * block)
        for part in range(1, slices):
            more = at(partial, (part * groups * blocks + task) * tap_rows * block)
            for i in range(0, taps * block, lanes(total)):
                store(move(total, i), add(load(move(total, i)), load(move(more, i))))
        target = at(dweight, (group * outputs + out0) * out_step)
        if no_gaps:
            pixels_to_planes(target, out_step, total, block, valid, taps)
            continue
        for k in range(taps):
            c, row, col = k // (height * width), k // width % height, k % width
            here = c * channel_step + row * row_step + col * col_step
            for out in range(valid):
                put(target, here + out * out_step, get(total, k * block + out))


@kernel(writes="dbias")
def sum_channels(first, last, dy, dbias, nothing):
    """dbias = sums over images and pixels in the dtype of ``nothing``; one task is one channel."""
    images, _, height, width = dy.shape
    for channel in range(first, last):
        total = nothing
        for n in range(images):
            for h in range(height):
                a, b, c, d = nothing, nothing, nothing, nothing  # so that no sum waits for another
                for w in range(0, width - 3, 4):
                    a += dy[n, channel, h, w]
                    b += dy[n, channel, h, w + 1]
                    c += dy[n, channel, h, w + 2]
                    d += dy[n, channel, h, w + 3]
                for w in range(width - width % 4, width):
                    a += dy[n, channel, h, w]
                total += (a + b) + (c + d)
        dbias[channel] = total


# ---------------------------------------------------------------- parts of the kernels

@inline
def read_gradient(dy, image, channel0, channels, row0, row_count, cols, gradient, block):
    """gradient[pixel, channel] of some rows of dy; what is in channels past the last is unused."""
    sn, sc, sh, sw = element_steps(dy)
    start = image * sn + channel0 * sc + row0 * sh
    length = cols
    if sh == cols * sw:  # rows follow one another: one long run
        length = row_count * cols
    for first in range(0, row_count * cols, length):
        source = at(dy, start + first // cols * sh)
        target = at(gradient, first * block)
        if sc != 1 and sw == 1:
            planes_to_pixels(target, block, source, sc, channels, length)
        else:
            for w in range(length):
                copy(move(target, w * block), move(source, w * sw), sc, channels)


@inline
def gather(patch, source, pixels, pixel_count, taps, tap_count, width):
    """patch[pixel, tap], the matrix of im2col for some pixels, of numbers or of vectors."""
    for p in range(pixel_count):
        here, row = move(source, get(pixels, p)), move(patch, p * tap_count * width)
        for k in range(tap_count):
            if width == 1:
                put(row, k, get(here, get(taps, k)))
            else:
                store(move(row, k * width), load(move(here, get(taps, k))))
    return patch
