/* Pooling of planes whose rows are contiguous (any others are gathered row by row): vectors along a row.

   A row of the input is staged with the columns of each residue modulo the stride side by side.  Whatever the stride and
   the dilation, cell s of all windows of the row is then one run of neighbours, `offset[s]` away, and padding is a margin.
   Staged rows live in a ring as long as a window is high. */
#include "pool2d_vec.h"
#include "sink.h"
#include "thread.h"

enum {
    TASK_BYTES = 64 * 1024,  /* read and written by one task */
    SCATTER_TAPS = 3 * LANES / 2, /* from so many cells per window on, one addition per window beats one vector per cell */
};

/* The geometry of the buffers; positions within them are in elements. */
struct planes {
    const struct pool *pool;
    int64_t columns;      /* of outputs, in whole vectors */
    int64_t pitch, row;   /* of one residue, of all residues of a staged row */
    int separable;        /* the cells of each row are reduced on arrival, then rows of results */
    int64_t slots;        /* in the ring */
    int64_t task_rows, rows, plane_rows;

    int64_t margin, share_row, share_slots; /* backward: a row of shares, with zeros on either side, and the ring of them */
    int64_t wide;         /* a row of the input, and what is written past its end */
    int scatter;
    int64_t strip;        /* elements of the input rows of a task */
};

/* A run of cells and where in a window it stands: code[m] if there is any, plus `at`. */
struct tap {
    const elem *value;
    const bits *code;
    bits at;
};

struct scratch {
    elem *line;            /* one input row, gathered */
    elem *staged;
    elem *best;            /* rows of the ring if separable */
    bits *best_code;
    elem *result;          /* one row */
    bits *result_code;
    bits *first;           /* code of the first cell inside the input, for each window of a row */
    elem *count;           /* cells of each window of the row */
    int64_t *offset;       /* of each tap of a row, in a staged row */
    struct tap *tap;
    elem *share;           /* backward: ring of rows of shares, and of the codes of their maxima */
    bits *share_code;
    int64_t *reach, *reach_at, *reach_begin; /* the taps of each residue: distance of the share from the cell, code */
    elem *adjoint;         /* backward, sums: ring of rows of shares spread out to the cells */
    elem *strip_sum;
    struct sink value, index;
};

static int64_t whole(int64_t n) { return ceil_div(n, LANES) * LANES; }

static struct planes plan(const struct pool *pool) {
    const struct axis *h = &pool->h, *w = &pool->w;
    struct planes g = {.pool = pool};
    int64_t reach = (w->kernel - 1) * w->step;
    g.columns = whole(w->out);
    g.pitch = whole(max64(g.columns + reach / w->stride, (w->pad + w->in) / w->stride + 1) + 2 * LANES);
    g.row = w->stride * g.pitch;
    int64_t direct = h->kernel * w->kernel, apart = min64(h->stride, h->kernel) * w->kernel + h->kernel;
    g.separable = !pool->maximum || apart + 2 < direct;
    g.slots = max64(1, h->span);
    g.plane_rows = pool->backward ? h->in : h->out;
    g.rows = pool->p->n * pool->p->c * g.plane_rows;

    /* tasks of whole planes, or of parts of one that are high enough not to read rows twice too often */
    int64_t bytes = (h->in * w->in + h->out * w->out) / g.plane_rows * (int64_t)sizeof(elem);
    int64_t wanted = max64(ceil_div(TASK_BYTES, max64(1, bytes)), 8 * (pool->backward ? h->span : h->cover));
    g.task_rows = wanted >= g.plane_rows ? wanted / g.plane_rows * g.plane_rows
                                         : ceil_div(g.plane_rows, ceil_div(g.plane_rows, wanted));

    g.margin = whole(reach / w->stride + 1);
    g.share_row = g.margin + whole(max64(w->out, w->in / w->stride + w->pad / w->stride + 2)) + 2 * LANES;
    g.share_slots = max64(1, h->cover);
    g.wide = max64(g.columns, whole(w->in) + w->stride * LANES);
    g.scatter = pool->maximum && direct > SCATTER_TAPS;
    g.strip = min64(g.task_rows, g.plane_rows) * w->in;
    return g;
}

