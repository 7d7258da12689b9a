"""One tap, and a result in planes: a matrix product of the weights, read in place, with pixels.

Lanes are pixels here, those of all images in a row.  A task copies panels of pixels, channel by
channel, into a buffer, multiplies them, and writes the products with bias and relu; so nothing is
transposed.  A stride leaves out pixels of the source (forward) or of the result (backward_data).
"""

from __future__ import annotations

import numpy as np

from . import threads
from .arithmetic import add, at_least
from .copies import element_steps
from .geometry import Roles
from .jit import inline, kernel
from .loads import lanes, load, load_even, load_part, store, store_part
from .machine import lanes_of
from .pointers import at, get, move, put
from .products import CHUNK, multiples, product
from .splats import floor_of, splat_as
from .tile import BEST_VECS, MAX_ROWS

_STRIP_BYTES = 256 << 10  # of the copied pixels
_PANELS = 8  # of a strip, at most
_OUTPUTS = 252  # whose sums are kept at a time
_CHANNELS = 128  # of a panel that stays in the first-level cache


def is_product(problem, result) -> bool:
    """Whether there is one tap, no padding, and a result in planes."""
    p = problem
    return ((p.kh, p.kw) == (1, 1) and (p.pad_t, p.pad_b, p.pad_l, p.pad_r) == (0, 0, 0, 0)
            and (result.shape[3] == 1 or result.strides[3] == result.itemsize)
            and result.strides[1] != result.itemsize)


def suits(problem, result) -> bool:
    """Whether it is such a product, and tiles have enough rows."""
    p = problem
    return p.dtype.kind == "f" and min(p.ic, p.oc) // p.g >= 8 and is_product(p, result)


