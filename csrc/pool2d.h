/* What the three ways of pooling share.

   Along each axis, tables say which cells belong to which window, so padding, dilation, ceil mode and adaptive windows
   are all the same to the kernels.  Minimum is maximum of flipped bits: one XOR turns any order into that of `compare`.
   Both norms are sums of terms. */
#ifndef ENGINE_POOL2D_H
#define ENGINE_POOL2D_H

#include "arena.h"
#include "engine.h"
#include "vec.h"

#include <stdatomic.h>

struct axis {
    int64_t in, out, kernel, stride, pad, step; /* step: from cell to cell of a window */
    int regular;                                /* window j begins at j*stride - pad; else adaptive */
    int64_t span;                               /* longest window inside the input, holes included */
    int64_t cover;                              /* most windows that one cell can lie in */
    int64_t *start;                             /* of each window, in the padding perhaps */
    int64_t *first, *end;                       /* its cells inside the input: first, first + step, ... below end */
    int64_t *lo, *hi;                           /* the windows that may hold a cell: lo <= window < hi */
    elem *count;                                /* cells of each window, as the average counts them */
};

/* whether window j, one of those from lo to hi, does hold the cell, and does not step over it */
static inline int axis_holds(const struct axis *a, int64_t j, int64_t cell) {
    return a->step == 1 || (cell - a->start[j]) % a->step == 0;
}

enum term { TERM_SAME, TERM_FLIP, TERM_ABS, TERM_SQUARE, TERM_POWER };

struct pool {
    const engine_pool2d *p;
    struct axis h, w;
    int maximum;       /* with the order flipped perhaps; otherwise a sum */
    int backward, indexed; /* indexed: with an array of positions, of the result or given */
    int coded;         /* positions of maxima are needed inside */
    int reads_x;
    enum term term;    /* what is done to a cell before it is compared or summed */
    bits flip;
    elem outside;      /* what stands for a cell outside the input */
    int stream;        /* the result is too large to be in a cache when somebody reads it */
    char *scratch;     /* of all workers */
    int64_t scratch_bytes; /* of each */
    bits *window_code; /* of all windows, for windows_backward */
    elem *window_share;

    const elem *x, *x_end; /* x_end: behind the last element in memory, so far a vector may read */
    const elem *dy, *dy_end;
    elem *y, *dx;
    int64_t *index;
    const int64_t *given, *given_end; /* positions of the maxima, in backward */
    _Atomic int32_t *astray; /* becomes 1 if one of them is outside the plane */
};

/* To be called with all given positions as they are used: reading them is most of the work. */
static inline void check_given(const struct pool *pool, const int64_t *from, int64_t count, int64_t step) {
    uint64_t last = (uint64_t)(pool->h.in * pool->w.in - 1), wrong = 0;
    if (step == 1)
        for (int64_t k = 0; k < count; k++) wrong |= (uint64_t)from[k] | (last - (uint64_t)from[k]);
    else
        for (int64_t k = 0; k < count; k++) wrong |= (uint64_t)from[k * step] | (last - (uint64_t)from[k * step]);
    if (wrong >> 63) atomic_store_explicit(pool->astray, 1, memory_order_relaxed);
}

/* The three ways, each with the scratch memory it wants per worker, in bytes. */
int64_t NAME(planes_forward_scratch)(const struct pool *pool);
int64_t NAME(planes_backward_scratch)(const struct pool *pool);
void NAME(planes_forward)(const struct pool *pool);
void NAME(planes_backward)(const struct pool *pool);

int NAME(pixels_in_place)(const struct pool *pool); /* channels side by side already */
int NAME(pixels_fit)(const struct pool *pool);      /* or planes small enough to be transposed in cache */
int64_t NAME(pixels_scratch)(const struct pool *pool);
void NAME(pixels_run)(const struct pool *pool);

int64_t NAME(windows_scratch)(const struct pool *pool);
void NAME(windows_forward)(const struct pool *pool);
void NAME(windows_backward)(const struct pool *pool);

void NAME(pool2d_forward)(const engine_pool2d *p, const void *x, void *y, int64_t *index, void *workspace);
int32_t NAME(pool2d_backward)(const engine_pool2d *p, const void *dy, const void *x, const int64_t *index, void *dx,
                              void *workspace);
int64_t NAME(pool2d_workspace)(const engine_pool2d *p, int32_t backward, int32_t indexed);

#endif
