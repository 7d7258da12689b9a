/* A strip of destination pixels is the unit of work: its source is staged with zeros around it, then every block of channels
   of every phase goes through the register tile, chunk of products by chunk, and out. */
#include "correlate.h"
#include "ahead.h"
#include "arena.h"
#include "filters.h"
#include "finish.h"
#include "stage.h"
#include "thread.h"
#include "tile.h"

enum {
    CHUNK = 384,              /* products summed from zero before they are added up, at most: rounds less */
    CHUNK_BYTES = 27 * 1024,  /* and the weights of so many stay in L1 from tile to tile */
    STRIP_PIXELS = 256,       /* destination pixels of one strip */
    STRIP_BYTES = 512 * 1024, /* staged source of one strip, in L2 */
    IMAGES_BYTES = 768 * 1024, /* of several images */
    FAR_BYTES = 1 << 20,      /* so many weights are not, from strip to strip */
    STREAM_BYTES = 8 << 20,   /* a destination of so many is no longer in a cache when somebody reads it */
    TASKS_PER_THREAD = 4,
    PATCH_TILES = 4,          /* im2col: tiles of pixels whose patches are copied together */
};

/* How the correlations are cut up.  Nothing here depends on n or on the number of threads, except `parts`, which does not
   change any sum. */
struct blocking {
    int64_t vecs, blocks, width;        /* destination channels in vectors; blocks of them, the widest of `width` */
    int64_t chunk;                      /* products */
    int64_t rows, cols, strips_h, strips_w, pixels; /* of an image in a strip, which of small planes has several */
    int64_t images;
    int64_t parts;                      /* into how many tasks the channel blocks of one strip are dealt */
    int staged, channels_last, stream, far_weights;
    int64_t h0, w0;                     /* of a strip's source, relative to its first pixel times the step */
    int64_t src_rows, src_cols, pitch_c, pitch_h, pitch_w, pitch_n, strip_size;
};

struct job {
    int64_t phases, across;
    const struct correlation *phase;
    struct blocking b;
    const elem *source, *bias;
    elem *dest;
    struct taps {
        int64_t k, *offset;    /* of each k from the pixel, in the strip or in the source itself */
        int64_t chunk_channels;
        const elem *packed;    /* [g][block][k][width of the block] */
    } *taps;                   /* of each phase */
    elem *own_packed;          /* unless they came packed */
    int64_t *patch_offset;
    struct worker {
        elem *strip, *acc, *patch;
        int64_t *pixel, *patch_row;
        int64_t holds;         /* the strip that is staged */
        struct ahead source_ahead, dest_ahead;
    } *worker;
};

/* ---- blocking ---- */

/* blocks of channels are as equal as whole vectors allow */
static int64_t first_vec(const struct blocking *b, int64_t block) { return block * b->vecs / b->blocks; }

static int64_t taps_of(const struct correlation *c) { return c->taps_h * c->taps_w; }

/* A plane stride that is a multiple of the vector but not of a page: equal rows of neighbouring planes must not meet in
   one cache set. */
static int64_t unaliased(int64_t size) {
    int64_t line = 64 / (int64_t)sizeof(elem);
    int64_t lines = ceil_div(size, line);
    return (lines | 1) * line;
}

static void block_channels(const struct correlation *c, struct blocking *b) {
    b->vecs = ceil_div(c->dc, LANES);
    b->blocks = max64(1, ceil_div(b->vecs, TILE_VECS));
    b->width = ceil_div(b->vecs, b->blocks) * LANES;
    b->chunk = min64(CHUNK, CHUNK_BYTES / (int64_t)sizeof(elem) / max64(1, b->width));
}

