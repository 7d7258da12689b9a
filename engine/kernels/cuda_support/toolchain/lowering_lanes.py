"""What lowerings share: types, and how a function of scalars becomes one of lanes."""

from __future__ import annotations

from llvmlite import ir
from numba.cuda import cgutils, types

I1, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
NUMBER = {"float32": types.float32, "float64": types.float64, "int64": types.int64,
           "uint64": types.uint64, "int32": types.int32, "uint32": types.uint32}
LLVM = {"float32": F32, "float64": F64, "int64": I64, "uint64": I64, "int32": I32, "uint32": I32}


def scalar_of(kind):
    return kind.dtype if isinstance(kind, types.UniTuple) else kind


def is_literal(kind):
    return isinstance(kind, types.IntegerLiteral)


def bits(kind):
    return types.unliteral(kind).bitwidth


def integer(*kinds):
    """The type of integer arithmetic: 64 bits if an operand has them; literals are as small."""
    wide = any(not is_literal(k) and bits(k) == 64 for k in kinds)
    return types.int64 if wide else types.int32


def elementwise(result, emit):
    """From a function of scalar types and one that emits code for scalars."""
    def typer(*kinds):
        scalar = result(*map(scalar_of, kinds))
        counts = {kind.count for kind in kinds if isinstance(kind, types.UniTuple)}
        if len(counts) > 1:
            raise TypeError(f"lanes of {counts} do not go together")
        return types.UniTuple(scalar, counts.pop()) if counts else scalar

    def emit_all(builder, signature, values):
        kinds = tuple(map(scalar_of, signature.args))
        if not isinstance(signature.return_type, types.UniTuple):
            return emit(builder, kinds, values)
        out = []
        for lane in range(signature.return_type.count):
            each = [builder.extract_value(value, lane) if isinstance(kind, types.UniTuple)
                    else value for kind, value in zip(signature.args, values, strict=True)]
            out.append(emit(builder, kinds, each))
        return cgutils.pack_array(builder, out)

    return typer, emit_all


def sized(builder, value, kind, target):
    """An integer with as many bits as `target`."""
    bits = value.type.width
    if bits == target.width:
        return value
    if bits > target.width:
        return builder.trunc(value, target)
    return builder.sext(value, target)


def integers(builder, kinds, values):
    target = ir.IntType(integer(*kinds).bitwidth)
    return [sized(builder, value, kind, target)
            for kind, value in zip(kinds, values, strict=True)]


def is_float(kind):
    return isinstance(kind, types.Float)


def called(builder, name, values, result=None):
    """A call of a function of LLVM or libdevice whose operands are of one type."""
    result = result or values[0].type
    kind = ir.FunctionType(result, [value.type for value in values])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, values)


def suffix(dtype):
    return "f32" if dtype == "float32" else "f64"


def lanes_of(builder, value, kind):
    return [builder.extract_value(value, lane) for lane in range(kind.count)]
