/* The gradient of pooling planes, a strip of its rows at a time.

   Each window has one share of the gradient, for each of its cells or for its maximum.  The rows of windows that reach into a
   strip are laid out in a buffer, then the cells of the strip gather their shares: of small windows directly, of large ones
   along the rows first; but the shares of the maxima of large windows are scattered, one by one. */
#include "pool2d_planes.h"
#include "pool2d_spread.h"
#include "sink.h"
#include "thread.h"

enum {
    STRIP_BYTES = 16 * 1024, /* of the gradient, in L1 */
    SCATTER_TAPS = 3 * LANES / 2, /* from so many cells per window on, one addition per window beats one vector per cell */
};

struct plan {
    struct planes g;
    int64_t rows, task_rows; /* of all planes, of cells */
    int64_t strip;           /* rows of cells */
    int64_t shares;          /* rows of windows that reach into a strip, at most */
    int64_t margin, pitch;   /* of a row of shares: the zeros before it; with those after it */
    int64_t wide;            /* a row of cells, and what is written past its end */
    int scatter, separable;
};

struct scratch {
    struct strip strip;
    elem *norm;     /* results of the windows of a strip */
    elem *share;
    bits *code;
    int64_t *reach, *reach_begin;
    elem *adjoint;  /* rows of windows, spread along w, if separable */
    elem *line;
    struct sink dx;
};

static struct plan plan(const struct pool *pool) {
    const struct axis *h = &pool->h, *w = &pool->w;
    struct plan b = {.g = NAME(planes_plan)(pool), .rows = pool->p->n * pool->p->c * h->in};
    int64_t row_bytes = (h->in * w->in + h->out * w->out) / h->in * (int64_t)sizeof(elem);
    b.task_rows = rows_per_task(h->in, row_bytes, 8 * h->span);
    int64_t cells = h->kernel * w->kernel;
    b.scatter = pool->maximum && (cells > SCATTER_TAPS || w->stride > 2);
    b.separable = !pool->maximum && (cells > 9 || w->stride > 2);

    int64_t wanted = max64((b.scatter ? 4 : 1) * STRIP_BYTES / (w->in * (int64_t)sizeof(elem)), 2 * h->span);
    b.strip = min64(h->in, ceil_div(wanted, h->stride) * h->stride);
    b.shares = h->regular ? (b.strip + (h->kernel - 1) * h->step - 1) / h->stride + 1 : b.strip * h->out / h->in + 3;
    b.shares = min64(h->out, b.shares);
    b.margin = whole((w->kernel - 1) * w->step / w->stride + 1);
    b.pitch = b.margin + whole(max64(w->out, w->in / w->stride + w->pad / w->stride + 2)) + 2 * LANES;
    b.wide = whole(w->in) + w->stride * LANES;
    return b;
}

static struct scratch carve(const struct plan *b, struct arena *arena) {
    const struct pool *pool = b->g.pool;
    const struct axis *w = &pool->w;
    struct scratch s = {
        .strip = NAME(planes_strip)(&b->g, arena),
        .norm = pool->reads_x ? ARENA_TAKE(arena, elem, max64(1, b->g.strip) * b->g.columns) : NULL,
        .share = ARENA_TAKE(arena, elem, b->shares * b->pitch),
        .code = pool->maximum ? ARENA_TAKE(arena, bits, b->shares * b->pitch) : NULL,
        .reach = ARENA_TAKE(arena, int64_t, w->kernel),
        .reach_begin = ARENA_TAKE(arena, int64_t, w->stride + 1),
        .adjoint = b->separable ? ARENA_TAKE(arena, elem, b->shares * b->wide) : NULL,
        .line = ARENA_TAKE(arena, elem, w->in + LANES),
        .dx.buffer = ARENA_TAKE(arena, char, SINK_BYTES + (b->strip * w->in + b->wide) * (int64_t)sizeof(elem)),
    };
    return s;
}

int64_t NAME(planes_backward_scratch)(const struct pool *pool) {
    struct plan b = plan(pool);
    struct arena arena = {0};
    carve(&b, &arena);
    return arena.used;
}

/* The codes of rows i0 to i1 of windows, as they are given ... */
static void load_codes(const struct plan *b, int64_t plane, int64_t i0, int64_t i1, bits *code) {
    const struct pool *pool = b->g.pool;
    const engine_pool2d *p = pool->p;
    const int64_t *given = pool->given + plane / p->c * p->index_stride[0] + plane % p->c * p->index_stride[1];
    int64_t count = p->ow, step = p->index_stride[3];
    for (int64_t i = i0; i < i1; i++, code += b->pitch) {
        const int64_t *row = given + i * p->index_stride[2];
        check_given(pool, row, count, step);
        int64_t m = 0, vectors = step != 1 ? 0 : row + whole(count) <= pool->given_end ? count : count - LANES + 1;
        for (; m < vectors; m += LANES) {
            vec_store_bits(code + m, pool_load_index(row + m));
        }
        for (; m < count; m++) code[m] = (bits)row[m * step];
    }
}