/* the source rows and columns that all phases reach between them, for one pixel: from (h0, w0), so many */
static void reach(int64_t phases, const struct correlation *phase, struct blocking *b, int64_t *span_h, int64_t *span_w) {
    int64_t h1 = INT64_MIN, w1 = INT64_MIN;
    b->h0 = b->w0 = INT64_MAX;
    for (int64_t f = 0; f < phases; f++) {
        const struct correlation *p = &phase[f];
        if (taps_of(p) == 0) continue;
        b->h0 = min64(b->h0, p->first_h), h1 = max64(h1, p->first_h + (p->taps_h - 1) * p->space_h);
        b->w0 = min64(b->w0, p->first_w), w1 = max64(w1, p->first_w + (p->taps_w - 1) * p->space_w);
    }
    if (h1 < b->h0) b->h0 = h1 = b->w0 = w1 = 0; /* no tap at all */
    *span_h = h1 - b->h0 + 1, *span_w = w1 - b->w0 + 1;
}

/* strips of destination rows and columns: the largest within the limits, then all of them as equal as possible */
static void block_pixels(const struct correlation *c, int64_t span_h, int64_t span_w, struct blocking *b) {
    int64_t rows = max64(1, min64(c->dh, STRIP_PIXELS / c->dw)), cols = min64(c->dw, STRIP_PIXELS);
#define STRIP_SIZE(rows, cols) (c->sc * (((rows)-1) * c->step_h + span_h) * (((cols)-1) * c->step_w + span_w))
    if (b->staged) {
        int64_t room = STRIP_BYTES / (int64_t)sizeof(elem), narrow = 4 * tile_rows(b->width / LANES);
        while (rows > 1 && STRIP_SIZE(rows, cols) > room) rows--;
        while (cols > narrow && STRIP_SIZE(rows, cols) > room) cols = max64(narrow, cols / 2);
    }
    b->strips_h = ceil_div(c->dh, rows), b->rows = ceil_div(c->dh, b->strips_h);
    b->strips_w = ceil_div(c->dw, cols), b->cols = ceil_div(c->dw, b->strips_w);
    b->pixels = b->rows * b->cols;
}

static int64_t packed_size(const struct correlation *c, const struct blocking *b) {
    return c->g * c->sc * taps_of(c) * b->vecs * LANES;
}

/* Whole planes that are small share a pass over the weights. */
static int64_t images_together(const struct correlation *c, const struct blocking *b) {
    if (b->strips_h * b->strips_w > 1) return 1;
    int64_t most = STRIP_PIXELS / b->pixels;
    if (b->staged) most = min64(most, IMAGES_BYTES / (int64_t)sizeof(elem) / max64(1, b->strip_size));
    return max64(1, min64(most, c->n / c->threads));
}

static struct blocking block_up(int64_t phases, const struct correlation *phase) {
    const struct correlation *c = &phase[0];
    struct blocking b = {.channels_last = c->s_stride[1] == 1 && c->sc > 1};
    int64_t span_h, span_w;
    block_channels(c, &b);
    reach(phases, phase, &b, &span_h, &span_w);
    b.staged = b.h0 < 0 || b.w0 < 0 || (c->dh - 1) * c->step_h + b.h0 + span_h > c->sh ||
               (c->dw - 1) * c->step_w + b.w0 + span_w > c->sw;
    block_pixels(c, span_h, span_w, &b);

    b.src_rows = (b.rows - 1) * c->step_h + span_h;
    b.src_cols = (b.cols - 1) * c->step_w + span_w;
    if (!b.staged) {
        b.pitch_c = c->s_stride[1], b.pitch_h = c->s_stride[2], b.pitch_w = c->s_stride[3];
    } else if (b.channels_last) {
        b.pitch_c = 1, b.pitch_w = c->sc < LANES ? c->sc : unaliased(c->sc), b.pitch_h = b.src_cols * b.pitch_w;
        b.strip_size = b.src_rows * b.pitch_h;
    } else {
        b.pitch_w = 1, b.pitch_h = b.src_cols, b.pitch_c = unaliased(b.src_rows * b.pitch_h);
        b.strip_size = c->sc * b.pitch_c;
    }
    b.far_weights = packed_size(c, &b) / c->g * (int64_t)sizeof(elem) >= FAR_BYTES;
    b.pitch_n = b.staged ? b.strip_size : c->s_stride[0];
    b.images = images_together(c, &b);
    b.strip_size *= b.images;
    b.stream = c->n * c->g * c->dc * c->dh * c->dw * phases * (int64_t)sizeof(elem) >= STREAM_BYTES;

