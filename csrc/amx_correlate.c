#include "amx_correlate.h"
#include "amx_tile.h"
#include "arena.h"

#if HAVE_AMX

#include "amx_source.h"
#include "filters.h"
#include "kernels.h"
#include "thread.h"

enum {
    CHUNK = 36,                /* steps summed from zero before they are added up */
    STRIP_PIXELS = 1024,       /* destination pixels of one strip, gaps between its rows not counted */
    STRIP_BYTES = 1024 * 1024, /* staged source of one strip: processors with AMX have 2 MiB of L2 a core */
    FEWEST_PIXELS = 128,       /* that pay for packing the weights, part by part */
    FEWEST_IN_STRIP = 64,      /* where an image is cut for the sake of the threads */
};

struct job {
    struct correlation c;
    struct amx_source s;
    int64_t taps, steps, chunk;
    int64_t tiles, blocks;            /* of 16 and of 32 destination channels in a group */
    int64_t rows, cols, strips_h, strips_w, parts;
    const void *source;
    const elem *weight, *bias;
    void *dest;
    int64_t *offset;                  /* of each step in the staged source */
    uint32_t *packed;                 /* [group][tile pair][step][part][tile][256] */
    struct worker {
        uint32_t *strip;
        elem *acc, *sum, *filters;
        int64_t holds;                /* the strip that is staged */
    } *worker;
};

/* A plane that needs no border is one long row. */
static struct correlation flattened(const struct correlation *c) {
    struct correlation f = *c;
    int same = c->taps_h == 1 && c->taps_w == 1 && c->step_h == 1 && c->step_w == 1 && c->first_h == 0 && c->first_w == 0 &&
               c->sh == c->dh && c->sw == c->dw;
    if (same && c->s_stride[2] == c->sw * c->s_stride[3] && c->d_stride[2] == c->dw * c->d_stride[3]) {
        f.sw = f.dw = c->sh * c->sw;
        f.sh = f.dh = 1;
    }
    return f;
}

int NAME(amx_wins)(const struct correlation *c) {
    return level_has_amx() && c->sc >= AMX_PAIRS && c->dc >= AMX_ROWS && c->dh * c->dw >= (c->bfloat16 ? AMX_ROWS : FEWEST_PIXELS);
}

static struct job block_up(const struct correlation *correlation) {
    struct job job = {.c = flattened(correlation)};
    const struct correlation *c = &job.c;
    job.taps = c->taps_h * c->taps_w;
    job.tiles = ceil_div(c->dc, AMX_ROWS), job.blocks = ceil_div(job.tiles, 2);

    int64_t rows = max64(1, min64(c->dh, STRIP_PIXELS / c->dw)), cols = min64(c->dw, STRIP_PIXELS);
    struct amx_source s = amx_source(c, rows, cols);
    while (s.words * 4 > STRIP_BYTES && (rows > 1 || cols > 2 * AMX_SIDE)) {
        if (rows > 1) rows--;
        else cols = max64(2 * AMX_SIDE, cols / 2);
        s = amx_source(c, rows, cols);
    }
    job.strips_w = ceil_div(c->dw, cols), job.cols = ceil_div(c->dw, job.strips_w);
    int64_t most = c->dh * job.cols / FEWEST_IN_STRIP;
    job.strips_h = even_cut(c->n * c->g * job.strips_w, ceil_div(c->dh, rows), most, c->threads);
    job.rows = ceil_div(c->dh, job.strips_h);
    job.s = amx_source(c, job.rows, job.cols);
    job.steps = job.s.blocks * job.taps;
    job.chunk = ceil_div(job.steps, max64(1, ceil_div(job.steps, CHUNK)));

    job.parts = tasks_are_few(c->n * c->g * job.strips_h * job.strips_w, c->threads) ? max64(1, job.blocks) : 1;
    return job;
}

