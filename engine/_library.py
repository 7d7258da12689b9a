"""The compiled C library engine._native: ``lib`` and ``ffi``, both None where it was not built.

Importing this module chooses the instruction-set level: the best this processor has, capped by
the environment variable ENGINE_ISA.
"""

from __future__ import annotations

import contextlib
import os

try:
    from engine._native import ffi, lib
except ImportError:  # installed without a C compiler
    ffi = lib = None


def isa_levels() -> list[str]:
    """The levels this processor can run, weakest first; empty without the C library."""
    if lib is None:
        return []
    return [_name(level) for level in range(lib.engine_isa_count())]


def get_isa() -> str | None:
    """The level in use."""
    return None if lib is None else _name(lib.engine_get_isa())


def set_isa(name: str) -> None:
    """Use the kernels of that level from now on, in every thread."""
    levels = isa_levels()
    if name not in levels:
        raise ValueError(f"ENGINE_ISA: `{name}` is not a level of this processor, "
                         f"which has {', '.join(levels) or 'no C kernels'}")
    lib.engine_set_isa(levels.index(name))


@contextlib.contextmanager
def isa(name: str):
    """Use another level inside a ``with`` block; for tests and measurements."""
    before = get_isa()
    set_isa(name)
    try:
        yield
    finally:
        set_isa(before)


def _name(level: int) -> str:
    return ffi.string(lib.engine_isa_name(level)).decode()


def _cap_isa() -> None:
    """ENGINE_ISA names the highest level to use; a processor without it uses the best it has."""
    cap = os.environ.get("ENGINE_ISA")
    if not cap or lib is None:
        return
    known = []
    while lib.engine_isa_name(len(known))[0] != b"\0":
        known.append(_name(len(known)))
    if cap not in known:
        raise ValueError(f"ENGINE_ISA: `{cap}` is not a level, expected one of {', '.join(known)}")
    lib.engine_set_isa(min(known.index(cap), lib.engine_isa_count() - 1))


_cap_isa()
