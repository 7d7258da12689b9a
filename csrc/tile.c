#include "tile.h"
#include "arena.h"

/* rows and vecs are constants wherever this is called, so acc lives in registers */
INLINE void tile(const int rows, const int vecs, int64_t k, const int64_t *offset, const elem *weights, const elem *source,
                 const int64_t *row, elem *acc, int add) {
    vec sum[TILE_ROWS_1][TILE_VECS];
    const elem *at[TILE_ROWS_1];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        at[r] = source + row[r];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) sum[r][v] = (vec){0};
    }
    for (int64_t i = 0; i < k; i++) {
        int64_t o = offset[i];
        vec w[TILE_VECS];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) w[v] = vec_load(weights + (i * vecs + v) * LANES);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec x = vec_splat(at[r][o]);
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) sum[r][v] += x * w[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) {
            elem *to = acc + (r * vecs + v) * LANES;
            vec_store(to, add ? vec_load(to) + sum[r][v] : sum[r][v]);
        }
    }
}

/* Rows can be as few as half: pixels that are no multiple of the tile are spread evenly over one more of them. */
#define CASE(vecs, fewer)                                                                                              \
    case fewer:                                                                                                        \
        if (fewer <= TILE_ROWS_##vecs / 2)                                                                             \
            tile(TILE_ROWS_##vecs - fewer, vecs, k, offset, weights, source, row, acc, add);                           \
        break;

#define TILE(vecs)                                                                                                     \
    static void tile_##vecs(int64_t rows, int64_t k, const int64_t *offset, const elem *weights, const elem *source,   \
                            const int64_t *row, elem *acc, int add) {                                                  \
        switch (min64(TILE_ROWS_##vecs - rows, TILE_ROWS_##vecs / 2)) {                                                \
            CASE(vecs, 0) CASE(vecs, 1) CASE(vecs, 2) CASE(vecs, 3) CASE(vecs, 4) CASE(vecs, 5) CASE(vecs, 6)          \
            CASE(vecs, 7)                                                                                              \
        }                                                                                                              \
    }
TILE(1)
TILE(2)
#if TILE_VECS > 2
TILE(3)
TILE(4)
#endif

tile_function *NAME(tile)(int64_t vecs) {
    switch (vecs) {
        case 1: return tile_1;
#if TILE_VECS > 2
        case 3: return tile_3;
        case 4: return tile_4;
#endif
        default: return tile_2;
    }
}
