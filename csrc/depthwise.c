#include "depthwise.h"
#include "arena.h"
#include "depthwise_rows.h"
#include "thread.h"

enum {
    STRIP_BYTES = 32 * 1024, /* source of one strip of rows */
    TASK_BYTES = 64 * 1024,  /* source of one task: long runs of memory, which the processor reads ahead */
    TASKS_PER_THREAD = 8,
};

/* The columns of one phase, and its weights. */
struct prepared {
    struct depthwise_column *column;
    vec_bits *mask;
    elem *weights; /* [plane][taps_w][taps_h] */
};

struct job {
    int64_t phases, across;
    const struct correlation *phase;
    const elem *source, *bias;
    elem *dest;
    int64_t columns, rows, strips, units, per_task; /* a unit is a strip of a destination plane */
    int64_t first_read, last_read;                  /* columns that units read, relative to column 0 of a row */
    int64_t low, high;                              /* the memory of the source, relative to its first element */
    struct prepared *prepared;                      /* of each phase */
    elem *zeros;
    int64_t pitch;
    elem **copy; /* of each worker: a strip that cannot be read in place */
};

int NAME(depthwise_suits)(int64_t phases, int64_t across, const struct correlation *phase) {
    for (int64_t f = 0; f < phases; f++)
        if (!NAME(depthwise_rows_suits)(&phase[f], across == 2)) return 0;
    return phase->sc == 1 && phase->s_stride[3] == 1 && across <= 2 && phase->d_stride[3] == across;
}

/* Columns of two vectors, the last vector overlapping the one before it; of single ones where two phases alternate. */
static int64_t count_columns(const struct job *job) {
    int64_t vectors = ceil_div(job->phase[0].dw, LANES);
    return job->across == 2 ? vectors : ceil_div(vectors, 2);
}

static struct depthwise_column column_at(const struct job *job, int64_t index) {
    int64_t dw = job->phase[0].dw, last = max64(0, dw - LANES);
    int64_t x = index * LANES * (job->across == 2 ? 1 : 2);
    struct depthwise_column column = {.x = min64(x, last), .vecs = 1};
    if (job->across == 1 && x + LANES < dw) column.vecs = 2, column.second = min64(LANES, last - x);
    return column;
}

/* Whether the taps of one column read inside the source for the pixels [x, x + LANES), as far as these exist. */
static int all_inside(const struct correlation *c, int64_t x, int64_t tap) {
    int64_t first = x * c->step_w + c->first_w + tap * c->space_w;
    int64_t pixels = min64(LANES, c->dw - x);
    return first >= 0 && first + (pixels - 1) * c->step_w < c->sw;
}

static vec_bits inside(const struct correlation *c, int64_t x, int64_t tap) {
    vec_bits mask;
    for (int64_t l = 0; l < LANES; l++) {
        int64_t at = (x + l) * c->step_w + c->first_w + tap * c->space_w;
        mask[l] = at >= 0 && at < c->sw ? ~(bits)0 : 0;
    }
    return mask;
}

static uint64_t partial_taps(const struct correlation *c, const struct depthwise_column *column) {
    uint64_t partial = 0;
    for (int64_t j = 0; j < c->taps_w; j++)
        for (int64_t v = 0; v < column->vecs; v++)
            if (!all_inside(c, column->x + v * column->second, j)) partial |= (uint64_t)1 << j;
    return partial;
}

static void prepare_columns(const struct job *job, int64_t f) {
    const struct correlation *c = &job->phase[f];
    struct prepared *p = &job->prepared[f];
    vec_bits *mask = p->mask;
    for (int64_t k = 0; k < job->columns; k++) {
        struct depthwise_column column = column_at(job, k);
        column.partial = partial_taps(c, &column);
        column.mask = mask;
        for (int64_t j = 0; column.partial && j < c->taps_w; j++)
            for (int64_t v = 0; v < 2; v++) *mask++ = inside(c, column.x + v * column.second, j);
        p->column[k] = column;
    }
}