    int64_t strips = ceil_div(c->n, b.images) * c->g * b.strips_h * b.strips_w;
    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    b.parts = max64(1, min64(b.blocks, ceil_div(wanted, max64(1, strips))));
    return b;
}

static void carve(struct job *job, struct arena *arena, int packed) {
    const struct correlation *c = &job->phase[0];
    const struct blocking *b = &job->b;
    int64_t padded = b->images * b->pixels + TILE_ROWS_1, patch_rows = PATCH_TILES * TILE_ROWS_1, patch_k = 0, packed_total = 0;
    job->taps = ARENA_TAKE(arena, struct taps, job->phases);
    for (int64_t f = 0; f < job->phases; f++) {
        struct taps t = {.k = c->sc * taps_of(&job->phase[f])};
        int64_t most = max64(1, b->chunk / max64(1, taps_of(&job->phase[f])));
        t.chunk_channels = max64(1, ceil_div(c->sc, max64(1, ceil_div(c->sc, most))));
        t.offset = ARENA_TAKE(arena, int64_t, t.k);
        if (arena->base) job->taps[f] = t;
        packed_total += packed_size(&job->phase[f], b);
        patch_k = max64(patch_k, t.chunk_channels * taps_of(&job->phase[f]));
    }
    job->own_packed = packed ? NULL : ARENA_TAKE(arena, elem, packed_total);
    job->patch_offset = c->im2col ? ARENA_TAKE(arena, int64_t, patch_k) : NULL;
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {
            .holds = -1,
            .strip = b->staged ? ARENA_TAKE(arena, elem, b->strip_size) : NULL,
            .acc = ARENA_TAKE(arena, elem, job->across * padded * b->width),
            .pixel = ARENA_TAKE(arena, int64_t, padded),
            .patch = c->im2col ? ARENA_TAKE(arena, elem, patch_rows * patch_k) : NULL,
            .patch_row = c->im2col ? ARENA_TAKE(arena, int64_t, patch_rows) : NULL,
        };
        if (arena->base) job->worker[t] = w;
    }
    if (arena->base && c->im2col)
        for (int64_t i = 0; i < patch_k; i++) job->patch_offset[i] = i;
}

int64_t NAME(correlate_workspace)(int64_t phases, int64_t across, const struct correlation *phase, int packed) {
    struct job job = {.phases = phases, .across = across, .phase = phase, .b = block_up(phases, phase)};
    struct arena arena = {0};
    carve(&job, &arena, packed);
    return arena.used;
}

/* ---- weights: [k][width] for one group and block of channels ---- */

struct packing {
    const struct correlation *phase;
    const struct blocking *b;
    const elem *weight;
    elem *packed;
};

static void pack_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct packing *p = context;
    const struct blocking *b = p->b;
    const struct correlation *c = &p->phase[task / b->blocks / p->phase[0].g];
    int64_t group = task / b->blocks % c->g, block = task % b->blocks, first = first_vec(b, block) * LANES;
    int64_t width = first_vec(b, block + 1) * LANES - first;
    elem *to = p->packed;
    for (const struct correlation *before = p->phase; before < c; before++) to += packed_size(before, b);
    NAME(gather_filters)(c, min64(width, c->dc - first), c->sc,
                         p->weight + c->weight_offset + group * c->w_group + first * c->w_dc, width,
                         to + c->sc * taps_of(c) * (group * b->vecs * LANES + first));
}

static void pack(int64_t phases, const struct correlation *phase, const struct blocking *b, const elem *weight, elem *packed) {
    struct packing p = {.phase = phase, .b = b, .weight = weight, .packed = packed};
    engine_parallel(phase[0].threads, phases * phase[0].g * b->blocks, pack_task, &p);
}

