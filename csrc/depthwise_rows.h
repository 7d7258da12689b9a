/* Rows of one plane of a depthwise correlation, read where they lie: vectors along the pixels of a row, several rows at
   once.  A tap that reaches past the end of a row reads whatever is there and masks it away. */
#ifndef ENGINE_DEPTHWISE_ROWS_H
#define ENGINE_DEPTHWISE_ROWS_H

#include "depthwise_edges.h"

enum { DEPTHWISE_ROWS = 4 }; /* at once */

/* One phase: the correlation (of which only the geometry of taps and steps is used) and what was prepared for it. */
struct depthwise_phase {
    const struct correlation *c;
    const elem *weights; /* [taps_w][taps_h] of this plane */
    const struct depthwise_column *column;
};

struct depthwise_rows {
    struct depthwise_phase phase[2]; /* the second: its pixels alternate with those of the first; or c is NULL */
    int64_t columns;
    const struct depthwise_band *band; /* where sums can roll down a row (depthwise_roll.h), or NULL */
    struct depthwise_strip strip;
    const elem *zeros;  /* what is read in place of a row outside the source, from its column 0 */
    elem bias;
    int64_t row0, rows; /* of the destination */
    elem *to;           /* row 0 */
    int64_t to_pitch;
};

/* in_pairs: with a second phase */
int NAME(depthwise_rows_suits)(const struct correlation *c, int in_pairs);
void NAME(depthwise_rows)(const struct depthwise_rows *d);

#endif
