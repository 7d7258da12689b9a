#include "correlate.h"
#include "arena.h"
#include "stage.h"
#include "thread.h"
#include "tile.h"
#include "transpose.h"

enum {
    CHUNK = 384,              /* products summed from zero before they are added up: fits L1, and rounds less */
    STRIP_PIXELS = 256,       /* destination pixels of one strip */
    STRIP_BYTES = 256 * 1024, /* staged source of one strip, a quarter of L2 */
    TASKS_PER_THREAD = 4,
    PATCH_TILES = 4,          /* im2col: tiles of pixels whose patches are copied together */
};

/* How a correlation is cut up.  Nothing here depends on n or on the number of threads, except `parts`, which does not
   change any sum. */
struct blocking {
    int64_t taps, k, chunk_channels;
    int64_t vecs, blocks, width;        /* destination channels: `blocks` blocks of `vecs` vectors, the last one narrower */
    int64_t rows, cols, strips_h, strips_w, pixels;
    int64_t parts;                      /* into how many tasks the channel blocks of one strip are dealt */
    int staged, channels_last;
    int64_t src_rows, src_cols, pitch_c, pitch_h, pitch_w, strip_size;
};

struct job {
    const struct correlation *c;
    struct blocking b;
    const elem *source, *weight, *bias;
    elem *dest;
    int64_t *offset;   /* of each k from the pixel, in the strip or in the source itself */
    elem *packed;      /* [g][block][k][width of the block] */
    struct worker {
        elem *strip, *acc, *patch;
        int64_t *pixel, *patch_row;
    } *worker;
    int64_t *patch_offset;
};

static int64_t block_vecs(const struct job *job, int64_t block) {
    int64_t lanes = min64(job->b.width, job->c->dc - block * job->b.width);
    return ceil_div(lanes, LANES);
}

/* A plane stride that is a multiple of the vector but not of a page: equal rows of neighbouring planes must not meet in
   one cache set. */
static int64_t unaliased(int64_t size) {
    int64_t line = 64 / (int64_t)sizeof(elem);
    int64_t lines = ceil_div(size, line);
    return (lines | 1) * line;
}

static struct blocking block_up(const struct correlation *c) {
    struct blocking b = {.taps = c->taps_h * c->taps_w};
    b.k = c->sc * b.taps;
    b.chunk_channels = max64(1, min64(c->sc, CHUNK / max64(1, b.taps)));
    b.vecs = min64(TILE_VECS, ceil_div(c->dc, LANES));
    b.width = b.vecs * LANES;
    b.blocks = ceil_div(c->dc, b.width);

    int64_t span_h = max64(0, c->taps_h - 1) * c->space_h + 1, span_w = max64(0, c->taps_w - 1) * c->space_w + 1;
    int inside = c->first_h >= 0 && c->first_w >= 0 && (c->dh - 1) * c->step_h + c->first_h + span_h <= c->sh &&
                 (c->dw - 1) * c->step_w + c->first_w + span_w <= c->sw;
    b.staged = !inside;
    b.channels_last = c->s_stride[1] == 1 && c->sc > 1;

    /* the largest strip within the limits, then all of them as equal as possible */
    int64_t rows = max64(1, min64(c->dh, STRIP_PIXELS / c->dw));
    int64_t cols = min64(c->dw, STRIP_PIXELS);
#define STRIP_SIZE(rows, cols) (c->sc * (((rows)-1) * c->step_h + span_h) * (((cols)-1) * c->step_w + span_w))
    if (b.staged) {
        int64_t room = STRIP_BYTES / (int64_t)sizeof(elem), narrow = 4 * tile_rows(b.vecs);
        while (rows > 1 && STRIP_SIZE(rows, cols) > room) rows--;
        while (cols > narrow && STRIP_SIZE(rows, cols) > room) cols = max64(narrow, cols / 2);
    }
    b.strips_h = ceil_div(c->dh, rows), b.rows = ceil_div(c->dh, b.strips_h);
    b.strips_w = ceil_div(c->dw, cols), b.cols = ceil_div(c->dw, b.strips_w);
    b.pixels = b.rows * b.cols;

