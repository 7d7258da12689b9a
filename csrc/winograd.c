/* Forward and backward data.  A task takes a block of tiles through transform, 36 products and transform back, one block of
   destination channels after the other.  The weights have been transformed before (or came so); then a block is small and stays
   in L2, whatever passes by.  Where there are few tiles and many weights it is the weights that must not leave the cache: then
   each task transforms its own, chunk by chunk, and multiplies all tiles by it. */
#include "winograd.h"
#include "arena.h"
#include "thread.h"
#include "winograd_product.h"
#include "winograd_taps.h"
#include "winograd_tiles.h"

#include <stdlib.h>

enum {
    CHUNK = 64,                     /* source channels summed from zero before they are added up */
    BLOCK = 24, ROWS_BLOCK = 28,    /* tiles, if they and the weights in use are to stay in L2 */
    WIDE_BLOCK = 64,                /* if the weights come from afar */
    FRESH_BLOCK = 128,              /* if weights are fresh, which they are for up to */
    FRESH_TILES = 64,               /* so many tiles, and */
    FRESH_WEIGHTS = 256,            /* one more for every so many weights (of 3x3) */
    MANY_WEIGHTS = 80000,           /* whose transforms fill too much of L3 */
    UNPACKED_TILES = 16,            /* for so few, to transform */
    UNPACKED_WEIGHTS = 16384,       /* this many is faster than to read their transforms, four times the bytes */
    LINE = 64 / (int)sizeof(elem),
    TASKS_PER_THREAD = 4,
    FAR_BYTES = 4 << 20,            /* of an image that only main memory, or a cache far away, holds */
    STREAM_BYTES = 8 << 20,         /* a result of more bytes is not read from a cache by whoever wants it next */
};

/* How a correlation is cut up.  `chunk` decides how sums are ordered and depends on the channels alone; the rest changes no bit. */
struct blocking {
    int64_t tiles_h, tiles_w, total;      /* tiles of an image; of all images */
    int64_t block, blocks;                /* tiles */
    int64_t vecs, width, k_blocks;        /* destination channels: blocks of so many vectors, the last one of fewer */
    int64_t parts, unit;                  /* into how many tasks they are dealt, in whole units */
    int64_t chunk;
    int64_t v_row, v_plane, v_chunk, m_plane, u_plane, u_chunk; /* pitches of the three matrices */
    int fresh;                            /* tasks transform their weights */
    int shared;                           /* but the one block of tiles has been transformed for all of them */
    int far;                              /* the next source pixels are in no cache near by */
};

struct job {
    const struct correlation *c;
    struct blocking b;
    struct winograd_planes from, to;
    const elem *source, *weight, *weight_end, *bias;
    elem *dest;
    const elem *packed; /* [group][channel block][36][source channel][width]; NULL: fresh */
    struct worker {
        elem *v, *m, *u, *scratch; /* [chunk][36][tile][channel of it], [36][tile][width], [36][channel of the chunk][width] */
        int64_t holds;             /* the group and block whose inputs are in v */
    } *worker;
};

/* How many tiles share a pass over the weights, and the channels of a task. */
static void block_tiles(const struct correlation *c, int packed, struct blocking *b) {
    int64_t weights = c->sc * c->dc, threads = c->threads, most, wanted = threads == 1 ? 1 : TASKS_PER_THREAD * threads;
    b->fresh = !packed && (b->total <= FRESH_TILES + weights / FRESH_WEIGHTS || weights > MANY_WEIGHTS);
    if (b->fresh) b->blocks = ceil_div(b->total, FRESH_BLOCK);
    if (!b->fresh) {
        int64_t rows_of_tiles = ROWS_BLOCK / b->tiles_w * b->tiles_w; /* whole rows are transposed with less waste */
        most = weights > MANY_WEIGHTS ? WIDE_BLOCK : rows_of_tiles > BLOCK * 3 / 4 ? rows_of_tiles : BLOCK;
        b->blocks = ceil_div(b->total, most), b->block = most;
    }
    if (b->fresh || c->g * b->blocks < wanted) { /* equal blocks: no thread waits for the last one */
        if (!b->fresh && b->blocks > 1) b->blocks = ceil_div(b->blocks, threads) * threads;
        b->block = ceil_div(b->total, max64(1, b->blocks));
        b->blocks = b->block ? ceil_div(b->total, b->block) : 0;
    }
    int64_t tasks = max64(1, c->g * b->blocks);
    b->parts = max64(1, min64(b->k_blocks, ceil_div(wanted, tasks))), b->unit = b->width;
    if (b->fresh && tasks * b->parts < wanted && tasks * b->parts % threads) /* blocks are not: as many vectors for each thread */
        b->parts = max64(1, min64(threads, ceil_div(c->dc, LANES))), b->unit = LANES;
}

