#include "first_layer.h"
#include "arena.h"
#include "stage.h"
#include "thread.h"

enum {
    FEW_SOURCES = 4,
    MOST_PRODUCTS = 192,     /* of one sum: where they are more, writing results counts less than reading aligned */
    STRIP_BYTES = 28 * 1024, /* staged source of one strip, in L1 unless most of it would be shared with the next */
    STREAM_BYTES = 8 << 20,  /* a destination of so many is no longer in a cache when somebody reads it */
    WIDE = VEC_REGISTERS > 16,
    CHANNELS = WIDE ? 8 : 4, /* of one tile, and its most vectors of pixels */
    VECS = WIDE ? 3 : 2,
};

struct blocking {
    int64_t k, blocks;                       /* products of a sum; blocks of channels */
    int64_t rows, strips, src_rows, src_cols; /* of destination; of one sub-plane: every step-th row and column */
    int64_t vecs, tiles;                     /* of one destination row */
    int64_t strip_size;
    int stream;
};

struct job {
    const struct correlation *c;
    struct blocking b;
    const elem *source, *bias;
    elem *dest;
    int64_t *offset;
    elem *packed; /* [g][block][k][CHANNELS] */
    elem **strip; /* of each worker */
};

int NAME(first_layer_suits)(const struct correlation *c) {
    int64_t whole = ceil_div(c->dw, LANES) * LANES;
    return c->sc <= FEW_SOURCES && c->dc >= CHANNELS && c->sc * c->taps_h * c->taps_w <= MOST_PRODUCTS &&
           c->d_stride[3] == 1 && c->dw >= LANES && whole * 16 <= c->dw * 17;
}

static struct blocking block_up(const struct correlation *c) {
    struct blocking b = {.k = c->sc * c->taps_h * c->taps_w, .blocks = ceil_div(c->dc, CHANNELS)};
    b.vecs = ceil_div(c->dw, LANES);
    b.tiles = c->dw % LANES && b.vecs <= VECS ? b.vecs : ceil_div(b.vecs, VECS); /* a tile is no longer than the row */
    b.src_cols = c->dw + (c->taps_w - 1) * c->space_w / c->step_w;
    int64_t halo = (c->taps_h - 1) * c->space_h / c->step_h;
    int64_t row = c->sc * c->step_h * c->step_w * b.src_cols * (int64_t)sizeof(elem);
    int64_t rows = max64(1, min64(c->dh, max64(4 * halo, STRIP_BYTES / row - halo)));
    b.strips = even_cut(c->n * c->g, ceil_div(c->dh, rows), c->dh, c->threads), b.rows = ceil_div(c->dh, b.strips);
    b.src_rows = b.rows + halo;
    b.strip_size = c->sc * c->step_h * c->step_w * b.src_rows * b.src_cols;
    b.stream = c->n * c->g * c->dc * c->dh * c->dw * (int64_t)sizeof(elem) >= STREAM_BYTES;
    return b;
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = job->c;
    job->offset = ARENA_TAKE(arena, int64_t, job->b.k);
    job->packed = ARENA_TAKE(arena, elem, c->g * job->b.blocks * job->b.k * CHANNELS);
    job->strip = ARENA_TAKE(arena, elem *, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        elem *strip = ARENA_TAKE(arena, elem, job->b.strip_size);
        if (arena->base) job->strip[t] = strip;
    }
}

int64_t NAME(first_layer_workspace)(const struct correlation *c) {
    struct job job = {.c = c, .b = block_up(c)};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* where in the strip each product's source is, from the pixel */
static void fill_offsets(const struct job *job) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t plane = b->src_rows * b->src_cols, *offset = job->offset;
    for (int64_t channel = 0; channel < c->sc; channel++)
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++) {
                int64_t h = i * c->space_h, w = j * c->space_w, phase = h % c->step_h * c->step_w + w % c->step_w;
                *offset++ = (channel * c->step_h * c->step_w + phase) * plane + h / c->step_h * b->src_cols + w / c->step_w;
            }
}

static void pack_weights(const struct job *job, const elem *weight) {
    const struct correlation *c = job->c;
    elem *to = job->packed;
    for (int64_t group = 0; group < c->g; group++)
        for (int64_t first = 0; first < c->dc; first += CHANNELS)
            for (int64_t channel = 0; channel < c->sc; channel++)
                for (int64_t i = 0; i < c->taps_h; i++)
                    for (int64_t j = 0; j < c->taps_w; j++)
                        for (int64_t r = first; r < first + CHANNELS; r++) { /* zero past the last channel */
                            const elem *from = weight + group * c->w_group + r * c->w_dc + channel * c->w_sc;
                            *to++ = r < c->dc ? from[i * c->w_h + j * c->w_w] : 0;
                        }
}

/* ---- tiles ---- */

/* One tile of all channels of a block and `vecs` vectors of pixels. */
struct place {
    elem *to;
    int64_t channels, pitch;
    elem bias[CHANNELS];
    int relu;
};

