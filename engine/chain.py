"""Bound calls that are carried out one after the other, as few calls of C as can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from engine import _check


def chain(calls: Iterable[Callable[[], Any]]) -> Chain:
    """Functions without arguments as one that calls them in order.

    Those that `bind_pool2d`, `bind_softmax` and the `bind` of a `plan_conv2d` made for the C
    backend do not go through Python: neighbours among them are one call of C, which costs a
    fraction of a microsecond whatever their number, releases the interpreter lock once, and works
    in scratch memory that the chain keeps.  So one thread at a time may call it.

    Parameters
    ----------
    calls : iterable of callable
        Bound calls of any backend, or any other functions without arguments.

    Returns
    -------
    Chain
        A function without arguments, too; its repr tells what it runs in C.

    Raises
    ------
    TypeError
        If one of `calls` cannot be called.
    MemoryError
        If the scratch of one of them is more than ENGINE_WORKSPACE_LIMIT allows.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, y, z = np.arange(16.0).reshape(4, 4), np.empty((3, 3)), np.empty((1, 1))
    >>> edges = engine.plan_conv2d(x.shape, [[-1.0, 1.0], [-1.0, 1.0]])
    >>> run = engine.chain([edges.bind(x, y), engine.bind_pool2d("max_pool2d", y, 3, out=z)])
    >>> run()
    >>> z
    array([[2.]])
    """
    return Chain(calls)


class Chain:
    """Bound calls in order; made by `chain`."""

    __slots__ = ("_calls", "_runs", "_together")

    def __init__(self, calls: Iterable[Callable[[], Any]]) -> None:
        self._calls = tuple(calls)
        for place, call in enumerate(self._calls):
            _check.function("chain", f"calls[{place}]", call)
        self._runs: list[Callable[[], Any]] = []
        self._together: list[int] = []  # how many calls are one of C, for each such
        for in_c, neighbours in groupby(self._calls, lambda call: hasattr(call, "step")):
            group = list(neighbours)
            if in_c:
                from engine.kernels import c_call

                self._runs.append(c_call.chained(group))
                self._together.append(len(group))
            else:
                self._runs += group

    def __call__(self) -> None:
        for run in self._runs:
            run()

    def __repr__(self) -> str:
        parts = [f"{count} in one call of C" for count in self._together]
        if alone := len(self._calls) - sum(self._together):
            parts.append(f"{alone} on their own")
        return f"<engine.chain of {len(self._calls)} calls{': ' * bool(parts)}{', '.join(parts)}>"
