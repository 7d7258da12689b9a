/* Depthwise correlations of arrays whose rows lie contiguous in memory: a channel's plane after the other, in place. */
#ifndef ENGINE_DEPTHWISE_H
#define ENGINE_DEPTHWISE_H

#include "correlate.h"

/* `across` consecutive phases, a divisor of `phases`, fill the same rows of dest between them */
int NAME(depthwise_suits)(int64_t phases, int64_t across, const struct correlation *phase);
int64_t NAME(depthwise_workspace)(int64_t phases, int64_t across, const struct correlation *phase);
void NAME(depthwise)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source, const elem *weight,
                     const elem *bias, elem *dest, void *workspace);

#endif
