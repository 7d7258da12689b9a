#include "winograd.h"
#include "arena.h"
#include "thread.h"
#include "tile.h"
#include "winograd_tiles.h"
#include "winograd_transform.h"

#include <stdlib.h>

enum {
    CHUNK = 64,            /* source channels summed from zero before they are added up */
    TASKS_PER_THREAD = 4,
};

/* How a correlation is cut up.  `chunk` decides how sums are ordered and depends on the channels alone; the rest changes no bit. */
struct blocking {
    int64_t tiles_h, tiles_w, total;      /* tiles of an image; of all images */
    int64_t block, blocks;                /* tiles that share one pass over the weights */
    int64_t vecs, width, k_blocks, parts; /* destination channels, and into how many tasks their blocks are dealt */
    int64_t chunk, chunks;
    int64_t v_row, v_plane, m_plane, u_plane; /* pitches of the three matrices */
    int at_once;                          /* one block of tiles: transform weights when and where they are used */
};

struct job {
    const struct correlation *c;
    struct blocking b;
    struct winograd_planes source;
    const elem *weight, *bias;
    elem *dest, *packed; /* [group][channel block][chunk][36][channel of the chunk][width] */
    const elem *weight_end;
    int64_t *offset;
    struct worker {
        elem *v, *m, *u, *scratch; /* transformed input, products, weights (if at_once) */
        int64_t *row;
    } *worker;
};

/* An odd number of cache lines: the 36 planes must not meet in one cache set. */
static int64_t unaliased(int64_t size) {
    int64_t line = 64 / (int64_t)sizeof(elem);
    return (ceil_div(size, line) | 1) * line;
}

static struct blocking block_up(const struct correlation *c, int packed) {
    struct blocking b = {.tiles_h = ceil_div(c->dh, 4), .tiles_w = ceil_div(c->dw, 4)};
    b.total = c->n * b.tiles_h * b.tiles_w;
    b.vecs = min64(TILE_VECS, ceil_div(c->dc, LANES));
    b.width = b.vecs * LANES;
    b.k_blocks = ceil_div(c->dc, b.width);
    b.chunks = ceil_div(c->sc, CHUNK);
    b.chunk = ceil_div(ceil_div(c->sc, b.chunks), LANES) * LANES;
    b.chunks = ceil_div(c->sc, b.chunk);

    int64_t rows = tile_rows(b.vecs);
    const char *t1 = getenv("WT"), *t2 = getenv("WT2");
    int64_t small = t1 ? atoi(t1) : 24, big = t2 ? atoi(t2) : 64;
    b.at_once = !packed && b.total <= big;
    b.blocks = b.at_once ? 1 : ceil_div(b.total, small);
    b.block = ceil_div(ceil_div(b.total, b.blocks), rows) * rows;
    b.blocks = ceil_div(b.total, b.block);

    b.v_row = unaliased(max64(LANES, c->sc));
    b.v_plane = unaliased(b.block * b.v_row);
    b.m_plane = unaliased((b.block + rows) * b.width);
    b.u_plane = unaliased(b.chunk * b.width);

    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    b.parts = max64(1, min64(b.k_blocks, ceil_div(wanted, max64(1, c->g * b.blocks))));
    return b;
}

static int64_t panel_size(const struct blocking *b) { return 36 * b->u_plane; }

