/* What depthwise kernels for channels-last arrays share: ranges of taps and positions, blocks of channels. */
#ifndef ENGINE_DEPTHWISE_RANGES_H
#define ENGINE_DEPTHWISE_RANGES_H

#include "arena.h"
#include "vec.h"

/* The taps [begin, end) along one axis that read inside the source at destination position i. */
static inline void taps_inside(int64_t i, int64_t step, int64_t first, int64_t space, int64_t taps, int64_t size,
                               int64_t *begin, int64_t *end) {
    int64_t at = i * step + first;
    *begin = at >= 0 ? 0 : min64(taps, ceil_div(-at, space));
    *end = at >= size ? *begin : max64(*begin, min64(taps, ceil_div(size - at, space)));
}

/* The destination positions [begin, end), of `count`, at which a tap offset reads inside the source. */
static inline void positions_inside(int64_t offset, int64_t step, int64_t count, int64_t size, int64_t *begin,
                                    int64_t *end) {
    *begin = offset >= 0 ? 0 : min64(count, ceil_div(-offset, step));
    *end = offset >= size ? *begin : max64(*begin, min64(count, ceil_div(size - offset, step)));
}

/* Lanes that exist: fewer than LANES only where there are fewer channels than that. */
INLINE vec load(const elem *p, int64_t count) { return count == LANES ? vec_load(p) : vec_load_first(p, count); }
INLINE void store(elem *p, vec v, int64_t count) {
    if (count == LANES)
        vec_store(p, v);
    else
        vec_store_first(p, v, count);
}

#endif
