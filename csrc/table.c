/* The list of this level's kernels for this element type. */
#include "kernels.h"
#include "conv2d.h"
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
};
