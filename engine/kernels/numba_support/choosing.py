"""Masks of vectors, and choices by them, lane by lane."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import VectorType, below, broadcast


@intrinsic
def beats(typingctx, a, b):
    """Mask of the lanes where a > b, or a is NaN and b is not."""
    def codegen(context, builder, sig, args):
        if isinstance(a.dtype, types.Float):
            above = builder.fcmp_unordered(">", *args)
            return builder.and_(above, builder.fcmp_ordered("ord", args[1], args[1]))
        return below(builder, args[1], args[0], a.dtype)

    return VectorType(types.boolean, a.lanes)(a, a), codegen


@intrinsic
def equal(typingctx, a, b):
    """Mask of the lanes where two vectors of integers are the same."""
    def codegen(context, builder, sig, args):
        return builder.icmp_unsigned("==", *args)

    return VectorType(types.boolean, a.lanes)(a, a), codegen


@intrinsic
def is_zero(typingctx, a):
    """Mask of the lanes of floats that are 0."""
    def codegen(context, builder, sig, args):
        return builder.fcmp_ordered("==", args[0], ir.Constant(args[0].type, None))

    return VectorType(types.boolean, a.lanes)(a), codegen


@intrinsic
def select(typingctx, mask, a, b):
    """a in the lanes of the mask, b in the others."""
    def codegen(context, builder, sig, args):
        return builder.select(*args)

    return a(mask, a, a), codegen


@intrinsic
def flip(typingctx, a, mask):
    """a with the bits of the integer ``mask`` inverted in every lane.

    The sign bit of floats, and all bits of integers, turn the order of numbers round.
    """
    def codegen(context, builder, sig, args):
        bits = ir.IntType(a.dtype.bitwidth)
        vector = ir.VectorType(bits, a.lanes)
        number = args[1] if bits.width == 64 else builder.trunc(args[1], bits)
        flipped = builder.xor(builder.bitcast(args[0], vector),
                              broadcast(builder, number, a.lanes))
        return builder.bitcast(flipped, args[0].type)

    return a(a, types.intp), codegen