static void carve(struct job *job, struct arena *arena, int packed) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    if (!packed && !b->at_once) job->packed = ARENA_TAKE(arena, elem, c->g * b->k_blocks * b->chunks * panel_size(b));
    job->offset = ARENA_TAKE(arena, int64_t, b->chunk);
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {
            .v = ARENA_TAKE(arena, elem, 36 * b->v_plane),
            .m = ARENA_TAKE(arena, elem, 36 * b->m_plane),
            .u = b->at_once ? ARENA_TAKE(arena, elem, panel_size(b)) : NULL,
            .scratch = ARENA_TAKE(arena, elem, max64(WINOGRAD_SCRATCH, 10 * LANES * LANES)),
            .row = ARENA_TAKE(arena, int64_t, b->block + TILE_ROWS_1),
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

/* ---- weights ---- */

/* LANES rows of `run` consecutive elements -> [element][row] */
static void transpose_run(const elem *from, int64_t stride, int64_t lanes, int64_t run, const elem *end, elem *to) {
    for (int64_t i = 0; i < run; i += LANES) {
        vec row[LANES];
        for (int64_t l = 0; l < LANES; l++) {
            const elem *at = from + min64(l, lanes - 1) * stride + i;
            row[l] = at + LANES <= end ? vec_load(at) : vec_load_first(at, min64(LANES, run - i));
        }
        vec_transpose(row);
        for (int64_t l = 0; l < LANES; l++) vec_store(to + (i + l) * LANES, row[l]);
    }
}

/* Taps of `channels` <= LANES source channels and LANES destination channels -> taps[channel][tap][lane]. Returns +1, or -1 if
   the taps lie in descending order. */
static int gather_taps(const struct job *job, const elem *from, int64_t channels, int64_t lanes, elem *taps) {
    const struct correlation *c = job->c;
    int step = c->w_w < 0 ? -1 : 1;
    if (c->w_w == step && c->w_h == 3 * step) {
        const elem *low = step < 0 ? from - 8 : from;
        if (c->w_sc == 9)
            transpose_run(low, c->w_dc, lanes, 9 * channels, job->weight_end, taps);
        else
            for (int64_t i = 0; i < channels; i++) /* overruns its nine rows, the next one puts that right */
                transpose_run(low + i * c->w_sc, c->w_dc, lanes, 9, job->weight_end, taps + 9 * i * LANES);
        return step;
    }
    for (int64_t i = 0; i < channels; i++)
        for (int t = 0; t < 9; t++) {
            const elem *at = from + i * c->w_sc + t / 3 * c->w_h + t % 3 * c->w_w;
            for (int64_t l = 0; l < LANES; l++) taps[(9 * i + t) * LANES + l] = l < lanes ? at[l * c->w_dc] : 0;
        }
    return 1;
}

/* G g G^T of source channels [c0, c0 + channels), at most LANES of them, and one block of destination channels */
static void transform_weights(const struct job *job, int64_t group, int64_t block, int64_t c0, int64_t channels, elem *to,
                              elem *taps) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t first = block * b->width, lanes = min64(b->width, c->dc - first), vecs = ceil_div(lanes, LANES);
    for (int64_t v = 0; v < vecs; v++) {
        const elem *from = job->weight + group * c->w_group + (first + v * LANES) * c->w_dc + c0 * c->w_sc;
        int step = gather_taps(job, from, channels, min64(LANES, lanes - v * LANES), taps);
        for (int64_t i = 0; i < channels; i++) {
            const elem *tap = taps + (9 * i + (step < 0 ? 8 : 0)) * LANES;
            elem *u = to + (i * vecs + v) * LANES;
            vec half[3][6];
#pragma GCC unroll 3
            for (int s = 0; s < 3; s++) {
                vec g[3];
#pragma GCC unroll 3
                for (int r = 0; r < 3; r++) g[r] = vec_load(tap + step * (3 * r + s) * LANES);
                winograd_weight(g, half[s]);
            }
#pragma GCC unroll 6
            for (int r = 0; r < 6; r++) {
                vec g[3] = {half[0][r], half[1][r], half[2][r]}, whole[6];
                winograd_weight(g, whole);
#pragma GCC unroll 6
                for (int s = 0; s < 6; s++) vec_store(u + (6 * r + s) * b->u_plane, whole[s]);
            }
        }
    }
}

static void pack_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t pieces = ceil_div(c->sc, LANES), c0 = task % pieces * LANES, panel = task / pieces;
    int64_t lanes = min64(b->width, c->dc - panel % b->k_blocks * b->width), width = ceil_div(lanes, LANES) * LANES;
    elem *to = job->packed + (panel * b->chunks + c0 / b->chunk) * panel_size(b) + c0 % b->chunk * width;
    transform_weights(job, panel / b->k_blocks, panel % b->k_blocks, c0, min64(LANES, c->sc - c0), to, job->worker[worker].scratch);
}

/* ---- output ---- */