static struct blocking block_up(const struct correlation *c, int packed) {
    struct blocking b = {.tiles_h = ceil_div(c->dh, 4), .tiles_w = ceil_div(c->dw, 4)};
    b.total = c->n * b.tiles_h * b.tiles_w;
    b.vecs = min64(TILE_VECS, ceil_div(c->dc, LANES));
    b.width = b.vecs * LANES;
    b.k_blocks = ceil_div(c->dc, b.width);
    b.chunk = ceil_div(ceil_div(c->sc, ceil_div(c->sc, CHUNK)), LANES) * LANES;
    block_tiles(c, packed, &b);
    b.far = c->g * c->sc * c->sh * c->sw * ELEM_BYTES >= FAR_BYTES && c->s_stride[3] == 1;
    b.shared = b.fresh && c->threads > 1 && c->g * b.blocks == 1;
    b.v_row = b.chunk; /* one tile after the other: the processor sees where this goes */
    b.v_plane = winograd_pitch((b.block + TILE_ROWS_1) * b.v_row);
    b.v_chunk = 36 * b.v_plane;
    b.m_plane = winograd_pitch((b.block + TILE_ROWS_1) * b.width);
    b.u_plane = winograd_pitch(c->sc * b.width);
    b.u_chunk = winograd_pitch(b.chunk * b.width);
    return b;
}

static int64_t packed_size(const struct correlation *c, const struct blocking *b) { return c->g * b->k_blocks * 36 * b->u_plane; }

static void carve(struct job *job, struct arena *arena, int packed) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    if (!packed && !b->fresh) job->packed = ARENA_TAKE(arena, elem, packed_size(c, b));
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    int64_t v_size = ceil_div(c->sc, b->chunk) * b->v_chunk;
    elem *shared = b->shared ? ARENA_TAKE(arena, elem, v_size) : NULL;
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {
            .holds = b->shared ? 0 : -1,
            .v = b->shared ? shared : ARENA_TAKE(arena, elem, v_size),
            .m = ARENA_TAKE(arena, elem, 36 * b->m_plane),
            .u = b->fresh ? ARENA_TAKE(arena, elem, 36 * b->u_chunk) : NULL,
            .scratch = ARENA_TAKE(arena, elem, max64(WINOGRAD_SCRATCH, WINOGRAD_TAPS_SCRATCH)),
        };
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(winograd_workspace)(const struct correlation *c, int packed) {
    struct job job = {.c = c, .b = block_up(c, packed)};
    struct arena arena = {0};
    carve(&job, &arena, packed);
    return arena.used;
}

/* the first destination channel of a part */
static int64_t part_begin(const struct job *job, int64_t part) {
    int64_t units = ceil_div(job->c->dc, job->b.unit);
    return min64(job->c->dc, part * units / job->b.parts * job->b.unit);
}

/* ---- weights ---- */

/* A block of destination channels: `lanes` of them, which take so many vectors. */
struct lanes {
    int64_t group, first, lanes, vecs;
};

static struct lanes lanes_between(const struct job *job, int64_t group, int64_t first, int64_t end) {
    int64_t lanes = min64(job->b.width, end - first);
    return (struct lanes){group, first, lanes, ceil_div(lanes, LANES)};
}

