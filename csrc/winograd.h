/* Winograd's F(4x4, 3x3): stride-1 correlations with 3x3 taps by a quarter of the multiplications, and the gradient of their
   weights by F(3x3, 4x4).  winograd_transform.h holds the mathematics, whose fractions mean nothing to integers: for those this
   is not compiled, so that its calls stand behind ELEM_IS_FLOATING. */
#ifndef ENGINE_WINOGRAD_H
#define ENGINE_WINOGRAD_H

#include "correlate.h"

int64_t NAME(winograd_workspace)(const struct correlation *c, int packed);
/* As correlate(), for correlations with 3x3 taps, steps and spaces of 1.  `packed` is what winograd_pack() wrote, or NULL. */
void NAME(winograd)(const struct correlation *c, const elem *source, const elem *weight, const elem *packed, const elem *bias,
                    elem *dest, void *workspace);

int64_t NAME(winograd_packed_bytes)(const struct correlation *c);
void NAME(winograd_pack)(const struct correlation *c, const elem *weight, elem *packed);

int64_t NAME(winograd_weight_workspace)(const struct correlation *c);
/* The gradient of the weights of the correlation x -> y. */
void NAME(winograd_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace);

/* whether this is faster than the other kernels for an image by itself, its weights not packed */
int NAME(winograd_wins)(const struct correlation *c, int weight_gradient);

#endif
