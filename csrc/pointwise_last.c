/* One tap, dest with its channels last: vectors along the output channels, the source read in place, one element at a
   time, from whatever memory order. */
#include "pointwise.h"
#include "product.h"
#include "thread.h"
#include "tile.h"
#include "transpose.h"

enum {
    STRIP_BYTES = 256 * 1024, /* of the source */
    MOST_PIXELS = 384,        /* of a strip */
    TASKS_PER_THREAD = 4,
};

struct blocking {
    int64_t width, blocks;           /* output channels: all blocks but the last are `width` wide */
    int64_t pixels, strip, strips;   /* a strip is so many pixels */
    int64_t parts;                   /* into how many tasks the blocks of a strip are dealt */
    int64_t chunk;
    int stream;
};

struct job {
    const struct correlation *c, *phase;
    int64_t phases;
    struct blocking b;
    struct pixels from, to;
    const elem *source, *weight, *bias;
    elem *dest;
    const elem *panels; /* the weights: packed, or what the caller has so */
    elem *packed;       /* [group][block][source channel][width of the block] */
    struct worker {
        int64_t *from, *to; /* of each pixel of a strip */
    } *worker;
};

static struct blocking block_up(const struct correlation *c) {
    struct blocking b = {.pixels = c->n * c->dh * c->dw, .chunk = product_chunk(c->sc), .stream = pointwise_streams(c)};
    b.width = min64(TILE_VECS, ceil_div(c->dc, LANES)) * LANES;
    b.blocks = ceil_div(c->dc, b.width);
    int64_t height = tile_rows(b.width / LANES), most = STRIP_BYTES / (c->sc * (int64_t)sizeof(elem));
    b.strip = max64(1, min64(MOST_PIXELS, most) / height) * height;
    b.strips = ceil_div(b.pixels, b.strip);
    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    b.parts = max64(1, min64(b.blocks, ceil_div(wanted, max64(1, b.strips * c->g))));
    return b;
}

static int64_t padded(const struct correlation *c) { return ceil_div(c->dc, LANES) * LANES; }

/* packed: the weights are so already */
static void carve(struct job *job, struct arena *arena, int packed) {
    const struct correlation *c = job->c;
    if (!packed) job->packed = ARENA_TAKE(arena, elem, c->g * c->sc * padded(c));
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {.from = ARENA_TAKE(arena, int64_t, job->b.strip + TILE_ROWS_1),
                           .to = ARENA_TAKE(arena, int64_t, job->b.strip + TILE_ROWS_1)};
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(pointwise_last_workspace)(const struct correlation *c, int packed) {
    struct job job = {.c = c, .b = block_up(c)};
    struct arena arena = {0};
    carve(&job, &arena, packed);
    return arena.used;
}

static void pack_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    struct job *job = context;
    const struct correlation *c = job->c;
    int64_t group = task / job->b.blocks, j = task % job->b.blocks * job->b.width;
    int64_t lanes = min64(job->b.width, c->dc - j);
    int64_t width = ceil_div(lanes, LANES) * LANES;
    const elem *from = job->weight + group * c->w_group + j * c->w_dc;
    elem *to = job->packed + c->sc * (group * padded(c) + j);

    if (lanes < width) /* the lanes past the last channel */
        for (int64_t k = 0; k < c->sc; k++) memset(to + k * width + lanes, 0, (size_t)(width - lanes) * sizeof(elem));
    if (c->w_sc == 1) {
        NAME(transpose)(lanes, c->sc, from, c->w_dc, to, width);
        return;
    }
    for (int64_t k = 0; k < c->sc; k++) {
        if (c->w_dc == 1)
            memcpy(to + k * width, from + k * c->w_sc, (size_t)lanes * sizeof(elem));
        else
            for (int64_t l = 0; l < lanes; l++) to[k * width + l] = from[k * c->w_sc + l * c->w_dc];
    }
}

int64_t NAME(pointwise_last_packed_bytes)(const struct correlation *c) {
    return c->g * c->sc * padded(c) * (int64_t)sizeof(elem);
}

void NAME(pointwise_last_pack)(const struct correlation *c, const elem *weight, elem *packed) {
    struct job job = {.c = c, .b = block_up(c), .weight = weight, .packed = packed};
    engine_parallel(c->threads, c->g * job.b.blocks, pack_task, &job);
}

