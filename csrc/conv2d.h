/* 2-D convolution of one level and element type: see engine.h for the arguments. */
#ifndef ENGINE_CONV2D_H
#define ENGINE_CONV2D_H

#include "engine.h"
#include "vec.h"

int64_t NAME(conv2d_workspace)(const engine_conv2d *p, int32_t direction);
void NAME(conv2d_forward)(const engine_conv2d *p, const void *x, const void *weight, const void *bias, void *y, void *workspace);
void NAME(conv2d_backward_data)(const engine_conv2d *p, const void *dy, const void *weight, void *dx, void *workspace);
void NAME(conv2d_backward_weight)(const engine_conv2d *p, const void *dy, const void *x, void *dweight, void *workspace);

int64_t NAME(conv2d_packed_bytes)(const engine_conv2d *p, int32_t direction);
void NAME(conv2d_pack_weight)(const engine_conv2d *p, int32_t direction, const void *weight, void *packed);
int32_t NAME(conv2d_preferred)(const engine_conv2d *p, int32_t direction);

#endif
