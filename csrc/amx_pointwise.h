/* pointwise.h by products of bfloat16 parts on the tiles of AMX (amx_tile.h). */
#ifndef ENGINE_AMX_POINTWISE_H
#define ENGINE_AMX_POINTWISE_H

#include "correlate.h"

/* whether it can; and whether it is faster than vectors, a question of one image's geometry */
int NAME(amx_pointwise_suits)(int64_t phases, const struct correlation *phase);
int NAME(amx_pointwise_wins)(const struct correlation *c);
int64_t NAME(amx_pointwise_workspace)(const struct correlation *c, int packed);
/* the weights come either as they are or packed, the other is NULL */
void NAME(amx_pointwise)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source,
                         const elem *weight, const elem *packed, const elem *bias, elem *dest, void *workspace);
int64_t NAME(amx_pointwise_packed_bytes)(const struct correlation *c);
void NAME(amx_pointwise_pack)(const struct correlation *c, const elem *weight, elem *packed);

#endif