int64_t NAME(correlate_packed_bytes)(const struct correlation *phase) {
    struct blocking b = {0};
    block_channels(phase, &b);
    return packed_size(phase, &b) * (int64_t)sizeof(elem);
}

void NAME(correlate_pack)(const struct correlation *phase, const elem *weight, elem *packed) {
    struct blocking b = {0};
    block_channels(phase, &b);
    pack(1, phase, &b, weight, packed);
}

/* ---- products ---- */

static void fill_offsets(const struct job *job, int64_t f) {
    const struct correlation *c = &job->phase[f];
    const struct blocking *b = &job->b;
    int64_t *offset = job->taps[f].offset;
    for (int64_t channel = 0; channel < c->sc; channel++)
        for (int64_t i = 0; i < c->taps_h; i++)
            for (int64_t j = 0; j < c->taps_w; j++)
                *offset++ = channel * b->pitch_c + (c->first_h - b->h0 + i * c->space_h) * b->pitch_h +
                            (c->first_w - b->w0 + j * c->space_w) * b->pitch_w;
}

/* One block of channels over one strip: chunks of channels outside, tiles of pixels inside.  Where there is but one chunk every
   tile can go to its destination `at_once`, unless that is NULL. */
static void multiply_direct(const struct job *job, const struct taps *taps, struct worker *w, const elem *source,
                            const elem *packed, int64_t vecs, int64_t pixels, elem *acc, const struct finish *at_once) {
    tile_function *tile = NAME(tile)(vecs);
    int64_t calls = ceil_div(pixels, tile_rows(vecs)), width = vecs * LANES, sc = job->phase[0].sc;
    int64_t chunk = taps->chunk_channels, per_channel = taps->k / sc;
    for (int64_t c = 0; c < sc; c += chunk) {
        int64_t k0 = c * per_channel, k = min64(chunk, sc - c) * per_channel;
        struct ahead weights = {.base = packed + (k0 + k) * width, .outer = job->b.far_weights ? chunk * per_channel : 0,
                                .inner = 1, .outer_stride = width, .bytes = width * (int64_t)sizeof(elem)};
        ahead_pace(&weights, calls);
        for (int64_t i = 0, p = 0, next; i < calls; i++, p = next) {
            next = pixels * (i + 1) / calls;
            elem *sum = at_once ? acc : acc + p * width;
            tile(next - p, k, taps->offset + k0, packed + k0 * width, source, w->pixel + p, sum, c > 0);
            if (at_once) {
                struct finish out = *at_once;
                out.acc = sum, out.dest += p * out.d_w, out.rows = 1, out.cols = out.acc_cols = next - p;
                NAME(finish)(&out);
            }
            ahead_step(&w->source_ahead);
            ahead_step(&w->dest_ahead);
            ahead_step(&weights);
        }
    }
}

/* The same with the patches of a few tiles copied together first, as im2col does for a whole image. */
static void multiply_im2col(const struct job *job, const struct taps *taps, struct worker *w, const elem *source,
                            const elem *packed, int64_t vecs, int64_t pixels, elem *acc) {
    tile_function *tile = NAME(tile)(vecs);
    int64_t height = tile_rows(vecs), step = PATCH_TILES * height, width = vecs * LANES, sc = job->phase[0].sc;
    int64_t chunk = taps->chunk_channels, per_channel = taps->k / sc;
    for (int64_t c = 0; c < sc; c += chunk) {
        int64_t k0 = c * per_channel, k = min64(chunk, sc - c) * per_channel;
        for (int64_t p0 = 0; p0 < pixels; p0 += step) {
            int64_t rows = min64(step, ceil_div(pixels - p0, height) * height);
            for (int64_t r = 0; r < rows; r++) {
                const elem *at = source + w->pixel[p0 + r];
                for (int64_t i = 0; i < k; i++) w->patch[r * k + i] = at[taps->offset[k0 + i]];
                w->patch_row[r] = r * k;
            }
            for (int64_t r = 0; r < rows; r += height)
                tile(height, k, job->patch_offset, packed + k0 * width, w->patch, w->patch_row + r,
                     acc + (p0 + r) * width, c > 0);
        }
    }
}