static int64_t count_masks(const struct job *job, int64_t f) {
    int64_t count = 0;
    for (int64_t k = 0; k < job->columns; k++) {
        struct depthwise_column column = column_at(job, k);
        if (partial_taps(&job->phase[f], &column)) count += 2 * job->phase[f].taps_w;
    }
    return count;
}

static void pack_weights(const struct job *job, int64_t f, const elem *weight) {
    const struct correlation *c = &job->phase[f];
    elem *to = job->prepared[f].weights;
    for (int64_t plane = 0; plane < c->g * c->dc; plane++) {
        const elem *from = weight + c->weight_offset + plane / c->dc * c->w_group + plane % c->dc * c->w_dc;
        for (int64_t j = 0; j < c->taps_w; j++)
            for (int64_t i = 0; i < c->taps_h; i++) *to++ = from[i * c->w_h + j * c->w_w];
    }
}

static void block_up(struct job *job) {
    const struct correlation *c = &job->phase[0];
    job->columns = count_columns(job);
    int64_t row_bytes = c->step_h * c->sw * (int64_t)sizeof(elem);
    int64_t rows = max64(1, STRIP_BYTES / row_bytes / DEPTHWISE_ROWS) * DEPTHWISE_ROWS;
    if (c->space_h > 1) rows = c->dh; /* rows share source rows with rows that far away */
    job->strips = ceil_div(c->dh, rows);
    job->rows = ceil_div(ceil_div(c->dh, job->strips), DEPTHWISE_ROWS) * DEPTHWISE_ROWS;
    job->units = c->n * c->g * c->dc * job->strips;
    job->per_task = max64(1, TASK_BYTES / max64(1, row_bytes * min64(job->rows, c->dh)));
    job->per_task = max64(1, min64(job->per_task, job->units / (TASKS_PER_THREAD * c->threads)));

    for (int64_t f = 0; f < job->phases; f++) {
        const struct correlation *p = &job->phase[f];
        if (p->taps_h == 0) continue;
        int64_t last = max64(0, p->dw - LANES) * p->step_w + p->first_w + (p->taps_w - 1) * p->space_w;
        job->first_read = min64(job->first_read, p->first_w);
        job->last_read = max64(job->last_read, last + p->step_w * LANES - 1);
    }
    for (int axis = 0; axis < 4; axis++) {
        int64_t size[] = {c->n, c->g, c->sh, c->sw}, reach = (size[axis] - 1) * c->s_stride[axis];
        job->low += min64(0, reach), job->high += max64(0, reach);
    }
    job->pitch = max64(job->last_read + 1, c->sw) - job->first_read;
}

static int64_t copied_rows(const struct job *job) {
    const struct correlation *c = &job->phase[0];
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (int64_t f = 0; f < job->phases; f++) {
        const struct correlation *p = &job->phase[f];
        if (p->taps_h == 0) continue;
        first = min64(first, p->first_h);
        last = max64(last, (job->rows - 1) * p->step_h + p->first_h + (p->taps_h - 1) * p->space_h);
    }
    return first > last ? 0 : min64(c->sh, last - first + 1);
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = &job->phase[0];
    job->prepared = ARENA_TAKE(arena, struct prepared, job->phases);
    for (int64_t f = 0; f < job->phases; f++) {
        struct prepared p = {
            .column = ARENA_TAKE(arena, struct depthwise_column, job->columns),
            .mask = ARENA_TAKE(arena, vec_bits, count_masks(job, f)),
            .weights = ARENA_TAKE(arena, elem, c->g * c->dc * job->phase[f].taps_h * job->phase[f].taps_w)};
        if (arena->base) job->prepared[f] = p;
    }
    job->zeros = ARENA_TAKE(arena, elem, job->pitch);
    job->copy = ARENA_TAKE(arena, elem *, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        elem *copy = ARENA_TAKE(arena, elem, copied_rows(job) * job->pitch);
        if (arena->base) job->copy[t] = copy;
    }
}

int64_t NAME(depthwise_workspace)(int64_t phases, int64_t across, const struct correlation *phase) {
    struct job job = {.phases = phases, .across = across, .phase = phase};
    struct arena arena = {0};
    block_up(&job);
    carve(&job, &arena);
    return arena.used;
}

