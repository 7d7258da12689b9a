/* Pooling: fills in the tables of both axes and chooses the way. */
#include "cpu.h"
#include "pool2d.h"

#include <math.h>

enum way { PIXELS, PLANES, WINDOWS };

/* Results of more bytes, or of half the cache, are not read from a cache by whoever wants them next. */
enum { STREAM_BYTES = 32 << 20 };

enum { MAX_STRIDE = 16 }; /* along w, for which planes are staged */

static struct axis axis(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t step, int adaptive) {
    if (adaptive && in % out == 0) adaptive = 0, kernel = stride = in / out, pad = 0, step = 1;
    if (adaptive) {
        int64_t span = min64(in, in / out + 2);
        return (struct axis){.in = in, .out = out, .kernel = span, .stride = 1, .step = 1, .span = span,
                             .cover = min64(out, out / in + 2)};
    }
    int64_t span = (kernel - 1) * step + 1;
    return (struct axis){.in = in, .out = out, .kernel = kernel, .stride = stride, .pad = pad, .step = step, .regular = 1,
                         .span = min64(in, span), .cover = min64(out, ceil_div(span, stride))};
}

/* `padded`: the end of the trailing padding, from the first cell, if cells of the padding count. */
static void fill(struct axis *a, int64_t padded, int include_pad, struct arena *arena, int backward) {
    a->start = ARENA_TAKE(arena, int64_t, a->out);
    a->first = ARENA_TAKE(arena, int64_t, a->out);
    a->end = ARENA_TAKE(arena, int64_t, a->out);
    a->count = ARENA_TAKE(arena, elem, a->out);
    a->lo = backward ? ARENA_TAKE(arena, int64_t, a->in) : NULL;
    a->hi = backward ? ARENA_TAKE(arena, int64_t, a->in) : NULL;
    if (!arena->base) return;

    for (int64_t j = 0; j < a->out; j++) {
        int64_t start = a->regular ? j * a->stride - a->pad : j * a->in / a->out, first = start;
        int64_t span = a->regular ? (a->kernel - 1) * a->step + 1 : ceil_div((j + 1) * a->in, a->out) - start;
        if (start < 0) first += ceil_div(-start, a->step) * a->step;
        a->start[j] = start, a->first[j] = first, a->end[j] = min64(a->in, start + span);
        int64_t from = include_pad ? start : first, to = include_pad ? min64(padded, start + span) : a->end[j];
        a->count[j] = (elem)(from < to ? (to - 1 - from) / a->step + 1 : 1);
    }
    for (int64_t cell = 0, lo = 0, hi = 0; backward && cell < a->in; cell++) {
        while (lo < a->out && a->end[lo] <= cell) lo++;
        while (hi < a->out && a->start[hi] <= cell) hi++;
        a->lo[cell] = lo, a->hi[cell] = hi;
    }
}

static void choose_order(struct pool *pool) {
    const engine_pool2d *p = pool->p;
    bits sign = (bits)1 << (8 * ELEM_BYTES - 1);
    pool->maximum = p->kind == ENGINE_MAX || p->kind == ENGINE_MIN;
    if (pool->maximum) {
        pool->flip = (p->is_unsigned ? sign : 0) ^ (p->kind == ENGINE_MAX ? 0 : ELEM_IS_FLOATING ? sign : ~(bits)0);
        pool->term = pool->flip ? TERM_FLIP : TERM_SAME;
        pool->outside = ELEM_IS_FLOATING ? (elem)-INFINITY : (elem)sign;
    } else if (p->kind == ENGINE_LP) {
        pool->term = p->p == 1 ? TERM_ABS : p->p == 2 ? TERM_SQUARE : TERM_POWER;
    }
}

static enum way choose_way(const struct pool *pool) {
    const struct axis *h = &pool->h, *w = &pool->w;
    if (NAME(pixels_in_place)(pool)) return PIXELS;
    int regular = w->regular && w->stride <= MAX_STRIDE && (w->kernel - 1) * w->step + w->pad <= 4 * w->in + 64;
    /* rows that fill less than half a vector are better transposed, unless little is done with them */
    int little = pool->backward && !pool->reads_x ? w->stride > 1 : h->kernel * w->kernel <= 4;
    if (regular && 8 * w->out >= (little ? 3 : 4) * LANES) return PLANES;
    if (NAME(pixels_fit)(pool)) return PIXELS;
    return regular && h->kernel <= h->in && w->span < 2 * LANES ? PLANES : WINDOWS;
}

