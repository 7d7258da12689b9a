"""The arguments of 2-D convolutions, checked and turned into a Conv2dProblem."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from engine import _check
from engine._axes import order_of, shape_from_nchw, shape_to_nchw
from engine._pad import MODES
from engine._problem import Conv2dProblem, _needed_after, output_size

ALGORITHMS = ("direct", "im2col", "winograd")
ACTIVATIONS = ("relu", "relu6", "tanh", "sigmoid")
FUSED = ("relu",)  # those that kernels apply themselves


class Geometry(NamedTuple):
    """The keyword arguments that every convolution shares, as the user passed them."""

    stride: object
    padding: object
    dilation: object
    groups: object
    padding_mode: object
    layout: object
    algorithm: object
    backend: object


@dataclass(slots=True)
class Conv2d:
    """A checked call: the problem, and what surrounds it."""

    op: str
    problem: Conv2dProblem
    pads: tuple | None  # what x is padded with beforehand; None where the kernels see zeros
    ndim: int
    layout: str
    algorithm: str | None
    backend: str | None
    activation: str | None = None  # what is left to apply after the kernel

    @property
    def y_shape(self) -> tuple[int, ...]:
        return shape_from_nchw(self.problem.y_shape, self.ndim, self.layout)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The user's shape of x: without the padding that `pads` adds."""
        return shape_from_nchw(self.unpadded_shape, self.ndim, self.layout)

    @property
    def unpadded_shape(self) -> tuple[int, int, int, int]:
        n, c, h, w = self.problem.x_shape
        (top, bottom), (left, right) = self.pads or ((0, 0), (0, 0))
        return (n, c, h - top - bottom, w - left - right)


def weights(op: str, value, ndim: int) -> np.ndarray:
    """`weight` as (out, in/groups, kh, kw); a bare (kh, kw) goes with a bare x."""
    weight = _check.array(op, "weight", value)
    expected = 2 if ndim == 2 else 4
    if weight.ndim != expected:
        axes = "(kh, kw)" if ndim == 2 else "(out, in/groups, kh, kw)"
        raise ValueError(f"{op}: `weight` has {weight.ndim} dimensions, expected {expected} "
                         f"{axes} (x has {ndim})")
    _check.nonempty(op, "weight", weight.shape)
    return weight[None, None] if ndim == 2 else weight


def biases(op: str, value, channels: int, dtype: np.dtype, ndim: int) -> np.ndarray | None:
    """`bias` as a contiguous vector of `dtype`; a bare plane may have a bare number."""
    if value is None:
        return None
    bias = _check.array(op, "bias", value)
    if ndim == 2 and bias.ndim == 0:
        bias = bias[None]
    _check.shaped(op, "bias", bias.shape, (channels,))
    if not _check.is_float(dtype) and not np.can_cast(bias.dtype, dtype, "same_kind"):
        raise TypeError(f"{op}: `bias` has dtype {bias.dtype}, expected one that casts to "
                        f"{dtype} (the dtype of the result)")
    return np.ascontiguousarray(_check.cast(bias, dtype))


def layer(op: str, x_shape, weight_shape, geometry: Geometry, dtype, order, ndim,
          layout) -> Conv2d:
    """The convolution of those (n, c, h, w) and (out, in/groups, kh, kw) shapes."""
    n, ic, *size = x_shape
    oc, icg, *kernel = weight_shape
    stride = _check.sizes(op, "stride", geometry.stride, minimum=1)
    dilation = _check.sizes(op, "dilation", geometry.dilation, minimum=1)
    groups = _check.integer(op, "groups", geometry.groups, minimum=1)
    mode = _check.option(op, "padding_mode", geometry.padding_mode, MODES, optional=False)
    _check_channels(op, ic, oc, icg, groups)

    pad = _check.pads(op, geometry.padding, size, kernel, stride, dilation)
    _check.fits(op, "weight", size, pad, kernel, dilation)
    pads = None
    if mode != "constant" and pad != ((0, 0), (0, 0)):
        pads = pad
        size = [n + before + after for n, (before, after) in zip(size, pad, strict=True)]
        pad = ((0, 0), (0, 0))
        _check.addressable(op, "x", (n, ic, *size), dtype)
    out = [output_size(*axis) for axis in zip(size, *zip(*pad, strict=True), kernel, stride,
                                              dilation, strict=True)]
    _check.addressable(op, "y", (n, oc, *out), dtype)
    problem = _problem(n, groups, ic, oc, size, out, kernel, stride, pad, dilation, dtype, order)
    return Conv2d(op, problem, pads, ndim, layout,
                  _check.option(op, "algorithm", geometry.algorithm, ALGORITHMS),
                  _check.backend(op, geometry.backend))


