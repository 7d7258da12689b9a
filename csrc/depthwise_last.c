#include "depthwise_last.h"
#include "arena.h"
#include "thread.h"

enum {
    ROWS = 4,    /* destination rows of one task */
    PIXELS = 4,  /* of one tile */
    VECS = 2,
    SLICES = 16, /* partial sums of the weight gradient, a fixed number for the sake of equal bits */
    TAPS = 3,    /* of one row that are summed together */
};

int NAME(depthwise_last_suits)(const struct correlation *c) {
    return c->sc == 1 && c->dc == 1 && c->g > 1 && c->s_stride[1] == 1 && c->d_stride[1] == 1;
}

/* The taps [begin, end) along one axis that read inside the source at destination position i. */
static void taps_inside(int64_t i, int64_t step, int64_t first, int64_t space, int64_t taps, int64_t size, int64_t *begin,
                        int64_t *end) {
    int64_t at = i * step + first;
    *begin = at >= 0 ? 0 : min64(taps, ceil_div(-at, space));
    *end = at >= size ? *begin : max64(*begin, min64(taps, ceil_div(size - at, space)));
}

/* The destination positions [begin, end), of `count`, at which a tap offset reads inside the source. */
static void positions_inside(int64_t offset, int64_t step, int64_t count, int64_t size, int64_t *begin, int64_t *end) {
    *begin = offset >= 0 ? 0 : min64(count, ceil_div(-offset, step));
    *end = offset >= size ? *begin : max64(*begin, min64(count, ceil_div(size - offset, step)));
}

/* Channels in blocks of whole vectors, the last block overlapping if the channels are no multiple. */
struct lanes {
    int64_t start, count; /* count < LANES only where there are fewer channels than lanes */
};

static int64_t channel_vectors(int64_t channels) { return ceil_div(channels, LANES); }

static struct lanes channel_vector(int64_t channels, int64_t index) {
    if (channels < LANES) return (struct lanes){0, channels};
    return (struct lanes){min64(index * LANES, channels - LANES), LANES};
}

INLINE vec load(const elem *p, int64_t count) { return count == LANES ? vec_load(p) : vec_load_first(p, count); }
INLINE void store(elem *p, vec v, int64_t count) {
    if (count == LANES)
        vec_store(p, v);
    else
        vec_store_first(p, v, count);
}

struct job {
    const struct correlation *c;
    const elem *source, *bias;
    elem *dest, *packed; /* packed: [tap][channel] */
};

/* `pixels` neighbours of one row, `vecs` vectors of channels, the taps [h0, h1) x [w0, w1) */
INLINE void tile(const int pixels, const int vecs, const struct job *job, const elem *source, int64_t channel, int64_t count,
                 int64_t h0, int64_t h1, int64_t w0, int64_t w1, elem *dest) {
    const struct correlation *c = job->c;
    vec sum[PIXELS][VECS];
#pragma GCC unroll 2
    for (int v = 0; v < vecs; v++) {
        vec bias = job->bias ? load(job->bias + channel + v * LANES, count) : (vec){0};
#pragma GCC unroll 4
        for (int p = 0; p < pixels; p++) sum[p][v] = bias;
    }
    int64_t next = c->step_w * c->s_stride[3];
    for (int64_t i = h0; i < h1; i++)
        for (int64_t j = w0; j < w1; j++) {
            const elem *x = source + i * c->space_h * c->s_stride[2] + j * c->space_w * c->s_stride[3];
            const elem *weights = job->packed + (i * c->taps_w + j) * c->g + channel;
            vec w[VECS];
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) w[v] = load(weights + v * LANES, count);
#pragma GCC unroll 4
            for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
                for (int v = 0; v < vecs; v++) sum[p][v] += load(x + p * next + v * LANES, count) * w[v];
        }
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++)
            store(dest + p * c->d_stride[3] + v * LANES, c->relu ? vec_relu(sum[p][v]) : sum[p][v], count);
}

