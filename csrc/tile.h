/* The register tile: the one inner loop of dense convolution, forward and backward.

       acc[r][v] (+)= sum over k of  source[row[r] + offset[k]] * weights[k][v]      r < rows, v < vecs

   with vectors along v.  Rows are output pixels (forward, backward data) or weight taps (backward weight).  The source is
   read one element at a time and broadcast, wherever the two tables point: no patch matrix, any stride, any dilation. */
#ifndef ENGINE_TILE_H
#define ENGINE_TILE_H

#include "vec.h"

typedef void tile_function(int64_t rows, int64_t k, const int64_t *offset, const elem *weights, const elem *source, const int64_t *row,
                           elem *acc, int add);

/* the tile of that many vectors, 1 <= vecs <= TILE_VECS, and the most rows it has; with less than half of them it computes
   half, the last ones to no use */
tile_function *NAME(tile)(int64_t vecs);

INLINE int64_t tile_rows(int64_t vecs) {
    return vecs == 1 ? TILE_ROWS_1 : vecs == 2 ? TILE_ROWS_2 : vecs == 3 ? TILE_ROWS_3 : TILE_ROWS_4;
}

#endif
