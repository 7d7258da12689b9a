"""Copies between arrays of any strides and the contiguous buffers that kernels work on."""

from __future__ import annotations

from .jit import inline
from .loads import lanes, load_as, store
from .pointers import copy_same, get, move, put, same_dtype
from .splats import floor_of, zeros
from .squares import transpose


@inline
def element_steps(array):
    """Strides in elements."""
    sn, sc, sh, sw = array.strides
    return sn // array.itemsize, sc // array.itemsize, sh // array.itemsize, sw // array.itemsize


@inline
def copy(target, source, step, count):
    """``count`` numbers, ``step`` apart, to contiguous memory of another or the same dtype."""
    if step == 1 and same_dtype(target, source):
        copy_same(target, source, count)
        return
    done = 0
    if step == 1:
        size = lanes(target)
        done = count // size * size
        for i in range(0, done, size):
            store(move(target, i), load_as(target, move(source, i)))
    for i in range(done, count):
        put(target, i, get(source, i * step))


@inline
def copy_rows(target, target_step, source, source_step, step, rows, count):
    """``rows`` rows of ``count`` numbers; at once if none has a gap behind it."""
    if step == 1 and target_step == count and source_step == count:
        copy(target, source, 1, rows * count)
    else:
        for r in range(rows):
            copy(move(target, r * target_step), move(source, r * source_step), step, count)


@inline
def planes_to_pixels(pixels, pixel_step, planes, plane_step, plane_count, count):
    """pixels[i, plane] = planes[plane, i] for i < count; both i and plane are contiguous.

    Pixels are written in whole vectors; what is put in lanes past the last plane is not defined.
    """
    size = lanes(pixels)
    for plane in range(0, plane_count, size):
        some = min(size, plane_count - plane)
        source, target = move(planes, plane * plane_step), move(pixels, plane)
        for i in range(0, count if count >= size else 0, size):
            here = min(i, count - size)  # the last square overlaps the one before
            transpose(move(source, here), plane_step, some, move(target, here * pixel_step),
                      pixel_step, size, zeros(pixels), floor_of(pixels, False), False)
        for i in range(count if count < size else 0):
            for j in range(some):
                put(target, i * pixel_step + j, get(source, j * plane_step + i))


@inline
def pixels_to_planes(planes, plane_step, pixels, pixel_step, plane_count, count):
    """planes[plane, i] = pixels[i, plane] for i < count; both i and plane are contiguous."""
    size = lanes(pixels)
    for plane in range(0, plane_count, size):
        some = min(size, plane_count - plane)
        source, target = move(pixels, plane), move(planes, plane * plane_step)
        for i in range(0, count if count >= size else 0, size):
            here = min(i, count - size)
            transpose(move(source, here * pixel_step), pixel_step, size, move(target, here),
                      plane_step, some, zeros(pixels), floor_of(pixels, False), False)
        for i in range(count if count < size else 0):
            for j in range(some):
                put(target, j * plane_step + i, get(source, i * pixel_step + j))
