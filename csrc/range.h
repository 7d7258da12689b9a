/* Where places that lie a step apart are inside. */
#ifndef ENGINE_RANGE_H
#define ENGINE_RANGE_H

#include "arena.h"

/* The part [*begin, *end) of the places first, first + step, ... (`count` of them) that lies within [0, limit). */
static inline void range_inside(int64_t first, int64_t step, int64_t count, int64_t limit, int64_t *begin,
                                int64_t *end) {
    *begin = first >= 0 ? 0 : min64(count, ceil_div(-first, step));
    *end = first >= limit ? *begin : max64(*begin, min64(count, ceil_div(limit - first, step)));
}

#endif
