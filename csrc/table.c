/* The list of this level's kernels for this element type. */
#include "kernels.h"
#include "conv2d.h"
#include "norm.h"
#include "pool2d.h"

const struct kernels NAME(kernels) = {
    .conv2d_workspace = NAME(conv2d_workspace),
    .conv2d_forward = NAME(conv2d_forward),
    .conv2d_backward_data = NAME(conv2d_backward_data),
    .conv2d_backward_weight = NAME(conv2d_backward_weight),
    .conv2d_packed_bytes = NAME(conv2d_packed_bytes),
    .conv2d_pack_weight = NAME(conv2d_pack_weight),
    .conv2d_preferred = NAME(conv2d_preferred),
    .pool2d_workspace = NAME(pool2d_workspace),
    .pool2d_forward = NAME(pool2d_forward),
    .pool2d_backward = NAME(pool2d_backward),
#if ELEM_IS_FLOATING
    .norm_workspace = NAME(norm_workspace),
    .norm_moments = NAME(norm_moments),
    .norm_forward = NAME(norm_forward),
    .norm_backward_weight = NAME(norm_backward_weight),
    .norm_backward_data = NAME(norm_backward_data),
    .relu_backward = NAME(relu_backward),
#endif
};
