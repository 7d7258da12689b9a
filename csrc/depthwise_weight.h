/* The gradient of depthwise weights where rows lie contiguous in memory: planes are read in place, one vector of partial sums
   per weight is added up across its lanes at the very end. */
#ifndef ENGINE_DEPTHWISE_WEIGHT_H
#define ENGINE_DEPTHWISE_WEIGHT_H

#include "correlate.h"

/* c describes the forward convolution: source x, destination dy */
int NAME(depthwise_weight_suits)(const struct correlation *c);
int64_t NAME(depthwise_weight_workspace)(const struct correlation *c);
void NAME(depthwise_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace);

#endif
