"""Few channels, step 1, a result in planes: vectors of pixels, written once, from registers.

A strip of the source with its padding stays in the first-level cache while all blocks of output
channels pass over it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import geometry, threads
from .copies import element_steps
from .geometry import Roles
from .jit import inline, kernel
from .llvm import (
    INDEX,
    below,
    broadcast,
    element_pointer,
    llvm_element,
    load_vector,
    multiply_add,
    store_vector,
    stream_vector,
    vector_of,
)
from .loads import aligned, lanes, stream_end
from .machine import REGISTERS, lanes_of
from .pointers import at, get, move, put
from .results import STREAM_BYTES
from .splats import floor_of
from .strips import source_strip
from .tile import TABLE, fenced

CHANNELS, VECS = 8, 3  # of a tile
_FEW_SOURCES = 4
_MOST_PRODUCTS = 192  # of one sum: where they are more, writing results counts less
_STRIP_BYTES = 28 << 10


@dataclass(frozen=True, eq=False)
class Plan:
    rows: int  # of the result in a strip
    cols: int  # of a strip
    pad: tuple[int, int]
    span: int  # rows of the source that a row of the result takes
    windows: np.ndarray  # (row, column) in the kernel of each tap
    offsets: np.ndarray  # in the strip of each (channel, tap)


def plan(problem, direction, result) -> Plan | None:
    """How to do it, if that is expected to be fastest."""
    p = problem
    if not (REGISTERS == 32 and p.dtype.kind == "f" and (p.stride_h, p.stride_w) == (1, 1)
            and (result.shape[3] == 1 or result.strides[3] == result.itemsize)):
        return None
    return _plan(p, direction)


@functools.lru_cache(256)
def _plan(problem, direction) -> Plan | None:
    p, size = problem, lanes_of(problem.dtype)
    channels, outputs, height, width = p.ic // p.g, p.oc // p.g, p.oh, p.ow
    if direction != "forward":
        channels, outputs, height, width = outputs, channels, p.ih, p.iw
    whole = -(-width // size) * size
    if not (channels <= _FEW_SOURCES and outputs >= CHANNELS and width >= size
            and channels * p.kh * p.kw <= _MOST_PRODUCTS and whole * 16 <= width * 17):
        return None
    axis_h, pad_t, axis_w, pad_l = geometry.axes(p, direction)
    taps_h, taps_w = axis_h[0][2], axis_w[0][2]
    span = 1 + max(offset for _, offset in taps_h)
    cols = width + max(offset for _, offset in taps_w)
    row_bytes = channels * cols * p.dtype.itemsize
    rows = max(1, min(height, max(4 * (span - 1), _STRIP_BYTES // row_bytes - span + 1)))
    rows = -(-height // -(-height // rows))
    plane = (rows + span - 1) * cols
    return Plan(rows, cols, (pad_t, pad_l), span,
                np.array([(r, s) for r, _ in taps_h for s, _ in taps_w], np.int64),
                np.array([c * plane + dr * cols + dc for c in range(channels)
                          for _, dr in taps_h for _, dc in taps_w], np.int64))


def correlate(problem, t, direction, source, weight, bias, result, workers) -> None:
    """What the Plan ``t`` says."""
    p, dtype = problem, result.dtype
    r = Roles.of(p, direction, weight, bias, dtype)
    strips = -(-result.shape[2] // t.rows)
    blocks = -(-r.outputs // CHANNELS)
    packed = threads.scratch("packed", p.g * blocks * CHANNELS * (len(t.offsets) + 1), dtype)
    pack_blocks(weight, r.group_step, r.out_step, r.channel_step, *r.tap_steps, r.bias, r.has_bias,
                packed, t.windows, p.g, blocks, r.channels, r.outputs)

    def work(first, last):
        correlate_rows(first, last, source, packed, r.relu, result, p.g, strips, blocks, t.rows,
                       t.cols, *t.pad, t.span, r.channels, r.outputs, t.offsets,
                       threads.scratch("strip", r.channels * (t.rows + t.span - 1) * t.cols,
                                       dtype))

    threads.run(p.n * p.g * strips, work, workers)


# ---------------------------------------------------------------- kernels

@kernel(writes="packed")
def pack_blocks(weight, group_step, out_step, channel_step, row_step, col_step, bias, has_bias,
                packed, windows, groups, blocks, channels, outputs):
    """packed[group][block][bias, then (channel, tap)][output], zeros past the last output."""
    taps = len(windows)
    target, zero = at(packed, 0), get(at(packed, 0), 0) * 0
    for task in range(groups * blocks):
        group, out0 = task // blocks, task % blocks * CHANNELS
        for k in range(-1, channels * taps):
            for i in range(CHANNELS):
                out = out0 + i
                value = zero
                if out < outputs and k >= 0:
                    tap = k % taps
                    value = get(at(weight, group * group_step + out * out_step), (
                        k // taps * channel_step + windows[tap, 0] * row_step
                        + windows[tap, 1] * col_step))
                elif out < outputs and has_bias:
                    value = bias[group * outputs + out]
                put(target, i, value)
            target = move(target, CHANNELS)


@kernel(writes="y strip")
def correlate_rows(first, last, x, packed, relu, y, groups, strips, blocks, strip_rows, cols,
                   pad_t, pad_l, span, channels, outputs, offsets, strip):
    """One task is one strip of one group of one image."""
    size = lanes(strip)
    sn, sc, sh, _ = element_steps(y)
    height, width = y.shape[2:]
    plane, sums = (strip_rows + span - 1) * cols, len(offsets)
    lowest = floor_of(strip, relu)
    streams = y.size * y.itemsize >= STREAM_BYTES and sc % size == 0
    vecs = (width + size - 1) // size
    tiles = (vecs + VECS - 1) // VECS
    if vecs <= VECS and width % size:  # a tile is no longer than the row
        tiles = vecs
    for task in range(first, last):
        row0 = task % strips * strip_rows
        group, image = task // strips % groups, task // (strips * groups)
        rows = min(strip_rows, height - row0)
        source = source_strip(x, image, group * channels, channels, row0 - pad_t, -pad_l,
                              rows + span - 1, cols, False, strip, plane, cols, 1)
        for block in range(blocks):
            weights = at(packed, (group * blocks + block) * (sums + 1) * CHANNELS)
            some = min(CHANNELS, outputs - block * CHANNELS)
            for row in range(rows):
                target = at(y, image * sn + (group * outputs + block * CHANNELS) * sc
                            + (row0 + row) * sh)
                begin = 0
                for tile in range(tiles):
                    end = vecs * (tile + 1) // tiles
                    pixel = min(begin * size, width - (end - begin) * size)
                    run_tile(end - begin, sums, at(offsets, 0), weights,
                             move(source, row * cols + pixel), move(target, pixel), sc, some,
                             lowest, streams)
                    begin = end
    stream_end()


@inline
def run_tile(vecs, sums, offsets, weights, source, target, pitch, some, lowest, streams):
    """A tile of some vectors of pixels."""
    past = streams and aligned(target)
    if vecs == 3:
        pixel_tile(3, sums, offsets, weights, source, target, pitch, some, lowest, past)
    elif vecs == 2:
        pixel_tile(2, sums, offsets, weights, source, target, pitch, some, lowest, past)
    else:
        pixel_tile(1, sums, offsets, weights, source, target, pitch, some, lowest, past)


@intrinsic(prefer_literal=True)
def pixel_tile(typingctx, vecs, length, offsets, weights, source, target, pitch, some, lowest,
               streams):
    """CHANNELS rows of the result (``some`` are written), so many vectors: bias, sum, relu."""
    if not isinstance(vecs, types.IntegerLiteral):
        return None
    count = vecs.literal_value

    def codegen(context, builder, sig, args):
        _emit(builder, llvm_element(context, source.dtype), source.dtype, count, *args[1:])
        return context.get_dummy_value()

    return types.void(vecs, types.intp, TABLE, source, source, source, types.intp, types.intp,
                      lowest, types.boolean), codegen


def _emit(builder, element, dtype, vecs, length, offsets, weights, source, target, pitch, some,
          lowest, streams):
    lanes, align = vector_of(dtype).lanes, dtype.bitwidth // 8
    vector = ir.VectorType(element, lanes)

    def ahead(pointer, number):
        number = number if isinstance(number, ir.Value) else ir.Constant(INDEX, number)
        return element_pointer(builder, element, pointer, number)

    before = builder.block
    head, body, done = (builder.append_basic_block(f"pixels.{name}")
                        for name in ("head", "body", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(INDEX)
    sums = [[builder.phi(vector) for _ in range(vecs)] for _ in range(CHANNELS)]
    builder.cbranch(builder.icmp_signed("<", k, length), body, done)

    builder.position_at_end(body)
    following = builder.add(k, ir.Constant(INDEX, 1))
    row = ahead(weights, builder.mul(following, ir.Constant(INDEX, CHANNELS)))
    offset = builder.load(element_pointer(builder, INDEX, offsets, k), typ=INDEX)
    place = ahead(source, offset)
    x = [load_vector(builder, vector, ahead(place, v * lanes), align) for v in range(vecs)]
    for i in range(CHANNELS):
        w = broadcast(builder, builder.load(ahead(row, i), typ=element), lanes)
        values = fenced(builder, [multiply_add(builder, x[v], w, sums[i][v])
                                  for v in range(vecs)])
        for v in range(vecs):
            sums[i][v].add_incoming(ir.Constant(vector, None), before)
            sums[i][v].add_incoming(values[v], body)
    k.add_incoming(ir.Constant(INDEX, 0), before)
    k.add_incoming(following, body)
    builder.branch(head)

    builder.position_at_end(done)
    for i in range(CHANNELS):
        with builder.if_then(builder.icmp_signed("<", ir.Constant(INDEX, i), some)):
            bias = broadcast(builder, builder.load(ahead(weights, i), typ=element), lanes)
            line = ahead(target, builder.mul(pitch, ir.Constant(INDEX, i)))
            values = [builder.fadd(total, bias) for total in sums[i]]
            values = [builder.select(below(builder, value, lowest, dtype), lowest, value)
                      for value in values]
            with builder.if_else(streams) as (streamed, kept):
                with streamed:
                    for v, value in enumerate(values):
                        stream_vector(builder, value, ahead(line, v * lanes))
                with kept:
                    for v, value in enumerate(values):
                        store_vector(builder, value, ahead(line, v * lanes), align)
