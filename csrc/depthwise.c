#include "depthwise.h"
#include "arena.h"
#include "depthwise_flat.h"
#include "depthwise_roll.h"
#include "depthwise_rows.h"
#include "depthwise_spread.h"
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
    struct depthwise_cut cut;
    struct depthwise_reach reach;
    int64_t rows, strips, units, per_task; /* a unit is a strip of a destination plane */
    struct prepared *prepared;             /* of each phase */
    struct depthwise_band band;
    int rolls;
    elem *zeros;
    elem **copy; /* of each worker: a strip that cannot be read in place */
};

int NAME(depthwise_suits)(int64_t phases, int64_t across, const struct correlation *phase) {
    for (int64_t f = 0; f < phases; f++)
        if (!NAME(depthwise_rows_suits)(&phase[f], across == 2)) return 0;
    return phase->sc == 1 && phase->s_stride[3] == 1 && across <= 2 && phase->d_stride[3] == across;
}

static void block_up(struct job *job) {
    const struct correlation *c = &job->phase[0];
    job->cut = NAME(depthwise_cut)(c, job->across == 2 ? 1 : 2, 1);
    job->reach = NAME(depthwise_reach)(job->phases, job->phase, job->cut);
    int64_t row_bytes = c->step_h * c->sw * (int64_t)sizeof(elem);
    int64_t rows = max64(1, STRIP_BYTES / row_bytes / DEPTHWISE_ROWS) * DEPTHWISE_ROWS;
    if (c->space_h > 1) rows = c->dh; /* rows share source rows with rows that far away */
    job->strips = ceil_div(c->dh, rows);
    job->rows = ceil_div(ceil_div(c->dh, job->strips), DEPTHWISE_ROWS) * DEPTHWISE_ROWS;
    job->units = c->n * c->g * c->dc * job->strips;
    job->per_task = TASK_BYTES / (row_bytes * min64(job->rows, c->dh));
    job->per_task = max64(1, min64(job->per_task, job->units / (TASKS_PER_THREAD * c->threads)));
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = &job->phase[0];
    job->prepared = ARENA_TAKE(arena, struct prepared, job->phases);
    for (int64_t f = 0; f < job->phases; f++) {
        struct prepared p = {
            .column = ARENA_TAKE(arena, struct depthwise_column, job->cut.columns),
            .mask = ARENA_TAKE(arena, vec_bits, NAME(depthwise_count_masks)(&job->phase[f], job->cut)),
            .weights = ARENA_TAKE(arena, elem, c->g * c->dc * job->phase[f].taps_h * job->phase[f].taps_w)};
        if (arena->base) job->prepared[f] = p;
    }
    job->zeros = ARENA_TAKE(arena, elem, job->reach.pitch);
    job->copy = ARENA_TAKE(arena, elem *, c->threads);
    int64_t copied = NAME(depthwise_rows_reached)(job->phases, job->phase, job->rows) * job->reach.pitch;
    for (int64_t t = 0; t < c->threads; t++) {
        elem *copy = ARENA_TAKE(arena, elem, copied);
        if (arena->base) job->copy[t] = copy;
    }
}

int64_t NAME(depthwise_workspace)(int64_t phases, int64_t across, const struct correlation *phase) {
    if (NAME(depthwise_flat_suits)(phases, phase)) return NAME(depthwise_flat_workspace)(phase);
    struct job job = {.phases = phases, .across = across, .phase = phase};
    struct arena arena = {0};
    block_up(&job);
    carve(&job, &arena);
    return arena.used;
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

static void unit(const struct job *job, int64_t image, int64_t plane, int64_t i0, elem *copy) {
    const struct correlation *c = &job->phase[0];
    int64_t offset = image * c->s_stride[0] + plane / c->dc * c->s_stride[1];
    struct depthwise_rows rows = {
        .strip = NAME(depthwise_strip)(&job->reach, job->phases, job->phase, job->source, offset, i0, job->rows, copy),
        .columns = job->cut.columns, .band = job->rolls ? &job->band : NULL,
        .zeros = job->zeros - job->reach.first, .row0 = i0,
        .bias = job->bias ? job->bias[plane] : 0};
    int four = job->phases == 4 && job->across == 2;
    struct depthwise_rows pair[2] = {rows, rows}; /* of the even rows of dest and of the odd ones, if they are four */
    for (int64_t f = 0; f < job->phases; f += job->across) {
        struct depthwise_rows *d = &pair[four && f > 0];
        for (int64_t a = 0; a < job->across; a++) {
            const struct correlation *p = &job->phase[f + a];
            const struct prepared *prepared = &job->prepared[f + a];
            d->phase[a].c = p, d->phase[a].column = prepared->column;
            d->phase[a].weights = prepared->weights + plane * p->taps_h * p->taps_w;
        }
        d->rows = min64(job->rows, job->phase[f].dh - i0);
        d->to = job->dest + job->phase[f].d_offset + image * c->d_stride[0] + plane * c->d_stride[1];
        d->to_pitch = job->phase[f].d_stride[2];
        if (!four && d->rows > 0) NAME(depthwise_rows)(d);
    }
    if (four && NAME(depthwise_spread_suits)(pair)) {
        NAME(depthwise_spread)(pair);
        return;
    }
    for (int p = 0; four && p < 2; p++)
        if (pair[p].rows > 0) NAME(depthwise_rows)(&pair[p]);
}

static void task(void *context, int64_t index, int64_t worker) {
    const struct job *job = context;
    int64_t planes = job->phase->g * job->phase->dc, first = index * job->per_task;
    int64_t strip = first % job->strips, plane = first / job->strips % planes, image = first / job->strips / planes;
    for (int64_t u = first; u < min64(job->units, first + job->per_task); u++) {
        unit(job, image, plane, strip * job->rows, job->copy[worker]);
        if (++strip < job->strips) continue;
        strip = 0;
        if (++plane == planes) plane = 0, image++;
    }
}

void NAME(depthwise)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source, const elem *weight,
                     const elem *bias, elem *dest, void *workspace) {
    if (NAME(depthwise_flat_suits)(phases, phase)) {
        NAME(depthwise_flat)(phase, source, weight, bias, dest, workspace);
        return;
    }
    struct job job = {.phases = phases, .across = across, .phase = phase, .source = source, .bias = bias, .dest = dest};
    struct arena arena = {.base = workspace};
    block_up(&job);
    carve(&job, &arena);
    for (int64_t f = 0; f < phases; f++) {
        NAME(depthwise_fill_columns)(&phase[f], job.cut, job.prepared[f].column, job.prepared[f].mask);
        pack_weights(&job, f, weight);
    }
    const struct depthwise_phase alone = {.c = phase, .column = job.prepared[0].column};
    job.rolls = phases == 1 && NAME(depthwise_roll_suits)(&alone, job.cut.columns, &job.band);
    memset(job.zeros, 0, (size_t)job.reach.pitch * sizeof(elem));
    engine_parallel(phase->threads, ceil_div(job.units, job.per_task), task, &job);
}
