#include "depthwise_flat.h"
#include "arena.h"
#include "thread.h"
#include "vec_mask.h"

enum {
    MASKED_LOADS = ELEM_IS_FLOATING && VEC_BYTES == 64, /* that read nothing where the mask is 0 */
    VECS = 4,                                           /* at once */
    MOST_TAPS = 49,
    TASK_BYTES = 16 * 1024,
};

struct job {
    const struct correlation *c;
    const elem *source, *weight, *bias;
    elem *dest;
    int64_t taps, pixels, vecs, groups, per_task;
    int64_t *shift, *weight_at; /* of each tap */
    int64_t *at;                /* of each vector: the last one ends with the plane */
    vec_mask *mask;             /* [group of vectors][tap][VECS] */
};

int NAME(depthwise_flat_suits)(int64_t phases, const struct correlation *c) {
    int one_row = c->s_stride[2] == c->sw && c->d_stride[2] == c->dw && c->s_stride[3] == 1 && c->d_stride[3] == 1;
    int same = c->sh == c->dh && c->sw == c->dw && c->step_h == 1 && c->step_w == 1;
    return MASKED_LOADS && phases == 1 && one_row && same && c->dw * 2 <= LANES && c->dh * c->dw >= LANES &&
           c->taps_h * c->taps_w <= MOST_TAPS;
}

static struct job block_up(const struct correlation *c) {
    struct job job = {.c = c, .taps = c->taps_h * c->taps_w, .pixels = c->dh * c->dw};
    job.vecs = ceil_div(job.pixels, LANES), job.groups = ceil_div(job.vecs, VECS);
    job.per_task = max64(1, TASK_BYTES / (job.pixels * (int64_t)sizeof(elem)));
    return job;
}

static void carve(struct job *job, struct arena *arena) {
    job->shift = ARENA_TAKE(arena, int64_t, job->taps);
    job->weight_at = ARENA_TAKE(arena, int64_t, job->taps);
    job->at = ARENA_TAKE(arena, int64_t, job->groups * VECS);
    job->mask = ARENA_TAKE(arena, vec_mask, job->groups * job->taps * VECS);
}

int64_t NAME(depthwise_flat_workspace)(const struct correlation *c) {
    struct job job = block_up(c);
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* of the vector that begins at pixel `at`, for the tap (i, j) */
static vec_mask lanes_inside(const struct correlation *c, int64_t at, int64_t i, int64_t j) {
    vec_bits inside = {0};
    for (int64_t l = 0; l < LANES; l++) {
        int64_t h = (at + l) / c->dw + c->first_h + i * c->space_h, w = (at + l) % c->dw + c->first_w + j * c->space_w;
        if (h >= 0 && h < c->sh && w >= 0 && w < c->sw) inside[l] = ~(bits)0;
    }
    return mask_of(inside);
}

static void prepare(struct job *job) {
    const struct correlation *c = job->c;
    for (int64_t v = 0; v < job->groups * VECS; v++) job->at[v] = min64(v * LANES, job->pixels - LANES);
    for (int64_t tap = 0; tap < job->taps; tap++) {
        int64_t i = tap / c->taps_w, j = tap % c->taps_w;
        job->shift[tap] = (c->first_h + i * c->space_h) * c->sw + c->first_w + j * c->space_w;
        job->weight_at[tap] = i * c->w_h + j * c->w_w;
        for (int64_t v = 0; v < job->groups * VECS; v++)
            job->mask[(v / VECS * job->taps + tap) * VECS + v % VECS] = lanes_inside(c, job->at[v], i, j);
    }
}

/* One group of vectors, `vecs` of which are counted.  vecs is a constant wherever this is called. */
INLINE void group_of_vectors(const int vecs, const struct job *job, int64_t group, const elem *source,
                             const elem *weight, elem bias, elem *to) {
    const int64_t *at = job->at + group * VECS;
    const vec_mask *mask = job->mask + group * job->taps * VECS;
    vec sum[VECS];
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) sum[v] = vec_splat(bias);
    for (int64_t tap = 0; tap < job->taps; tap++, mask += VECS) {
        vec w = vec_splat(weight[job->weight_at[tap]]);
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) sum[v] += vec_load_where(mask[v], source + job->shift[tap] + at[v]) * w;
    }
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) vec_store(to + at[v], job->c->relu ? vec_relu(sum[v]) : sum[v]);
}

static void planes_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct correlation *c = job->c;
    int64_t planes = c->g * c->dc;
    for (int64_t p = task * job->per_task; p < min64(c->n * planes, (task + 1) * job->per_task); p++) {
        int64_t image = p / planes, plane = p % planes, group = plane / c->dc;
        const elem *source = job->source + image * c->s_stride[0] + group * c->s_stride[1];
        const elem *weight = job->weight + group * c->w_group + plane % c->dc * c->w_dc;
        elem bias = job->bias ? job->bias[plane] : 0, *to = job->dest + image * c->d_stride[0] + plane * c->d_stride[1];
        for (int64_t k = 0; k < job->groups; k++)
            switch (min64(VECS, job->vecs - k * VECS)) {
                case 1: group_of_vectors(1, job, k, source, weight, bias, to); break;
                case 2: group_of_vectors(2, job, k, source, weight, bias, to); break;
                case 3: group_of_vectors(3, job, k, source, weight, bias, to); break;
                default: group_of_vectors(4, job, k, source, weight, bias, to);
            }
    }
}

void NAME(depthwise_flat)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias,
                          elem *dest, void *workspace) {
    struct job job = block_up(c);
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    job.source = source, job.weight = weight + c->weight_offset, job.bias = bias, job.dest = dest + c->d_offset;
    prepare(&job);
    engine_parallel(c->threads, ceil_div(c->n * c->g * c->dc, job.per_task), planes_task, &job);
}
