"""What every intrinsic is on a GPU: LLVM instructions, inline PTX where LLVM has no name for them.

With `compiler`, this is all that depends on numba-cuda.  A function here takes the constants of an
intrinsic and returns two functions: one from argument types to the type of the result, one that
emits code.  Lanes are tuples, which LLVM keeps in registers.
"""

from __future__ import annotations

import inspect

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.extending import _intrinsic

from .intrinsics import accumulator

I1, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
_GLOBAL, _SHARED = 1, 3
_NUMBER = {"float32": types.float32, "float64": types.float64, "int64": types.int64,
           "uint64": types.uint64, "int32": types.int32, "uint32": types.uint32}
_LLVM = {"float32": F32, "float64": F64, "int64": I64, "uint64": I64, "int32": I32, "uint32": I32}


def native(intrinsic_):
    """The numba-cuda intrinsic for one of ours."""
    typer, emit = LOWERINGS[intrinsic_.name](*intrinsic_.constants)

    def definition(typing_context, *args):
        args = tuple(args)
        result = typer(*args)
        signature = result(*args)

        def codegen(context, builder, signature, values):
            return emit(builder, signature, values)

        return signature, codegen

    definition.__name__ = intrinsic_.name
    parameters = inspect.signature(lambda typing_context: None).parameters.values()
    parameters = (*parameters, *inspect.signature(intrinsic_.meaning).parameters.values())
    definition.__signature__ = inspect.Signature(parameters)
    return _intrinsic(prefer_literal=True, target="cuda")(definition)


# ---- elementwise -------------------------------------------------------------------------------

def _scalar(kind):
    return kind.dtype if isinstance(kind, types.UniTuple) else kind


def _is_literal(kind):
    return isinstance(kind, types.IntegerLiteral)


def _bits(kind):
    return types.unliteral(kind).bitwidth


def _integer(*kinds):
    """The type of integer arithmetic: 64 bits if an operand has them; literals are as small."""
    wide = any(not _is_literal(k) and _bits(k) == 64 for k in kinds)
    return types.int64 if wide else types.int32


def _elementwise(result, emit):
    """From a function of scalar types and one that emits code for scalars."""
    def typer(*kinds):
        scalar = result(*map(_scalar, kinds))
        counts = {kind.count for kind in kinds if isinstance(kind, types.UniTuple)}
        if len(counts) > 1:
            raise TypeError(f"lanes of {counts} do not go together")
        return types.UniTuple(scalar, counts.pop()) if counts else scalar

    def emit_all(builder, signature, values):
        kinds = tuple(map(_scalar, signature.args))
        if not isinstance(signature.return_type, types.UniTuple):
            return emit(builder, kinds, values)
        out = []
        for lane in range(signature.return_type.count):
            each = [builder.extract_value(value, lane) if isinstance(kind, types.UniTuple)
                    else value for kind, value in zip(signature.args, values, strict=True)]
            out.append(emit(builder, kinds, each))
        return cgutils.pack_array(builder, out)

    return typer, emit_all


def _sized(builder, value, kind, target):
    """An integer with as many bits as `target`."""
    bits = value.type.width
    if bits == target.width:
        return value
    if bits > target.width:
        return builder.trunc(value, target)
    return builder.sext(value, target)


def _integers(builder, kinds, values):
    target = ir.IntType(_integer(*kinds).bitwidth)
    return [_sized(builder, value, kind, target)
            for kind, value in zip(kinds, values, strict=True)]


def _is_float(kind):
    return isinstance(kind, types.Float)


def _arithmetic(on_floats, on_integers):
    def result(a, b):
        return a if _is_float(a) else _integer(a, b)

    def emit(builder, kinds, values):
        if _is_float(kinds[0]):
            return getattr(builder, on_floats)(*values)
        return getattr(builder, on_integers)(*_integers(builder, kinds, values))

    return _elementwise(result, emit)


def _integer_operation(name):
    return _elementwise(_integer, lambda builder, kinds, values:
                        getattr(builder, name)(*_integers(builder, kinds, values)))


def _comparison(sign):
    def emit(builder, kinds, values):
        if _is_float(kinds[0]):
            return builder.fcmp_ordered(sign, *values)
        compare = builder.icmp_unsigned if kinds[0] == types.uint64 else builder.icmp_signed
        return compare(sign, *_integers(builder, kinds, values))

    return _elementwise(lambda a, b: types.boolean, emit)


def _inside():
    return _elementwise(
        lambda a, size: types.boolean, lambda builder, kinds, values:
        builder.icmp_unsigned("<", *_integers(builder, kinds, values)))


