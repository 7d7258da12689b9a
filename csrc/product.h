/* The register tile of a matrix product between operands wherever they lie:

       to[to_row[r]][v] (+)= sum over k of  a[a_row[r] + k*a_step] * b[k*b_step + v]      r < rows, v < vecs*LANES

   with vectors along v: b is read by vectors, a one element at a time and broadcast. */
#ifndef ENGINE_PRODUCT_H
#define ENGINE_PRODUCT_H

#include "vec.h"

struct product {
    int64_t k;
    const elem *a;
    const int64_t *a_row; /* as many as the tile has rows, also where fewer are stored */
    int64_t a_step;
    const elem *b;
    int64_t b_step;
    elem *to;
    const int64_t *to_row;
    int64_t rows, lanes; /* stored: rows, and lanes of the last vector; b is read whole */
    int add;             /* to what is there; then row_bias[r] or lane_bias[v], where not NULL, and relu */
    const elem *row_bias, *lane_bias;
    int relu;
    const elem *ahead; /* one line of memory to fetch at each k, for later */
    int64_t ahead_step;
};

typedef void product_function(const struct product *p);

/* the tile of that many vectors, 1 <= vecs <= TILE_VECS, for up to `rows` rows; tile_rows(vecs) is the most */
product_function *NAME(product)(int64_t vecs, int64_t rows);

/* k is summed in chunks from zero, which rounds less and keeps the chunk of b in L1: how many, and how long */
INLINE int64_t product_chunks(int64_t k) {
    int64_t most = 32 * 1024 / (TILE_VECS * VEC_BYTES);
    if (most > 384) most = 384;
    return k > most ? (k + most - 1) / most : 1;
}
INLINE int64_t product_chunk(int64_t k) { return (k + product_chunks(k) - 1) / product_chunks(k); }

#endif
