/* Reducing rows of windows: each window to its maximum or to the sum of its cells. */
#ifndef ENGINE_POOL2D_ROWS_H
#define ENGINE_POOL2D_ROWS_H

#include "pool2d.h"

struct rows {
    const elem *const *cells; /* row after row, the first one the top row of the first row of windows */
    int64_t kh, stride_h, step_h;
    int64_t kw, stride, step;
    const int64_t *offset;    /* cell k of window m is at m + offset[k]; NULL: at m*stride + k*step, the stride 1 or 2 */
    const elem *ahead;        /* memory that is asked for already, rows as these; or NULL */
    int64_t ahead_row;
    int64_t count, columns;   /* rows of windows; windows in each, in whole vectors */

    elem *value;
    int64_t value_pitch;

    /* maxima */
    bits flip;                /* of the results */
    elem outside;
    bits *code;               /* where each maximum is, or NULL */
    int64_t code_pitch;
    int64_t carried;          /* the cells are maxima, too: their codes lie that far behind them; or 0 */
    const bits *first;        /* if windows begin in the padding: the code of the first cell inside, along w ... */
    const bits *skip;         /* ... and along h, for each row of windows; NULL: 0 */
    bits code_row;            /* what a code grows by from row to row of cells */
    bits at, at_row, at_column; /* is added to the codes of the first window, and so much more to those of the others */

    /* sums */
    const elem *count_h, *count_w; /* of cells; NULL: sums it is.  Otherwise averages */
    elem scale;               /* the reciprocal of all counts if that is exact, or 0 */
};

void NAME(rows_maximum)(const struct rows *r);
void NAME(rows_sum)(const struct rows *r);

#endif
