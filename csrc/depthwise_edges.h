/* What depthwise kernels, which read planes in place, need at the edges: masks for the taps that reach past the end of a row,
   zeros for the rows outside, and a copy of those few strips around which no memory is known to be readable. */
#ifndef ENGINE_DEPTHWISE_EDGES_H
#define ENGINE_DEPTHWISE_EDGES_H

#include "correlate.h"

/* Destination pixels of a row: one vector at x, or two, the other at x + second. */
struct depthwise_column {
    int64_t x, second, vecs;
    uint64_t partial;     /* bit j: some of the taps of tap column j are outside the source */
    const vec_bits *mask; /* [tap column][vecs], where partial is not 0: lanes inside */
};

/* How a row is cut into columns. */
struct depthwise_cut {
    int64_t columns, vecs;
    int64_t last; /* where the last vector begins */
    int overlap;  /* it begins so much earlier that it ends with the row */
};

struct depthwise_cut NAME(depthwise_cut)(const struct correlation *c, int64_t vecs, int overlap);
int64_t NAME(depthwise_count_masks)(const struct correlation *c, struct depthwise_cut cut);
void NAME(depthwise_fill_columns)(const struct correlation *c, struct depthwise_cut cut, struct depthwise_column *column,
                                  vec_bits *mask);

/* What is read of the source, whose phases are cut the same way. */
struct depthwise_reach {
    int64_t first, last; /* columns, the last one included */
    int64_t low, high;   /* the memory of the source, relative to its first element, the last one included */
    int64_t pitch;       /* of rows in a copy */
};

struct depthwise_reach NAME(depthwise_reach)(int64_t phases, const struct correlation *phase, struct depthwise_cut cut);
/* The rows, at most, that `rows` destination rows read. */
int64_t NAME(depthwise_rows_reached)(int64_t phases, const struct correlation *phase, int64_t rows);

/* A strip of one plane. */
struct depthwise_strip {
    const elem *source; /* row 0, column 0 */
    int64_t pitch;
    int64_t begin, end; /* rows that are needed: no others may be read */
};

/* The plane `offset` elements from source, for the destination rows [i0, i0 + rows): in place, or as a copy. */
struct depthwise_strip NAME(depthwise_strip)(const struct depthwise_reach *reach, int64_t phases,
                                             const struct correlation *phase, const elem *source, int64_t offset,
                                             int64_t i0, int64_t rows, elem *copy);

#endif
