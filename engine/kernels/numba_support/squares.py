"""Squares of numbers transposed in registers, between planes and pixels."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import (
    INDEX,
    added,
    below,
    convert,
    element_pointer,
    llvm_element,
    load_lanes,
    shuffle,
    store_vector,
    stream_vector,
)


@intrinsic
def transpose(typingctx, source, source_pitch, source_rows, target, target_pitch, target_rows,
              plus, floor, streams):
    """Transpose the square of lanes x lanes numbers at ``source`` to ``target``.

    ``plus`` is added to every source row and the sum raised to at least ``floor`` on the way; the
    dtype of these two vectors is that of the registers, memory is converted from and to.  With
    fewer than lanes ``source_rows`` the first stands in for those that are missing, and only
    ``target_rows`` rows are written; past the caches if it ``streams``, for which all of them are
    ``aligned`` and ``stream_end`` follows.
    """
    dtype, count = plus.dtype, plus.lanes

    def codegen(context, builder, sig, args):
        source_at, source_step, reads, target_at, target_step, writes, bias, lowest, past = args
        rows = []
        for i in range(count):
            place = _row(context, builder, source, source_at, source_step, i, reads)
            row = load_lanes(context, builder, source.dtype, place, count)
            row = added(builder, convert(builder, row, source.dtype, dtype), bias)
            rows.append(builder.select(below(builder, row, lowest, dtype), lowest, row))
        rows = transposed(builder, rows)
        for i in reversed(range(count)):  # rows too many go where row 0 is written last
            place = _row(context, builder, target, target_at, target_step, i, writes)
            value = convert(builder, rows[i], dtype, target.dtype)
            with builder.if_else(past) as (streamed, kept):
                with streamed:
                    stream_vector(builder, value, place)
                with kept:
                    store_vector(builder, value, place, target.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp, plus,
                      floor, types.boolean), codegen


def _row(context, builder, pointer, address, pitch, index, count):
    """Pointer to row ``index``, or to row 0 where there are not that many."""
    index = ir.Constant(INDEX, index)
    start = builder.select(builder.icmp_signed("<", index, count), builder.mul(index, pitch),
                           ir.Constant(INDEX, 0))
    return element_pointer(builder, llvm_element(context, pointer.dtype), address, start)


def transposed(builder, rows):
    """The transpose of a square of vectors, in registers."""
    count = len(rows)
    distance = count // 2
    while distance:
        for i in range(count):
            if i & distance:
                continue
            upper, lower = rows[i], rows[i + distance]
            lane = range(count)
            first = [j if not j & distance else count + j - distance for j in lane]
            second = [j + distance if not j & distance else count + j for j in lane]
            rows[i] = shuffle(builder, upper, lower, first)
            rows[i + distance] = shuffle(builder, upper, lower, second)
        distance //= 2
    return rows
