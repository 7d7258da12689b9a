"""The arguments of convolutions, checked and turned into a Call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine import _check
from engine._axes import filters_shape, order_of, rank_of, shape_to_kernel
from engine._call import Call
from engine._pad import MODES
from engine._problem import Axis, changed, conv_problem, output_size

ALGORITHMS = ("direct", "im2col", "winograd", "bf16x6")
ACTIVATIONS = ("relu", "relu6", "tanh", "sigmoid")
FUSED = ("relu",)  # those that kernels apply themselves
GRADIENTS = ("x", "weight", "bias")


class Options(NamedTuple):
    """The keyword arguments that every convolution shares, as the user passed them."""

    stride: object
    padding: object
    dilation: object
    groups: object
    padding_mode: object
    layout: object
    algorithm: object
    backend: object
    precision: object = None


def forward(op: str, x, weight, bias, activation, options: Options):
    """The call, and x, weight and bias as arrays."""
    layout = _check.layout(op, options.layout)
    x = _check.images(op, "x", x, layout)
    weight = _weight(op, weight, x.ndim)
    dtype = _check.common_dtype(x, weight)
    call = _layer(op, x.ndim, shape_to_kernel(x.shape, layout), weight.shape, dtype,
                  order_of(x, layout), options)
    bias = _bias(op, bias, call.problem.y_shape[1], dtype, x.ndim)
    activation = _activation(op, activation, dtype)
    fused = activation if activation in FUSED else None
    call.problem = changed(call.problem, bias=bias is not None, activation=fused)
    call.activation = None if fused else activation
    return call, x, weight, bias


def backward(op: str, dy, x, weight, options: Options):
    """The call, and dy, x and weight as arrays."""
    layout = _check.layout(op, options.layout)
    dy = _check.images(op, "dy", dy, layout)
    x = _check.images(op, "x", x, layout)
    _check.same_ndim(op, dy, x)
    weight = _weight(op, weight, x.ndim)
    call = _layer(op, x.ndim, shape_to_kernel(x.shape, layout), weight.shape,
                  _check.common_dtype(dy, x, weight), order_of(x, layout), options)
    _check.shaped(op, "dy", dy.shape, call.y_shape)
    return call, dy, x, weight


def backward_data(op: str, dy, weight, x_shape, options: Options):
    """The call, and dy and weight as arrays."""
    layout = _check.layout(op, options.layout)
    dy = _check.images(op, "dy", dy, layout)
    weight = _weight(op, weight, dy.ndim)
    x_shape = _check.image_shape(op, "x_shape", x_shape, dy.ndim)
    call = _layer(op, dy.ndim, shape_to_kernel(x_shape, layout), weight.shape,
                  _check.common_dtype(dy, weight), order_of(dy, layout), options)
    _check.shaped(op, "dy", dy.shape, call.y_shape)
    return call, dy, weight


def backward_weight(op: str, dy, x, weight_shape, options: Options):
    """The call, and dy and x as arrays."""
    layout = _check.layout(op, options.layout)
    dy = _check.images(op, "dy", dy, layout)
    x = _check.images(op, "x", x, layout)
    _check.same_ndim(op, dy, x)
    weight_shape = _check.shape(op, "weight_shape", weight_shape, _weight_ndim(op, x.ndim))
    _check.nonempty(op, "weight_shape", weight_shape)
    call = _layer(op, x.ndim, shape_to_kernel(x.shape, layout), weight_shape,
                  _check.common_dtype(dy, x), order_of(x, layout), options)
    _check.shaped(op, "dy", dy.shape, call.y_shape)
    return call, dy, x


def wanted(op: str, wrt) -> tuple[str, ...]:
    """`wrt` as a tuple of names."""
    wrt = (wrt,) if isinstance(wrt, str) else wrt
    if not isinstance(wrt, (tuple, list, set, frozenset)):
        raise TypeError(f"{op}: `wrt` is {_check.show(wrt)}, expected a tuple of names")
    return tuple(_check.option(op, "wrt", name, GRADIENTS) for name in wrt)


# ---- transposed --------------------------------------------------------------------------------

def transposed_forward(op: str, x, weight, bias, activation, output_padding, options: Options):
    """The call, and x, weight and bias as arrays."""
    layout = _check.layout(op, options.layout)
    x = _check.images(op, "x", x, layout)
    weight = _weight(op, weight, x.ndim, transposed=True)
    dtype = _check.common_dtype(x, weight)
    call = _transposed_layer(op, x, weight, output_padding, dtype, options)
    bias = _bias(op, bias, call.problem.x_shape[1], dtype, x.ndim)
    call.activation = _activation(op, activation, dtype)
    return call, x, weight, bias


def transposed_backward(op: str, dy, x, weight, output_padding, options: Options):
    """The call, and dy, x and weight as arrays."""
    layout = _check.layout(op, options.layout)
    dy = _check.images(op, "dy", dy, layout)
    x = _check.images(op, "x", x, layout)
    _check.same_ndim(op, dy, x)
    weight = _weight(op, weight, x.ndim, transposed=True)
    dtype = _check.common_dtype(dy, x, weight)
    call = _transposed_layer(op, x, weight, output_padding, dtype, options)
    _check.shaped(op, "dy", dy.shape, call.x_shape)
    return call, dy, x, weight


def transposed_backward_data(op: str, dy, weight, x_shape, output_padding, options: Options):
    """The call, and dy and weight as arrays."""
    layout = _check.layout(op, options.layout)
    dy = _check.images(op, "dy", dy, layout)
    weight = _weight(op, weight, dy.ndim, transposed=True)
    x_shape = _check.image_shape(op, "x_shape", x_shape, dy.ndim)
    call = _transposed(op, dy.ndim, shape_to_kernel(x_shape, layout), weight.shape, output_padding,
                       _check.common_dtype(dy, weight), order_of(dy, layout), options)
    _check.shaped(op, "dy", dy.shape, call.x_shape)
    return call, dy, weight


def transposed_backward_weight(op: str, dy, x, weight_shape, output_padding, options: Options):
    """The call, and dy and x as arrays."""
    layout = _check.layout(op, options.layout)
    dy = _check.images(op, "dy", dy, layout)
    x = _check.images(op, "x", x, layout)
    _check.same_ndim(op, dy, x)
    weight_shape = _check.shape(op, "weight_shape", weight_shape, _weight_ndim(op, x.ndim))
    _check.nonempty(op, "weight_shape", weight_shape)
    call = _transposed(op, x.ndim, shape_to_kernel(x.shape, layout), weight_shape, output_padding,
                       _check.common_dtype(dy, x), order_of(x, layout), options)
    _check.shaped(op, "dy", dy.shape, call.x_shape)
    return call, dy, x


def _transposed_layer(op, x, weight, output_padding, dtype, options: Options) -> Call:
    """The convolution that a transposed one is the backward-data of.

    What it calls x is our y: `call.x_shape` is the shape of the result.
    """
    return _transposed(op, x.ndim, shape_to_kernel(x.shape, options.layout), weight.shape,
                       output_padding, dtype, order_of(x, options.layout), options)


def _transposed(op, ndim, x_shape, weight_shape, output_padding, dtype, order,
                options: Options) -> Call:
    rank = rank_of(op)
    n, ic, size = *x_shape[:2], x_shape[-rank:]
    weight_ic, ocg, *kernel = filters_shape(weight_shape, rank)
    kernel = kernel[-rank:]
    stride, dilation, groups = _steps(op, options)
    _divisible(op, "x", f"{ic} channels", ic, groups)
    if weight_ic != ic:
        raise ValueError(f"{op}: `weight` has {weight_ic} input channels, expected {ic} "
                         f"(x has {ic} channels)")
    full = [n * s for n, s in zip(size, stride, strict=True)]
    pad = _check.pads(op, options.padding, full, kernel, stride, dilation)
    extra = _check.sizes(op, "output_padding", output_padding)
    out = [_transposed_size(op, *axis) for axis in zip(
        _check.AXES[rank], size, pad, kernel, stride, dilation, extra, strict=True)]
    if isinstance(options.padding, str) and options.padding.startswith("same"):
        out = [max(each) for each in zip(out, full, strict=True)]  # windows below their stride
    _check.addressable(op, "y", (n, ocg * groups, *out), dtype)
    axes = _axes(out, size, kernel, stride, pad, dilation)
    problem = conv_problem(n, groups, ocg * groups, ic, axes, dtype=dtype, order=order)
    return _call(op, problem, ndim, options)


def _transposed_size(op, axis, size, pad, kernel, stride, dilation, extra) -> int:
    if extra >= max(stride, dilation):
        raise ValueError(f"{op}: `output_padding` is {extra} along the {axis}, expected less than "
                         f"{max(stride, dilation)} (the larger of stride and dilation)")
    whole = (size - 1) * stride + dilation * (kernel - 1) + 1 + extra
    if whole <= sum(pad):
        raise ValueError(f"{op}: `padding` takes {sum(pad)} away along the {axis}, expected at "
                         f"most {whole - 1} (the result has {whole} without it)")
    return whole - sum(pad)


# ---- parts -------------------------------------------------------------------------------------

def _weight(op: str, value, ndim: int, transposed: bool = False) -> np.ndarray:
    """(out, in/groups, kh, kw); a bare (kh, kw) goes with a bare x."""
    weight = _check.array(op, "weight", value)
    expected = _weight_ndim(op, ndim)
    if weight.ndim != expected:
        axes = ("", "k", "kh, kw", "kd, kh, kw")[rank_of(op)]
        if expected != rank_of(op):
            axes = f"in, out/groups, {axes}" if transposed else f"out, in/groups, {axes}"
        raise ValueError(f"{op}: `weight` has {weight.ndim} dimensions, expected {expected} "
                         f"({axes}) (x has {ndim})")
    _check.nonempty(op, "weight", weight.shape)
    return weight


def _weight_ndim(op: str, ndim: int) -> int:
    """How many axes a weight has for images with `ndim`."""
    rank = rank_of(op)
    return rank if ndim == rank else rank + 2


def _bias(op: str, value, channels: int, dtype: np.dtype, ndim: int) -> np.ndarray | None:
    """One number per output channel; a bare x may have a bare number."""
    if value is None:
        return None
    bias = _check.array(op, "bias", value)
    if ndim != rank_of(op) or bias.ndim != 0:
        _check.shaped(op, "bias", bias.shape, (channels,))
    if not _check.is_float(dtype) and not np.can_cast(bias.dtype, dtype, "same_kind"):
        raise TypeError(f"{op}: `bias` has dtype {bias.dtype}, expected one that casts to {dtype} "
                        f"(the dtype of the result)")
    return bias


def _activation(op: str, value, dtype: np.dtype) -> str | None:
    activation = _check.option(op, "activation", value, ACTIVATIONS, optional=True)
    if activation in ("tanh", "sigmoid") and not _check.is_float(dtype):
        raise TypeError(f'{op}: `activation` is "{activation}", expected "relu" or "relu6" '
                        f"(the result has dtype {dtype})")
    return activation


def _steps(op: str, options: Options):
    return (_check.sizes(op, "stride", options.stride, minimum=1),
            _check.sizes(op, "dilation", options.dilation, minimum=1),
            _check.integer(op, "groups", options.groups, minimum=1))


def _divisible(op: str, name: str, has: str, channels: int, groups: int) -> None:
    if channels % groups:
        raise ValueError(f"{op}: `{name}` has {has}, expected a multiple of groups={groups}")


def _layer(op: str, ndim, x_shape, weight_shape, dtype, order, options: Options) -> Call:
    """The convolution of an x of that shape, as kernels see it, with that weight."""
    rank = rank_of(op)
    n, ic, size = *x_shape[:2], x_shape[-rank:]
    oc, icg, *kernel = filters_shape(weight_shape, rank)
    kernel = kernel[-rank:]
    stride, dilation, groups = _steps(op, options)
    mode = _check.option(op, "padding_mode", options.padding_mode, MODES)
    _divisible(op, "x", f"{ic} channels", ic, groups)
    _divisible(op, "weight", f"{oc} output channels", oc, groups)
    if icg != ic // groups:
        raise ValueError(f"{op}: `weight` has {icg} input channels, expected {ic // groups} "
                         f"(x has {ic} channels, groups={groups})")

    pad = _check.pads(op, options.padding, size, kernel, stride, dilation)
    _check.fits(op, "weight", size, pad, kernel, dilation)
    beforehand = None
    if mode != "constant" and any(map(any, pad)):
        beforehand, pad = pad, ((0, 0),) * rank
        size = [n + sum(ends) for n, ends in zip(size, beforehand, strict=True)]
        _check.addressable(op, "x", (n, ic, *size), dtype)
    out = [output_size(n, *ends, *axis) for n, ends, *axis in zip(size, pad, kernel, stride,
                                                                  dilation, strict=True)]
    _check.addressable(op, "y", (n, oc, *out), dtype)
    problem = conv_problem(n, groups, ic, oc, _axes(size, out, kernel, stride, pad, dilation),
                           dtype=dtype, order=order)
    call = _call(op, problem, ndim, options)
    call.pads, call.padding_mode = beforehand, mode
    return call


def _axes(size, out, kernel, stride, pad, dilation) -> list[Axis]:
    return [Axis(n, m, k, s, *ends, d) for n, m, k, s, ends, d in
            zip(size, out, kernel, stride, pad, dilation, strict=True)]


def _call(op: str, problem, ndim: int, options: Options) -> Call:
    family = "conv3d" if rank_of(op) == 3 else "conv2d"
    _check.precision(op, options.precision)
    return Call(op, family, problem, ndim, options.layout, _check.backend(op, options.backend),
                _check.option(op, "algorithm", options.algorithm, ALGORITHMS, optional=True))