static struct scratch carve(const struct planes *g, char *base, int64_t *bytes) {
    const struct pool *pool = g->pool;
    const struct axis *w = &pool->w;
    int64_t taps = pool->h.kernel * w->kernel;
    struct arena arena = {.base = base};
    struct scratch s = {
        .line = ARENA_TAKE(&arena, elem, w->in + LANES),
        .count = ARENA_TAKE(&arena, elem, g->columns),
        .result = ARENA_TAKE(&arena, elem, g->columns),
        .result_code = ARENA_TAKE(&arena, bits, g->columns),
        .offset = ARENA_TAKE(&arena, int64_t, w->kernel),
        .tap = ARENA_TAKE(&arena, struct tap, max64(taps, max64(pool->h.kernel, g->share_slots * w->kernel))),
        .value.buffer = ARENA_TAKE(&arena, char, SINK_BYTES + (g->wide + 2 * LANES) * (int64_t)sizeof(elem)),
    };
    if (pool->reads_x) {
        s.first = ARENA_TAKE(&arena, bits, g->columns);
        s.staged = ARENA_TAKE(&arena, elem, (g->separable ? 1 : g->slots) * g->row);
        s.best = g->separable ? ARENA_TAKE(&arena, elem, g->slots * g->columns) : NULL;
        s.best_code = g->separable && pool->coded ? ARENA_TAKE(&arena, bits, g->slots * g->columns) : NULL;
    }
    if (!pool->backward && pool->coded)
        s.index.buffer = ARENA_TAKE(&arena, char, SINK_BYTES + (g->wide + 2 * LANES) * (int64_t)sizeof(int64_t));
    if (pool->backward) {
        s.share = ARENA_TAKE(&arena, elem, g->share_slots * g->share_row);
        s.share_code = pool->maximum ? ARENA_TAKE(&arena, bits, g->share_slots * g->share_row) : NULL;
        s.reach = ARENA_TAKE(&arena, int64_t, w->kernel);
        s.reach_at = ARENA_TAKE(&arena, int64_t, w->kernel);
        s.reach_begin = ARENA_TAKE(&arena, int64_t, w->stride + 1);
        s.adjoint = pool->maximum ? NULL : ARENA_TAKE(&arena, elem, g->share_slots * g->wide);
        s.strip_sum = g->scatter ? ARENA_TAKE(&arena, elem, g->strip + 2 * LANES) : NULL;
    }
    *bytes = arena.used;
    return s;
}

int64_t NAME(planes_scratch)(const struct pool *pool) {
    struct planes g = plan(pool);
    int64_t bytes;
    carve(&g, NULL, &bytes);
    return bytes;
}

static void prepare(const struct planes *g, const struct scratch *s) {
    const struct axis *w = &g->pool->w;
    for (int64_t k = 0; k < w->kernel; k++)
        s->offset[k] = k * w->step % w->stride * g->pitch + k * w->step / w->stride;
    for (int64_t j = 0; j < g->columns; j++) s->count[j] = j < w->out ? w->count[j] : 1;
    if (!s->staged) return;
    for (int64_t j = 0; j < g->columns; j++)
        s->first[j] = j < w->out && w->first[j] < w->end[j] ? (bits)(w->first[j] - w->start[j]) : 0;
    for (int64_t i = 0; i < (g->separable ? 1 : g->slots) * g->row; i++) s->staged[i] = g->pool->outside;
}

INLINE vec_bits first_lanes(int64_t count) { return (vec_bits)(vec_lanes() < vec_splat_bits((bits)count)); }

/* The next cells of a row, `outside` beyond its end; reads past it where that is still inside the array. */
INLINE vec load_cells(const struct pool *pool, const elem *from, int64_t cells) {
    if (cells >= LANES) return pool_term(pool, vec_load(from));
    vec v = from + LANES <= pool->x_end ? vec_load(from) : vec_load_first(from, cells);
    return vec_select(first_lanes(cells), pool_term(pool, v), vec_splat(pool->outside));
}

static const elem *contiguous_row(const struct pool *pool, const elem *row, elem *line) {
    int64_t step = pool->p->x_stride[3];
    if (step == 1) return row;
    for (int64_t j = 0; j < pool->w.in; j++) line[j] = row[j * step];
    return line;
}

