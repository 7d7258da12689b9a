#include "depthwise_weight.h"
#include "arena.h"
#include "depthwise_edges.h"
#include "thread.h"

enum {
    ROWS = 4, /* of dy at once: a row of x is loaded once for all of them */
    TALLEST = 7,
    WIDEST = 63,
    STRIP_BYTES = 24 * 1024, /* of x in one strip of rows */
    TASK_BYTES = 64 * 1024,
    TASKS = 16,              /* wanted at least */
};

/* tap columns whose sums, with ROWS vectors of dy and one of x, fit the registers */
#define FIT(taps_h) ((VEC_REGISTERS - 1 - ROWS) / (taps_h))
#define COLUMNS(taps_h) (FIT(taps_h) > 3 ? 3 : FIT(taps_h) < 1 ? 1 : FIT(taps_h))

struct job {
    const struct correlation *c;
    const elem *x, *dy;
    elem *dweight;
    struct depthwise_cut cut;
    struct depthwise_reach reach;
    int64_t planes, rows, strips;
    int64_t slices, per_slice;     /* consecutive (image, strip) pairs: their sums are added in order */
    int64_t blocks, per_block;     /* consecutive planes */
    struct depthwise_column *column;
    vec_bits *mask;
    elem *zeros;
    elem *acc;                     /* [slice][plane][taps_w][taps_h][LANES] */
    elem **copy;                   /* of each worker: a strip of x that cannot be read in place */
};

/* A strip of one plane. */
struct strip {
    struct depthwise_strip x;
    const elem *dy; /* row 0, column 0 */
    elem *acc;
    int64_t row0, end;
};

INLINE vec load_gradient(const elem *p, int64_t count) { return count >= LANES ? vec_load(p) : vec_load_first(p, count); }

/* The sums of all taps of the tap columns [j, j + columns) over `rows` rows of dy, each `apart` from the next.
   taps_h, columns, step and rows are constants wherever this is called. */
INLINE void add_rows(const int taps_h, const int columns, const int step, const int rows, const struct job *job,
                     const struct strip *s, int64_t j, int64_t i, int64_t apart, elem *acc) {
    const struct correlation *c = job->c;
    const elem *row[(ROWS - 1) * 2 + TALLEST];
#pragma GCC unroll 16
    for (int h = 0; h < (rows - 1) * step + taps_h; h++) {
        int64_t at = i * step + c->first_h + h * apart;
        row[h] = (at >= 0 && at < c->sh ? s->x.source + at * s->x.pitch : job->zeros) + c->first_w + j * c->space_w;
    }
    const elem *dy = s->dy + i * c->d_stride[2];
    int shared = step == 2 && c->space_w == 1; /* two neighbouring taps are in the same vectors of x */
    vec sum[3][TALLEST];
#pragma GCC unroll 3
    for (int t = 0; t < columns; t++)
#pragma GCC unroll 7
        for (int k = 0; k < taps_h; k++) sum[t][k] = vec_load(acc + (t * taps_h + k) * LANES);
    for (int64_t q = 0; q < job->cut.columns; q++) {
        const struct depthwise_column *column = &job->column[q];
        vec g[ROWS];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) g[r] = load_gradient(dy + r * apart * c->d_stride[2] + column->x, c->dw - column->x);
        uint64_t partial = column->partial >> j & (((uint64_t)1 << columns) - 1);
#pragma GCC unroll 16
        for (int h = 0; h < (rows - 1) * step + taps_h; h++) {
            const elem *p = row[h] + column->x * step;
            vec a, b;
#pragma GCC unroll 3
            for (int t = 0; t < columns; t++, p += c->space_w) {
                vec x;
                if (step == 1) {
                    x = vec_load(p);
                } else if (shared && t == 1) {
                    x = vec_odd(a, b);
                } else {
                    a = vec_load(p), b = vec_load(p + LANES);
                    x = vec_even(a, b);
                }
                if (partial) x = (vec)((vec_bits)x & (partial >> t & 1 ? column->mask[j + t] : ~(vec_bits){0}));
#pragma GCC unroll 4
                for (int r = 0; r < rows; r++) {
                    int k = h - r * step;
                    if (k >= 0 && k < taps_h) sum[t][k] += x * g[r];
                }
            }
        }
    }
