"""The public functions are typed, and a user's type checker agrees with their use."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine import nn
from engine.nn.model import Model

ROOT = Path(__file__).parent.parent


def check_annotated(name, function):
    signature = inspect.signature(function)
    wanted = [each.annotation for each in signature.parameters.values() if each.name != "self"]
    if function.__name__ != "__init__":
        wanted.append(signature.return_annotation)
    assert inspect.Signature.empty not in wanted, name


@pytest.mark.parametrize("module", [engine, nn, nn.models], ids=lambda module: module.__name__)
def test_every_public_name_is_annotated(module):
    for name in module.__all__:
        value = getattr(module, name)
        function = value.__init__ if inspect.isclass(value) else value
        if inspect.isfunction(function):
            check_annotated(name, function)


def test_what_a_model_can_do_is_annotated():
    for name, method in inspect.getmembers(Model, inspect.isfunction):
        if name in vars(Model) and name[0] != "_":
            check_annotated(name, method)


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
