#include "narrow.h"
#include "arena.h"
#include "stage.h"
#include "thread.h"

enum {
    CHUNK = 384,              /* products summed from zero before they are added up */
    STRIP_BYTES = 384 * 1024, /* staged source of one strip */
    STRIP_PIXELS = 2048,
    MOST_ROWS = 8,            /* channels of one tile */
};

/* acc[r][pixel] (+)= sum over k of weights[k][r] * source[pixel + offset[k]], for rows channels and vecs vectors of pixels */
INLINE void tile(const int rows, const int vecs, int64_t k, const int64_t *offset, const elem *weights, const elem *source,
                 elem *acc, int64_t acc_pitch, int add) {
    vec sum[MOST_ROWS][8];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++) sum[r][v] = (vec){0};
    for (int64_t i = 0; i < k; i++) {
        const elem *at = source + offset[i];
        vec x[8];
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++) x[v] = vec_load(at + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec w = vec_splat(weights[i * rows + r]);
#pragma GCC unroll 8
            for (int v = 0; v < vecs; v++) sum[r][v] += x[v] * w;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++) {
            elem *to = acc + r * acc_pitch + v * LANES;
            vec_store(to, add ? vec_load(to) + sum[r][v] : sum[r][v]);
        }
}

/* the most vectors whose sums, sources and one weight fit the registers */
#define VECS(rows) ((VEC_REGISTERS - 1) / ((rows) + 1) > 8 ? 8 : (VEC_REGISTERS - 1) / ((rows) + 1))

static void any_tile(int64_t rows, int64_t k, const int64_t *offset, const elem *weights, const elem *source, elem *acc,
                     int64_t acc_pitch, int add) {
#define CASE(rows)                                                                                                     \
    case rows: tile(rows, VECS(rows), k, offset, weights, source, acc, acc_pitch, add); break;
    switch (rows) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) }
}

static int64_t tile_vecs(int64_t rows) { return VECS(rows); }

struct blocking {
    int64_t channels, blocks;   /* destination channels: `blocks` blocks of at most `channels` */
    int64_t h0, w0;             /* of the staged window, relative to destination pixel (0, 0) times the step */
    int64_t dh, rows, strips;   /* strips of destination rows */
    int64_t src_rows, src_cols; /* of one sub-plane: every step-th row and column */
    int64_t pitch_c, pixels, strip_size;
};

struct job {
    int64_t phases, across; /* `across` consecutive phases fill the same destination rows between them */
    const struct correlation *phase;
    struct blocking b;
    const elem *source, *weight, *bias;
    elem *dest;
    struct taps {
        int64_t k, *offset;
        elem *packed; /* [g][block][k][channels of the block] */
    } *taps;          /* of each phase */
    struct worker {
        elem *strip, *acc;
    } *worker;
};

/* Vectors of channels would have too many empty lanes; storing pixels one after the other has a price as well. */
int NAME(narrow_suits)(const struct correlation *c) { return c->dc * 4 < LANES * 3 + (c->d_stride[1] != 1); }

static struct blocking block_up(int64_t phases, const struct correlation *phase) {
    const struct correlation *c = &phase[0];
    struct blocking b = {.blocks = ceil_div(c->dc, MOST_ROWS)};
    b.channels = ceil_div(c->dc, b.blocks);

    int64_t h1 = INT64_MIN, w1 = INT64_MIN, dw = 0;
    b.h0 = b.w0 = INT64_MAX;
    for (int64_t f = 0; f < phases; f++) {
        const struct correlation *p = &phase[f];
        b.dh = max64(b.dh, p->dh), dw = max64(dw, p->dw);
        if (p->taps_h == 0) continue;
        b.h0 = min64(b.h0, p->first_h), h1 = max64(h1, p->first_h + (p->taps_h - 1) * p->space_h);
        b.w0 = min64(b.w0, p->first_w), w1 = max64(w1, p->first_w + (p->taps_w - 1) * p->space_w);
    }
    if (h1 < b.h0) b.h0 = h1 = b.w0 = w1 = 0; /* no tap at all */
    b.src_cols = dw + (w1 - b.w0) / c->step_w;