#pragma GCC unroll 3
    for (int t = 0; t < columns; t++)
#pragma GCC unroll 7
        for (int k = 0; k < taps_h; k++) vec_store(acc + (t * taps_h + k) * LANES, sum[t][k]);
}

INLINE void add_columns(const int taps_h, const int columns, const int step, const struct job *job, const struct strip *s,
                        int64_t j) {
    elem *acc = s->acc + j * taps_h * LANES;
    int64_t apart = taps_h > 1 && step == 1 ? job->c->space_h : 1;
    for (int64_t first = s->row0; first < s->row0 + min64(apart, s->end - s->row0); first++) {
        int64_t i = first;
        for (; i + (ROWS - 1) * apart < s->end; i += ROWS * apart)
            add_rows(taps_h, columns, step, ROWS, job, s, j, i, apart, acc);
        for (; i < s->end; i += apart) add_rows(taps_h, columns, step, 1, job, s, j, i, apart, acc);
    }
}

INLINE void all_columns(const int taps_h, const int step, const struct job *job, const struct strip *s) {
    int64_t j = 0;
    for (; j + COLUMNS(taps_h) <= job->c->taps_w; j += COLUMNS(taps_h))
        add_columns(taps_h, COLUMNS(taps_h), step, job, s, j);
    for (; j < job->c->taps_w; j++) add_columns(taps_h, 1, step, job, s, j);
}

/* which taps_h and step are instantiated; for integers the usual ones, as each takes much code */
#if ELEM_IS_FLOATING
#define CASES CASE(1, 1) CASE(3, 1) CASE(5, 1) CASE(7, 1) CASE(3, 2) CASE(5, 2) CASE(7, 2)
#else
#define CASES CASE(3, 1) CASE(5, 1) CASE(3, 2)
#endif

int NAME(depthwise_weight_suits)(const struct correlation *c) {
    if (c->sc > 1 || c->s_stride[3] != 1 || c->d_stride[3] != 1 || c->taps_w > WIDEST) return 0;
    if (c->step_h != c->step_w || (c->step_h > 1 && c->space_h > 1)) return 0;
#define CASE(taps, step) (c->taps_h == taps && c->step_h == step) ||
    return CASES 0;
#undef CASE
}

static void any_strip(const struct job *job, const struct strip *s) {
#define CASE(taps, step)                                                                                               \
    case 10 * taps + step: all_columns(taps, step, job, s); break;
    switch (10 * job->c->taps_h + job->c->step_h) { CASES }
}

static void block_up(struct job *job) {
    const struct correlation *c = job->c;
    job->planes = c->g * c->dc;
    job->cut = NAME(depthwise_cut)(c, 1, 0);
    job->reach = NAME(depthwise_reach)(1, c, job->cut);
    int64_t row_bytes = c->step_h * c->sw * (int64_t)sizeof(elem);
    int64_t rows = c->space_h > 1 ? c->dh : max64(1, STRIP_BYTES / row_bytes / ROWS) * ROWS;
    job->strips = ceil_div(c->dh, rows);
    job->rows = ceil_div(ceil_div(c->dh, job->strips), ROWS) * ROWS;

    int64_t strips = c->n * job->strips;
    job->slices = max64(1, min64(strips, TASKS / job->planes));
    job->per_slice = ceil_div(strips, job->slices);
    job->per_block = max64(1, min64(TASK_BYTES / (row_bytes * min64(c->dh, job->rows)), job->planes / TASKS));
    job->blocks = ceil_div(job->planes, job->per_block);
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = job->c;
    job->column = ARENA_TAKE(arena, struct depthwise_column, job->cut.columns);
    job->mask = ARENA_TAKE(arena, vec_bits, NAME(depthwise_count_masks)(c, job->cut));
    job->zeros = ARENA_TAKE(arena, elem, job->reach.pitch);
    job->acc = ARENA_TAKE(arena, elem, job->slices * job->planes * c->taps_h * c->taps_w * LANES);
    job->copy = ARENA_TAKE(arena, elem *, c->threads);
    int64_t copied = NAME(depthwise_rows_reached)(1, c, job->rows) * job->reach.pitch;
    for (int64_t t = 0; t < c->threads; t++) {
        elem *copy = ARENA_TAKE(arena, elem, copied);
        if (arena->base) job->copy[t] = copy;
    }
}