static void stage(const struct planes *g, const struct scratch *s, const elem *row, elem *to) {
    const struct pool *pool = g->pool;
    int64_t in = pool->w.in, stride = pool->w.stride, pad = pool->w.pad;
    const elem *line = contiguous_row(pool, row, s->line);
    if (stride == 1) {
        for (int64_t j = 0; j < in; j += LANES) vec_store(to + pad + j, load_cells(pool, line + j, in - j));
    } else if (stride == 2) {
        elem *even = to + pad % 2 * g->pitch + pad / 2, *odd = to + (pad + 1) % 2 * g->pitch + (pad + 1) / 2;
        for (int64_t j = 0; j < in; j += 2 * LANES) {
            vec a = load_cells(pool, line + j, in - j);
            vec b = in - j > LANES ? load_cells(pool, line + j + LANES, in - j - LANES) : vec_splat(pool->outside);
            vec_store(even + j / 2, vec_even(a, b));
            vec_store(odd + j / 2, vec_odd(a, b));
        }
    } else {
        for (int64_t j = 0; j < in; j += LANES) {
            elem lane[LANES];
            vec_store(lane, load_cells(pool, line + j, in - j));
            for (int64_t l = 0; l < min64(LANES, in - j); l++) {
                int64_t at = pad + j + l;
                to[at % stride * g->pitch + at / stride] = lane[l];
            }
        }
    }
}

/* The maximum of some taps and, if asked for, the code of the first one that has it.  With `codes` the taps bring codes
   of their own, otherwise `first` has that of the first cell inside the input. */
INLINE void best_of(const struct tap *tap, int64_t taps, int coded, int codes, const bits *first, elem outside,
                    int64_t columns, elem *result, bits *result_code) {
    for (int64_t m = 0; m < columns; m += LANES) {
        vec best = codes || !coded ? vec_load(tap[0].value + m) : vec_splat(outside);
        vec_bits code = {0};
        if (coded) code = vec_load_bits((codes ? tap[0].code : first) + m) + vec_splat_bits(tap[0].at);
        for (int64_t t = codes || !coded; t < taps; t++) {
            vec v = vec_load(tap[t].value + m);
            vec_bits beats = pool_beats(v, best);
            best = vec_select(beats, v, best);
            if (!coded) continue;
            vec_bits v_code = vec_splat_bits(tap[t].at);
            if (codes) v_code += vec_load_bits(tap[t].code + m);
            code = vec_select_bits(beats, v_code, code);
        }
        vec_store(result + m, best);
        if (coded) vec_store_bits(result_code + m, code);
    }
}

static void best(const struct tap *tap, int64_t taps, int codes, const bits *first, elem outside, int64_t columns,
                 elem *result, bits *result_code) {
#define BEST(taps)                                                                                                     \
    (!result_code ? best_of(tap, taps, 0, 0, NULL, outside, columns, result, NULL)                                     \
     : codes      ? best_of(tap, taps, 1, 1, NULL, outside, columns, result, result_code)                              \
                  : best_of(tap, taps, 1, 0, first, outside, columns, result, result_code))
    switch (taps) { /* the usual windows, unrolled */
    case 2: BEST(2); break;
    case 3: BEST(3); break;
    case 4: BEST(4); break;
    case 9: BEST(9); break;
    default: BEST(taps);
    }
#undef BEST
}

static void sum(const struct tap *tap, int64_t taps, int64_t columns, elem *result) {
    for (int64_t m = 0; m < columns; m += LANES) {
        vec total = vec_load(tap[0].value + m);
        for (int64_t t = 1; t < taps; t++) total += vec_load(tap[t].value + m);
        vec_store(result + m, total);
    }
}

static void finish(const struct planes *g, const struct scratch *s, elem count_h, elem *result) {
    for (int64_t m = 0; m < g->columns; m += LANES)
        vec_store(result + m, pool_finish(g->pool, vec_load(result + m), vec_splat(count_h) * vec_load(s->count + m)));
}

