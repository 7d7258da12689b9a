"""Convolution and pooling for NumPy arrays, forward and backward."""

from engine._control import get_num_threads, num_threads, set_num_threads, use_backend
from engine.conv2d import conv2d, conv2d_backward, conv2d_backward_data, conv2d_backward_weight

__all__ = [
    "conv2d", "conv2d_backward", "conv2d_backward_data", "conv2d_backward_weight",
    "get_num_threads", "num_threads", "set_num_threads", "use_backend",
]
