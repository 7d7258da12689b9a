/* From planes to transformed tiles and back.  An output plane is cut into tiles of 4x4, counted row by row and image after
   image; what the division leaves over are tiles of fewer rows or columns, which need fewer products
   (winograd_transform.h). */
#ifndef ENGINE_WINOGRAD_TILES_H
#define ENGINE_WINOGRAD_TILES_H

#include "arena.h"
#include "vec.h"

/* The planes that tiles are read from or written to.  Tile (i, j) begins at row first_h + 4*i, column first_w + 4*j;
   outside is zero. */
struct winograd_planes {
    int64_t tiles_h, tiles_w;
    int64_t edge_h, edge_w; /* outputs down the last row of tiles and across the last column, or 0 if these are whole */
    int64_t sh, sw, first_h, first_w;
    int64_t stride[4]; /* n c h w */
    const elem *begin, *end; /* no read may leave them: the first element (in order of the axes), and just behind the last one */
    int stream;        /* write past the caches */
};

/* ---- the order of tiles ---- */

/* The tiles of a block are sorted, so that every product is one of a run of them: those that lack rows, whole ones, those
   that lack columns, those that lack both.  `begin` is where each kind begins in the block; a tile's place there is its
   slot. */
struct winograd_order {
    int64_t begin[5];
};
struct winograd_order NAME(winograd_order)(const struct winograd_planes *p, int64_t first, int64_t count);

/* the slots of tiles that need the product at place (i, j) */
void NAME(winograd_slots)(const struct winograd_planes *p, const struct winograd_order *order, int i, int j,
                          int64_t *begin, int64_t *end);

/* A run of tiles within one row of tiles: `tiles` of them are not short of columns and have slots one after the other;
   behind them comes one of `edge` columns if that is not 0. */
struct winograd_segment {
    int64_t image, i, j, rows, tiles, slot, edge, edge_slot;
};

/* The segment that begins with a tile, cut off at `end`; `next` is the next free slot of each kind. */
INLINE struct winograd_segment winograd_segment(const struct winograd_planes *p, int64_t tile, int64_t end,
                                                int64_t next[4]) {
    int64_t i = tile / p->tiles_w % p->tiles_h, j = tile % p->tiles_w, tiles = min64(p->tiles_w - j, end - tile);
    int low = p->edge_h && i == p->tiles_h - 1, edge = p->edge_w && j + tiles == p->tiles_w;
    int kind = low ? 0 : 1, edge_kind = low ? 3 : 2;
    struct winograd_segment s = {
        .image = tile / (p->tiles_h * p->tiles_w), .i = i, .j = j, .rows = low ? p->edge_h : 4,
        .tiles = tiles - edge, .slot = next[kind], .edge = edge ? p->edge_w : 0, .edge_slot = next[edge_kind],
    };
    next[kind] += s.tiles, next[edge_kind] += edge;
    return s;
}

/* ---- transforms ---- */

/* elements of scratch memory that the functions below need */
#define WINOGRAD_CHUNK (LANES < 4 ? 4 : LANES) /* columns transformed together on their way in */
#define WINOGRAD_GROUP 16                      /* tiles on their way out */
#define WINOGRAD_SCRATCH ((12 * WINOGRAD_CHUNK + 54 + 16 * (WINOGRAD_GROUP + 1)) * LANES)

/* B^T d B of the inputs of `channels` channels and tiles [first, first + count): position (i, j) of the tile with a slot
   goes to to[(6*i + j)*plane + slot*row + channel] */
void NAME(winograd_transform_inputs)(const struct winograd_planes *p, const elem *source, int64_t channels,
                                     int64_t first, int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch);
/* The same for G dy G^T of 4x4 gradients, where all tiles count as whole. */
void NAME(winograd_transform_gradients)(const struct winograd_planes *p, const elem *gradient, int64_t channels,
                                        int64_t first, int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch);
/* A^T m A, where m lies as `to` above, with bias and relu -> dest; bias may be NULL */
void NAME(winograd_transform_outputs)(const struct winograd_planes *p, const elem *m, int64_t plane, int64_t row,
                                      int64_t channels, int64_t first, int64_t count, const elem *bias, int relu,
                                      elem *dest, elem *scratch);

/* Sends for one of so many parts of the inputs of these tiles: they are to be in the cache when they are transformed. */
void NAME(winograd_prefetch)(const struct winograd_planes *p, const elem *source, int64_t channels, int64_t first,
                             int64_t count, int64_t part, int64_t parts);

/* ---- memory ---- */

/* just behind the highest of a 4-D array's elements */
INLINE const elem *winograd_end(const elem *origin, int64_t n, int64_t c, int64_t h, int64_t w, const int64_t stride[4]) {
    const int64_t size[4] = {n, c, h, w};
    for (int i = 0; i < 4; i++)
        if (stride[i] > 0 && size[i] > 0) origin += (size[i] - 1) * stride[i];
    return origin + 1;
}

/* An odd number of cache lines: equal places of neighbouring planes must not meet in one cache set. */
INLINE int64_t winograd_pitch(int64_t size) {
    int64_t line = 64 / (int64_t)sizeof(elem);
    return ((size + line - 1) / line | 1) * line;
}

/* A square of LANES rows, `stride` apart, -> to[column][row].  Only `rows` of them and `columns` of a row's elements matter:
   the rest becomes anything, and nothing is read at or past `end`. */
INLINE void winograd_square(const elem *from, int64_t stride, int64_t rows, int64_t columns, const elem *end, elem *to) {
    elem copy[LANES * LANES];
    if (rows < LANES || from + (stride > 0 ? (LANES - 1) * stride : 0) + LANES > end) {
        memset(copy, 0, sizeof copy);
        for (int64_t l = 0; l < rows; l++) memcpy(copy + l * LANES, from + l * stride, (size_t)columns * sizeof(elem));
        from = copy, stride = LANES;
    }
    vec row[LANES];
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) row[l] = vec_load(from + l * stride);
    vec_transpose(row);
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) vec_store(to + l * LANES, row[l]);
}

#endif
