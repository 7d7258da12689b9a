/* The four phases of 3x3 taps at stride 2 backward, together: rows of pairs of pixels, each pair of rows from the same
   two source rows, written in order. */
#ifndef ENGINE_DEPTHWISE_SPREAD_H
#define ENGINE_DEPTHWISE_SPREAD_H

#include "depthwise_rows.h"

/* pair: the phases of the even rows of the destination, and those of the odd ones */
int NAME(depthwise_spread_suits)(const struct depthwise_rows pair[2]);
void NAME(depthwise_spread)(const struct depthwise_rows pair[2]);

#endif
