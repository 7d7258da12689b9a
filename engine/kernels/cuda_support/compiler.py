"""From a kernel to machine code, on disk once it has been made; needs no GPU.

numba-cuda turns the source into PTX, ptxas of the CUDA toolkit PTX into a cubin and a report of
registers and spills.  With `lowering`, this is all that depends on numba-cuda.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import types
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from .intrinsics import Intrinsic
from .kernel import Kernel

_PACKAGES = ("numba-cuda", "llvmlite", "nvidia-nvvm", "nvidia-cuda-nvcc")
_HERE = Path(__file__).parent


class Missing(ImportError):
    """A package that compiling needs."""


class Binary(NamedTuple):
    """Machine code for one kind of GPU."""

    entry: str  # the name of the kernel in it
    cubin: bytes
    report: str  # what ptxas says about it


class Usage(NamedTuple):
    """What a kernel takes of a multiprocessor."""

    registers: int
    spilled: int  # bytes of stores and loads
    stack: int
    shared: int


def binary(kernel: Kernel, target: str) -> Binary:
    """The machine code of a kernel for "sm_80", "sm_90a" ..., from disk where it is there."""
    path = _folder() / f"{_key(kernel, target)}.cubin"
    try:
        header, _, cubin = path.read_bytes().partition(b"\0")
        entry, _, report = header.decode().partition("\n")
        return Binary(entry, cubin, report)
    except OSError:
        made = compiled(kernel, target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(f"{made.entry}\n{made.report}".encode() + b"\0" + made.cubin)
        os.replace(file.name, path)
    except OSError:
        pass  # a folder that cannot be written: the next process compiles again
    return made


def compiled(kernel: Kernel, target: str) -> Binary:
    """Made afresh."""
    ptx = to_ptx(kernel, target)
    entry = re.search(r"\.visible \.entry (\w+)", ptx).group(1)
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        done = subprocess.run([tool("ptxas"), "-v", f"-arch={target}", str(source), "-o",
                               str(result)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"engine: ptxas cannot compile {kernel.name}: {done.stderr}")
        return Binary(entry, result.read_bytes(), done.stderr)


def to_ptx(kernel: Kernel, target: str) -> str:
    """PTX of a kernel."""
    try:
        from numba import cuda

        from . import lowering  # noqa: F401  (needs numba-cuda)
    except ImportError as error:
        raise Missing(f"engine: CUDA kernels need numba-cuda ({error}); "
                      'pip install "convengine[cuda]"') from error
    kinds = {"ADDRESS": cuda.types.int64, "I64": cuda.types.int64, "I32": cuda.types.int32,
             "F64": cuda.types.float64}
    signature = cuda.types.void(*(kinds[each] for each in kernel.parameters))
    major, minor, feature = re.fullmatch(r"sm_(\d+)(\d)(a?)", target).groups()
    capability = (int(major), int(minor), *feature)
    ptx, _ = cuda.compile(_native(kernel.function), signature, cc=capability, device=False,
                          abi="numba", output="ptx",
                          launch_bounds=(kernel.threads, kernel.blocks_per_sm))
    return ptx


def usage(report: str) -> Usage:
    """What ptxas reported."""
    def number(pattern):
        found = re.search(pattern, report)
        return int(found.group(1)) if found else 0

    return Usage(number(r"Used (\d+) registers"),
                 number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
                 number(r"(\d+) bytes stack frame"), number(r"(\d+) bytes smem"))


def instructions(cubin: bytes) -> list[str]:
    """The names of all instructions, in order."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool("nvdisasm"), "-c", file.name], capture_output=True, text=True,
                              check=True).stdout
    return re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", text, re.MULTILINE)


def tool(name: str) -> str:
    """The path of a program of the CUDA toolkit's wheels."""
    try:
        files = metadata.files({"ptxas": "nvidia-cuda-nvcc",
                                "nvdisasm": "nvidia-cuda-nvdisasm"}[name])
    except metadata.PackageNotFoundError as error:
        raise Missing(f"engine: CUDA kernels need {name} ({error}); "
                      'pip install "convengine[cuda]"') from None
    return str(next(file.locate() for file in files if file.stem == name))


# ---- rebinding: the same source with other meanings of its names --------------------------------

def _native(function, made=None):
    """The function with numba-cuda's intrinsics for ours, and device functions compiled."""
    made = {} if made is None else made
    names = {name: _bound(value, made) for name, value in function.__globals__.items()
             if name in _names_of(function.__code__)}
    cells = tuple(types.CellType(_bound(cell.cell_contents, made))
                  for cell in function.__closure__ or ())
    copy = types.FunctionType(function.__code__, {**names, "__name__": function.__module__},
                              function.__name__, function.__defaults__, cells)
    copy.__module__ = function.__module__
    return copy


def _names_of(code):
    return set(code.co_names)


def _bound(value, made):
    from numba import cuda

    from .lowering import native

    if isinstance(value, Intrinsic):
        if value not in made:
            made[value] = native(value)
        return made[value]
    if getattr(value, "is_device", False):
        if value not in made:
            made[value] = cuda.jit(device=True, inline="always")(_native(value, made))
        return made[value]
    return value


# ---- the cache on disk -------------------------------------------------------------------------

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
    files = b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))
    return hashlib.sha256(files).hexdigest()