/* Everything but the arrays; with a base in the arena the tables are filled, without one it is only measured. */
static enum way prepare(struct pool *pool, const engine_pool2d *p, int backward, int indexed, struct arena *arena) {
    *pool = (struct pool){.p = p, .backward = backward, .indexed = indexed};
    choose_order(pool);
    int norm = p->kind == ENGINE_LP;
    pool->reads_x = !backward || norm || (pool->maximum && !indexed);
    pool->coded = pool->maximum && (backward || indexed);
    pool->h = axis(p->ih, p->oh, p->kh, p->stride_h, p->pad_t, p->dil_h, p->adaptive);
    pool->w = axis(p->iw, p->ow, p->kw, p->stride_w, p->pad_l, p->dil_w, p->adaptive);
    int include_pad = p->include_pad && !p->adaptive;
    fill(&pool->h, p->ih + p->pad_b, include_pad, arena, backward);
    fill(&pool->w, p->iw + p->pad_r, include_pad, arena, backward);
    int64_t cells = backward ? p->ih * p->iw : p->oh * p->ow, bytes = pool->coded && !backward ? ELEM_BYTES + 8 : ELEM_BYTES;
    pool->stream = p->n * p->c * cells * bytes >= min64(STREAM_BYTES, cpu_cache_bytes() / 2);

    enum way way = choose_way(pool);
    pool->scratch_bytes = way == PIXELS    ? NAME(pixels_scratch)(pool)
                          : way == WINDOWS ? NAME(windows_scratch)(pool)
                          : backward       ? NAME(planes_backward_scratch)(pool)
                                           : NAME(planes_forward_scratch)(pool);
    if (way == WINDOWS && backward) {
        int64_t windows = p->n * p->c * p->oh * p->ow;
        pool->window_code = pool->maximum ? ARENA_TAKE(arena, bits, windows) : NULL;
        pool->window_share = pool->maximum ? NULL : ARENA_TAKE(arena, elem, windows);
    }
    pool->scratch = arena_take(arena, pool->scratch_bytes * p->threads);
    return way;
}

int64_t NAME(pool2d_workspace)(const engine_pool2d *p, int32_t backward, int32_t indexed) {
    struct arena arena = {0};
    struct pool pool;
    prepare(&pool, p, backward, indexed, &arena);
    return arena.used;
}

/* Elements from the first to behind the last one in memory. */
static int64_t extent(const int64_t stride[4], int64_t n, int64_t c, int64_t h, int64_t w) {
    return 1 + max64(0, (n - 1) * stride[0]) + max64(0, (c - 1) * stride[1]) + max64(0, (h - 1) * stride[2]) +
           max64(0, (w - 1) * stride[3]);
}

void NAME(pool2d_forward)(const engine_pool2d *p, const void *x, void *y, int64_t *index, void *workspace) {
    struct arena arena = {.base = workspace};
    struct pool pool;
    enum way way = prepare(&pool, p, 0, index != NULL, &arena);
    pool.x = x, pool.y = y, pool.index = index;
    pool.x_end = pool.x + extent(p->x_stride, p->n, p->c, p->ih, p->iw);
    if (way == PIXELS)
        NAME(pixels_run)(&pool);
    else if (way == PLANES)
        NAME(planes_forward)(&pool);
    else
        NAME(windows_forward)(&pool);
}

int32_t NAME(pool2d_backward)(const engine_pool2d *p, const void *dy, const void *x, const int64_t *index, void *dx,
                              void *workspace) {
    _Atomic int32_t astray = 0;
    struct arena arena = {.base = workspace};
    struct pool pool;
    enum way way = prepare(&pool, p, 1, index != NULL, &arena);
    pool.x = pool.reads_x ? x : NULL, pool.dy = dy, pool.dx = dx, pool.given = index, pool.astray = &astray;
    pool.dy_end = pool.dy + extent(p->y_stride, p->n, p->c, p->oh, p->ow);
    if (index) pool.given_end = index + extent(p->index_stride, p->n, p->c, p->oh, p->ow);
    if (pool.reads_x) pool.x_end = pool.x + extent(p->x_stride, p->n, p->c, p->ih, p->iw);
    if (way == PIXELS)
        NAME(pixels_run)(&pool);
    else if (way == PLANES)
        NAME(planes_backward)(&pool);
    else
        NAME(windows_backward)(&pool);
    return !astray;
}