def _both():
    return _elementwise(lambda a, b: types.boolean,
                        lambda builder, kinds, values: builder.and_(*values))


def _select():
    def result(condition, a, b):
        return a if not isinstance(types.unliteral(a), types.Integer) else (
            types.unliteral(a) if not _is_literal(a) and a == b else _integer(a, b))

    def emit(builder, kinds, values):
        condition, *both = values
        if isinstance(types.unliteral(kinds[1]), types.Integer):
            both = _integers(builder, kinds[1:], both)
        return builder.select(condition, *both)

    return _elementwise(result, emit)


def _wide():
    return _elementwise(lambda a: types.int64, lambda builder, kinds, values:
                        _sized(builder, values[0], kinds[0], I64))


def _constant(dtype, value):
    if dtype.startswith("float"):
        number = ir.Constant(_LLVM[dtype], float(value))
    else:
        number = ir.Constant(_LLVM[dtype], int(value))
    return lambda: _NUMBER[dtype], lambda builder, signature, values: number


def _convert(dtype):
    def emit(builder, kinds, values):
        unsigned = kinds[0] == types.uint64
        return (builder.uitofp if unsigned else builder.sitofp)(values[0], _LLVM[dtype])

    return _elementwise(lambda a: _NUMBER[dtype], emit)


def _called(builder, name, values, result=None):
    """A call of a function of LLVM or libdevice whose operands are of one type."""
    result = result or values[0].type
    kind = ir.FunctionType(result, [value.type for value in values])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, values)


def _suffix(dtype):
    return "f32" if dtype == "float32" else "f64"


def _fma(dtype):
    def emit(builder, kinds, values):
        if dtype.startswith("float"):
            return _called(builder, f"llvm.fma.{_suffix(dtype)}", values)
        a, b, c = (_sized(builder, value, kind, I64)
                   for kind, value in zip(kinds, values, strict=True))
        return builder.add(builder.mul(a, b), c)

    return _elementwise(lambda *kinds: _NUMBER[dtype], emit)


def _wrap(dtype):
    def emit(builder, kinds, values):
        if dtype not in _WIDTH:
            return values[0]
        small = builder.trunc(values[0], ir.IntType(_WIDTH[dtype])) if _WIDTH[dtype] < 64 else (
            values[0])
        if _WIDTH[dtype] == 64:
            return small
        return (builder.zext if dtype.startswith("u") else builder.sext)(small, I64)

    return _elementwise(lambda a: a, emit)


_WIDTH = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32,
          "int64": 64, "uint64": 64}


def _libdevice(name, dtype):
    return f"__nv_{name}f" if dtype == "float32" else f"__nv_{name}"


def _activate(name, dtype):
    is_float = dtype.startswith("float")

    def number(value):
        return ir.Constant(_LLVM[dtype], float(value) if is_float else int(value))

    def clip(builder, a, sign, bound):  # NaN compares as neither
        if is_float:
            over = builder.fcmp_ordered(sign, a, number(bound))
        elif dtype == "uint64":
            over = builder.icmp_unsigned(sign, a, number(bound))
        else:
            over = builder.icmp_signed(sign, a, number(bound))
        return builder.select(over, number(bound), a)

    def emit(builder, kinds, values):
        (a,) = values
        if name in ("relu", "relu6"):
            a = clip(builder, a, "<", 0)
        if name == "relu6":
            a = clip(builder, a, ">", 6)
        if name == "tanh":
            a = _called(builder, _libdevice("tanh", dtype), [a])
        if name == "sigmoid":
            power = _called(builder, _libdevice("exp", dtype), [builder.fsub(number(-0.0), a)])
            a = builder.fdiv(number(1), builder.fadd(power, number(1)))
        return a

    return _elementwise(lambda a: a, emit)


def _beats(kind, dtype):
    sign = ">" if kind == "max" else "<"

    def emit(builder, kinds, values):
        a, b = values
        if dtype == "uint64":
            return builder.icmp_unsigned(sign, a, b)
        if dtype == "int64":
            return builder.icmp_signed(sign, a, b)
        new_nan = builder.and_(builder.fcmp_unordered("uno", a, a),
                               builder.fcmp_ordered("ord", b, b))
        return builder.or_(builder.fcmp_ordered(sign, a, b), new_nan)

    return _elementwise(lambda a, b: types.boolean, emit)


def _quotient(dtype):
    return _elementwise(lambda a, b: _NUMBER[dtype],
                        lambda builder, kinds, values: builder.fdiv(*values))


