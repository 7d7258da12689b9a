/* Correlations with few destination channels in a group (depthwise, grouped, one- or three-channel images): vectors lie
   along the pixels of a row instead of along channels.

   The source is staged with its columns and rows dealt out by the step, so that every tap reads consecutive elements
   whatever the stride, and one long loop runs over all pixels of a strip, the gaps between its rows included.  Several
   correlations that read the same source (the phases of backward data) share what is staged. */
#ifndef ENGINE_NARROW_H
#define ENGINE_NARROW_H

#include "correlate.h"

int NAME(narrow_suits)(const struct correlation *c);
/* `across` consecutive phases, a divisor of `phases`, fill the same rows of dest between them */
int64_t NAME(narrow_workspace)(int64_t phases, int64_t across, const struct correlation *phase);
void NAME(narrow)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source, const elem *weight,
                  const elem *bias, elem *dest, void *workspace);

#endif
