/* Batch normalisation and the gradient of max(x, 0): passes over memory, floating-point only. */
#ifndef ENGINE_NORM_H
#define ENGINE_NORM_H

#include "engine.h"
#include "vec.h"

int64_t NAME(norm_workspace)(const engine_norm *p);
void NAME(norm_moments)(const engine_norm *p, const void *x, void *mean, void *variance, void *workspace);
void NAME(norm_forward)(const engine_norm *p, const void *x, const engine_affine *affine, const void *residual, void *y,
                        void *workspace);
void NAME(norm_backward_weight)(const engine_norm *p, const void *dy, const void *x, const engine_affine *affine,
                                void *dweight, void *dbias, void *workspace);
void NAME(norm_backward_data)(const engine_norm *p, const void *dy, const void *x, const engine_affine *affine,
                              const void *dweight, const void *dbias, void *dx, void *workspace);
void NAME(relu_backward)(const void *dy, const void *y, void *dx, int64_t count, int32_t threads);

#endif