def _problem(n, groups, ic, oc, size, out, kernel, stride, pad, dilation, dtype,
             order) -> Conv2dProblem:
    (ih, iw), (oh, ow), (kh, kw), (sh, sw), (dh, dw) = size, out, kernel, stride, dilation
    (top, _), (left, _) = pad
    return Conv2dProblem(
        n=n, g=groups, ic=ic, ih=ih, iw=iw, oc=oc, oh=oh, ow=ow, kh=kh, kw=kw,
        stride_h=sh, stride_w=sw, dil_h=dh, dil_w=dw, pad_t=top, pad_l=left,
        pad_b=_needed_after(ih, top, kh, sh, dh, oh), pad_r=_needed_after(iw, left, kw, sw, dw, ow),
        dtype=dtype, order=order)


def _check_channels(op: str, ic: int, oc: int, icg: int, groups: int) -> None:
    if ic % groups:
        raise ValueError(f"{op}: `x` has {ic} channels, expected a multiple of groups={groups}")
    if oc % groups:
        raise ValueError(f"{op}: `weight` has {oc} output channels, expected a multiple of "
                         f"groups={groups}")
    if icg != ic // groups:
        raise ValueError(f"{op}: `weight` has {icg} input channels, expected {ic // groups} "
                         f"(x has {ic} channels, groups={groups})")


def forward(op: str, x, weight, bias, activation, geometry: Geometry):
    """The call and its arrays: (call, x, weight, bias), all as kernels take them."""
    layout = _check.layout_name(op, geometry.layout)
    x, ndim = _check.images(op, "x", x, layout)
    weight = weights(op, weight, ndim)
    dtype = _check.common_dtype(x, weight)
    call = layer(op, x.shape, weight.shape, geometry, dtype, order_of(x, layout), ndim,
                 layout)
    bias = biases(op, bias, weight.shape[0], dtype, ndim)
    activation = _activation(op, activation, dtype)
    fused = activation if activation in FUSED else None
    call.problem = replace(call.problem, bias=bias is not None, activation=fused)
    call.activation = None if fused else activation
    return call, _check.cast(x, dtype), _check.cast(weight, dtype), bias


def _activation(op: str, value, dtype: np.dtype) -> str | None:
    activation = _check.option(op, "activation", value, ACTIVATIONS)
    if activation in ("tanh", "sigmoid") and not _check.is_float(dtype):
        raise TypeError(f'{op}: `activation` is "{activation}", expected "relu" or "relu6" '
                        f"(the result has dtype {dtype})")
    return activation


def backward(op: str, dy, x, weight, geometry: Geometry, *, x_shape=None, weight_shape=None):
    """The call and its arrays (call, dy, x, weight); of x and weight one may be only a shape."""
    layout = _check.layout_name(op, geometry.layout)
    dy, ndim = _check.images(op, "dy", dy, layout)
    if x_shape is None:
        x, x_ndim = _check.images(op, "x", x, layout)
        _check.same_ndim(op, ndim, x_ndim)
        x_shape = x.shape
    else:
        x_shape = shape_to_nchw(_check.image_shape(op, "x_shape", x_shape, layout, ndim), layout)
    if weight_shape is None:
        weight = weights(op, weight, ndim)
        weight_shape = weight.shape
    else:
        weight_shape = _weight_shape(op, weight_shape, ndim)

    given = [each for each in (dy, x, weight) if each is not None]
    dtype = _check.common_dtype(*given)
    like = dy if x is None else x
    call = layer(op, x_shape, weight_shape, geometry, dtype, order_of(like, layout), ndim,
                 layout)
    actual = shape_from_nchw(dy.shape, ndim, layout)
    _check.shaped(op, "dy", actual, call.y_shape)
    return call, *(each if each is None else _check.cast(each, dtype) for each in (dy, x, weight))


def _weight_shape(op: str, value, ndim: int) -> tuple[int, int, int, int]:
    shape = _check.image_shape(op, "weight_shape", value, "", 2 if ndim == 2 else 4)
    _check.nonempty(op, "weight_shape", shape)
    return (1, 1, *shape) if ndim == 2 else shape


