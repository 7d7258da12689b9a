/* A strip of some rows of windows of one plane.

   Rows of the input are read where they are if nothing stands in the way.  Otherwise they are staged: with a margin of padding
   on either side, their terms taken, and the columns of each residue modulo the stride apart if the stride is 3 or more.
   Above and below the plane stands one row of padding for all.  Small windows are reduced at once, large ones row by row. */
#include "pool2d_planes.h"
#include "pool2d_rows.h"

enum {
    STRIP_BYTES = 16 * 1024,    /* of input rows, in L1 */
    AHEAD = 4096 / ELEM_BYTES,  /* so far behind what is read memory is asked for */
};

/* An average that all windows divide by the same power of two is a product. */
static elem exact_scale(const struct pool *pool) {
    const struct axis *h = &pool->h, *w = &pool->w;
    if (!ELEM_IS_FLOATING || pool->maximum || pool_is_norm(pool) || !h->count) return 0;
    for (int64_t i = 1; i < h->out; i++)
        if (h->count[i] != h->count[0]) return 0;
    for (int64_t j = 1; j < w->out; j++)
        if (w->count[j] != w->count[0]) return 0;
    int64_t count = (int64_t)h->count[0] * (int64_t)w->count[0];
    return (count & (count - 1)) == 0 ? 1 / (elem)count : 0;
}

struct planes NAME(planes_plan)(const struct pool *pool) {
    const struct axis *h = &pool->h, *w = &pool->w;
    struct planes g = {.pool = pool, .columns = whole(w->out)};
    int64_t last = (w->out - 1) * w->stride - w->pad + (w->kernel - 1) * w->step;
    g.padded_w = w->pad > 0 || last >= w->in;
    g.in_place = w->stride <= 2 && !g.padded_w && pool->term == TERM_SAME && pool->p->x_stride[3] == 1;
    g.reach = (w->kernel - 1) * w->step + w->stride * g.columns;
    int64_t longest = max64(g.reach, w->pad + whole(w->in) + LANES) + LANES;
    g.pitch = whole(w->stride <= 2 ? longest : longest / w->stride + 1 + LANES);
    g.row = w->stride <= 2 ? g.pitch : w->stride * g.pitch;

    int64_t direct = h->kernel * w->kernel, apart = min64(h->stride, h->kernel) * w->kernel + h->kernel;
    g.separable = apart < direct && direct > 9;
    g.result = g.columns * (pool->coded ? 2 : 1);
    int64_t wanted = max64(STRIP_BYTES / (w->in * (int64_t)sizeof(elem)), 3 * h->span) / h->stride;
    g.strip = h->regular ? max64(1, min64(h->out, wanted)) : 1;
    g.scale = exact_scale(pool);
    return g;
}

/* Rows that a strip may look at, in the padding too; and those of them inside the input. */
static int64_t strip_rows(const struct planes *g) {
    const struct axis *h = &g->pool->h;
    return h->regular ? (g->strip - 1) * h->stride + (h->kernel - 1) * h->step + 1 : h->span;
}

struct strip NAME(planes_strip)(const struct planes *g, struct arena *arena) {
    const struct axis *w = &g->pool->w;
    int64_t rows = strip_rows(g), inside = min64(rows, g->pool->h.in);
    struct strip s = {.ready = ARENA_TAKE(arena, int64_t, 1), .count_w = ARENA_TAKE(arena, elem, g->columns)};
    if (!g->pool->reads_x) return s;
    s.outside = ARENA_TAKE(arena, elem, max64(g->row, g->result) + LANES);
    s.line = ARENA_TAKE(arena, elem, w->in + LANES);
    s.staged = ARENA_TAKE(arena, elem, inside * g->row + LANES);
    s.reduced = g->separable ? ARENA_TAKE(arena, elem, inside * g->result) : NULL;
    s.cells = ARENA_TAKE(arena, const elem *, rows);
    s.offset = ARENA_TAKE(arena, int64_t, w->kernel);
    s.first = ARENA_TAKE(arena, bits, g->columns);
    s.skip = ARENA_TAKE(arena, bits, g->pool->h.out);
    return s;
}

void NAME(planes_ready)(const struct planes *g, struct strip *s) {
    const struct pool *pool = g->pool;
    const struct axis *h = &pool->h, *w = &pool->w;
    if (*s->ready) return;
    *s->ready = 1;
    for (int64_t j = 0; j < g->columns; j++) s->count_w[j] = j < w->out ? w->count[j] : 1;
    if (!pool->reads_x) return;
    for (int64_t k = 0; k < w->kernel; k++)
        s->offset[k] = k * w->step % w->stride * g->pitch + k * w->step / w->stride;
    for (int64_t j = 0; j < g->columns; j++)
        s->first[j] = j < w->out && w->first[j] < w->end[j] ? (bits)(w->first[j] - w->start[j]) : 0;
    for (int64_t i = 0; i < h->out; i++)
        s->skip[i] = h->first[i] < h->end[i] ? (bits)((h->first[i] - h->start[i]) * w->in) : 0;
    for (int64_t k = 0; k < max64(g->row, g->result); k++) s->outside[k] = pool->outside;
    if (g->separable && pool->coded) memset(s->outside + g->columns, 0, (size_t)g->columns * sizeof(bits));
    for (int64_t k = 0; k < min64(strip_rows(g), h->in) * g->row; k++) s->staged[k] = pool->outside;
}