    b.src_rows = (b.rows - 1) * c->step_h + span_h;
    b.src_cols = (b.cols - 1) * c->step_w + span_w;
    if (!b.staged) {
        b.pitch_c = c->s_stride[1], b.pitch_h = c->s_stride[2], b.pitch_w = c->s_stride[3];
    } else if (b.channels_last) {
        b.pitch_c = 1, b.pitch_w = unaliased(c->sc), b.pitch_h = b.src_cols * b.pitch_w;
        b.strip_size = b.src_rows * b.pitch_h;
    } else {
        b.pitch_w = 1, b.pitch_h = b.src_cols, b.pitch_c = unaliased(b.src_rows * b.pitch_h);
        b.strip_size = c->sc * b.pitch_c;
    }

    int64_t strips = c->n * c->g * b.strips_h * b.strips_w;
    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    b.parts = max64(1, min64(b.blocks, ceil_div(wanted, max64(1, strips))));
    return b;
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t padded = b->pixels + TILE_ROWS_1, patch_rows = PATCH_TILES * TILE_ROWS_1;
    int64_t patch_k = b->chunk_channels * b->taps;
    job->offset = ARENA_TAKE(arena, int64_t, b->k);
    job->packed = ARENA_TAKE(arena, elem, c->g * b->k * ceil_div(c->dc, LANES) * LANES);
    job->patch_offset = c->im2col ? ARENA_TAKE(arena, int64_t, patch_k) : NULL;
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {
            .strip = b->staged ? ARENA_TAKE(arena, elem, b->strip_size) : NULL,
            .acc = ARENA_TAKE(arena, elem, padded * b->width),
            .pixel = ARENA_TAKE(arena, int64_t, padded),
            .patch = c->im2col ? ARENA_TAKE(arena, elem, patch_rows * patch_k) : NULL,
            .patch_row = c->im2col ? ARENA_TAKE(arena, int64_t, patch_rows) : NULL,
        };
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(correlate_workspace)(const struct correlation *c) {
    struct job job = {.c = c, .b = block_up(c)};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* Packing the weights: [k][width], one task per group and block of channels. */
static void pack_weights(void *context, int64_t task, int64_t worker) {
    (void)worker;
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t group = task / b->blocks, block = task % b->blocks;
    int64_t lanes = min64(b->width, c->dc - block * b->width), width = block_vecs(job, block) * LANES;
    const elem *from = job->weight + group * c->w_group + block * b->width * c->w_dc;
    elem *to = job->packed + b->k * (group * ceil_div(c->dc, LANES) * LANES + block * b->width);

    if (lanes < width) /* the lanes past the last channel */
        for (int64_t i = 0; i < b->k; i++) memset(to + i * width + lanes, 0, (size_t)(width - lanes) * sizeof(elem));
    if (c->w_w == 1 && c->w_h == c->taps_w && c->w_sc == b->taps) { /* weight[j] is contiguous over all k */
        NAME(transpose)(lanes, b->k, from, c->w_dc, to, width);
        return;
    }
    int backwards = c->w_w == -1 && c->w_h == -c->taps_w && c->w_dc > 0; /* weight[j][channel] is, in reverse */
    for (int64_t channel = 0; channel < c->sc; channel++) {
        const elem *at = from + channel * c->w_sc;
        elem *rows = to + channel * b->taps * width;
        if (backwards) {
            NAME(transpose)(lanes, b->taps, at - (b->taps - 1), c->w_dc, rows + (b->taps - 1) * width, -width);
            continue;
        }
        for (int64_t tap = 0; tap < b->taps; tap++)
            for (int64_t j = 0; j < lanes; j++)
                rows[tap * width + j] = at[tap / c->taps_w * c->w_h + tap % c->taps_w * c->w_w + j * c->w_dc];
    }
}

static void fill_offsets(struct job *job) {
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    int64_t k = 0;
    for (int64_t channel = 0; channel < c->sc; channel++)
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++, k++)
                job->offset[k] = channel * b->pitch_c + i * c->space_h * b->pitch_h + j * c->space_w * b->pitch_w;
    if (c->im2col)
        for (int64_t i = 0; i < b->chunk_channels * b->taps; i++) job->patch_offset[i] = i;
}

/* Finishing a block: acc[pixel][width] -> dest, with bias and relu.  A run is a series of pixels evenly spaced in dest. */
struct run {
    elem *dest;
    const elem *acc, *bias;
    int64_t pixels, lanes, width, d_c, d_w;
    int relu;
};

INLINE vec finish(const struct run *run, const elem *acc, vec bias) {
    vec v = vec_load(acc) + bias;
    return run->relu ? vec_relu(v) : v;
}

static void store_channels_last(const struct run *run) {
    for (int64_t j = 0; j < run->lanes; j += LANES) {
        int64_t lanes = min64(LANES, run->lanes - j);
        vec bias = run->bias ? vec_load_first(run->bias + j, lanes) : (vec){0};
        for (int64_t p = 0; p < run->pixels; p++) {
            vec v = finish(run, run->acc + p * run->width + j, bias);
            elem *to = run->dest + p * run->d_w + j;
            if (lanes == LANES)
                vec_store(to, v);
            else
                vec_store_first(to, v, lanes);
        }
    }
}

static void store_planes(const struct run *run) {
    for (int64_t j = 0; j < run->lanes; j += LANES) {
        int64_t lanes = min64(LANES, run->lanes - j);
        vec bias = run->bias ? vec_load_first(run->bias + j, lanes) : (vec){0};
        for (int64_t p = 0; p < run->pixels; p += LANES) {
            int64_t pixels = min64(LANES, run->pixels - p);
            vec row[LANES];
            for (int64_t l = 0; l < LANES; l++)
                row[l] = finish(run, run->acc + (p + min64(l, pixels - 1)) * run->width + j, bias);
            vec_transpose(row);
            for (int64_t l = 0; l < lanes; l++) {
                elem *to = run->dest + (j + l) * run->d_c + p * run->d_w;
                if (run->d_w == 1 && pixels == LANES)
                    vec_store(to, row[l]);
                else {
                    elem lane[LANES];
                    vec_store(lane, row[l]);
                    for (int64_t i = 0; i < pixels; i++) to[i * run->d_w] = lane[i];
                }
            }
        }
    }
}

static void store_block(const struct job *job, const elem *acc, const elem *bias, int64_t lanes, int64_t width, elem *dest,
                        int64_t rows, int64_t cols) {
    const int64_t *d = job->c->d_stride;
    int one_run = d[2] == cols * d[3];
    struct run run = {.dest = dest, .acc = acc, .bias = bias, .pixels = one_run ? rows * cols : cols, .lanes = lanes,
                      .width = width, .d_c = d[1], .d_w = d[3], .relu = job->c->relu};
    for (int64_t i = 0; i < (one_run ? 1 : rows); i++) {
        if (run.d_c == 1)
            store_channels_last(&run);
        else
            store_planes(&run);
        run.dest += d[2];
        run.acc += cols * width;
    }
}

/* One block of channels over one strip: chunks of channels outside, tiles of pixels inside. */
static void multiply_direct(const struct job *job, const struct worker *w, const elem *source, const elem *packed,
                            int64_t vecs, int64_t pixels) {
    const struct blocking *b = &job->b;
    tile_function *tile = NAME(tile)(vecs);
    int64_t tile_height = tile_rows(vecs), width = vecs * LANES;
    for (int64_t c = 0; c < job->c->sc; c += b->chunk_channels) {
        int64_t k0 = c * b->taps, k = min64(b->chunk_channels, job->c->sc - c) * b->taps;
        for (int64_t p = 0; p < pixels; p += tile_height)
            tile(k, job->offset + k0, packed + k0 * width, source, w->pixel + p, w->acc + p * width, c > 0);
    }
}

/* The same with the patches of a few tiles copied together first, as im2col does for a whole image. */
static void multiply_im2col(const struct job *job, const struct worker *w, const elem *source, const elem *packed,
                            int64_t vecs, int64_t pixels) {
    const struct blocking *b = &job->b;
    tile_function *tile = NAME(tile)(vecs);
    int64_t tile_height = tile_rows(vecs), width = vecs * LANES, step = PATCH_TILES * tile_height;
    for (int64_t c = 0; c < job->c->sc; c += b->chunk_channels) {
        int64_t k0 = c * b->taps, k = min64(b->chunk_channels, job->c->sc - c) * b->taps;
        for (int64_t p0 = 0; p0 < pixels; p0 += step) {
            int64_t rows = min64(step, ceil_div(pixels - p0, tile_height) * tile_height);
            for (int64_t r = 0; r < rows; r++) {
                const elem *at = source + w->pixel[p0 + r];
                for (int64_t i = 0; i < k; i++) w->patch[r * k + i] = at[job->offset[k0 + i]];
                w->patch_row[r] = r * k;
            }
            for (int64_t r = 0; r < rows; r += tile_height)
                tile(k, job->patch_offset, packed + k0 * width, w->patch, w->patch_row + r, w->acc + (p0 + r) * width, c > 0);
        }
    }
}

static void strip_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    const struct worker *w = &job->worker[worker];
    int64_t part = task % b->parts, strip = task / b->parts;
    int64_t j0 = strip % b->strips_w * b->cols;
    int64_t i0 = strip / b->strips_w % b->strips_h * b->rows;
    int64_t group = strip / b->strips_w / b->strips_h % c->g, image = strip / b->strips_w / b->strips_h / c->g;
    int64_t rows = min64(b->rows, c->dh - i0), cols = min64(b->cols, c->dw - j0), pixels = rows * cols;
    if (rows <= 0 || cols <= 0) return; /* equal strips can cover the plane before the last one */

