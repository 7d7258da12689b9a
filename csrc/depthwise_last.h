/* Convolution of channels-last arrays with 1, 2, 4 or 8 channels in a group: vectors along the channels, nothing
   staged.  Where a group has several channels, a vector of source channels is turned within the groups, so that every
   channel of the destination meets every channel of its group in its own lane. */
#ifndef ENGINE_DEPTHWISE_LAST_H
#define ENGINE_DEPTHWISE_LAST_H

#include "correlate.h"

int NAME(depthwise_last_suits)(const struct correlation *c);
int64_t NAME(depthwise_last_workspace)(int64_t phases, const struct correlation *phase);
void NAME(depthwise_last)(int64_t phases, const struct correlation *phase, const elem *source, const elem *weight,
                          const elem *bias, elem *dest, void *workspace);

/* The gradient of the weights of the same: c describes the forward convolution, source is x, dest is dy. */
int64_t NAME(depthwise_last_weight_workspace)(const struct correlation *c);
void NAME(depthwise_last_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace);

#endif
