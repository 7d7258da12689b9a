#include "depthwise_last.h"
#include "depthwise_ranges.h"
#include "thread.h"

enum {
    ROWS = 8,   /* destination rows of one task, of each phase */
    PIXELS = 4, /* of one tile */
    VECS = 2,
};

int NAME(depthwise_last_suits)(const struct correlation *c) {
    if (c->sc != c->dc || c->g == 1 || c->s_stride[1] != 1 || c->d_stride[1] != 1) return 0;
    int whole_groups = LANES % c->sc == 0 && c->g * c->sc >= LANES && (c->sc == 2 || c->sc == 4 || c->sc == 8);
    return c->sc == 1 || whole_groups;
}

struct job {
    int64_t phases;
    const struct correlation *phase;
    const elem *source, *bias;
    elem *dest, **packed; /* of each phase: [tap][rotation in the group][channel] */
};

/* Some neighbouring pixels of one row, and the taps [h0, h1) x [w0, w1) that read inside the source there. */
struct pixels {
    const struct correlation *c;
    const elem *packed, *bias, *source; /* source: where the first tap of the first pixel reads */
    elem *dest;
    int64_t h0, h1, w0, w1;
};

/* Three neighbouring taps: pixels share what they load.  All but the pointers are constants wherever this is called. */
INLINE void three_taps(const int pixels, const int vecs, const int group, const int step, const elem *x, int64_t stride,
                       const elem *weights, int64_t pitch, vec sum[PIXELS][VECS]) {
#pragma GCC unroll 16
    for (int q = 0; q < (pixels - 1) * step + 3; q++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            vec at = vec_load(x + q * stride + v * LANES);
#pragma GCC unroll 8
            for (int k = 0; k < group; k++) {
                vec turned = vec_rotate(at, group, k);
#pragma GCC unroll 4
                for (int p = 0; p < pixels; p++) {
                    int j = q - p * step;
                    if (j >= 0 && j < 3) sum[p][v] += turned * vec_load(weights + (j * group + k) * pitch + v * LANES);
                }
            }
        }
}

INLINE void any_taps(const int pixels, const int vecs, const int group, const struct pixels *t, int64_t count,
                     const elem *x, const elem *weights, int64_t pitch, vec sum[PIXELS][VECS]) {
    const struct correlation *c = t->c;
    int64_t next = c->step_w * c->s_stride[3];
    for (int64_t j = t->w0; j < t->w1; j++) {
        const elem *at = x + j * c->space_w * c->s_stride[3];
        vec w[VECS][MOST_IN_GROUP];
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++)
#pragma GCC unroll 8
            for (int k = 0; k < group; k++) w[v][k] = load(weights + (j * group + k) * pitch + v * LANES, count);
#pragma GCC unroll 4
        for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) {
                vec here = load(at + p * next + v * LANES, count);
#pragma GCC unroll 8
                for (int k = 0; k < group; k++) sum[p][v] += vec_rotate(here, group, k) * w[v][k];
            }
    }
}

/* `vecs` vectors of channels of them, or one of only `count` lanes; step: of three taps, or 0 */
INLINE void tile(const int pixels, const int vecs, const int group, const int step, const struct pixels *t,
                 int64_t channel, int64_t count) {
    const struct correlation *c = t->c;
    int64_t channels = c->g * group;
    vec sum[PIXELS][VECS];
#pragma GCC unroll 2
    for (int v = 0; v < vecs; v++) {
        vec bias = t->bias ? load(t->bias + channel + v * LANES, count) : (vec){0};
#pragma GCC unroll 4
        for (int p = 0; p < pixels; p++) sum[p][v] = bias;
    }
    for (int64_t i = t->h0; i < t->h1; i++) {
        const elem *x = t->source + i * c->space_h * c->s_stride[2] + channel;
        const elem *weights = t->packed + i * c->taps_w * group * channels + channel;
        if (step)
            three_taps(pixels, vecs, group, step, x, c->s_stride[3], weights, channels, sum);
        else
            any_taps(pixels, vecs, group, t, count, x, weights, channels, sum);
    }
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++)
            store(t->dest + p * c->d_stride[3] + channel + v * LANES, c->relu ? vec_relu(sum[p][v]) : sum[p][v], count);
}

