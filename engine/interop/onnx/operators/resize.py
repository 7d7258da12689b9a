"""Upsample and Resize: along each axis a matrix that mixes old pixels into new ones."""

from __future__ import annotations

import math

import numpy as np

from engine.interop.onnx.table import Call, operator


def _refuses(node):
    attributes = node.attributes
    mode = attributes.get("mode", "nearest")
    where = attributes.get("coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear", "bilinear", "cubic"):
        return f"mode={mode}"
    return f"coordinate_transformation_mode={where}" if where == "tf_crop_and_resize" else None


@operator("Upsample", refuses=_refuses)
def upsample(call, x, scales=None):
    scales = call.get("scales") if scales is None else [float(each) for each in scales]
    sizes = [math.floor(n * s) for n, s in zip(x.shape, scales, strict=True)]
    return _mix(x, [_matrix(call, *axis, where="asymmetric", rounding="floor")
                    for axis in zip(x.shape, sizes, scales, strict=True)])


@operator("Resize", refuses=_refuses)
def resize(call, x, roi=None, scales=None, sizes=None):
    if call.opset < 11:  # then there was no roi, and scales stood in its place
        roi, scales = None, roi
    axes = [axis % x.ndim for axis in call.get("axes", range(x.ndim))]
    new, factors = list(x.shape), [1.0] * x.ndim
    if sizes is not None and sizes.size:
        given = [int(each) / x.shape[axis] for axis, each in zip(axes, sizes, strict=True)]
        policy = call.get("keep_aspect_ratio_policy", "stretch")
        kept = {"stretch": None, "not_larger": min, "not_smaller": max}[policy]
        for axis, size, factor in zip(axes, sizes, given, strict=True):
            factors[axis] = kept(given) if kept else factor
            new[axis] = math.floor(factors[axis] * x.shape[axis] + 0.5) if kept else int(size)
    else:
        for axis, factor in zip(axes, scales, strict=True):
            factors[axis] = float(factor)
            new[axis] = math.floor(x.shape[axis] * float(factor))
    where = call.get("coordinate_transformation_mode",
                     "half_pixel" if call.opset >= 11 else "asymmetric")
    rounding = call.get("nearest_mode", "round_prefer_floor" if call.opset >= 11 else "floor")
    return _mix(x, [_matrix(call, *axis, where=where, rounding=rounding)
                    for axis in zip(x.shape, new, factors, strict=True)])


def _mix(x: np.ndarray, matrices):
    """Every axis multiplied by its matrix (new, old), and backwards by the transposed ones."""
    def along(array, transposed):
        dtype = array.dtype
        for axis, matrix in enumerate(matrices):
            if matrix is not None:
                mixed = np.tensordot(array, matrix.T if transposed else matrix, (axis, 1))
                array = np.moveaxis(mixed, -1, axis)
        return array.astype(dtype)
    return along(x, False), lambda dy: (along(dy, True), None, None, None)


def _matrix(call: Call, old: int, new: int, scale: float, where: str, rounding: str):
    """Row i has the weights with which the old pixels make up the new pixel i."""
    if new == old and scale == 1:
        return None
    mode = call.get("mode", "nearest")
    source = _coordinates(where, old, new, scale)
    if mode == "nearest":
        picked = _round(source, rounding).clip(0, old - 1).astype(int)
        return np.eye(old)[picked]
    reach = 1.0 / scale if call.get("antialias", 0) and scale < 1 else 1.0
    width = 2 if mode == "cubic" else 1
    base = np.floor(source)
    steps = np.arange(-math.ceil(width * reach) + 1, math.ceil(width * reach) + 1)
    taps = base[:, None] + steps
    distance = np.abs(source[:, None] - taps) / reach
    if mode == "cubic":
        weights = _cubic(distance, call.get("cubic_coeff_a", -0.75))
    else:
        weights = np.maximum(0, 1 - distance)
    if call.get("exclude_outside", 0):
        weights = weights * ((taps >= 0) & (taps < old))
    weights = weights / weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((new, old))
    rows = np.broadcast_to(np.arange(new)[:, None], taps.shape)
    np.add.at(matrix, (rows, taps.clip(0, old - 1).astype(int)), weights)
    return matrix


def _coordinates(where: str, old: int, new: int, scale: float) -> np.ndarray:
    """Where in the old line the middles of the new pixels lie."""
    i = np.arange(new)
    if where == "align_corners":
        wide = scale * old  # perhaps a part of a pixel more than `new`
        return i * ((old - 1) / (wide - 1)) if wide > 1 else i * 0.0
    if where == "asymmetric":
        return i / scale
    if where == "pytorch_half_pixel" and new == 1:
        return i * 0.0
    if where == "half_pixel_symmetric":  # `scale` may promise a part of a pixel more
        middle = old / 2 * (1 - new / (scale * old))
        return middle + (i + 0.5) / scale - 0.5
    return (i + 0.5) / scale - 0.5


def _round(source: np.ndarray, rounding: str) -> np.ndarray:
    if rounding == "floor":
        return np.floor(source)
    if rounding == "ceil":
        return np.ceil(source)
    if rounding == "round_prefer_ceil":
        return np.floor(source + 0.5)
    return np.ceil(source - 0.5)  # round_prefer_floor


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys 1981, equation 15 with a free slope a."""
    d = distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