/* ... or looked for in x again; or the norms, sums as yet. */
static void search(const struct plan *b, const struct scratch *s, int64_t plane, int64_t i0, int64_t i1, bits *code) {
    const struct pool *pool = b->g.pool;
    const elem *x = plane_of(pool->x, pool->p->x_stride, pool->p->c, plane);
    NAME(planes_reduce)(&b->g, &s->strip, x, i0, i1, s->norm, b->g.columns, code, b->pitch);
}

/* The share of each cell of LANES windows of row i, those from m on, whose gradient is dy. */
INLINE vec share_of(const struct plan *b, const struct scratch *s, int64_t i, int64_t m, const elem *norm, vec dy) {
    const struct pool *pool = b->g.pool;
    if (pool->maximum) return dy;
    if (b->g.scale != 0) return dy * vec_splat(b->g.scale);
    vec count = vec_splat(pool->h.count[i]) * vec_load(s->strip.count_w + m);
    return pool_share(pool, dy, norm ? pool_finish(pool, vec_load(norm + m), count) : count, count);
}

/* The shares of rows i0 to i1 of windows. */
static void load_shares(const struct plan *b, const struct scratch *s, int64_t plane, int64_t i0, int64_t i1, elem *share) {
    const struct pool *pool = b->g.pool;
    const engine_pool2d *p = pool->p;
    const elem *dy = plane_of(pool->dy, p->y_stride, p->c, plane), *norm = pool_is_norm(pool) ? s->norm : NULL;
    for (int64_t i = i0; i < i1; i++, share += b->pitch) {
        const elem *row = dy + i * p->y_stride[2], *end = pool->dy_end;
        if (p->y_stride[3] != 1) {
            for (int64_t j = 0; j < p->ow; j++) share[j] = row[j * p->y_stride[3]];
            row = share, end = share + p->ow + LANES;
        }
        int64_t m = 0;
        for (; m + LANES <= p->ow; m += LANES) vec_store(share + m, share_of(b, s, i, m, norm, vec_load(row + m)));
        if (m < p->ow) {
            vec last = share_of(b, s, i, m, norm, load_before(row + m, p->ow - m, end));
            vec_store(share + m, (vec)((vec_bits)last & first_lanes(p->ow - m)));
        }
        if (norm) norm += b->g.columns;
    }
}

/* Shares and codes of rows i0 to i1 of windows. */
static void lay_out(const struct plan *b, const struct scratch *s, int64_t plane, int64_t i0, int64_t i1) {
    const struct pool *pool = b->g.pool;
    int64_t at = b->margin;
    if (pool->given) load_codes(b, plane, i0, i1, s->code + at);
    if (!pool->reads_x) {
        load_shares(b, s, plane, i0, i1, s->share + at);
        return;
    }
    for (int64_t i = i0, next; i < i1; i = next, at += b->g.strip * b->pitch) {
        next = min64(i1, i + b->g.strip);
        search(b, s, plane, i, next, s->code ? s->code + at : NULL);
        load_shares(b, s, plane, i, next, s->share + at);
    }
}

static void scatter(const struct plan *b, const struct scratch *s, int64_t rows, int64_t h0, int64_t h1, elem *dx) {
    const struct pool *pool = b->g.pool;
    int64_t cells = (h1 - h0) * pool->w.in;
    bits start = (bits)(h0 * pool->w.in);
    memset(dx, 0, (size_t)cells * sizeof(elem));
    for (int64_t i = 0; i < rows; i++) {
        const elem *share = s->share + i * b->pitch + b->margin;
        const bits *code = s->code + i * b->pitch + b->margin;
        for (int64_t j = 0; j < pool->w.out; j++) {
            bits at = code[j] - start;
            if (at < (bits)cells) dx[at] += share[j]; /* elsewhere: another strip's row */
        }
    }
}

