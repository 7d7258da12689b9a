"""The site builds without a warning, and the code of every page runs, block after block."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS).with_suffix("")): path for path in sorted(DOCS.rglob("*.md"))}
NEEDS = {"torch": "torch", "keras": "keras", "onnx": "onnx", "jax": "jax", "sklearn": "sklearn",
         "training": "sklearn", "dask": "dask", "mpi": "mpi4py", "index": "sklearn",
         "course/14_transfer": "sklearn"}
# of numbers measured, of docstrings, and of programs that test_examples.py runs
WITHOUT_CODE = {"performance", "reference/functions", "reference/nn",
                *(name for name, path in PAGES.items() if "--8<--" in path.read_text())}


def blocks(page):
    """The code of a page; every fence is either Python or marked as something else."""
    text = PAGES[page].read_text()
    found = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert text.count("```") == 2 * len(found) and all(language for language, _ in found)
    return [code for language, code in found if language == "python"]


@pytest.mark.parametrize("page", sorted(PAGES.keys() - WITHOUT_CODE))
def test_the_code_of_a_page(page, tmp_path):
    if page in NEEDS and find_spec(NEEDS[page]) is None:
        pytest.skip(f"{NEEDS[page]} is not installed")
    code = blocks(page)
    assert code
    done = subprocess.run([sys.executable, "-c", "\n".join(code)], cwd=tmp_path, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr


def test_pages_without_code_have_none():
    for page in WITHOUT_CODE:
        programs = [code for code in blocks(page) if not code.startswith("--8<-- ")]
        assert programs == [], page


def test_the_site_builds_without_a_warning(tmp_path):
    for module in "mkdocs", "material", "mkdocstrings":
        pytest.importorskip(module)
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet",
                           "--config-file", ROOT / "mkdocs.yml", "--site-dir", tmp_path / "site"],
                          cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    site = tmp_path / "site"
    for page in PAGES:
        assert (site / ("" if page == "index" else page) / "index.html").is_file()
    reference = (site / "reference/functions/index.html").read_text()
    for name in engine.__all__:  # some are modules too, and then their names come twice
        assert re.search(rf'id="?engine(\.{name})?\.{name}["> ]', reference), name
    assert len(list((site / "figures").iterdir())) == 12
    for page in site.rglob("*.html"):  # what the reader's browser would fetch elsewhere
        fetched = r'<(?:script|link|img)[^>]+(?:src|href)="?https?://'
        assert not re.findall(fetched, page.read_text()), page
