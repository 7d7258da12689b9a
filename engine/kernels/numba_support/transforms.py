"""Winograd's transforms: M d M^T for a small constant matrix M, one channel per lane.

F(4, 3) gives four outputs y of a correlation with three weights g, from six inputs d, in six
multiplications:  y = A^T [(G g) * (B^T d)].  The matrices come from interpolation (Cook and Toom)
at the points 0, a, -a, b, -b and infinity.  Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks" (2015), take a = 1 and b = 2; with products near one, as of a = 3/4 and b = 3/2,
rounding is that of a plain sum (Barabasz et al., "Error Analysis and Improving the Accuracy of
Winograd Convolution", 2020).
"""

from __future__ import annotations

from fractions import Fraction
from math import prod

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import (
    INDEX,
    broadcast,
    element_pointer,
    llvm_element,
    load_vector,
    multiply_add,
    store_vector,
    vector_of,
)

POINTS = [Fraction(sign * p, 4) for p, sign in ((0, 1), (3, 1), (3, -1), (6, 1), (6, -1))]


def _with_roots(roots):
    """The coefficients, lowest first, of the polynomial with these roots."""
    poly = [Fraction(1)]
    for root in roots:
        poly = [high - root * low for high, low in zip([0, *poly], [*poly, 0], strict=True)]
    return poly


def _matrices(outputs, weights):
    """A^T, G and B^T of F(outputs, weights)."""
    others = [[q for q in POINTS if q != p] for p in POINTS]
    norms = [prod(p - q for q in rest) for p, rest in zip(POINTS, others, strict=True)]
    a = [[p**i for p in POINTS] + [int(i == outputs - 1)] for i in range(outputs)]
    g = [[p**i / norm for i in range(weights)] for p, norm in zip(POINTS, norms, strict=True)]
    b = [[*_with_roots(rest), 0] for rest in others] + [_with_roots(POINTS)]
    return a, [*g, [0] * (weights - 1) + [1]], b


A, G, B = _matrices(4, 3)
A_GRADIENT, G_GRADIENT, _ = _matrices(3, 4)  # the same with the roles of y and g exchanged
MATRICES = {"output": A, "weight": G, "input": B,
            "weight gradient": A_GRADIENT, "output gradient": G_GRADIENT}


@intrinsic(prefer_literal=True)
def transform(typingctx, which, source, cells, target, row_step, col_step):
    """target[i*row_step + j*col_step] = M d M^T, where d is a square of vectors.

    ``which`` is a constant, the name of M; the vectors of d are ``cells[...]`` from ``source``.
    """
    if not isinstance(which, types.StringLiteral):
        return None
    matrix = MATRICES[which.literal_value]

    def codegen(context, builder, sig, args):
        _, source_at, cells_at, target_at, *steps = args
        dtype = source.dtype
        element, align = llvm_element(context, dtype), dtype.bitwidth // 8
        vector = ir.VectorType(element, vector_of(dtype).lanes)
        size = len(matrix[0])

        def cell(i, j):
            index = ir.Constant(INDEX, i * size + j)
            offset = builder.load(element_pointer(builder, INDEX, cells_at, index), typ=INDEX)
            return load_vector(builder, vector,
                               element_pointer(builder, element, source_at, offset), align)

        columns = [_apply(builder, matrix, [cell(i, j) for i in range(size)])
                   for j in range(size)]
        for i in range(len(matrix)):
            row = _apply(builder, matrix, [column[i] for column in columns])
            for j, value in enumerate(row):
                place = builder.add(builder.mul(steps[0], ir.Constant(INDEX, i)),
                                    builder.mul(steps[1], ir.Constant(INDEX, j)))
                store_vector(builder, value,
                             element_pointer(builder, element, target_at, place), align)
        return context.get_dummy_value()

    return types.void(which, source, types.CPointer(types.int64), source, types.intp,
                      types.intp), codegen


def _apply(builder, matrix, values):
    """The matrix times a column of vectors.

    The points p and -p make pairs of rows, or of columns, that differ in every other sign: their
    even and their odd terms are summed once, or they are added and subtracted first.
    """
    if len(matrix) < len(values):  # pairs of columns: of A^T
        values, matrix = list(values), [list(row) for row in matrix]
        for k in (1, 3):
            values[k], values[k + 1] = (builder.fadd(*values[k:k + 2]),
                                        builder.fsub(*values[k:k + 2]))
            for i, row in enumerate(matrix):
                row[k + i % 2], row[k + 1 - i % 2] = row[k], 0
        return [_dot(builder, row, values) for row in matrix]
    result = []
    for first in (0, 1, 3, 5):
        row = matrix[first]
        if first in (0, 5):
            result.append(_dot(builder, row, values))
            continue
        even, odd = (_dot(builder, [c if k % 2 == part else 0 for k, c in enumerate(row)], values)
                     for part in (0, 1))
        result += [builder.fadd(even, odd), builder.fsub(even, odd)]
    return result


def _dot(builder, coefficients, values):
    """Sum of the products, those with 1 first."""
    terms = sorted(((c, v) for c, v in zip(coefficients, values, strict=True) if c),
                   key=lambda term: term[0] != 1)
    total = None
    for c, value in terms:
        scale = broadcast(builder, ir.Constant(value.type.element, float(c)), value.type.count)
        if total is None:
            total = value if c == 1 else builder.fmul(value, scale)
        elif c == 1:
            total = builder.fadd(total, value)
        else:
            total = multiply_add(builder, value, scale, total)
    return total
