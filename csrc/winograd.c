#include "winograd.h"
#include "arena.h"
#include "thread.h"
#include "winograd_product.h"
#include "winograd_tiles.h"
#include "winograd_transform.h"

#include <stdlib.h>

enum {
    CHUNK = 64,            /* source channels summed from zero before they are added up */
    BLOCK = 24,            /* tiles: inputs, products and the weights in use stay in L2 */
    AT_ONCE = 64,          /* so few tiles share one pass over the weights, which are transformed on the way */
    TASKS_PER_THREAD = 4,
};

#define TAPS (10 * LANES * LANES) /* elements of scratch for gather_taps() */

/* How a correlation is cut up.  `chunk` decides how sums are ordered and depends on the channels alone; the rest changes no bit. */
struct blocking {
    int64_t tiles_h, tiles_w, total;      /* tiles of an image; of all images */
    int64_t block, blocks;                /* tiles that share one pass over the weights */
    int64_t vecs, width, k_blocks, parts; /* destination channels, and into how many tasks their blocks are dealt */
    int64_t chunk, chunks;
    int64_t v_row, v_plane, m_plane, u_plane; /* pitches of the three matrices */
    int64_t panel;                        /* elements of the weights of one chunk and one block of channels */
    int at_once;                          /* one block of tiles: transform weights when and where they are used */
};

struct job {
    const struct correlation *c;
    struct blocking b;
    struct winograd_planes source;
    const elem *weight, *bias;
    elem *dest, *packed; /* [group][channel block][chunk][36][channel of the chunk][width] */
    const elem *weight_end;
    struct worker {
        elem *v, *m, *u, *scratch; /* transformed input, products, weights (if at_once) */
    } *worker;
};

static struct blocking block_up(const struct correlation *c, int packed) {
    struct blocking b = {.tiles_h = ceil_div(c->dh, 4), .tiles_w = ceil_div(c->dw, 4)};
    b.total = c->n * b.tiles_h * b.tiles_w;
    b.vecs = min64(TILE_VECS, ceil_div(c->dc, LANES));
    b.width = b.vecs * LANES;
    b.k_blocks = ceil_div(c->dc, b.width);
    b.chunk = ceil_div(ceil_div(c->sc, ceil_div(c->sc, CHUNK)), LANES) * LANES;
    b.chunks = ceil_div(c->sc, b.chunk);

    int64_t most = BLOCK, most_at_once = AT_ONCE;
#ifdef TUNE
    if (getenv("WT")) most = atoi(getenv("WT"));
    if (getenv("WT2")) most_at_once = atoi(getenv("WT2"));
#endif
    b.at_once = !packed && b.total <= most_at_once;
    b.blocks = b.at_once ? 1 : ceil_div(b.total, most);
    if (c->g * b.blocks < TASKS_PER_THREAD * c->threads && b.total > c->threads * most) /* no thread waits for the last block */
        b.blocks = ceil_div(b.blocks, c->threads) * c->threads;
    b.block = max64(1, ceil_div(b.total, b.blocks));
    b.blocks = ceil_div(b.total, b.block);

    b.v_row = winograd_pitch(max64(LANES, c->sc));
    b.v_plane = winograd_pitch((b.block + TILE_ROWS_1) * b.v_row);
    b.m_plane = winograd_pitch((b.block + TILE_ROWS_1) * b.width);
    b.u_plane = winograd_pitch(b.chunk * b.width);
    b.panel = 36 * b.u_plane;

    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    b.parts = max64(1, min64(b.k_blocks, ceil_div(wanted, max64(1, c->g * b.blocks))));
    return b;
}

static int64_t packed_size(const struct correlation *c, const struct blocking *b) {
    return c->g * b->k_blocks * b->chunks * b->panel;
}

