"""What every call into the C library needs: addresses of arrays and scratch memory."""

from __future__ import annotations

import threading

from engine import _memory
from engine._library import ffi

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