/* ---- strips ---- */

struct strip {
    int64_t image, images, group, i0, j0, rows, cols;
};

static struct strip find_strip(const struct job *job, int64_t index) {
    const struct correlation *c = &job->phase[0];
    const struct blocking *b = &job->b;
    struct strip s = {.j0 = index % b->strips_w * b->cols, .i0 = index / b->strips_w % b->strips_h * b->rows};
    s.group = index / b->strips_w / b->strips_h % c->g, s.image = index / b->strips_w / b->strips_h / c->g * b->images;
    s.images = min64(b->images, c->n - s.image);
    s.rows = min64(b->rows, c->dh - s.i0), s.cols = min64(b->cols, c->dw - s.j0);
    return s;
}

/* The source of a strip, where pixels and offsets index it: staged, or where it is. */
static const elem *strip_source(const struct job *job, const struct strip *s, struct worker *w, int64_t index) {
    const struct correlation *c = &job->phase[0];
    const struct blocking *b = &job->b;
    int64_t h0 = s->i0 * c->step_h + b->h0, w0 = s->j0 * c->step_w + b->w0;
    const elem *source = job->source + s->image * c->s_stride[0] + s->group * c->sc * c->s_stride[1];
    if (!b->staged) return source + h0 * c->s_stride[2] + w0 * c->s_stride[3];
    if (w->holds != index) {
        w->holds = index;
        struct window window = {.channels = c->sc, .sh = c->sh, .sw = c->sw, .h0 = h0, .w0 = w0,
                                .rows = b->src_rows, .cols = b->src_cols, .step_h = 1, .step_w = 1,
                                .stride_c = c->s_stride[1], .stride_h = c->s_stride[2], .stride_w = c->s_stride[3],
                                .pitch_c = b->pitch_c, .pitch_h = b->pitch_h, .pitch_w = b->pitch_w};
        for (int64_t m = 0; m < s->images; m++)
            NAME(stage)(&window, source + m * c->s_stride[0], w->strip + m * b->pitch_n);
    }
    return w->strip;
}

/* the last tile repeats the last pixel */
static void place_pixels(const struct job *job, const struct strip *s, int64_t *pixel) {
    int64_t row = job->phase[0].step_h * job->b.pitch_h, col = job->phase[0].step_w * job->b.pitch_w;
    for (int64_t m = 0; m < s->images; m++)
        for (int64_t i = 0; i < s->rows; i++)
            for (int64_t j = 0; j < s->cols; j++) *pixel++ = m * job->b.pitch_n + i * row + j * col;
    for (int64_t i = 0; i < TILE_ROWS_1; i++, pixel++) *pixel = pixel[-1];
}

/* ---- memory ahead of time ---- */

static int64_t tile_calls(const struct job *job, int64_t phases, const struct taps *taps, int64_t vecs, int64_t pixels) {
    int64_t calls = 0;
    for (int64_t f = 0; f < phases; f++) calls += ceil_div(job->phase[0].sc, taps[f].chunk_channels);
    return calls * ceil_div(pixels, tile_rows(vecs));
}

