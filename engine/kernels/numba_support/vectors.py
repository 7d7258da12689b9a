"""SIMD vectors for Numba: one type, pointers, and a few dozen operations.

``at(array, i)`` is a pointer to element ``i``; ``load(p)`` the vector that starts there.  A vector
has as many lanes as fit the widest registers of the machine that Numba compiles for, so AVX-512,
AVX2, SSE2 and NEON need no code of their own.  Nothing here checks bounds.
"""

from __future__ import annotations

import os
import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_ARM = platform.machine().lower() in ("aarch64", "arm64")
_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")


def _vector_bytes() -> int:
    """Width of the widest registers, at most what ENGINE_ISA allows."""
    cap = {"baseline": 16, "avx2": 32}.get(os.environ.get("ENGINE_ISA", ""), 64)
    if _X86 and "+avx512f" in _FEATURES:
        return min(64, cap)
    return min(32, cap) if _X86 and "+avx2" in _FEATURES else 16


VECTOR_BYTES = _vector_bytes()
REGISTERS = 32 if VECTOR_BYTES == 64 or _ARM else 16
REGISTER_CLASS = ("v" if VECTOR_BYTES == 64 else "x") if _X86 else "w" if _ARM else ""
HAS_FMA = not _X86 or "+fma" in _FEATURES


class VectorType(types.Type):
    """``lanes`` numbers of ``dtype`` in one register."""

    def __init__(self, dtype, lanes):
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"vector({dtype}, {lanes})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        is_mask = fe_type.dtype == types.boolean
        element = ir.IntType(1) if is_mask else dmm.lookup(fe_type.dtype).get_data_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


def vector_of(dtype) -> VectorType:
    """The vector type of a Numba dtype."""
    return VectorType(dtype, VECTOR_BYTES * 8 // dtype.bitwidth)


def lanes_of(dtype) -> int:
    """Elements of a NumPy dtype in one vector."""
    return VECTOR_BYTES // dtype.itemsize


# ---------------------------------------------------------------- LLVM helpers

INDEX = ir.IntType(64)
BYTE = ir.IntType(8)
BYTES = BYTE.as_pointer()


def element_pointer(builder, element, pointer, index):
    """``pointer + index`` in units of the LLVM type ``element``."""
    return builder.gep(pointer, [index], source_etype=element)


def llvm_element(context, dtype):
    return context.get_data_type(dtype)


def broadcast(builder, scalar, lanes):
    vector = ir.VectorType(scalar.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar,
                                 ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def multiply_add(builder, a, b, c):
    """a*b + c on scalars or vectors: fused where the machine can."""
    element = a.type.element if isinstance(a.type, ir.VectorType) else a.type
    if isinstance(element, ir.IntType):
        return builder.add(builder.mul(a, b), c)
    if not HAS_FMA:
        return builder.fadd(builder.fmul(a, b), c)
    return call_llvm(builder, "llvm.fma", a.type, [a, b, c])


def call_llvm(builder, name, result, args, suffix=None):
    """Call an LLVM intrinsic that is overloaded on its result type."""
    function_type = ir.FunctionType(result, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(
        builder.module, function_type, f"{name}.{suffix or type_suffix(result)}")
    return builder.call(function, args)


def type_suffix(llvm_type) -> str:
    if isinstance(llvm_type, ir.VectorType):
        return f"v{llvm_type.count}{type_suffix(llvm_type.element)}"
    if isinstance(llvm_type, ir.IntType):
        return f"i{llvm_type.width}"
    return {"float": "f32", "double": "f64", "half": "f16"}[str(llvm_type)]


def shuffle(builder, a, b, lane):
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lane)), lane)
    return builder.shuffle_vector(a, b, mask)


def convert(builder, value, source, target):
    """Cast a vector between Numba dtypes: integers wrap, floats round."""
    if source == target:
        return value
    wanted = ir.VectorType(_llvm_number(target), value.type.count)
    if isinstance(source, types.Integer) and isinstance(target, types.Integer):
        if source.bitwidth > target.bitwidth:
            return builder.trunc(value, wanted)
        if source.bitwidth == target.bitwidth:
            return value
        return builder.sext(value, wanted) if source.signed else builder.zext(value, wanted)
    if isinstance(source, types.Float) and isinstance(target, types.Float):
        narrower = source.bitwidth > target.bitwidth
        return builder.fptrunc(value, wanted) if narrower else builder.fpext(value, wanted)
    raise TypeError(f"no conversion from {source} to {target}")


