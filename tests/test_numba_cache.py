"""Machine code that Numba makes is kept on disk: what is compiled, by whom, where it goes."""

import ctypes
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from engine.kernels.numba_support import cache, jit, machine  # noqa: E402

FIRST_CALL = """
import json, sys
import numpy as np
import engine
assert (engine.avg_pool2d(np.ones((1, 2, 5, 5)), 2, backend="numba") == 1).all()
from engine.kernels.numba_support import jit
print(json.dumps([(each.kernel, each.compiled, each.kept) for each in jit.made]))
"""
KERNELS = ["_begin", "sums", "_end"]  # that it takes


def first_call(folder, code=FIRST_CALL):
    """What a new process makes of them, with that folder for machine code; and what it says."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"NUMBA_CACHE_DIR": str(folder)},
                          preexec_fn=_obey_modes if hasattr(os, "geteuid") else None)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def _obey_modes():
    """Root's processes too are then refused what is read-only."""
    if os.geteuid() == 0 and sys.platform.startswith("linux"):
        drop_from_bounding_set, override_modes = 24, 1
        ctypes.CDLL(None).prctl(drop_from_bounding_set, override_modes, 0, 0, 0)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder that one process has filled."""
    folder = tmp_path_factory.mktemp("filled")
    made, _ = first_call(folder)
    assert made == [[kernel, True, True] for kernel in KERNELS]
    assert len(files(folder)) == len(KERNELS)
    return folder


def test_second_process_loads_what_the_first_compiled(filled):
    before = files(filled)
    assert first_call(filled)[0] == [[kernel, False, True] for kernel in KERNELS]
    assert files(filled) == before


def test_damaged_file(filled):
    """It is compiled again, and replaced."""
    damaged = next(path for path in files(filled) if path.name.startswith("_end"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert first_call(filled)[0] == [[kernel, kernel == "_end", True] for kernel in KERNELS]
    assert first_call(filled)[0] == [[kernel, False, True] for kernel in KERNELS]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no modes here")
def test_read_only_folder(filled, tmp_path):
    """What is in it is loaded; what is not is compiled, and is not kept."""
    folders = [filled, *(path for path in filled.rglob("*") if path.is_dir())]
    empty = tmp_path / "empty"
    (empty / "engine").mkdir(parents=True)
    for folder in (*folders, empty / "engine"):
        folder.chmod(0o555)
    try:
        loaded, _ = first_call(filled)
        compiled, _ = first_call(empty)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert loaded == [[kernel, False, True] for kernel in KERNELS]
    assert compiled == [[kernel, True, False] for kernel in KERNELS]
    assert not files(empty)


def test_no_folder(tmp_path):
    """It costs time only, and a line says what takes it."""
    (tmp_path / "file").write_text("in the way")
    impatient = "from engine.kernels.numba_support import jit\njit._PATIENCE = 0.05\n" + FIRST_CALL
    made, said = first_call(tmp_path / "file" / "cache", impatient)
    assert made == [[kernel, True, False] for kernel in KERNELS]
    assert "engine: compiling sums with Numba ...\n" in said


def test_only_long_compilations_are_announced(capsys, monkeypatch):
    assert jit._PATIENCE == 1
    monkeypatch.setattr(jit, "_PATIENCE", 0.05)
    with jit._patience("compiling this"):
        pass
    with jit._patience("compiling that"):
        time.sleep(0.3)
    assert capsys.readouterr().err == "engine: compiling that ...\n"


@jit.kernel(writes="y")
def _doubled(x, y):
    for i in range(len(x)):
        y[i] = x[i] + x[i]


def test_folders(tmp_path, monkeypatch):
    """Where nothing else is asked for, the package's own comes first, then one of the user."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert cache.folders() == [tmp_path / "engine"]
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    own, users = cache.folders()
    assert own.parts[-2:] == ("numba_support", "__pycache__")
    assert "numba" in users.parts and users.name == "engine"

    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(cache, "folders", lambda: [tmp_path / "file", tmp_path / "second"])
    x, y = np.arange(4), np.zeros(4, np.int64)
    _doubled(x, y)
    assert y.tolist() == [0, 2, 4, 6] and jit.made[-1][:4] == ("_doubled", "int64", True, True)
    assert [path.name.split("-")[0] for path in files(tmp_path / "second")] == ["_doubled"]


def test_cached_code_is_that_of_the_sources_in_memory(tmp_path):
    """If a file has changed since its import, the key of the code compiled is still the old one."""
    source = tmp_path / "changing.py"
    source.write_text("def run(a):\n    return a + 1\n")
    cache.digest.cache_clear()
    before = cache.digest(str(source))
    source.write_text("def run(a):\n    return a + 2\n")
    assert cache.digest(str(source)) == before
    cache.digest.cache_clear()
    assert cache.digest(str(source)) != before
    cache.digest.cache_clear()


# ---- engine warmup -------------------------------------------------------------------------------

WARM_UP = """
import json
from engine._warmup import DTYPES, warm_up
from engine.kernels.numba_support import jit
assert len(list(warm_up())) == len(set(warm_up()))
print(json.dumps([sorted({each.kernel for each in jit.made if each.dtype in (dtype, "")})
                  for dtype in DTYPES]))
print(json.dumps(sorted(each.__name__ for each in jit.kernels)))
print(sum(each.compiled for each in jit.made))
"""
OF_TILES = {"correlate_words", "multiply_strips", "pack_rows", "pack_words"}  # of AMX, in float32
OF_AVX512 = {"roll_planes", "spread_planes"}
OF_32_REGISTERS = {"pack_blocks", "correlate_rows"}


def test_warmup_compiles_all():
    """Every kernel for every dtype; a second process has nothing left to compile."""
    pytest.importorskip("click")
    done = subprocess.run([sys.executable, "-m", "engine.cli", "warmup"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    *calls, last = done.stdout.splitlines()
    total, compiled, loaded = map(int, re.match(
        r"(\d+) Numba kernels: compiled (\d+), loaded (\d+), in ", last).groups())
    assert total == compiled + loaded

    done = subprocess.run([sys.executable, "-c", WARM_UP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (single, double), kernels, compiled = map(json.loads, done.stdout.splitlines())
    here = set(kernels) - (set() if machine.VECTOR_BYTES == 64 else OF_AVX512)
    here -= set() if machine.REGISTERS == 32 else OF_32_REGISTERS
    assert set(double) == here - OF_TILES
    assert set(single) == here - (set() if machine.HAS_TILES else OF_TILES)
    assert compiled == 0


def test_warmup_says_if_nothing_is_kept(tmp_path):
    """Checked on the few kernels of one call: to compile all of them takes half a minute."""
    pytest.importorskip("click")
    (tmp_path / "file").write_text("in the way")
    code = ("import sys\n"
            "from engine import _warmup, cli\n"
            "_warmup.DTYPES = ['float64']\n"
            "all_calls = _warmup.calls\n"
            "_warmup.calls = lambda dtype: {'avg_pool2d': all_calls(dtype)['avg_pool2d']}\n"
            "sys.argv = ['engine', 'warmup']\n"
            "cli.main()\n")
    where = tmp_path / "file" / "cache"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"NUMBA_CACHE_DIR": str(where)})
    assert done.returncode == 1
    assert "3 Numba kernels: compiled 3, loaded 0, in " in done.stdout
    assert done.stderr.endswith(f"none of the folders {where / 'engine'} can be written; "
                                "NUMBA_CACHE_DIR names another\n")
