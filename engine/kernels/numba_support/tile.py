"""The register tile: a small matrix product whose operands are found through offset tables.

    c[i, :] = (or +=)  sum over k of  a[a_rows[i] + a_taps[k]] * b[b_taps[k] : + vecs*lanes]

for some rows of some vectors, all of which stay in registers while k runs.  A row may be
an output pixel and k a filter tap (forward, backward_data), or a row a tap and k a pixel
(backward_weight): tables make one routine of them, for any stride, dilation and memory order,
and no patch matrix is ever built.  Where every channel is a group of its own ("depthwise"), lanes
are channels on both sides: ``lane_tile`` multiplies vector by vector.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import (
    INDEX,
    broadcast,
    element_pointer,
    llvm_element,
    load_vector,
    multiply_add,
    store_vector,
    vector_of,
)
from .machine import REGISTER_CLASS, REGISTERS

# Rows of a tile that is v vectors wide: rows*v accumulators, v vectors of b and one broadcast must
# fit the registers, with some to spare.
ROWS = {1: 14, 2: 12, 3: 8, 4: 6} if REGISTERS == 32 else {1: 10, 2: 6, 3: 4, 4: 2}
LANE_ROWS = 9
MAX_ROWS = max(ROWS.values())
BEST_VECS = 4 if REGISTERS == 32 else 2  # the widest tile that runs at full speed
ROW_VECS = 2 * BEST_VECS  # of a single row: as many sums as cover the latency of a multiply-add


TABLE = types.CPointer(types.int64)


@intrinsic(prefer_literal=True)
def tile(typingctx, vecs, left, length, a, a_rows, a_taps, b, b_taps, c, c_pitch, accumulate):
    """One tile, and how many rows it was high.

    ``vecs`` is a constant, ``length`` that of the sum, ``left`` how many rows there are still to
    do: where that is half a tile or less, the tile is only half as high.  Rows past ``left`` are
    computed from what ``a_rows`` says and written to ``c`` like any other.
    """
    if not isinstance(vecs, types.IntegerLiteral):
        return None
    width, rows = vecs.literal_value, ROWS[vecs.literal_value]

    def codegen(context, builder, sig, args):
        return _emit_tile(context, builder, a.dtype, rows, width, False, *args[1:])

    return types.intp(vecs, types.intp, types.intp, a, TABLE, TABLE, a, TABLE, a, types.intp,
                      types.boolean), codegen


@intrinsic(prefer_literal=True)
def tile_row(typingctx, vecs, length, a, a_rows, a_taps, b, b_taps, c, accumulate):
    """A tile of a single row."""
    if not isinstance(vecs, types.IntegerLiteral):
        return None

    def codegen(context, builder, sig, args):
        _emit(context, builder, a.dtype, 1, vecs.literal_value, False, *args[1:-1],
              ir.Constant(INDEX, 0), args[-1])
        return context.get_dummy_value()

    return types.void(vecs, types.intp, a, TABLE, TABLE, a, TABLE, a, types.boolean), codegen


@intrinsic
def lane_tile(typingctx, left, length, a, a_rows, a_taps, b, b_taps, c, c_pitch, accumulate):
    """``tile`` one vector wide whose a is not one number for all lanes but a vector as well."""
    def codegen(context, builder, sig, args):
        return _emit_tile(context, builder, a.dtype, LANE_ROWS, 1, True, *args)

    return types.intp(types.intp, types.intp, a, TABLE, TABLE, a, TABLE, a, types.intp,
                      types.boolean), codegen


def _emit_tile(context, builder, dtype, rows, vecs, lanewise, left, *operands):
    """A tile of that height or of half of it, and the height it had."""
    half_rows = (rows + 1) // 2
    is_full = builder.icmp_signed(">", left, ir.Constant(INDEX, half_rows))
    with builder.if_else(is_full) as (full, half):
        with full:
            _emit(context, builder, dtype, rows, vecs, lanewise, *operands)
        with half:
            _emit(context, builder, dtype, half_rows, vecs, lanewise, *operands)
    return builder.select(is_full, ir.Constant(INDEX, rows), ir.Constant(INDEX, half_rows))


def _emit(context, builder, dtype, rows, vecs, lanewise, length, a, a_rows, a_taps, b, b_taps, c,
          c_pitch, accumulate):
    """The LLVM code of a tile of that many rows and vectors."""
    lanes = vector_of(dtype).lanes
    element = llvm_element(context, dtype)
    vector = ir.VectorType(element, lanes)
    align = dtype.bitwidth // 8

    def entry(table, index):
        return builder.load(element_pointer(builder, INDEX, table, index), typ=INDEX)

    def ahead(pointer, count):
        return element_pointer(builder, element, pointer, ir.Constant(INDEX, count))

    row_at = [element_pointer(builder, element, a, entry(a_rows, ir.Constant(INDEX, i)))
              for i in range(rows)]
    before = builder.block
    head, body, done = (builder.append_basic_block(f"tile.{name}")
                        for name in ("head", "body", "done"))
    builder.branch(head)

    builder.position_at_end(head)
    k = builder.phi(INDEX)
    sums = [[builder.phi(vector) for _ in range(vecs)] for _ in range(rows)]
    builder.cbranch(builder.icmp_signed("<", k, length), body, done)

    builder.position_at_end(body)
    b_at = element_pointer(builder, element, b, entry(b_taps, k))
    tap = entry(a_taps, k)
    right = [load_vector(builder, vector, ahead(b_at, j * lanes), align) for j in range(vecs)]
    for i in range(rows):
        place = element_pointer(builder, element, row_at[i], tap)
        if lanewise:
            left = load_vector(builder, vector, place, align)
        else:
            left = broadcast(builder, builder.load(place, typ=element), lanes)
        following = fenced(builder, [multiply_add(builder, left, right[j], sums[i][j])
                                     for j in range(vecs)])
        for j in range(vecs):
            sums[i][j].add_incoming(ir.Constant(vector, None), before)
            sums[i][j].add_incoming(following[j], body)
    k.add_incoming(ir.Constant(INDEX, 0), before)
    k.add_incoming(builder.add(k, ir.Constant(INDEX, 1)), body)
    builder.branch(head)

    builder.position_at_end(done)
    plus = builder.add if isinstance(element, ir.IntType) else builder.fadd
    for i in range(rows):
        row = element_pointer(builder, element, c, builder.mul(c_pitch, ir.Constant(INDEX, i)))
        for j in range(vecs):
            place = ahead(row, j * lanes)
            old = builder.select(accumulate, load_vector(builder, vector, place, align),
                                 ir.Constant(vector, None))
            store_vector(builder, plus(sums[i][j], old), place, align)


def fenced(builder, values):
    """The same values, computed before any load that comes after: an empty assembly statement.

    Left alone, LLVM's scheduler loads all rows first, which needs more registers than there are.
    """
    if not REGISTER_CLASS:
        return values
    result = ir.LiteralStructType([value.type for value in values])
    outputs = ",".join(f"={REGISTER_CLASS}" for _ in values)
    inputs = ",".join(str(i) for i in range(len(values)))
    if len(values) == 1:
        result = values[0].type
    function_type = ir.FunctionType(result, [value.type for value in values])
    same = builder.asm(function_type, "", f"{outputs},{inputs},~{{memory}}", values, True)
    if len(values) == 1:
        return [same]
    return [builder.extract_value(same, i) for i in range(len(values))]