/* Takes row h of the input into the ring. */
static void enter(const struct planes *g, const struct scratch *s, const elem *plane, int64_t h) {
    const struct pool *pool = g->pool;
    int64_t slot = h % g->slots, kernel = pool->w.kernel;
    elem *staged = s->staged + (g->separable ? 0 : slot * g->row);
    stage(g, s, plane + h * pool->p->x_stride[2], staged);
    if (!g->separable) return;
    for (int64_t k = 0; k < kernel; k++)
        s->tap[k] = (struct tap){.value = staged + s->offset[k], .at = (bits)(k * pool->w.step)};
    elem *to = s->best + slot * g->columns;
    if (pool->maximum)
        best(s->tap, kernel, 0, s->first, pool->outside, g->columns, to,
             s->best_code ? s->best_code + slot * g->columns : NULL);
    else
        sum(s->tap, kernel, g->columns, to);
}

/* Row i of the results from the rows in the ring, and the codes of the maxima: dh*iw + dw from the window's start. */
static void reduce(const struct planes *g, const struct scratch *s, int64_t i, elem *result, bits *result_code) {
    const struct pool *pool = g->pool;
    const struct axis *h = &pool->h, *w = &pool->w;
    int64_t taps = 0;
    for (int64_t row = h->first[i]; row < h->end[i]; row += h->step) {
        int64_t slot = row % g->slots;
        bits at = (bits)((row - h->start[i]) * w->in);
        if (g->separable)
            s->tap[taps++] = (struct tap){.value = s->best + slot * g->columns, .at = at,
                                          .code = s->best_code ? s->best_code + slot * g->columns : NULL};
        else
            for (int64_t k = 0; k < w->kernel; k++)
                s->tap[taps++] = (struct tap){.value = s->staged + slot * g->row + s->offset[k],
                                              .at = at + (bits)(k * w->step)};
    }
    if (taps == 0) { /* the window lies in the padding */
        for (int64_t m = 0; m < g->columns; m++) result[m] = pool->outside;
        if (result_code) memset(result_code, 0, (size_t)g->columns * sizeof(bits));
    } else if (pool->maximum) {
        best(s->tap, taps, g->separable, s->first, pool->outside, g->columns, result, result_code);
    } else {
        sum(s->tap, taps, g->columns, result);
    }
    if (!pool->maximum) finish(g, s, h->count[i], result);
}

/* Takes the rows of window i that are still missing into the ring; returns the row after them. */
static int64_t enter_until(const struct planes *g, const struct scratch *s, const elem *plane, int64_t next, int64_t i) {
    for (next = max64(next, g->pool->h.start[i]); next < g->pool->h.end[i]; next++) enter(g, s, plane, next);
    return next;
}

static elem *plane_of(elem *base, const int64_t stride[4], int64_t channels, int64_t plane) {
    return base + plane / channels * stride[0] + plane % channels * stride[1];
}

/* Whether rows of that array follow one another without a gap, from plane to plane too. */
static int contiguous(const int64_t stride[4], int64_t channels, int64_t rows, int64_t columns) {
    return stride[3] == 1 && stride[2] == columns && stride[1] == rows * columns && stride[0] == channels * rows * columns;
}

static void write_row(const struct planes *g, struct scratch *s, int64_t plane, int64_t i) {
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    elem *value = sink_place(&s->value);
    reduce(g, s, i, value, s->index.buffer ? s->result_code : NULL);
    if (pool->maximum && pool->flip)
        for (int64_t m = 0; m < g->columns; m += LANES) vec_store(value + m, pool_term(pool, vec_load(value + m)));
    NAME(sink_row)(&s->value, plane_of(pool->y, p->y_stride, p->c, plane) + i * p->y_stride[2], p->ow);
    if (!s->index.buffer) return;

    int64_t *index = sink_place(&s->index);
    vec_bits at = vec_splat_bits((bits)(pool->h.start[i] * p->iw - pool->w.pad)) +
                  vec_lanes() * vec_splat_bits((bits)pool->w.stride);
    for (int64_t m = 0; m < g->columns; m += LANES) {
        pool_store_index(index + m, vec_load_bits(s->result_code + m) + at);
        at += vec_splat_bits((bits)(LANES * pool->w.stride));
    }
    int64_t row = plane / p->c * p->index_stride[0] + plane % p->c * p->index_stride[1] + i * p->index_stride[2];
    NAME(sink_row)(&s->index, pool->index + row, p->ow);
}

