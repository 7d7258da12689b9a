#include "depthwise_last.h"
#include "depthwise_ranges.h"
#include "thread.h"

enum {
    VECS = 2,
    SLICES = 16, /* partial sums, a fixed number for the sake of equal bits */
    TAPS = 3,    /* of one row that are summed together */
};

/* One task per slice of the rows of all images and block of channels; slices are added in order. */
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
    range_inside(i * c->step_h + c->first_h, c->space_h, c->taps_h, c->sh, &h0, &h1);
    for (int64_t r = h0; r < h1; r++) {
        const elem *line = x + (i * c->step_h + c->first_h + r * c->space_h) * c->s_stride[2];
        for (int64_t s = 0; s < c->taps_w;) {
            int64_t taps = c->taps_w - s >= TAPS ? TAPS : 1, offset = c->first_w + s * c->space_w;
            int64_t begin, end, last0, last1;
            range_inside(offset, c->step_w, c->dw, c->sw, &begin, &end);
            range_inside(offset + (taps - 1) * c->space_w, c->step_w, c->dw, c->sw, &last0, &last1);
            const elem *from = line + offset * c->s_stride[3];
            elem *to = acc + (r * c->taps_w + s) * c->g;
            if (taps == 1) {
                sum_row(1, vecs, c, from, dy, begin, end, count, to);
            } else {
                int64_t inner0 = max64(begin, last0), inner1 = max64(inner0, min64(end, last1));
                for (int64_t t = 0; t < taps; t++) { /* the margins, where only some taps are inside */
                    range_inside(offset + t * c->space_w, c->step_w, c->dw, c->sw, &begin, &end);
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
