"""3-D convolution, forward and backward, by the 2-D kernels of the C library."""

from __future__ import annotations

from engine.kernels import conv2d_c
from engine.kernels.slabs import Slabs

ALGORITHMS = conv2d_c.ALGORITHMS

_slabs = Slabs(conv2d_c)
refusal, order = _slabs.refusal, _slabs.order
forward = _slabs.forward
backward_data, backward_weight = _slabs.backward_data, _slabs.backward_weight
backward_bias = _slabs.backward_bias
