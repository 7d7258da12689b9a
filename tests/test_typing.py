"""The public functions are typed, and a user's type checker agrees with their use."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parent.parent


def test_every_public_function_is_annotated():
    for name in engine.__all__:
        signature = inspect.signature(getattr(engine, name))
        annotations = [each.annotation for each in signature.parameters.values()]
        assert inspect.Signature.empty not in [*annotations, signature.return_annotation], name


def test_mypy_finds_nothing(tmp_path):
    """In a copy by itself: mypy takes no module from a folder where others are installed."""
    pytest.importorskip("mypy")
    package = Path(shutil.copytree(Path(engine.__file__).parent, tmp_path / "engine",
                                   ignore=shutil.ignore_patterns("__pycache__", "_native*")))
    names = {getattr(engine, name).__module__ for name in engine.__all__}
    files = [package / f"{name.removeprefix('engine.')}.py" for name in sorted(names)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--strict",
         "--cache-dir", tmp_path / "cache", *files, package / "__init__.py",
         ROOT / "tests" / "typed_use.py"],
        cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
