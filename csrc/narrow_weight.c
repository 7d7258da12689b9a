#include "narrow_weight.h"
#include "arena.h"
#include "stage.h"
#include "thread.h"

enum {
    STRIP_BYTES = 256 * 1024, /* staged input of one strip */
    MOST_ROWS = 8,            /* output channels of one tile */
    MOST_TAPS = 9,
    TASKS = 16, /* wanted at least */
};

/* the most taps whose sums, one input and the gradients fit the registers */
#define FIT(rows) ((VEC_REGISTERS - 1 - (rows)) / (rows))
#define TILE_TAPS(rows) (FIT(rows) > MOST_TAPS ? MOST_TAPS : FIT(rows) < 1 ? 1 : FIT(rows))

struct blocking {
    int64_t channels, blocks, tile_taps; /* output channels of a tile, tiles, and taps of a tile */
    int64_t k, k_padded;                 /* weights of one output channel */
    int64_t rows, strips;
    int64_t src_rows, src_cols, pitch_c, strip_size, dy_pitch;
    int64_t slices, per_slice;           /* consecutive (image, strip) pairs */
};

struct job {
    const struct correlation *c;
    struct blocking b;
    const elem *x, *dy;
    elem *dweight, *acc; /* acc: [slice][group][output channel][k_padded][LANES] */
    int64_t *offset;
    struct worker {
        elem *strip, *dy;
    } *worker;
};

/* The sums of rows x taps weights over one row of pixels after the other. */
struct tile {
    const int64_t *offset;  /* of the taps, from the first pixel of the strip */
    const elem *x, *dy;     /* dy: [output channel][row][dy_pitch] */
    int64_t rows, cols, x_pitch, dy_pitch, dy_plane;
    elem *acc;
    int64_t acc_pitch;      /* from one output channel to the next */
};

