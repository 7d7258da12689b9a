"""The wheel runs where there is no compiler and stays small; the sdist is whole; one version."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from engine import _library

ROOT = Path(__file__).parent.parent
LARGEST_WHEEL = 3_000_000  # bytes
VERSION = re.search('^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]


def run(*command, cwd, **environment):
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The file that ENGINE_WHEEL names; else what is installed, packed as it came."""
    if given := os.environ.get("ENGINE_WHEEL"):
        return Path(given)
    try:
        installed = metadata.distribution("convengine")
    except metadata.PackageNotFoundError:
        pytest.skip("convengine is not installed, and ENGINE_WHEEL does not name a wheel of it")
    files = [file for file in installed.files if file.parts[0] != ".." and file.suffix != ".pyc"]
    if not any(file.name == "conv2d.py" for file in files):
        pytest.skip("convengine is installed in place")
    tag = re.search("^Tag: (.*)$", installed.read_text("WHEEL"), re.MULTILINE)[1]
    path = tmp_path_factory.mktemp("dist") / f"convengine-{installed.version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            if file.name not in ("INSTALLER", "REQUESTED", "direct_url.json"):
                archive.write(file.locate(), str(file))
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Of a bare environment with the wheel, which finds its dependencies where this one does."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=os.name != "nt")
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("platlib", "venv", paths))
    program = Path(sysconfig.get_path("scripts", "venv", paths)) / Path(sys.executable).name
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run(sys.executable, "-m", "pip", "--python", program, "install", "--no-deps", "--no-index",
        "--disable-pip-version-check", wheel, cwd=folder, **clean)
    (site / "dependencies.pth").write_text(sysconfig.get_path("platlib"))
    return program


def bare(python, *arguments, **environment):
    """Run it with nothing on the PATH but its own folder: no compiler."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TMPDIR") if name in os.environ}
    return run(python, *arguments, cwd=python.parent.parent, PATH=str(python.parent), **kept,
               **environment)


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size <= LARGEST_WHEEL


def test_the_command_of_the_wheel(python):
    pytest.importorskip("click")
    said = bare(python, python.parent / "engine", "info")
    assert said.startswith(f"engine {VERSION}, Python ")
    assert re.search(r"^  c +\S+ \(of ", said, re.MULTILINE)


@pytest.mark.parametrize("level", _library.isa_levels())
def test_the_wheel_runs_every_level_without_a_compiler(python, level):
    said = bare(python, Path(__file__).parent / "smoke.py", ENGINE_ISA=level).splitlines()
    assert Path(said[0]).is_relative_to(python.parent.parent)
    assert said[1:] == [VERSION, level, *_library.isa_levels()]


def test_the_version_is_stated_once():
    files = [ROOT / "CITATION.cff", ROOT / "CMakeLists.txt", *(ROOT / "engine").rglob("*.py")]
    stating = rf"^ *(__version__|version) *[:=] *[\"']?{re.escape(VERSION)}"
    assert [] == [file for file in files if re.search(stating, file.read_text(), re.MULTILINE)]


def test_the_sdist_has_every_file_of_the_repository(tmp_path):
    pytest.importorskip("scikit_build_core")
    if not (ROOT / ".git").exists():
        pytest.skip("not a repository")
    run(sys.executable, "-c", "import sys; from scikit_build_core.build import build_sdist;"
        "build_sdist(sys.argv[1])", tmp_path, cwd=ROOT, **os.environ)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    tracked = run("git", "ls-files", cwd=ROOT, **os.environ).splitlines()
    left_out = (".ci/", ".github/")  # of no use outside the repository
    assert {file for file in tracked if not file.startswith(left_out)} <= packed
    assert {file.partition("/")[0] for file in packed} <= {"PKG-INFO", *(
        file.partition("/")[0] for file in tracked)}