/* one block of output channels over the pixels of a strip: chunks of source channels outside, so that their weights
   stay in L1, tiles of pixels inside */
static void multiply(const struct job *job, const struct worker *w, int64_t pixels, int64_t lanes, const elem *source,
                     const elem *packed, const elem *bias, elem *dest) {
    const struct correlation *c = job->c;
    int64_t vecs = ceil_div(lanes, LANES), width = vecs * LANES, height = tile_rows(vecs);
    for (int64_t k0 = 0; k0 < c->sc; k0 += job->b.chunk) {
        struct product p = {.k = min64(job->b.chunk, c->sc - k0), .a = source + k0 * c->s_stride[1],
                            .a_step = c->s_stride[1],
                            .b = packed + k0 * width, .b_step = width, .to = dest, .lanes = lanes - width + LANES,
                            .add = k0 > 0};
        int ends = k0 + p.k == c->sc;
        p.lane_bias = ends ? bias : NULL;
        p.relu = ends && c->relu;
        p.stream = job->b.stream && p.k == c->sc; /* otherwise it is read again */
        for (int64_t q = 0; q < pixels; q += height) {
            p.rows = min64(height, pixels - q), p.a_row = w->from + q, p.to_row = w->to + q;
            p.ahead = p.b, p.ahead_step = width;
            NAME(product)(vecs, p.rows)(&p);
        }
    }
}

/* what no tap reaches around the pixels from q0 on, in the channels from dest on */
static void clear(const struct job *job, int64_t q0, int64_t pixels, int64_t lanes, elem *dest, const int64_t *offset) {
    for (int64_t q = 0; q < pixels; q++) {
        int64_t i = (q0 + q) / job->c->dw % job->c->dh, j = (q0 + q) % job->c->dw;
        for (int64_t f = 1; f < job->phases; f++)
            if (i < job->phase[f].dh && j < job->phase[f].dw)
                memset(dest + offset[q] + job->phase[f].d_offset - job->phase->d_offset, 0,
                       (size_t)lanes * sizeof(elem));
    }
}

static void strip_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    const struct worker *w = &job->worker[worker];
    int64_t part = task % b->parts, strip = task / b->parts % b->strips, group = task / b->parts / b->strips;
    int64_t q0 = strip * b->strip, pixels = min64(b->strip, b->pixels - q0);

    for (int64_t q = 0; q < pixels + TILE_ROWS_1; q++) { /* the last tile repeats the last pixel */
        w->from[q] = pixel_offset(&job->from, q0 + min64(q, pixels - 1));
        w->to[q] = pixel_offset(&job->to, q0 + min64(q, pixels - 1));
    }
    const elem *source = job->source + group * c->sc * c->s_stride[1];
    int64_t first = part * b->blocks / b->parts, last = (part + 1) * b->blocks / b->parts;
    elem *begin = job->dest + job->phase->d_offset + group * c->dc;
    for (int64_t block = first; block < last; block++) {
        int64_t j = block * b->width, lanes = min64(b->width, c->dc - j), channel = group * c->dc + j;
        elem *dest = begin + j;
        multiply(job, w, pixels, lanes, source, job->panels + c->sc * (group * padded(c) + j),
                 job->bias ? job->bias + channel : NULL, dest);
        if (job->phases > 1) clear(job, q0, pixels, lanes, dest, w->to);
    }
    if (b->stream) vec_stream_end();
}

void NAME(pointwise_last)(int64_t phases, const struct correlation *phase, const elem *source, const elem *weight,
                          const elem *packed, const elem *bias, elem *dest, void *workspace) {
    struct job job = {.c = phase, .phase = phase, .phases = phases, .b = block_up(phase),
                      .from = source_pixels(phase), .to = dest_pixels(phase),
                      .source = source, .weight = weight, .bias = bias, .dest = dest};
    struct arena arena = {.base = workspace};
    carve(&job, &arena, packed != NULL);
    if (!packed) engine_parallel(phase->threads, phase->g * job.b.blocks, pack_task, &job);
    job.panels = packed ? packed : job.packed;
    engine_parallel(phase->threads, phase->g * job.b.strips * job.b.parts, strip_task, &job);
}