INLINE void run_tile(const int channels, const int taps, const struct tile *t) {
    vec sum[MOST_ROWS][MOST_TAPS];
#pragma GCC unroll 8
    for (int r = 0; r < channels; r++)
#pragma GCC unroll 9
        for (int k = 0; k < taps; k++) sum[r][k] = vec_load(t->acc + r * t->acc_pitch + k * LANES);
    int64_t whole = t->cols / LANES * LANES;
    /* dy is zero past the end of a row, but the input there is whatever follows: blank it, infinity times zero is no zero */
    vec_bits inside;
    for (int l = 0; l < LANES; l++) inside[l] = l < t->cols - whole ? ~(bits)0 : 0;
    for (int64_t i = 0; i < t->rows; i++) {
        const elem *x = t->x + i * t->x_pitch, *dy = t->dy + i * t->dy_pitch;
        for (int64_t q = 0; q < t->cols; q += LANES) {
            vec g[MOST_ROWS];
#pragma GCC unroll 8
            for (int r = 0; r < channels; r++) g[r] = vec_load(dy + r * t->dy_plane + q);
            if (q < whole) {
#pragma GCC unroll 9
                for (int k = 0; k < taps; k++) {
                    vec v = vec_load(x + t->offset[k] + q);
#pragma GCC unroll 8
                    for (int r = 0; r < channels; r++) sum[r][k] += v * g[r];
                }
            } else {
#pragma GCC unroll 9
                for (int k = 0; k < taps; k++) {
                    vec v = (vec)((vec_bits)vec_load(x + t->offset[k] + q) & inside);
#pragma GCC unroll 8
                    for (int r = 0; r < channels; r++) sum[r][k] += v * g[r];
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < channels; r++)
#pragma GCC unroll 9
        for (int k = 0; k < taps; k++) vec_store(t->acc + r * t->acc_pitch + k * LANES, sum[r][k]);
}

static void any_tile(int64_t channels, const struct tile *t) {
#define CASE(rows)                                                                                                     \
    case rows: run_tile(rows, TILE_TAPS(rows), t); break;
    switch (channels) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) }
}

static struct blocking block_up(const struct correlation *c) {
    struct blocking b = {.blocks = ceil_div(c->dc, MOST_ROWS), .k = c->sc * c->taps_h * c->taps_w};
    b.channels = ceil_div(c->dc, b.blocks);
    b.tile_taps = TILE_TAPS(b.channels);
    b.k_padded = b.k + MOST_TAPS;

    int64_t span_h = (c->taps_h - 1) * c->space_h, span_w = (c->taps_w - 1) * c->space_w;
    b.src_cols = c->dw + span_w / c->step_w;
    b.dy_pitch = ceil_div(c->dw, LANES) * LANES;
    int64_t halo = span_h / c->step_h, row_bytes = c->sc * c->step_h * c->step_w * b.src_cols * (int64_t)sizeof(elem);
    int64_t rows = max64(1, min64(c->dh, STRIP_BYTES / row_bytes - halo));
    b.strips = ceil_div(c->dh, rows), b.rows = ceil_div(c->dh, b.strips);
    b.src_rows = b.rows + halo;
    b.pitch_c = c->step_h * c->step_w * b.src_rows * b.src_cols;
    b.strip_size = c->sc * b.pitch_c + 2 * LANES;

    int64_t strips = c->n * b.strips;
    b.slices = max64(1, min64(strips, TASKS / c->g));
    b.per_slice = ceil_div(strips, b.slices);
    return b;
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    job->offset = ARENA_TAKE(arena, int64_t, b->k_padded);
    job->acc = ARENA_TAKE(arena, elem, b->slices * c->g * c->dc * b->k_padded * LANES);
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {.strip = ARENA_TAKE(arena, elem, b->strip_size),
                           .dy = ARENA_TAKE(arena, elem, c->dc * b->rows * b->dy_pitch)};
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(narrow_weight_workspace)(const struct correlation *c) {
    struct job job = {.c = c, .b = block_up(c)};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

static void fill_offsets(const struct job *job) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t plane = b->src_rows * b->src_cols, k = 0;
    for (int64_t channel = 0; channel < c->sc; channel++)
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++) {
                int64_t h = i * c->space_h, w = j * c->space_w;
                job->offset[k++] = channel * b->pitch_c + (h % c->step_h * c->step_w + w % c->step_w) * plane +
                                   h / c->step_h * b->src_cols + w / c->step_w;
            }
    for (; k < b->k_padded; k++) job->offset[k] = 0; /* the last tile sums some taps for nothing */
}

static void weight_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    const struct worker *w = &job->worker[worker];
    int64_t group = task % c->g, slice = task / c->g;
    elem *acc = job->acc + task * c->dc * b->k_padded * LANES;
    memset(acc, 0, (size_t)(c->dc * b->k_padded * LANES) * sizeof(elem));
    for (int64_t strip = slice * b->per_slice; strip < min64(c->n * b->strips, (slice + 1) * b->per_slice); strip++) {
        int64_t image = strip / b->strips, i0 = strip % b->strips * b->rows, rows = min64(b->rows, c->dh - i0);
        if (rows <= 0) continue;
        struct window x = {.channels = c->sc, .sh = c->sh, .sw = c->sw, .rows = b->src_rows, .cols = b->src_cols,
                           .step_h = c->step_h, .step_w = c->step_w,
                           .stride_c = c->s_stride[1], .stride_h = c->s_stride[2], .stride_w = c->s_stride[3],
                           .pitch_c = b->pitch_c, .pitch_h = b->src_cols, .pitch_w = 1};
        NAME(stage_phases)(&x, i0 * c->step_h + c->first_h, c->first_w,
                           job->x + image * c->s_stride[0] + group * c->sc * c->s_stride[1], w->strip);
        struct window dy = {.channels = c->dc, .sh = c->dh, .sw = c->dw, .h0 = i0, .rows = b->rows, .cols = b->dy_pitch,
                            .step_h = 1, .step_w = 1,
                            .stride_c = c->d_stride[1], .stride_h = c->d_stride[2], .stride_w = c->d_stride[3],
                            .pitch_c = b->rows * b->dy_pitch, .pitch_h = b->dy_pitch, .pitch_w = 1};
        NAME(stage)(&dy, job->dy + image * c->d_stride[0] + group * c->dc * c->d_stride[1], w->dy);

        for (int64_t r = 0; r < c->dc; r += b->channels) {
            int64_t channels = min64(b->channels, c->dc - r), taps = TILE_TAPS(channels);
            for (int64_t k = 0; k < b->k; k += taps) {
                struct tile t = {.offset = job->offset + k, .x = w->strip, .dy = w->dy + r * dy.pitch_c, .rows = rows,
                                 .cols = c->dw, .x_pitch = b->src_cols, .dy_pitch = b->dy_pitch, .dy_plane = dy.pitch_c,
                                 .acc = acc + (r * b->k_padded + k) * LANES, .acc_pitch = b->k_padded * LANES};
                any_tile(channels, &t);
            }
        }
    }
}

static void finish_task(void *context, int64_t channel, int64_t worker) {
    (void)worker;
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t slice_size = c->g * c->dc * b->k_padded * LANES;
    const elem *acc = job->acc + channel * b->k_padded * LANES;
    elem *to = job->dweight + channel / c->dc * c->w_group + channel % c->dc * c->w_dc;
    int64_t k = 0;
    for (int64_t s = 0; s < c->sc; s++)
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++, k++) {
                vec sum = vec_load(acc + k * LANES);
                for (int64_t slice = 1; slice < b->slices; slice++) sum += vec_load(acc + slice * slice_size + k * LANES);
                elem lane[LANES];
                vec_store(lane, sum);
                for (int64_t half = LANES / 2; half; half /= 2) /* pairwise: rounds least */
                    for (int64_t l = 0; l < half; l++) lane[l] += lane[l + half];
                to[s * c->w_sc + i * c->w_h + j * c->w_w] = lane[0];
            }
}

void NAME(narrow_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace) {
    struct job job = {.c = c, .b = block_up(c), .x = x, .dy = dy, .dweight = dweight};
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    fill_offsets(&job);
    engine_parallel(c->threads, job.b.slices * c->g, weight_task, &job);
    engine_parallel(c->threads, c->g * c->dc, finish_task, &job);
}
