/* First layers: many channels of planes from the few of an image.  Sums are short there and results many, so what counts is how
   results are written: vectors lie along the pixels of a row, and each goes from its register to its place, past the caches
   where the destination is large.  Nothing is transposed or laid down in between. */
#ifndef ENGINE_FIRST_LAYER_H
#define ENGINE_FIRST_LAYER_H

#include "correlate.h"

int NAME(first_layer_suits)(const struct correlation *c);
int64_t NAME(first_layer_workspace)(const struct correlation *c);
void NAME(first_layer)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias, elem *dest,
                       void *workspace);

#endif
