"""Arithmetic of vectors, lane by lane."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import added, below, call_llvm, multiply_add


@intrinsic
def add(typingctx, a, b):
    def codegen(context, builder, sig, args):
        return added(builder, *args)

    return a(a, a), codegen


@intrinsic
def multiply(typingctx, a, b):
    def codegen(context, builder, sig, args):
        is_int = isinstance(a.dtype, types.Integer)
        return builder.mul(*args) if is_int else builder.fmul(*args)

    return a(a, a), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """a*b + c, rounded once where the machine can."""
    def codegen(context, builder, sig, args):
        return multiply_add(builder, *args)

    return a(a, a, a), codegen


@intrinsic
def at_least(typingctx, a, floor):
    """max(a, floor) per lane; NaN stays NaN."""
    def codegen(context, builder, sig, args):
        return builder.select(below(builder, *args, a.dtype), args[1], args[0])

    return a(a, a), codegen


@intrinsic
def divide(typingctx, a, b):
    """a / b of floats."""
    def codegen(context, builder, sig, args):
        return builder.fdiv(*args)

    return a(a, a), codegen


@intrinsic
def absolute(typingctx, a):
    """|a| of floats."""
    def codegen(context, builder, sig, args):
        return call_llvm(builder, "llvm.fabs", args[0].type, args)

    return a(a), codegen


@intrinsic
def square_root(typingctx, a):
    def codegen(context, builder, sig, args):
        return call_llvm(builder, "llvm.sqrt", args[0].type, args)

    return a(a), codegen


@intrinsic
def sign(typingctx, a):
    """-1, 0 or 1 per lane of floats; NaN stays NaN."""
    def codegen(context, builder, sig, args):
        vector = args[0].type
        zero = ir.Constant(vector, None)
        minus, plus = (ir.Constant(vector, [float(one)] * a.lanes) for one in (-1, 1))
        result = builder.select(builder.fcmp_ordered("<", args[0], zero), minus, args[0])
        return builder.select(builder.fcmp_ordered(">", args[0], zero), plus, result)

    return a(a), codegen
