/* Carving one block of workspace into aligned pieces.  The same function that carves, run on a NULL base, measures. */
#ifndef ENGINE_ARENA_H
#define ENGINE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena {
    char *base;
    int64_t used;
};

static inline void *arena_take(struct arena *arena, int64_t bytes) {
    void *piece = arena->base ? arena->base + arena->used : NULL;
    arena->used += (bytes + 63) / 64 * 64;
    return piece;
}

#define ARENA_TAKE(arena, type, count) ((type *)arena_take(arena, (int64_t)sizeof(type) * (count)))

static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
