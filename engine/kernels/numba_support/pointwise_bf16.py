"""One tap and a result in planes, in bfloat16 parts on the tiles of AMX: see ``tiles_bf16``.

The weights are rows of the tiles and pixels columns, those of all images one after the other, so
nothing is transposed but weights.  A strip of pixels is split into its parts while the one before
it is multiplied, a pair of channels at a time between two steps: neither has to wait.
"""

from __future__ import annotations

import numpy as np

from . import threads
from .arithmetic import add, at_least
from .copies import element_steps, planes_to_pixels
from .geometry import Roles
from .jit import inline, kernel
from .loads import lanes, load, load_part, store, store_part, zip_zeros
from .pointers import at, fill, get, move, put
from .pointwise import copy_run, is_product, run_of
from .splats import floor_of, splat_as
from .tiles_bf16 import (
    LINES,
    PARTS,
    SIDE,
    TILE_WORDS,
    begin,
    clear_sums,
    end,
    keep_sums,
    multiply_step,
    put_words,
)

_STEP = 2 * LINES  # channels of a step
_STEP_WORDS = PARTS * 2 * TILE_WORDS
_CHUNK = 24  # steps summed from zero before they are added up
_STRIP_BYTES, _FAR_STRIP_BYTES = 192 << 10, 512 << 10  # of parts; where the weights leave L2
_FAR_BYTES = 1 << 20
_MOST_PIXELS, _LEAST_PIXELS = 256, 64  # of a strip; where it is cut for the sake of threads
_FEWEST_OUTPUTS = 64  # every channel of the source is split for their sake
_FEWEST_WEIGHTS = 64 * 128
_FEWEST_PIXELS = 48


def wins(problem, direction) -> bool:
    """Whether a 1x1 convolution is expected to be faster this way: a matter of one image alone."""
    p = problem
    channels, outputs = p.ic // p.g, p.oc // p.g
    if direction != "forward":
        channels, outputs = outputs, channels
    return (outputs >= _FEWEST_OUTPUTS and channels * outputs >= _FEWEST_WEIGHTS
            and p.oh * p.ow >= _FEWEST_PIXELS)


def suits(problem, source, result) -> bool:
    """Whether it is a product of weights with planes."""
    return (is_product(problem, result)
            and (source.shape[3] == 1 or source.strides[1] != source.itemsize))


