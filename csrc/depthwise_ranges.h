/* What depthwise kernels for channels-last arrays share: ranges and vectors that may be short. */
#ifndef ENGINE_DEPTHWISE_RANGES_H
#define ENGINE_DEPTHWISE_RANGES_H

#include "range.h"
#include "vec.h"

/* Lanes that exist: fewer than LANES only where there are fewer channels than that. */
INLINE vec load(const elem *p, int64_t count) { return count == LANES ? vec_load(p) : vec_load_first(p, count); }
INLINE void store(elem *p, vec v, int64_t count) {
    if (count == LANES)
        vec_store(p, v);
    else
        vec_store_first(p, v, count);
}

#endif