int64_t NAME(depthwise_weight_workspace)(const struct correlation *c) {
    struct job job = {.c = c};
    struct arena arena = {0};
    block_up(&job);
    carve(&job, &arena);
    return arena.used;
}

/* Adds up the slices of some planes in order, then the lanes, and writes the gradient. */
static void finish(const struct job *job, int64_t plane, int64_t planes) {
    const struct correlation *c = job->c;
    int64_t taps = c->taps_h * c->taps_w, slice_size = job->planes * taps * LANES, tap = 0;
    const elem *acc = job->acc + plane * taps * LANES;
    for (int64_t i = 0; i < planes * taps; i += LANES) {
        vec row[LANES];
        elem total[LANES];
        for (int64_t l = 0; l < LANES; l++) {
            row[l] = (vec){0};
            if (i + l >= planes * taps) continue;
            const elem *at = acc + (i + l) * LANES;
            row[l] = vec_load(at);
            for (int64_t slice = 1; slice < job->slices; slice++) row[l] += vec_load(at + slice * slice_size);
        }
        vec_transpose(row);
        for (int64_t half = LANES / 2; half; half /= 2) /* pairwise: rounds least */
            for (int64_t l = 0; l < half; l++) row[l] += row[l + half];
        vec_store(total, row[0]);
        for (int64_t l = 0; l < min64(LANES, planes * taps - i); l++) {
            job->dweight[plane / c->dc * c->w_group + plane % c->dc * c->w_dc + tap % c->taps_h * c->w_h +
                         tap / c->taps_h * c->w_w] = total[l];
            if (++tap == taps) tap = 0, plane++;
        }
    }
}

static void block_task(void *context, int64_t index, int64_t worker) {
    const struct job *job = context;
    const struct correlation *c = job->c;
    int64_t slice = index / job->blocks, begin = index % job->blocks * job->per_block;
    int64_t end = min64(job->planes, begin + job->per_block), taps = c->taps_h * c->taps_w;
    elem *acc = job->acc + slice * job->planes * taps * LANES;
    memset(acc + begin * taps * LANES, 0, (size_t)((end - begin) * taps * LANES) * sizeof(elem));
    for (int64_t k = slice * job->per_slice; k < min64(c->n * job->strips, (slice + 1) * job->per_slice); k++) {
        int64_t image = k / job->strips, i0 = k % job->strips * job->rows;
        for (int64_t plane = begin; plane < end; plane++) {
            int64_t offset = image * c->s_stride[0] + plane / c->dc * c->s_stride[1];
            struct strip s = {
                .x = NAME(depthwise_strip)(&job->reach, 1, c, job->x, offset, i0, job->rows, job->copy[worker]),
                .dy = job->dy + image * c->d_stride[0] + plane * c->d_stride[1],
                .acc = acc + plane * taps * LANES, .row0 = i0, .end = min64(c->dh, i0 + job->rows)};
            any_strip(job, &s);
        }
    }
    if (job->slices == 1) finish(job, begin, end - begin);
}

static void finish_task(void *context, int64_t plane, int64_t worker) {
    (void)worker;
    finish(context, plane, 1);
}

void NAME(depthwise_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace) {
    struct job job = {.c = c, .x = x, .dy = dy, .dweight = dweight};
    struct arena arena = {.base = workspace};
    block_up(&job);
    carve(&job, &arena);
    NAME(depthwise_fill_columns)(c, job.cut, job.column, job.mask);
    memset(job.zeros, 0, (size_t)job.reach.pitch * sizeof(elem));
    job.zeros -= job.reach.first;
    engine_parallel(c->threads, job.slices * job.blocks, block_task, &job);
    if (job.slices > 1) engine_parallel(c->threads, job.planes, finish_task, &job);
}
