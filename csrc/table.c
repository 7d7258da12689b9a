/* The list of this level's kernels for this element type. */
#include "kernels.h"
#include "conv2d.h"

const struct kernels NAME(kernels) = {
    .conv2d_workspace = NAME(conv2d_workspace),
    .conv2d_forward = NAME(conv2d_forward),
    .conv2d_backward_data = NAME(conv2d_backward_data),
    .conv2d_backward_weight = NAME(conv2d_backward_weight),
};
