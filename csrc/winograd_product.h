/* The matrix products between the transforms: the register tile of tile.h without its tables, as both operands are dense here.

       m[r][v] (+)= sum over k of  x[r*row + k*step] * u[k][v]      r < rows, v < vecs

   For every k it also sends for the line at ahead + k*ahead_step: somebody's next operand. */
#ifndef ENGINE_WINOGRAD_PRODUCT_H
#define ENGINE_WINOGRAD_PRODUCT_H

#include "tile.h"

typedef void winograd_product(int64_t k, const elem *x, int64_t row, int64_t step, const elem *u, elem *m, int add,
                              const elem *ahead, int64_t ahead_step);

/* the product of that many vectors for `rows` rows, of which there are tile_rows(vecs) at most; unless `vecs` is TILE_VECS it
   may compute more */
winograd_product *NAME(winograd_product)(int64_t vecs, int64_t rows);

#endif
