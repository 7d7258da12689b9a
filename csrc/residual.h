/* The sum of a convolution and p->residual, an array of y's strides, and relu of that if p asks for it. */
#ifndef ENGINE_RESIDUAL_H
#define ENGINE_RESIDUAL_H

#include "engine.h"
#include "vec.h"

void NAME(add_residual)(const engine_conv2d *p, elem *y);

#endif
