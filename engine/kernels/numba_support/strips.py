"""Strips: some rows of an image, with their padding, where the taps of a sum find them."""

from __future__ import annotations

from .copies import copy, copy_rows, element_steps, planes_to_pixels
from .jit import inline
from .loads import lanes
from .pointers import at, at_as, fill, move


@inline
def source_strip(x, image, channel0, channels, row0, col0, height, width, in_place, strip,
                 channel_pitch, row_pitch, col_pitch):
    """Pointer to rows [row0, row0+height) of some channels of x, zeros where x has none."""
    sn, sc, sh, sw = element_steps(x)
    target = at(strip, 0)
    start = image * sn + channel0 * sc
    channels = min(channels, x.shape[1] - channel0)
    if in_place:
        return at_as(target, x, start + row0 * sh)
    before = min(max(-col0, 0), width)
    inside = max(0, min(x.shape[3] - col0, width) - before)
    top = min(max(-row0, 0), height)
    rows = max(0, min(x.shape[2] - row0, height) - top)
    start += (top + row0) * sh + (before + col0) * sw
    if col_pitch == 1:
        for c in range(channels):
            plane = move(target, c * channel_pitch)
            if inside < width or rows < height:
                fill(plane, height * width)
            copy_rows(move(plane, top * width + before), width, at(x, start + c * sc), sh, sw,
                      rows, inside)
        return target
    if inside < width or rows < height:
        fill(target, height * width * col_pitch)
    for r in range(rows):
        row, pixels = move(target, ((top + r) * width + before) * col_pitch), at(x, start + r * sh)
        if sc == 1:
            copy_rows(row, col_pitch, pixels, sw, 1, inside, channels)
        elif sw == 1 and col_pitch % lanes(target) == 0:  # whole vectors will be written
            planes_to_pixels(row, col_pitch, pixels, sc, channels, inside)
        else:
            for w in range(inside):
                copy(move(row, w * col_pitch), move(pixels, w * sw), sc, channels)
    return target
