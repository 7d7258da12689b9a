"""From sums, pixel by pixel in a buffer, to a result of any strides: plus bias, then relu."""

from __future__ import annotations

from .arithmetic import add, at_least
from .copies import element_steps
from .jit import inline
from .loads import aligned, lanes, load, load_part, store, store_part
from .machine import VECTOR_BYTES
from .pointers import at, at_as, get, move, put, same_dtype
from .splats import floor_of, zeros
from .squares import transpose

SPARE = VECTOR_BYTES * VECTOR_BYTES // 16  # numbers that `write` may use
STREAM_BYTES = 8 << 20  # no cache holds a result of so many when it is read


@inline
def write(sums, spare, block, channels, pixel0, count, cols, y, image, channel0, oy, ox, sy, sx,
          bias, has_bias, relu):
    """Pixels [pixel0, pixel0+count) of a phase of y = sums + bias, then relu.

    At ``spare`` there are SPARE numbers that may be used.  ``stream_end`` must follow at last.
    """
    sn, sc, sh, sw = element_steps(y)
    start = image * sn + channel0 * sc + oy * sh + ox * sw
    flat = sy * sh == cols * sx * sw  # rows follow one another
    pixel = pixel0
    while pixel < pixel0 + count:
        row, col = pixel // cols, pixel % cols
        run = pixel0 + count - pixel
        if not flat:
            run = min(run, cols - col)
        source = move(sums, (pixel - pixel0) * block)
        if same_dtype(y, sums) and (sc == 1 or sx * sw == 1):
            write_vectors(source, block, channels, run,
                          at_as(source, y, start + row * sy * sh + col * sx * sw), sc, sx * sw,
                          at(bias, channel0), has_bias, floor_of(sums, relu),
                          spare, y.size * y.itemsize >= STREAM_BYTES)
        else:
            target = at(y, start + row * sy * sh + col * sx * sw)
            for i in range(run):
                for c in range(channels):
                    value = get(source, i * block + c)
                    if has_bias:
                        value += bias[channel0 + c]
                    here = i * sx * sw + c * sc
                    put(target, here, value)
                    if relu and get(target, here) < 0:
                        put(target, here, 0)
        pixel += run


@inline
def write_vectors(source, block, channels, run, target, channel_step, pixel_step, bias,
                  has_bias, lowest, spare, streams):
    """A run of pixels: row by row where channels are contiguous, else transposed in squares."""
    size = lanes(source)
    for c in range(0, channels, size):
        some = min(size, channels - c)
        plus = zeros(source)
        if has_bias:
            plus = load_part(move(bias, c), some)
        if channel_step == 1:
            for i in range(run):
                value = at_least(add(load(move(source, i * block + c)), plus), lowest)
                out = move(target, i * pixel_step + c)
                if some == size:
                    store(out, value)
                else:
                    store_part(out, value, some)
            continue
        for i in range(0, run, size):
            here = min(i, max(0, run - size))  # the last square overlaps the one before
            square, out = move(source, here * block + c), move(target, c * channel_step + here)
            if run >= size:
                past = streams and some == size and channel_step % size == 0 and aligned(out)
                transpose(square, block, size, out, channel_step, some, plus, lowest, past)
                continue
            transpose(square, block, size, spare, size, size, plus, lowest, False)
            for j in range(some):
                store_part(move(out, j * channel_step), load(move(spare, j * size)), run)
