"""Sums, products and powers of arrays that broadcast, with their gradients."""

from __future__ import annotations

import numpy as np

from engine.interop.onnx.table import operator, unbroadcast


def binary(name: str, forward, da, db):
    """Enter y = forward(a, b), with the gradients da(dy, a, b, y) and db(dy, a, b, y)."""
    @operator(name, weights=(0, 1))
    def run(call, a, b):
        given = b.shape
        if call.opset < 7:
            b = _aligned(call, a, b)
        y = forward(a, b)

        def backward(dy):
            return (unbroadcast(da(dy, a, b, y), a.shape) if 0 in call.wants else None,
                    unbroadcast(db(dy, a, b, y), b.shape).reshape(given) if 1 in call.wants
                    else None)
        return y, da and backward


def _aligned(call, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Before version 7, `axis` could say with which axis of a the first one of b goes."""
    axis = call.get("axis")
    if axis is None or b.ndim == 0:
        return b
    return b.reshape(*b.shape, *[1] * (a.ndim - axis % a.ndim - b.ndim))


def _divide(a, b):
    if a.dtype.kind not in "iu":
        return a / b
    quotient = a // b  # rounds down, C and ONNX towards zero
    return (quotient + ((a % b != 0) & ((a < 0) != (b < 0)))).astype(a.dtype)


def _power(a, b):
    return np.power(a, b).astype(a.dtype)


def _d_exponent(dy, a, b, y):
    positive = a > 0
    return dy * np.where(positive, y * np.log(np.where(positive, a, 1)), 0).astype(y.dtype)


binary("Add", np.add, lambda dy, a, b, y: dy, lambda dy, a, b, y: dy)
binary("Sub", np.subtract, lambda dy, a, b, y: dy, lambda dy, a, b, y: -dy)
binary("Mul", np.multiply, lambda dy, a, b, y: dy * b, lambda dy, a, b, y: dy * a)
binary("Div", _divide, lambda dy, a, b, y: dy / b, lambda dy, a, b, y: -dy * y / b)
binary("Pow", _power, lambda dy, a, b, y: dy * (b * np.power(a, b - 1)).astype(dy.dtype),
       _d_exponent)


@operator("Mod")
def mod(call, a, b):
    return (np.fmod if call.get("fmod", 0) else np.mod)(a, b), None


@operator("Sum", "Mean")
def total(call, *arrays):
    """The sum of all inputs, or their mean."""
    y = arrays[0]
    for each in arrays[1:]:
        y = y + each
    share = y.dtype.type(len(arrays) if call.node.op == "Mean" else 1)

    def backward(dy):
        return tuple(unbroadcast(dy / share if share != 1 else dy, each.shape) for each in arrays)
    return (y / share if share != 1 else y), backward


@operator("Max", "Min")
def extreme(call, *arrays):
    """The largest or smallest of all inputs at each place; the first of equal ones."""
    pick = np.maximum if call.node.op == "Max" else np.minimum
    y = arrays[0]
    for each in arrays[1:]:
        y = pick(y, each)

    def backward(dy):
        gradients, free = [], np.ones(y.shape, bool)
        for each in arrays:
            here = free & (each == y)
            free &= ~here
            gradients.append(unbroadcast(dy * here, each.shape))
        return tuple(gradients)
    return y, backward


@operator("Where")
def where(call, condition, a, b):
    def backward(dy):
        return (None, unbroadcast(np.where(condition, dy, 0), a.shape),
                unbroadcast(np.where(condition, 0, dy), b.shape))
    return np.where(condition, a, b), backward


@operator("CumSum")
def cumulative_sum(call, x, axis):
    axis, exclusive, reverse = int(axis), call.get("exclusive", 0), call.get("reverse", 0)
    return (_running(x, axis, exclusive, reverse),
            lambda dy: (_running(dy, axis, exclusive, not reverse), None))


def _running(x, axis: int, exclusive, reverse) -> np.ndarray:
    """Sums of all elements up to each, without itself if `exclusive`, or from there on."""
    x = np.flip(x, axis) if reverse else x
    y = np.cumsum(x, axis=axis, dtype=x.dtype)
    y = y - x if exclusive else y
    return np.flip(y, axis) if reverse else y


@operator("Det")
def determinant(call, x):
    y = np.linalg.det(x).astype(x.dtype)

    def backward(dy):
        return (dy * y)[..., None, None] * np.linalg.inv(x).swapaxes(-1, -2)
    return y, backward


@operator("Einsum")
def einsum(call, *arrays):
    """Einstein's sums, named by letters; gradients where every letter of an input is elsewhere."""
    equation = call["equation"].replace(" ", "")
    if arrays[0].dtype.name == "bfloat16":  # NumPy cannot
        y = np.einsum(equation, *(each.astype(np.float32) for each in arrays))
    else:
        y = np.einsum(equation, *arrays)

    def backward(dy):
        inputs, _, output = equation.partition("->")
        terms = inputs.split(",")
        if not output or "." in equation or any(len(set(t)) < len(t) for t in terms):
            raise NotImplementedError(f"{call.node.label}: no gradient of `equation` "
                                      f"{equation!r}, expected one with '->', without '...' and "
                                      "without a letter twice in one input")
        return tuple(_einsum_gradient(i, terms, output, arrays, dy) for i in range(len(terms)))
    return y.astype(arrays[0].dtype, copy=False), backward


def _einsum_gradient(i, terms, output, arrays, dy):
    others = [(term, each) for j, (term, each) in enumerate(zip(terms, arrays, strict=True))
              if j != i]
    known = set(output).union(*(term for term, _ in others))
    reached = "".join(letter for letter in terms[i] if letter in known)
    equation = ",".join([output, *(term for term, _ in others)]) + "->" + reached
    part = np.einsum(equation, dy, *(each for _, each in others))
    shape = [size if letter in known else 1
             for letter, size in zip(terms[i], arrays[i].shape, strict=True)]
    return np.broadcast_to(part.reshape(shape), arrays[i].shape)