def _power(dtype, exponent):
    def emit(builder, kinds, values):
        a, e = values
        size = _called(builder, _libdevice("fabs", dtype), [a])
        if exponent == 1:
            return size
        if exponent == 2:
            return builder.fmul(a, a)
        if exponent == 0.5:
            return _called(builder, _libdevice("sqrt", dtype), [size])
        return _called(builder, _libdevice("pow", dtype), [size, e])

    return _elementwise(lambda a, e: _NUMBER[dtype], emit)


def _sign(dtype):
    zero, one, minus = (ir.Constant(_LLVM[dtype], float(v)) for v in (0, 1, -1))

    def emit(builder, kinds, values):
        (a,) = values
        below = builder.select(builder.fcmp_ordered("<", a, zero), minus, a)
        return builder.select(builder.fcmp_ordered(">", a, zero), one, below)

    return _elementwise(lambda a: _NUMBER[dtype], emit)


# ---- threads -----------------------------------------------------------------------------------

def _register(name):
    def emit(builder, signature, values):
        return _called(builder, f"llvm.nvvm.read.ptx.sreg.{name}", [], I32)

    return lambda: types.int32, emit


def _thread():
    return _register("tid.x")


def _block(axis):
    return _register(f"ctaid.{'xyz'[axis]}")


def _barrier():
    def emit(builder, signature, values):
        _called(builder, "llvm.nvvm.barrier0", [], ir.VoidType())
        return None

    return lambda: types.void, emit


# ---- memory ------------------------------------------------------------------------------------

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
    index = _sized(builder, index, index_kind, I64)
    return builder.add(base, builder.mul(index, ir.Constant(I64, size)))


def _load(dtype):
    ptx, register, zero, kind = _MEMORY[dtype]
    code = (f"{{ .reg .pred p; setp.ne.b32 p, $2, 0; {_MOVE[register]} $0, {zero}; "
            f"@p ld.global.nc.{ptx} $0, [$1]; }}")

    def emit(builder, kinds, values):
        base, index, condition = values
        address = _address(builder, base, kinds[0], index, kinds[1], _SIZE[dtype])
        function = ir.FunctionType(kind, [I64, I32])
        asm = ir.InlineAsm(function, code, f"={register},l,r", side_effect=False)
        return _widened(builder, builder.call(asm, [address, builder.zext(condition, I32)]), dtype)

    return _elementwise(lambda base, index, condition: _NUMBER[accumulator(dtype)], emit)


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


def _load_index():
    def emit(builder, kinds, values):
        address = _address(builder, values[0], kinds[0], values[1], kinds[1], 4)
        asm = ir.InlineAsm(ir.FunctionType(I32, [I64]), "ld.global.nc.s32 $0, [$1];", "=r,l",
                           side_effect=False)
        return builder.call(asm, [address])

    return _elementwise(lambda base, index: types.int32, emit)


def _fours(emit):
    """From what emits code for one index: an index or lanes of them, four lanes for each."""
    def emit_all(builder, signature, values):
        kind = signature.args[1]
        indices = _lanes_of(builder, values[1], kind) if isinstance(kind, types.UniTuple) else (
            [values[1]])
        return emit(builder, signature, values, indices, _scalar(kind))

    return emit_all


def _count(kind):
    return kind.count if isinstance(kind, types.UniTuple) else 1


def _load4(dtype):
    kind, register = _LLVM[dtype], {"float32": "f", "uint32": "r"}[dtype]
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

    return lambda base, index: types.UniTuple(_NUMBER[dtype], 4 * _count(index)), _fours(emit)


def _store(dtype):
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

    typer, emit = _elementwise(lambda *kinds: types.boolean, one)
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

def _shared(dtype, count):
    def emit(builder, signature, values):
        kind = ir.ArrayType(_LLVM[dtype], count)
        memory = cgutils.add_global_variable(
            builder.module, kind, builder.module.get_unique_name("shared"), _SHARED)
        memory.align = 16
        memory.linkage = "internal"
        memory.initializer = ir.Constant(kind, ir.Undefined)
        return builder.ptrtoint(memory, I32)

    return lambda: types.int32, emit


def _pointer(builder, memory, index, index_kind, kind, size):
    """Of an element of shared memory; its address has 32 bits."""
    index = _sized(builder, index, index_kind, I32)
    address = builder.add(memory, builder.mul(index, ir.Constant(I32, size)))
    return builder.inttoptr(address, ir.PointerType(kind, addrspace=_SHARED))