/* [pixel][LANES] -> planes, pixels d_w apart */
static void store_planes(const elem *from, int64_t pixels, int64_t lanes, elem *to, int64_t d_c, int64_t d_w) {
    for (int64_t q = 0; q < pixels; q += LANES) {
        int64_t p = max64(0, min64(q, pixels - LANES)), count = min64(LANES, pixels - p);
        vec row[LANES];
        for (int64_t l = 0; l < LANES; l++) row[l] = vec_load(from + (p + l) * LANES);
        vec_transpose(row);
        for (int64_t l = 0; l < lanes; l++) {
            elem *at = to + l * d_c + p * d_w;
            if (d_w == 1 && count == LANES) {
                vec_store(at, row[l]);
            } else if (d_w == 1) {
                vec_store_first(at, row[l], count);
            } else {
                elem lane[LANES];
                vec_store(lane, row[l]);
                for (int64_t i = 0; i < count; i++) at[i * d_w] = lane[i];
            }
        }
    }
}

/* A^T m A of one tile */
INLINE void transform_output(const elem *m, int64_t plane, vec bias, int relu, vec y[4][4]) {
    vec half[4][6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
        vec column[6], out[4];
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) column[i] = vec_load(m + (6 * i + j) * plane);
        winograd_output(column, out);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) half[i][j] = out[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        winograd_output(half[i], y[i]);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            y[i][j] += bias;
            if (relu) y[i][j] = vec_relu(y[i][j]);
        }
    }
}

/* One segment of tiles, one vector of channels, of which `lanes` exist. */
static void store_segment(const struct job *job, const struct winograd_segment *s, const elem *m, int64_t row, vec bias,
                          int64_t lanes, elem *dest, elem *buffer) {
    const struct correlation *c = job->c;
    int64_t rows = min64(4, c->dh - 4 * s->i), cols = min64(4 * s->tiles, c->dw - 4 * s->j);
    const int64_t *d = c->d_stride;
    int channels_last = d[1] == 1 && lanes == LANES;
    dest += s->image * d[0] + 4 * s->i * d[2] + 4 * s->j * d[3];
    elem *to = channels_last ? dest : buffer;
    int64_t pitch_h = channels_last ? d[2] : cols * LANES, pitch_w = channels_last ? d[3] : LANES;
    for (int64_t t = 0; t < s->tiles; t++) {
        vec y[4][4];
        transform_output(m + t * row, job->b.m_plane, bias, c->relu, y);
        int64_t width = min64(4, cols - 4 * t);
        elem *at = to + 4 * t * pitch_w;
        if (rows == 4 && width == 4) {
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) vec_store(at + i * pitch_h + j * pitch_w, y[i][j]);
        } else {
            for (int64_t i = 0; i < rows; i++)
                for (int64_t j = 0; j < width; j++) vec_store(at + i * pitch_h + j * pitch_w, y[i][j]);
        }
    }
    if (channels_last) return;
    int one_run = d[2] == cols * d[3];
    for (int64_t i = 0; i < (one_run ? 1 : rows); i++)
        store_planes(buffer + i * cols * LANES, one_run ? rows * cols : cols, lanes, dest + i * d[2], d[1], d[3]);
}

static void store_block(const struct job *job, const struct worker *w, int64_t group, int64_t block, int64_t first, int64_t tiles) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t lanes = min64(b->width, c->dc - block * b->width), width = ceil_div(lanes, LANES) * LANES;
    for (int64_t tile = first; tile < first + tiles;) {
        struct winograd_segment s = winograd_segment(b->tiles_h, b->tiles_w, tile, first + tiles);
        for (int64_t l = 0; l < lanes; l += LANES) {
            int64_t channel = group * c->dc + block * b->width + l, some = min64(LANES, lanes - l);
            vec bias = job->bias ? vec_load_first(job->bias + channel, some) : (vec){0};
            store_segment(job, &s, w->m + (tile - first) * width + l, width, bias, some, job->dest + channel * c->d_stride[1],
                          w->scratch);
        }
        tile += s.tiles;
    }
}

/* ---- one block of tiles, some blocks of channels ---- */

