/* What one level offers for one element type; dispatch.c picks the table. */
#ifndef ENGINE_KERNELS_H
#define ENGINE_KERNELS_H

#include "engine.h"

struct kernels {
    int64_t (*conv2d_workspace)(const engine_conv2d *, int32_t direction);
    void (*conv2d_forward)(const engine_conv2d *, const void *x, const void *weight, const void *bias, void *y, void *);
    void (*conv2d_backward_data)(const engine_conv2d *, const void *dy, const void *weight, void *dx, void *);
    void (*conv2d_backward_weight)(const engine_conv2d *, const void *dy, const void *x, void *dweight, void *);
    int64_t (*conv2d_packed_bytes)(const engine_conv2d *, int32_t direction);
    void (*conv2d_pack_weight)(const engine_conv2d *, int32_t direction, const void *weight, void *packed);
    int32_t (*conv2d_preferred)(const engine_conv2d *, int32_t direction);
    int64_t (*pool2d_workspace)(const engine_pool2d *, int32_t backward, int32_t indexed);
    void (*pool2d_forward)(const engine_pool2d *, const void *x, void *y, int64_t *indices, void *);
    int32_t (*pool2d_backward)(const engine_pool2d *, const void *dy, const void *x, const int64_t *indices, void *dx, void *);
    /* floating-point only */
    int64_t (*norm_workspace)(const engine_norm *);
    void (*norm_moments)(const engine_norm *, const void *x, void *mean, void *variance, void *);
    void (*norm_forward)(const engine_norm *, const void *x, const engine_affine *, const void *residual, void *y, void *);
    void (*norm_backward_weight)(const engine_norm *, const void *dy, const void *x, const engine_affine *, void *dweight,
                                 void *dbias, void *);
    void (*norm_backward_data)(const engine_norm *, const void *dy, const void *x, const engine_affine *,
                               const void *dweight, const void *dbias, void *dx, void *);
    void (*relu_backward)(const void *dy, const void *y, void *dx, int64_t count, int32_t threads);
};

int level_has_amx(void); /* whether the level in use is the one that may run kernels on tiles */

#endif
