"""Vectors that are one number in all lanes."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import VectorType, broadcast, vector_of


@intrinsic
def splat_as(typingctx, like, number):
    """All lanes the same number, of the dtype of the array or pointer ``like``."""
    result = vector_of(like.dtype)

    def codegen(context, builder, sig, args):
        number = context.cast(builder, args[1], sig.args[1], like.dtype)
        return broadcast(builder, number, result.lanes)

    return result(like, number), codegen


@intrinsic
def splat_position(typingctx, like, number):
    """The integer in as many lanes, as wide, as a vector of ``like``'s dtype has."""
    result = VectorType(types.Integer.from_bitwidth(like.dtype.bitwidth, True),
                        vector_of(like.dtype).lanes)

    def codegen(context, builder, sig, args):
        number = context.cast(builder, args[1], types.intp, result.dtype)
        return broadcast(builder, number, result.lanes)

    return result(like, types.intp), codegen


@intrinsic
def zeros(typingctx, like):
    """The vector of zeros of the dtype of the array or pointer ``like``."""
    result = vector_of(like.dtype)

    def codegen(context, builder, sig, args):
        return ir.Constant(context.get_value_type(result), None)

    return result(like), codegen


@intrinsic
def floor_of(typingctx, like, cut):
    """0 in all lanes if ``cut``, else the lowest value: ``at_least`` is then relu or nothing."""
    result = vector_of(like.dtype)

    def codegen(context, builder, sig, args):
        vector = context.get_value_type(result)
        lowest = like.dtype.minval if isinstance(like.dtype, types.Integer) else float("-inf")
        return builder.select(args[1], ir.Constant(vector, None),
                              ir.Constant(vector, [lowest] * result.lanes))

    return result(like, types.boolean), codegen