/* of the destination, the gaps between its rows in the source included */
static int64_t strip_pixels(const struct job *job, int64_t rows) { return (rows - 1) * job->s.cols + job->cols; }

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = &job->c;
    job->offset = ARENA_TAKE(arena, int64_t, job->steps);
    job->packed = ARENA_TAKE(arena, uint32_t, c->g * job->tiles * job->steps * job->s.parts * AMX_TILE_WORDS);
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    int64_t pixels = strip_pixels(job, job->rows);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {
            .holds = -1,
            .strip = ARENA_TAKE(arena, uint32_t, job->s.words),
            .acc = ARENA_TAKE(arena, elem, (pixels + AMX_SIDE) * AMX_SIDE),
            .sum = ARENA_TAKE(arena, elem, AMX_SIDE * AMX_SIDE),
            .filters = ARENA_TAKE(arena, elem, 2 * AMX_PAIRS * job->taps * AMX_ROWS),
        };
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(amx_correlate_workspace)(const struct correlation *c) {
    struct job job = block_up(c);
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* One tile of weights of one step, each part. */
static void pack_tile(const elem *filters, int64_t taps, const struct amx_source *s, int64_t part_words, uint32_t *to) {
    for (int64_t j = 0; j < s->pairs; j++) {
        vec_bits low[AMX_PARTS], high[AMX_PARTS];
        amx_split(vec_load(filters + j * taps * AMX_ROWS), low);
        amx_split(vec_load(filters + (s->pairs + j) * taps * AMX_ROWS), high);
        for (int64_t p = 0; p < s->parts; p++) vec_store_bits(to + p * part_words + j * LANES, amx_pair(low[p], high[p]));
    }
}

static void pack_weights(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct correlation *c = &job->c;
    int64_t group = task / job->tiles, tile = task % job->tiles, pair = tile / 2;
    int64_t tiles = min64(2, job->tiles - 2 * pair), part_words = tiles * AMX_TILE_WORDS, pairs = job->s.pairs;
    int64_t lanes = min64(AMX_ROWS, c->dc - tile * AMX_ROWS);
    const elem *from = job->weight + group * c->w_group + tile * AMX_ROWS * c->w_dc;
    uint32_t *to = job->packed + (group * job->tiles + 2 * pair) * job->steps * job->s.parts * AMX_TILE_WORDS + tile % 2 * AMX_TILE_WORDS;
    elem *filters = job->worker[worker].filters;
    for (int64_t block = 0; block < job->s.blocks; block++) {
        int64_t first = block * 2 * pairs, channels = min64(2 * pairs, c->sc - first), k = channels * job->taps;
        NAME(gather_filters)(c, lanes, channels, from + first * c->w_sc, AMX_ROWS, filters);
        memset(filters + k * AMX_ROWS, 0, (size_t)((2 * pairs * job->taps - k) * AMX_ROWS) * sizeof(elem));
        for (int64_t tap = 0; tap < job->taps; tap++, to += job->s.parts * part_words)
            pack_tile(filters + tap * AMX_ROWS, job->taps, &job->s, part_words, to);
    }
}

static void fill_offsets(struct job *job) {
    const struct correlation *c = &job->c;
    int64_t step = 0;
    for (int64_t block = 0; block < job->s.blocks; block++)
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++)
                job->offset[step++] = amx_source_offset(&job->s, block, i * c->space_h, j * c->space_w, c->step_h, c->step_w);
}

/* Up to 32 pixels and 32 channels: the pixels are rows.  The numbers of parts and tiles are constants wherever this is called. */
INLINE void product(const int parts, const int pixel_tiles, const int channel_tiles, const struct amx_source *s, int64_t steps,
                    const int64_t *offset, const uint32_t *source, const uint32_t *weights, elem *sum) {
    const struct amx_operand pixels = {.pitch = s->pitch * 4, .part = s->pairs * 4, .next = AMX_ROWS * s->pitch * 4};
    const struct amx_operand channels = {.pitch = 64, .part = channel_tiles * AMX_TILE_BYTES, .next = AMX_TILE_BYTES};
    amx_zero();
    for (int64_t step = 0; step < steps; step++, weights += parts * channel_tiles * AMX_TILE_WORDS) {
        if (parts == 1)
            amx_step_whole(pixel_tiles, channel_tiles, source + offset[step], &pixels, weights, &channels);
        else
            amx_step(pixel_tiles, channel_tiles, source + offset[step], &pixels, weights, &channels);
    }
    amx_store(pixel_tiles, channel_tiles, sum);
}

