"""Strips: some rows of an image, with their padding, where the taps of a sum find them."""

from __future__ import annotations

from .copies import copy, copy_rows, element_steps, planes_to_pixels
from .jit import inline
from .loads import lanes
from .pointers import at, at_as, fill, move, same_dtype


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


@inline
def pixels_of_rows(x, image, channel0, channels, row0, row1, col0, col1, buffer):
    """Some pixels of x with their channels side by side.

    Where the first one is, and the steps from row to row and from column to column.  Channels-last
    images are read in place, of others the rows are transposed into the buffer.
    """
    sn, sc, sh, sw = element_steps(x)
    size, width = lanes(buffer), col1 - col0
    start = image * sn + channel0 * sc + row0 * sh + col0 * sw
    if sc == 1 and channels >= size and same_dtype(x, buffer):
        return at_as(at(buffer, 0), x, start), sh, sw
    padded = (channels + size - 1) // size * size
    flat = sh == width * sw  # rows follow one another
    run = (row1 - row0) * width if flat else width
    for row in range(row0, min(row0 + 1, row1) if flat else row1):
        source = at(x, start + (row - row0) * sh)
        target = at(buffer, (row - row0) * width * padded)
        if sw == 1:
            planes_to_pixels(target, padded, source, sc, channels, run)
        else:
            for w in range(run):
                copy(move(target, w * padded), move(source, w * sw), sc, channels)
    return at(buffer, 0), width * padded, padded
