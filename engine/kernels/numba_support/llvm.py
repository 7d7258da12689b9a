"""The vector type, and the LLVM code that intrinsics are put together from."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from .machine import HAS_FMA, VECTOR_BYTES


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


def load_lanes(context, builder, dtype, pointer, count):
    return load_vector(builder, ir.VectorType(llvm_element(context, dtype), count), pointer,
                       dtype.bitwidth // 8)


def load_vector(builder, vector, pointer, align):
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=align)


def store_vector(builder, value, pointer, align):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=align)


def stream_vector(builder, value, place):
    """A store past the caches, to a place that is a multiple of a vector's width."""
    written = builder.store(value, builder.bitcast(place, value.type.as_pointer()),
                            align=VECTOR_BYTES)
    written.set_metadata("nontemporal", builder.module.add_metadata(
        [ir.Constant(ir.IntType(32), 1)]))


def first_lanes(builder, count, lanes):
    """Mask of the lanes before ``count``."""
    index = ir.VectorType(ir.IntType(32), lanes)
    count = broadcast(builder, builder.trunc(count, ir.IntType(32)), lanes)
    return builder.icmp_signed("<", ir.Constant(index, list(range(lanes))), count)


def masked_store(builder, value, pointer, align, count):
    """Write the first ``count`` >= 1 lanes."""
    mask = first_lanes(builder, count, value.type.count)
    call_llvm(builder, "llvm.masked.store", ir.VoidType(),
              [value, pointer, ir.Constant(ir.IntType(32), align), mask],
              suffix=f"{type_suffix(value.type)}.p0")


def added(builder, a, b):
    return builder.add(a, b) if isinstance(a.type.element, ir.IntType) else builder.fadd(a, b)


def below(builder, a, b, dtype):
    """Lanes where a < b; false where either is NaN."""
    if isinstance(dtype, types.Float):
        return builder.fcmp_ordered("<", a, b)
    compare = builder.icmp_signed if dtype.signed else builder.icmp_unsigned
    return compare("<", a, b)
