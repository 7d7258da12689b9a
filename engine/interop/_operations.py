"""Functions named and called as those of `engine`, for the arrays of another package."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import engine

LEFT_OUT = ("layout", "out", "activation")  # other packages have ways of their own


def family(name: str, apply: Callable, module: str) -> list[Callable]:
    """The functions `name` for one, two and three spatial axes, e.g. of "conv{}d"."""
    return [wrapped(name.format(rank), apply, module) for rank in (1, 2, 3)]


def wrapped(op: str, apply: Callable, module: str) -> Callable:
    """A function with the arguments of ``engine.<op>`` that does ``apply(op, **arguments)``."""
    original = inspect.signature(getattr(engine, op))
    signature = original.replace(return_annotation=original.empty, parameters=[
        each.replace(annotation=each.empty)  # the arrays are not NumPy's
        for name, each in original.parameters.items() if name not in LEFT_OUT])

    def function(*args, **kwargs):
        try:
            arguments = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{op}: {error}") from None
        return apply(op, **arguments)

    function.__name__ = function.__qualname__ = op
    function.__module__, function.__signature__ = module, signature
    function.__doc__ = f"`engine.{op}` on arrays of another package, with gradients."
    return function
