"""The code of the pages on other packages runs, block after block, in a process of its own."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {"torch": "torch", "keras": "keras", "onnx": "onnx",  # page -> the package it needs
         "jax": "jax", "sklearn": "sklearn", "training": "sklearn", "dask": "dask",
         "mpi": "mpi4py"}


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page(page, tmp_path):
    if find_spec(PAGES[page]) is None:
        pytest.skip(f"{PAGES[page]} is not installed")
    text = (DOCS / f"{page}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks and text.count("```") == 2 * len(blocks)
    path = os.pathsep.join([str(DOCS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, text=True,
                          capture_output=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
