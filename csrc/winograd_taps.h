/* Weights and their transforms: 3x3 taps of LANES d channels (lanes of a vector) and some s channels. */
#ifndef ENGINE_WINOGRAD_TAPS_H
#define ENGINE_WINOGRAD_TAPS_H

#include "correlate.h"

/* elements of scratch memory that the functions below need */
#define WINOGRAD_TAPS_SCRATCH (10 * LANES * LANES)

/* G w G^T of `channels` s channels: position e of channel i goes to to[e*plane + i*row].  Only `lanes` d channels exist; nothing
   is read at or past `end`. */
void NAME(winograd_transform_taps)(const struct correlation *c, const elem *weight, int64_t channels, int64_t lanes,
                                   const elem *end, elem *to, int64_t plane, int64_t row, elem *scratch);

/* A^T m A of sums of F(3x3, 4x4), where m lies as `to` above -> weight */
void NAME(winograd_store_taps)(const struct correlation *c, const elem *m, int64_t plane, int64_t row, int64_t channels,
                               int64_t lanes, elem *weight, elem *scratch);

#endif
