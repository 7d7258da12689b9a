"""Functions of one element, with their slopes, and the softmaxes."""

from __future__ import annotations

import math

import numpy as np

from engine.interop.onnx.table import operator, unbroadcast
from engine.nn.activations import sigmoid, softmax


def elementwise(name: str, forward, slope, **defaults):
    """Enter y = forward(x, **attributes), with dy/dx = slope(x, y, **attributes).

    `defaults` are the attributes with the values they have where a node does not give them.
    """
    @operator(name)
    def run(call, x):
        options = {key: x.dtype.type(call.get(key, value)) for key, value in defaults.items()}
        y = forward(x, **options).astype(x.dtype, copy=False)
        return y, slope and (lambda dy: dy * slope(x, y, **options).astype(x.dtype, copy=False))


_erf = np.vectorize(math.erf, otypes=[float])


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _normal_density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


elementwise("Abs", np.abs, lambda x, y: np.sign(x))
elementwise("Neg", np.negative, lambda x, y: np.full_like(x, -1))
elementwise("Exp", np.exp, lambda x, y: y)
elementwise("Log", np.log, lambda x, y: 1 / x)
elementwise("Sqrt", np.sqrt, lambda x, y: 0.5 / y)
elementwise("Reciprocal", lambda x: 1 / x, lambda x, y: -y * y)
elementwise("Erf", _erf, lambda x, y: 2 / math.sqrt(math.pi) * np.exp(-x * x))
elementwise("Sin", np.sin, lambda x, y: np.cos(x))
elementwise("Cos", np.cos, lambda x, y: -np.sin(x))
elementwise("Tan", np.tan, lambda x, y: 1 + y * y)
elementwise("Asin", np.arcsin, lambda x, y: 1 / np.sqrt(1 - x * x))
elementwise("Acos", np.arccos, lambda x, y: -1 / np.sqrt(1 - x * x))
elementwise("Atan", np.arctan, lambda x, y: 1 / (1 + x * x))
elementwise("Sinh", np.sinh, lambda x, y: np.cosh(x))
elementwise("Cosh", np.cosh, lambda x, y: np.sinh(x))
elementwise("Asinh", np.arcsinh, lambda x, y: 1 / np.sqrt(x * x + 1))
elementwise("Acosh", np.arccosh, lambda x, y: 1 / np.sqrt(x * x - 1))
elementwise("Atanh", np.arctanh, lambda x, y: 1 / (1 - x * x))
elementwise("Floor", np.floor, None)
elementwise("Ceil", np.ceil, None)
elementwise("Round", np.rint, None)
elementwise("Sign", np.sign, None)

elementwise("Relu", lambda x: np.maximum(x, 0), lambda x, y: y > 0)
elementwise("LeakyRelu", lambda x, alpha: np.where(x >= 0, x, alpha * x),
            lambda x, y, alpha: np.where(x >= 0, 1, alpha), alpha=0.01)
elementwise("ThresholdedRelu", lambda x, alpha: np.where(x > alpha, x, 0),
            lambda x, y, alpha: x > alpha, alpha=1.0)
elementwise("Elu", lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
            lambda x, y, alpha: np.where(x > 0, 1, y + alpha), alpha=1.0)
elementwise("Celu", lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
            lambda x, y, alpha: np.where(x > 0, 1, y / alpha + 1), alpha=1.0)
elementwise("Selu", lambda x, alpha, gamma:
            gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
            lambda x, y, alpha, gamma: np.where(x > 0, gamma, y + gamma * alpha),
            alpha=1.67326319217681884765625, gamma=1.05070102214813232421875)
elementwise("Sigmoid", sigmoid, lambda x, y: y * (1 - y))
elementwise("HardSigmoid", lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
            lambda x, y, alpha, beta: np.where((y > 0) & (y < 1), alpha, 0), alpha=0.2, beta=0.5)
elementwise("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
            lambda x, y: np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)))
elementwise("Swish", lambda x, alpha: x * sigmoid(alpha * x),
            lambda x, y, alpha: sigmoid(alpha * x) + alpha * y * (1 - sigmoid(alpha * x)),
            alpha=1.0)
elementwise("Mish", lambda x: x * np.tanh(_softplus(x)),
            lambda x, y: np.tanh(_softplus(x))
            + x * sigmoid(x) * (1 - np.tanh(_softplus(x)) ** 2))
elementwise("Tanh", np.tanh, lambda x, y: 1 - y * y)
elementwise("Softplus", _softplus, lambda x, y: sigmoid(x))
elementwise("Softsign", lambda x: x / (1 + np.abs(x)), lambda x, y: (1 - np.abs(y)) ** 2)
elementwise("Shrink", lambda x, bias, lambd:
            np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0)),
            lambda x, y, bias, lambd: np.abs(x) > lambd, bias=0.0, lambd=0.5)


@operator("Gelu")
def gelu(call, x):
    """x times the normal distribution function (Hendrycks and Gimpel 2016), or nearly so."""
    if call.get("approximate", "none") == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)
        half = 0.5 * (1 + np.tanh(inner))
        slope = 2 * half * (1 - half) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    else:
        half = 0.5 * (1 + _erf(x / math.sqrt(2)))
        slope = _normal_density(x)
    y = (x * half).astype(x.dtype)
    return y, lambda dy: (dy * (half + x * slope)).astype(x.dtype)


@operator("PRelu", weights=(1,))
def prelu(call, x, slope):
    if call.opset < 7 and slope.ndim == 1 and slope.size > 1:  # one for each channel
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
        given = (slope.size,)
    else:
        given = slope.shape
    y = np.where(x >= 0, x, x * slope)

    def backward(dy):
        dslope = unbroadcast(dy * np.minimum(x, 0), slope.shape).reshape(given)
        return dy * np.where(x >= 0, 1, slope).astype(x.dtype), dslope
    return y, backward


@operator("Clip")
def clip(call, x, low=None, high=None):
    low = call.get("min") if low is None else low
    high = call.get("max") if high is None else high
    y = x if low is None else np.maximum(x, low)
    y = y if high is None else np.minimum(y, high)
    y = y.astype(x.dtype, copy=False)
    return y, lambda dy: (dy * (x == y), None, None)


def _along(call, x):
    """x as rows to be normalised, and the way back; before version 13 all axes behind are one."""
    if call.opset >= 13:
        axis = call.get("axis", -1)
        return np.moveaxis(x, axis, -1), lambda rows: np.moveaxis(rows, -1, axis)
    axis = call.get("axis", 1) % max(x.ndim, 1)
    rows = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return x.reshape(rows), lambda y: y.reshape(x.shape)


@operator("Softmax")
def softmax_along(call, x):
    rows, back = _along(call, x)
    y = softmax(rows)

    def backward(dy):
        dy, _ = _along(call, dy)
        return back(y * (dy - (dy * y).sum(axis=-1, keepdims=True)))
    return back(y), backward


@operator("LogSoftmax")
def log_softmax(call, x):
    rows, back = _along(call, x)
    y = rows - rows.max(axis=-1, keepdims=True)
    y = y - np.log(np.exp(y).sum(axis=-1, keepdims=True))

    def backward(dy):
        dy, _ = _along(call, dy)
        return back(dy - np.exp(y) * dy.sum(axis=-1, keepdims=True))
    return back(y), backward


@operator("Hardmax")
def hardmax(call, x):
    rows, back = _along(call, x)
    y = np.zeros_like(rows)
    np.put_along_axis(y, rows.argmax(axis=-1, keepdims=True), 1, axis=-1)
    return back(y), None