def _llvm_number(dtype):
    if isinstance(dtype, types.Integer):
        return ir.IntType(dtype.bitwidth)
    return {16: ir.HalfType(), 32: ir.FloatType(), 64: ir.DoubleType()}[dtype.bitwidth]


# ---------------------------------------------------------------- pointers

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
def lanes(typingctx, pointer):
    """Elements in a vector of the pointer's dtype."""
    count = vector_of(pointer.dtype).lanes

    def codegen(context, builder, sig, args):
        return ir.Constant(INDEX, count)

    return types.intp(pointer), codegen


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


# ---------------------------------------------------------------- loads and stores

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


def load_lanes(context, builder, dtype, pointer, count):
    return load_vector(builder, ir.VectorType(llvm_element(context, dtype), count), pointer,
                       dtype.bitwidth // 8)


def load_vector(builder, vector, pointer, align):
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=align)


def store_vector(builder, value, pointer, align):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=align)


@intrinsic
def store(typingctx, pointer, vector):
    """Write a vector, converted to the pointer's dtype."""
    def codegen(context, builder, sig, args):
        value = convert(builder, args[1], vector.dtype, pointer.dtype)
        store_vector(builder, value, args[0], pointer.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, vector), codegen


@intrinsic
def load_part(typingctx, pointer, count):
    """The first ``count`` >= 1 lanes from memory, the others 0."""
    result = vector_of(pointer.dtype)

    def codegen(context, builder, sig, args):
        vector = context.get_value_type(result)
        mask = _first_lanes(builder, args[1], result.lanes)
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
        mask = _first_lanes(builder, args[2], vector.lanes)
        align = ir.Constant(ir.IntType(32), pointer.dtype.bitwidth // 8)
        call_llvm(builder, "llvm.masked.store", ir.VoidType(), [value, args[0], align, mask],
                  suffix=f"{type_suffix(value.type)}.p0")
        return context.get_dummy_value()

    return types.void(pointer, vector, types.intp), codegen


def _first_lanes(builder, count, lanes):
    """Mask of the lanes before ``count``."""
    index = ir.VectorType(ir.IntType(32), lanes)
    count = broadcast(builder, builder.trunc(count, ir.IntType(32)), lanes)
    return builder.icmp_signed("<", ir.Constant(index, list(range(lanes))), count)


# ---------------------------------------------------------------- arithmetic

@intrinsic
def splat(typingctx, scalar):
    """All lanes the same number."""
    result = vector_of(scalar)

    def codegen(context, builder, sig, args):
        return broadcast(builder, args[0], result.lanes)

    return result(scalar), codegen


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
def load_positions(typingctx, like, pointer):
    """A vector of the type of ``splat_position`` from 64-bit integers."""
    result = VectorType(types.Integer.from_bitwidth(like.dtype.bitwidth, True),
                        vector_of(like.dtype).lanes)

    def codegen(context, builder, sig, args):
        value = load_lanes(context, builder, pointer.dtype, args[1], result.lanes)
        return convert(builder, value, pointer.dtype, result.dtype)

    return result(like, pointer), codegen


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


def added(builder, a, b):
    return builder.add(a, b) if isinstance(a.type.element, ir.IntType) else builder.fadd(a, b)


def below(builder, a, b, dtype):
    """Lanes where a < b; false where either is NaN."""
    if isinstance(dtype, types.Float):
        return builder.fcmp_ordered("<", a, b)
    compare = builder.icmp_signed if dtype.signed else builder.icmp_unsigned
    return compare("<", a, b)


@intrinsic
def subtract(typingctx, a, b):
    def codegen(context, builder, sig, args):
        is_int = isinstance(a.dtype, types.Integer)
        return builder.sub(*args) if is_int else builder.fsub(*args)

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


# ---------------------------------------------------------------- choosing

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
def sign(typingctx, a):
    """-1, 0 or 1 per lane of floats; NaN stays NaN."""
    def codegen(context, builder, sig, args):
        vector = args[0].type
        zero = ir.Constant(vector, None)
        minus, plus = (ir.Constant(vector, [float(one)] * a.lanes) for one in (-1, 1))
        result = builder.select(builder.fcmp_ordered("<", args[0], zero), minus, args[0])
        return builder.select(builder.fcmp_ordered(">", args[0], zero), plus, result)

    return a(a), codegen


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