static void gather(const elem *row, int64_t step, int64_t count, elem *to) {
    for (int64_t j = 0; j < count; j++) to[j] = row[j * step];
}

static void stage(const struct planes *g, const struct strip *s, const elem *row, elem *to) {
    const struct pool *pool = g->pool;
    const struct axis *w = &pool->w;
    elem *line = w->stride <= 2 ? to + w->pad : s->line;
    const elem *end = pool->x_end;
    if (pool->p->x_stride[3] != 1) gather(row, pool->p->x_stride[3], w->in, s->line), row = s->line, end = row + w->in + LANES;
    int64_t j = 0;
    for (; j + LANES <= w->in; j += LANES) vec_store(line + j, pool_term(pool, vec_load(row + j)));
    if (j < w->in) {
        vec last = pool_term(pool, load_before(row + j, w->in - j, end));
        vec_store(line + j, vec_select(first_lanes(w->in - j), last, vec_splat(pool->outside)));
    }
    for (int64_t residue = 0; w->stride > 2 && residue < w->stride; residue++) {
        int64_t cell = (residue + w->stride - w->pad % w->stride) % w->stride;
        elem *place = to + residue * g->pitch + (cell + w->pad) / w->stride;
        gather(line + cell, w->stride, ceil_div(w->in - cell, w->stride), place);
    }
}

/* Fills s->cells with the rows from `top` on; whether none of them had to be staged. */
static int find_rows(const struct planes *g, const struct strip *s, const elem *plane, int64_t top, int64_t rows) {
    const struct pool *pool = g->pool;
    int64_t stride = pool->p->x_stride[2], in = pool->h.in, row = top;
    const elem **cells = s->cells;
    elem *free = s->staged;
    int here = g->in_place && plane + g->reach + max64(0, (min64(in, top + rows) - 1) * stride) <= pool->x_end;
    for (; row < min64(0, top + rows); row++) *cells++ = s->outside;
    for (; here && row < min64(in, top + rows); row++) *cells++ = plane + row * stride;
    for (; row < min64(in, top + rows); row++) {
        stage(g, s, plane + row * stride, free);
        *cells++ = free;
        free += g->row;
    }
    for (; row < top + rows; row++) *cells++ = s->outside;
    return here;
}

static void reduce(const struct pool *pool, const struct rows *r) {
    if (pool->maximum)
        NAME(rows_maximum)(r);
    else
        NAME(rows_sum)(r);
}

/* Reduces the cells of each row that is inside, and lets s->cells point to the results. */
static void reduce_along_w(const struct planes *g, const struct strip *s, int64_t top, int64_t rows, struct rows r) {
    int64_t begin = max64(0, -top), end = min64(rows, g->pool->h.in - top);
    r.cells = s->cells + begin;
    r.kh = r.stride_h = r.step_h = 1;
    r.count = max64(0, end - begin);
    r.value = s->reduced, r.value_pitch = r.code_pitch = g->result;
    r.code = r.code ? (bits *)s->reduced + g->columns : NULL;
    r.first = r.code && g->padded_w ? s->first : NULL, r.skip = NULL;
    r.flip = 0, r.at = r.at_row = r.at_column = 0;
    r.count_h = NULL, r.scale = 0;
    reduce(g->pool, &r);
    for (int64_t k = begin; k < end; k++) s->cells[k] = s->reduced + (k - begin) * g->result;
}

void NAME(planes_reduce)(const struct planes *g, const struct strip *s, const elem *plane, int64_t i0, int64_t i1, elem *value,
                         int64_t value_pitch, bits *code, int64_t code_pitch) {
    const struct pool *pool = g->pool;
    const struct axis *h = &pool->h, *w = &pool->w;
    int64_t top = h->start[i0], kh = h->regular ? h->kernel : h->end[i0] - top;
    int64_t rows = (i1 - i0 - 1) * h->stride + (kh - 1) * h->step + 1;
    int padded = g->padded_w || top < 0, average = !pool->maximum && !pool_is_norm(pool);
    int here = find_rows(g, s, plane, top, rows);
    /* rows that are read in place are asked for shortly before, others before their strip */
    const elem *ahead = plane + (here ? top : top + rows) * pool->p->x_stride[2] + (here ? AHEAD : 0);
    struct rows r = {
        .cells = s->cells, .kh = kh, .stride_h = h->stride, .step_h = h->step,
        .kw = w->kernel, .stride = w->stride, .step = w->step, .offset = w->stride > 2 ? s->offset : NULL,
        .ahead = ahead, .ahead_row = pool->p->x_stride[2], .count = i1 - i0, .columns = g->columns, .value = value, .value_pitch = value_pitch,
        .flip = pool->flip, .outside = pool->outside, .code = code, .code_pitch = code_pitch,
        .first = code && padded ? s->first : NULL, .skip = s->skip + i0, .code_row = (bits)(h->step * w->in),
        .at = (bits)(top * w->in - w->pad), .at_row = (bits)(h->stride * w->in), .at_column = (bits)w->stride,
        .count_h = average ? h->count + i0 : NULL, .count_w = s->count_w, .scale = g->scale,
    };
    if (g->separable) {
        reduce_along_w(g, s, top, rows, r);
        r.kw = r.stride = r.step = 1, r.offset = NULL;
        r.ahead = NULL;
        r.carried = code ? g->columns : 0;
    }
    reduce(pool, &r);
}
