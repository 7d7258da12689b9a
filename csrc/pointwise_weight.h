/* The gradient of the weights of a convolution with one tap: the product of the gradient's and the input's channels,
   summed over pixels.  c describes the forward convolution, which pointwise_suits. */
#ifndef ENGINE_POINTWISE_WEIGHT_H
#define ENGINE_POINTWISE_WEIGHT_H

#include "correlate.h"

int64_t NAME(pointwise_weight_workspace)(const struct correlation *c);
void NAME(pointwise_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace);

#endif
