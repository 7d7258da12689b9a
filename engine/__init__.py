"""Convolution and pooling for NumPy arrays, forward and backward."""

from engine._control import (
    get_num_threads,
    num_threads,
    set_num_threads,
    show_config,
    use_backend,
)
from engine._explain import explain
from engine.adaptive_pool2d import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
)
from engine.conv2d import conv2d, conv2d_backward, conv2d_backward_data, conv2d_backward_weight
from engine.conv_transpose import conv_transpose2d, conv_transpose2d_backward
from engine.global_pool2d import (
    global_avg_pool2d,
    global_avg_pool2d_backward,
    global_lp_pool2d,
    global_lp_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
    global_min_pool2d,
    global_min_pool2d_backward,
)
from engine.max_unpool2d import max_unpool2d, max_unpool2d_backward
from engine.plan_conv2d import plan_conv2d
from engine.pool2d import (
    avg_pool2d,
    avg_pool2d_backward,
    lp_pool2d,
    lp_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    min_pool2d,
    min_pool2d_backward,
)


def __getattr__(name):
    if name == "__version__":  # looked up only when asked for: that takes longer than the import
        from engine._control import version

        return version("convengine")
    raise AttributeError(f"module 'engine' has no attribute '{name}'")


__all__ = [
    "adaptive_avg_pool2d", "adaptive_avg_pool2d_backward", "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward", "conv2d",
    "conv2d_backward", "conv2d_backward_data", "conv2d_backward_weight", "conv_transpose2d",
    "conv_transpose2d_backward", "explain", "get_num_threads", "global_avg_pool2d",
    "global_avg_pool2d_backward", "global_lp_pool2d", "global_lp_pool2d_backward",
    "global_max_pool2d", "global_max_pool2d_backward", "global_min_pool2d",
    "global_min_pool2d_backward", "lp_pool2d", "lp_pool2d_backward", "max_pool2d",
    "max_pool2d_backward", "max_unpool2d", "max_unpool2d_backward", "min_pool2d",
    "min_pool2d_backward", "num_threads", "plan_conv2d", "set_num_threads", "show_config",
    "use_backend",
]
