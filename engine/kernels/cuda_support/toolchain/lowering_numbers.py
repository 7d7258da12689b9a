"""Numbers on a GPU: arithmetic, comparisons and what libdevice computes."""

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

from .lowering_lanes import (
    I64,
    LLVM,
    NUMBER,
    called,
    elementwise,
    integer,
    integers,
    is_float,
    is_literal,
    sized,
    suffix,
)


def _arithmetic(on_floats, on_integers):
    def result(a, b):
        return a if is_float(a) else integer(a, b)

    def emit(builder, kinds, values):
        if is_float(kinds[0]):
            return getattr(builder, on_floats)(*values)
        return getattr(builder, on_integers)(*integers(builder, kinds, values))

    return elementwise(result, emit)


def _integer_operation(name):
    return elementwise(integer, lambda builder, kinds, values:
                        getattr(builder, name)(*integers(builder, kinds, values)))


def _comparison(sign):
    def emit(builder, kinds, values):
        if is_float(kinds[0]):
            return builder.fcmp_ordered(sign, *values)
        compare = builder.icmp_unsigned if kinds[0] == types.uint64 else builder.icmp_signed
        return compare(sign, *integers(builder, kinds, values))

    return elementwise(lambda a, b: types.boolean, emit)


def add():
    return _arithmetic("fadd", "add")


def mul():
    return _arithmetic("fmul", "mul")


def div():
    return _integer_operation("udiv")


def rem():
    return _integer_operation("urem")


def equal():
    return _comparison("==")


def less():
    return _comparison("<")


def inside():
    return elementwise(
        lambda a, size: types.boolean, lambda builder, kinds, values:
        builder.icmp_unsigned("<", *integers(builder, kinds, values)))


def both():
    return elementwise(lambda a, b: types.boolean,
                        lambda builder, kinds, values: builder.and_(*values))


def select():
    def result(condition, a, b):
        return a if not isinstance(types.unliteral(a), types.Integer) else (
            types.unliteral(a) if not is_literal(a) and a == b else integer(a, b))

    def emit(builder, kinds, values):
        condition, *both = values
        if isinstance(types.unliteral(kinds[1]), types.Integer):
            both = integers(builder, kinds[1:], both)
        return builder.select(condition, *both)

    return elementwise(result, emit)


def wide():
    return elementwise(lambda a: types.int64, lambda builder, kinds, values:
                        sized(builder, values[0], kinds[0], I64))


def constant(dtype, value):
    if dtype.startswith("float"):
        number = ir.Constant(LLVM[dtype], float(value))
    else:
        number = ir.Constant(LLVM[dtype], int(value))
    return lambda: NUMBER[dtype], lambda builder, signature, values: number


def convert(dtype):
    floats = dtype.startswith("float")

    def emit(builder, kinds, values):
        (value,), (kind,) = values, kinds
        if is_float(kind):
            if not floats:
                return builder.fptosi(value, LLVM[dtype])
            if value.type == LLVM[dtype]:
                return value
            change = builder.fpext if dtype == "float64" else builder.fptrunc
            return change(value, LLVM[dtype])
        if not floats:
            return sized(builder, value, kind, LLVM[dtype])
        unsigned = kind == types.uint64
        return (builder.uitofp if unsigned else builder.sitofp)(value, LLVM[dtype])

    return elementwise(lambda a: NUMBER[dtype], emit)


def plus(builder, dtype, a, b, c):
    """a * b + c."""
    if dtype.startswith("float"):
        return called(builder, f"llvm.fma.{suffix(dtype)}", [a, b, c])
    return builder.add(builder.mul(a, b), c)


def fma(dtype):
    def emit(builder, kinds, values):
        if dtype.startswith("float"):
            return plus(builder, dtype, *values)
        return plus(builder, dtype, *(sized(builder, value, kind, I64)
                                      for kind, value in zip(kinds, values, strict=True)))

    return elementwise(lambda *kinds: NUMBER[dtype], emit)


def wrap(dtype):
    def emit(builder, kinds, values):
        if dtype not in _WIDTH:
            return values[0]
        small = builder.trunc(values[0], ir.IntType(_WIDTH[dtype])) if _WIDTH[dtype] < 64 else (
            values[0])
        if _WIDTH[dtype] == 64:
            return small
        return (builder.zext if dtype.startswith("u") else builder.sext)(small, I64)

    return elementwise(lambda a: a, emit)


_WIDTH = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32,
          "int64": 64, "uint64": 64}


