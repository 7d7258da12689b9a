"""3-D pooling on a GPU, forward and backward, by the 2-D kernels.

The first extreme in depth of the planes' first extremes is the first of the window, so gradients of
extremes go back along the depth and then in every plane, as those of means and norms do.
"""

from __future__ import annotations

from engine.kernels import pool2d_cuda
from engine.kernels.separable import Separable, blocks

from .cuda_support.recorded import recorded

CHECKS_INDICES = True  # there are none

_separable = Separable(pool2d_cuda)
refusal = _separable.refusal


def forward(problem, x, y, indices) -> None:
    _separable.forward(problem, *recorded(x, y, indices))


def backward(problem, dy, x, indices, dx) -> None:
    dy, x, dx = recorded(dy, x, dx)
    for here in blocks(problem):
        _separable.backward_of_block(problem, dy[here], None if x is None else x[here], dx[here])
