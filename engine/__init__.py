"""Convolution and pooling for NumPy arrays, forward and backward."""

from engine._control import (
    get_num_threads,
    num_threads,
    set_num_threads,
    show_config,
    use_backend,
)
from engine._explain import explain
from engine.adaptive_pool1d import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    adaptive_max_pool1d,
    adaptive_max_pool1d_backward,
)
from engine.adaptive_pool2d import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
)
from engine.adaptive_pool3d import (
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_backward,
    adaptive_max_pool3d,
    adaptive_max_pool3d_backward,
)
from engine.batch_norm import (
    batch_norm,
    batch_norm_backward_data,
    batch_norm_backward_weight,
    moments,
)
from engine.bind_pool2d import bind_pool2d
from engine.bind_softmax import bind_softmax
from engine.chain import chain
from engine.conv1d import conv1d, conv1d_backward, conv1d_backward_data, conv1d_backward_weight
from engine.conv2d import conv2d, conv2d_backward, conv2d_backward_data, conv2d_backward_weight
from engine.conv3d import conv3d, conv3d_backward, conv3d_backward_data, conv3d_backward_weight
from engine.conv_transpose import (
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose1d_backward_data,
    conv_transpose1d_backward_weight,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose2d_backward_data,
    conv_transpose2d_backward_weight,
    conv_transpose3d,
    conv_transpose3d_backward,
    conv_transpose3d_backward_data,
    conv_transpose3d_backward_weight,
)
from engine.global_pool1d import (
    global_avg_pool1d,
    global_avg_pool1d_backward,
    global_lp_pool1d,
    global_lp_pool1d_backward,
    global_max_pool1d,
    global_max_pool1d_backward,
    global_min_pool1d,
    global_min_pool1d_backward,
)
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
from engine.global_pool3d import (
    global_avg_pool3d,
    global_avg_pool3d_backward,
    global_lp_pool3d,
    global_lp_pool3d_backward,
    global_max_pool3d,
    global_max_pool3d_backward,
    global_min_pool3d,
    global_min_pool3d_backward,
)
from engine.max_unpool1d import max_unpool1d, max_unpool1d_backward
from engine.max_unpool2d import max_unpool2d, max_unpool2d_backward
from engine.max_unpool3d import max_unpool3d, max_unpool3d_backward
from engine.plan_conv2d import plan_conv2d
from engine.pool1d import (
    avg_pool1d,
    avg_pool1d_backward,
    lp_pool1d,
    lp_pool1d_backward,
    max_pool1d,
    max_pool1d_backward,
    min_pool1d,
    min_pool1d_backward,
)
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
from engine.pool3d import (
    avg_pool3d,
    avg_pool3d_backward,
    lp_pool3d,
    lp_pool3d_backward,
    max_pool3d,
    max_pool3d_backward,
    min_pool3d,
    min_pool3d_backward,
)
from engine.relu import relu_backward


def __getattr__(name: str) -> str:
    if name == "__version__":  # looked up only when asked for: that takes longer than the import
        from engine._control import version

        return version("convengine")
    raise AttributeError(f"module 'engine' has no attribute '{name}'")


__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool1d_backward", "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward", "adaptive_avg_pool3d", "adaptive_avg_pool3d_backward",
    "adaptive_max_pool1d", "adaptive_max_pool1d_backward", "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward", "adaptive_max_pool3d", "adaptive_max_pool3d_backward",
    "avg_pool1d", "avg_pool1d_backward", "avg_pool2d", "avg_pool2d_backward", "avg_pool3d",
    "avg_pool3d_backward", "batch_norm", "batch_norm_backward_data",
    "batch_norm_backward_weight", "bind_pool2d", "bind_softmax", "chain", "conv1d",
    "conv1d_backward", "conv1d_backward_data", "conv1d_backward_weight", "conv2d",
    "conv2d_backward", "conv2d_backward_data", "conv2d_backward_weight", "conv3d",
    "conv3d_backward", "conv3d_backward_data", "conv3d_backward_weight", "conv_transpose1d",
    "conv_transpose1d_backward", "conv_transpose1d_backward_data",
    "conv_transpose1d_backward_weight", "conv_transpose2d", "conv_transpose2d_backward",
    "conv_transpose2d_backward_data", "conv_transpose2d_backward_weight", "conv_transpose3d",
    "conv_transpose3d_backward", "conv_transpose3d_backward_data",
    "conv_transpose3d_backward_weight", "explain", "get_num_threads", "global_avg_pool1d",
    "global_avg_pool1d_backward", "global_avg_pool2d", "global_avg_pool2d_backward",
    "global_avg_pool3d", "global_avg_pool3d_backward", "global_lp_pool1d",
    "global_lp_pool1d_backward", "global_lp_pool2d", "global_lp_pool2d_backward",
    "global_lp_pool3d", "global_lp_pool3d_backward", "global_max_pool1d",
    "global_max_pool1d_backward", "global_max_pool2d", "global_max_pool2d_backward",
    "global_max_pool3d", "global_max_pool3d_backward", "global_min_pool1d",
    "global_min_pool1d_backward", "global_min_pool2d", "global_min_pool2d_backward",
    "global_min_pool3d", "global_min_pool3d_backward", "lp_pool1d", "lp_pool1d_backward",
    "lp_pool2d", "lp_pool2d_backward", "lp_pool3d", "lp_pool3d_backward", "max_pool1d",
    "max_pool1d_backward", "max_pool2d", "max_pool2d_backward", "max_pool3d",
    "max_pool3d_backward", "max_unpool1d", "max_unpool1d_backward", "max_unpool2d",
    "max_unpool2d_backward", "max_unpool3d", "max_unpool3d_backward", "min_pool1d",
    "min_pool1d_backward", "min_pool2d", "min_pool2d_backward", "min_pool3d",
    "min_pool3d_backward", "moments", "num_threads", "plan_conv2d", "relu_backward",
    "set_num_threads", "show_config", "use_backend",
]
