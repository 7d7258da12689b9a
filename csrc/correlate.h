/* A dense correlation between two 4-D arrays of any strides, vectors along the destination's channels:

       d[n, g*dc + j, h, w] = sum over c, t of  s[n, g*sc + c, h*step_h + tap_h[t], w*step_w + tap_w[t]] * weight[g][j][c][t]

   where s outside its bounds is zero.  Convolution forward is one of these; backward data is one per phase of the stride. */
#ifndef ENGINE_CORRELATE_H
#define ENGINE_CORRELATE_H

#include "vec.h"

struct correlation {
    int64_t n, g, sc, dc;                     /* batch, groups, channels of a group in source and destination */
    int64_t sh, sw, dh, dw;                   /* planes of source and destination */
    int64_t step_h, step_w;                   /* source pixels per destination pixel */
    int64_t taps_h, taps_w;                   /* taps form a grid: tap (i, j) reads row first_h + i*space_h, ... */
    int64_t first_h, first_w, space_h, space_w;
    int64_t s_stride[4], d_stride[4];         /* n c h w */
    int64_t w_group, w_dc, w_sc, w_h, w_w;    /* strides of weight: group, d channel, s channel, tap row, tap column */
    int64_t weight_offset, d_offset;          /* of the first weight and the first destination element */
    int64_t residual;                         /* from a result to what is added to it; 0: nothing (amx_pointwise.h only) */
    int im2col, relu;
    int bfloat16;                             /* source and destination are (amx_correlate.h only) */
    int64_t threads;
};

/* Several correlations of one source, the phases of one convolution: `across` consecutive ones, a divisor of `phases`, fill the
   same rows of the destination between them.  The first phase has the most rows and columns. */
int64_t NAME(correlate_workspace)(int64_t phases, int64_t across, const struct correlation *phase, int packed);

/* writes all of dest; bias may be NULL; the weights come either as they are or packed, the other is NULL */
void NAME(correlate)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source, const elem *weight,
                     const elem *packed, const elem *bias, elem *dest, void *workspace);

/* The weights of one phase as the tiles read them; packed phases follow one another. */
int64_t NAME(correlate_packed_bytes)(const struct correlation *phase);
void NAME(correlate_pack)(const struct correlation *phase, const elem *weight, elem *packed);

#endif