    int64_t h0 = i0 * c->step_h + c->first_h, w0 = j0 * c->step_w + c->first_w;
    const elem *source = job->source + image * c->s_stride[0] + group * c->sc * c->s_stride[1];
    if (b->staged) {
        struct window window = {.channels = c->sc, .sh = c->sh, .sw = c->sw, .h0 = h0, .w0 = w0,
                                .rows = b->src_rows, .cols = b->src_cols, .step_h = 1, .step_w = 1,
                                .stride_c = c->s_stride[1], .stride_h = c->s_stride[2], .stride_w = c->s_stride[3],
                                .pitch_c = b->pitch_c, .pitch_h = b->pitch_h, .pitch_w = b->pitch_w};
        NAME(stage)(&window, source, w->strip);
        source = w->strip;
    } else {
        source += h0 * c->s_stride[2] + w0 * c->s_stride[3];
    }
    /* the last tile repeats the last pixel */
    for (int64_t p = 0; p < pixels + TILE_ROWS_1; p++) {
        int64_t q = min64(p, pixels - 1);
        w->pixel[p] = q / cols * c->step_h * b->pitch_h + q % cols * c->step_w * b->pitch_w;
    }

    elem *dest = job->dest + image * c->d_stride[0] + i0 * c->d_stride[2] + j0 * c->d_stride[3];
    for (int64_t block = part * b->blocks / b->parts; block < (part + 1) * b->blocks / b->parts; block++) {
        int64_t vecs = block_vecs(job, block), channel = group * c->dc + block * b->width;
        int64_t lanes = min64(b->width, c->dc - block * b->width);
        const elem *packed = job->packed + b->k * (group * ceil_div(c->dc, LANES) * LANES + block * b->width);
        if (c->im2col)
            multiply_im2col(job, w, source, packed, vecs, pixels);
        else
            multiply_direct(job, w, source, packed, vecs, pixels);
        store_block(job, w->acc, job->bias ? job->bias + channel : NULL, lanes, vecs * LANES, dest + channel * c->d_stride[1],
                    rows, cols);
    }
}

void NAME(correlate)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias, elem *dest,
                     void *workspace) {
    struct job job = {.c = c, .b = block_up(c), .source = source, .weight = weight + c->weight_offset,
                      .bias = bias, .dest = dest + c->d_offset};
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    fill_offsets(&job);
    engine_parallel(c->threads, c->g * job.b.blocks, pack_weights, &job);
    engine_parallel(c->threads, c->n * c->g * job.b.strips_h * job.b.strips_w * job.b.parts, strip_task, &job);
}
