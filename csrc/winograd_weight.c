/* The gradient of the weights by F(3x3, 4x4): of every tile, a 6x6 piece of x and 4x4 of dy give 3x3.

       dweight = A^T [sum over tiles of (B^T x B) * (G dy G^T)] A

   so the tiles are what the 36 matrix products sum over, and the outer transform is done once, at the end.  First tiles are
   transformed, then multiplied, in one of two ways:

   - many tiles: in batches that fit the cache, a task for each of the 36 products;
   - many weights (their sums are most of the memory): all tiles in one batch, a task for each piece of the weights, whose sums never leave the cache.

   Either way every sum runs over the tiles in chunks in order, whatever the batches and the number of threads. */
#include "arena.h"
#include "thread.h"
#include "winograd.h"
#include "winograd_product.h"
#include "winograd_taps.h"
#include "winograd_tiles.h"

#include <stdlib.h>

enum {
    CHUNK = 64,            /* tiles summed from zero before they are added up */
    BATCH_BYTES = 2 << 20, /* of transformed tiles */
    WHOLE_BYTES = 24 << 20, /* the same, of all tiles at once */
    PIECE = 64,            /* input channels of a piece of the weights */
    TILES_PER_TASK = 16,
    TASKS_PER_THREAD = 4,
};

struct blocking {
    int64_t tiles_h, tiles_w, total;
    int by_pieces;
    int64_t batch, piece;           /* tiles; input channels */
    int64_t vecs, width, k_blocks;  /* output channels */
    int64_t v_row, v_plane, w_block, w_plane, s_block, s_plane;
};

struct job {
    const struct correlation *c;
    struct blocking b;
    struct winograd_planes in, out;
    int64_t group, first, tiles; /* of the batch at hand */
    const elem *x, *dy;
    elem *dweight;
    elem *v, *w;                 /* [36][tile][ic], [36][channel block][tile][width] */
    elem *sum;                   /* [36][channel block][ic][width], or every worker has its own for one piece */
    struct worker {
        elem *sum, *scratch;
    } *worker;
};

static struct blocking block_up(const struct correlation *c) {
    struct blocking b = {.tiles_h = ceil_div(c->dh, 4), .tiles_w = ceil_div(c->dw, 4)};
    b.total = c->n * b.tiles_h * b.tiles_w;
    b.vecs = min64(TILE_VECS, ceil_div(c->dc, LANES));
    b.width = b.vecs * LANES;
    b.k_blocks = ceil_div(c->dc, b.width);
    int64_t bytes = 36 * (int64_t)sizeof(elem) * (c->sc + c->dc), batch_bytes = BATCH_BYTES, pieces = b.k_blocks * ceil_div(c->sc, PIECE);
    int whole = 1;
    b.by_pieces = whole && b.total > 0 && 3 * c->sc * c->dc > 2 * b.total * (c->sc + c->dc) && b.total * bytes <= WHOLE_BYTES &&
                  (pieces % c->threads == 0 || pieces >= TASKS_PER_THREAD * c->threads);
    b.batch = max64(1, b.by_pieces ? b.total : min64(b.total, max64(1, batch_bytes / bytes / CHUNK) * CHUNK));
    b.piece = b.by_pieces ? min64(c->sc, PIECE) : c->sc;

