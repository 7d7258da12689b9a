"""3-D convolution on a GPU, forward and backward, by the 2-D kernels."""

from __future__ import annotations

from engine import _activation
from engine.kernels import conv2d_cuda
from engine.kernels.slabs import Slabs

from .cuda_support.recorded import recorded

ALGORITHMS = conv2d_cuda.ALGORITHMS

_slabs = Slabs(conv2d_cuda)
refusal, order = _slabs.refusal, _slabs.order


def forward(problem, algorithm, x, weight, bias, y) -> None:
    _slabs.forward(problem, algorithm, *recorded(x, weight, bias, y))


def backward_data(problem, algorithm, dy, weight, dx) -> None:
    _slabs.backward_data(problem, algorithm, *recorded(dy, weight, dx))


def backward_data_finished(problem, algorithm, activation, dy, weight, bias, dx) -> None:
    """As a transposed convolution: with a bias and an activation of dx."""
    backward_data(problem, algorithm, dy, weight, dx)
    bias, dx = recorded(bias, dx)
    if bias is not None:
        dx += bias[:, None, None, None]
    _activation.apply(activation, dx)


def backward_weight(problem, algorithm, dy, x, dweight) -> None:
    _slabs.backward_weight(problem, algorithm, *recorded(dy, x, dweight))


def backward_bias(problem, dy, dbias) -> None:
    _slabs.backward_bias(problem, *recorded(dy, dbias))
