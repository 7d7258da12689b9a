/* One channel of a depthwise correlation, from a staged plane (see narrow.h) to rows of the destination. */
#ifndef ENGINE_DEPTHWISE_H
#define ENGINE_DEPTHWISE_H

#include "vec.h"

struct depthwise_rows {
    int64_t taps_h, taps_w, step_h;
    const int64_t *column; /* where the taps of the first row read, relative to the first pixel */
    const elem *weights;   /* [taps_h][taps_w] */
    const elem *source;
    int64_t pitch, plane;  /* from row to row of a sub-plane, and from one row's sub-plane to the next row's */
    elem bias;
    int relu;
    int64_t rows, cols;
    elem *to;
    int64_t to_pitch;
};

int NAME(depthwise_rows_suits)(int64_t taps_h, int64_t space_h, int64_t step_h, int64_t rows);
void NAME(depthwise_rows)(const struct depthwise_rows *d);

#endif
