"""Softmax prepared once, for the same arrays over and over: the last step of most networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from engine import _check, _config, kernels
from engine._typing import Array


def bind_softmax(x: Array, out: Array) -> Callable[[], Any]:
    """The softmax of every row of this very array, as a function without arguments.

    That is ``exp(x - m) / sum(exp(x - m))``, where m is the row's largest element.

    Parameters
    ----------
    x, out : ndarray
        (rows, columns), float32 or float64, what it reads and writes in every call; the function
        keeps both.

    Returns
    -------
    callable
        Each call computes `out` anew.

    Raises
    ------
    TypeError, ValueError
        If x is no such array, or out not one of the same shape and dtype, apart from x.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, y = np.log([[1.0, 3.0]]), np.empty((1, 2))
    >>> engine.bind_softmax(x, y)()
    >>> y
    array([[0.25, 0.75]])
    """
    _check.itself("bind_softmax", "x", x)
    _check.rows("bind_softmax", "x", x)
    _check.output("bind_softmax", out, x.shape, x.dtype, x=x)
    in_c: Any = kernels.load("softmax", "c")
    bound = None
    if _config.mode.get().backend in (None, "c") and not isinstance(in_c, str):
        bound = in_c.bind(x, out)
    return bound or cast("Any", kernels.load("softmax", "numpy")).bind(x, out)
