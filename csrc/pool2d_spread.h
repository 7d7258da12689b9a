/* The way back from rows of windows to rows of cells: each cell sums the shares of the windows that hold it. */
#ifndef ENGINE_POOL2D_SPREAD_H
#define ENGINE_POOL2D_SPREAD_H

#include "pool2d.h"

struct spread {
    const elem *share;      /* of window 0 of the first row of windows that is here, rows `pitch` apart; 0 beside a row */
    const bits *code;       /* laid out alike: the place in the plane that gets the share; NULL: every cell of the window */
    int64_t pitch, row;     /* row: the number of that first row of windows */

    const struct axis *h;   /* rows of cells and of windows; NULL: each row of cells has one row of windows, of its number */
    int64_t kernel, stride, pad, step; /* along a row */
    const int64_t *reach;   /* if the stride is 3 or more, or the step 2 or more: for each residue of a column ... */
    const int64_t *reach_begin; /* ... how many windows further on those are that hold it */

    int64_t begin, end;     /* rows of cells */
    int64_t cells;          /* in each */
    elem *to;               /* written up to stride * LANES elements further */
    int64_t to_pitch;

    const char *ahead[2];   /* memory that is asked for already, as it will be read next ... */
    int64_t ahead_bytes[2]; /* ... so much of it with every row */
};

/* Fills in `reach`, as long as the kernel, and `reach_begin`, one longer than the stride. */
void NAME(spread_reach)(const struct axis *w, int64_t *reach, int64_t *reach_begin);
void NAME(spread_rows)(const struct spread *s);

#endif
