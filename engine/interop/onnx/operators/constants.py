"""Arrays from nothing, shapes as arrays, and changes of dtype."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from engine.interop.onnx.table import is_real, operator

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
TYPES = (*FLOATS, TensorProto.BOOL, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32,
         TensorProto.INT64, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32,
         TensorProto.UINT64)


def dtype_of(kind: int) -> np.dtype:
    return onnx.helper.tensor_dtype_to_np_dtype(kind)


def refused_type(kind: int) -> str | None:
    """How messages call a type of elements that is not computed with."""
    return None if kind in TYPES else f"elements of type {TensorProto.DataType.Name(kind)}"


NUMBERS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
           "value_ints": np.int64}


def _strange_constant(node):
    for name, value in node.attributes.items():
        if name == "value":
            return refused_type(value.data_type)
        if name not in NUMBERS:
            return f"attribute {name}"
    return None


@operator("Constant", refuses=_strange_constant)
def constant(call):
    (name, value), = call.node.attributes.items()
    if name == "value":
        return onnx.numpy_helper.to_array(value), None
    return np.array(value, NUMBERS[name]), None


@operator("ConstantOfShape")
def constant_of_shape(call, shape):
    value = call.get("value")
    value = np.float32([0]) if value is None else onnx.numpy_helper.to_array(value)
    return np.full(tuple(int(each) for each in shape), value.reshape(()), value.dtype), None


@operator("EyeLike")
def eye_like(call, x):
    dtype = dtype_of(call.get("dtype")) if call.get("dtype") else x.dtype
    return np.eye(*x.shape, k=call.get("k", 0), dtype=dtype), None


@operator("Range")
def steps(call, start, limit, delta):
    return np.arange(start.item(), limit.item(), delta.item(), start.dtype), None


@operator("Shape")
def shape_of(call, x):
    return np.array(x.shape[call.get("start", 0):call.get("end")], np.int64), None


@operator("Size")
def size_of(call, x):
    return np.array(x.size, np.int64), None


@operator("Cast", refuses=lambda node: refused_type(node.attributes["to"])
          if "to" in node.attributes else "no attribute `to`")
def cast(call, x):
    return _as(x, dtype_of(call["to"]))


@operator("CastLike")
def cast_like(call, x, like):
    y, backward = _as(x, like.dtype)
    return y, backward and (lambda dy: (backward(dy), None))


def _as(x: np.ndarray, dtype: np.dtype):
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is what is asked for
        y = x.astype(dtype)
    smooth = is_real(x.dtype) and is_real(dtype)
    return y, (lambda dy: dy.astype(x.dtype)) if smooth else None
