#include "winograd_product.h"

INLINE void product(const int rows, const int vecs, int64_t k, const elem *x, int64_t row, int64_t step, const elem *u, elem *m,
                    int add, const elem *ahead, int64_t ahead_step) {
    vec sum[TILE_ROWS_1][TILE_VECS];
    const elem *at[TILE_ROWS_1];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        at[r] = x + r * row;
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) sum[r][v] = (vec){0};
    }
    for (int64_t i = 0; i < k; i++) {
        vec w[TILE_VECS];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) w[v] = vec_load(u + (i * vecs + v) * LANES);
        __builtin_prefetch(ahead + i * ahead_step);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec s = vec_splat(at[r][i * step]);
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) sum[r][v] += s * w[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) {
            elem *to = m + (r * vecs + v) * LANES;
            vec_store(to, add ? vec_load(to) + sum[r][v] : sum[r][v]);
        }
    }
}

#define PRODUCT(name, rows, vecs)                                                                                      \
    static void name(int64_t k, const elem *x, int64_t row, int64_t step, const elem *u, elem *m, int add,             \
                     const elem *ahead, int64_t ahead_step) {                                                          \
        product(rows, vecs, k, x, row, step, u, m, add, ahead, ahead_step);                                            \
    }
PRODUCT(wide_1, 1, TILE_VECS)
PRODUCT(wide_2, 2, TILE_VECS)
PRODUCT(wide_3, 3, TILE_VECS)
PRODUCT(wide_4, 4, TILE_VECS)
PRODUCT(wide_5, 5, TILE_VECS)
PRODUCT(wide_6, 6, TILE_VECS)
PRODUCT(narrow_1, TILE_ROWS_1, 1)
PRODUCT(half_1, TILE_ROWS_1 / 2, 1)
#if TILE_VECS > 2
PRODUCT(narrow_2, TILE_ROWS_2, 2)
PRODUCT(half_2, TILE_ROWS_2 / 2, 2)
PRODUCT(narrow_3, TILE_ROWS_3, 3)
PRODUCT(half_3, TILE_ROWS_3 / 2, 3)
#endif

winograd_product *NAME(winograd_product)(int64_t vecs, int64_t rows) {
    static winograd_product *const wide[] = {wide_1, wide_2, wide_3, wide_4, wide_5, wide_6};
    static winograd_product *const narrow[][2] = {
        {narrow_1, half_1},
#if TILE_VECS > 2
        {narrow_2, half_2}, {narrow_3, half_3},
#endif
    };
    return vecs == TILE_VECS ? wide[rows - 1] : narrow[vecs - 1][2 * rows <= tile_rows(vecs)];
}
