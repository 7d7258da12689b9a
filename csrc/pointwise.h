/* Convolution with one tap (1x1), forward and backward data: a product of the weights and the pixels' channels.

   The pixels of all images are counted in one row, so that small images fill tiles between them.  Every sum runs over
   the channels in the same order wherever its pixel falls, so the batch does not show in the bits. */
#ifndef ENGINE_POINTWISE_H
#define ENGINE_POINTWISE_H

#include "arena.h"
#include "correlate.h"

/* Phases without taps, which backward data with a stride has besides the first, are where dest becomes zero. */
int NAME(pointwise_suits)(int64_t phases, const struct correlation *phase);
int64_t NAME(pointwise_workspace)(const struct correlation *c, int packed);
/* the weights come either as they are or packed, the other is NULL */
void NAME(pointwise)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source,
                     const elem *weight, const elem *packed, const elem *bias, elem *dest, void *workspace);

/* 0 bytes: the weights are used as they are */
int64_t NAME(pointwise_packed_bytes)(const struct correlation *c);
void NAME(pointwise_pack)(const struct correlation *c, const elem *weight, elem *packed);

/* one for each memory order of dest: vectors along its pixels, or along its channels */
int64_t NAME(pointwise_planes_workspace)(const struct correlation *c);
void NAME(pointwise_planes)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source,
                            const elem *weight, const elem *bias, elem *dest, void *workspace);
int64_t NAME(pointwise_last_workspace)(const struct correlation *c, int packed);
void NAME(pointwise_last)(int64_t phases, const struct correlation *phase, const elem *source, const elem *weight,
                          const elem *packed, const elem *bias, elem *dest, void *workspace);
int64_t NAME(pointwise_last_packed_bytes)(const struct correlation *c);
void NAME(pointwise_last_pack)(const struct correlation *c, const elem *weight, elem *packed);

/* The pixels of n images in a row; `run` of them after one another are evenly spaced. */
struct pixels {
    int64_t run, h, w, stride_n, stride_h, stride_w;
};

INLINE struct pixels pixels_of(int64_t n, int64_t h, int64_t w, int64_t stride_n, int64_t stride_h, int64_t stride_w) {
    if (w == 1) w = h, h = 1, stride_w = stride_h;
    if (h == 1 && w == 1) w = n, stride_w = stride_n;
    int64_t run = h == 1 || stride_h == w * stride_w ? h * w : w;
    if (run == h * w && stride_n == run * stride_w) run *= n;
    return (struct pixels){run, h, w, stride_n, stride_h, stride_w};
}

INLINE struct pixels source_pixels(const struct correlation *c) {
    return pixels_of(c->n, c->dh, c->dw, c->s_stride[0], c->s_stride[2] * c->step_h, c->s_stride[3] * c->step_w);
}

INLINE struct pixels dest_pixels(const struct correlation *c) {
    return pixels_of(c->n, c->dh, c->dw, c->d_stride[0], c->d_stride[2], c->d_stride[3]);
}

/* Copies the pixels of one channel, so many, `stride` apart.  If it is free to, it reads and writes whole vectors:
   where the next channel lies behind, and what is written too much is overwritten later. */
INLINE void copy_pixels(int64_t count, const elem *from, int64_t stride, elem *to, int free) {
    int64_t i = 0, end = free ? count : count - LANES + 1; /* of the first element of a vector */
    if (stride == 1)
        for (; i < end; i += LANES) vec_store(to + i, vec_load(from + i));
    else if (stride == 2 && free)
        for (; i < end; i += LANES) vec_store(to + i, vec_even(vec_load(from + 2 * i), vec_load(from + 2 * i + LANES)));
    for (; i < count; i++) to[i] = from[i * stride];
}

/* whether reading whole vectors of pixels stays within the next channel */
INLINE int next_channel_covers(int64_t count, int64_t stride, int64_t stride_c) {
    return stride > 0 && (count + LANES - 1) / LANES * LANES * stride <= stride_c + (count - 1) * stride;
}

/* a destination of so many bytes is no longer in a cache when somebody reads it */
enum { POINTWISE_STREAM_BYTES = 8 << 20 };

INLINE int pointwise_streams(const struct correlation *c) {
    return c->n * c->g * c->dc * c->dh * c->dw * (int64_t)sizeof(elem) >= POINTWISE_STREAM_BYTES;
}

INLINE int64_t pixel_offset(const struct pixels *p, int64_t q) {
    return q / (p->h * p->w) * p->stride_n + q / p->w % p->h * p->stride_h + q % p->w * p->stride_w;
}

/* the pixels from q to the end of its run */
INLINE int64_t pixels_left(const struct pixels *p, int64_t q) { return p->run - q % p->run; }

#endif
