/* The gradient of the weights of the correlation x -> y (correlate.h) by products of bfloat16 parts on the tiles of AMX:
   amx_tile.h says how exact.  Only at the level that has such tiles; elsewhere nothing wins. */
#ifndef ENGINE_AMX_WEIGHT_H
#define ENGINE_AMX_WEIGHT_H

#include "correlate.h"

/* whether the tiles are filled well enough to be faster than the vectors of other kernels */
int NAME(amx_weight_wins)(const struct correlation *c);
int64_t NAME(amx_weight_workspace)(const struct correlation *c);
void NAME(amx_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace);

#endif