def _lds(dtype):
    def emit(builder, kinds, values):
        pointer = _pointer(builder, values[0], values[1], kinds[1], _LLVM[dtype], _SIZE[dtype])
        return builder.load(pointer, align=_SIZE[dtype], typ=_LLVM[dtype])

    return _elementwise(lambda memory, index: _NUMBER[dtype], emit)


def _sts(dtype):
    def emit(builder, kinds, values):
        pointer = _pointer(builder, values[0], values[1], kinds[1], _LLVM[dtype], _SIZE[dtype])
        builder.store(values[2], pointer, align=_SIZE[dtype])
        return ir.Constant(I1, 0)

    return _elementwise(lambda memory, index, value: types.boolean, emit)


def _lds4(dtype):
    vector = ir.VectorType(_LLVM[dtype], 4)

    def emit(builder, signature, values, indices, index_kind):
        out = []
        for index in indices:
            pointer = _pointer(builder, values[0], index, index_kind, vector, 4)
            four = builder.load(pointer, align=16, typ=vector)
            out += [builder.extract_element(four, ir.Constant(I32, i)) for i in range(4)]
        return cgutils.pack_array(builder, out)

    return lambda memory, index: types.UniTuple(_NUMBER[dtype], 4 * _count(index)), _fours(emit)


def _sts4(dtype):
    vector = ir.VectorType(_LLVM[dtype], 4)

    def emit(builder, signature, values, indices, index_kind):
        for place, index in enumerate(indices):
            pointer = _pointer(builder, values[0], index, index_kind, vector, 4)
            four = ir.Constant(vector, ir.Undefined)
            for i in range(4):
                lane = builder.extract_value(values[2], 4 * place + i)
                four = builder.insert_element(four, lane, ir.Constant(I32, i))
            builder.store(four, pointer, align=16)
        return ir.Constant(I1, 0)

    return lambda memory, index, values: types.boolean, _fours(emit)


# ---- lanes -------------------------------------------------------------------------------------

def _numbers(values):
    def emit(builder, signature, args):
        return cgutils.pack_array(builder, [ir.Constant(I32, int(value)) for value in values])

    return lambda: types.UniTuple(types.int32, len(values)), emit


def _iota(count, step):
    return _numbers([i * step for i in range(count)])


def _listed(*numbers):
    return _numbers(numbers)


def _zeros(count):
    def emit(builder, signature, args):
        return cgutils.pack_array(builder, [ir.Constant(F32, 0.0)] * count)

    return lambda: types.UniTuple(types.float32, count), emit


def _lanes_of(builder, value, kind):
    return [builder.extract_value(value, lane) for lane in range(kind.count)]


def _rearranged(places):
    """Lanes of the arguments put together in another order: `places` of all their lanes."""
    def typer(*kinds):
        return types.UniTuple(kinds[0].dtype, len(places(sum(kind.count for kind in kinds))))

    def emit(builder, signature, values):
        lanes = [lane for value, kind in zip(values, signature.args, strict=True)
                 for lane in _lanes_of(builder, value, kind)]
        return cgutils.pack_array(builder, [lanes[place] for place in places(len(lanes))])

    return typer, emit


def _join():
    return _rearranged(range)


