"""A 2-D pooling prepared once, for the same arrays over and over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import engine
from engine import _check, _plan
from engine._axes import to_kernel
from engine._typing import Array

KINDS = ("max", "min", "avg", "lp")
OPERATIONS = tuple(f"{prefix}{kind}_pool2d" for kind in KINDS for prefix in ("", "global_"))


def bind_pool2d(op: Callable[..., Any] | str, x: Array, *args: Any, out: Array,
                **kwargs: Any) -> Callable[[], Any]:
    """A pooling of these very arrays, as a function without arguments.

    Everything is checked now; what remains is the call of the kernel, with as many threads as may
    be used now.

    Parameters
    ----------
    op : function or str
        `max_pool2d`, `min_pool2d`, `avg_pool2d` or `lp_pool2d`, or one of the global ones; or its
        name.
    x, out : ndarray
        What it reads and writes in every call; the function keeps both.
    *args, **kwargs
        What the operation takes besides.

    Returns
    -------
    callable
        Each call computes `out` anew.

    Raises
    ------
    TypeError, ValueError
        As the operation; or if there is none of that name.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, y = np.arange(16).reshape(4, 4), np.empty((2, 2), int)
    >>> run = engine.bind_pool2d(engine.max_pool2d, x, 2, out=y)
    >>> run()
    >>> y
    array([[ 5,  7],
           [13, 15]])
    """
    name = _check.option("bind_pool2d", "op", getattr(op, "__name__", op), OPERATIONS,
                         optional=False)
    function = getattr(engine, name)
    _check.itself("bind_pool2d", "x", x)
    with _plan.noting() as requests:
        function(x, *args, out=out, **kwargs)
    if kwargs.get("return_indices") or x.dtype != out.dtype or not x.flags.aligned:
        return partial(function, x, *args, out=out, **kwargs)
    (request,) = requests
    layout = kwargs.get("layout", "NCHW")
    chosen: Any = _plan.choose(*request)
    bound: Callable[[], Any] = chosen.bind(to_kernel(x, layout), to_kernel(out, layout), None)
    return bound