def correlate(problem, direction, source, weight, bias, result, workers) -> None:
    """The forward or data-gradient convolution of that problem."""
    p, dtype = problem, result.dtype
    r = Roles.of(p, direction, weight, bias, dtype)
    channels, outputs = r.channels, r.outputs
    if result.shape[2:] != source.shape[2:] and direction != "forward":
        result[...] = 0  # where no tap reaches
    panel = BEST_VECS * lanes_of(dtype)
    pixels = p.n * p.oh * p.ow
    strip = max(1, min(_PANELS, _STRIP_BYTES // (channels * panel * dtype.itemsize)))
    strip = max(1, min(strip, pixels // (2 * workers * panel))) * panel
    strips = -(-pixels // strip)
    parts = 1 if strips * p.g >= 2 * workers else min(2 * workers, -(-outputs // (2 * MAX_ROWS)))

    def work(first, last):
        multiply_pixels(
            first, last, source, weight, r.group_step, r.out_step, r.channel_step, r.bias,
            r.has_bias, r.relu, result, p.g, strips, parts, pixels, strip, p.oh, p.ow,
            *r.from_step, *r.to_step, channels, outputs,
            threads.scratch("strip", channels * strip, dtype),
            threads.scratch("sums", (_OUTPUTS + MAX_ROWS) * panel, dtype),
            threads.scratch("rows", channels + _OUTPUTS + MAX_ROWS + CHUNK, np.int64))

    threads.run(p.g * strips * parts, work, workers)


@kernel(writes="y panels sums rows")
def multiply_pixels(first, last, x, weight, group_step, out_step, channel_step, bias, has_bias,
                    relu, y, groups, strips, parts, pixels, strip, height, width, from_h, from_w,
                    to_h, to_w, channels, outputs, panels, sums, rows):
    """One task is one strip of pixels of one group, for one part of the outputs."""
    size = lanes(sums)
    most = BEST_VECS * size
    channel_at = multiples(at(rows, 0), channel_step, channels)
    out_at, panel_at = at(rows, channels), at(rows, channels + _OUTPUTS + MAX_ROWS)
    for task in range(first, last):
        part, group = task % parts, task // parts % groups
        pixel0 = task // (parts * groups) * strip
        count = min(strip, pixels - pixel0)
        copy_pixels(panels, x, group * channels, channels, pixel0, count, height, width, from_h,
                    from_w)
        for out0 in range(part * outputs // parts, (part + 1) * outputs // parts, _OUTPUTS):
            some = min(_OUTPUTS, (part + 1) * outputs // parts - out0)
            for i in range(some + MAX_ROWS):  # a last tile that hangs over repeats the last row
                put(out_at, i, min(i, some - 1) * out_step)
            weights = at(weight, group * group_step + out0 * out_step)
            for first_pixel in range(0, count, most):
                here = min(most, count - first_pixel)
                vecs = (here + size - 1) // size
                multiples(panel_at, vecs * size, CHUNK)
                for c in range(0, channels, _CHANNELS):
                    product(vecs, some, min(_CHANNELS, channels - c), weights, out_at,
                            move(channel_at, c),
                            at(panels, first_pixel * channels + c * vecs * size), panel_at,
                            at(sums, 0), c > 0)
                write_pixels(sums, vecs * size, y, group * outputs + out0, some,
                             pixel0 + first_pixel, here, height, width, to_h, to_w, bias, has_bias,
                             relu)


@inline
def run_of(array, pixel, height, width, step_h, step_w):
    """Where a pixel of all images is, how many follow it evenly, and how far apart they are."""
    sn, sc, sh, sw = element_steps(array)
    image, i, j = pixel // (height * width), pixel // width % height, pixel % width
    run = width - j
    if sh * step_h == width * sw * step_w:
        run = height * width - pixel % (height * width)
    return image * sn + i * step_h * sh + j * step_w * sw, run, step_w * sw


@inline
def copy_pixels(panels, x, channel0, channels, pixel0, count, height, width, step_h, step_w):
    """panels[panel][channel][pixel]; the last panel is only as many vectors wide as it needs."""
    size = lanes(panels)
    most = BEST_VECS * size
    sc = element_steps(x)[1]
    done = 0
    while done < count:
        place, run, step = run_of(x, pixel0 + done, height, width, step_h, step_w)
        run = min(run, count - done)
        for c in range(channels):
            source = at(x, place + (channel0 + c) * sc)
            i = done
            while i < done + run:
                inside = i % most
                pitch = min(most, (count - (i - inside) + size - 1) // size * size)
                here = min(most - inside, done + run - i)
                target = at(panels, (i - inside) * channels + c * pitch + inside)
                copy_run(target, move(source, (i - done) * step), step, here)
                i += here
        done += run


@inline
def copy_run(target, source, step, count):
    """``count`` numbers that are ``step`` apart."""
    size = lanes(target)
    i = 0
    if step == 1:
        while i + size <= count:
            store(move(target, i), load(move(source, i)))
            i += size
        if i < count:
            store_part(move(target, i), load_part(move(source, i), count - i), count - i)
        return
    if step == 2:
        while i + size < count:
            store(move(target, i), load_even(move(source, 2 * i)))
            i += size
    while i < count:
        put(target, i, get(source, i * step))
        i += 1


@inline
def write_pixels(sums, pitch, y, channel0, channels, pixel0, count, height, width, step_h, step_w,
                 bias, has_bias, relu):
    """y[channel, pixel] = sums[channel][pixel] + bias, then relu."""
    size = lanes(sums)
    sc = element_steps(y)[1]
    lowest = floor_of(sums, relu)
    done = 0
    while done < count:
        place, run, step = run_of(y, pixel0 + done, height, width, step_h, step_w)
        run = min(run, count - done)
        for c in range(channels):
            source = at(sums, c * pitch + done)
            target = at(y, place + (channel0 + c) * sc)
            plus = splat_as(sums, bias[channel0 + c] if has_bias else 0)
            if step == 1:
                i = 0
                while i + size <= run:
                    value = at_least(add(load(move(source, i)), plus), lowest)
                    store(move(target, i), value)
                    i += size
                if i < run:
                    value = at_least(add(load_part(move(source, i), run - i), plus), lowest)
                    store_part(move(target, i), value, run - i)
            else:
                for i in range(run):  # only the gradient of x, which has neither bias nor relu
                    put(target, i * step, get(source, i))
        done += run
