"""What tensor cores compute, on NumPy arrays: how they cut numbers, and where fragments lie.

PTX ISA, "Matrix Fragments for mma.m16n8k8" and "mma.m16n8k16".
"""

from __future__ import annotations

import numpy as np

from engine._problem import named_dtype

HALVES = {"bf16": "bfloat16", "fp16": "float16"}


def bits_of(a):
    return np.ascontiguousarray(a, np.float32).view(np.uint32)


def cut(bits, nearest=False):
    """Float32 of which only 10 bits of mantissa are left."""
    if bits.dtype != np.uint32:
        bits = bits_of(bits)
    if not nearest:
        return (bits & np.uint32(0xFFFFE000)).view(np.float32)
    rounded = ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    values = bits.view(np.float32)
    return np.where(np.isnan(values), values, rounded)


def split(a):
    """The part that tensor cores multiply, and the rest, rounded for them to cut it off."""
    big = ((bits_of(a) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    rest = (a - big).astype(np.float32)
    return big, (bits_of(rest) + np.uint32(0x1000)).view(np.float32)


def unpacked(kind, words):
    """(numbers in a word, lanes, blocks, threads) in float32."""
    if kind == "tf32":
        return cut(words)[None]
    dtype = named_dtype(HALVES[kind])
    words = np.ascontiguousarray(words, np.uint32)
    halves = words & np.uint32(0xFFFF), words >> np.uint32(16)
    return np.stack([h.astype(np.uint16).view(dtype).astype(np.float32) for h in halves])


def warp_product(tile, a, b):
    """Fragments put together to matrices, multiplied, and taken apart again."""
    blocks, threads = max(tile.shape[1], a.shape[2]), a.shape[3]
    warps = threads // 32
    # thread 4 * g + t of a warp: rows g, g + 8 and words t, t + 4 of a; column g of b
    a = a.reshape(-1, 4, 2, 2, a.shape[2], warps, 8, 4)  # half, tile, word + 4, row + 8, ..., g, t
    left = a.transpose(4, 5, 1, 3, 6, 2, 7, 0).reshape(-1, warps, 64, 8 * a.shape[0])
    b = b.reshape(-1, 4, 2, b.shape[2], warps, 8, 4)
    right = b.transpose(3, 4, 2, 6, 0, 1, 5).reshape(-1, warps, 8 * b.shape[0], 32)
    product = np.matmul(left.astype(np.float64), right.astype(np.float64))
    product = np.broadcast_to(product, (blocks, warps, 64, 32))
    # rows: tile, + 8, g; columns: tile, t, + 1; lane = (tile, + 8) * 8 + (tile, + 1)
    product = product.reshape(blocks, warps, 4, 2, 8, 4, 4, 2).transpose(2, 3, 5, 7, 0, 1, 4, 6)
    return (tile + product.reshape(64, blocks, threads)).astype(np.float32)
