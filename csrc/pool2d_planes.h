/* Pooling of planes with vectors along their rows, a strip of rows at a time: what both directions share. */
#ifndef ENGINE_POOL2D_PLANES_H
#define ENGINE_POOL2D_PLANES_H

#include "pool2d.h"
#include "pool2d_vec.h"

/* The geometry of the buffers; distances are in elements. */
struct planes {
    const struct pool *pool;
    int64_t columns;        /* windows of a row, in whole vectors */
    int64_t pitch, row;     /* of one residue, of all residues of a staged row */
    int64_t reach;          /* how far from the begin of a row is read */
    int in_place;           /* rows can be read where they are, if far enough from the end of x */
    int padded_w;           /* some window begins or ends outside the rows */
    int separable;          /* the cells of each row are reduced first, then the rows */
    int64_t result;         /* pitch of the rows reduced first */
    int64_t strip;          /* rows of windows per strip */
    elem scale;             /* the reciprocal of all counts if that is exact, or 0 */
};

/* Buffers of one worker, the first of its scratch. */
struct strip {
    int64_t *ready;         /* comes first: whether what all strips share has been filled in */
    elem *outside;          /* a row of the padding, staged or reduced first */
    elem *line;             /* one input row, gathered */
    elem *staged;
    elem *reduced;          /* rows of results and, behind each, of their codes */
    const elem **cells;     /* rows as they are read, those of the padding too */
    int64_t *offset;        /* of each cell of a window's row, if residues are staged apart */
    bits *first;            /* code of the first cell inside the input, for each window of a row */
    bits *skip;             /* and for each row of windows */
    elem *count_w;          /* cells of each window of a row */
};

struct planes NAME(planes_plan)(const struct pool *pool);
struct strip NAME(planes_strip)(const struct planes *g, struct arena *arena);
void NAME(planes_ready)(const struct planes *g, struct strip *s);

/* Rows i0 to i1 of the windows of a plane, at most g->strip of them: maxima and, if `code` is there, their places in the
   plane; or averages; or sums of the terms of a norm. */
void NAME(planes_reduce)(const struct planes *g, const struct strip *s, const elem *plane, int64_t i0, int64_t i1, elem *value,
                         int64_t value_pitch, bits *code, int64_t code_pitch);

/* Before the first task: no worker's buffers, at the begin of its scratch, are ready. */
static inline void planes_begin(const struct pool *pool) {
    for (int64_t worker = 0; worker < pool->p->threads; worker++)
        *(int64_t *)(pool->scratch + worker * pool->scratch_bytes) = 0;
}

static inline int64_t whole(int64_t n) { return ceil_div(n, LANES) * LANES; }

static inline elem *plane_of(const elem *base, const int64_t stride[4], int64_t channels, int64_t plane) {
    return (elem *)base + plane / channels * stride[0] + plane % channels * stride[1];
}

/* Whether rows of that array follow one another without a gap, from plane to plane too. */
static inline int contiguous(const int64_t stride[4], int64_t channels, int64_t rows, int64_t columns) {
    return stride[3] == 1 && stride[2] == columns && stride[1] == rows * columns && stride[0] == channels * rows * columns;
}

/* Rows per task: of whole planes, or of parts of one that are high enough not to read rows twice too often. */
static inline int64_t rows_per_task(int64_t plane_rows, int64_t row_bytes, int64_t least) {
    enum { TASK_BYTES = 64 * 1024 }; /* read and written */
    int64_t wanted = max64(ceil_div(TASK_BYTES, max64(1, row_bytes)), least);
    return wanted >= plane_rows ? wanted / plane_rows * plane_rows : ceil_div(plane_rows, ceil_div(plane_rows, wanted));
}

INLINE vec_bits first_lanes(int64_t count) { return (vec_bits)(vec_lanes() < vec_splat_bits((bits)min64(count, LANES))); }

/* The first `cells` of the cells there, 0 after them; reads past them where that is still before `end`. */
INLINE vec load_before(const elem *from, int64_t cells, const elem *end) {
    if (cells >= LANES) return vec_load(from);
    if (from + LANES > end) return vec_load_first(from, cells);
    return (vec)((vec_bits)vec_load(from) & first_lanes(cells));
}

#endif
