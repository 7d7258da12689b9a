"""Comparisons, logic and bits: operators without a slope."""

from __future__ import annotations

import numpy as np

from engine.interop.onnx.operators.arithmetic import _aligned
from engine.interop.onnx.table import operator

FUNCTIONS = {
    "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
    "Less": np.less, "LessOrEqual": np.less_equal,
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor, "Not": np.logical_not,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
    "BitwiseNot": np.bitwise_not, "IsNaN": np.isnan,
}


@operator(*FUNCTIONS)
def logic(call, *arrays):
    if call.opset < 7 and len(arrays) == 2:
        arrays = arrays[0], _aligned(call, *arrays)
    return FUNCTIONS[call.node.op](*arrays), None


@operator("IsInf")
def is_inf(call, x):
    positive, negative = call.get("detect_positive", 1), call.get("detect_negative", 1)
    return np.isinf(x) & ((x > 0) & bool(positive) | (x < 0) & bool(negative)), None


@operator("BitShift")
def bit_shift(call, x, steps):
    shift = np.left_shift if call["direction"] == "LEFT" else np.right_shift
    return shift(x, steps), None
