"""The machine that Numba compiles for: how wide its vectors are and how many registers it has.

AVX-512, AVX2, SSE2 and NEON need no code of their own: all that kernels ask is said here.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

from numba.core.registry import cpu_target

X86 = platform.machine().lower() in ("x86_64", "amd64")
ARM = platform.machine().lower() in ("aarch64", "arm64")
_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")


def _vector_bytes() -> int:
    """Width of the widest registers, at most what ENGINE_ISA allows."""
    cap = {"baseline": 16, "avx2": 32}.get(os.environ.get("ENGINE_ISA", ""), 64)
    if X86 and "+avx512f" in _FEATURES:
        return min(64, cap)
    return min(32, cap) if X86 and "+avx2" in _FEATURES else 16


def _tiles_allowed() -> bool:
    """Whether there are AMX's tiles of bfloat16, and the system lets this process use them.

    They enlarge what a thread's state takes, so Linux wants to be asked.
    """
    cap = os.environ.get("ENGINE_ISA") or "amx"
    if not (X86 and sys.platform == "linux" and cap == "amx" and VECTOR_BYTES == 64
            and {"+amx-tile", "+amx-bf16"} <= set(_FEATURES)):
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    try:
        return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0
    except (OSError, AttributeError):  # no such function to ask
        return False


VECTOR_BYTES = _vector_bytes()
HAS_TILES = _tiles_allowed()
REGISTERS = 32 if VECTOR_BYTES == 64 or ARM else 16
REGISTER_CLASS = ("v" if VECTOR_BYTES == 64 else "x") if X86 else "w" if ARM else ""
HAS_FMA = not X86 or "+fma" in _FEATURES


def lanes_of(dtype) -> int:
    """Elements of a NumPy dtype in one vector."""
    return VECTOR_BYTES // dtype.itemsize