/* of one block of destination channels, some source channels */
static void transform_weights(const struct job *job, const struct lanes *k, int64_t c0, int64_t channels, elem *to, int64_t plane,
                              elem *scratch) {
    const struct correlation *c = job->c;
    int64_t lanes = k->lanes, width = k->vecs * LANES;
    for (int64_t j = 0; j < lanes; j += LANES) {
        const elem *from = job->weight + k->group * c->w_group + (k->first + j) * c->w_dc + c0 * c->w_sc;
        NAME(winograd_transform_taps)(c, from, channels, min64(LANES, lanes - j), job->weight_end, to + j, plane, width, scratch);
    }
}

static void pack_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct blocking *b = &job->b;
    elem scratch[WINOGRAD_TAPS_SCRATCH];
    int64_t pieces = ceil_div(job->c->sc, LANES), c0 = task % pieces * LANES, panel = task / pieces;
    struct lanes k = lanes_between(job, panel / b->k_blocks, panel % b->k_blocks * b->width, job->c->dc);
    elem *to = (elem *)job->packed + panel * 36 * b->u_plane + c0 * k.vecs * LANES;
    transform_weights(job, &k, c0, min64(LANES, job->c->sc - c0), to, b->u_plane, scratch);
}

/* ---- products ---- */

/* What the thread will read next is sent for bit by bit while it multiplies, or it would wait for memory. */
struct ahead {
    const elem *source; /* NULL: nothing */
    int64_t first, tiles, part, parts;
};

static struct ahead look_ahead(const struct job *job, int64_t group, int64_t block, int64_t products) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    struct ahead a = {.first = (block + 1) * b->block, .parts = products};
    a.tiles = min64(b->block, b->total - a.first);
    if (b->far && b->parts == 1 && a.tiles > 0) a.source = job->source + group * c->sc * c->s_stride[1];
    return a;
}

/* One of the 36, a chunk of source channels, one block of destination channels, the tiles in slots [t, end).  `next` are the
   weights that come after `u`. */
static void multiply(const struct job *job, const elem *v, const elem *u, const elem *next, int64_t c0, int64_t vecs, int64_t t,
                     int64_t end, elem *m, struct ahead *a) {
    const struct blocking *b = &job->b;
    int64_t tiles = end - t, first = t, calls = ceil_div(tiles, tile_rows(vecs)), channels = min64(b->chunk, job->c->sc - c0);
    for (int64_t i = 0, rows; i < calls; i++, t += rows) {
        rows = vecs == TILE_VECS ? first + tiles * (i + 1) / calls - t : min64(tile_rows(vecs), end - t);
        if (a->source) {
            NAME(winograd_prefetch)(&job->from, a->source, job->c->sc, a->first, a->tiles, a->part, a->parts);
            a->part += a->part + 1 < a->parts;
        }
        NAME(winograd_product)(vecs, rows)(channels, v + t * b->v_row, b->v_row, 1, u, m + t * vecs * LANES, c0 > 0,
                                           next + i * channels * LINE, LINE);
    }
}

static void store(const struct job *job, const struct worker *w, const struct lanes *k, int64_t first, int64_t tiles) {
    const struct correlation *c = job->c;
    int64_t channel = k->group * c->dc + k->first;
    NAME(winograd_transform_outputs)(&job->to, w->m, job->b.m_plane, k->vecs * LANES, k->lanes, first, tiles,
                                     job->bias ? job->bias + channel : NULL, c->relu, job->dest + channel * c->d_stride[1],
                                     w->scratch);
}