static void forward_task(void *context, int64_t task, int64_t worker) {
    const struct planes *g = context;
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    int64_t unused, next = 0, begin = task * g->task_rows, end = min64(g->rows, begin + g->task_rows);
    struct scratch s = carve(g, pool->scratch + worker * pool->scratch_bytes, &unused);
    prepare(g, &s);
    s.value.item = sizeof(elem), s.value.step = p->y_stride[3], s.value.stream = pool->stream;
    s.value.contiguous = contiguous(p->y_stride, p->c, p->oh, p->ow);
    sink_open(&s.value, pool->y + begin * p->ow);
    s.index.item = sizeof(int64_t), s.index.step = p->index_stride[3], s.index.stream = pool->stream;
    s.index.contiguous = contiguous(p->index_stride, p->c, p->oh, p->ow);
    sink_open(&s.index, pool->index + begin * p->ow);
    for (int64_t row = begin; row < end; row++) {
        int64_t plane = row / p->oh, i = row % p->oh;
        const elem *x = plane_of((elem *)pool->x, p->x_stride, p->c, plane);
        if (i == 0 || row == begin) next = 0;
        next = enter_until(g, &s, x, next, i);
        write_row(g, &s, plane, i);
    }
    NAME(sink_close)(&s.value);
    if (pool->index) NAME(sink_close)(&s.index);
}

void NAME(planes_forward)(const struct pool *pool) {
    struct planes g = plan(pool);
    engine_parallel(pool->p->threads, ceil_div(g.rows, g.task_rows), forward_task, &g);
}

/* Backward.  Every window has one share of the gradient for each of its cells, or for its maximum.  Rows of shares live in
   a ring too.  A cell sums over the windows that hold it: per residue of its column these are again runs of neighbours. */

static void prepare_backward(const struct planes *g, const struct scratch *s) {
    const struct axis *w = &g->pool->w;
    memset(s->share, 0, (size_t)(g->share_slots * g->share_row) * sizeof(elem));
    if (s->share_code) memset(s->share_code, 0, (size_t)(g->share_slots * g->share_row) * sizeof(bits));
    int64_t found = 0;
    for (int64_t residue = 0; residue < w->stride; residue++) {
        s->reach_begin[residue] = found;
        for (int64_t k = 0; k < w->kernel; k++) {
            int64_t ahead = residue + w->pad - k * w->step;
            if (ahead % w->stride) continue;
            s->reach[found] = ahead / w->stride;
            s->reach_at[found++] = k * w->step;
        }
    }
    s->reach_begin[w->stride] = found;
}

static void load_codes(const struct planes *g, int64_t plane, int64_t i, bits *code) {
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    const int64_t *given = pool->given + plane / p->c * p->index_stride[0] + plane % p->c * p->index_stride[1] +
                           i * p->index_stride[2];
    int64_t step = p->index_stride[3], stride = pool->w.stride, m = 0;
    bits start = (bits)(pool->h.start[i] * p->iw - pool->w.pad);
    vec_bits at = vec_splat_bits(start) + vec_lanes() * vec_splat_bits((bits)stride);
    for (; step == 1 && m + LANES <= p->ow; m += LANES) {
        vec_store_bits(code + m, pool_load_index(given + m) - at);
        at += vec_splat_bits((bits)(LANES * stride));
    }
    for (; m < p->ow; m++) code[m] = (bits)given[m * step] - start - (bits)(m * stride);
}

/* The shares of the windows of row i; `next` as in enter_until. */
static int64_t share_row(const struct planes *g, const struct scratch *s, int64_t plane, int64_t next, int64_t i) {
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    int64_t at = i % g->share_slots * g->share_row + g->margin;
    elem *share = s->share + at;
    bits *code = pool->maximum ? s->share_code + at : NULL;
    if (s->staged) {
        const elem *x = plane_of((elem *)pool->x, p->x_stride, p->c, plane);
        next = enter_until(g, s, x, next, i);
        reduce(g, s, i, s->result, code);
    } else if (code) {
        load_codes(g, plane, i, code);
    }

    const elem *dy = plane_of((elem *)pool->dy, p->y_stride, p->c, plane) + i * p->y_stride[2];
    if (p->y_stride[3] == 1)
        memcpy(share, dy, (size_t)p->ow * sizeof(elem));
    else
        for (int64_t j = 0; j < p->ow; j++) share[j] = dy[j * p->y_stride[3]];
    if (pool->maximum) return next;

    vec count_h = vec_splat(pool->h.count[i]);
    for (int64_t m = 0; m < p->ow; m += LANES) {
        vec v = pool_share(pool, vec_load(share + m), s->staged ? vec_load(s->result + m) : count_h,
                           count_h * vec_load(s->count + m));
        vec_store(share + m, (vec)((vec_bits)v & first_lanes(p->ow - m)));
    }
    return next;
}