static void gather(const struct plan *b, const struct scratch *s, int64_t plane, int64_t i0, int64_t i1, int64_t h0, int64_t h1,
                   elem *dx) {
    const struct pool *pool = b->g.pool;
    const engine_pool2d *p = pool->p;
    const struct axis *w = &pool->w;
    const elem *dy = plane_of(pool->dy, p->y_stride, p->c, plane) + i1 * p->y_stride[2];
    const int64_t *given = NULL;
    if (pool->given) given = pool->given + plane / p->c * p->index_stride[0] + plane % p->c * p->index_stride[1] + i1 * p->index_stride[2];
    int64_t per_row = p->y_stride[3] == 1 ? ceil_div((i1 - i0) * p->ow, h1 - h0) : 0;
    struct spread all = {
        .share = s->share + b->margin, .code = s->code ? s->code + b->margin : NULL, .pitch = b->pitch, .row = i0,
        .h = &pool->h, .kernel = w->kernel, .stride = w->stride, .pad = w->pad, .step = w->step, .reach = s->reach,
        .reach_begin = s->reach_begin, .begin = h0, .end = h1, .cells = w->in, .to = dx, .to_pitch = w->in,
        .ahead = {(const char *)dy, (const char *)given}, .ahead_bytes = {per_row * ELEM_BYTES, given ? per_row * 8 : 0},
    };
    if (b->separable) {
        struct spread along_w = all;
        along_w.h = NULL, along_w.begin = i0, along_w.end = i1, along_w.to = s->adjoint, along_w.to_pitch = b->wide;
        NAME(spread_rows)(&along_w);
        all.ahead_bytes[0] = 0;
        all.share = s->adjoint, all.pitch = b->wide;
        all.kernel = all.stride = all.step = 1, all.pad = 0;
    }
    NAME(spread_rows)(&all);
}

/* The gradient of a norm has a factor for every cell. */
static void multiply(const struct plan *b, const struct scratch *s, int64_t plane, int64_t h0, int64_t h1, elem *dx) {
    const struct pool *pool = b->g.pool;
    const engine_pool2d *p = pool->p;
    for (int64_t h = h0; h < h1; h++, dx += p->iw) {
        const elem *x = plane_of(pool->x, p->x_stride, p->c, plane) + h * p->x_stride[2];
        for (int64_t j = 0; p->x_stride[3] != 1 && j < p->iw; j++) s->line[j] = x[j * p->x_stride[3]];
        if (p->x_stride[3] != 1) x = s->line;
        for (int64_t m = 0; m < p->iw; m += LANES) {
            int64_t cells = p->iw - m;
            vec v = vec_load(dx + m) * pool_factor(pool, load_before(x + m, cells, x + p->iw));
            cells >= LANES ? vec_store(dx + m, v) : vec_store_first(dx + m, v, cells);
        }
    }
}

/* Rows h0 to h1 of the gradient of a plane. */
static void write_strip(const struct plan *b, struct scratch *s, int64_t plane, int64_t h0, int64_t h1) {
    const struct pool *pool = b->g.pool;
    const engine_pool2d *p = pool->p;
    int64_t i0 = pool->h.lo[h0], i1 = max64(i0, pool->h.hi[h1 - 1]);
    elem *dx = sink_place(&s->dx, (h1 - h0) * p->iw + b->wide - p->iw);
    lay_out(b, s, plane, i0, i1);
    if (b->scatter)
        scatter(b, s, i1 - i0, h0, h1, dx);
    else
        gather(b, s, plane, i0, i1, h0, h1, dx);
    if (pool_is_norm(pool)) multiply(b, s, plane, h0, h1, dx);
    NAME(sink_rows)(&s->dx, plane_of(pool->dx, p->dx_stride, p->c, plane) + h0 * p->dx_stride[2], h1 - h0, p->iw);
}

static void prepare(const struct plan *b, struct scratch *s) {
    if (*s->strip.ready) return;
    NAME(planes_ready)(&b->g, &s->strip);
    NAME(spread_reach)(&b->g.pool->w, s->reach, s->reach_begin);
    memset(s->share, 0, (size_t)(b->shares * b->pitch) * sizeof(elem));
    if (s->code) memset(s->code, 0, (size_t)(b->shares * b->pitch) * sizeof(bits));
}

static void backward_task(void *context, int64_t task, int64_t worker) {
    const struct plan *b = context;
    const struct pool *pool = b->g.pool;
    const engine_pool2d *p = pool->p;
    int64_t begin = task * b->task_rows, end = min64(b->rows, begin + b->task_rows);
    struct arena arena = {.base = pool->scratch + worker * pool->scratch_bytes};
    struct scratch s = carve(b, &arena);
    prepare(b, &s);
    s.dx.item = sizeof(elem), s.dx.row = p->dx_stride[2], s.dx.step = p->dx_stride[3], s.dx.stream = pool->stream;
    s.dx.contiguous = contiguous(p->dx_stride, p->c, p->ih, p->iw);
    sink_open(&s.dx, pool->dx + begin * p->iw, pool->dx + end * p->iw);
    for (int64_t row = begin, rows; row < end; row += rows) {
        int64_t h = row % p->ih;
        rows = min64(min64(b->strip, p->ih - h), end - row);
        write_strip(b, &s, row / p->ih, h, h + rows);
    }
    NAME(sink_close)(&s.dx);
}

void NAME(planes_backward)(const struct pool *pool) {
    struct plan b = plan(pool);
    planes_begin(pool);
    engine_parallel(pool->p->threads, ceil_div(b.rows, b.task_rows), backward_task, &b);
}
