/* 3x3 taps at step 1 or 2 over rows of up to four vectors: the sums of the destination rows that a source row belongs
   to roll down the plane in registers, so that every source row is read once, from its beginning to its end. */
#ifndef ENGINE_DEPTHWISE_ROLL_H
#define ENGINE_DEPTHWISE_ROLL_H

#include "depthwise_rows.h"
#include "vec_mask.h"

enum { DEPTHWISE_BAND = 4 }; /* vectors: of wider rows every second half would be read by itself, which memory does not like */

/* All pixels of a row; taps of the first and of the last vector can be outside the source. */
struct depthwise_band {
    int64_t vecs, x[DEPTHWISE_BAND];
    vec_mask left[3], right[3];
};

/* The band of the rows of a phase that is alone, cut into so many columns: one for all planes.  0: others do these better. */
int NAME(depthwise_roll_suits)(const struct depthwise_phase *phase, int64_t columns, struct depthwise_band *band);
void NAME(depthwise_roll)(const struct depthwise_rows *d);

#endif
