/* From planes to transformed tiles.  An output plane is cut into tiles of 4x4, counted row by row and image after image. */
#ifndef ENGINE_WINOGRAD_TILES_H
#define ENGINE_WINOGRAD_TILES_H

#include "vec.h"

enum { WINOGRAD_SEGMENT = 16 }; /* at most so many tiles of one row of tiles are transformed together */

/* The planes that tiles are read from or written to.  Tile (i, j) begins at row first_h + 4*i, column first_w + 4*j; outside is zero. */
struct winograd_planes {
    int64_t tiles_h, tiles_w;
    int64_t sh, sw, first_h, first_w;
    int64_t stride[4]; /* n c h w */
    const elem *end;   /* just behind the last element: no read may pass it */
};

/* elements of scratch memory that the functions below need */
#define WINOGRAD_COLUMNS (4 * WINOGRAD_SEGMENT + 2 + LANES)
#define WINOGRAD_SCRATCH ((6 * WINOGRAD_COLUMNS + 6 * LANES + 1) * LANES)

/* B^T d B of 6x6 inputs, 4 pixels apart, for `channels` channels and tiles [first, first + count): position (i, j) of a tile goes
   to to[(6*i + j)*plane + (tile - first)*row + channel] */
void NAME(winograd_transform_inputs)(const struct winograd_planes *p, const elem *source, int64_t channels, int64_t first,
                                     int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch);
/* The same for G dy G^T of 4x4 gradients. */
void NAME(winograd_transform_gradients)(const struct winograd_planes *p, const elem *gradient, int64_t channels, int64_t first,
                                        int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch);
/* A^T m A, where m lies as `to` above, with bias and relu -> dest; bias may be NULL */
void NAME(winograd_transform_outputs)(const struct winograd_planes *p, const elem *m, int64_t plane, int64_t row,
                                      int64_t channels, int64_t first, int64_t count, const elem *bias, int relu, elem *dest,
                                      elem *scratch);

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
