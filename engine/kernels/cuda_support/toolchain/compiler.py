"""From a kernel to machine code; needs no GPU.

numba-cuda turns the source into PTX, ptxas of the CUDA toolkit PTX into a cubin and a report of
registers and spills.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import types
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from ..intrinsics import Intrinsic
from ..kernel import Kernel


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
    return [name for name, _ in _listed(cubin)[0]]


def main_loop(cubin: bytes) -> Counter:
    """How often each instruction occurs in the loop that multiplies most; empty where none does."""
    listed, labels = _listed(cubin)
    best, most = Counter(), 0
    for last, (name, operands) in enumerate(listed):
        target = re.search(r"\.L_x_\w+", operands) if name.startswith("BRA") else None
        first = labels.get(target.group(), last + 1) if target else last + 1
        loop = Counter(each for each, _ in listed[first : last + 1])
        if products(loop) > most:
            best, most = loop, products(loop)
    return best


def products(count: Counter) -> int:
    """How many of the instructions multiply and add: FFMA, or HMMA of the tensor cores."""
    return sum(number for name, number in count.items() if name.startswith(("FFMA", "HMMA")))


def _listed(cubin: bytes) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """(name, operands) of all instructions, and the number of that at each label."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool("nvdisasm"), "-c", file.name], capture_output=True, text=True,
                              check=True).stdout
    found, labels = [], {}
    for label, name, operands in re.findall(
            r"^(?:(\.L_x_\w+):|\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)(.*))", text,
            re.MULTILINE):
        if label:
            labels[label] = len(found)
        else:
            found.append((name, operands))
    return found, labels


def tool(name: str) -> str:
    """The path of a program of the CUDA toolkit: from its wheels, or of an installed toolkit."""
    found = _of_wheel(name) or shutil.which(name) or next(filter(Path.exists, _installed(name)), "")
    if not found:
        raise Missing(f"engine: CUDA kernels need {name}, which is neither in a wheel nor on the "
                      'path nor in $CUDA_HOME; pip install "convengine[cuda]"')
    return str(found)


_WHEELS = {"ptxas": "nvidia-cuda-nvcc", "nvdisasm": "nvidia-cuda-nvdisasm",
           "compute-sanitizer": "nvidia-cuda-sanitizer-api"}


def _of_wheel(name: str) -> Path | None:
    try:
        files = metadata.files(_WHEELS[name])
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(file.locate()) for file in files or () if file.stem == name)
    return next(filter(Path.exists, paths), None)


def _installed(name: str) -> list[Path]:
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    return [Path(home, folder, name) for home in homes if home
            for folder in ("bin", "compute-sanitizer")]


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