    int64_t halo = (h1 - b.h0) / c->step_h, row_bytes = c->sc * c->step_h * c->step_w * b.src_cols * (int64_t)sizeof(elem);
    int64_t rows = min64(STRIP_BYTES / row_bytes - halo, STRIP_PIXELS / b.src_cols);
    rows = max64(1, min64(b.dh, rows));
    b.strips = even_cut(c->n * c->g, ceil_div(b.dh, rows), b.dh, c->threads);
    b.rows = ceil_div(b.dh, b.strips);
    b.src_rows = b.rows + halo;
    b.pixels = (b.rows * b.src_cols + LANES - 1) / LANES * LANES + 8 * LANES;
    b.pitch_c = c->step_h * c->step_w * b.src_rows * b.src_cols;
    b.strip_size = c->sc * b.pitch_c + 9 * LANES; /* the last tile reads, and never uses, what lies behind */
    return b;
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = &job->phase[0];
    const struct blocking *b = &job->b;
    job->taps = ARENA_TAKE(arena, struct taps, job->phases);
    for (int64_t f = 0; f < job->phases; f++) {
        struct taps taps = {.k = c->sc * job->phase[f].taps_h * job->phase[f].taps_w};
        taps.offset = ARENA_TAKE(arena, int64_t, taps.k);
        taps.packed = ARENA_TAKE(arena, elem, c->g * c->dc * taps.k);
        if (arena->base) job->taps[f] = taps;
    }
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {.strip = ARENA_TAKE(arena, elem, b->strip_size),
                           .acc = ARENA_TAKE(arena, elem, job->across * b->channels * b->pixels)};
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(narrow_workspace)(int64_t phases, int64_t across, const struct correlation *phase) {
    struct job job = {.phases = phases, .across = across, .phase = phase, .b = block_up(phases, phase)};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* A division takes as long as ten products, and most steps are 1. */
struct split {
    int64_t whole, rest;
};

static inline struct split split(int64_t v, int64_t step) {
    return step == 1 ? (struct split){v, 0} : (struct split){v / step, v % step};
}

static void fill_offsets(struct job *job, int64_t f) {
    const struct correlation *c = &job->phase[f];
    const struct blocking *b = &job->b;
    int64_t plane = b->src_rows * b->src_cols, *offset = job->taps[f].offset;
    for (int64_t channel = 0; channel < c->sc; channel++)
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++) {
                struct split h = split(c->first_h - b->h0 + i * c->space_h, c->step_h);
                struct split w = split(c->first_w - b->w0 + j * c->space_w, c->step_w);
                *offset++ = channel * b->pitch_c + (h.rest * c->step_w + w.rest) * plane + h.whole * b->src_cols + w.whole;
            }
}

static void pack_weights(struct job *job, int64_t f, int64_t group) {
    const struct correlation *c = &job->phase[f];
    elem *to = job->taps[f].packed + group * c->dc * job->taps[f].k;
    const elem *from = job->weight + job->phase[f].weight_offset + group * c->w_group;
    for (int64_t block = 0; block < c->dc; block += job->b.channels)
        for (int64_t channel = 0; channel < c->sc; channel++)
            for (int64_t i = 0; i < c->taps_h; i++)
                for (int64_t j = 0; j < c->taps_w; j++)
                    for (int64_t r = block; r < min64(c->dc, block + job->b.channels); r++)
                        *to++ = from[r * c->w_dc + channel * c->w_sc + i * c->w_h + j * c->w_w];
}

static void stage_strip(const struct job *job, int64_t i0, const elem *source, elem *strip) {
    const struct correlation *c = &job->phase[0];
    const struct blocking *b = &job->b;
    struct window window = {.channels = c->sc, .sh = c->sh, .sw = c->sw, .rows = b->src_rows, .cols = b->src_cols,
                            .step_h = c->step_h, .step_w = c->step_w,
                            .stride_c = c->s_stride[1], .stride_h = c->s_stride[2], .stride_w = c->s_stride[3],
                            .pitch_c = b->pitch_c, .pitch_h = b->src_cols, .pitch_w = 1};
    NAME(stage_phases)(&window, i0 * c->step_h + b->h0, b->w0, source, strip);
}

/* acc[channel][pixel] of one phase and block of channels */
static void multiply(const struct job *job, const struct taps *taps, const elem *packed, int64_t channels, int64_t pixels,
                     const elem *strip, elem *acc) {
    int64_t step = tile_vecs(channels) * LANES;
    for (int64_t q = 0; q < pixels; q += step) {
        int64_t k0 = 0;
        do { /* at least once: without taps the sum is zero */
            int64_t k = min64(CHUNK, taps->k - k0);
            any_tile(channels, k, taps->offset + k0, packed + k0 * channels, strip + q, acc + q, job->b.pixels, k0 > 0);
            k0 += k;
        } while (k0 < taps->k);
    }
}

static void store_row(int64_t count, const elem *acc, elem bias, int relu, elem *to, int64_t stride) {
    vec add = vec_splat(bias);
    int64_t i = 0;
    if (stride == 1 && count >= LANES)
        for (; i < count; i += LANES) {
            i = min64(i, count - LANES); /* the last vector overlaps the one before it */
            vec v = vec_load(acc + i) + add;
            vec_store(to + i, relu ? vec_relu(v) : v);
        }
    for (; i < count; i++) {
        elem v = acc[i] + bias;
        to[i * stride] = relu && (compare)v < 0 ? 0 : v;
    }
}

/* two phases that alternate along a row */
static void store_pair(int64_t count_even, int64_t count_odd, const elem *even, const elem *odd, elem *to) {
    int64_t i = 0;
    for (; i + LANES <= count_odd; i += LANES) {
        vec a = vec_load(even + i), b = vec_load(odd + i);
        vec_store(to + 2 * i, vec_zip_low(a, b));
        vec_store(to + 2 * i + LANES, vec_zip_high(a, b));
    }
    store_row(count_even - i, even + i, 0, 0, to + 2 * i, 2);
    store_row(count_odd - i, odd + i, 0, 0, to + 2 * i + 1, 2);
}

/* One block of channels of the phases [f, f + across), from the staged strip to dest. */
static void phases_of_rows(const struct job *job, int64_t f, int64_t group, int64_t r0, int64_t i0, elem *dest,
                           const struct worker *w) {
    const struct blocking *b = &job->b;
    const struct correlation *c = &job->phase[f];
    int64_t channels = min64(b->channels, c->dc - r0), rows = min64(b->rows, c->dh - i0), channel = group * c->dc + r0;
    if (rows <= 0) return;
    for (int64_t a = 0; a < job->across; a++) {
        const struct taps *taps = &job->taps[f + a];
        multiply(job, taps, taps->packed + channel * taps->k, channels, (rows - 1) * b->src_cols + job->phase[f + a].dw,
                 w->strip, w->acc + a * b->channels * b->pixels);
    }
    for (int64_t r = 0; r < channels; r++)
        for (int64_t i = 0; i < rows; i++) {
            const elem *acc = w->acc + r * b->pixels + i * b->src_cols;
            int64_t at = (channel + r) * c->d_stride[1] + (i0 + i) * c->d_stride[2];
            if (job->across == 2 && c->d_stride[3] == 2) {
                store_pair(c->dw, job->phase[f + 1].dw, acc, acc + b->channels * b->pixels,
                           dest + job->phase[f].d_offset + at);
                continue;
            }
            for (int64_t a = 0; a < job->across; a++)
                store_row(job->phase[f + a].dw, acc + a * b->channels * b->pixels, job->bias ? job->bias[channel + r] : 0,
                          c->relu, dest + job->phase[f + a].d_offset + at, c->d_stride[3]);
        }
}

static void strip_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct blocking *b = &job->b;
    const struct worker *w = &job->worker[worker];
    const struct correlation *c = &job->phase[0];
    int64_t i0 = task % b->strips * b->rows, group = task / b->strips % c->g, image = task / b->strips / c->g;
    if (i0 >= b->dh) return; /* equal strips can cover the plane before the last one */
    stage_strip(job, i0, job->source + image * c->s_stride[0] + group * c->sc * c->s_stride[1], w->strip);
    elem *dest = job->dest + image * c->d_stride[0];
    for (int64_t f = 0; f < job->phases; f += job->across)
        for (int64_t r0 = 0; r0 < c->dc; r0 += b->channels) phases_of_rows(job, f, group, r0, i0, dest, w);
}

void NAME(narrow)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source, const elem *weight,
                  const elem *bias, elem *dest, void *workspace) {
    struct job job = {.phases = phases, .across = across, .phase = phase, .b = block_up(phases, phase), .source = source, .weight = weight,
                      .bias = bias, .dest = dest};
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    for (int64_t f = 0; f < phases; f++) {
        fill_offsets(&job, f);
        for (int64_t group = 0; group < phase[0].g; group++) pack_weights(&job, f, group);
    }
    engine_parallel(phase[0].threads, phase[0].n * phase[0].g * job.b.strips, strip_task, &job);
}
