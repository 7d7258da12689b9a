"""Memory on a GPU: global memory by predicated PTX, shared memory by LLVM."""

from __future__ import annotations

from llvmlite import ir
from numba.cuda import cgutils, types

from ..intrinsics import accumulator
from .lowering_lanes import (
    F32,
    F64,
    I1,
    I16,
    I32,
    I64,
    LLVM,
    NUMBER,
    elementwise,
    lanes_of,
    scalar_of,
    sized,
)

_SHARED = 3  # the address space

# PTX type, register class and zero of what is loaded; then how it becomes the wide type
_MEMORY = {"float32": ("f32", "f", "0f00000000", F32),
           "float64": ("f64", "d", "0d0000000000000000", F64),
           "float16": ("b16", "h", "0", I16), "bfloat16": ("b16", "h", "0", I16),
           "int8": ("s8", "r", "0", I32), "uint8": ("u8", "r", "0", I32),
           "int16": ("s16", "r", "0", I32), "uint16": ("u16", "r", "0", I32),
           "int32": ("s32", "r", "0", I32), "uint32": ("u32", "r", "0", I32),
           "int64": ("s64", "l", "0", I64), "uint64": ("u64", "l", "0", I64)}
_MOVE = {"f": "mov.f32", "d": "mov.f64", "h": "mov.b16", "r": "mov.b32", "l": "mov.b64"}
_SIZE = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1,
         "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8}


def _address(builder, base, base_kind, index, index_kind, size):
    index = sized(builder, index, index_kind, I64)
    return builder.add(base, builder.mul(index, ir.Constant(I64, size)))


def load(dtype, may_change=False):
    ptx, register, zero, kind = _MEMORY[dtype]
    path = "ld.global" if may_change else "ld.global.nc"
    code = (f"{{ .reg .pred p; setp.ne.b32 p, $2, 0; {_MOVE[register]} $0, {zero}; "
            f"@p {path}.{ptx} $0, [$1]; }}")

    def emit(builder, kinds, values):
        base, index, condition = values
        address = _address(builder, base, kinds[0], index, kinds[1], _SIZE[dtype])
        function = ir.FunctionType(kind, [I64, I32])
        asm = ir.InlineAsm(function, code, f"={register},l,r", side_effect=may_change)
        return _widened(builder, builder.call(asm, [address, builder.zext(condition, I32)]), dtype)

    return elementwise(lambda base, index, condition: NUMBER[accumulator(dtype)], emit)


def _widened(builder, value, dtype):
    if dtype == "float16":
        return builder.fpext(builder.bitcast(value, ir.HalfType()), F32)
    if dtype == "bfloat16":
        bits = builder.shl(builder.zext(value, I32), ir.Constant(I32, 16))
        return builder.bitcast(bits, F32)
    if dtype in ("uint8", "uint16", "uint32"):
        return builder.zext(value, I64)
    if dtype in ("int8", "int16", "int32"):
        return builder.sext(value, I64)
    return value


def load_index():
    def emit(builder, kinds, values):
        address = _address(builder, values[0], kinds[0], values[1], kinds[1], 4)
        asm = ir.InlineAsm(ir.FunctionType(I32, [I64]), "ld.global.nc.s32 $0, [$1];", "=r,l",
                           side_effect=False)
        return builder.call(asm, [address])

    return elementwise(lambda base, index: types.int32, emit)


def _fours(emit):
    """From what emits code for one index: an index or lanes of them, four lanes for each."""
    def emit_all(builder, signature, values):
        kind = signature.args[1]
        indices = lanes_of(builder, values[1], kind) if isinstance(kind, types.UniTuple) else (
            [values[1]])
        return emit(builder, signature, values, indices, scalar_of(kind))

    return emit_all


def _count(kind):
    return kind.count if isinstance(kind, types.UniTuple) else 1


def load4(dtype):
    kind, register = LLVM[dtype], "f" if dtype == "float32" else "r"
    result = ir.LiteralStructType([kind] * 4)
    asm = ir.InlineAsm(ir.FunctionType(result, [I64]),
                       "ld.global.nc.v4.b32 {$0, $1, $2, $3}, [$4];",
                       f"{f'={register},' * 4}l", side_effect=False)

    def emit(builder, signature, values, indices, index_kind):
        out = []
        for index in indices:
            address = _address(builder, values[0], signature.args[0], index, index_kind, 4)
            four = builder.call(asm, [address])
            out += [builder.extract_value(four, i) for i in range(4)]
        return cgutils.pack_array(builder, out)

    return lambda base, index: types.UniTuple(NUMBER[dtype], 4 * _count(index)), _fours(emit)


def load4_at(dtype, *offsets):
    kind, register = LLVM[dtype], "f" if dtype == "float32" else "r"
    result = ir.LiteralStructType([kind] * 4)

    def emit(builder, signature, values):
        address = _address(builder, values[0], signature.args[0], values[1], signature.args[1], 4)
        out = []
        for offset in offsets:
            asm = ir.InlineAsm(ir.FunctionType(result, [I64]),
                               f"ld.global.nc.v4.b32 {{$0, $1, $2, $3}}, [$4+{4 * offset}];",
                               f"{f'={register},' * 4}l", side_effect=False)
            four = builder.call(asm, [address])
            out += [builder.extract_value(four, i) for i in range(4)]
        return cgutils.pack_array(builder, out)

    return lambda base, index: types.UniTuple(NUMBER[dtype], 4 * len(offsets)), emit


