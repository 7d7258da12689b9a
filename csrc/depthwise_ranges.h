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

enum { MOST_IN_GROUP = 8 }; /* channels */

/* Lane l gets the lane `by` places further in its group, and around.  group and by are constants wherever this is
   called. */
#define TURNED(l, group, by) ((l) / (group) * (group) + ((l) % (group) + (by)) % (group))
#define TURNED2(l, g, by) TURNED(l, g, by), TURNED((l) + 1, g, by)
#define TURNED4(l, g, by) TURNED2(l, g, by), TURNED2((l) + 2, g, by)
#define TURNED8(l, g, by) TURNED4(l, g, by), TURNED4((l) + 4, g, by)
#define TURNED16(l, g, by) TURNED8(l, g, by), TURNED8((l) + 8, g, by)
#if LANES == 16
#define ROTATED(v, g, by) __builtin_shufflevector(v, v, TURNED16(0, g, by))
#elif LANES == 8
#define ROTATED(v, g, by) __builtin_shufflevector(v, v, TURNED8(0, g, by))
#elif LANES == 4
#define ROTATED(v, g, by) __builtin_shufflevector(v, v, TURNED4(0, g, by))
#else
#define ROTATED(v, g, by) __builtin_shufflevector(v, v, TURNED2(0, g, by))
#endif
INLINE vec vec_rotate(vec v, const int group, const int by) {
    switch (10 * group + by) {
        case 21: return ROTATED(v, 2, 1);
#if LANES >= 4
        case 41: return ROTATED(v, 4, 1);
        case 42: return ROTATED(v, 4, 2);
        case 43: return ROTATED(v, 4, 3);
#endif
#if LANES >= 8
        case 81: return ROTATED(v, 8, 1);
        case 82: return ROTATED(v, 8, 2);
        case 83: return ROTATED(v, 8, 3);
        case 84: return ROTATED(v, 8, 4);
        case 85: return ROTATED(v, 8, 5);
        case 86: return ROTATED(v, 8, 6);
        case 87: return ROTATED(v, 8, 7);
#endif
        default: return v;
    }
}

#endif
