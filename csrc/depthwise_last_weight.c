#include "depthwise_last.h"
#include "depthwise_ranges.h"
#include "thread.h"

enum {
    VECS = 2,
    SLICES = 16, /* partial sums, a fixed number for the sake of equal bits */
    TAPS = 3,    /* of one row that are summed together */
};

/* taps whose sums, with a gradient and a source vector, fit the registers */
#define TAPS_OF(group) (TAPS * (group) + 3 <= VEC_REGISTERS ? TAPS : 1)

/* One task per slice of the rows of all images and block of channels; slices are added in order. */
struct weight_job {
    const struct correlation *c;
    const elem *x, *dy;
    elem *acc; /* [slice][tap][rotation in the group][channel] */
    int64_t slices, per_slice;
};

/* of all taps of one slice */
static int64_t slice_size(const struct correlation *c) { return c->taps_h * c->taps_w * c->sc * c->sc * c->g; }

static struct weight_job weight_job(const struct correlation *c) {
    int64_t rows = c->n * c->dh;
    struct weight_job job = {.c = c, .slices = max64(1, min64(SLICES, rows))};
    job.per_slice = ceil_div(rows, job.slices);
    return job;
}

int64_t NAME(depthwise_last_weight_workspace)(const struct correlation *c) {
    return weight_job(c).slices * slice_size(c) * (int64_t)sizeof(elem);
}

/* acc[tap] += sum over the positions [begin, end) of dy * x[tap], for `taps` taps of one row */
INLINE void sum_row(const int taps, const int vecs, const int group, const struct correlation *c, const elem *x,
                    const elem *dy, int64_t begin, int64_t end, int64_t count, elem *acc) {
    vec sum[TAPS][MOST_IN_GROUP][VECS];
    int64_t channels = c->g * group, space = c->space_w * c->s_stride[3], next = c->step_w * c->s_stride[3];
#pragma GCC unroll 3
    for (int t = 0; t < taps; t++)
#pragma GCC unroll 8
        for (int k = 0; k < group; k++)
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) sum[t][k][v] = load(acc + (t * group + k) * channels + v * LANES, count);
    for (int64_t p = begin; p < end; p++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            vec g = load(dy + p * c->d_stride[3] + v * LANES, count);
#pragma GCC unroll 3
            for (int t = 0; t < taps; t++) {
                vec at = load(x + p * next + t * space + v * LANES, count);
#pragma GCC unroll 8
                for (int k = 0; k < group; k++) sum[t][k][v] += vec_rotate(at, group, k) * g;
            }
        }
#pragma GCC unroll 3
    for (int t = 0; t < taps; t++)
#pragma GCC unroll 8
        for (int k = 0; k < group; k++)
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) store(acc + (t * group + k) * channels + v * LANES, sum[t][k][v], count);
}

/* All taps of one row of dy for one block of channels. */
INLINE void weight_row(const int vecs, const int group, const struct correlation *c, const elem *x, const elem *dy,
                       int64_t i, int64_t count, elem *acc) {
    int64_t h0, h1, tap_size = c->g * group * group;
    range_inside(i * c->step_h + c->first_h, c->space_h, c->taps_h, c->sh, &h0, &h1);
    for (int64_t r = h0; r < h1; r++) {
        const elem *line = x + (i * c->step_h + c->first_h + r * c->space_h) * c->s_stride[2];
        for (int64_t s = 0; s < c->taps_w;) {
            int64_t taps = c->taps_w - s >= TAPS_OF(group) ? TAPS_OF(group) : 1, offset = c->first_w + s * c->space_w;
            int64_t begin, end, last0, last1;
            range_inside(offset, c->step_w, c->dw, c->sw, &begin, &end);
            range_inside(offset + (taps - 1) * c->space_w, c->step_w, c->dw, c->sw, &last0, &last1);
            const elem *from = line + offset * c->s_stride[3];
            elem *to = acc + (r * c->taps_w + s) * tap_size;
            if (taps == 1) {
                sum_row(1, vecs, group, c, from, dy, begin, end, count, to);
            } else {
                int64_t inner0 = max64(begin, last0), inner1 = max64(inner0, min64(end, last1));
                for (int64_t t = 0; t < taps; t++) { /* the margins, where only some taps are inside */
                    range_inside(offset + t * c->space_w, c->step_w, c->dw, c->sw, &begin, &end);
                    const elem *at = from + t * c->space_w * c->s_stride[3];
                    sum_row(1, vecs, group, c, at, dy, begin, min64(end, inner0), count, to + t * tap_size);
                    sum_row(1, vecs, group, c, at, dy, max64(begin, inner1), end, count, to + t * tap_size);
                }
                sum_row(TAPS_OF(group), vecs, group, c, from, dy, inner0, inner1, count, to);
            }
            s += taps;
        }
    }
}

/* The last block of channels is not to be summed twice: where channels are no multiple of LANES it is shorter. */
INLINE void all_channels(const int group, const struct correlation *c, const elem *x, const elem *dy, int64_t i,
                         elem *acc) {
    int64_t channel = 0, channels = c->g * group;
    for (; group == 1 && channel + VECS * LANES <= channels; channel += VECS * LANES)
        weight_row(VECS, group, c, x + channel, dy + channel, i, LANES, acc + channel);
    for (; channel + LANES <= channels; channel += LANES)
        weight_row(1, group, c, x + channel, dy + channel, i, LANES, acc + channel);
    if (channel < channels) weight_row(1, group, c, x + channel, dy + channel, i, channels - channel, acc + channel);
}

static void weight_task(void *context, int64_t slice, int64_t worker) {
    (void)worker;
    const struct weight_job *job = context;
    const struct correlation *c = job->c;
    elem *acc = job->acc + slice * slice_size(c);
    memset(acc, 0, (size_t)slice_size(c) * sizeof(elem));
    for (int64_t row = slice * job->per_slice; row < min64(c->n * c->dh, (slice + 1) * job->per_slice); row++) {
        int64_t image = row / c->dh, i = row % c->dh;
        const elem *x = job->x + image * c->s_stride[0], *dy = job->dy + image * c->d_stride[0] + i * c->d_stride[2];
        switch (c->sc) {
            case 1: all_channels(1, c, x, dy, i, acc); break;
            case 2: all_channels(2, c, x, dy, i, acc); break;
#if LANES >= 4
            case 4: all_channels(4, c, x, dy, i, acc); break;
#endif
#if LANES >= 8
            case 8: all_channels(8, c, x, dy, i, acc); break;
#endif
        }
    }
}

void NAME(depthwise_last_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace) {
    struct weight_job job = weight_job(c);
    job.x = x, job.dy = dy, job.acc = workspace;
    engine_parallel(c->threads, job.slices, weight_task, &job);
    int64_t size = slice_size(c);
    for (int64_t slice = 1; slice < job.slices; slice++)
        for (int64_t i = 0; i < size; i++) job.acc[i] += job.acc[slice * size + i];
    const elem *acc = job.acc;
    for (int64_t i = 0; i < c->taps_h; i++)
        for (int64_t j = 0; j < c->taps_w; j++)
            for (int64_t k = 0; k < c->sc; k++)
                for (int64_t g = 0; g < c->g; g++)
                    for (int64_t l = 0; l < c->dc; l++)
                        dweight[g * c->w_group + l * c->w_dc + (l + k) % c->sc * c->w_sc + i * c->w_h +
                                j * c->w_w] = *acc++;
}
