"""A 2-D convolution prepared once, for the same weight and shape of x over and over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from engine import _activation, _check, _check_conv, _device, _plan
from engine._axes import to_kernel
from engine._call import Call
from engine._check_conv import Options
from engine._convolution import run_forward
from engine._typing import (
    Activation,
    Algorithm,
    Array,
    ArrayLike,
    Backend,
    DTypeLike,
    Ints,
    Layout2d,
    Padding,
    PaddingMode,
)


def plan_conv2d(x_shape: Sequence[int], weight: ArrayLike, bias: ArrayLike | None = None, *,
                stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1, groups: int = 1,
                padding_mode: PaddingMode = "constant", activation: Activation | None = None,
                layout: Layout2d = "NCHW", algorithm: Algorithm | None = None,
                backend: Backend | None = None, dtype: DTypeLike | None = None) -> Conv2dPlan:
    """Prepare `conv2d` for one weight and one shape of x.

    The plan has checked its arguments, chosen its kernel and packed the weight, so calling it
    costs little more than the computation.

    Parameters
    ----------
    x_shape : tuple of int
        The shape of every x to come.
    weight, bias : array_like
        As in `conv2d`.  The plan keeps copies: later changes of the arrays do not reach it.  For
        CUDA arrays every x is to be one of the same library.
    stride, padding, dilation, groups, padding_mode, activation, layout, algorithm, backend
        As in `conv2d`.
    dtype : data-type, optional
        The dtype of every x to come; that of weight by default.

    Returns
    -------
    Conv2dPlan
        ``plan(x, out=None)`` returns what ``conv2d(x, weight, bias, ...)`` would.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`; the plan itself where the shape or dtype of x is another.

    Examples
    --------
    >>> import numpy as np, engine
    >>> plan = engine.plan_conv2d((2, 3), np.array([[1.0, 2.0]]))
    >>> plan(np.ones((2, 3)))
    array([[3., 3.],
           [3., 3.]])
    """
    options = Options(stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    if _device.wanted(backend, weight, bias):
        from engine._device_plan import CudaPlan  # as NumPy's users never need it

        return CudaPlan(x_shape, dtype, weight, bias, activation, options)
    weight = _check.array("plan_conv2d", "weight", weight)
    dtype = weight.dtype if dtype is None else _check.dtype("plan_conv2d", "dtype", dtype)
    shape = _check.shape("plan_conv2d", "x_shape", x_shape)
    _check.addressable("plan_conv2d", "x", shape, dtype)
    return Conv2dPlan(shape, dtype, weight, bias, activation, options)


class Conv2dPlan:
    """A prepared convolution; made by `plan_conv2d`, called as ``plan(x, out=None)``.

    Attributes
    ----------
    x_shape, y_shape : tuple of int
        The shapes of x and of the result.
    x_dtype, dtype : numpy.dtype
        The dtypes of x and of the result.
    """

    def __init__(self, x_shape: tuple[int, ...], x_dtype: np.dtype, weight: Array,
                 bias: ArrayLike | None, activation: Activation | None, options: Options) -> None:
        x = np.empty(x_shape, x_dtype)
        call, x, weight, bias = _check_conv.forward("plan_conv2d", x, weight, bias, activation,
                                                    options)
        self.x_shape, self.x_dtype = x.shape, x.dtype
        self.y_shape, self.dtype = call.y_shape, call.problem.dtype
        self._weight = np.array(weight, self.dtype, order="C")
        self._bias = None if bias is None else np.array(bias, self.dtype, order="C", ndmin=1)
        self._activation, self._options = activation, options
        # by problem: what runs it on a packed weight (None if no kernel packs)
        self._packed: dict[Any, Any] = {}
        self._calls = {x.strides: (call, self._run(call))}

    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array:
        """The convolution of x, an array of `x_shape` and `x_dtype` in any memory order."""
        if type(x) is not np.ndarray or x.shape != self.x_shape or x.dtype != self.x_dtype:
            x = _check.like("plan_conv2d", "x", x, self.x_shape, self.x_dtype)
        call, run = self._calls.get(x.strides) or self._with_strides(x)
        if call.again and x.flags.aligned and (out is None or self._fits(out, x, call)):
            return call.again(x, self._weight, self._bias, out)
        if out is not None:
            _check.output("plan_conv2d", out, self.y_shape, self.dtype, x=x)
        return run_forward(call, x, self._weight, self._bias, out, repeats=True, run=run)

    def bind(self, x: Array, out: Array, residual: Array | None = None) -> Callable[[], Any]:
        """``plan(x, out)`` for these very arrays, as a function without arguments.

        All that can be done beforehand is done now; what remains is the call of the kernel, with
        as many threads as may be used now.  The function keeps the arrays.

        Parameters
        ----------
        x, out : ndarray
            What it reads and writes in every call.
        residual : ndarray, optional
            What is added, after the bias and before the activation; of the shape and dtype of out,
            which it may not overlap.  The C backend adds it in the same call, if its strides are
            those of out.

        Raises
        ------
        TypeError, ValueError
            If an array is not of the plan's shape and dtype.
        """
        _check.itself("plan_conv2d", "x", x)
        _check.like("plan_conv2d", "x", x, self.x_shape, self.x_dtype)
        inputs = {"x": x}
        if residual is not None:
            _check.itself("plan_conv2d", "residual", residual)
            inputs["residual"] = _check.like("plan_conv2d", "residual", residual, self.y_shape,
                                             self.dtype)
        _check.output("plan_conv2d", out, self.y_shape, self.dtype, **inputs)
        call, run = self._calls.get(x.strides) or self._with_strides(x)
        image = call.to_kernel(x)
        bindable = not call.pads and np.may_share_memory(image, x)
        chosen: Any = run or _plan.of(call, "forward")
        y = to_kernel(out, call.layout)
        arrays = image, call.filters(self._weight), call.vector(self._bias), y
        if residual is not None:
            added = to_kernel(residual, call.layout)
            found = chosen.bound(*arrays, residual=added) if bindable else None
            if found is None:
                return self._bind_apart(call, x, out, residual)
            kernel: Callable[[], Any] = found
        elif bindable:
            kernel = chosen.bind(*arrays)
        else:
            return partial(self, x, out)
        return _activated(kernel, call.activation, y) if call.activation else kernel

    def _bind_apart(self, call: Call, x: Array, out: Array,
                    residual: Array) -> Callable[[], Any]:
        """`bind` where the kernel cannot add the residual itself."""
        plain = Conv2dPlan(self.x_shape, self.x_dtype, self._weight, self._bias, None,
                           self._options).bind(x, out)

        def added() -> None:
            plain()
            np.add(out, residual, out=out)

        return _activated(added, self._activation, to_kernel(out, call.layout))

    def _fits(self, out: Array, x: Array, call: Call) -> bool:
        """Whether out is just like the arrays that the plan would make itself."""
        return (type(out) is np.ndarray and out.shape == self.y_shape and out.dtype == self.dtype
                and out.strides == call.y_strides and out.flags.behaved
                and not np.may_share_memory(out, x))

    def _with_strides(self, x: Array) -> tuple[Call, Any]:
        call = _check_conv.forward("plan_conv2d", x, self._weight, self._bias, self._activation,
                                   self._options)[0]
        entry = self._calls[x.strides] = call, self._run(call)
        return entry

    def _run(self, call: Call) -> Any:
        p = call.problem
        if p not in self._packed:
            self._packed[p] = _plan.packed(call, call.filters(self._weight))
        return self._packed[p]


def _activated(kernel: Callable[[], Any], activation: str | None, y: Array) -> Callable[[], None]:
    """The kernel, and after it the activation of y, where it lies."""

    def run() -> None:
        kernel()
        _activation.apply(activation, y)

    return run
