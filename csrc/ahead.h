/* Memory that will be needed soon, fetched a little at a time between tiles: what is far away arrives while they compute. */
#ifndef ENGINE_AHEAD_H
#define ENGINE_AHEAD_H

#include "arena.h"
#include "vec.h"

/* `outer` times `inner` runs of `bytes`, of which `per_step` are fetched in a step */
struct ahead {
    const elem *base;
    int64_t outer, inner, outer_stride, inner_stride, bytes;
    int64_t next, per_step;
};

/* Everything will have been asked for after so many steps. */
INLINE void ahead_pace(struct ahead *a, int64_t steps) {
    a->next = 0;
    a->per_step = ceil_div(a->outer * a->inner, max64(1, steps));
}

INLINE void ahead_step(struct ahead *a) {
    int64_t end = min64(a->outer * a->inner, a->next + a->per_step);
    for (; a->next < end; a->next++) {
        const elem *run = a->base + a->next / a->inner * a->outer_stride + a->next % a->inner * a->inner_stride;
        for (int64_t b = 0; b < a->bytes; b += 64) __builtin_prefetch((const char *)run + b, 0, 2);
        __builtin_prefetch((const char *)run + a->bytes - 1, 0, 2);
    }
}

#endif
