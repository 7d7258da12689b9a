/* Depthwise correlations of planes half a vector wide or less, at step 1, each as one row of memory from its first
   pixel to its last: a tap is a shift of the whole plane, and masks leave out what it brings in from the rows around
   it.  Lanes that are masked out are not read, which takes AVX-512. */
#ifndef ENGINE_DEPTHWISE_FLAT_H
#define ENGINE_DEPTHWISE_FLAT_H

#include "correlate.h"

int NAME(depthwise_flat_suits)(int64_t phases, const struct correlation *c);
int64_t NAME(depthwise_flat_workspace)(const struct correlation *c);
void NAME(depthwise_flat)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias,
                          elem *dest, void *workspace);

#endif
