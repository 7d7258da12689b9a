"""Which kernels a call would run, and why the others would not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import engine
from engine import _check, _plan


class Explained(NamedTuple):
    """One computation that a call needs, and the candidates for it in order of preference."""

    problem: object
    direction: str
    candidates: tuple[_plan.Candidate, ...]

    @property
    def chosen(self) -> _plan.Candidate | None:
        """The candidate that runs."""
        return next((each for each in self.candidates if each.refusal is None), None)

    def __str__(self) -> str:
        lines = [f"{self.problem} {self.direction}"]
        for each in self.candidates:
            name = "/".join(filter(None, (each.backend, each.algorithm)))
            says = each.refusal or ("runs" if each is self.chosen else "could run, comes later")
            lines.append(f"  {name}: {says}")
        return "\n".join(lines)


class Explanation(tuple):
    """The `Explained` of every computation that a call needs; its str is for people."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__


def explain(op: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Explanation:
    """Tell which kernel a call would run, and why each other one would not.

    Nothing is computed: the arguments are checked and the planner is asked, that is all.

    Parameters
    ----------
    op : function or str
        A function of `engine` that takes ``backend=``, or its name.
    *args, **kwargs
        What it would be called with; `out` is not looked at.

    Returns
    -------
    Explanation
        A tuple with one entry for every computation that the call needs: its ``problem``,
        ``direction``, ``candidates`` and the ``chosen`` one.  ``str()`` lists them all.

    Raises
    ------
    TypeError, ValueError
        If there is no such function, or if it does not take those arguments.

    Examples
    --------
    >>> import engine, numpy as np
    >>> x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    >>> print(engine.explain("conv2d", x, weight, backend="numpy"))
    conv2d:f64:nchw:mb1g1ic1oc1ih3oh2kh2sh1dh0ph0 forward
      c: backend="numpy" was asked for
      numba: backend="numpy" was asked for
      numpy/im2col: runs
    """
    function = _function(op)
    kwargs.pop("out", None)
    with _plan.noting() as requests, np.errstate(all="ignore"):
        function(*args, **kwargs)  # activations are applied to what no kernel has written
    return Explanation(
        Explained(problem, direction, tuple(_plan.candidates(op, problem, direction, *asked)))
        for op, problem, direction, *asked in requests)


def _function(op: Callable[..., Any] | str) -> Callable[..., Any]:
    known = {name: getattr(engine, name) for name in engine.__all__}
    known = {name: function for name, function in known.items()
             if "backend" in inspect.signature(function).parameters and name != "use_backend"}
    if callable(op):
        op = getattr(op, "__name__", op)
    return known[_check.option("explain", "op", op, tuple(known), optional=False)]
