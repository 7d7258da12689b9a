/* Where sums leave the scratch memory they were formed in: bias and relu, and out to the destination in its memory order. */
#ifndef ENGINE_FINISH_H
#define ENGINE_FINISH_H

#include "vec.h"

/* Sums acc[pixel][width] of a rectangle of pixels, rows of acc_cols of which the first `cols` count, for `lanes` channels. */
struct finish {
    const elem *acc, *bias; /* bias may be NULL */
    elem *dest;
    int64_t rows, cols, acc_cols, lanes, width;
    int64_t d_c, d_h, d_w; /* strides of the destination: channel, row, column */
    int relu, stream;      /* stream: past the caches where that can be */
};

void NAME(finish)(const struct finish *f);

/* Two rectangles whose columns alternate in a destination of adjacent columns: `odd` fills what f, with d_w 2, leaves out. */
void NAME(finish_pair)(const struct finish *f, const elem *odd, int64_t odd_cols);

#endif
