"""What is peculiar to Numba: machine code, bounds of memory, threads."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from test_concurrency import in_child, needs_fork, work

import engine

numba = pytest.importorskip("numba")

from engine.kernels.numba_support import (  # noqa: E402
    first_layer,
    jit,
    machine,
    rolls,
    splats,
    threads,
    tile,
    tiles_bf16,
)
from engine.kernels.numba_support.jit import kernel  # noqa: E402
from engine.kernels.numba_support.pointers import at  # noqa: E402

HERE = Path(__file__).parent
FLOATS = ("float32", "float64")
ROW_VECS = tile.ROW_VECS


# ---- machine code ------------------------------------------------------------------------------

def assembly(kind, dtype):
    """Of a function that runs one register tile: so many vectors wide, or of another kind."""
    wide, row, lanes = tile.tile, tile.tile_row, tile.lane_tile
    kinds = {
        "lanes": lambda left, length, a, rows, c: lanes(
            left, length, at(a, 0), at(rows, 0), at(rows, 0), at(a, 0), at(rows, 0), at(c, 0), 64,
            False),
        "row": lambda left, length, a, rows, c: row(
            ROW_VECS, length, at(a, 0), at(rows, 0), at(rows, 0), at(a, 0), at(rows, 0), at(c, 0),
            False)}
    numbers = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    index = numba.types.Array(numba.types.int64, 1, "C")
    function = numba.njit(**jit._OPTIONS)(kinds.get(kind) or (lambda left, length, a, rows, c: wide(
        kind, left, length, at(a, 0), at(rows, 0), at(rows, 0), at(a, 0), at(rows, 0), at(c, 0),
        64, False)))
    function.compile((numba.types.intp, numba.types.intp, numbers, index, numbers))
    return function.inspect_asm()[function.signatures[0]]


def loops(text):
    """The instructions of every innermost loop: from a label to the jump back to it."""
    found, lines = [], [line.strip() for line in text.splitlines()]
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.fullmatch(r"\.L\w+:", line)}
    for i, line in enumerate(lines):
        jump = re.match(r"j\w+\s+(\.L\w+)$", line)
        if jump and labels.get(jump[1], i) < i:
            body = lines[labels[jump[1]]:i]
            if not any(re.match(r"j\w+\s", each) for each in body[:-1]):
                found.append(body)
    return found


@pytest.mark.skipif(not machine.X86 or not machine.HAS_FMA, reason="reads x86 assembly with FMA")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [*range(1, tile.BEST_VECS + 1), "row", "lanes"])
def test_tiles_do_not_spill(kind, dtype):
    """All multiply-adds of a tile are in one loop; no vector goes to or comes from the stack."""
    suffix = {"float32": "ps", "float64": "pd"}[dtype]
    full, half = {"row": (ROW_VECS, ROW_VECS),
                  "lanes": (tile.LANE_ROWS, (tile.LANE_ROWS + 1) // 2)}.get(kind) or (
        tile.ROWS[kind] * kind, (tile.ROWS[kind] + 1) // 2 * kind)
    counts = []
    for body in loops(assembly(kind, dtype)):
        multiply_adds = [line for line in body if re.match(rf"vfn?madd\d+{suffix}\s", line)]
        if not multiply_adds:
            continue
        counts.append(len(multiply_adds))
        stack = [line for line in body if re.search(r"\(%rsp|-\d+\(%rbp\)", line)
                 and re.search(r"%[xyz]mm", line)]
        assert not stack, stack
    assert {full, half} <= set(counts), counts


@pytest.mark.skipif(not machine.HAS_TILES, reason="needs the tiles of AMX")
@pytest.mark.parametrize(("tiles", "loads", "products"), [((2, 2), 14, 24), ((1, 1), 7, 6)])
def test_products_of_parts_load_what_changes(tiles, loads, products):
    """All of a step is one loop: six products of the tiles, and one load for each new operand."""
    multiply = tiles_bf16.multiply
    words = numba.types.Array(numba.types.int32, 1, "C")
    floats, index = (numba.types.Array(dtype, 1, "C") for dtype in
                     (numba.types.float32, numba.types.int64))
    function = numba.njit(**jit._OPTIONS)(lambda steps, offsets, a, b, sums: multiply(
        tiles[0], tiles[1], steps, at(offsets, 0), at(a, 0), 96, 16, at(b, 0), at(sums, 0)))
    function.compile((numba.types.intp, index, words, words, floats))
    found = [body for body in loops(function.inspect_asm()[function.signatures[0]])
             if any("tdpbf16ps" in line for line in body)]
    assert len(found) == 1
    counts = [sum(name in line for line in found[0]) for name in ("tileloadd", "tdpbf16ps")]
    steps = counts[1] // products  # as LLVM may unroll a short one
    assert steps and counts == [steps * loads, steps * products]
    assert not any(re.search(r"\(%rsp", line) and "tile" in line for line in found[0])


@pytest.mark.skipif(not machine.HAS_TILES, reason="needs the tiles of AMX")
def test_steps_of_parts_load_what_changes():
    """Also where other work is done between two steps."""
    words = numba.types.Array(numba.types.int32, 1, "C")

    def one_step(a, b):
        tiles_bf16.multiply_step(at(a, 0), at(b, 0))

    function = numba.njit(**jit._OPTIONS)(one_step)
    function.compile((words, words))
    text = function.inspect_asm()[function.signatures[0]]
    assert [text.count(f"\t{name}\t") for name in ("tileloadd", "tdpbf16ps")] == [14, 24]
    assert not re.search(r"tile\w+\s[^\n]*%r[sb]p", text)


@pytest.mark.skipif(machine.VECTOR_BYTES != 64, reason="needs AVX-512")
@pytest.mark.parametrize("dtype", FLOATS)
def test_tile_of_first_layers_does_not_spill(dtype):
    pixel_tile, floor_of, vecs = first_layer.pixel_tile, splats.floor_of, first_layer.VECS

    def run(n, x, offsets, y, w):
        pixel_tile(vecs, n, at(offsets, 0), at(w, 0), at(x, 0), at(y, 0), n, n, floor_of(x, False),
                   False)

    numbers = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    index = numba.types.Array(numba.types.int64, 1, "C")
    function = numba.njit(**jit._OPTIONS)(run)
    function.compile((numba.types.intp, numbers, index, numbers, numbers))
    found = [body for body in loops(function.inspect_asm()[function.signatures[0]])
             if any("fmadd" in line for line in body)]
    assert [sum("fmadd" in line for line in body) for body in found] == [
        first_layer.CHANNELS * vecs]
    assert not any(re.search(r"zmm.*rsp|rsp.*zmm", line) for line in found[0])


@pytest.mark.skipif(machine.VECTOR_BYTES != 64, reason="needs AVX-512")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("kind", "vecs", "step", "products"), [
    ("roll", 4, 1, 36), ("roll", 4, 2, 36), ("spread", 2, 0, 18), ("spread", 2, 1, 18)])
def test_rolls_do_not_spill(kind, vecs, step, products, dtype):
    """Nine products for each vector in a turn of the loop, and no vector on the stack."""
    roll, spread, floor_of = rolls.roll, rolls.spread, splats.floor_of

    def down(n, x, rows, y):
        roll(vecs, step, n, at(rows, 0), at(x, 0), at(x, 0), n, n, at(rows, 9), at(x, 9), x[0],
             floor_of(x, False), at(y, 0), n, n)

    def apart(n, x, rows, y):
        spread(vecs, step, n, at(rows, 0), at(rows, 99), at(x, 0), at(x, 0), n, n, at(rows, 9),
               at(x, 9), at(y, 0), n, at(y, 99), n, n, n)

    numbers = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    index = numba.types.Array(numba.types.int64, 1, "C")
    function = numba.njit(**jit._OPTIONS)(down if kind == "roll" else apart)
    function.compile((numba.types.intp, numbers, index, numbers))
    text = function.inspect_asm()[function.signatures[0]]
    found = re.findall(r"v(?:fn?madd\d+|mul)p[sd]\s", text)
    assert len(found) >= products  # LLVM may write some twice
    assert not re.search(r"%zmm\d+.*\(%rsp|\(%rsp.*%zmm", text)


# ---- memory ------------------------------------------------------------------------------------

@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects pages as Linux does")
@pytest.mark.parametrize(("op", "direction", "algorithm"), [
    *(("conv2d", direction, algorithm) for algorithm in ("direct", "im2col", "winograd", "bf16x6")
      for direction in ("forward", "backward_data", "backward_weight")),
    ("pool2d", "forward", "-"), ("pool2d", "backward", "-")])
def test_nothing_is_touched_outside_of_arrays(op, direction, algorithm):
    done = subprocess.run([sys.executable, HERE / "guarded.py", op, direction, algorithm, "25"],
                          capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr[-2000:])
    assert done.stdout.endswith("all inside\n")


# ---- threads -----------------------------------------------------------------------------------

@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_threading_layers_of_numba_play_no_part(layer):
    """Engine has threads of its own: whichever layer Numba would use, it is not even started.

    Four Python threads make 1,000 mixed calls each, and a forked child some more: every result is
    what it is alone.
    """
    done = subprocess.run([sys.executable, HERE / "numba_threads.py"], capture_output=True,
                          text=True, env=os.environ | {"NUMBA_THREADING_LAYER": layer})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "no layer was started\n"


@needs_fork
def test_fork_after_use():
    before = work(3, "numba")
    assert in_child(lambda: work(3, "numba") == before) == 0


@kernel(writes="y")
def _add_one(x, y):
    for i in range(len(x)):
        y[i] = x[i] + 1


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_while_another_thread_compiles():
    """The child does not wait for a compiler that runs in its parent alone."""
    def added(dtype):
        x, y = np.arange(5, dtype=dtype), np.zeros(5, dtype)
        _add_one(x, y)
        return y.tolist()

    with ThreadPoolExecutor(1) as pool:
        compiling = pool.submit(lambda: [added(dtype) for dtype in ("i1", "i2", "i4", "i8", "f4")])
        statuses = [in_child(lambda: added("f8") == [1, 2, 3, 4, 5], 20) for _ in range(3)]
        assert compiling.result() == [[1, 2, 3, 4, 5]] * 5
    assert statuses == [0] * 3


def test_workspace_limit(monkeypatch):
    from engine import _config
    monkeypatch.setattr(_config, "workspace_limit", 1000)
    monkeypatch.setattr(threads, "_local", type(threads._local)())
    x, weight = np.ones((1, 8, 40, 40)), np.ones((8, 8, 3, 3))
    with pytest.raises(MemoryError):
        engine.conv2d(x, weight, backend="numba")


def test_numba_waits_until_it_is_needed():
    """Where C runs, Numba is not imported: neither by a call nor by asking what would run."""
    if engine._library.lib is None:
        pytest.skip("the C library is not built")
    subprocess.run([sys.executable, "-c",
                    "import sys, numpy as np, engine\n"
                    "engine.conv2d(np.ones((1, 2, 5, 5)), np.ones((3, 2, 2, 2)))\n"
                    "engine.max_pool2d(np.ones((1, 2, 4, 4)), 2)\n"
                    "assert 'numba' not in sys.modules\n"], check=True)