INLINE vec shares_at(const struct tap *tap, int64_t taps, int coded, int64_t m) {
    vec total = {0};
    for (int64_t t = 0; t < taps; t++) {
        vec v = vec_load(tap[t].value + m);
        if (coded) v = (vec)((vec_bits)v & (vec_bits)(vec_load_bits(tap[t].code + m) == vec_splat_bits(tap[t].at)));
        total += v;
    }
    return total;
}

/* Sums the shares of every cell of a row; the taps of residue r are those from begin[r] to begin[r + 1]. */
INLINE void spread_as(const struct tap *tap, const int64_t *begin, int coded, int64_t stride, int64_t cells, elem *to) {
    int64_t steps = ceil_div(cells, stride);
    if (stride == 1) {
        for (int64_t m = 0; m < steps; m += LANES) vec_store(to + m, shares_at(tap, begin[1], coded, m));
    } else if (stride == 2) {
        for (int64_t m = 0; m < steps; m += LANES) {
            vec even = shares_at(tap, begin[1], coded, m), odd = shares_at(tap + begin[1], begin[2] - begin[1], coded, m);
            vec_store(to + 2 * m, vec_zip_low(even, odd));
            vec_store(to + 2 * m + LANES, vec_zip_high(even, odd));
        }
    } else {
        for (int64_t residue = 0; residue < stride; residue++)
            for (int64_t m = 0; m < steps; m += LANES) {
                elem lane[LANES];
                vec_store(lane, shares_at(tap + begin[residue], begin[residue + 1] - begin[residue], coded, m));
                for (int64_t l = 0; l < LANES; l++) to[(m + l) * stride + residue] = lane[l];
            }
    }
}

/* Spreads the shares of windows lo <= i < hi to the cells of row h. */
static void spread(const struct planes *g, const struct scratch *s, int64_t lo, int64_t hi, int64_t h, elem *to) {
    const struct pool *pool = g->pool;
    int64_t begin[MAX_PHASES + 1], taps = 0, stride = pool->w.stride;
    for (int64_t residue = 0; residue < stride; residue++) {
        begin[residue] = taps;
        for (int64_t i = lo; i < hi; i++) {
            if (pool->maximum && !axis_holds(&pool->h, i, h)) continue;
            int64_t row = i % g->share_slots * g->share_row + g->margin;
            bits at = (bits)((h - pool->h.start[i]) * pool->w.in);
            for (int64_t k = s->reach_begin[residue]; k < s->reach_begin[residue + 1]; k++)
                s->tap[taps++] = (struct tap){.value = s->share + row + s->reach[k], .at = at + (bits)s->reach_at[k],
                                              .code = pool->maximum ? s->share_code + row + s->reach[k] : NULL};
        }
    }
    begin[stride] = taps;
    if (pool->maximum)
        spread_as(s->tap, begin, 1, stride, pool->w.in, to);
    else
        spread_as(s->tap, begin, 0, stride, pool->w.in, to);
}

/* Row h of the gradient of a sum: rows of shares, spread along w already, are summed along h. */
static void sum_adjoint(const struct planes *g, const struct scratch *s, int64_t plane, int64_t h, elem *to) {
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    int64_t taps = 0, columns = whole(p->iw);
    for (int64_t i = pool->h.lo[h]; i < pool->h.hi[h]; i++)
        if (axis_holds(&pool->h, i, h)) s->tap[taps++].value = s->adjoint + i % g->share_slots * g->wide;
    if (taps == 0)
        memset(to, 0, (size_t)columns * sizeof(elem));
    else
        sum(s->tap, taps, columns, to);
    if (!pool_is_norm(pool) || taps == 0) return;
    const elem *x = plane_of((elem *)pool->x, p->x_stride, p->c, plane) + h * p->x_stride[2];
    x = contiguous_row(pool, x, s->line);
    for (int64_t m = 0; m < p->iw; m += LANES) {
        vec cells = p->iw - m >= LANES ? vec_load(x + m) : vec_load_first(x + m, p->iw - m);
        vec_store(to + m, vec_load(to + m) * pool_factor(pool, cells));
    }
}

