/* Correlations (correlate.h) of float32 by products of bfloat16 parts on the tiles of AMX: amx_tile.h says how exact.  Only
   at the level that has such tiles; elsewhere nothing suits. */
#ifndef ENGINE_AMX_CORRELATE_H
#define ENGINE_AMX_CORRELATE_H

#include "correlate.h"

/* whether the tiles are filled well enough to be faster than the vectors of other kernels */
int NAME(amx_wins)(const struct correlation *c);
int64_t NAME(amx_correlate_workspace)(const struct correlation *c);
void NAME(amx_correlate)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias, elem *dest,
                         void *workspace);

#endif
