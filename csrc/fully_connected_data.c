/* Backward data: vectors along the rows of the weight, which are added up in groups, each from zero. */
#include "arena.h"
#include "fully_connected.h"
#include "pointwise.h"
#include "thread.h"

enum {
    GROUP = VEC_REGISTERS > 16 ? 16 : 8, /* rows of the weight, one vector of each in registers */
    SUMS_BYTES = 96 * 1024,              /* of a task */
    FEWEST_BYTES = 4096,                 /* of a row that are read together */
    MOST_BYTES = 16 * 1024,              /* two groups of rows stay in L2 */
    STRIP = 64,                          /* pixels of a task */
    TASKS_PER_THREAD = 4,
};

struct job {
    const struct correlation *c;
    int64_t segment, segments; /* of the destination's channels */
    int64_t strips;
    const elem *source, *weight;
    elem *dest;
    struct worker {
        elem *source; /* [pixel of the strip][GROUP] */
        elem *sum;    /* [pixel of the strip][segment] */
    } *worker;
};

int NAME(fully_connected_data_suits)(int64_t phases, const struct correlation *c) {
    return NAME(fully_connected_suits)(phases, c) && c->w_dc == 1;
}

static struct job block_up(const struct correlation *c) {
    struct job job = {.c = c, .strips = ceil_div(c->n, STRIP)};
    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    int64_t share = ceil_div(c->dc, ceil_div(wanted, max64(1, c->g * job.strips)));
    int64_t most = min64(MOST_BYTES, SUMS_BYTES / max64(1, min64(STRIP, c->n))) / ELEM_BYTES;
    int64_t least = FEWEST_BYTES / ELEM_BYTES;
    job.segment = ceil_div(max64(min64(most, share), min64(least, most)), LANES) * LANES;
    job.segments = ceil_div(c->dc, job.segment);
    return job;
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = job->c;
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {.source = ARENA_TAKE(arena, elem, min64(STRIP, c->n) * GROUP),
                           .sum = ARENA_TAKE(arena, elem, min64(STRIP, c->n) * job->segment)};
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(fully_connected_data_workspace)(const struct correlation *c) {
    struct job job = block_up(c);
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* One group of rows, in a segment, for the pixels of a strip. */
struct group {
    int64_t rows;
    const elem *weight, *source;
    int64_t pitch;
    int64_t pixels, channels;
    elem *sum;
    int64_t sum_pitch;
    int add;
};

INLINE void add(const struct group *g, int64_t at, vec v) {
    vec_store(g->sum + at, g->add ? vec_load(g->sum + at) + v : v);
}

/* GROUP rows, the vector of channels from j on */
INLINE void add_vector(const struct group *g, int64_t j) {
    vec w[GROUP];
#pragma GCC unroll 16
    for (int r = 0; r < GROUP; r++) {
        w[r] = vec_load(g->weight + r * g->pitch + j);
        __builtin_prefetch(g->weight + (r + GROUP) * g->pitch + j, 0, 2); /* the next group */
    }
    for (int64_t q = 0; q < g->pixels; q++) {
        vec v = {0};
#pragma GCC unroll 16
        for (int r = 0; r < GROUP; r++) v += vec_splat(g->source[q * GROUP + r]) * w[r];
        add(g, q * g->sum_pitch + j, v);
    }
}

/* fewer rows, or fewer lanes */
static void add_rest(const struct group *g, int64_t j, int64_t lanes) {
    for (int64_t q = 0; q < g->pixels; q++) {
        vec v = {0};
        for (int64_t r = 0; r < g->rows; r++)
            v += vec_splat(g->source[q * GROUP + r]) * vec_load_first(g->weight + r * g->pitch + j, lanes);
        add(g, q * g->sum_pitch + j, v);
    }
}

static void add_group(const struct group *g) {
    int64_t j = 0;
    if (g->rows == GROUP)
        for (; j + LANES <= g->channels; j += LANES) add_vector(g, j);
    for (; j < g->channels; j += LANES) add_rest(g, j, min64(LANES, g->channels - j));
}

static void segment_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct correlation *c = job->c;
    const struct worker *w = &job->worker[worker];
    int64_t j0 = task % job->segments * job->segment, strip = task / job->segments % job->strips;
    int64_t group = task / job->segments / job->strips, q0 = strip * STRIP, stride = c->s_stride[1];
    struct group g = {.pitch = c->w_sc, .pixels = min64(STRIP, c->n - q0), .channels = min64(job->segment, c->dc - j0),
                      .source = w->source, .sum = w->sum, .sum_pitch = job->segment};
    const elem *source = job->source + q0 * c->s_stride[0] + group * c->sc * stride;
    const elem *weight = job->weight + group * c->w_group + j0;

    for (int64_t k = 0; k < c->sc; k += GROUP) {
        g.rows = min64(GROUP, c->sc - k), g.add = k > 0, g.weight = weight + k * c->w_sc;
        for (int64_t q = 0; q < g.pixels; q++)
            for (int64_t r = 0; r < g.rows; r++)
                w->source[q * GROUP + r] = source[q * c->s_stride[0] + (k + r) * stride];
        add_group(&g);
    }
    elem *dest = job->dest + q0 * c->d_stride[0] + (group * c->dc + j0) * c->d_stride[1];
    for (int64_t q = 0; q < g.pixels; q++, dest += c->d_stride[0])
        if (c->d_stride[1] == 1)
            memcpy(dest, w->sum + q * job->segment, (size_t)g.channels * sizeof(elem));
        else
            for (int64_t j = 0; j < g.channels; j++) dest[j * c->d_stride[1]] = w->sum[q * job->segment + j];
}

void NAME(fully_connected_data)(const struct correlation *c, const elem *source, const elem *weight, elem *dest,
                                void *workspace) {
    struct job job = block_up(c);
    job.source = source + c->first_h * c->s_stride[2] + c->first_w * c->s_stride[3];
    job.weight = weight + c->weight_offset, job.dest = dest + c->d_offset;
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    engine_parallel(c->threads, c->g * job.strips * job.segments, segment_task, &job);
}
