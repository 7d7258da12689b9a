"""BatchNormalization, LRN, instance, layer and Lp normalisation; Dropout."""

from __future__ import annotations

import numpy as np

from engine.interop.onnx.table import operator, unbroadcast


def _old_training(node):
    if node.attributes.get("spatial", 1) == 0:
        return "spatial=0"
    return "outputs of training" if node.opset < 14 and len(node.outputs) > 1 else None


@operator("BatchNormalization", weights=(1, 2), refuses=_old_training)
def batch_normalization(call, x, scale, bias, mean, var):
    """With the statistics of the file, unless it says that it trains (Ioffe and Szegedy 2015).

    The new statistics, its other outputs then, have no gradient.
    """
    channels = (1, -1, *[1] * (x.ndim - 2))
    axes = (0, *range(2, x.ndim))
    eps, momentum = call.get("epsilon", 1e-5), call.get("momentum", 0.9)
    if call.get("training_mode", 0):
        batch_mean, batch_var = x.mean(axis=axes), x.var(axis=axes)
        running = tuple((momentum * old + (1 - momentum) * new).astype(old.dtype)
                        for old, new in ((mean, batch_mean), (var, batch_var)))
        y, backward = _normalize(x, scale.reshape(channels), bias.reshape(channels), axes, eps)

        def in_one(dy, *_):
            dx, dscale, dbias = backward(dy)
            return dx, dscale.ravel(), dbias.ravel(), None, None
        return (y, *running), in_one
    inverse = 1 / np.sqrt(var + x.dtype.type(eps))
    factor = scale * inverse
    y = x * factor.reshape(channels)
    y += (bias - mean * factor).reshape(channels)

    def backward(dy):
        dscale = dbias = None
        if 1 in call.wants:
            dscale = ((dy * x).sum(axis=axes) - mean * dy.sum(axis=axes)) * inverse
        if 2 in call.wants:
            dbias = dy.sum(axis=axes)
        dx = dy * factor.reshape(channels) if 0 in call.wants else None
        return dx, dscale, dbias, None, None
    return y.astype(x.dtype, copy=False), backward


def _normalize(x, scale, bias, axes, eps):
    """(x - mean) / sqrt(var + eps) * scale + bias over those axes, and its gradients."""
    mean = x.mean(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + x.dtype.type(eps))
    unit = (x - mean) * inverse
    y = unit * scale
    if bias is not None:
        y = y + bias

    def backward(dy):
        dunit = dy * scale
        dx = inverse * (dunit - dunit.mean(axis=axes, keepdims=True)
                        - unit * (dunit * unit).mean(axis=axes, keepdims=True))
        dbias = None if bias is None else unbroadcast(dy, bias.shape)
        return dx, unbroadcast(dy * unit, scale.shape), dbias
    return y.astype(x.dtype, copy=False), backward


@operator("InstanceNormalization", weights=(1, 2))
def instance_normalization(call, x, scale, bias):
    channels = (1, -1, *[1] * (x.ndim - 2))
    y, backward = _normalize(x, scale.reshape(channels), bias.reshape(channels),
                             tuple(range(2, x.ndim)), call.get("epsilon", 1e-5))

    def in_rows(dy):
        dx, dscale, dbias = backward(dy)
        return dx, dscale.ravel(), dbias.ravel()
    return y, in_rows


@operator("LayerNormalization", weights=(1, 2))
def layer_normalization(call, x, scale, bias=None):
    """Ba et al. 2016; the statistics it can also give have no gradient."""
    axes = tuple(range(call.get("axis", -1) % x.ndim, x.ndim))
    eps = call.get("epsilon", 1e-5)
    y, backward = _normalize(x, scale, bias, axes, eps)
    outputs = [y]
    if len(call.node.outputs) > 1:
        outputs.append(x.mean(axis=axes, keepdims=True))
        outputs.append(1 / np.sqrt(x.var(axis=axes, keepdims=True) + x.dtype.type(eps)))
    return tuple(outputs), lambda dy, *_: backward(dy)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(call, x):
    y, backward = _normalize(x, np.ones(1, x.dtype), None, tuple(call.get("axes", (0, 2, 3))), 1e-9)
    return y, lambda dy: backward(dy)[0]


@operator("LRN")
def local_response_normalization(call, x):
    """x / (bias + alpha / size * sum of squares of near channels) ** beta (Krizhevsky 2012)."""
    size, beta = call["size"], x.dtype.type(call.get("beta", 0.75))
    alpha = x.dtype.type(call.get("alpha", 1e-4) / size)
    before, after = (size - 1) // 2, size // 2
    base = x.dtype.type(call.get("bias", 1.0)) + alpha * _near(x * x, before, after)
    power = base ** -beta

    def backward(dy):
        return dy * power - 2 * alpha * beta * x * _near(dy * x * power / base, after, before)
    return x * power, backward


def _near(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """For every channel the sum over those around it."""
    channels = x.shape[1]
    result = x.copy()
    for step in range(1, min(after, channels - 1) + 1):
        result[:, :-step] += x[:, step:]
    for step in range(1, min(before, channels - 1) + 1):
        result[:, step:] += x[:, :-step]
    return result


@operator("LpNormalization")
def lp_normalization(call, x):
    axis, p = call.get("axis", -1), call.get("p", 2)
    norm = np.linalg.norm(x, ord=p, axis=axis, keepdims=True).astype(x.dtype)
    inverse = np.divide(1, norm, out=np.zeros_like(norm), where=norm != 0)
    y = x * inverse

    def backward(dy):
        slope = np.sign(x) if p == 1 else y  # of the norm
        return (dy - slope * (dy * y).sum(axis=axis, keepdims=True)) * inverse
    return y, backward


@operator("Dropout")
def dropout(call, x, ratio=None, training_mode=None):
    """Nothing outside training; in training that of Srivastava et al. 2014, scaled up."""
    rate = call.get("ratio", 0.5) if ratio is None else float(ratio)
    training = call.training or (training_mode is not None and bool(training_mode))
    if not training or rate == 0:
        outputs = (x, np.ones(x.shape, bool)) if len(call.node.outputs) > 1 else x
        return outputs, lambda dy, *_: (dy, None, None)
    kept = (call.rng or np.random.default_rng(call.get("seed"))).random(x.shape) >= rate
    mask = kept * x.dtype.type(1 / (1 - rate))
    return (x * mask, kept), lambda dy, *_: (dy * mask, None, None)
