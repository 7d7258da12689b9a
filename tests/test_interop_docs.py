"""The code of the pages on other packages runs, block after block."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {"torch": "torch"}  # page -> the package it needs


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page(page, tmp_path, monkeypatch):
    pytest.importorskip(PAGES[page])
    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{page}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks and text.count("```") == 2 * len(blocks)
    names = {"__name__": page}
    for block in blocks:
        exec(compile(block, f"docs/{page}.md", "exec"), names)
