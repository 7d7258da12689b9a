"""Subnormal numbers as zeros, in one thread at a time.

A product with a subnormal operand or result costs some 150 cycles on x86; as a zero it costs what
every product does.
"""

from __future__ import annotations

import contextlib

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel
from .llvm import BYTES
from .machine import ARM, X86

_ZEROS = 1 << 15 | 1 << 6 if X86 else 1 << 24 if ARM else 0  # MXCSR: DAZ, FTZ; FPCR: FZ
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)


@contextlib.contextmanager
def as_zeros():
    """Within, this thread's arithmetic takes subnormal operands and results for zero."""
    mode = _begin()
    try:
        yield
    finally:
        _end(mode)


@kernel(writes="")
def _begin():
    mode = _get_mode()
    _set_mode(mode | _ZEROS)
    return mode


@kernel(writes="")
def _end(mode):
    _set_mode(mode)


@intrinsic
def _get_mode(typingctx):
    """The control register of this thread's floating-point arithmetic."""
    def codegen(context, builder, sig, args):
        if X86:
            place = cgutils.alloca_once(builder, _INT32)
            _call_x86(builder, "llvm.x86.sse.stmxcsr", place)
            return builder.zext(builder.load(place), _INT64)
        if ARM:
            return builder.asm(ir.FunctionType(_INT64, []), "mrs $0, fpcr", "=r", [], True)
        return ir.Constant(_INT64, 0)

    return types.int64(), codegen


@intrinsic
def _set_mode(typingctx, mode):
    def codegen(context, builder, sig, args):
        if X86:
            place = cgutils.alloca_once_value(builder, builder.trunc(args[0], _INT32))
            _call_x86(builder, "llvm.x86.sse.ldmxcsr", place)
        elif ARM:
            builder.asm(ir.FunctionType(ir.VoidType(), [_INT64]), "msr fpcr, $0", "r", args, True)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _call_x86(builder, name, place):
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [BYTES]), name)
    builder.call(function, [builder.bitcast(place, BYTES)])