/* One row of destination pixels for one block of channels. */
INLINE void row_of_channels(const int vecs, const struct job *job, const elem *source, int64_t channel, int64_t count,
                            int64_t i, int64_t inner0, int64_t inner1, elem *dest) {
    const struct correlation *c = job->c;
    int64_t h0, h1;
    taps_inside(i, c->step_h, c->first_h, c->space_h, c->taps_h, c->sh, &h0, &h1);
    source += (i * c->step_h + c->first_h) * c->s_stride[2] + channel;
    dest += i * c->d_stride[2] + channel;
    for (int64_t x = 0; x < c->dw;) {
        const elem *from = source + (x * c->step_w + c->first_w) * c->s_stride[3];
        elem *to = dest + x * c->d_stride[3];
        if (x >= inner0 && x + PIXELS <= inner1) {
            tile(PIXELS, vecs, job, from, channel, count, h0, h1, 0, c->taps_w, to);
            x += PIXELS;
        } else {
            int64_t w0, w1;
            taps_inside(x, c->step_w, c->first_w, c->space_w, c->taps_w, c->sw, &w0, &w1);
            tile(1, vecs, job, from, channel, count, h0, h1, w0, w1, to);
            x++;
        }
    }
}

static void rows_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct correlation *c = job->c;
    int64_t strips = ceil_div(c->dh, ROWS), image = task / strips, i0 = task % strips * ROWS;
    const elem *source = job->source + image * c->s_stride[0];
    elem *dest = job->dest + image * c->d_stride[0];
    int64_t inner0, inner1, last0, last1; /* columns at which every tap is inside */
    positions_inside(c->first_w, c->step_w, c->dw, c->sw, &inner0, &inner1);
    positions_inside(c->first_w + (c->taps_w - 1) * c->space_w, c->step_w, c->dw, c->sw, &last0, &last1);
    inner0 = max64(inner0, last0), inner1 = min64(inner1, last1);
    for (int64_t i = i0; i < min64(c->dh, i0 + ROWS); i++) {
        int64_t channel = 0;
        for (; channel + VECS * LANES <= c->g; channel += VECS * LANES)
            row_of_channels(VECS, job, source, channel, LANES, i, inner0, inner1, dest);
        for (int64_t v = channel / LANES; v < channel_vectors(c->g); v++) {
            struct lanes l = channel_vector(c->g, v);
            if (l.count == LANES)
                row_of_channels(1, job, source, l.start, LANES, i, inner0, inner1, dest);
            else
                row_of_channels(1, job, source, l.start, l.count, i, inner0, inner1, dest);
        }
    }
}

int64_t NAME(depthwise_last_workspace)(int64_t phases, const struct correlation *phase) {
    int64_t most = 0;
    for (int64_t f = 0; f < phases; f++) most = max64(most, phase[f].taps_h * phase[f].taps_w);
    return most * phase->g * (int64_t)sizeof(elem);
}

void NAME(depthwise_last)(int64_t phases, const struct correlation *phase, const elem *source, const elem *weight,
                          const elem *bias, elem *dest, void *workspace) {
    for (int64_t f = 0; f < phases; f++) {
        const struct correlation *c = &phase[f];
        struct job job = {.c = c, .source = source, .bias = bias, .dest = dest + phase[f].d_offset, .packed = workspace};
        const elem *from = weight + phase[f].weight_offset;
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++)
                for (int64_t g = 0; g < c->g; g++)
                    job.packed[(i * c->taps_w + j) * c->g + g] = from[g * c->w_group + i * c->w_h + j * c->w_w];
        engine_parallel(c->threads, c->n * ceil_div(c->dh, ROWS), rows_task, &job);
    }
}

/* Backward weight: one task per slice of the rows of all images and block of channels; slices are added in order. */
struct weight_job {
    const struct correlation *c;
    const elem *x, *dy;
    elem *acc; /* [slice][tap][channel] */
    int64_t slices, per_slice;
};

static struct weight_job weight_job(const struct correlation *c) {
    int64_t rows = c->n * c->dh;
    struct weight_job job = {.c = c, .slices = max64(1, min64(SLICES, rows))};
    job.per_slice = ceil_div(rows, job.slices);
    return job;
}

int64_t NAME(depthwise_last_weight_workspace)(const struct correlation *c) {
    return weight_job(c).slices * c->taps_h * c->taps_w * c->g * (int64_t)sizeof(elem);
}

