"""Machine code on disk: what has been compiled once is not compiled again.

A file is named after everything that it depends on: the kernel, the kind of GPU, the versions of
the compilers and the sources of all kernels.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from ..kernel import Kernel
from . import compiler
from .compiler import Binary

_PACKAGES = ("numba-cuda", "llvmlite", "nvidia-nvvm", "nvidia-cuda-nvcc")
_SOURCES = Path(__file__).parent.parent


def binary(kernel: Kernel, target: str) -> Binary:
    """The machine code of a kernel for "sm_80", "sm_90a" ..., from disk where it is there."""
    path = _folder() / f"{_key(kernel, target)}.cubin"
    try:
        header, _, cubin = path.read_bytes().partition(b"\0")
        entry, _, report = header.decode().partition("\n")
        return Binary(entry, cubin, report)
    except OSError:
        made = compiler.compiled(kernel, target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(f"{made.entry}\n{made.report}".encode() + b"\0" + made.cubin)
        os.replace(file.name, path)
    except OSError:
        pass  # a folder that cannot be written: the next process compiles again
    return made


def _folder() -> Path:
    named = os.environ.get("ENGINE_CUDA_CACHE", "").strip()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base, "convengine", "cuda")


def _key(kernel: Kernel, target: str) -> str:
    everything = (kernel.name, target, _versions(), _sources())
    return hashlib.sha256(repr(everything).encode()).hexdigest()[:32]


@functools.cache
def _versions():
    def version(name):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    return sys.version_info[:2], tuple(map(version, _PACKAGES))


@functools.cache
def _sources() -> str:
    files = b"".join(path.read_bytes() for path in sorted(_SOURCES.rglob("*.py")))
    return hashlib.sha256(files).hexdigest()
