/* 3x3 taps at step 1 or 2 over rows of up to four vectors: the sums of the destination rows that a source row belongs
   to roll down the plane in registers, so that every source row is read once, from its beginning to its end. */
#ifndef ENGINE_DEPTHWISE_ROLL_H
#define ENGINE_DEPTHWISE_ROLL_H

#include "depthwise_rows.h"

int NAME(depthwise_roll_suits)(const struct depthwise_rows *d);
void NAME(depthwise_roll)(const struct depthwise_rows *d);

#endif
