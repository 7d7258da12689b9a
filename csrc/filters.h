/* Filters in the order in which vectors along the destination's channels read them. */
#ifndef ENGINE_FILTERS_H
#define ENGINE_FILTERS_H

#include "correlate.h"

/* weight[lane][channel][tap], with the strides of `c`, to to[channel][tap][width]; lanes past the last are zero */
void NAME(gather_filters)(const struct correlation *c, int64_t lanes, int64_t channels, const elem *from, int64_t width,
                          elem *to);

#endif
