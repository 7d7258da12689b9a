/* The gradient of the weights of a dense convolution. */
#ifndef ENGINE_CONV2D_WEIGHT_H
#define ENGINE_CONV2D_WEIGHT_H

#include "engine.h"
#include "vec.h"

int64_t NAME(conv2d_weight_workspace)(const engine_conv2d *p);
void NAME(conv2d_weight)(const engine_conv2d *p, const elem *dy, const elem *x, elem *dweight, void *workspace);

#endif
