"""Conv, ConvInteger, ConvTranspose: the convolutions of `engine` under ONNX's attributes."""

from __future__ import annotations

import numpy as np

import engine
from engine.interop.onnx.table import Call, operator

NAMED_PADDING = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}


def spatial_rank(call: Call, x: np.ndarray) -> int:
    if not 1 <= x.ndim - 2 <= 3:
        raise ValueError(f"{call.node.label}: input has {x.ndim} dimensions, expected 3, 4 or 5")
    return x.ndim - 2


def padding(call: Call, rank: int):
    """engine's `padding` for `auto_pad` and `pads`."""
    named = call.get("auto_pad", "NOTSET")
    if named in NAMED_PADDING:
        return NAMED_PADDING[named]
    pads = call.get("pads") or [0] * 2 * rank
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def geometry(call: Call, rank: int) -> dict:
    return dict(stride=call.get("strides", [1] * rank), padding=padding(call, rank),
                dilation=call.get("dilations", [1] * rank), groups=call.get("group", 1))


@operator("Conv", weights=(1, 2))
def conv(call, x, weight, bias=None):
    rank = spatial_rank(call, x)
    options = geometry(call, rank)
    activation = call.get("activation")  # only `fuse` sets it, where no gradient is asked for
    if call.node.plans is not None and rank == 2:
        return _planned(call.node.plans, x, weight, bias, options | {"activation": activation})
    y = getattr(engine, f"conv{rank}d")(x, weight, bias, activation=activation, **options)

    def backward(dy):
        return getattr(engine, f"conv{rank}d_backward")(
            dy, x, weight, wrt=call.wanted("x", "weight", "bias"), **options)
    return y, backward


PLANS = 8  # shapes of x a convolution keeps a packed weight for


def _planned(plans: dict, x, weight, bias, options):
    key = (x.shape, x.dtype)
    plan = plans.get(key)
    if plan is None:
        if len(plans) >= PLANS:
            plans.clear()
        plan = plans[key] = engine.plan_conv2d(x.shape, weight, bias, dtype=x.dtype, **options)
    return plan(x), None


@operator("ConvInteger")
def conv_integer(call, x, weight, x_zero=None, weight_zero=None):
    x, weight = x.astype(np.int32), weight.astype(np.int32)
    if x_zero is not None:
        x -= np.int32(x_zero)
    if weight_zero is not None:  # one for all or one for each output channel
        weight -= np.int32(weight_zero).reshape(-1, *[1] * (weight.ndim - 1))
    return conv(call, x, weight)[0], None


@operator("ConvTranspose", weights=(1, 2))
def conv_transpose(call, x, weight, bias=None):
    rank = spatial_rank(call, x)
    options = geometry(call, rank)
    options["output_padding"] = call.get("output_padding", [0] * rank)
    wanted = call.get("output_shape")
    if options["padding"] in ("same", "same_lower"):
        wanted = wanted or [n * s for n, s in zip(x.shape[2:], options["stride"], strict=True)]
    if wanted:
        options |= _for_output(wanted[-rank:], x.shape[2:], weight.shape[2:], options,
                               upper=call.get("auto_pad") != "SAME_LOWER")
    y = getattr(engine, f"conv_transpose{rank}d")(x, weight, bias, **options)

    def backward(dy):
        return getattr(engine, f"conv_transpose{rank}d_backward")(
            dy, x, weight, wrt=call.wanted("x", "weight", "bias"), **options)
    return y, backward


def _for_output(wanted, size, kernel, options, upper: bool) -> dict:
    """The padding, or what is added behind, that makes the output that large."""
    over = [(n - 1) * s + d * (k - 1) + 1 + extra - out
            for out, n, k, s, d, extra in zip(wanted, size, kernel, options["stride"],
                                              options["dilation"], options["output_padding"],
                                              strict=True)]
    extra = [given + max(0, -each)
             for given, each in zip(options["output_padding"], over, strict=True)]
    halves = [(max(0, each) // 2, max(0, each) - max(0, each) // 2) for each in over]
    return {"padding": tuple(pair if upper else pair[::-1] for pair in halves),
            "output_padding": extra}
