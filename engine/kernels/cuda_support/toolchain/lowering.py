"""What every intrinsic is on a GPU: LLVM instructions, inline PTX where LLVM has no name for them.

With `compiler`, these ``lowering`` files are all that depends on numba-cuda.  A function here takes
the constants of an intrinsic and returns two functions: one from argument types to the type of the
result, one that emits code.  Lanes are tuples, which LLVM keeps in registers.
"""

from __future__ import annotations

import inspect

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.extending import _intrinsic

from . import lowering_memory as memory
from . import lowering_numbers as numbers
from . import lowering_products as products
from .lowering_lanes import I32, LLVM, NUMBER, called, lanes_of


def lowering(name):
    """The function here that stands for the intrinsic of that name."""
    for place in (globals(), vars(numbers), vars(memory), vars(products)):
        if name in place:
            return place[name]
    raise LookupError(f"{name} has no lowering")


def native(intrinsic_):
    """The numba-cuda intrinsic for one of ours."""
    typer, emit = lowering(intrinsic_.name)(*intrinsic_.constants)

    def definition(typing_context, *args):
        signature = typer(*args)(*args)

        def codegen(context, builder, signature, values):
            return emit(builder, signature, values)

        return signature, codegen

    definition.__name__ = intrinsic_.name
    context, _ = inspect.signature(definition).parameters.values()  # numba-cuda asks for names
    definition.__signature__ = inspect.Signature(
        (context, *inspect.signature(intrinsic_.meaning).parameters.values()))
    return _intrinsic(prefer_literal=True, target="cuda")(definition)


# ---- threads -----------------------------------------------------------------------------------

def _register(name):
    def emit(builder, signature, values):
        return called(builder, f"llvm.nvvm.read.ptx.sreg.{name}", [], I32)

    return lambda: types.int32, emit


def thread():
    return _register("tid.x")


def block(axis):
    return _register(f"ctaid.{'xyz'[axis]}")


def barrier():
    def emit(builder, signature, values):
        called(builder, "llvm.nvvm.barrier0", [], ir.VoidType())
        return None

    return lambda: types.void, emit


# ---- lanes -------------------------------------------------------------------------------------

def _numbers(values):
    def emit(builder, signature, args):
        return cgutils.pack_array(builder, [ir.Constant(I32, int(value)) for value in values])

    return lambda: types.UniTuple(types.int32, len(values)), emit


def iota(count, step):
    return _numbers([i * step for i in range(count)])


def listed(*numbers):
    return _numbers(numbers)


def zeros(count, dtype):
    zero = ir.Constant(LLVM[dtype], 0)

    def emit(builder, signature, args):
        return cgutils.pack_array(builder, [zero] * count)

    return lambda: types.UniTuple(NUMBER[dtype], count), emit


def _rearranged(places):
    """Lanes of the arguments put together in another order: `places` of all their lanes."""
    def typer(*kinds):
        return types.UniTuple(kinds[0].dtype, len(places(sum(kind.count for kind in kinds))))

    def emit(builder, signature, values):
        lanes = [lane for value, kind in zip(values, signature.args, strict=True)
                 for lane in lanes_of(builder, value, kind)]
        return cgutils.pack_array(builder, [lanes[place] for place in places(len(lanes))])

    return typer, emit


def join():
    return _rearranged(range)


def rows8():
    return _rearranged(lambda count: [i // 8 for i in range(64)])


def cols8():
    return _rearranged(lambda count: [i % 8 for i in range(64)])


def picked(*places):
    return _rearranged(lambda count: places)


def every(step, first):
    return _rearranged(lambda count: range(first, count, step))
