"""Small integers in place of real numbers: real = (integer - zero point) * scale.

Quantising rounds, so gradients end there; what is dequantised is a constant to training.
"""

from __future__ import annotations

import numpy as np

from engine.interop.onnx.operators.constants import dtype_of, refused_type
from engine.interop.onnx.operators.convolution import conv
from engine.interop.onnx.table import operator


def _spread(values: np.ndarray, shape, axis: int, block: int) -> np.ndarray:
    """One number for all, for each place along an axis, or for each block of it, to broadcast."""
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    if values.ndim == 1:
        return values.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    return np.repeat(values, block, axis).take(range(shape[axis]), axis)


def _quantized(x: np.ndarray, scale, zero, dtype) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(dtype)


@operator("QuantizeLinear", refuses=lambda node: node.attributes.get("output_dtype") and
          refused_type(node.attributes["output_dtype"]))
def quantize(call, x, scale, zero=None):
    given = call.get("output_dtype")
    dtype = zero.dtype if zero is not None else dtype_of(given) if given else np.dtype(np.uint8)
    where = (x.shape, call.get("axis", 1), call.get("block_size", 0))
    zero = 0 if zero is None else _spread(zero, *where).astype(np.int32)
    return _quantized(x, _spread(scale, *where), zero, dtype), None


@operator("DequantizeLinear")
def dequantize(call, x, scale, zero=None):
    where = (x.shape, call.get("axis", 1), call.get("block_size", 0))
    offset = x.astype(np.int32)
    if zero is not None:
        offset = offset - _spread(zero, *where).astype(np.int32)
    return (offset * _spread(scale, *where)).astype(scale.dtype), None


@operator("DynamicQuantizeLinear")
def dynamic_quantize(call, x):
    """With the range of x, made to contain 0, as that of eight bits."""
    low, high = min(0, x.min()), max(0, x.max())
    scale = np.float32((high - low) / 255)
    zero = np.clip(np.rint(-low / scale), 0, 255).astype(np.uint8)
    return (_quantized(x, scale, zero.astype(np.int32), np.uint8), scale, zero), None


@operator("QLinearConv")
def quantized_conv(call, x, x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero, bias=None):
    x = x.astype(np.int32) - x_zero.astype(np.int32)
    by_filter = [-1, *[1] * (weight.ndim - 1)]
    weight = weight.astype(np.int32) - w_zero.astype(np.int32).reshape(
        by_filter if w_zero.size > 1 else ())
    y, _ = conv(call, x, weight, bias)
    scale = x_scale * (w_scale.reshape(by_filter[:-1]) if w_scale.size > 1 else w_scale) / y_scale
    return _quantized(y * scale, 1, y_zero.astype(np.int32), y_zero.dtype), None


@operator("QLinearMatMul")
def quantized_matmul(call, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero):
    y = ((a.astype(np.int32) - a_zero.astype(np.int32))
         @ (b.astype(np.int32) - b_zero.astype(np.int32)))
    scale = a_scale.astype(np.float32) * b_scale.astype(np.float32) / y_scale.astype(np.float32)
    return _quantized(y * scale, 1, y_zero.astype(np.int32), y_zero.dtype), None