static void carve(struct job *job, struct arena *arena, int packed) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    if (!packed && !b->at_once) job->packed = ARENA_TAKE(arena, elem, packed_size(c, b));
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {
            .v = ARENA_TAKE(arena, elem, 36 * b->v_plane),
            .m = ARENA_TAKE(arena, elem, 36 * b->m_plane),
            .u = b->at_once ? ARENA_TAKE(arena, elem, b->panel) : NULL,
            .scratch = ARENA_TAKE(arena, elem, max64(WINOGRAD_SCRATCH, TAPS)),
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

/* `lanes` rows of `run` consecutive elements -> [element][row] */
static void transpose_run(const elem *from, int64_t stride, int64_t lanes, int64_t run, const elem *end, elem *to) {
    for (int64_t i = 0; i < run; i += LANES)
        winograd_square(from + i, stride, lanes, min64(LANES, run - i), end, to + i * LANES);
}

/* The taps of LANES source and LANES destination channels. */
struct taps {
    int rows;          /* they lie in rows of consecutive elements: FORWARD or BACKWARD; or SCATTERED */
    int step;          /* -1: and each nine of them in descending order */
    int64_t row, ahead; /* from row to row, and to the next LANES source channels */
};
enum { SCATTERED, BY_DESTINATION, BY_SOURCE };

static struct taps describe_taps(const struct correlation *c) {
    struct taps taps = {.step = c->w_w < 0 ? -1 : 1};
    if (c->w_w != taps.step || c->w_h != 3 * taps.step) return (struct taps){.step = 1};
    if (c->w_sc == 9) {
        taps.rows = BY_DESTINATION, taps.row = c->w_dc, taps.ahead = 9 * LANES;
    } else {
        taps.rows = BY_SOURCE, taps.row = c->w_sc, taps.ahead = LANES * c->w_sc;
    }
    return taps;
}

/* -> to[channel][tap][lane] */
static void gather_taps(const struct job *job, const struct taps *taps, const elem *from, int64_t channels, int64_t lanes, elem *to) {
    const struct correlation *c = job->c;
    if (taps->rows == BY_DESTINATION) {
        transpose_run(from, c->w_dc, lanes, 9 * channels, job->weight_end, to);
    } else if (taps->rows == BY_SOURCE) {
        for (int64_t i = 0; i < channels; i++) /* overruns its nine rows, the next one puts that right */
            transpose_run(from + i * c->w_sc, c->w_dc, lanes, 9, job->weight_end, to + 9 * i * LANES);
    } else {
        for (int64_t i = 0; i < channels; i++)
            for (int t = 0; t < 9; t++) {
                const elem *at = from + i * c->w_sc + t / 3 * c->w_h + t % 3 * c->w_w;
                for (int64_t l = 0; l < LANES; l++) to[(9 * i + t) * LANES + l] = l < lanes ? at[l * c->w_dc] : 0;
            }
    }
}

/* G g G^T for LANES destination channels; `step` goes from tap to tap */
INLINE void transform_tap(const elem *tap, int64_t step, elem *u, int64_t plane) {
    vec half[3][6];
#pragma GCC unroll 3
    for (int s = 0; s < 3; s++) {
        vec g[3] = {vec_load(tap + s * step), vec_load(tap + (3 + s) * step), vec_load(tap + (6 + s) * step)};
        winograd_weight(g, half[s]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < 6; r++) {
        vec g[3] = {half[0][r], half[1][r], half[2][r]}, whole[6];
        winograd_weight(g, whole);
#pragma GCC unroll 6
        for (int s = 0; s < 6; s++) vec_store(u + (6 * r + s) * plane, whole[s]);
    }
}

/* Source channels [c0, c0 + channels) and one block of destination channels. */
static void transform_weights(const struct job *job, int64_t group, int64_t block, int64_t c0, int64_t channels, elem *to,
                              elem *scratch) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    struct taps taps = describe_taps(c);
    int64_t first = block * b->width, lanes = min64(b->width, c->dc - first), vecs = ceil_div(lanes, LANES);
    for (int64_t v = 0; v < vecs; v++)
        for (int64_t j = 0; j < channels; j += LANES) {
            int64_t some = min64(LANES, channels - j);
            const elem *from = job->weight + group * c->w_group + (first + v * LANES) * c->w_dc + (c0 + j) * c->w_sc;
            if (taps.step < 0) from -= 8;
            gather_taps(job, &taps, from, some, min64(LANES, lanes - v * LANES), scratch);
            for (int64_t i = 0; i < some; i++) {
                if (taps.rows)
                    for (int64_t line = 0; line <= 9 * LANES; line += 64 / (int64_t)sizeof(elem))
                        __builtin_prefetch(from + taps.ahead + i * taps.row + line);
                transform_tap(scratch + (9 * i + (taps.step < 0 ? 8 : 0)) * LANES, taps.step * LANES,
                              to + ((j + i) * vecs + v) * LANES, b->u_plane);
            }
        }
}

static void pack_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    elem taps[TAPS];
    int64_t pieces = ceil_div(c->sc, LANES), c0 = task % pieces * LANES, panel = task / pieces;
    int64_t lanes = min64(b->width, c->dc - panel % b->k_blocks * b->width), width = ceil_div(lanes, LANES) * LANES;
    elem *to = job->packed + (panel * b->chunks + c0 / b->chunk) * b->panel + c0 % b->chunk * width;
    transform_weights(job, panel / b->k_blocks, panel % b->k_blocks, c0, min64(LANES, c->sc - c0), to, taps);
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
    int64_t width = vecs * LANES, k = min64(b->chunk, job->c->sc - chunk * b->chunk);
    int64_t calls = ceil_div(tiles, tile_rows(vecs));
    for (int64_t e = 0; e < 36; e++) {
        const elem *v = w->v + e * b->v_plane + chunk * b->chunk;
        elem *m = w->m + e * b->m_plane;
        for (int64_t i = 0, t = 0, rows; i < calls; i++, t += rows) {
            rows = vecs == TILE_VECS ? tiles * (i + 1) / calls - t : tile_rows(vecs);
            NAME(winograd_product)(vecs, rows)(k, v + t * b->v_row, b->v_row, 1, u + e * b->u_plane, m + t * width, chunk > 0);
        }
    }
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

    for (int64_t k = part * b->k_blocks / b->parts; k < (part + 1) * b->k_blocks / b->parts; k++) {
        int64_t lanes = min64(b->width, c->dc - k * b->width), vecs = ceil_div(lanes, LANES);
        for (int64_t chunk = 0; chunk < b->chunks; chunk++) {
            const elem *u = job->packed + ((group * b->k_blocks + k) * b->chunks + chunk) * b->panel;
            if (b->at_once) {
                int64_t c0 = chunk * b->chunk;
                transform_weights(job, group, k, c0, min64(b->chunk, c->sc - c0), w->u, w->scratch);
                u = w->u;
            }
            multiply(job, w, u, vecs, chunk, tiles);
        }
        store_block(job, w, group, k, first, tiles);
    }
}