/* All 36 products, with the weights as packed or a chunk of them transformed at a time. */
static void multiply_packed(const struct job *job, const struct worker *w, const struct lanes *k,
                            const struct winograd_order *order, struct ahead *a) {
    const struct blocking *b = &job->b;
    const elem *packed = job->packed + (k->group * b->k_blocks + k->first / b->width) * 36 * b->u_plane;
    int64_t vecs = k->vecs;
    for (int e = 0; e < 36; e++) {
        int64_t begin, end;
        NAME(winograd_slots)(&job->from, order, e / 6, e % 6, &begin, &end);
        const elem *u = packed + e * b->u_plane;
        for (int64_t c0 = 0, c1; c0 < job->c->sc; c0 = c1) {
            c1 = min64(job->c->sc, c0 + b->chunk);
            const elem *next = c1 < job->c->sc ? u + c1 * vecs * LANES : u + b->u_plane;
            const elem *v = w->v + c0 / b->chunk * b->v_chunk + e * b->v_plane;
            multiply(job, v, u + c0 * vecs * LANES, next, c0, vecs, begin, end, w->m + e * b->m_plane, a);
        }
    }
}

static void multiply_fresh(const struct job *job, const struct worker *w, const struct lanes *k,
                           const struct winograd_order *order, struct ahead *a) {
    const struct blocking *b = &job->b;
    for (int64_t c0 = 0; c0 < job->c->sc; c0 += b->chunk) {
        transform_weights(job, k, c0, min64(b->chunk, job->c->sc - c0), w->u, b->u_chunk, w->scratch);
        for (int e = 0; e < 36; e++) {
            int64_t begin, end;
            NAME(winograd_slots)(&job->from, order, e / 6, e % 6, &begin, &end);
            const elem *u = w->u + e * b->u_chunk;
            const elem *v = w->v + c0 / b->chunk * b->v_chunk + e * b->v_plane;
            multiply(job, v, u, u + b->u_chunk, c0, k->vecs, begin, end, w->m + e * b->m_plane, a);
        }
    }
}

/* the inputs of a block of tiles, one chunk of source channels */
static void transform_chunk(const struct job *job, int64_t group, int64_t chunk, int64_t first, int64_t tiles,
                            const struct worker *w) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t c0 = chunk * b->chunk;
    NAME(winograd_transform_inputs)(&job->from, job->source + (group * c->sc + c0) * c->s_stride[1], min64(b->chunk, c->sc - c0),
                                    first, tiles, w->v + chunk * b->v_chunk, b->v_plane, b->v_row, w->scratch);
}

static void shared_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    transform_chunk(job, 0, task, 0, job->b.total, &job->worker[worker]);
}

/* one block of tiles, some blocks of destination channels */
static void block_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    struct worker *w = &job->worker[worker];
    int64_t part = task % b->parts, block = task / b->parts % b->blocks, group = task / b->parts / b->blocks;
    int64_t first = block * b->block, tiles = min64(b->block, b->total - first);
    if (w->holds != task / b->parts) { /* what one part needs serves the others on this thread */
        w->holds = task / b->parts;
        for (int64_t chunk = 0; chunk * b->chunk < c->sc; chunk++) transform_chunk(job, group, chunk, first, tiles, w);
    }
    struct winograd_order order = NAME(winograd_order)(&job->from, first, tiles);
    int64_t products = 36 * b->k_blocks * ceil_div(c->sc, b->chunk) * ceil_div(tiles, tile_rows(b->vecs));
    struct ahead ahead = look_ahead(job, group, block, products);
    for (int64_t channel = part_begin(job, part), end = part_begin(job, part + 1); channel < end; channel += b->width) {
        struct lanes k = lanes_between(job, group, channel, end);
        if (job->packed)
            multiply_packed(job, w, &k, &order, &ahead);
        else
            multiply_fresh(job, w, &k, &order, &ahead);
        store(job, w, &k, first, tiles);
    }
}

/* ---- entries ---- */

static void name_weights(struct job *job, const elem *weight) {
    const struct correlation *c = job->c;
    const int64_t stride[4] = {c->w_dc, c->w_sc, c->w_h, c->w_w};
    job->weight = weight + c->weight_offset;
    job->weight_end = winograd_end(job->weight + max64(0, (c->g - 1) * c->w_group), c->dc, c->sc, 3, 3, stride);
}

