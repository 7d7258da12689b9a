"""Vectors from memory and back, whole or in part.  Nothing here checks bounds."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import (
    INDEX,
    VectorType,
    call_llvm,
    convert,
    element_pointer,
    first_lanes,
    llvm_element,
    load_lanes,
    masked_store,
    shuffle,
    store_vector,
    type_suffix,
    vector_of,
)
from .machine import VECTOR_BYTES


@intrinsic
def lanes(typingctx, pointer):
    """Elements in a vector of the pointer's dtype."""
    count = vector_of(pointer.dtype).lanes

    def codegen(context, builder, sig, args):
        return ir.Constant(INDEX, count)

    return types.intp(pointer), codegen


@intrinsic
def load(typingctx, pointer):
    """The vector that starts at the pointer."""
    result = vector_of(pointer.dtype)

    def codegen(context, builder, sig, args):
        return load_lanes(context, builder, pointer.dtype, args[0], result.lanes)

    return result(pointer), codegen


@intrinsic
def load_as(typingctx, like, pointer):
    """As many numbers as a vector of ``like``'s dtype holds, converted to that dtype."""
    result = vector_of(like.dtype)

    def codegen(context, builder, sig, args):
        value = load_lanes(context, builder, pointer.dtype, args[1], result.lanes)
        return convert(builder, value, pointer.dtype, like.dtype)

    return result(like, pointer), codegen


@intrinsic
def load_even(typingctx, pointer):
    """Every other number of two vectors, from the first on."""
    result = vector_of(pointer.dtype)

    def codegen(context, builder, sig, args):
        halves = [load_lanes(context, builder, pointer.dtype, place, result.lanes) for place in
                  (args[0], element_pointer(builder, llvm_element(context, pointer.dtype), args[0],
                                            ir.Constant(INDEX, result.lanes)))]
        return shuffle(builder, *halves, list(range(0, 2 * result.lanes, 2)))

    return result(pointer), codegen


@intrinsic
def zip_zeros(typingctx, vector, half):
    """The lower (0) or upper (1) half of a vector, with a zero after each number."""
    def codegen(context, builder, sig, args):
        count = vector.lanes
        zero = ir.Constant(args[0].type, None)
        low, high = (shuffle(builder, args[0], zero, [
            lane for i in range(count // 2) for lane in (i + part * count // 2, count)])
            for part in (0, 1))
        return builder.select(builder.icmp_signed("==", args[1], ir.Constant(INDEX, 0)), low, high)

    return vector(vector, types.intp), codegen


@intrinsic
def load_strided(typingctx, pointer, step, count):
    """``count`` >= 1 numbers ``step`` apart; lanes beyond repeat the last."""
    result = vector_of(pointer.dtype)

    def codegen(context, builder, sig, args):
        element = llvm_element(context, pointer.dtype)
        vector = ir.Constant(context.get_value_type(result), ir.Undefined)
        last = builder.sub(args[2], ir.Constant(INDEX, 1))
        for lane in range(result.lanes):
            index = ir.Constant(INDEX, lane)
            index = builder.select(builder.icmp_signed("<", index, last), index, last)
            place = element_pointer(builder, element, args[0], builder.mul(index, args[1]))
            vector = builder.insert_element(vector, builder.load(place, typ=element),
                                            ir.Constant(ir.IntType(32), lane))
        return vector

    return result(pointer, types.intp, types.intp), codegen


@intrinsic
def store(typingctx, pointer, vector):
    """Write a vector, converted to the pointer's dtype."""
    def codegen(context, builder, sig, args):
        value = convert(builder, args[1], vector.dtype, pointer.dtype)
        store_vector(builder, value, args[0], pointer.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, vector), codegen


@intrinsic
def aligned(typingctx, pointer):
    """Whether it is a multiple of the width of a vector, as streaming wants it."""
    def codegen(context, builder, sig, args):
        rest = builder.and_(builder.ptrtoint(args[0], INDEX), ir.Constant(INDEX, VECTOR_BYTES - 1))
        return builder.icmp_unsigned("==", rest, ir.Constant(INDEX, 0))

    return types.boolean(pointer), codegen


@intrinsic
def stream_end(typingctx):
    """What was streamed comes before all that this thread writes from now on."""
    def codegen(context, builder, sig, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def load_part(typingctx, pointer, count):
    """The first ``count`` >= 1 lanes from memory, the others 0."""
    result = vector_of(pointer.dtype)

    def codegen(context, builder, sig, args):
        vector = context.get_value_type(result)
        mask = first_lanes(builder, args[1], result.lanes)
        align = ir.Constant(ir.IntType(32), pointer.dtype.bitwidth // 8)
        return call_llvm(builder, "llvm.masked.load", vector,
                         [args[0], align, mask, ir.Constant(vector, None)],
                         suffix=f"{type_suffix(vector)}.p0")

    return result(pointer, types.intp), codegen


@intrinsic
def store_part(typingctx, pointer, vector, count):
    """Write the first ``count`` >= 1 lanes, converted to the pointer's dtype."""
    def codegen(context, builder, sig, args):
        value = convert(builder, args[1], vector.dtype, pointer.dtype)
        masked_store(builder, value, args[0], pointer.dtype.bitwidth // 8, args[2])
        return context.get_dummy_value()

    return types.void(pointer, vector, types.intp), codegen


@intrinsic
def load_positions(typingctx, like, pointer):
    """A vector of the type of ``splat_position`` from 64-bit integers."""
    result = VectorType(types.Integer.from_bitwidth(like.dtype.bitwidth, True),
                        vector_of(like.dtype).lanes)

    def codegen(context, builder, sig, args):
        value = load_lanes(context, builder, pointer.dtype, args[1], result.lanes)
        return convert(builder, value, pointer.dtype, result.dtype)

    return result(like, pointer), codegen