/* One block of channels over the pixels of one strip, gaps included. */
INLINE void multiply(const int parts, const struct job *job, const struct worker *w, const uint32_t *packed, int64_t tiles,
                     int64_t rows) {
    const struct amx_source *s = &job->s;
    int64_t pixels = strip_pixels(job, rows);
    for (int64_t step = 0; step == 0 || step < job->steps; step += max64(1, job->chunk))
        for (int64_t pixel = 0; pixel < pixels; pixel += AMX_SIDE) {
            int64_t steps = min64(job->chunk, job->steps - step), pixel_tiles = pixels - pixel > AMX_ROWS ? 2 : 1;
            const int64_t *offset = job->offset + step;
            const uint32_t *source = w->strip + pixel * s->pitch, *weights = packed + step * parts * tiles * AMX_TILE_WORDS;
            elem *acc = w->acc + pixel * AMX_SIDE, *sum = step ? w->sum : acc;
            switch (2 * pixel_tiles + tiles) {
                case 6: product(parts, 2, 2, s, steps, offset, source, weights, sum); break;
                case 5: product(parts, 2, 1, s, steps, offset, source, weights, sum); break;
                case 4: product(parts, 1, 2, s, steps, offset, source, weights, sum); break;
                default: product(parts, 1, 1, s, steps, offset, source, weights, sum);
            }
            if (step == 0) continue;
            for (int64_t i = 0; i < pixel_tiles * AMX_ROWS * AMX_SIDE; i += LANES)
                vec_store(acc + i, vec_load(acc + i) + vec_load(sum + i));
        }
}

INLINE vec finish(vec v, vec bias, int relu) {
    v += bias;
    return relu ? vec_relu(v) : v;
}

INLINE void put(const int half, void *to, vec v, int64_t count) {
    if (half)
        _mm256_mask_storeu_epi16(to, amx_first(count), amx_narrow(v));
    else
        amx_store_first(to, v, count);
}

/* `pixels` pixels of one row, up to 16 channels that follow one another in memory */
INLINE void store_pixels(const int half, const elem *acc, vec bias, int relu, int64_t pixels, int64_t lanes, void *to,
                         int64_t stride) {
    for (int64_t p = 0; p < pixels; p++)
        put(half, (void *)amx_at(half, to, p * stride), finish(vec_load(acc + p * AMX_SIDE), bias, relu), lanes);
}

/* The same, each channel with a plane of its own. */
INLINE void store_planes(const int half, const elem *acc, vec bias, int relu, int64_t pixels, int64_t lanes, void *to,
                         int64_t stride, int64_t plane) {
    for (int64_t p = 0; p < pixels; p += LANES) {
        int64_t count = min64(LANES, pixels - p);
        vec square[LANES];
        for (int64_t i = 0; i < LANES; i++) square[i] = finish(vec_load(acc + (p + i) * AMX_SIDE), bias, relu);
        vec_transpose(square);
        for (int64_t l = 0; l < lanes; l++) {
            void *row = (void *)amx_at(half, to, l * plane + p * stride);
            if (stride == 1) {
                put(half, row, square[l], count);
                continue;
            }
            elem lane[LANES];
            put(half, lane, square[l], LANES);
            for (int64_t i = 0; i < count; i++)
                if (half)
                    ((uint16_t *)row)[i * stride] = ((const uint16_t *)lane)[i];
                else
                    ((elem *)row)[i * stride] = lane[i];
        }
    }
}