def _libdevice(name, dtype):
    return f"__nv_{name}f" if dtype == "float32" else f"__nv_{name}"


def activate(name, dtype):
    is_float = dtype.startswith("float")

    def number(value):
        return ir.Constant(LLVM[dtype], float(value) if is_float else int(value))

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
            a = called(builder, _libdevice("tanh", dtype), [a])
        if name == "sigmoid":
            power = called(builder, _libdevice("exp", dtype), [builder.fsub(number(-0.0), a)])
            a = builder.fdiv(number(1), builder.fadd(power, number(1)))
        return a

    return elementwise(lambda a: a, emit)


def beats(kind, dtype):
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

    return elementwise(lambda a, b: types.boolean, emit)


def quotient(dtype):
    return elementwise(lambda a, b: NUMBER[dtype],
                        lambda builder, kinds, values: builder.fdiv(*values))


def power(dtype, exponent):
    def emit(builder, kinds, values):
        a, e = values
        size = called(builder, _libdevice("fabs", dtype), [a])
        if exponent == 1:
            return size
        if exponent == 2:
            return builder.fmul(a, a)
        if exponent == 0.5:
            return called(builder, _libdevice("sqrt", dtype), [size])
        return called(builder, _libdevice("pow", dtype), [size, e])

    return elementwise(lambda a, e: NUMBER[dtype], emit)


def sign(dtype):
    zero, one, minus = (ir.Constant(LLVM[dtype], float(v)) for v in (0, 1, -1))

    def emit(builder, kinds, values):
        (a,) = values
        below = builder.select(builder.fcmp_ordered("<", a, zero), minus, a)
        return builder.select(builder.fcmp_ordered(">", a, zero), one, below)

    return elementwise(lambda a: NUMBER[dtype], emit)


# ---- universal functions -----------------------------------------------------------------------

_ON_FLOATS = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_ON_INTEGERS = {"add": "add", "subtract": "sub", "multiply": "mul"}
_SIGNS = {"greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==",
          "not_equal": "!="}
_OF_LIBDEVICE = {"exp": "exp", "log": "log", "log1p": "log1p", "tanh": "tanh", "power": "pow",
                 "sqrt": "sqrt", "absolute": "fabs"}


def compute(name, dtype):
    """Truth is an integer here, 0 or 1, as in memory."""
    floats, unsigned = dtype.startswith("float"), dtype == "uint64"
    kind = LLVM[dtype]

    def compare(builder, sign, a, b):
        if floats:  # NaN is equal to nothing
            ordered = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
            return ordered(sign, a, b)
        return (builder.icmp_unsigned if unsigned else builder.icmp_signed)(sign, a, b)

    def truth(builder, bit):
        return builder.zext(bit, I64)

    def is_true(builder, a):
        return compare(builder, "!=", a, ir.Constant(kind, 0))

    def extreme(builder, sign, a, b):
        first = compare(builder, sign, a, b)
        if floats:
            first = builder.or_(first, builder.fcmp_unordered("uno", a, a))
        return builder.select(first, a, b)

    def emit(builder, kinds, values):
        a, b = values[0], values[-1]
        if name in _SIGNS:
            return truth(builder, compare(builder, _SIGNS[name], a, b))
        if name in ("maximum", "minimum"):
            return extreme(builder, ">" if name == "maximum" else "<", a, b)
        if name == "where":
            return builder.select(is_true(builder, a), *values[1:])
        if name == "logical_and":
            return truth(builder, builder.and_(is_true(builder, a), is_true(builder, b)))
        if name == "logical_or":
            return truth(builder, builder.or_(is_true(builder, a), is_true(builder, b)))
        if name == "logical_not":
            return truth(builder, builder.not_(is_true(builder, a)))
        if name == "positive":
            return a
        if name == "square":
            return builder.fmul(a, a) if floats else builder.mul(a, a)
        if name == "negative":
            return builder.fneg(a) if floats else builder.neg(a)
        if name == "isnan":
            return truth(builder, builder.fcmp_unordered("uno", a, a))
        if floats and name in _OF_LIBDEVICE:
            return called(builder, _libdevice(_OF_LIBDEVICE[name], dtype), list(values))
        return getattr(builder, (_ON_FLOATS if floats else _ON_INTEGERS)[name])(a, b)

    of_truth = name in _SIGNS or name.startswith(("logical_", "isnan"))
    return elementwise(lambda *kinds: NUMBER["uint64" if of_truth else dtype], emit)