/* The source rows [*begin, *end) that the destination rows [i0, i0 + rows) of the phases read. */
static void rows_read(const struct job *job, int64_t i0, int64_t rows, int64_t *begin, int64_t *end) {
    *begin = job->phase[0].sh, *end = 0;
    for (int64_t f = 0; f < job->phases; f++) {
        const struct correlation *c = &job->phase[f];
        int64_t last = min64(i0 + rows, c->dh) - 1;
        if (c->taps_h == 0 || last < i0) continue;
        *begin = min64(*begin, i0 * c->step_h + c->first_h);
        *end = max64(*end, last * c->step_h + c->first_h + (c->taps_h - 1) * c->space_h + 1);
    }
    *begin = max64(*begin, 0), *end = min64(*end, job->phase[0].sh);
}

/* Where a unit may read its source: in place, or, if it would read beside the memory of the array, in a copy. */
static void find_source(const struct job *job, int64_t plane, int64_t i0, elem *copy, struct depthwise_rows *d) {
    const struct correlation *c = &job->phase[0];
    int64_t begin, end;
    rows_read(job, i0, job->rows, &begin, &end);
    d->source = job->source + plane, d->pitch = c->s_stride[2];
    if (begin >= end) return;
    int64_t a = plane + begin * d->pitch, b = plane + (end - 1) * d->pitch;
    if (min64(a, b) + job->first_read >= job->low && max64(a, b) + job->last_read <= job->high) return;
    copy -= job->first_read;
    for (int64_t i = begin; i < end; i++)
        memcpy(copy + (i - begin) * job->pitch, job->source + plane + i * d->pitch, (size_t)c->sw * sizeof(elem));
    d->source = copy - begin * job->pitch, d->pitch = job->pitch;
}

static void unit(const struct job *job, int64_t index, elem *copy) {
    const struct correlation *c = &job->phase[0];
    int64_t planes = c->g * c->dc, i0 = index % job->strips * job->rows;
    int64_t plane = index / job->strips % planes, image = index / job->strips / planes;
    struct depthwise_rows d = {.columns = job->columns, .zeros = job->zeros - job->first_read, .row0 = i0,
                               .bias = job->bias ? job->bias[plane] : 0};
    find_source(job, image * c->s_stride[0] + plane / c->dc * c->s_stride[1], i0, copy, &d);
    for (int64_t f = 0; f < job->phases; f += job->across) {
        for (int64_t a = 0; a < job->across; a++) {
            const struct correlation *p = &job->phase[f + a];
            const struct prepared *prepared = &job->prepared[f + a];
            d.phase[a].c = p, d.phase[a].column = prepared->column;
            d.phase[a].weights = prepared->weights + plane * p->taps_h * p->taps_w;
        }
        d.rows = min64(job->rows, job->phase[f].dh - i0);
        d.to = job->dest + job->phase[f].d_offset + image * c->d_stride[0] + plane * c->d_stride[1];
        d.to_pitch = job->phase[f].d_stride[2];
        if (d.rows > 0) NAME(depthwise_rows)(&d);
    }
}

static void task(void *context, int64_t index, int64_t worker) {
    const struct job *job = context;
    for (int64_t u = index * job->per_task; u < min64(job->units, (index + 1) * job->per_task); u++)
        unit(job, u, job->copy[worker]);
}

void NAME(depthwise)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source, const elem *weight,
                     const elem *bias, elem *dest, void *workspace) {
    struct job job = {.phases = phases, .across = across, .phase = phase, .source = source, .bias = bias, .dest = dest};
    struct arena arena = {.base = workspace};
    block_up(&job);
    carve(&job, &arena);
    for (int64_t f = 0; f < phases; f++) prepare_columns(&job, f), pack_weights(&job, f, weight);
    memset(job.zeros, 0, (size_t)job.pitch * sizeof(elem));
    engine_parallel(phase->threads, ceil_div(job.units, job.per_task), task, &job);
}