static void multiply(const struct job *job, const struct worker *w, const elem *u, int64_t vecs, int64_t chunk, int64_t tiles) {
    const struct blocking *b = &job->b;
    tile_function *tile = NAME(tile)(vecs);
    int64_t height = tile_rows(vecs), width = vecs * LANES, k = min64(b->chunk, job->c->sc - chunk * b->chunk);
    for (int64_t e = 0; e < 36; e++)
        for (int64_t t = 0; t < tiles; t += height)
            tile(k, job->offset, u + e * b->u_plane, w->v + e * b->v_plane + chunk * b->chunk, w->row + t,
                 w->m + e * b->m_plane + t * width, chunk > 0);
}

static void block_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    const struct worker *w = &job->worker[worker];
    int64_t part = task % b->parts, block = task / b->parts % b->blocks, group = task / b->parts / b->blocks;
    int64_t first = block * b->block, tiles = min64(b->block, b->total - first);

    struct winograd_matrix v = {.to = w->v, .plane = b->v_plane, .row = b->v_row};
    NAME(winograd_transform_inputs)(&job->source, job->source.origin + group * c->sc * c->s_stride[1], c->sc, first, tiles, &v, w->scratch);
    for (int64_t t = 0; t < b->block + TILE_ROWS_1; t++) w->row[t] = min64(t, tiles - 1) * b->v_row;

    for (int64_t k = part * b->k_blocks / b->parts; k < (part + 1) * b->k_blocks / b->parts; k++) {
        int64_t lanes = min64(b->width, c->dc - k * b->width), vecs = ceil_div(lanes, LANES);
        for (int64_t chunk = 0; chunk < b->chunks; chunk++) {
            const elem *u = job->packed + ((group * b->k_blocks + k) * b->chunks + chunk) * panel_size(b);
            if (b->at_once) {
                int64_t end = min64(c->sc, (chunk + 1) * b->chunk);
                for (int64_t c0 = chunk * b->chunk; c0 < end; c0 += LANES)
                    transform_weights(job, group, k, c0, min64(LANES, end - c0), w->u + c0 % b->chunk * vecs * LANES, w->scratch);
                u = w->u;
            }
            multiply(job, w, u, vecs, chunk, tiles);
        }
        store_block(job, w, group, k, first, tiles);
    }
}

/* just behind the highest of a 4-D array's elements */
static const elem *array_end(const elem *origin, int64_t n, int64_t c, int64_t h, int64_t w, const int64_t stride[4]) {
    return origin + max64(0, (n - 1) * stride[0]) + max64(0, (c - 1) * stride[1]) + max64(0, (h - 1) * stride[2]) +
           max64(0, (w - 1) * stride[3]) + 1;
}

static struct job new_job(const struct correlation *c, int packed) {
    struct job job = {.c = c, .b = block_up(c, packed)};
    return job;
}

void NAME(winograd)(const struct correlation *c, const elem *source, const elem *weight, const elem *packed, const elem *bias,
                    elem *dest, void *workspace) {
    if (c->n == 0) return;
    struct job job = new_job(c, packed != NULL);
    job.source = (struct winograd_planes){.tiles_h = job.b.tiles_h, .tiles_w = job.b.tiles_w, .sh = c->sh, .sw = c->sw,
                                          .first_h = c->first_h, .first_w = c->first_w, .origin = source,
                                          .end = array_end(source, c->n, c->g * c->sc, c->sh, c->sw, c->s_stride)};
    memcpy(job.source.stride, c->s_stride, sizeof c->s_stride);
    job.weight = weight, job.bias = bias, job.dest = dest, job.packed = (elem *)packed;
    const int64_t ws[4] = {c->w_dc, c->w_sc, c->w_h, c->w_w};
    job.weight_end = array_end(weight + max64(0, (c->g - 1) * c->w_group), c->dc, c->sc, 3, 3, ws);
    struct arena arena = {.base = workspace};
    carve(&job, &arena, packed != NULL);
    for (int64_t i = 0; i < job.b.chunk; i++) job.offset[i] = i;
    if (!packed && !job.b.at_once)
        engine_parallel(c->threads, c->g * job.b.k_blocks * ceil_div(c->sc, LANES), pack_task, &job);
    engine_parallel(c->threads, c->g * job.b.blocks * job.b.parts, block_task, &job);
}
