"""The two-dimensional correlation behind all three directions, as offset tables.

Forward slides over x, backward_data over dy (once per phase where the stride is above 1: the
positions of dx with the same remainder modulo the stride meet the same taps), and backward_weight
walks the tables of forward with the roles of pixels and taps exchanged.  Offsets are relative to
a *strip*: some rows of the source with their padding, all channels of a group.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from .machine import lanes_of
from .tile import BEST_VECS, MAX_ROWS

_STRIP_BYTES = 384 << 10  # a strip and its sums together stay well inside a 1 MiB L2
_PATCH_BYTES = 192 << 10
_READ_IN_PLACE_BYTES = 512 << 10  # a bigger NCHW image is staged: the prefetcher likes sweeps
_NARROW = 6  # output channels, or fewer, that leave too many lanes of a vector unused
_TILE_COST = {1: 1.3, 2: 1.03, 3: 1.01, 4: 1.0}  # time per vector in a tile of that width


(PHASE_ROWS, PHASE_COLS,  # its size in the result
 PHASE_Y, PHASE_X,  # its first pixel there
 PHASE_WINDOW,  # taps per channel
 PHASE_TAPS, PHASE_PIXELS, PHASE_WEIGHTS, PHASE_WINDOWS,  # where its part of each table begins
 ) = range(9)


@dataclass(frozen=True, eq=False)
class Roles:
    """Forward and backward_data as one correlation, from a source to a result."""

    group_step: int  # of the weight, in elements
    out_step: int
    channel_step: int
    tap_steps: tuple[int, int]
    channels: int  # of the source, per group
    outputs: int  # channels of the result, per group
    from_step: tuple[int, int]  # rows and columns of the source from one pixel to the next
    to_step: tuple[int, int]  # the same of the result
    bias: np.ndarray
    has_bias: bool
    relu: bool

    @classmethod
    def of(cls, problem, direction, weight, bias, dtype) -> Roles:
        """Those of a direction; bias is None, or as long as the result has channels."""
        p = problem
        out, channel, *taps = (step // weight.itemsize for step in weight.strides)
        turned = {"group_step": p.oc // p.g * out, "tap_steps": tuple(taps),
                  "has_bias": bias is not None,
                  "bias": np.empty(0, dtype) if bias is None else bias.astype(dtype, copy=False),
                  "relu": direction == "forward" and p.activation == "relu"}
        channels, outputs, step = p.ic // p.g, p.oc // p.g, (p.stride_h, p.stride_w)
        if direction == "forward":
            return cls(out_step=out, channel_step=channel, channels=channels, outputs=outputs,
                       from_step=step, to_step=(1, 1), **turned)
        return cls(out_step=channel, channel_step=out, channels=outputs, outputs=channels,
                   from_step=(1, 1), to_step=step, **turned)


@dataclass(frozen=True, eq=False)
class Correlation:
    """result[oy + sy*i, ox + sx*j] = sum of weight * source[dh*i + dr, dw*j + dc] over the taps."""

    depthwise: bool  # every channel is a group; then ``groups`` and the like count otherwise:
    groups: int  # depthwise: vectors of channels (planar images) or 1 (channels-last)
    channels: int  # of the source, per group; depthwise: of a strip
    depth: int  # channels that one sum runs over: as above, but 1 if depthwise
    outputs: int  # channels of the result, per group; depthwise: of a strip
    total_outputs: int  # of all groups
    rows: int  # of the result, in the phase that has most
    span: int  # source rows that the taps of one pixel reach over
    dh: int  # source rows from one pixel of a phase to the next
    sy: int  # rows and columns of the result from one pixel of a phase to the next
    sx: int
    pad_t: int  # rows and columns of zeros before the source
    pad_l: int
    in_place: bool  # the strip is the source itself: no padding, no copy
    strip_rows: int  # rows of a phase per strip
    strips: int
    width: int  # columns of a strip
    channel_pitch: int  # of a strip in memory
    row_pitch: int
    col_pitch: int
    strip_size: int  # numbers in a staged strip
    narrow: bool  # few output channels, for ``narrow.correlate``
    vecs: int  # vectors of output channels per tile, 0 for ``lane_tile``
    block: int  # output channels per tile
    blocks: int  # tiles per group
    max_pixels: int  # of a phase in one strip
    max_taps: int  # (channel, tap) pairs of a phase
    patch_pixels: int  # im2col: pixels in one patch matrix
    packed_size: int  # of the packed weights
    phases: np.ndarray  # one row of PHASE_* fields each
    windows: np.ndarray  # per tap of a phase: its row and column in the kernel
    taps: np.ndarray  # offset in the strip of each (channel, tap) pair of each phase
    pixels: np.ndarray  # offset in the strip of each pixel of each phase

    @property
    def output_blocks(self):
        """Groups, blocks per group and output channels per group of the packed weights."""
        if self.depthwise:
            return 1, self.groups * self.blocks, self.total_outputs
        return self.groups, self.blocks, self.outputs

    @property
    def patch_width(self) -> int:
        """Numbers per tap in a patch matrix."""
        return self.block if self.depthwise else 1


def axes(problem, direction):
    """Rows and columns of a direction: its phases along each, and zeros before the source.

    A phase is its first index in the result, how many there are, and its (tap, offset) pairs.
    """
    p = problem
    if direction == "forward":
        return ([(0, p.oh, [(r, r * p.dil_h) for r in range(p.kh)])], p.pad_t,
                [(0, p.ow, [(s, s * p.dil_w) for s in range(p.kw)])], p.pad_l)
    return (*_phases(p.ih, p.pad_t, p.kh, p.stride_h, p.dil_h),
            *_phases(p.iw, p.pad_l, p.kw, p.stride_w, p.dil_w))


def forward(problem, compute, strides, tasks, by_vectors=False) -> Correlation:
    """Tables of y from x.  ``strides`` of x in elements, ``tasks`` wanted per image and group."""
    p = problem
    rows, pad_t, cols, pad_l = axes(p, "forward")
    return _build(p.g, p.ic // p.g, p.oc // p.g, (p.ih, p.iw), rows, cols,
                  (p.stride_h, p.stride_w), (1, 1), (pad_t, pad_l), p.order, compute,
                  strides, p.dtype == compute, tasks, by_vectors)


def backward_weight(problem, compute, strides, tasks) -> Correlation:
    """Tables of forward; depthwise, a task has one vector of channels whatever the memory order."""
    return forward(problem, compute, strides, tasks, by_vectors=True)


def backward_data(problem, compute, strides, tasks) -> Correlation:
    """Tables of dx from dy: stride_h * stride_w phases with stride 1 in dy each."""
    p = problem
    rows, pad_t, cols, pad_l = axes(p, "backward_data")
    return _build(p.g, p.oc // p.g, p.ic // p.g, (p.oh, p.ow), rows, cols,
                  (1, 1), (p.stride_h, p.stride_w), (pad_t, pad_l), p.order, compute,
                  strides, p.dtype == compute, tasks)


def _phases(size, pad, kernel, stride, dilation):
    """Per phase: first index, count and (tap, offset in padded dy) pairs; and dy's padding.

    dx[first + stride*i] receives tap k from dy[i + (first + pad - k*dilation) / stride].
    """
    phases = []
    for first in range(min(stride, size)):
        reach = [(k, first + pad - k * dilation) for k in range(kernel)]
        taps = [(k, distance // stride) for k, distance in reach if distance % stride == 0]
        phases.append((first, len(range(first, size, stride)), taps))
    lowest = min((offset for _, _, taps in phases for _, offset in taps), default=0)
    return [(first, count, [(k, offset - lowest) for k, offset in taps])
            for first, count, taps in phases], -lowest


@functools.lru_cache(256)
def cached(direction, problem, compute, strides, tasks) -> Correlation:
    """``direction`` (a function of this module) applied to the rest, remembered."""
    return direction(problem, compute, strides, tasks)


def _build(groups, channels, outputs, size, rows, cols, step, spread, pad, order, compute,
           strides, may_read, tasks, by_vectors=False) -> Correlation:
    span_h, span_w = _span(rows), _span(cols)
    most_rows, most_cols = (max(count for _, count, _ in axis) for axis in (rows, cols))
    width = (most_cols - 1) * step[1] + span_w
    full_height = (most_rows - 1) * step[0] + span_h
    pixels_first = order == "nhwc"
    item, lanes = compute.itemsize, lanes_of(compute)
    depthwise = groups > 1 and channels == outputs == 1
    narrow = not by_vectors and not depthwise and outputs <= _NARROW and step == (1, 1)
    total_outputs = groups * outputs
    in_place = (may_read and pad == (0, 0) and full_height <= size[0] and width <= size[1]
                and not narrow)
    pixels_first = pixels_first and not narrow
    if depthwise:
        in_place = in_place and strides[0] == 1 and groups % lanes == 0
        vecs, block, depth = 0, lanes, 1
        if pixels_first and not by_vectors:
            channels, outputs, blocks, groups = groups, groups, -(-groups // lanes), 1
        else:
            channels, outputs, blocks, groups = lanes, lanes, 1, -(-groups // lanes)
        pixels_first, pixel_pitch = True, blocks * lanes
    else:
        # The sums over pixels read rows on end, and would stage them for every block of outputs.
        most = _READ_IN_PLACE_BYTES * (8 if by_vectors else 1)
        in_place = in_place and (pixels_first or channels * size[0] * size[1] * item <= most)
        vecs, block, blocks = _blocking(outputs, lanes)
        depth = pixel_pitch = channels
    strip_rows = _strip_rows(most_rows, most_cols, step[0], span_h,
                             0 if in_place else pixel_pitch * width * item, block * item,
                             -(-tasks // blocks))
    height = (strip_rows - 1) * step[0] + span_h
    pitches, strip_size = (strides, 0) if in_place else _pitches(
        pixel_pitch, height, width, pixels_first, item)
    channel_pitch, row_pitch, col_pitch = pitches

    phases, windows, taps, pixels, packed = [], [], [], [], 0
    for oy, rows_here, taps_r in rows:
        for ox, cols_here, taps_s in cols:
            pairs = [(r, s) for r, _ in taps_r for s, _ in taps_s]
            offsets = np.array([dr * row_pitch + dc * col_pitch for _, dr in taps_r
                                for _, dc in taps_s], np.int64)
            phases.append((rows_here, cols_here, oy, ox, len(pairs),
                           sum(map(len, taps)), sum(map(len, pixels)), packed, len(windows)))
            windows += pairs
            each_channel = np.arange(depth) * channel_pitch
            taps.append((each_channel[:, None] + offsets).ravel())
            pixels.append((np.arange(min(strip_rows, rows_here))[:, None] * step[0] * row_pitch
                           + np.arange(cols_here) * step[1] * col_pitch).ravel())
            packed += groups * blocks * depth * len(pairs) * block
    max_taps = max(map(len, taps))
    tap_bytes = max(1, max_taps) * item * (lanes if depthwise else 1)
    return Correlation(
        depthwise=depthwise, groups=groups, channels=channels, depth=depth, outputs=outputs,
        total_outputs=total_outputs, rows=most_rows, span=span_h, dh=step[0], sy=spread[0],
        sx=spread[1], pad_t=pad[0], pad_l=pad[1], in_place=in_place, strip_rows=strip_rows,
        strips=-(-most_rows // strip_rows), width=width, channel_pitch=channel_pitch,
        row_pitch=row_pitch, col_pitch=col_pitch, strip_size=strip_size, narrow=narrow,
        vecs=vecs, block=block, blocks=blocks, max_pixels=max(map(len, pixels)), max_taps=max_taps,
        patch_pixels=max(2 * MAX_ROWS, _PATCH_BYTES // tap_bytes),
        packed_size=packed, phases=np.array(phases, np.int64),
        windows=np.array(windows, np.int64).reshape(-1, 2),
        taps=np.concatenate(taps), pixels=np.concatenate(pixels))


def _span(axis) -> int:
    """Source rows (columns) that the taps of one pixel reach over, all phases together."""
    return 1 + max((offset for _, _, taps in axis for _, offset in taps), default=0)


def _blocking(outputs, lanes):
    """Tile width in vectors, and how many tiles cover the output channels, at the least cost."""
    needed = -(-outputs // lanes)
    vecs = min(range(1, BEST_VECS + 1),
               key=lambda v: (-(-needed // v) * v * _TILE_COST[v], -v))
    return vecs, vecs * lanes, -(-needed // vecs)


def _strip_rows(rows, cols, step, span, row_bytes, pixel_bytes, parts) -> int:
    """Rows of the result per strip: what the cache holds, and at least ``parts`` strips."""
    spare = _STRIP_BYTES - span * row_bytes
    fit = max(1, spare // (step * row_bytes + cols * pixel_bytes))
    fit = max(fit, -(-4 * MAX_ROWS // cols))  # tiny rows: a strip should fill some tiles
    strips = max(-(-rows // fit), min(parts, max(1, rows * cols // (4 * MAX_ROWS))))
    return -(-rows // strips)


def _pitches(channels, height, width, pixels_first, item):
    """Steps from channel to channel, row to row, column to column in a staged strip; its size."""
    if pixels_first:
        return (1, width * channels, channels), height * width * channels
    channel = height * width
    if channel * item % 2048 == 0:  # a power of two would put every channel in one cache set
        channel += 64 // item
    return (channel, width, 1), channels * channel