static void pack(struct job *job, const elem *weight) {
    const struct correlation *c = job->c;
    const int64_t stride[4] = {c->w_dc, c->w_sc, c->w_h, c->w_w};
    job->weight = weight + c->weight_offset;
    job->weight_end = winograd_end(job->weight + max64(0, (c->g - 1) * c->w_group), c->dc, c->sc, 3, 3, stride);
    if (job->packed) engine_parallel(c->threads, c->g * job->b.k_blocks * ceil_div(c->sc, LANES), pack_task, job);
}

int64_t NAME(winograd_packed_bytes)(const struct correlation *c) {
    struct blocking b = block_up(c, 1);
    return packed_size(c, &b) * (int64_t)sizeof(elem);
}

void NAME(winograd_pack)(const struct correlation *c, const elem *weight, elem *packed) {
    struct job job = {.c = c, .b = block_up(c, 1), .packed = packed};
    pack(&job, weight);
}

void NAME(winograd)(const struct correlation *c, const elem *source, const elem *weight, const elem *packed, const elem *bias,
                    elem *dest, void *workspace) {
    if (c->n == 0) return;
    struct job job = {.c = c, .b = block_up(c, packed != NULL), .bias = bias, .dest = dest + c->d_offset};
    job.source = (struct winograd_planes){.tiles_h = job.b.tiles_h, .tiles_w = job.b.tiles_w, .sh = c->sh, .sw = c->sw,
                                          .first_h = c->first_h, .first_w = c->first_w, .origin = source,
                                          .end = winograd_end(source, c->n, c->g * c->sc, c->sh, c->sw, c->s_stride)};
    memcpy(job.source.stride, c->s_stride, sizeof c->s_stride);
    struct arena arena = {.base = workspace};
    carve(&job, &arena, packed != NULL);
    if (packed)
        job.packed = (elem *)packed;
    else
        pack(&job, weight);
    engine_parallel(c->threads, c->g * job.b.blocks * job.b.parts, block_task, &job);
}

/* Cycles for one image on one core, fitted to measurements: products are LANES wide in both; every tile and vector of channels
   is transformed on its way in and out, every vector of weights once. */
int NAME(winograd_wins)(const struct correlation *c) {
    double in = (double)ceil_div(c->sc, LANES), out = (double)ceil_div(c->dc, LANES), sc = (double)c->sc;
    double tiles = (double)(ceil_div(c->dh, 4) * ceil_div(c->dw, 4)), pixels = (double)(c->dh * c->dw);
    double direct = 9 * pixels * sc * out;
    double winograd = 36 * tiles * sc * out + 250 * tiles * in + 300 * tiles * out + 180 * sc * out;
    return winograd < 0.9 * direct;
}
