"""Gemm and MatMul."""

from __future__ import annotations

import numpy as np

import engine
from engine.interop.onnx.table import operator, unbroadcast


@operator("Gemm", weights=(0, 1, 2))
def gemm(call, a, b, c=None):
    """alpha * a @ b + beta * c, either factor transposed if asked for."""
    dtype = a.dtype.type
    alpha, beta = dtype(call.get("alpha", 1.0)), dtype(call.get("beta", 1.0))
    left = a.T if call.get("transA", 0) else a
    right = b.T if call.get("transB", 0) else b
    if alpha == beta == 1 and _is_dense(call, a, b, c):
        y = engine.conv2d(a[:, :, None, None], b[:, :, None, None], c)[:, :, 0, 0]
    else:
        y = left @ right
        if alpha != 1:
            y = alpha * y
        if c is not None:
            y = y + (c if beta == 1 else beta * c)

    def backward(dy):
        da = db = dc = None
        scaled = dy if alpha == 1 else alpha * dy
        if 0 in call.wants:
            da = scaled @ right.T
            da = da.T if call.get("transA", 0) else da
        if 1 in call.wants:
            db = left.T @ scaled
            db = db.T if call.get("transB", 0) else db
        if 2 in call.wants:
            dc = unbroadcast(beta * dy, c.shape)
        return da, db, dc
    return y.astype(a.dtype, copy=False), backward


def _is_dense(call, a, b, c) -> bool:
    """Whether it is what `nn.Dense` computes, and so by the same kernels, bit for bit."""
    return (bool(call.get("transB", 0)) and not call.get("transA", 0)
            and a.dtype == b.dtype and a.dtype in (np.float32, np.float64) and a.size > 0 < b.size
            and (c is None or (c.shape == b.shape[:1] and c.dtype == a.dtype)))


@operator("MatMul", weights=(0, 1))
def matmul(call, a, b):
    def backward(dy):
        # A vector counts as one row or one column, which the result then does not have.
        rows, columns = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b
        if b.ndim == 1:
            dy = dy[..., None]
        if a.ndim == 1:
            dy = dy[..., None, :]
        da = db = None
        if 0 in call.wants:
            da = unbroadcast(dy @ columns.swapaxes(-1, -2), rows.shape).reshape(a.shape)
        if 1 in call.wants:
            db = unbroadcast(rows.swapaxes(-1, -2) @ dy, columns.shape).reshape(b.shape)
        return da, db
    return np.matmul(a, b).astype(a.dtype, copy=False), backward  # NumPy widens bfloat16


@operator("MatMulInteger")
def matmul_integer(call, a, b, a_zero=None, b_zero=None):
    a, b = a.astype(np.int32), b.astype(np.int32)
    if a_zero is not None:  # one for all or one for each row
        a_zero = np.int32(a_zero)
        a = a - (a_zero[:, None] if a_zero.size > 1 else a_zero)
    if b_zero is not None:
        b = b - np.int32(b_zero)
    return a @ b, None