/* While one strip is computed the source of the next one comes nearer. */
static void source_ahead(const struct job *job, int64_t index, int64_t blocks, int64_t pixels, struct worker *w) {
    const struct correlation *c = &job->phase[0];
    const struct blocking *b = &job->b;
    struct ahead *ahead = &w->source_ahead;
    struct strip s = find_strip(job, index);
    ahead->outer = 0;
    if (index == w->holds || s.image >= c->n || s.rows <= 0 || s.cols <= 0) return;
    int64_t h0 = s.i0 * c->step_h + b->h0, w0 = s.j0 * c->step_w + b->w0;
    int64_t top = max64(0, h0), rows = min64(c->sh, h0 + b->src_rows) - top;
    int64_t left = max64(0, w0), cols = min64(c->sw, w0 + b->src_cols) - left;
    if (rows <= 0 || cols <= 0) return;
    ahead->base = job->source + s.image * c->s_stride[0] + s.group * c->sc * c->s_stride[1] + top * c->s_stride[2] +
                  left * c->s_stride[3];
    int64_t item = (int64_t)sizeof(elem);
    if (b->channels_last) {
        ahead->outer = rows, ahead->outer_stride = c->s_stride[2];
        ahead->inner = cols, ahead->inner_stride = c->s_stride[3], ahead->bytes = c->sc * item;
        if (c->s_stride[3] == c->sc && c->sc < LANES) ahead->inner = 1, ahead->bytes *= cols;
    } else if (c->s_stride[3] == 1) {
        ahead->outer = c->sc, ahead->outer_stride = c->s_stride[1];
        ahead->inner = rows, ahead->inner_stride = c->s_stride[2], ahead->bytes = cols * item;
    }
    ahead_pace(ahead, blocks * tile_calls(job, job->phases, job->taps, b->width / LANES, pixels));
}

/* While one block of channels is computed the place it goes to comes nearer. */
static void dest_ahead(const struct job *job, const struct taps *taps, const struct finish *out, int64_t pixels,
                       struct ahead *ahead) {
    int64_t item = (int64_t)sizeof(elem);
    ahead->base = out->dest;
    ahead->outer = ahead->inner = 0;
    if (out->d_c == 1 && !out->stream) {
        ahead->outer = out->rows, ahead->outer_stride = out->d_h;
        ahead->inner = out->cols, ahead->inner_stride = out->d_w, ahead->bytes = out->lanes * item;
    } else if (out->d_c != 1 && out->d_w > 0 && out->d_w <= 4) {
        ahead->outer = out->lanes, ahead->outer_stride = out->d_c;
        ahead->inner = out->rows, ahead->inner_stride = out->d_h, ahead->bytes = out->cols * out->d_w * item;
        if (out->d_h == out->cols * out->d_w) ahead->inner = 1, ahead->bytes *= out->rows;
    }
    ahead_pace(ahead, tile_calls(job, job->across, taps, out->width / LANES, pixels));
}

/* Where one phase and block of channels of a strip's first image goes. */
static struct finish destination(const struct job *job, int64_t f, const struct strip *s, int64_t block, const struct worker *w) {
    const struct correlation *c = &job->phase[f];
    const struct blocking *b = &job->b;
    int64_t first = first_vec(b, block) * LANES, width = first_vec(b, block + 1) * LANES - first;
    int64_t channel = s->group * c->dc + first;
    return (struct finish){
        .acc = w->acc + f % job->across * (b->images * b->pixels + TILE_ROWS_1) * b->width,
        .bias = job->bias ? job->bias + channel : NULL,
        .dest = job->dest + c->d_offset + s->image * c->d_stride[0] + channel * c->d_stride[1] + s->i0 * c->d_stride[2] +
                s->j0 * c->d_stride[3],
        .rows = min64(s->rows, c->dh - s->i0), .cols = min64(s->cols, c->dw - s->j0), .acc_cols = s->cols,
        .lanes = min64(width, c->dc - first), .width = width,
        .d_c = c->d_stride[1], .d_h = c->d_stride[2], .d_w = c->d_stride[3], .relu = c->relu, .stream = b->stream};
}

/* Whether tiles go there one by one: they are complete, and their pixels, whatever the rows, are evenly spaced. */
static int at_once(const struct job *job, const struct strip *s, const struct taps *taps, const struct finish *out) {
    if (s->images > 1 || job->phase[0].im2col || taps->chunk_channels < job->phase[0].sc) return 0;
    return out->d_c == 1 && out->acc_cols == out->cols && (out->rows == 1 || out->d_h == out->cols * out->d_w);
}

