"""Depthwise 3x3 convolution of one plane, as two loops down its rows.

``roll`` keeps the sums of all result rows that a source row belongs to in registers, so that every
row is read once.  ``spread`` is its adjoint at step 2, where a result row needs one row of the
source or two.  Vectors are pixels of a row.  Only the first and the last of them reach past the
ends of the source: their loads are masked, which on AVX-512 costs nothing.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import (
    INDEX,
    below,
    broadcast,
    call_llvm,
    element_pointer,
    first_lanes,
    llvm_element,
    load_vector,
    masked_store,
    multiply_add,
    shuffle,
    store_vector,
    type_suffix,
    vector_of,
)
from .tile import TABLE

OUTSIDE = -(1 << 62)  # in a table of rows: a row of zeros
_TAPS = 3


def load_offsets(step, gap, lanes):
    """Where the loads of a vector of ``roll`` begin, from its first tap."""
    return (0, gap, 2 * gap) if step == 1 else (0, lanes, 2, lanes + 2)


@intrinsic(prefer_literal=True)
def roll(typingctx, vecs, step, rows, row_at, source, zeros, first_col, gap, columns, weights,
         bias, lowest, target, pitch, count):
    """``rows`` rows of the result, ``pitch`` apart, each so many vectors.

    ``row_at`` has the source row of every turn of the loop (of step 2: two), from ``source`` on.
    ``columns`` has the first pixel of each vector, and then for the first and the last vector the
    range of lanes inside the source of every load.  Of a single vector ``count`` lanes are
    written.  ``weights`` are [column][row].
    """
    if not all(isinstance(each, types.IntegerLiteral) for each in (vecs, step)):
        return None
    vec_count, by = vecs.literal_value, step.literal_value

    def codegen(context, builder, sig, args):
        _emit_roll(builder, llvm_element(context, source.dtype), vector_of(source.dtype).lanes,
                   source.dtype, vec_count, by, *args[2:])
        return context.get_dummy_value()

    return types.void(vecs, step, types.intp, TABLE, source, source, types.intp, types.intp, TABLE,
                      source, source.dtype, lowest, source, types.intp, types.intp), codegen


def _emit_roll(builder, element, lanes, dtype, vecs, step, rows, row_at, source, zeros, first_col,
               gap, columns, weights, bias, lowest, target, pitch, count):
    align, vector = dtype.bitwidth // 8, ir.VectorType(element, lanes)
    index = _Index(builder, element)
    w = _splats(builder, index, weights, _TAPS * _TAPS, lanes)
    bias = broadcast(builder, bias, lanes)
    starts = [index.entry(columns, v) for v in range(vecs)]
    loads = _TAPS if step == 1 else 4
    masks = [[_mask(builder, index, columns, vecs + 2 * (side * loads + k), lanes)
              for k in range(loads)] for side in range(2 if vecs > 1 else 1)]
    offsets = [builder.mul(gap, ir.Constant(INDEX, k)) for k in range(_TAPS)] if step == 1 else [
        ir.Constant(INDEX, offset) for offset in load_offsets(2, 1, lanes)]

    def row(entry):
        return _row(builder, index, row_at, entry, source, zeros, first_col)

    def taps(start, v):
        """The source of the three taps of a row of vector v."""
        place = index.ahead(start, builder.mul(starts[v], ir.Constant(INDEX, step)))
        mask = masks[0] if v == 0 else masks[1] if v == vecs - 1 else [None] * loads
        x = [_load(builder, vector, index.ahead(place, offset), align, m)
             for offset, m in zip(offsets, mask, strict=True)]
        if step == 1:
            return x
        even, odd = list(range(0, 2 * lanes, 2)), list(range(1, 2 * lanes, 2))
        return [shuffle(builder, x[0], x[1], even), shuffle(builder, x[0], x[1], odd),
                shuffle(builder, x[2], x[3], even)]

    def add(total, x, i):
        for j in range(_TAPS):
            total = multiply_add(builder, x[j], w[_TAPS * j + i], total)
        return total

    held = 2 if step == 1 else 1  # sums of a vector that have begun
    turns = builder.add(rows, ir.Constant(INDEX, held))
    before, head, body, done = _blocks(builder, "roll")
    builder.position_at_end(head)
    t = builder.phi(INDEX)
    sums = [[builder.phi(vector) for _ in range(held)] for _ in range(vecs)]
    builder.cbranch(builder.icmp_signed("<", t, turns), body, done)

    builder.position_at_end(body)
    if step == 1:
        sources = [row(t)]
    else:
        twice = builder.mul(t, ir.Constant(INDEX, 2))
        sources = [row(twice), row(builder.add(twice, ir.Constant(INDEX, 1)))]
    results, following = [], []
    for v in range(vecs):
        x = taps(sources[0], v)
        if step == 1:
            results.append(add(sums[v][1], x, 2))
            following.append([add(bias, x, 0), add(sums[v][0], x, 1)])
        else:
            total = add(sums[v][0], x, 1)
            x = taps(sources[1], v)
            results.append(add(total, x, 2))
            following.append([add(bias, x, 0)])
    ready = builder.icmp_signed(">=", t, ir.Constant(INDEX, held))
    with builder.if_then(ready):
        out = builder.mul(builder.sub(t, ir.Constant(INDEX, held)), pitch)
        for v, value in enumerate(results):
            value = builder.select(below(builder, value, lowest, dtype), lowest, value)
            place = index.ahead(target, builder.add(out, starts[v]))
            if vecs == 1:
                masked_store(builder, value, place, align, count)
            else:
                store_vector(builder, value, place, align)
    _close(builder, t, head, before, [(phi, bias, value) for phis, values in
                                      zip(sums, following, strict=True)
                                      for phi, value in zip(phis, values, strict=True)])
    builder.position_at_end(done)


@intrinsic(prefer_literal=True)
def spread(typingctx, vecs, one, rows, single_at, twin_at, source, zeros, first_col, second_col,
           columns, weights, single, single_rows, twin, twin_rows, pitch, width):
    """Two rows of the result at a time: one that takes one row of the source, one that takes two.

    ``one`` is a constant, the phase of columns that take a single column; ``first_col`` is that,
    ``second_col`` the first of the two of the others.  ``columns`` has the first pixel (of a phase)
    of each vector and, for each, the lanes inside the source of its three loads.  ``weights`` are
    those of the single row, its column first, and of the twin the same, column by column.
    """
    if not all(isinstance(each, types.IntegerLiteral) for each in (vecs, one)):
        return None
    vec_count, phase = vecs.literal_value, one.literal_value

    def codegen(context, builder, sig, args):
        _emit_spread(builder, llvm_element(context, source.dtype), vector_of(source.dtype).lanes,
                     source.dtype, vec_count, phase, *args[2:])
        return context.get_dummy_value()

    return types.void(vecs, one, types.intp, TABLE, TABLE, source, source, types.intp, types.intp,
                      TABLE, source, source, types.intp, source, types.intp, types.intp,
                      types.intp), codegen


def _emit_spread(builder, element, lanes, dtype, vecs, one, rows, single_at, twin_at, source, zeros,
                 first_col, second_col, columns, weights, single, single_rows, twin, twin_rows,
                 pitch, width):
    align, vector = dtype.bitwidth // 8, ir.VectorType(element, lanes)
    index = _Index(builder, element)
    w = _splats(builder, index, weights, _TAPS * _TAPS, lanes)
    starts = [index.entry(columns, v) for v in range(vecs)]
    masks = [[_mask(builder, index, columns, vecs + 2 * (_TAPS * v + k), lanes)
              for k in range(_TAPS)] for v in range(vecs)]
    places = [first_col, second_col, builder.add(second_col, ir.Constant(INDEX, 1))]
    nothing = ir.Constant(INDEX, 0)

    before, head, body, done = _blocks(builder, "spread")
    builder.position_at_end(head)
    t = builder.phi(INDEX)
    builder.cbranch(builder.icmp_signed("<", t, rows), body, done)

    builder.position_at_end(body)
    next_row = builder.add(t, ir.Constant(INDEX, 1))
    source_rows = [_row(builder, index, table, entry, source, zeros, nothing)
                   for table, entry in ((single_at, t), (twin_at, t), (twin_at, next_row))]
    out = builder.mul(t, pitch)

    def dot(values, factors):
        total = builder.fmul(values[0], factors[0])
        for value, factor in zip(values[1:], factors[1:], strict=True):
            total = multiply_add(builder, value, factor, total)
        return total

    def put(row, last_row, v, ones, twos):
        even, odd = (twos, ones) if one else (ones, twos)
        wide = builder.mul(starts[v], ir.Constant(INDEX, 2))
        place = index.ahead(row, builder.add(out, wide))
        with builder.if_then(builder.icmp_signed("<", t, last_row)):
            for half in range(2):
                lane = [lane for i in range(lanes // 2) for lane in
                        (i + half * lanes // 2, lanes + i + half * lanes // 2)]
                room = builder.sub(width, builder.add(wide, ir.Constant(INDEX, half * lanes)))
                mask = first_lanes(builder, room, lanes)
                call_llvm(builder, "llvm.masked.store", ir.VoidType(),
                          [shuffle(builder, even, odd, lane),
                           index.ahead(place, ir.Constant(INDEX, half * lanes)),
                           ir.Constant(ir.IntType(32), align), mask],
                          suffix=f"{type_suffix(vector)}.p0")

    for v in range(vecs):
        x, x0, x1 = ([_load(builder, vector, index.ahead(
            row, builder.add(starts[v], places[k])), align, masks[v][k]) for k in range(_TAPS)]
            for row in source_rows)
        put(single, single_rows, v, dot(x[:1], w[:1]), dot(x[1:], w[1:3]))
        put(twin, twin_rows, v, dot([x0[0], x1[0]], w[3:5]),
            dot([x0[1], x1[1], x0[2], x1[2]], w[5:9]))
    _close(builder, t, head, before, [])
    builder.position_at_end(done)


# ---------------------------------------------------------------- parts of both

class _Index:
    """Pointers to elements."""

    def __init__(self, builder, element):
        self._builder, self._element = builder, element

    def ahead(self, pointer, count):
        return element_pointer(self._builder, self._element, pointer, count)

    def entry(self, table, number):
        number = number if isinstance(number, ir.Value) else ir.Constant(INDEX, number)
        place = element_pointer(self._builder, INDEX, table, number)
        return self._builder.load(place, typ=INDEX)

    def number(self, pointer, count):
        return self._builder.load(self.ahead(pointer, ir.Constant(INDEX, count)),
                                  typ=self._element)


def _splats(builder, index, numbers, count, lanes):
    return [broadcast(builder, index.number(numbers, i), lanes) for i in range(count)]


def _row(builder, index, table, entry, source, zeros, first_col):
    """Where a row begins."""
    offset = index.entry(table, entry)
    outside = builder.icmp_signed("==", offset, ir.Constant(INDEX, OUTSIDE))
    start = builder.select(outside, zeros, index.ahead(source, offset))
    return index.ahead(start, first_col)


def _mask(builder, index, table, entry, lanes):
    """The lanes from one entry to the next; nothing where loads need no mask."""
    low, high = (first_lanes(builder, index.entry(table, entry + k), lanes) for k in range(2))
    return builder.and_(high, builder.not_(low))


def _load(builder, vector, place, align, mask):
    if mask is None:
        return load_vector(builder, vector, place, align)
    return call_llvm(builder, "llvm.masked.load", vector,
                     [place, ir.Constant(ir.IntType(32), align), mask, ir.Constant(vector, None)],
                     suffix=f"{type_suffix(vector)}.p0")


def _blocks(builder, name):
    """The block before a loop, and those of its head, its body and what follows."""
    before = builder.block
    head, body, done = (builder.append_basic_block(f"{name}.{part}")
                        for part in ("head", "body", "done"))
    builder.branch(head)
    return before, head, body, done


def _close(builder, t, head, before, carried):
    """The jump back, with what is carried from turn to turn: (phi, first, next)."""
    for phi, first, following in [(t, ir.Constant(INDEX, 0),
                                   builder.add(t, ir.Constant(INDEX, 1))), *carried]:
        phi.add_incoming(first, before)
        phi.add_incoming(following, builder.block)
    builder.branch(head)