/* acc[tap] += sum over the positions [begin, end) of dy * x[tap], for `taps` taps of one row */
INLINE void sum_row(const int taps, const int vecs, const struct correlation *c, const elem *x, const elem *dy, int64_t begin,
                    int64_t end, int64_t count, elem *acc) {
    vec sum[TAPS][VECS];
#pragma GCC unroll 3
    for (int t = 0; t < taps; t++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) sum[t][v] = load(acc + t * c->g + v * LANES, count);
    int64_t space = c->space_w * c->s_stride[3], next = c->step_w * c->s_stride[3];
    for (int64_t p = begin; p < end; p++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            vec g = load(dy + p * c->d_stride[3] + v * LANES, count);
#pragma GCC unroll 3
            for (int t = 0; t < taps; t++) sum[t][v] += load(x + p * next + t * space + v * LANES, count) * g;
        }
#pragma GCC unroll 3
    for (int t = 0; t < taps; t++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) store(acc + t * c->g + v * LANES, sum[t][v], count);
}

/* All taps of one row of dy for one block of channels. */
INLINE void weight_row(const int vecs, const struct correlation *c, const elem *x, const elem *dy, int64_t i, int64_t count,
                       elem *acc) {
    int64_t h0, h1;
    taps_inside(i, c->step_h, c->first_h, c->space_h, c->taps_h, c->sh, &h0, &h1);
    for (int64_t r = h0; r < h1; r++) {
        const elem *line = x + (i * c->step_h + c->first_h + r * c->space_h) * c->s_stride[2];
        for (int64_t s = 0; s < c->taps_w;) {
            int64_t taps = c->taps_w - s >= TAPS ? TAPS : 1, offset = c->first_w + s * c->space_w;
            int64_t begin, end, last0, last1;
            positions_inside(offset, c->step_w, c->dw, c->sw, &begin, &end);
            positions_inside(offset + (taps - 1) * c->space_w, c->step_w, c->dw, c->sw, &last0, &last1);
            const elem *from = line + offset * c->s_stride[3];
            elem *to = acc + (r * c->taps_w + s) * c->g;
            if (taps == 1) {
                sum_row(1, vecs, c, from, dy, begin, end, count, to);
            } else {
                int64_t inner0 = max64(begin, last0), inner1 = max64(inner0, min64(end, last1));
                for (int64_t t = 0; t < taps; t++) { /* the margins, where only some taps are inside */
                    positions_inside(offset + t * c->space_w, c->step_w, c->dw, c->sw, &begin, &end);
                    const elem *at = from + t * c->space_w * c->s_stride[3];
                    sum_row(1, vecs, c, at, dy, begin, min64(end, inner0), count, to + t * c->g);
                    sum_row(1, vecs, c, at, dy, max64(begin, inner1), end, count, to + t * c->g);
                }
                sum_row(TAPS, vecs, c, from, dy, inner0, inner1, count, to);
            }
            s += taps;
        }
    }
}

static void weight_task(void *context, int64_t slice, int64_t worker) {
    (void)worker;
    const struct weight_job *job = context;
    const struct correlation *c = job->c;
    elem *acc = job->acc + slice * c->taps_h * c->taps_w * c->g;
    memset(acc, 0, (size_t)(c->taps_h * c->taps_w * c->g) * sizeof(elem));
    for (int64_t row = slice * job->per_slice; row < min64(c->n * c->dh, (slice + 1) * job->per_slice); row++) {
        int64_t image = row / c->dh, i = row % c->dh, channel = 0;
        const elem *x = job->x + image * c->s_stride[0], *dy = job->dy + image * c->d_stride[0] + i * c->d_stride[2];
        for (; channel + VECS * LANES <= c->g; channel += VECS * LANES)
            weight_row(VECS, c, x + channel, dy + channel, i, LANES, acc + channel);
        for (; channel + LANES <= c->g; channel += LANES) weight_row(1, c, x + channel, dy + channel, i, LANES, acc + channel);
        if (channel < c->g) weight_row(1, c, x + channel, dy + channel, i, c->g - channel, acc + channel);
    }
}

void NAME(depthwise_last_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace) {
    struct weight_job job = weight_job(c);
    job.x = x, job.dy = dy, job.acc = workspace;
    engine_parallel(c->threads, job.slices, weight_task, &job);
    int64_t size = c->taps_h * c->taps_w * c->g;
    for (int64_t slice = 1; slice < job.slices; slice++)
        for (int64_t i = 0; i < size; i++) job.acc[i] += job.acc[slice * size + i];
    for (int64_t g = 0; g < c->g; g++)
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++)
                dweight[g * c->w_group + i * c->w_h + j * c->w_w] = job.acc[(i * c->taps_w + j) * c->g + g];
}