/* One row of the gradient after the other; returns nothing but rows in the sink. */
static void gather_rows(const struct planes *g, struct scratch *s, int64_t begin, int64_t end) {
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    int64_t next = 0, next_share = 0;
    for (int64_t row = begin; row < end; row++) {
        int64_t plane = row / p->ih, h = row % p->ih;
        if (h == 0 || row == begin) next = next_share = 0;
        for (next_share = max64(next_share, pool->h.lo[h]); next_share < pool->h.hi[h]; next_share++) {
            next = share_row(g, s, plane, next, next_share);
            if (!pool->maximum)
                spread(g, s, next_share, next_share + 1, h, s->adjoint + next_share % g->share_slots * g->wide);
        }
        elem *to = sink_place(&s->value);
        if (pool->maximum)
            spread(g, s, pool->h.lo[h], pool->h.hi[h], h, to);
        else
            sum_adjoint(g, s, plane, h, to);
        NAME(sink_row)(&s->value, plane_of(pool->dx, p->dx_stride, p->c, plane) + h * p->dx_stride[2], p->iw);
    }
}

/* Large windows: every maximum adds its share to its cell, in some rows of one plane at a time. */
static void scatter_rows(const struct planes *g, struct scratch *s, int64_t plane, int64_t h0, int64_t h1) {
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    int64_t next = 0, cells = (h1 - h0) * p->iw;
    memset(s->strip_sum, 0, (size_t)cells * sizeof(elem));
    for (int64_t i = pool->h.lo[h0]; i < pool->h.hi[h1 - 1]; i++) {
        next = share_row(g, s, plane, next, i);
        const elem *share = s->share + i % g->share_slots * g->share_row + g->margin;
        const bits *code = s->share_code + i % g->share_slots * g->share_row + g->margin;
        bits start = (bits)((pool->h.start[i] - h0) * p->iw - pool->w.pad);
        for (int64_t j = 0; j < p->ow; j++) {
            bits at = start + (bits)(j * pool->w.stride) + code[j];
            if (at < (bits)cells) s->strip_sum[at] += share[j]; /* elsewhere: another task's row */
        }
    }
    for (int64_t h = h0; h < h1; h++) {
        memcpy(sink_place(&s->value), s->strip_sum + (h - h0) * p->iw, (size_t)p->iw * sizeof(elem));
        NAME(sink_row)(&s->value, plane_of(pool->dx, p->dx_stride, p->c, plane) + h * p->dx_stride[2], p->iw);
    }
}

static void backward_task(void *context, int64_t task, int64_t worker) {
    const struct planes *g = context;
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    int64_t unused, begin = task * g->task_rows, end = min64(g->rows, begin + g->task_rows);
    struct scratch s = carve(g, pool->scratch + worker * pool->scratch_bytes, &unused);
    prepare(g, &s);
    prepare_backward(g, &s);
    s.value.item = sizeof(elem), s.value.step = p->dx_stride[3], s.value.stream = pool->stream;
    s.value.contiguous = contiguous(p->dx_stride, p->c, p->ih, p->iw);
    sink_open(&s.value, pool->dx + begin * p->iw);
    if (g->scatter)
        for (int64_t row = begin, stop; row < end; row = stop) {
            stop = min64(end, (row / p->ih + 1) * p->ih);
            scatter_rows(g, &s, row / p->ih, row % p->ih, row % p->ih + stop - row);
        }
    else
        gather_rows(g, &s, begin, end);
    NAME(sink_close)(&s.value);
}

void NAME(planes_backward)(const struct pool *pool) {
    struct planes g = plan(pool);
    engine_parallel(pool->p->threads, ceil_div(g.rows, g.task_rows), backward_task, &g);
}
