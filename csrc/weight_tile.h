/* The register tile of the gradient of the weights: rows are weight taps, vectors lie along output channels, and the sum
   runs over a list of pixels:

       acc[r][v] += sum over pixels i of  x[row[r] + pixel[i].x] * dy[pixel[i].dy + v*LANES]

   No horizontal sums, and x is read where it lies, one element at a time: no patch matrix, any stride, any dilation. */
#ifndef ENGINE_WEIGHT_TILE_H
#define ENGINE_WEIGHT_TILE_H

#include "vec.h"

struct pixel {
    int64_t x, dy;
};

/* any number of rows, 1 <= vecs <= TILE_VECS */
void NAME(weight_tiles)(int64_t rows, int64_t vecs, int64_t pixels, const struct pixel *pixel, const elem *x,
                        const int64_t *row, const elem *dy, elem *acc);

#endif
