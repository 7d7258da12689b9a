"""Matrix products of any height and length, out of register tiles, and the tables they walk."""

from __future__ import annotations

from .jit import inline
from .loads import lanes
from .pointers import get, move, put
from .tile import MAX_ROWS, lane_tile, tile

CHUNK = 256  # products summed from zero before they join the others


@inline
def product(vecs, count, length, a, a_rows, a_taps, b, b_taps, c, accumulate):
    """c (count rows, and a few more to fill the last tile) = or += the gathered a times b."""
    pitch = max(1, vecs) * lanes(a)
    for start in range(0, max(1, length), CHUNK):
        here = min(CHUNK, length - start)
        taps, right = move(a_taps, start), move(b, start * pitch)
        more = accumulate or start > 0
        i = 0
        while i < count:
            left, a_row, out = count - i, move(a_rows, i), move(c, i * pitch)
            if vecs == 4:
                i += tile(4, left, here, a, a_row, taps, right, b_taps, out, pitch, more)
            elif vecs == 3:
                i += tile(3, left, here, a, a_row, taps, right, b_taps, out, pitch, more)
            elif vecs == 2:
                i += tile(2, left, here, a, a_row, taps, right, b_taps, out, pitch, more)
            elif vecs == 0:
                i += lane_tile(left, here, a, a_row, taps, right, b_taps, out, pitch, more)
            else:
                i += tile(1, left, here, a, a_row, taps, right, b_taps, out, pitch, more)


@inline
def clamped(target, source, count):
    """A table with its last entry repeated, for a last tile that hangs over."""
    for i in range(count + MAX_ROWS):
        put(target, i, get(source, min(i, count - 1)))
    return target


@inline
def multiples(target, step, count):
    """The table 0, step, 2*step..."""
    for i in range(count):
        put(target, i, i * step)
    return target
