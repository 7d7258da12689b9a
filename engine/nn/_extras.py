"""Packages that only some parts need, imported when such a part is used."""

from __future__ import annotations

import importlib


def need(module: str, purpose: str, extra: str = "app"):
    """That module, or an ImportError that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f'{purpose} needs {package}: pip install "convengine[{extra}]"',
                          name=package) from error
