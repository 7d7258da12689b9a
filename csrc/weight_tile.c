#include "weight_tile.h"
#include "arena.h"

/* rows and vecs are constants wherever this is called, so sum lives in registers */
INLINE void tile(const int rows, const int vecs, int64_t pixels, const struct pixel *pixel, const elem *x,
                 const int64_t *row, const elem *dy, elem *acc) {
    vec sum[TILE_ROWS_1][TILE_VECS];
    const elem *at[TILE_ROWS_1];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        at[r] = x + row[r];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) sum[r][v] = (vec){0};
    }
    for (int64_t i = 0; i < pixels; i++) {
        const elem *gradient = dy + pixel[i].dy;
        int64_t offset = pixel[i].x;
        vec g[TILE_VECS];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) g[v] = vec_load(gradient + v * LANES);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec s = vec_splat(at[r][offset]);
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) sum[r][v] += s * g[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) {
            elem *to = acc + (r * vecs + v) * LANES;
            vec_store(to, vec_load(to) + sum[r][v]);
        }
    }
}

/* The heights there are: 1 to 6, then even ones. */
#define CASE(rows, vecs)                                                                                               \
    case rows:                                                                                                         \
        if (rows <= TILE_ROWS_##vecs) tile(rows, vecs, pixels, pixel, x, row, dy, acc);                                \
        break;
#define TILE(vecs)                                                                                                     \
    static void tile_##vecs(int64_t rows, int64_t pixels, const struct pixel *pixel, const elem *x,                    \
                            const int64_t *row, const elem *dy, elem *acc) {                                           \
        switch (rows) {                                                                                                \
            CASE(1, vecs) CASE(2, vecs) CASE(3, vecs) CASE(4, vecs) CASE(5, vecs) CASE(6, vecs)                        \
            CASE(8, vecs) CASE(10, vecs) CASE(12, vecs) CASE(14, vecs)                                                 \
        }                                                                                                              \
    }
TILE(1)
TILE(2)
#if TILE_VECS > 2
TILE(3)
TILE(4)
#endif

/* of the first of the tiles that together have `rows` rows, all about as high */
static int64_t height(int64_t rows, int64_t most) {
    int64_t h = ceil_div(rows, ceil_div(rows, most));
    return h <= 6 || h % 2 == 0 ? h : h + 1 <= min64(rows, most) ? h + 1 : h - 1;
}

void NAME(weight_tiles)(int64_t rows, int64_t vecs, int64_t pixels, const struct pixel *pixel, const elem *x,
                        const int64_t *row, const elem *dy, elem *acc) {
    static void (*const tiles[])(int64_t, int64_t, const struct pixel *, const elem *, const int64_t *, const elem *,
                                 elem *) = {
        tile_1, tile_2,
#if TILE_VECS > 2
        tile_3, tile_4,
#endif
    };
    static const int64_t most[] = {TILE_ROWS_1, TILE_ROWS_2, TILE_ROWS_3, TILE_ROWS_4};
    for (int64_t h; rows > 0; rows -= h, row += h, acc += h * vecs * LANES) {
        h = height(rows, most[vecs - 1]);
        tiles[vecs - 1](h, pixels, pixel, x, row, dy, acc);
    }
}