    b.v_row = winograd_pitch(c->sc + TILE_ROWS_1); /* the last rows of products read past the channels */
    b.v_plane = winograd_pitch(b.batch * b.v_row);
    b.w_block = b.batch * b.width;
    b.w_plane = winograd_pitch(b.k_blocks * b.w_block);
    b.s_block = (b.piece + TILE_ROWS_1) * b.width;
    b.s_plane = winograd_pitch((b.by_pieces ? 1 : b.k_blocks) * b.s_block);
    return b;
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    job->v = ARENA_TAKE(arena, elem, 36 * b->v_plane);
    job->w = ARENA_TAKE(arena, elem, 36 * b->w_plane);
    if (!b->by_pieces) job->sum = ARENA_TAKE(arena, elem, 36 * b->s_plane);
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {
            .sum = b->by_pieces ? ARENA_TAKE(arena, elem, 36 * b->s_plane) : NULL,
            .scratch = ARENA_TAKE(arena, elem, max64(WINOGRAD_SCRATCH, WINOGRAD_TAPS_SCRATCH)),
        };
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(winograd_weight_workspace)(const struct correlation *c) {
    struct job job = {.c = c, .b = block_up(c)};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

static int64_t block_lanes(const struct job *job, int64_t k) { return min64(job->b.width, job->c->dc - k * job->b.width); }
static int64_t block_vecs(const struct job *job, int64_t k) { return ceil_div(block_lanes(job, k), LANES); }

/* ---- a few tiles of the batch: their input, then their gradient of every block of channels ---- */

static void transform_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t part = task % (1 + b->k_blocks), k = part - 1;
    int64_t first = task / (1 + b->k_blocks) * TILES_PER_TASK, tiles = min64(TILES_PER_TASK, job->tiles - first);
    if (part == 0) {
        NAME(winograd_transform_inputs)(&job->in, job->x + job->group * c->sc * c->s_stride[1], c->sc, job->first + first, tiles,
                                        job->v + first * b->v_row, b->v_plane, b->v_row, job->worker[worker].scratch);
    } else {
        int64_t width = block_vecs(job, k) * LANES, channel = job->group * c->dc + k * b->width;
        NAME(winograd_transform_gradients)(&job->out, job->dy + channel * c->d_stride[1], block_lanes(job, k), job->first + first,
                                           tiles, job->w + k * b->w_block + first * width, b->w_plane, width,
                                           job->worker[worker].scratch);
    }
}

/* ---- products and what becomes of them ---- */

/* One of the 36, one block of output channels, input channels [c0, c0 + channels). */
static void multiply(const struct job *job, int64_t e, int64_t k, int64_t c0, int64_t channels, elem *sum) {
    const struct blocking *b = &job->b;
    int64_t vecs = block_vecs(job, k), width = vecs * LANES, calls = ceil_div(channels, tile_rows(vecs));
    const elem *v = job->v + e * b->v_plane + c0, *w = job->w + e * b->w_plane + k * b->w_block;
    for (int64_t t = 0; t < job->tiles; t += CHUNK)
        for (int64_t i = 0, c = 0, rows; i < calls; i++, c += rows) {
            rows = vecs == TILE_VECS ? channels * (i + 1) / calls - c : tile_rows(vecs);
            NAME(winograd_product)(vecs, rows)(min64(CHUNK, job->tiles - t), v + t * b->v_row + c, 1, b->v_row, w + t * width,
                                               sum + c * width, job->first + t > 0, w, 0);
        }
}

static void store(const struct job *job, int64_t k, int64_t c0, int64_t channels, const elem *sum, elem *scratch) {
    const struct correlation *c = job->c;
    int64_t lanes = block_lanes(job, k), width = block_vecs(job, k) * LANES;
    for (int64_t j = 0; j < lanes; j += LANES)
        NAME(winograd_store_taps)(c, sum + j, job->b.s_plane, width, channels, min64(LANES, lanes - j),
                                  job->dweight + job->group * c->w_group + (k * job->b.width + j) * c->w_dc + c0 * c->w_sc,
                                  scratch);
}

static void multiply_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    int64_t e = task % 36, k = task / 36;
    multiply(job, e, k, 0, job->c->sc, job->sum + e * job->b.s_plane + k * job->b.s_block);
}

static void store_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    int64_t pieces = ceil_div(job->c->sc, LANES), k = task / pieces, c0 = task % pieces * LANES;
    const elem *sum = job->sum + k * job->b.s_block + c0 * block_vecs(job, k) * LANES;
    store(job, k, c0, min64(LANES, job->c->sc - c0), sum, job->worker[worker].scratch);
}

static void piece_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct worker *w = &job->worker[worker];
    int64_t pieces = ceil_div(job->c->sc, PIECE), k = task / pieces, c0 = task % pieces * PIECE;
    int64_t channels = min64(PIECE, job->c->sc - c0);
    for (int64_t e = 0; e < 36; e++) multiply(job, e, k, c0, channels, w->sum + e * job->b.s_plane);
    store(job, k, c0, channels, w->sum, w->scratch);
}

void NAME(winograd_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace) {
    struct job job = {.c = c, .b = block_up(c), .x = x, .dy = dy, .dweight = dweight + c->weight_offset};
    const struct blocking *b = &job.b;
    job.in = (struct winograd_planes){.tiles_h = b->tiles_h, .tiles_w = b->tiles_w, .sh = c->sh, .sw = c->sw,
                                      .first_h = c->first_h, .first_w = c->first_w,
                                      .begin = x, .end = winograd_end(x, c->n, c->g * c->sc, c->sh, c->sw, c->s_stride)};
    job.out = (struct winograd_planes){.tiles_h = b->tiles_h, .tiles_w = b->tiles_w, .sh = c->dh, .sw = c->dw,
                                       .begin = dy, .end = winograd_end(dy, c->n, c->g * c->dc, c->dh, c->dw, c->d_stride)};
    memcpy(job.in.stride, c->s_stride, sizeof c->s_stride);
    memcpy(job.out.stride, c->d_stride, sizeof c->d_stride);
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    if (b->total == 0 && !b->by_pieces) memset(job.sum, 0, (size_t)(36 * b->s_plane) * sizeof(elem));
    for (job.group = 0; job.group < c->g; job.group++) {
        for (job.first = 0; job.first < b->total; job.first += b->batch) {
            job.tiles = min64(b->batch, b->total - job.first);
            engine_parallel(c->threads, ceil_div(job.tiles, TILES_PER_TASK) * (1 + b->k_blocks), transform_task, &job);
            if (b->by_pieces)
                engine_parallel(c->threads, b->k_blocks * ceil_div(c->sc, PIECE), piece_task, &job);
            else
                engine_parallel(c->threads, 36 * b->k_blocks, multiply_task, &job);
        }
        if (!b->by_pieces) engine_parallel(c->threads, b->k_blocks * ceil_div(c->sc, LANES), store_task, &job);
    }
}