/* All channels, in blocks of whole vectors, the last of which overlaps the one before it. */
INLINE void all_channels(const int pixels, const int group, const int step, const struct pixels *t) {
    int64_t channel = 0, channels = t->c->g * group;
    for (; group == 1 && channel + VECS * LANES <= channels; channel += VECS * LANES)
        tile(pixels, VECS, group, step, t, channel, LANES);
    for (; channel < channels && channels >= LANES; channel += LANES)
        tile(pixels, 1, group, step, t, min64(channel, channels - LANES), LANES);
    if (group == 1 && channels < LANES) tile(pixels, 1, group, 0, t, 0, channels);
}

INLINE void all_groups(const int pixels, const int step, const struct pixels *t) {
    switch (t->c->sc) {
        case 1: all_channels(pixels, 1, step, t); break;
        case 2: all_channels(pixels, 2, step, t); break;
#if LANES >= 4
        case 4: all_channels(pixels, 4, step, t); break;
#endif
#if LANES >= 8
        case 8: all_channels(pixels, 8, step, t); break;
#endif
    }
}

static void several_pixels(const struct pixels *t) {
    int three = t->w1 - t->w0 == 3 && t->c->taps_w == 3 && t->c->space_w == 1;
    if (three && t->c->step_w == 1)
        all_groups(PIXELS, 1, t);
    else if (three && t->c->step_w == 2)
        all_groups(PIXELS, 2, t);
    else
        all_groups(PIXELS, 0, t);
}

static void one_pixel(const struct pixels *t) { all_groups(1, 0, t); }

/* All nine taps of two rows of pixels, step 1: what is loaded serves up to six sums. */
INLINE void tile_of_two_rows(const struct pixels *t, int64_t channel) {
    const struct correlation *c = t->c;
    vec sum[2][PIXELS], w[3][3], bias = t->bias ? vec_load(t->bias + channel) : (vec){0};
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++)
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) w[i][j] = vec_load(t->packed + (i * 3 + j) * c->g + channel);
#pragma GCC unroll 4
    for (int p = 0; p < PIXELS; p++) sum[0][p] = sum[1][p] = bias;
#pragma GCC unroll 4
    for (int h = 0; h < 4; h++)
#pragma GCC unroll 16
        for (int q = 0; q < PIXELS + 2; q++) {
            vec x = vec_load(t->source + h * c->s_stride[2] + q * c->s_stride[3] + channel);
#pragma GCC unroll 2
            for (int r = 0; r < 2; r++)
#pragma GCC unroll 4
                for (int p = 0; p < PIXELS; p++)
                    if (h >= r && h - r < 3 && q >= p && q - p < 3) sum[r][p] += x * w[h - r][q - p];
        }
#pragma GCC unroll 2
    for (int r = 0; r < 2; r++)
#pragma GCC unroll 4
        for (int p = 0; p < PIXELS; p++)
            vec_store(t->dest + r * c->d_stride[2] + p * c->d_stride[3] + channel, c->relu ? vec_relu(sum[r][p]) : sum[r][p]);
}

static void two_rows_of_pixels(const struct pixels *t) {
    int64_t channels = t->c->g;
    for (int64_t channel = 0; channel < channels; channel += LANES)
        tile_of_two_rows(t, min64(channel, channels - LANES));
}

/* Whether rows i and i + 1 see all nine taps. */
static int two_rows_suit(const struct correlation *c, int64_t i, int64_t end) {
    int nine = c->taps_h == 3 && c->taps_w == 3 && c->space_h == 1 && c->space_w == 1 && c->step_h == 1 && c->step_w == 1;
    return nine && c->sc == 1 && c->g >= LANES && i + 1 < end && i + c->first_h >= 0 && i + c->first_h + 4 <= c->sh;
}

