"""Pointers to single numbers: ``at(array, i)`` is one to element ``i``.

Nothing here checks bounds.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .llvm import BYTE, BYTES, INDEX, element_pointer, llvm_element


@intrinsic
def at(typingctx, array, index):
    """Pointer to the element ``index`` items after the array's first."""
    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return element_pointer(builder, llvm_element(context, sig.args[0].dtype), data, args[1])

    return types.CPointer(array.dtype)(array, types.intp), codegen


@intrinsic
def at_as(typingctx, like, array, index):
    """``at`` for an array whose numbers are known to be of the dtype of the pointer ``like``."""
    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[1])(context, builder, args[1]).data
        place = element_pointer(builder, llvm_element(context, array.dtype), data, args[2])
        return builder.bitcast(place, context.get_value_type(like))

    return like(like, array, types.intp), codegen


@intrinsic
def same_dtype(typingctx, a, b):
    """Whether two arrays or pointers hold numbers of one dtype: a constant."""
    answer = a.dtype == b.dtype

    def codegen(context, builder, sig, args):
        return ir.Constant(ir.IntType(1), int(answer))

    return types.boolean(a, b), codegen


@intrinsic
def move(typingctx, pointer, count):
    """The pointer ``count`` items further on."""
    def codegen(context, builder, sig, args):
        return element_pointer(builder, llvm_element(context, pointer.dtype), *args)

    return pointer(pointer, types.intp), codegen


@intrinsic
def distance(typingctx, pointer, other):
    """How many items ``other`` is after the pointer, in the same array or not."""
    def codegen(context, builder, sig, args):
        here, there = (builder.ptrtoint(arg, INDEX) for arg in args)
        size = ir.Constant(INDEX, pointer.dtype.bitwidth // 8)
        return builder.sdiv(builder.sub(there, here), size)

    return types.intp(pointer, pointer), codegen


@intrinsic
def get(typingctx, pointer, index):
    """The number ``index`` items after the pointer."""
    def codegen(context, builder, sig, args):
        element = llvm_element(context, pointer.dtype)
        place = element_pointer(builder, element, *args)
        return builder.load(place, typ=element)

    return pointer.dtype(pointer, types.intp), codegen


@intrinsic
def put(typingctx, pointer, index, value):
    """Write a number (already of the pointer's dtype) ``index`` items after the pointer."""
    def codegen(context, builder, sig, args):
        place = element_pointer(builder, llvm_element(context, pointer.dtype), args[0], args[1])
        builder.store(args[2], place)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, pointer.dtype), codegen


@intrinsic
def fill(typingctx, pointer, count):
    """``count`` zeros."""
    def codegen(context, builder, sig, args):
        size = builder.mul(args[1], ir.Constant(INDEX, pointer.dtype.bitwidth // 8))
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [BYTES, BYTE, INDEX, ir.IntType(1)]),
            "llvm.memset.p0.i64")
        builder.call(function, [builder.bitcast(args[0], BYTES), BYTE(0), size, ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(pointer, types.intp), codegen


@intrinsic
def copy_same(typingctx, target, source, count):
    """``count`` numbers from one contiguous place to another of the same width."""
    def codegen(context, builder, sig, args):
        size = builder.mul(args[2], ir.Constant(INDEX, target.dtype.bitwidth // 8))
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [BYTES, BYTES, INDEX, ir.IntType(1)]),
            "llvm.memcpy.p0.p0.i64")
        builder.call(function, [builder.bitcast(args[0], BYTES), builder.bitcast(args[1], BYTES),
                                size, ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(target, source, types.intp), codegen
