#include "product.h"
#include "tile.h"

/* one vector of sums to its place; `whole`: all its lanes are stored */
INLINE void deliver(const struct product *p, int64_t r, int64_t v, vec sum, int whole) {
    elem *to = p->to + p->to_row[r] + v * LANES;
    if (p->add) sum = (whole ? vec_load(to) : vec_load_first(to, p->lanes)) + sum;
    if (p->row_bias) sum = sum + vec_splat(p->row_bias[r]);
    if (p->lane_bias) {
        const elem *bias = p->lane_bias + v * LANES;
        sum = sum + (whole ? vec_load(bias) : vec_load_first(bias, p->lanes));
    }
    if (p->relu) sum = vec_relu(sum);
    if (whole && p->stream && (uintptr_t)to % VEC_BYTES == 0)
        vec_stream(to, sum);
    else if (whole)
        vec_store(to, sum);
    else
        vec_store_first(to, sum, p->lanes);
}

/* What is going to be written is fetched while summing: a store that misses waits for its line to be read. */
INLINE void fetch_places(const int rows, const int vecs, const struct product *p) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v += 64 / VEC_BYTES) __builtin_prefetch(p->to + p->to_row[r] + v * LANES, 1, 3);
}

/* rows and vecs are constants wherever this is called, so the sums live in registers */
INLINE void product(const int rows, const int vecs, const int keeping, const struct product *p) {
    vec sum[TILE_ROWS_1][TILE_VECS];
    const elem *at[TILE_ROWS_1];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        at[r] = p->a + p->a_row[r];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) sum[r][v] = (vec){0};
    }
    const elem *b = p->b, *ahead = p->ahead;
    elem *keep = p->keep;
    if (!p->add && !p->stream) fetch_places(rows, vecs, p);
    int64_t i = 0, a_step = p->a_step, b_step = p->b_step, ahead_step = p->ahead_step;
    for (int64_t k = p->k; k > 0; k--, i += a_step, b += b_step, ahead += ahead_step) {
        vec w[TILE_VECS];
        __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) w[v] = vec_load(b + v * LANES);
        if (keeping) {
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) vec_store(keep + v * LANES, w[v]);
            keep += vecs * LANES;
        }
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec s = vec_splat(at[r][i]);
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) sum[r][v] += s * w[v];
        }
    }
    int whole = p->lanes == LANES;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
        if (r < p->rows) {
#pragma GCC unroll 4
            for (int v = 0; v < vecs - 1; v++) deliver(p, r, v, sum[r][v], 1);
            if (whole)
                deliver(p, r, vecs - 1, sum[r][vecs - 1], 1);
            else
                deliver(p, r, vecs - 1, sum[r][vecs - 1], 0);
        }
}

#define PRODUCT(name, rows, vecs)                                                                                      \
    static void name(const struct product *p) { product(rows, vecs, 0, p); }
PRODUCT(full_1, TILE_ROWS_1, 1)
PRODUCT(half_1, TILE_ROWS_1 / 2, 1)
PRODUCT(full_2, TILE_ROWS_2, 2)
PRODUCT(half_2, TILE_ROWS_2 / 2, 2)
PRODUCT(one_2, 1, 2)
#if TILE_VECS > 2
PRODUCT(full_3, TILE_ROWS_3, 3)
PRODUCT(half_3, TILE_ROWS_3 / 2, 3)
PRODUCT(full_4, TILE_ROWS_4, 4)
PRODUCT(most_4, TILE_ROWS_4 - 2, 4)
PRODUCT(two_4, 2, 4)
PRODUCT(one_4, 1, 4)
#endif

void NAME(product_keeping)(const struct product *p) { product(tile_rows(TILE_VECS), TILE_VECS, 1, p); }

product_function *NAME(product)(int64_t vecs, int64_t rows) {
    switch (vecs) {
        case 1: return rows > TILE_ROWS_1 / 2 ? full_1 : half_1;
#if TILE_VECS > 2
        case 3: return rows > TILE_ROWS_3 / 2 ? full_3 : half_3;
        case 4: return rows > TILE_ROWS_4 - 2 ? full_4 : rows > 2 ? most_4 : rows > 1 ? two_4 : one_4;
#endif
        default: return rows > TILE_ROWS_2 / 2 ? full_2 : rows > 1 ? half_2 : one_2;
    }
}
