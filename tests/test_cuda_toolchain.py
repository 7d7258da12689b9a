"""The layer below the CUDA kernels: who may know the compiler, and Numba's own simulator."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine

PACKAGE = Path(engine.__file__).parent
TOOLCHAIN = PACKAGE / "kernels" / "cuda_support" / "toolchain"
COMPILERS = ("numba.cuda", "numba_cuda", "cuda.bindings")


def imported(path):
    """The full names of all that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{each.name}" for each in node.names)


def test_only_the_toolchain_knows_the_compiler():
    knowing = {path for path in PACKAGE.rglob("*.py") for name in imported(path)
               if any(f"{name}.".startswith(f"{each}.") for each in COMPILERS)}
    assert {path.name for path in knowing if path.parent == TOOLCHAIN} >= {
        "compiler.py", "driver.py", "lowering.py"}
    assert [path for path in knowing if path.parent != TOOLCHAIN] == []


def test_kernels_in_the_simulator_of_numba():
    """Threads, barriers and shared memory that are not ours; see `cuda_simulation`."""
    pytest.importorskip("numba")
    program = Path(__file__).with_name("cuda_simulation.py")
    path = os.pathsep.join([str(PACKAGE.parent), *sys.path])
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["right"] and all(found["right"].values())
    assert {name.partition("_float32")[0] for name in found["launches"]} == {
        "gather", "gather_gemm", "pack_weights", "gather_weight", "extreme_max"}