INLINE void tile(const int vecs, const int stream, int64_t k, const int64_t *offset, const elem *weights, const elem *source,
                 const struct place *place) {
    vec sum[CHANNELS][VECS];
#pragma GCC unroll 8
    for (int r = 0; r < CHANNELS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) sum[r][v] = (vec){0};
    for (int64_t i = 0; i < k; i++, weights += CHANNELS) {
        vec x[VECS];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) x[v] = vec_load(source + offset[i] + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < CHANNELS; r++) {
            vec w = vec_splat(weights[r]);
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) sum[r][v] += x[v] * w;
        }
    }
    elem *to = place->to;
#pragma GCC unroll 8
    for (int r = 0; r < CHANNELS; r++, to += place->pitch) {
        if (r == place->channels) return;
        vec bias = vec_splat(place->bias[r]);
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) {
            vec y = sum[r][v] + bias;
            if (place->relu) y = vec_relu(y);
            if (stream)
                vec_stream(to + v * LANES, y);
            else
                vec_store(to + v * LANES, y);
        }
    }
}

#define TILE(vecs, stream)                                                                                             \
    static void tile_##vecs##_##stream(int64_t k, const int64_t *offset, const elem *weights, const elem *source,      \
                                       const struct place *place) {                                                    \
        tile(vecs, stream, k, offset, weights, source, place);                                                         \
    }
TILE(1, 0)
TILE(1, 1)
TILE(2, 0)
TILE(2, 1)
#if VEC_REGISTERS > 16
TILE(3, 0)
TILE(3, 1)
#endif

static void (*const tiles[VECS][2])(int64_t, const int64_t *, const elem *, const elem *, const struct place *) = {
    {tile_1_0, tile_1_1},
    {tile_2_0, tile_2_1},
#if VEC_REGISTERS > 16
    {tile_3_0, tile_3_1},
#endif
};

/* One row of a block of channels; a last vector that is not full overlaps the one before it. */
static void row_of_tiles(const struct job *job, const elem *weights, const elem *source, elem *row, struct place *place) {
    const struct blocking *b = &job->b;
    int64_t last = job->c->dw - LANES, item = (int64_t)sizeof(elem);
    int stream = b->stream && ((uintptr_t)row | (uintptr_t)(place->pitch * item) | (uintptr_t)(last * item)) % VEC_BYTES == 0;
    for (int64_t t = 0, begin = 0, end; t < b->tiles; t++, begin = end) {
        end = b->vecs * (t + 1) / b->tiles;
        int64_t vecs = end - begin, q = min64(begin * LANES, last - (vecs - 1) * LANES);
        place->to = row + q;
        tiles[vecs - 1][stream](b->k, job->offset, weights, source + q, place);
    }
}

/* ---- strips ---- */

static void stage_strip(const struct job *job, int64_t i0, const elem *source, elem *strip) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    struct window window = {.channels = c->sc, .sh = c->sh, .sw = c->sw, .rows = b->src_rows, .cols = b->src_cols,
                            .step_h = c->step_h, .step_w = c->step_w,
                            .stride_c = c->s_stride[1], .stride_h = c->s_stride[2], .stride_w = c->s_stride[3],
                            .pitch_c = c->step_h * c->step_w * b->src_rows * b->src_cols, .pitch_h = b->src_cols, .pitch_w = 1};
    NAME(stage_phases)(&window, i0 * c->step_h + c->first_h, c->first_w, source, strip);
}

static void strip_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t i0 = task % b->strips * c->dh / b->strips, rows = (task % b->strips + 1) * c->dh / b->strips - i0;
    int64_t group = task / b->strips % c->g, image = task / b->strips / c->g;
    elem *strip = job->strip[worker];
    stage_strip(job, i0, job->source + image * c->s_stride[0] + group * c->sc * c->s_stride[1], strip);
    for (int64_t block = 0; block < b->blocks; block++) {
        int64_t first = group * c->dc + block * CHANNELS;
        struct place place = {.channels = min64(CHANNELS, c->dc - block * CHANNELS), .pitch = c->d_stride[1], .relu = c->relu};
        for (int64_t r = 0; r < place.channels; r++) place.bias[r] = job->bias ? job->bias[first + r] : 0;
        elem *row = job->dest + image * c->d_stride[0] + first * c->d_stride[1] + i0 * c->d_stride[2];
        const elem *weights = job->packed + (group * b->blocks + block) * b->k * CHANNELS;
        for (int64_t i = 0; i < rows; i++) row_of_tiles(job, weights, strip + i * b->src_cols, row + i * c->d_stride[2], &place);
    }
    if (b->stream) vec_stream_end();
}

void NAME(first_layer)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias, elem *dest,
                       void *workspace) {
    struct job job = {.c = c, .b = block_up(c), .source = source, .bias = bias, .dest = dest + c->d_offset};
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    fill_offsets(&job);
    pack_weights(&job, weight + c->weight_offset);
    engine_parallel(c->threads, c->n * c->g * job.b.strips, strip_task, &job);
}
