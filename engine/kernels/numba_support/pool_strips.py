"""Strips of images for pooling: the array itself where lanes can be its channels, else a buffer."""

from __future__ import annotations

from .copies import copy, element_steps, pixels_to_planes, planes_to_pixels
from .jit import inline
from .loads import lanes, store
from .pointers import at, at_as, get, move, put, same_dtype
from .splats import zeros


@inline
def decode(task, strips, blocks, channels, size):
    """Image, strip, first channel and the channel after the last of a task."""
    image, strip, block = task // (strips * blocks), task % strips, task // strips % blocks
    if blocks == 1:
        return image, strip, 0, channels
    return image, strip, block * size, min(channels, (block + 1) * size)


@inline
def direct(array, buffer):
    """Whether whole vectors of channels can be read from and written to the array itself."""
    return same_dtype(array, buffer) and element_steps(array)[1] == 1


@inline
def in_place(array, some, buffer, size):
    return direct(array, buffer) and some >= size


@inline
def inside(rows, i, dilation, h0, h1):
    """The range of taps of one window that fall on rows [h0, h1)."""
    r0, r1 = 0, rows[i, 1]
    while r0 < r1 and rows[i, 0] + r0 * dilation < h0:
        r0 += 1
    while r0 < r1 and rows[i, 0] + (r1 - 1) * dilation >= h1:
        r1 -= 1
    return r0, r1


@inline
def tabulate(offsets, positions, r0, r1, wide, dil_h, dil_w, row_step, col_step, width):
    """Where the taps of a window are from its first, in memory and as positions in the plane."""
    tap = 0
    for r in range(r0, r1):
        for s in range(wide):
            put(offsets, tap, r * dil_h * row_step + s * dil_w * col_step)
            put(positions, tap, r * dil_h * width + s * dil_w)
            tap += 1


@inline
def room(array, image, channel0, some, row0, buffer, size):
    """Pointer to the pixels of a row of an array, or the buffer instead; row and column steps."""
    sn, sc, sh, sw = element_steps(array)
    pointer = at(buffer, 0)
    if in_place(array, some, buffer, size):
        return at_as(pointer, array, image * sn + channel0 * sc + row0 * sh), sh, sw
    return pointer, array.shape[3] * size, size


@inline
def read(array, image, channel0, some, row0, row1, buffer, size):
    """``room`` for some rows, filled with what the array holds there."""
    pointer, row_step, col_step = room(array, image, channel0, some, row0, buffer, size)
    if not in_place(array, some, buffer, size) and row0 < row1:
        sn, sc, sh, sw = element_steps(array)
        width = array.shape[3]
        flat = sh == width * sw
        run = (row1 - row0) * width if flat else width
        for row in range(row0, row0 + 1 if flat else row1):
            source = at(array, image * sn + channel0 * sc + row * sh)
            target = move(pointer, (row - row0) * row_step)
            if sw == 1:
                planes_to_pixels(target, col_step, source, sc, some, run)
            else:
                for w in range(run):
                    copy(move(target, w * col_step), move(source, w * sw), sc, some)
    return pointer, row_step, col_step


@inline
def write(array, image, channel0, some, row0, row1, buffer, size):
    """Rows of an array from the buffer, unless they were written in place."""
    if in_place(array, some, buffer, size) or row0 >= row1:
        return
    sn, sc, sh, sw = element_steps(array)
    width = array.shape[3]
    flat = sh == width * sw
    run = (row1 - row0) * width if flat else width
    for row in range(row0, row0 + 1 if flat else row1):
        target = at(array, image * sn + channel0 * sc + row * sh)
        source = at(buffer, (row - row0) * width * size)
        if sw == 1 and sc != 1:
            pixels_to_planes(target, sc, source, size, some, run)
        else:
            for w in range(run):
                pixel, out = move(source, w * size), move(target, w * sw)
                if sc == 1:
                    copy(out, pixel, 1, some)
                else:
                    for c in range(some):
                        put(out, c * sc, get(pixel, c))


@inline
def clear(target, row_step, col_step, rows, cols, channels):
    for r in range(rows):
        for w in range(cols):
            for c in range(0, channels, lanes(target)):
                store(move(target, r * row_step + w * col_step + c), zeros(target))
