/* The gradient of the weights where a group has few output channels: vectors along the pixels of a row, one vector of
   partial sums per weight, added up across its lanes at the very end. */
#ifndef ENGINE_NARROW_WEIGHT_H
#define ENGINE_NARROW_WEIGHT_H

#include "correlate.h"

/* c describes the forward convolution: source x, destination dy */
int64_t NAME(narrow_weight_workspace)(const struct correlation *c);
void NAME(narrow_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace);

#endif