/* Row i, or rows i and i + 1. */
static void rows(const struct job *job, int64_t f, int64_t image, int64_t i, int two) {
    const struct correlation *c = &job->phase[f];
    struct pixels t = {.c = c, .packed = job->packed[f], .bias = job->bias};
    int64_t inner0, inner1, last0, last1; /* columns at which every tap is inside */
    range_inside(c->first_w, c->step_w, c->dw, c->sw, &inner0, &inner1);
    range_inside(c->first_w + (c->taps_w - 1) * c->space_w, c->step_w, c->dw, c->sw, &last0, &last1);
    inner0 = max64(inner0, last0), inner1 = min64(inner1, last1);
    range_inside(i * c->step_h + c->first_h, c->space_h, c->taps_h, c->sh, &t.h0, &t.h1);
    const elem *source = job->source + image * c->s_stride[0] + (i * c->step_h + c->first_h) * c->s_stride[2];
    elem *dest = job->dest + c->d_offset + image * c->d_stride[0] + i * c->d_stride[2];
    for (int64_t x = 0; x < c->dw;) {
        int inner = x >= inner0 && x < inner1 && inner1 - inner0 >= PIXELS;
        if (inner) x = min64(x, inner1 - PIXELS); /* the last ones overlap those before them */
        t.source = source + (x * c->step_w + c->first_w) * c->s_stride[3], t.dest = dest + x * c->d_stride[3];
        if (inner) {
            t.w0 = 0, t.w1 = c->taps_w;
            two ? two_rows_of_pixels(&t) : several_pixels(&t);
            x += PIXELS;
        } else {
            range_inside(x * c->step_w + c->first_w, c->space_w, c->taps_w, c->sw, &t.w0, &t.w1);
            one_pixel(&t);
            t.source += c->s_stride[2], t.dest += c->d_stride[2];
            if (two) one_pixel(&t);
            x++;
        }
    }
}

static int64_t strips(const struct job *job) { return ceil_div(job->phase[0].dh, ROWS); }

/* Some rows of all phases, which read the same rows of the source. */
static void rows_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    int64_t image = task / strips(job), i0 = task % strips(job) * ROWS;
    int64_t end = min64(i0 + ROWS, job->phase[0].dh);
    for (int64_t i = i0; i < end;) {
        int two = job->phases == 1 && two_rows_suit(job->phase, i, end);
        for (int64_t f = 0; f < job->phases; f++)
            if (i < job->phase[f].dh) rows(job, f, image, i, two);
        i += two ? 2 : 1;
    }
}

static void carve(struct job *job, struct arena *arena) {
    job->packed = ARENA_TAKE(arena, elem *, job->phases);
    for (int64_t f = 0; f < job->phases; f++) {
        const struct correlation *c = &job->phase[f];
        elem *packed = ARENA_TAKE(arena, elem, c->taps_h * c->taps_w * c->sc * c->sc * c->g);
        if (arena->base) job->packed[f] = packed;
    }
}

int64_t NAME(depthwise_last_workspace)(int64_t phases, const struct correlation *phase) {
    struct job job = {.phases = phases, .phase = phase};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* Lane by lane the weight that the source channel `k` places further in its group, and around, is multiplied by. */
static void pack_weights(const struct correlation *c, const elem *weight, elem *to) {
    for (int64_t i = 0; i < c->taps_h; i++)
        for (int64_t j = 0; j < c->taps_w; j++)
            for (int64_t k = 0; k < c->sc; k++)
                for (int64_t g = 0; g < c->g; g++)
                    for (int64_t l = 0; l < c->dc; l++)
                        *to++ = weight[g * c->w_group + l * c->w_dc + (l + k) % c->sc * c->w_sc + i * c->w_h +
                                       j * c->w_w];
}

void NAME(depthwise_last)(int64_t phases, const struct correlation *phase, const elem *source, const elem *weight,
                          const elem *bias, elem *dest, void *workspace) {
    struct job job = {.phases = phases, .phase = phase, .source = source, .bias = bias, .dest = dest};
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    for (int64_t f = 0; f < phases; f++) pack_weights(&phase[f], weight + phase[f].weight_offset, job.packed[f]);
    engine_parallel(phase->threads, phase->n * strips(&job), rows_task, &job);
}