static void pack(struct job *job) {
    engine_parallel(job->c->threads, job->c->g * job->b.k_blocks * ceil_div(job->c->sc, LANES), pack_task, job);
}

int64_t NAME(winograd_packed_bytes)(const struct correlation *c) {
    struct blocking b = block_up(c, 1);
    if (b.total <= UNPACKED_TILES && c->sc * c->dc >= UNPACKED_WEIGHTS) return 0;
    return packed_size(c, &b) * (int64_t)sizeof(elem);
}

void NAME(winograd_pack)(const struct correlation *c, const elem *weight, elem *packed) {
    struct job job = {.c = c, .b = block_up(c, 1), .packed = packed};
    name_weights(&job, weight);
    pack(&job);
}

void NAME(winograd)(const struct correlation *c, const elem *source, const elem *weight, const elem *packed, const elem *bias,
                    elem *dest, void *workspace) {
    if (c->n == 0) return;
    struct job job = {.c = c, .b = block_up(c, packed != NULL), .source = source, .bias = bias, .dest = dest + c->d_offset};
    const struct blocking *b = &job.b;
    job.from = (struct winograd_planes){.tiles_h = b->tiles_h, .tiles_w = b->tiles_w, .edge_h = c->dh % 4,
                                        .edge_w = c->dw % 4, .sh = c->sh, .sw = c->sw,
                                        .first_h = c->first_h, .first_w = c->first_w, .begin = source,
                                        .end = winograd_end(source, c->n, c->g * c->sc, c->sh, c->sw, c->s_stride)};
    job.to = (struct winograd_planes){.tiles_h = b->tiles_h, .tiles_w = b->tiles_w, .edge_h = c->dh % 4,
                                      .edge_w = c->dw % 4, .sh = c->dh, .sw = c->dw,
                                      .stream = c->n * c->g * c->dc * c->dh * c->dw * ELEM_BYTES >= STREAM_BYTES};
    memcpy(job.from.stride, c->s_stride, sizeof c->s_stride);
    memcpy(job.to.stride, c->d_stride, sizeof c->d_stride);
    struct arena arena = {.base = workspace};
    carve(&job, &arena, packed != NULL);
    if (packed)
        job.packed = packed;
    else
        name_weights(&job, weight);

    if (!packed && !b->fresh) pack(&job);
    if (b->shared) engine_parallel(c->threads, ceil_div(c->sc, b->chunk), shared_task, &job);
    engine_parallel(c->threads, c->g * b->blocks * b->parts, block_task, &job);
}

/* Cycles for one image on one core.  Products are LANES wide, and narrow.c wastes none where channels are few; every tile and
   vector of channels is transformed on its way in and out, every vector of weights once.  The factors were fitted to
   measurements (docs/performance.md): both models meet where both kernels are equally fast. */
int NAME(winograd_wins)(const struct correlation *c, int weight_gradient) {
    double sc = (double)c->sc, dc = (double)c->dc, in = (double)ceil_div(c->sc, LANES), out = (double)ceil_div(c->dc, LANES);
    double tiles = (double)(ceil_div(c->dh, 4) * ceil_div(c->dw, 4)), pixels = (double)(c->dh * c->dw);
    double direct = 9 * pixels * sc * dc / LANES, products = 36 * tiles * sc * out, inputs = 250 * tiles * in;
    int narrow = c->sc <= 16 && c->dc <= LANES; /* most of a product's rows would be beyond the channels */
    if (weight_gradient)
        return !narrow && c->sc >= 4 && c->dc >= 4 && products + inputs + 220 * tiles * out + 150 * sc * out <= 1.3 * direct;
    double share = ELEM_BYTES > 4 ? 0.75 : 1.1; /* float64 pays with digits, so more must be won */
    return c->sc > 4 && products + inputs + 300 * tiles * out + 180 * sc * out + 2000 <= share * direct;
}