def correlate(problem, direction, source, weight, bias, result, workers) -> None:
    """The forward or data-gradient convolution of that problem."""
    p, r = problem, Roles.of(problem, direction, weight, bias, result.dtype)
    if result.shape[2:] != source.shape[2:] and direction != "forward":
        clear_between(result, *r.to_step, workers)
    pixels = p.n * p.oh * p.ow
    steps, blocks = -(-r.channels // _STEP), -(-r.outputs // SIDE)
    chunks = max(1, -(-steps // _CHUNK))
    chunk = max(1, -(-steps // chunks))
    far = blocks * steps * _STEP_WORDS * 4 > _FAR_BYTES
    room = (_FAR_STRIP_BYTES if far else _STRIP_BYTES) // (chunk * _STEP_WORDS * 4) * SIDE
    share = -(-pixels * p.g // (4 * workers)) if workers > 1 else pixels
    strip = max(1, -(-min(room, _MOST_PIXELS, max(_LEAST_PIXELS, share)) // SIDE)) * SIDE
    strips = -(-pixels // strip)
    parts = min(blocks, -(-2 * workers // max(1, strips * p.g))) if workers > 1 else 1
    packed = threads.scratch("words", p.g * blocks * steps * _STEP_WORDS, np.int32)
    most_blocks = -(-blocks // parts)

    def pack(first, last):
        pack_rows(first, last, weight, r.group_step, r.out_step, r.channel_step, packed, blocks,
                  steps, r.channels, r.outputs, threads.scratch("square", SIDE * SIDE, np.float32))

    threads.run(p.g * blocks, pack, workers)

    def work(first, last):
        multiply_strips(
            first, last, source, packed, r.bias, r.has_bias, r.relu, result, strips, parts,
            pixels, strip, p.oh, p.ow, *r.from_step, *r.to_step, r.channels, r.outputs,
            steps, chunk, blocks,
            threads.scratch("strip words", 2 * strip // SIDE * chunk * _STEP_WORDS, np.int32),
            threads.scratch("sums", (1 + most_blocks * (strip // SIDE) * (chunks > 1)) * SIDE**2,
                            np.float32),
            threads.scratch("lines", 3 * strip, np.float32),
            threads.scratch("rows", 2 * strip, np.int64))

    threads.run(p.g * parts * strips, work, workers)


def clear_between(result, step_h, step_w, workers) -> None:
    """Zeros where no tap reaches; with steps of two columns only in the rows between."""
    def work(first, last):
        images = result[first:last]
        if step_w > 2:
            images[...] = 0
        else:
            for row in range(1, step_h):
                images[:, :, row::step_h] = 0
            if step_w == 2 and result.shape[3] % 2 == 0:
                images[:, :, :, -1] = 0

    threads.run(result.shape[0], work, workers)


# ---------------------------------------------------------------- kernels

@kernel(writes="packed square")
def pack_rows(first, last, weight, group_step, out_step, channel_step, packed, blocks, steps,
              channels, outputs, square):
    """packed[group][block of outputs][step][part][output][pair]; one task is one block."""
    for task in range(first, last):
        group, out0 = task // blocks, task % blocks * SIDE
        some = min(SIDE, outputs - out0)
        for step in range(steps):
            target = at(packed, (task * steps + step) * _STEP_WORDS)
            channel0 = step * _STEP
            count = min(_STEP, channels - channel0)
            source = at(weight, group * group_step + out0 * out_step + channel0 * channel_step)
            rows = at(square, 0)
            if count < _STEP or some < SIDE:
                fill(rows, SIDE * SIDE)
            if channel_step == 1:
                for i in range(some):
                    for k in range(0, count, LINES):
                        store(move(rows, i * SIDE + k), load_part(
                            move(source, i * out_step + k), min(LINES, count - k)))
            elif out_step == 1 and count == _STEP:
                planes_to_pixels(rows, SIDE, source, channel_step, count, some)
            else:
                for i in range(some):
                    for k in range(count):
                        put(rows, i * SIDE + k, get(source, i * out_step + k * channel_step))
            for i in range(SIDE):
                row = move(rows, i * SIDE)
                put_words(move(target, i * LINES), load(row), load(move(row, LINES)),
                          2 * TILE_WORDS, LINES)


@kernel(writes="y staged sums lines rows")
def multiply_strips(first, last, x, packed, bias, has_bias, relu, y, strips, parts, pixels,
                    strip, height, width, from_h, from_w, to_h, to_w, channels, outputs, steps,
                    chunk, blocks, staged, sums, lines, rows):
    """One task is one strip of pixels of one group, for one part of the outputs."""
    chunks = max(1, (steps + chunk - 1) // chunk)
    buffer = strip // SIDE * chunk * _STEP_WORDS
    zeros, runs = at(lines, 0), at(rows, 0)
    fill(zeros, strip)
    begin(LINES)
    for turn in range(first * chunks - 1, last * chunks):
        # what is multiplied in this turn, and what is split for the next one
        task, step0 = turn // chunks, turn % chunks * chunk
        group, part = task // (strips * parts), task // strips % parts
        pixel0 = task % strips * strip
        count, length = min(strip, pixels - pixel0), min(chunk, steps - step0)
        block0, block1 = part * blocks // parts, (part + 1) * blocks // parts
        if turn < first * chunks:
            block1 = block0
        words = at(staged, turn % 2 * buffer)

        after = (turn + 1) // chunks
        next0 = after % strips * strip
        next_count = min(strip, pixels - next0)
        channel0 = (turn + 1) % chunks * chunk * _STEP
        some = min(channels - channel0, chunk * _STEP)
        split, run_count = 0, 0
        splits = (some + _STEP - 1) // _STEP * LINES
        if turn + 1 == last * chunks:
            splits = 0
        else:
            run_count = find_runs(runs, x, next0, next_count, height, width, from_h, from_w)
        source = at(x, (after // (strips * parts) * channels + channel0) * element_steps(x)[1])
        target = at(staged, (turn + 1) % 2 * buffer)
        units = (block1 - block0) * ((count + SIDE - 1) // SIDE) * length
        owed = 0

        for b in range(block0, block1):
            weights = at(packed, ((group * blocks + b) * steps + step0) * _STEP_WORDS)
            for pixel in range(0, count, SIDE):
                clear_sums()
                for step in range(length):
                    multiply_step(move(weights, step * _STEP_WORDS),
                                  move(words, (pixel // SIDE * chunk + step) * _STEP_WORDS))
                    owed += splits
                    while owed >= units and split < splits:
                        split_pair(split, source, element_steps(x)[1],
                                   from_w * element_steps(x)[3], some, next_count, strip, runs,
                                   run_count, zeros, target, chunk)
                        split += 1
                        owed -= units
                square = at(sums, 0)
                if chunks > 1:
                    square = move(square, (1 + (b - block0) * (strip // SIDE) + pixel // SIDE)
                                  * SIDE * SIDE)
                keep_sums(at(sums, 0) if step0 > 0 else square)
                if step0 > 0:
                    for i in range(0, SIDE * SIDE, lanes(sums)):
                        store(move(square, i), add(load(move(square, i)), load(at(sums, i))))
                if step0 + length == steps:
                    write_square(square, y, group * outputs + b * SIDE,
                                 min(SIDE, outputs - b * SIDE), pixel0 + pixel,
                                 min(SIDE, count - pixel), height, width, to_h, to_w, bias,
                                 has_bias, relu)
        while split < splits:
            split_pair(split, source, element_steps(x)[1], from_w * element_steps(x)[3], some,
                       next_count, strip, runs, run_count, zeros, target, chunk)
            split += 1
    end()


# ---------------------------------------------------------------- parts of the kernels

@inline
def find_runs(runs, x, pixel0, count, height, width, step_h, step_w):
    """How many runs of evenly spaced pixels there are: where each begins, and its length."""
    done = found = 0
    while done < count:
        place, run, _ = run_of(x, pixel0 + done, height, width, step_h, step_w)
        run = min(run, count - done)
        put(runs, 2 * found, place)
        put(runs, 2 * found + 1, run)
        done += run
        found += 1
    return found


@inline
def split_pair(pair, source, channel_step, pixel_step, channels, count, strip, runs, run_count,
               zeros, target, chunk):
    """The words of a pair of channels in all pixels of a strip."""
    low = pair // LINES * _STEP + pair % LINES
    first = line_of(low, source, channel_step, pixel_step, channels, runs, run_count, zeros,
                    move(zeros, strip))
    second = line_of(low + LINES, source, channel_step, pixel_step, channels, runs, run_count,
                     zeros, move(zeros, 2 * strip))
    target = move(target, pair // LINES * _STEP_WORDS + pair % LINES * LINES)
    i = 0
    while i + LINES <= count:
        place = move(target, i // SIDE * chunk * _STEP_WORDS + i // LINES % 2 * TILE_WORDS)
        put_words(place, load(move(first, i)), load(move(second, i)), 2 * TILE_WORDS, LINES)
        i += LINES
    if i < count:
        place = move(target, i // SIDE * chunk * _STEP_WORDS + i // LINES % 2 * TILE_WORDS)
        put_words(place, load_part(move(first, i), count - i),
                  load_part(move(second, i), count - i), 2 * TILE_WORDS, LINES)


@inline
def line_of(channel, source, channel_step, pixel_step, channels, runs, run_count, zeros, line):
    """A channel's pixels side by side: in place, or brought together."""
    if channel >= channels:
        return zeros
    here = move(source, channel * channel_step)
    if run_count == 1 and pixel_step == 1:
        return move(here, get(runs, 0))
    done = 0
    for i in range(run_count):
        run = get(runs, 2 * i + 1)
        copy_run(move(line, done), move(here, get(runs, 2 * i)), pixel_step, run)
        done += run
    return line


@inline
def write_square(sums, y, channel0, channels, pixel0, count, height, width, step_h, step_w, bias,
                 has_bias, relu):
    """y[channel, pixel] = sums[channel][pixel] + bias, then relu; zeros between pixels."""
    sc = element_steps(y)[1]
    lowest = floor_of(sums, relu)
    done = 0
    while done < count:
        place, run, step = run_of(y, pixel0 + done, height, width, step_h, step_w)
        run = min(run, count - done) if step == step_w else 1
        source, target = move(sums, done), at(y, place + channel0 * sc)
        if step_w > 1:
            last = (pixel0 + done + run - 1) % width  # of a run that may go on in the next row
            room = (run - 1) * step_w + y.shape[3] - last * step_w
            for c in range(channels):
                write_spread(move(target, c * sc), move(source, c * SIDE), run, step_w, step, room)
            done += run
            continue
        for c in range(channels):
            plus = splat_as(sums, bias[channel0 + c] if has_bias else 0)
            i = 0
            while i + LINES <= run:
                value = at_least(add(load(move(source, c * SIDE + i)), plus), lowest)
                store(move(target, c * sc + i), value)
                i += LINES
            if i < run:
                value = load_part(move(source, c * SIDE + i), run - i)
                value = at_least(add(value, plus), lowest)
                store_part(move(target, c * sc + i), value, run - i)
        done += run


@inline
def write_spread(target, source, run, step_w, step, room):
    """A run of pixels ``step`` apart, with zeros between them if that is two columns."""
    if step_w != 2 or step != 2:
        for i in range(run):
            put(target, i * step, get(source, i))
        return
    for i in range(0, 2 * run, LINES):
        value = zip_zeros(load_part(move(source, i // SIDE * LINES),
                                    run - i // SIDE * LINES), i // LINES % 2)
        here = min(min(2 * run, room) - i, LINES)
        store_part(move(target, i), value, here)