def store(dtype):
    ptx, register, _, kind = _MEMORY[dtype]
    code = f"{{ .reg .pred p; setp.ne.b32 p, $2, 0; @p st.global.{ptx} [$0], $1; }}"

    def one(builder, kinds, values):
        base, index, value, condition = values
        address = _address(builder, base, kinds[0], index, kinds[1], _SIZE[dtype])
        value = _narrowed(builder, value, dtype, kind)
        function = ir.FunctionType(ir.VoidType(), [I64, kind, I32])
        asm = ir.InlineAsm(function, code, f"l,{register},r", side_effect=True)
        builder.call(asm, [address, value, builder.zext(condition, I32)])
        return ir.Constant(I1, 0)

    typer, emit = elementwise(lambda *kinds: types.boolean, one)
    return typer, emit


def _narrowed(builder, value, dtype, kind):
    if dtype == "float16":
        return builder.bitcast(builder.fptrunc(value, ir.HalfType()), I16)
    if dtype == "bfloat16":
        asm = ir.InlineAsm(ir.FunctionType(I16, [F32]), "cvt.rn.bf16.f32 $0, $1;", "=h,f",
                           side_effect=False)
        return builder.call(asm, [value])
    if isinstance(kind, ir.IntType) and value.type.width > kind.width:
        return builder.trunc(value, kind)
    if isinstance(kind, ir.IntType) and value.type.width < kind.width:
        return builder.sext(value, kind)
    return value


# ---- shared memory -----------------------------------------------------------------------------

def shared(dtype, count):
    def emit(builder, signature, values):
        kind = ir.ArrayType(LLVM[dtype], count)
        memory = cgutils.add_global_variable(
            builder.module, kind, builder.module.get_unique_name("shared"), _SHARED)
        memory.align = 16
        memory.linkage = "internal"
        memory.initializer = ir.Constant(kind, ir.Undefined)
        return builder.ptrtoint(memory, I32)

    return lambda: types.int32, emit


def pointer_to(builder, memory, index, index_kind, kind, size):
    """Of an element of shared memory; its address has 32 bits."""
    index = sized(builder, index, index_kind, I32)
    address = builder.add(memory, builder.mul(index, ir.Constant(I32, size)))
    return builder.inttoptr(address, ir.PointerType(kind, addrspace=_SHARED))


def apart(builder, pointer, elements):
    """The pointer moved by a constant, which becomes part of the instruction that uses it."""
    return builder.gep(pointer, [ir.Constant(I32, elements)], inbounds=True)


def lds_at(dtype, *offsets):
    def emit(builder, signature, values):
        pointer = pointer_to(builder, *values, signature.args[1], LLVM[dtype], _SIZE[dtype])
        return cgutils.pack_array(builder, [
            builder.load(apart(builder, pointer, offset), align=_SIZE[dtype], typ=LLVM[dtype])
            for offset in offsets])

    return lambda memory, index: types.UniTuple(NUMBER[dtype], len(offsets)), emit


def sts_at(dtype, *offsets):
    def emit(builder, signature, values):
        pointer = pointer_to(builder, *values[:2], signature.args[1], LLVM[dtype], _SIZE[dtype])
        for lane, offset in enumerate(offsets):
            builder.store(builder.extract_value(values[2], lane), apart(builder, pointer, offset),
                          align=_SIZE[dtype])
        return ir.Constant(I1, 0)

    return lambda memory, index, values: types.boolean, emit


def lds(dtype):
    def emit(builder, kinds, values):
        pointer = pointer_to(builder, values[0], values[1], kinds[1], LLVM[dtype], _SIZE[dtype])
        return builder.load(pointer, align=_SIZE[dtype], typ=LLVM[dtype])

    return elementwise(lambda memory, index: NUMBER[dtype], emit)


def sts(dtype):
    def emit(builder, kinds, values):
        pointer = pointer_to(builder, values[0], values[1], kinds[1], LLVM[dtype], _SIZE[dtype])
        builder.store(values[2], pointer, align=_SIZE[dtype])
        return ir.Constant(I1, 0)

    return elementwise(lambda memory, index, value: types.boolean, emit)


def sts4_at(dtype, *offsets):
    vector = ir.VectorType(LLVM[dtype], 4)

    def emit(builder, signature, values):
        pointer = pointer_to(builder, *values[:2], signature.args[1], vector, 4)
        for place, offset in enumerate(offsets):
            four = ir.Constant(vector, ir.Undefined)
            for i in range(4):
                lane = builder.extract_value(values[2], 4 * place + i)
                four = builder.insert_element(four, lane, ir.Constant(I32, i))
            builder.store(four, apart(builder, pointer, offset // 4), align=16)
        return ir.Constant(I1, 0)

    return lambda memory, index, values: types.boolean, emit


def lds4(dtype):
    vector = ir.VectorType(LLVM[dtype], 4)

    def emit(builder, signature, values, indices, index_kind):
        out = []
        for index in indices:
            pointer = pointer_to(builder, values[0], index, index_kind, vector, 4)
            four = builder.load(pointer, align=16, typ=vector)
            out += [builder.extract_element(four, ir.Constant(I32, i)) for i in range(4)]
        return cgutils.pack_array(builder, out)

    return lambda memory, index: types.UniTuple(NUMBER[dtype], 4 * _count(index)), _fours(emit)


def sts4(dtype):
    vector = ir.VectorType(LLVM[dtype], 4)

    def emit(builder, signature, values, indices, index_kind):
        for place, index in enumerate(indices):
            pointer = pointer_to(builder, values[0], index, index_kind, vector, 4)
            four = ir.Constant(vector, ir.Undefined)
            for i in range(4):
                lane = builder.extract_value(values[2], 4 * place + i)
                four = builder.insert_element(four, lane, ir.Constant(I32, i))
            builder.store(four, pointer, align=16)
        return ir.Constant(I1, 0)

    return lambda memory, index, values: types.boolean, _fours(emit)
