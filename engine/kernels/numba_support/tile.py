"""The register tile: a small matrix product whose operands are found through offset tables.

    c[i, :] = (or +=)  sum over k of  a[a_rows[i] + a_taps[k]] * b[b_taps[k] : + vecs*lanes]

for ``rows`` rows of ``vecs`` vectors, all of which stay in registers while k runs.  A row may be
an output pixel and k a filter tap (forward, backward_data), or a row a tap and k a pixel
(backward_weight): tables make one routine of them, for any stride, dilation and memory order,
and no patch matrix is ever built.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vectors import (
    INDEX,
    REGISTERS,
    broadcast,
    element_pointer,
    llvm_element,
    load_vector,
    multiply_add,
    store_vector,
    vector_of,
)

# Rows of a tile that is v vectors wide: rows*v accumulators, v vectors of b and one broadcast must
# fit the registers, with two or three to spare, for LLVM spills at the brim.
ROWS_1, ROWS_2, ROWS_3, ROWS_4 = (14, 12, 8, 6) if REGISTERS == 32 else (10, 6, 4, 2)
MAX_ROWS = ROWS_1
BEST_VECS = 4 if REGISTERS == 32 else 2  # the widest tile that runs at full speed


@intrinsic(prefer_literal=True)
def tile(typingctx, rows, vecs, count, a, a_rows, a_taps, b, b_taps, c, c_pitch, accumulate):
    """One tile; ``rows`` and ``vecs`` are constants, ``count`` the length of the sum."""
    if not isinstance(rows, types.IntegerLiteral) or not isinstance(vecs, types.IntegerLiteral):
        return None
    m, n = rows.literal_value, vecs.literal_value
    lanes = vector_of(a.dtype).lanes
    table = types.CPointer(types.int64)

    def codegen(context, builder, sig, args):
        _, _, count, a, a_rows, a_taps, b, b_taps, c, c_pitch, accumulate = args
        element = llvm_element(context, sig.args[3].dtype)
        vector = ir.VectorType(element, lanes)
        align = sig.args[3].dtype.bitwidth // 8

        def entry(pointer, index):
            return builder.load(element_pointer(builder, INDEX, pointer, index), typ=INDEX)

        def ahead(pointer, count):
            return element_pointer(builder, element, pointer, ir.Constant(INDEX, count))

        row_at = [element_pointer(builder, element, a, entry(a_rows, ir.Constant(INDEX, i)))
                  for i in range(m)]
        before = builder.block
        head = builder.append_basic_block("tile.head")
        body = builder.append_basic_block("tile.body")
        done = builder.append_basic_block("tile.done")
        builder.branch(head)

        builder.position_at_end(head)
        k = builder.phi(INDEX)
        sums = [[builder.phi(vector) for _ in range(n)] for _ in range(m)]
        builder.cbranch(builder.icmp_signed("<", k, count), body, done)

        builder.position_at_end(body)
        b_at = element_pointer(builder, element, b, entry(b_taps, k))
        tap = entry(a_taps, k)
        right = [load_vector(builder, vector, ahead(b_at, j * lanes), align) for j in range(n)]
        following = []
        for i in range(m):
            scalar = builder.load(element_pointer(builder, element, row_at[i], tap), typ=element)
            left = broadcast(builder, scalar, lanes)
            following.append([multiply_add(builder, left, right[j], sums[i][j])
                              for j in range(n)])
        k.add_incoming(ir.Constant(INDEX, 0), before)
        k.add_incoming(builder.add(k, ir.Constant(INDEX, 1)), body)
        for i in range(m):
            for j in range(n):
                sums[i][j].add_incoming(ir.Constant(vector, None), before)
                sums[i][j].add_incoming(following[i][j], body)
        builder.branch(head)

        builder.position_at_end(done)
        plus = builder.add if isinstance(element, ir.IntType) else builder.fadd
        zero = ir.Constant(vector, None)
        for i in range(m):
            row = element_pointer(builder, element, c,
                                  builder.mul(c_pitch, ir.Constant(INDEX, i)))
            for j in range(n):
                place = ahead(row, j * lanes)
                old = load_vector(builder, vector, place, align)
                old = builder.select(accumulate, old, zero)
                store_vector(builder, plus(sums[i][j], old), place, align)
        return context.get_dummy_value()

    return types.void(rows, vecs, types.intp, a, table, table, a, table, a, types.intp,
                      types.boolean), codegen
