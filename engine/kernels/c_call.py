"""What every call into the C library needs: addresses of arrays and scratch memory."""

from __future__ import annotations

import threading
from typing import NamedTuple

from engine import _memory
from engine._library import ffi, lib

SMALL = 1 << 18  # bytes of scratch that every thread keeps, so that small calls allocate nothing

_local = threading.local()


def address(array):
    """The address of an array's first element, or NULL for None, as C takes it."""
    if array is None:
        return ffi.NULL
    return ffi.cast("void *", array.__array_interface__["data"][0])


def scratch(nbytes):
    """(owner, address) of scratch memory; it is the caller's as long as it holds ``owner``.

    Small scratch belongs to the thread: it is valid until the thread's next call.
    """
    if nbytes > SMALL:
        owner = _memory.workspace(nbytes)
        return owner, ffi.from_buffer(owner)
    _memory.check_workspace(nbytes)
    return _small()


def _small():
    try:
        return _local.small
    except AttributeError:
        owner = _memory.workspace(SMALL)
        _local.small = owner, ffi.from_buffer(owner)
        return _local.small


class Step(NamedTuple):
    """What a bound call hands to C, for `chained`: the arguments of an engine_step."""

    fields: dict
    nbytes: int  # of scratch
    keeps: tuple  # what has to live as long


def bound(function, block, nbytes, *arrays):
    """A call of C for these very arrays, which it keeps: ``function(block, *arrays, scratch)``."""
    _memory.check_workspace(nbytes)
    addresses = [block, *map(address, arrays)]

    def run():
        function(*addresses, _small()[1])

    def run_on_much_scratch():
        owner, work = scratch(nbytes)
        function(*addresses, work)

    run = run if nbytes <= SMALL else run_on_much_scratch
    run.keeps = arrays
    return run


def bound_conv2d(block, nbytes, x, weight, bias, y, residual):
    """A bound forward convolution, to which `residual` is added if there is one."""
    if residual is not None:
        block.residual = address(residual)
    run = bound(lib.engine_conv2d_forward, block, nbytes, x, weight, bias, y)
    run.step = Step({"conv": block, "x": address(x), "weight": address(weight),
                     "bias": address(bias), "y": address(y)}, nbytes,
                    (block, x, weight, bias, y, residual))
    return run


def bound_pool2d(block, nbytes, x, y, indices):
    """A bound forward pooling."""
    run = bound(lib.engine_pool2d_forward, block, nbytes, x, y, indices)
    if indices is None:
        run.step = Step({"pool": block, "x": address(x), "y": address(y)}, nbytes, (block, x, y))
    return run


def chained(calls):
    """Bound calls as one, with scratch of its own."""
    steps = ffi.new("engine_step[]", [call.step.fields for call in calls])
    owner = _memory.workspace(max(call.step.nbytes for call in calls))
    work, count, function = ffi.from_buffer(owner), len(calls), lib.engine_chain

    def run():
        function(steps, count, work)

    run.keeps = owner, *(call.step.keeps for call in calls)
    return run
