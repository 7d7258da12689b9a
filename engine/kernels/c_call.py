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
    try:
        return _local.small
    except AttributeError:
        owner = _memory.workspace(SMALL)
        _local.small = owner, ffi.from_buffer(owner)
        return _local.small