def wanted(op: str, wrt) -> tuple[str, ...]:
    """`wrt` as a tuple of names, each checked."""
    known = ("x", "weight", "bias")
    if isinstance(wrt, str):
        wrt = (wrt,)
    if not isinstance(wrt, (tuple, list, set, frozenset)):
        raise TypeError(f"{op}: `wrt` is {_check.show(wrt)}, expected a tuple of names")
    return tuple(_check.option(op, "wrt", name, known, optional=False) for name in wrt)


# ---- transposed --------------------------------------------------------------------------------

def transposed(op: str, x_shape, weight_shape, geometry: Geometry, output_padding, dtype, order,
               ndim, layout) -> Conv2d:
    """The convolution that a transposed one is the backward-data of: its y is our x.

    So `problem.x_shape` is the shape of the result, and `weight` is (in, out/groups, kh, kw).
    """
    n, ic, *size = x_shape
    weight_ic, ocg, *kernel = weight_shape
    stride = _check.sizes(op, "stride", geometry.stride, minimum=1)
    dilation = _check.sizes(op, "dilation", geometry.dilation, minimum=1)
    groups = _check.integer(op, "groups", geometry.groups, minimum=1)
    if ic % groups:
        raise ValueError(f"{op}: `x` has {ic} channels, expected a multiple of groups={groups}")
    if weight_ic != ic:
        raise ValueError(f"{op}: `weight` has {weight_ic} input channels, expected {ic} (as x)")

    full = [n * s for n, s in zip(size, stride, strict=True)]
    pad = _check.pads(op, geometry.padding, full, kernel, stride, dilation)
    extra = _check.sizes(op, "output_padding", output_padding)
    out = [_transposed_size(op, *axis) for axis in zip(
        ("height", "width"), size, pad, kernel, stride, dilation, extra, strict=True)]
    if geometry.padding in ("same", "same_lower"):  # of windows smaller than their stride, too
        out = [max(each) for each in zip(out, full, strict=True)]
    _check.addressable(op, "y", (n, ocg * groups, *out), dtype)
    problem = _problem(n, groups, ocg * groups, ic, out, size, kernel, stride, pad, dilation,
                       dtype, order)
    return Conv2d(op, problem, None, ndim, layout,
                  _check.option(op, "algorithm", geometry.algorithm, ALGORITHMS),
                  _check.backend(op, geometry.backend))


def _transposed_size(op, axis, size, pad, kernel, stride, dilation, extra) -> int:
    if extra and extra >= max(stride, dilation):
        raise ValueError(f"{op}: `output_padding` is {extra} along the {axis}, expected less than "
                         f"{max(stride, dilation)} (the larger of stride and dilation)")
    whole = (size - 1) * stride + dilation * (kernel - 1) + 1 + extra
    if whole <= sum(pad):
        raise ValueError(f"{op}: `padding` takes {sum(pad)} away along the {axis}, expected at "
                         f"most {whole - 1} (the result has {whole} without it)")
    return whole - sum(pad)


def transposed_forward(op: str, x, weight, bias, activation, output_padding, geometry: Geometry):
    """The call and its arrays: (call, x, weight, bias)."""
    layout = _check.layout_name(op, geometry.layout)
    x, ndim = _check.images(op, "x", x, layout)
    weight = weights(op, weight, ndim)
    dtype = _check.common_dtype(x, weight)
    call = transposed(op, x.shape, weight.shape, geometry, output_padding, dtype,
                      order_of(x, layout), ndim, layout)
    bias = biases(op, bias, call.problem.ic, dtype, ndim)
    call.activation = _activation(op, activation, dtype)
    return call, _check.cast(x, dtype), _check.cast(weight, dtype), bias


def transposed_backward(op: str, dy, x, weight, output_padding, geometry: Geometry):
    """The call and its arrays: (call, dy, x, weight)."""
    layout = _check.layout_name(op, geometry.layout)
    dy, ndim = _check.images(op, "dy", dy, layout)
    x, x_ndim = _check.images(op, "x", x, layout)
    _check.same_ndim(op, ndim, x_ndim)
    weight = weights(op, weight, ndim)
    dtype = _check.common_dtype(dy, x, weight)
    call = transposed(op, x.shape, weight.shape, geometry, output_padding, dtype,
                      order_of(x, layout), ndim, layout)
    _check.shaped(op, "dy", shape_from_nchw(dy.shape, ndim, layout), call.x_shape)
    return call, *(_check.cast(each, dtype) for each in (dy, x, weight))
