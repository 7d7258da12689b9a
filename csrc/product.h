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
    int relu, stream;  /* stream: past the caches where aligned; vec_stream_end() when all is done */
    const elem *ahead; /* one line of memory to fetch at each k, for later */
    int64_t ahead_step;
    elem *keep; /* product_keeping() copies b here, [k][WIDTH of the tile] */
};

typedef void product_function(const struct product *p);

/* the tile of that many vectors, 1 <= vecs <= TILE_VECS, for up to `rows` rows; tile_rows(vecs) is the most */
product_function *NAME(product)(int64_t vecs, int64_t rows);

/* the tile of TILE_VECS vectors, which also copies b */
void NAME(product_keeping)(const struct product *p);

/* Memory that is soon needed, read or written: `count` stretches of `lines` cache lines.  Its lines are fetched one
   at each k of the products made meanwhile, which hides the time this takes where the processor itself cannot foresee
   what comes. */
struct stretches {
    const elem *from;
    int64_t count, stride, lines;
};

struct errands {
    struct stretches todo[2];
    int64_t which, line, done;
};

/* gives the product as many of the lines to fetch as it has terms */
INLINE void product_errand(struct errands *e, struct product *p) {
    while (e->which < 2 && e->line >= e->todo[e->which].lines) e->which++, e->line = e->done = 0;
    p->ahead = p->b, p->ahead_step = p->b_step; /* here already: nothing to fetch */
    if (e->which == 2) return;
    const struct stretches *s = &e->todo[e->which];
    p->ahead = s->from + e->done * s->stride + e->line * (64 / ELEM_BYTES), p->ahead_step = s->stride;
    e->done += p->k;
    if (e->done >= s->count) e->done = 0, e->line++;
}

/* k is summed in chunks from zero, which rounds less and keeps the chunk of b in L1: how many, and how long */
INLINE int64_t product_chunks(int64_t k) {
    int64_t most = 32 * 1024 / (TILE_VECS * VEC_BYTES);
    if (most > 384) most = 384;
    return k > most ? (k + most - 1) / most : 1;
}
INLINE int64_t product_chunk(int64_t k) { return (k + product_chunks(k) - 1) / product_chunks(k); }

#endif