def _rows8():
    return _rearranged(lambda count: [i // 8 for i in range(64)])


def _cols8():
    return _rearranged(lambda count: [i % 8 for i in range(64)])


def _evens():
    return _rearranged(lambda count: range(0, count, 2))


def _odds():
    return _rearranged(lambda count: range(1, count, 2))


# ---- products ----------------------------------------------------------------------------------

def _outer8(depth, pitch_a, half_a, pitch_b, half_b):
    vector = ir.VectorType(F32, 4)

    def emit(builder, signature, values):
        tile, memory_a, memory_b, at_a, at_b = values
        tile = _lanes_of(builder, tile, signature.args[0])
        kind_a, kind_b = signature.args[3:]

        def eight(memory, place, kind, first, half):
            lanes = []
            for more in (first, first + half):
                index = builder.add(_sized(builder, place, kind, I32), ir.Constant(I32, more))
                pointer = _pointer(builder, memory, index, types.int32, vector, 4)
                four = builder.load(pointer, align=16, typ=vector)
                lanes += [builder.extract_element(four, ir.Constant(I32, i)) for i in range(4)]
            return lanes

        for k in range(depth):
            a = eight(memory_a, at_a, kind_a, k * pitch_a, half_a)
            b = eight(memory_b, at_b, kind_b, k * pitch_b, half_b)
            tile = [_called(builder, "llvm.fma.f32", [a[i // 8], b[i % 8], tile[i]])
                    for i in range(64)]
        return cgutils.pack_array(builder, tile)

    return lambda tile, *_: tile, emit


def _round_tf32():
    def emit(builder, kinds, values):
        asm = ir.InlineAsm(ir.FunctionType(I32, [F32]), "cvt.rna.tf32.f32 $0, $1;", "=r,f",
                           side_effect=False)
        return builder.bitcast(builder.call(asm, values), F32)

    return _elementwise(lambda a: types.float32, emit)


def _pack(kind):
    code = {"bf16": "cvt.rn.bf16x2.f32 $0, $2, $1;", "fp16": "cvt.rn.f16x2.f32 $0, $2, $1;"}[kind]

    def emit(builder, kinds, values):
        asm = ir.InlineAsm(ir.FunctionType(I32, [F32, F32]), code, "=r,f,f", side_effect=False)
        return builder.call(asm, values)

    return _elementwise(lambda low, high: types.uint32, emit)


_SHAPE = {"tf32": "m16n8k8.row.col.f32.tf32.tf32.f32", "bf16": "m16n8k16.row.col.f32.bf16.bf16.f32",
          "fp16": "m16n8k16.row.col.f32.f16.f16.f32"}


def _mma(kind):
    def emit(builder, signature, values):
        tile, a, b = (_lanes_of(builder, value, kind_)
                      for value, kind_ in zip(values, signature.args, strict=True))
        if kind == "fp32x3":
            (a, a_rest), (b, b_rest) = _split(builder, a), _split(builder, b)
            for left, right in ((a_rest, b), (a, b_rest), (a, b)):
                tile = _products(builder, "tf32", tile, left, right)
        else:
            a, b = _words(builder, a), _words(builder, b)
            tile = _products(builder, kind, tile, a, b)
        return cgutils.pack_array(builder, tile)

    return lambda tile, a, b: tile, emit


def _words(builder, lanes):
    return [lane if lane.type == I32 else builder.bitcast(lane, I32) for lane in lanes]


def _split(builder, lanes):
    """Big parts, rounded to what tensor cores multiply, and rests, for them to cut off."""
    half, mask = ir.Constant(I32, 0x1000), ir.Constant(I32, 0xFFFFE000)
    big, rest = [], []
    for lane in lanes:
        bits = builder.and_(builder.add(builder.bitcast(lane, I32), half), mask)
        left = builder.fsub(lane, builder.bitcast(bits, F32))
        big.append(bits)
        rest.append(builder.add(builder.bitcast(left, I32), half))
    return big, rest


def _products(builder, kind, tile, a, b):
    """Four times four mma instructions."""
    four = ir.LiteralStructType([F32] * 4)
    function = ir.FunctionType(four, [I32] * 6 + [F32] * 4)
    asm = ir.InlineAsm(function, f"mma.sync.aligned.{_SHAPE[kind]} {{$0,$1,$2,$3}}, "
                       "{$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};",
                       "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", side_effect=False)
    tile = list(tile)
    for m in range(4):
        for n in range(4):
            places = [(2 * m + r // 2) * 8 + 2 * n + r % 2 for r in range(4)]
            # fragments come as (word + 4, row + 8); mma wants rows first
            left = [a[4 * m + place] for place in (0, 1, 2, 3)]
            result = builder.call(asm, [*left, b[2 * n], b[2 * n + 1],
                                        *(tile[place] for place in places)])
            for r, place in enumerate(places):
                tile[place] = builder.extract_value(result, r)
    return tile


LOWERINGS = {
    "thread": _thread, "block": _block, "barrier": _barrier,
    "add": lambda: _arithmetic("fadd", "add"), "mul": lambda: _arithmetic("fmul", "mul"),
    "wide": _wide, "div": lambda: _integer_operation("udiv"),
    "rem": lambda: _integer_operation("urem"), "inside": _inside, "both": _both,
    "equal": lambda: _comparison("=="), "less": lambda: _comparison("<"), "select": _select,
    "constant": _constant, "convert": _convert, "fma": _fma, "wrap": _wrap, "activate": _activate,
    "beats": _beats, "quotient": _quotient, "power": _power, "sign": _sign, "load": _load,
    "load_index": _load_index, "load4": _load4, "store": _store, "shared": _shared, "lds": _lds,
    "lds4": _lds4, "sts": _sts, "sts4": _sts4, "iota": _iota, "listed": _listed, "zeros": _zeros,
    "join": _join, "rows8": _rows8, "cols8": _cols8, "evens": _evens, "odds": _odds,
    "outer8": _outer8, "round_tf32": _round_tf32, "pack": _pack, "mma": _mma,
}
