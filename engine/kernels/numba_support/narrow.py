"""Few output channels: lanes are pixels, the rows of a tile output channels.

Pixels of a strip are numbered on across its rows, padding included, so that vectors are full; what
falls between two rows is computed and thrown away.  Tables and strips are those of ``geometry``.
"""

from __future__ import annotations

import numpy as np

from . import threads
from .arithmetic import add, at_least
from .copies import element_steps
from .geometry import (
    PHASE_COLS,
    PHASE_ROWS,
    PHASE_TAPS,
    PHASE_WEIGHTS,
    PHASE_WINDOW,
    PHASE_X,
    PHASE_Y,
)
from .jit import inline, kernel
from .loads import lanes, load, load_part, store, store_part
from .machine import lanes_of
from .pointers import at, at_as, get, move, put, same_dtype
from .products import CHUNK, multiples
from .splats import floor_of, splat_as
from .strips import source_strip
from .tile import BEST_VECS, MAX_ROWS, ROW_VECS, tile, tile_row


def correlate(t, images, source, packed, bias, has_bias, relu, result, workers) -> None:
    """What the Correlation ``t`` says, with its packed weights."""
    compute = packed.dtype
    most = ROW_VECS * lanes_of(compute)
    pitch = -(-t.strip_rows * t.width // most) * most

    def work(first, last):
        correlate_narrow(
            first, last, source, packed, bias, has_bias, relu, result, t.groups, t.strips,
            t.strip_rows, t.rows, t.span, t.channels, t.outputs, t.sy, t.sx, t.pad_t, t.pad_l,
            t.width, t.channel_pitch, t.row_pitch, t.block, t.phases, t.taps, pitch,
            threads.scratch("strip", t.strip_size + 2 * most, compute),
            threads.scratch("sums", (t.outputs + MAX_ROWS) * pitch, compute),
            threads.scratch("rows", t.outputs + MAX_ROWS + CHUNK, np.int64))

    threads.run(images * t.groups * t.strips, work, workers)


@kernel(writes="y strip sums rows")
def correlate_narrow(first, last, x, packed, bias, has_bias, relu, y, groups, strips, strip_rows,
                     all_rows, span, channels, outputs, sy, sx, pad_t, pad_l, width,
                     channel_pitch, row_pitch, block, phases, taps, pitch, strip, sums, rows):
    """One task is one strip of one group of one image."""
    most = (ROW_VECS if outputs == 1 else BEST_VECS) * lanes(sums)
    output_at, weight_at = at(rows, 0), multiples(at(rows, outputs + MAX_ROWS), block, CHUNK)
    for i in range(outputs + MAX_ROWS):  # a tile that hangs over repeats the last
        put(output_at, i, min(i, outputs - 1))
    for task in range(first, last):
        row0 = task % strips * strip_rows
        group, image = task // strips % groups, task // (strips * groups)
        height = min(strip_rows, all_rows - row0) - 1 + span
        source = source_strip(x, image, group * channels, channels, row0 - pad_t, -pad_l, height,
                              width, False, strip, channel_pitch, row_pitch, 1)
        for p in range(len(phases)):
            cols = phases[p, PHASE_COLS]
            here = min(phases[p, PHASE_ROWS], row0 + strip_rows) - row0
            if here <= 0:
                continue
            tap_count = phases[p, PHASE_WINDOW] * channels
            tap_at = at(taps, phases[p, PHASE_TAPS])
            weights = at(packed, phases[p, PHASE_WEIGHTS] + group * tap_count * block)
            for pixel in range(0, (here - 1) * row_pitch + cols, most):
                for tap in range(0, max(1, tap_count), CHUNK):
                    length = min(CHUNK, tap_count - tap)
                    right, right_at = move(weights, tap * block), move(tap_at, tap)
                    i = 0
                    if outputs == 1:
                        i = 1
                        tile_row(ROW_VECS, length, right, output_at, weight_at,
                                 move(source, pixel), right_at, at(sums, pixel), tap > 0)
                    while i < outputs:
                        i += tile(BEST_VECS, outputs - i, length, right, move(output_at, i),
                                  weight_at, move(source, pixel), right_at,
                                  at(sums, i * pitch + pixel), pitch, tap > 0)
            write_rows(sums, pitch, row_pitch, here, cols, y, image, group * outputs, outputs,
                       phases[p, PHASE_Y] + row0 * sy, phases[p, PHASE_X], sy, sx, bias, has_bias,
                       relu)


@inline
def write_rows(sums, pitch, row_pitch, rows, cols, y, image, channel0, channels, oy, ox, sy, sx,
               bias, has_bias, relu):
    """A phase of y = sums[channel][pixel] + bias, then relu."""
    size = lanes(sums)
    sn, sc, sh, sw = element_steps(y)
    lowest = floor_of(sums, relu)
    zero = get(at(sums, 0), 0) * 0
    for c in range(channels):
        offset = bias[channel0 + c] if has_bias else zero
        plus = splat_as(sums, offset)
        for r in range(rows):
            source = at(sums, c * pitch + r * row_pitch)
            place = image * sn + (channel0 + c) * sc + (oy + r * sy) * sh + ox * sw
            i = 0
            if same_dtype(y, sums) and sx * sw == 1:
                target = at_as(source, y, place)
                while i + size <= cols:
                    store(move(target, i), at_least(add(load(move(source, i)), plus), lowest))
                    i += size
                if i < cols:
                    value = at_least(add(load_part(move(source, i), cols - i), plus), lowest)
                    store_part(move(target, i), value, cols - i)
                continue
            for j in range(cols):
                to = at(y, place + j * sx * sw)
                put(to, 0, get(source, j) + offset)
                if relu and get(to, 0) < 0:
                    put(to, 0, 0)
