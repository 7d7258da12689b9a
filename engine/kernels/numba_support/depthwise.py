"""Depthwise 3x3 convolution of planes, read where they lie: ``rolls`` plane by plane."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from . import geometry, threads
from .copies import element_steps
from .geometry import Roles
from .jit import kernel
from .loads import lanes
from .machine import VECTOR_BYTES, lanes_of
from .pointers import at, fill, get, move, put
from .rolls import OUTSIDE, load_offsets, roll, spread
from .splats import floor_of


@dataclass(frozen=True, eq=False)
class Plan:
    """How a plane is walked."""

    spreads: bool
    one: int  # spread: the phase of columns with one tap
    vecs: int  # of a band of columns
    columns: np.ndarray  # of each band, as ``rolls`` wants them
    first_col: int  # of the source, of the taps of column 0
    second_col: int
    taps: np.ndarray  # (row, column) in the kernel of the nine weights in their order
    first_row: int
    second_row: int  # spread: of the twin rows; else the rows between two taps
    single: int  # spread: the phase of rows with one tap


def plan(problem, direction, source, result) -> Plan | None:
    """How to do it, if it is depthwise, 3x3, in planes, and of a step and size that can be."""
    p = problem
    if not (VECTOR_BYTES == 64 and p.dtype.kind == "f" and p.g == p.ic == p.oc and p.g > 1
            and (p.kh, p.kw) == (3, 3) and source.dtype == result.dtype
            and source.strides[3] == result.strides[3] == source.itemsize):
        return None
    return _plan(p, direction)


@functools.lru_cache(256)
def _plan(problem, direction) -> Plan | None:
    p, size = problem, lanes_of(problem.dtype)
    rows, pad_t, cols, pad_l = geometry.axes(p, direction)
    step = (p.stride_h, p.stride_w)
    if direction == "backward_data" and step == (2, 2) and (p.dil_h, p.dil_w) == (1, 1):
        return _spreading(rows, pad_t, cols, pad_l, p.ow, p.iw, size)
    gap = (p.dil_h, p.dil_w)
    if step not in ((1, 1), (2, 2)) or (step == (2, 2) and gap != (1, 1)) or (
            direction != "forward" and step != (1, 1)):
        return None
    width, source_width = (p.ow, p.iw) if direction == "forward" else (p.iw, p.ow)
    needed = -(-width // size)
    vecs = min((1, 2, 4), key=lambda v: -(-needed // v) * v * {1: 1.3, 2: 1.1, 4: 1.0}[v])
    total = -(-needed // vecs) * vecs
    starts = [max(0, width - size) * v // max(1, total - 1) for v in range(total)]
    offsets = load_offsets(step[1], gap[1], size)
    columns = []
    for band in range(0, len(starts), vecs):
        here = starts[band:band + vecs]
        ranges = [_inside(x * step[1] - pad_l, offsets, source_width, size) for x in here]
        if any(inside != [0, size] * len(offsets) for inside in ranges[1:-1]):
            return None
        columns.append([*here, *ranges[0], *(ranges[-1] if vecs > 1 else ())])
    taps = [[tap for tap, _ in sorted(axis[0][2], key=lambda pair: pair[1])]
            for axis in (rows, cols)]
    return Plan(False, 0, vecs, np.array(columns, np.int64), -pad_l, 0,
                np.array([(r, s) for s in taps[1] for r in taps[0]], np.int64), -pad_t, gap[0], 0)


def _spreading(rows, pad_t, cols, pad_l, source_width, width, size) -> Plan | None:
    if len(rows) < 2 or len(cols) < 2:
        return None
    single, one = (0 if len(axis[0][2]) == 1 else 1 for axis in (rows, cols))
    ordered = [[sorted(phase[2], key=lambda pair: pair[1]) for phase in axis]
               for axis in (rows, cols)]
    (alone_h, both_h), (alone_w, both_w) = (
        (axis[which], axis[1 - which]) for axis, which in zip(ordered, (single, one), strict=True))
    needed = -(-max(phase[1] for phase in cols) // size)
    vecs = 1 if needed == 1 else 2
    starts = [v * size for v in range(-(-needed // vecs) * vecs)]
    first, second = alone_w[0][1] - pad_l, both_w[0][1] - pad_l
    columns = []
    for band in range(0, len(starts), vecs):
        here = starts[band:band + vecs]
        columns.append(here + [limit for x in here for limit in _inside(
            x, (first, second, second + 1), source_width, size)])
    taps = [(r, s) for r_taps in ([alone_h[0]], both_h) for s, _ in (alone_w[0], *both_w)
            for r, _ in r_taps]
    return Plan(True, one, vecs, np.array(columns, np.int64), first, second,
                np.array(taps, np.int64), alone_h[0][1] - pad_t, both_h[0][1] - pad_t, single)


def _inside(start, offsets, width, size):
    """The ranges of lanes, all in a row, that loads from columns start + offset find inside."""
    return [min(max(edge - start - offset, 0), size) for offset in offsets for edge in (0, width)]


def correlate(problem, t, direction, source, weight, bias, result, workers) -> None:
    """What the Plan ``t`` says, of every plane."""
    p = problem
    r = Roles.of(p, direction, weight, bias, result.dtype)
    height, width = source.shape[2:]
    step = p.stride_h
    rows = result.shape[2] + 3 if not t.spreads else -(-result.shape[2] // 2) + 1

    def work(first, last):
        zeros = threads.scratch("zeros", width + 4 * lanes_of(result.dtype), result.dtype)
        table = threads.scratch("rows", (2 if t.spreads else step) * rows, np.int64)
        weights = threads.scratch("taps", 9, result.dtype)
        if t.spreads:
            spread_planes(first, last, source, weight, r.group_step, *r.tap_steps, result, t.one,
                          t.vecs, t.columns, t.first_col, t.second_col, t.taps, t.first_row,
                          t.second_row, t.single, zeros, table, weights)
        else:
            roll_planes(first, last, source, weight, r.group_step, *r.tap_steps, r.bias,
                        r.has_bias, r.relu, result, step, t.vecs, t.columns, t.first_col, p.dil_w,
                        t.taps, t.first_row, t.second_row, zeros, table, weights)

    threads.run(p.n * p.g, work, workers)


# ---------------------------------------------------------------- kernels

@kernel(writes="y zeros rows weights")
def roll_planes(first, last, x, weight, group_step, row_step, col_step, bias, has_bias, relu, y,
                step, vecs, columns, first_col, gap, taps, first_row, apart, zeros, rows, weights):
    """One task is one plane."""
    sn, sc, sh, _ = element_steps(x)
    tn, tc, th, _ = element_steps(y)
    channels, height, width = y.shape[1:]
    lowest = floor_of(zeros, relu)
    fill(at(zeros, 0), len(zeros))
    table, blank, w = at(rows, 0), move(at(zeros, 0), -first_col), at(weights, 0)
    count = min(width, lanes(zeros))
    for task in range(first, last):
        image, c = task // channels, task % channels
        plane = at(x, image * sn + c * sc)
        for i in range(9):
            put(w, i, get(at(weight, c * group_step), taps[i, 0] * row_step
                          + taps[i, 1] * col_step))
        offset = bias[c] if has_bias else get(at(zeros, 0), 0)
        for row0 in range(min(apart, height)):
            here = (height - row0 + apart - 1) // apart
            begin = row0 * step + first_row - (step - 1)
            for k in range(step * here + 2):
                at_row = begin + k * apart
                put(table, k, at_row * sh if 0 <= at_row < x.shape[2] else OUTSIDE)
            target = at(y, image * tn + c * tc + row0 * th)
            for band in range(columns.shape[0]):
                limits = at(columns, band * columns.shape[1])
                if step == 1:
                    if vecs == 4:
                        roll(4, 1, here, table, plane, blank, first_col, gap, limits, w, offset,
                             lowest, target, apart * th, count)
                    elif vecs == 2:
                        roll(2, 1, here, table, plane, blank, first_col, gap, limits, w, offset,
                             lowest, target, apart * th, count)
                    else:
                        roll(1, 1, here, table, plane, blank, first_col, gap, limits, w, offset,
                             lowest, target, apart * th, count)
                elif vecs == 4:
                    roll(4, 2, here, table, plane, blank, first_col, gap, limits, w, offset,
                         lowest, target, th, count)
                elif vecs == 2:
                    roll(2, 2, here, table, plane, blank, first_col, gap, limits, w, offset,
                         lowest, target, th, count)
                else:
                    roll(1, 2, here, table, plane, blank, first_col, gap, limits, w, offset,
                         lowest, target, th, count)


@kernel(writes="y zeros rows weights")
def spread_planes(first, last, x, weight, group_step, row_step, col_step, y, one, vecs, columns,
                  first_col, second_col, taps, first_row, second_row, single, zeros, rows,
                  weights):
    """One task is one plane."""
    sn, sc, sh, _ = element_steps(x)
    tn, tc, th, _ = element_steps(y)
    channels, height, width = y.shape[1:]
    fill(at(zeros, 0), len(zeros))
    w = at(weights, 0)
    blank = move(at(zeros, 0), -min(first_col, second_col))
    turns = (height + 1) // 2
    single_at, twin_at = at(rows, 0), at(rows, turns)
    for i in range(turns + 1):
        if i < turns:
            row = i + first_row
            put(single_at, i, row * sh if 0 <= row < x.shape[2] else OUTSIDE)
        row = i + second_row
        put(twin_at, i, row * sh if 0 <= row < x.shape[2] else OUTSIDE)
    for task in range(first, last):
        image, c = task // channels, task % channels
        plane = at(x, image * sn + c * sc)
        for i in range(9):
            put(w, i, get(at(weight, c * group_step), taps[i, 0] * row_step
                          + taps[i, 1] * col_step))
        place = image * tn + c * tc
        ones, twins = at(y, place + single * th), at(y, place + (1 - single) * th)
        one_rows, twin_rows = (height + 1 - single) // 2, (height + single) // 2
        for band in range(columns.shape[0]):
            limits = at(columns, band * columns.shape[1])
            if vecs == 2 and one == 0:
                spread(2, 0, turns, single_at, twin_at, plane, blank, first_col, second_col,
                       limits, w, ones, one_rows, twins, twin_rows, 2 * th, width)
            elif vecs == 2:
                spread(2, 1, turns, single_at, twin_at, plane, blank, first_col, second_col,
                       limits, w, ones, one_rows, twins, twin_rows, 2 * th, width)
            elif one == 0:
                spread(1, 0, turns, single_at, twin_at, plane, blank, first_col, second_col,
                       limits, w, ones, one_rows, twins, twin_rows, 2 * th, width)
            else:
                spread(1, 1, turns, single_at, twin_at, plane, blank, first_col, second_col,
                       limits, w, ones, one_rows, twins, twin_rows, 2 * th, width)