INLINE void store(const int half, const struct job *job, const elem *acc, const elem *bias, int64_t channels, void *dest,
                  int64_t rows, int64_t cols) {
    const int64_t *d = job->c.d_stride;
    for (int64_t j = 0; j < channels; j += LANES) {
        int64_t lanes = min64(LANES, channels - j);
        vec add = bias ? amx_load_first(bias + j, lanes) : (vec){0};
        for (int64_t i = 0; i < rows; i++) {
            const elem *from = acc + i * job->s.cols * AMX_SIDE + j;
            void *to = (void *)amx_at(half, dest, i * d[2] + j * d[1]);
            if (d[1] == 1)
                store_pixels(half, from, add, job->c.relu, cols, lanes, to, d[3]);
            else
                store_planes(half, from, add, job->c.relu, cols, lanes, to, d[3], d[1]);
        }
    }
}

INLINE void strip_task(const int half, struct job *job, int64_t task, int64_t worker) {
    const struct correlation *c = &job->c;
    struct worker *w = &job->worker[worker];
    int64_t part = task % job->parts, strip = task / job->parts;
    int64_t j0 = strip % job->strips_w * job->cols;
    int64_t row_of_strips = strip / job->strips_w % job->strips_h, i0 = row_of_strips * c->dh / job->strips_h;
    int64_t group = strip / job->strips_w / job->strips_h % c->g, image = strip / job->strips_w / job->strips_h / c->g;
    int64_t rows = (row_of_strips + 1) * c->dh / job->strips_h - i0, cols = min64(job->cols, c->dw - j0);
    if (rows <= 0 || cols <= 0) return; /* equal strips can cover the plane before the last one */

    if (w->holds != strip)
        amx_stage(half, &job->s, c, amx_at(half, job->source, image * c->s_stride[0] + group * c->sc * c->s_stride[1]),
                  i0 * c->step_h + c->first_h, j0 * c->step_w + c->first_w, rows, w->strip);
    w->holds = strip;
    amx_begin(job->s.pairs);
    int64_t corner = c->d_offset + image * c->d_stride[0] + i0 * c->d_stride[2] + j0 * c->d_stride[3];
    for (int64_t block = part * job->blocks / job->parts; block < (part + 1) * job->blocks / job->parts; block++) {
        int64_t first = block * AMX_SIDE, channel = group * c->dc + first;
        const uint32_t *packed = job->packed + (group * job->tiles + 2 * block) * job->steps * job->s.parts * AMX_TILE_WORDS;
        multiply(half ? 1 : AMX_PARTS, job, w, packed, min64(2, job->tiles - 2 * block), rows);
        store(half, job, w->acc, job->bias ? job->bias + channel : NULL, min64(AMX_SIDE, c->dc - first),
              (void *)amx_at(half, job->dest, corner + channel * c->d_stride[1]), rows, cols);
    }
    amx_end();
}

static void float_task(void *context, int64_t task, int64_t worker) { strip_task(0, context, task, worker); }
static void half_task(void *context, int64_t task, int64_t worker) { strip_task(1, context, task, worker); }

void NAME(amx_correlate)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias, elem *dest,
                         void *workspace) {
    struct job job = block_up(c);
    job.source = source, job.weight = weight + c->weight_offset, job.bias = bias, job.dest = dest;
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    fill_offsets(&job);
    engine_parallel(c->threads, c->g * job.tiles, pack_weights, &job);
    engine_parallel(c->threads, c->n * c->g * job.strips_h * job.strips_w * job.parts,
                    c->bfloat16 ? half_task : float_task, &job);
}

#else

int NAME(amx_wins)(const struct correlation *c) {
    (void)c;
    return 0;
}

int64_t NAME(amx_correlate_workspace)(const struct correlation *c) {
    (void)c;
    return 0;
}

void NAME(amx_correlate)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias, elem *dest,
                         void *workspace) {
    (void)c, (void)source, (void)weight, (void)bias, (void)dest, (void)workspace;
}

#endif