/* One image of a strip: the phases that share rows, one block of channels. */
static void finish_image(const struct job *job, int64_t f, const struct strip *s, int64_t block, int64_t image,
                         const struct worker *w) {
    int64_t pixels = image * s->rows * s->cols;
    for (int64_t a = 0; a < job->across; a++) {
        struct finish out = destination(job, f + a, s, block, w);
        if (at_once(job, s, &job->taps[f + a], &out)) continue;
        out.acc += pixels * out.width, out.dest += image * job->phase[f].d_stride[0];
        if (job->across == 2 && out.d_w == 2 && out.d_c != 1) {
            struct finish odd = destination(job, f + 1, s, block, w);
            NAME(finish_pair)(&out, odd.acc + pixels * out.width, odd.cols);
            return;
        }
        NAME(finish)(&out);
    }
}

/* The phases f, f + 1, ... that share rows, one block of channels: products, then out. */
static void phases_of_rows(const struct job *job, int64_t f, const struct strip *s, int64_t block, const elem *source,
                           struct worker *w) {
    const struct blocking *b = &job->b;
    int64_t vecs = first_vec(b, block + 1) - first_vec(b, block), im2col = job->phase[f].im2col;
    struct finish out = destination(job, f, s, block, w);
    if (out.rows <= 0) return;
    int64_t pixels = ((s->images - 1) * s->rows + out.rows) * s->cols;
    dest_ahead(job, &job->taps[f], &out, pixels, &w->dest_ahead);
    for (int64_t a = 0; a < job->across; a++) {
        const struct taps *taps = &job->taps[f + a];
        const elem *packed = taps->packed + taps->k * (s->group * b->vecs + first_vec(b, block)) * LANES;
        out = destination(job, f + a, s, block, w);
        if (im2col)
            multiply_im2col(job, taps, w, source, packed, vecs, pixels, (elem *)out.acc);
        else
            multiply_direct(job, taps, w, source, packed, vecs, pixels, (elem *)out.acc,
                            at_once(job, s, taps, &out) ? &out : NULL);
    }
    for (int64_t m = 0; m < s->images; m++) finish_image(job, f, s, block, m, w);
}

static void strip_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct blocking *b = &job->b;
    struct worker *w = &job->worker[worker];
    int64_t part = task % b->parts, index = task / b->parts;
    struct strip s = find_strip(job, index);
    if (s.rows <= 0 || s.cols <= 0) return; /* equal strips can cover the plane before the last one */

    const elem *source = strip_source(job, &s, w, index);
    place_pixels(job, &s, w->pixel);
    int64_t begin = part * b->blocks / b->parts, end = (part + 1) * b->blocks / b->parts;
    source_ahead(job, (task + 1) / b->parts, end - begin, s.images * s.rows * s.cols, w);
    for (int64_t block = begin; block < end; block++)
        for (int64_t f = 0; f < job->phases; f += job->across) phases_of_rows(job, f, &s, block, source, w);
    if (b->stream) vec_stream_end();
}

void NAME(correlate)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source, const elem *weight,
                     const elem *packed, const elem *bias, elem *dest, void *workspace) {
    struct job job = {.phases = phases, .across = across, .phase = phase, .b = block_up(phases, phase), .source = source,
                      .bias = bias, .dest = dest};
    struct arena arena = {.base = workspace};
    carve(&job, &arena, packed != NULL);
    if (!packed) {
        pack(phases, phase, &job.b, weight, job.own_packed);
        packed = job.own_packed;
    }
    for (int64_t f = 0; f < phases; f++) {
        fill_offsets(&job, f);
        job.taps[f].packed = packed;
        packed += packed_size(&phase[f], &job.b);
    }
    int64_t strips = ceil_div(phase[0].n, job.b.images) * phase[0].g * job.b.strips_h * job.b.strips_w;
    engine_parallel(phase[0].threads, strips * job.b.parts, strip_task, &job);
}
