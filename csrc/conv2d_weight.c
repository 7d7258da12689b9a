/* The gradient of the weights, with the register tile's roles turned round: rows are weight taps, the sum runs over output
   pixels, and vectors lie along output channels of the gradient, transposed to [pixel][channel].  No horizontal sums.

   The work is cut into (slice of the batch, group, block of output channels, range of input channels).  Every task sums
   into memory of its own; slices are added in order at the end.  The cut depends on the problem alone, so the bits do not
   depend on the number of threads. */
#include "conv2d_weight.h"
#include "arena.h"
#include "stage.h"
#include "thread.h"
#include "tile.h"
#include "transpose.h"

enum {
    STRIP_PIXELS = 128,       /* the gradient of one strip and block stays in L1 or close to it */
    STRIP_BYTES = 128 * 1024, /* of the staged input */
    RANGE_ROWS = 192,         /* taps of one range: enough to pay for transposing the gradient */
    TASKS = 16,               /* wanted at least */
};

struct blocking {
    int64_t taps, vecs, width, blocks;         /* output channels */
    int64_t range, ranges, range_rows;         /* input channels of a task, and its taps rounded up to whole tiles */
    int64_t rows, cols, strips_h, strips_w;    /* strips of output pixels */
    int64_t slices, per_slice;                 /* consecutive (image, strip) pairs */
    int staged, channels_last;
    int64_t src_rows, src_cols, pitch_c, pitch_h, pitch_w, strip_size;
};

struct job {
    const engine_conv2d *p;
    struct blocking b;
    const elem *dy, *x;
    elem *dweight;
    elem *acc; /* [slice][group][block][range][range_rows][width] */
    struct worker {
        elem *strip, *dy;
        int64_t *pixel, *tap;
    } *worker;
};

static struct blocking block_up(const engine_conv2d *p) {
    struct blocking b = {.taps = p->kh * p->kw};
    int64_t ic = p->ic / p->g, oc = p->oc / p->g;
    b.vecs = min64(TILE_VECS, ceil_div(oc, LANES));
    b.width = b.vecs * LANES;
    b.blocks = ceil_div(oc, b.width);

    /* ranges: long enough to share one transposed gradient, short enough for TASKS tasks */
    int64_t longest = max64(1, RANGE_ROWS / b.taps), enough = max64(1, ic * b.blocks * p->g / TASKS);
    int64_t shortest = max64(1, 2 * tile_rows(b.vecs) / b.taps);
    b.range = min64(ic, min64(longest, max64(shortest, enough)));
    b.ranges = ceil_div(ic, b.range);
    b.range_rows = ceil_div(b.range * b.taps, tile_rows(1)) * tile_rows(1) + TILE_ROWS_1;

    int64_t span_h = (p->kh - 1) * p->dil_h + 1, span_w = (p->kw - 1) * p->dil_w + 1;
    b.staged = p->pad_t > 0 || p->pad_l > 0 || (p->oh - 1) * p->stride_h + span_h > p->ih ||
               (p->ow - 1) * p->stride_w + span_w > p->iw;
    b.channels_last = p->x_stride[1] == 1 && ic > 1;
    int64_t rows = max64(1, min64(p->oh, STRIP_PIXELS / p->ow)), cols = min64(p->ow, STRIP_PIXELS);
    if (b.staged) {
        int64_t room = STRIP_BYTES / (int64_t)sizeof(elem);
        while (rows > 1 && b.range * ((rows - 1) * p->stride_h + span_h) * ((cols - 1) * p->stride_w + span_w) > room) rows--;
    }
    b.strips_h = ceil_div(p->oh, rows), b.rows = ceil_div(p->oh, b.strips_h);
    b.strips_w = ceil_div(p->ow, cols), b.cols = ceil_div(p->ow, b.strips_w);
    b.src_rows = (b.rows - 1) * p->stride_h + span_h;
    b.src_cols = (b.cols - 1) * p->stride_w + span_w;
    if (!b.staged) {
        b.pitch_c = p->x_stride[1], b.pitch_h = p->x_stride[2], b.pitch_w = p->x_stride[3];
    } else if (b.channels_last) {
        b.pitch_c = 1, b.pitch_w = max64(2, b.range), b.pitch_h = b.src_cols * b.pitch_w;
        b.strip_size = b.src_rows * b.pitch_h;
    } else {
        b.pitch_w = 1, b.pitch_h = b.src_cols, b.pitch_c = b.src_rows * b.pitch_h;
        b.strip_size = b.range * b.pitch_c;
    }

    int64_t strips = p->n * b.strips_h * b.strips_w, tasks = p->g * b.blocks * b.ranges;
    b.slices = max64(1, min64(strips, TASKS / tasks));
    b.per_slice = ceil_div(strips, b.slices);
    return b;
}

static void carve(struct job *job, struct arena *arena) {
    const struct blocking *b = &job->b;
    int64_t pixels = b->rows * b->cols, threads = job->p->threads;
    job->acc = ARENA_TAKE(arena, elem, b->slices * job->p->g * b->blocks * b->ranges * b->range_rows * b->width);
    job->worker = ARENA_TAKE(arena, struct worker, threads);
    for (int64_t t = 0; t < threads; t++) {
        struct worker w = {
            .strip = b->staged ? ARENA_TAKE(arena, elem, b->strip_size) : NULL,
            .dy = ARENA_TAKE(arena, elem, pixels * b->width),
            .pixel = ARENA_TAKE(arena, int64_t, pixels),
            .tap = ARENA_TAKE(arena, int64_t, b->range_rows),
        };
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(conv2d_weight_workspace)(const engine_conv2d *p) {
    struct job job = {.p = p, .b = block_up(p)};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* dy[channel][pixel of the strip] -> [pixel][width], zero in the lanes past the last channel */
static void stage_gradient(const engine_conv2d *p, const elem *dy, int64_t lanes, int64_t width, int64_t rows, int64_t cols,
                           elem *to) {
    const int64_t *s = p->y_stride;
    if (lanes < width) memset(to, 0, (size_t)(rows * cols * width) * sizeof(elem));
    if (s[3] == 1) {
        int one_run = s[2] == cols;
        int64_t run = one_run ? rows * cols : cols;
        for (int64_t i = 0; i < (one_run ? 1 : rows); i++)
            NAME(transpose)(lanes, run, dy + i * s[2], s[1], to + i * run * width, width);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const elem *from = dy + i * s[2] + j * s[3];
            elem *pixel = to + (i * cols + j) * width;
            if (s[1] == 1)
                memcpy(pixel, from, (size_t)lanes * sizeof(elem));
            else
                for (int64_t l = 0; l < lanes; l++) pixel[l] = from[l * s[1]];
        }
}

static void weight_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const engine_conv2d *p = job->p;
    const struct blocking *b = &job->b;
    const struct worker *w = &job->worker[worker];
    int64_t range = task % b->ranges, block = task / b->ranges % b->blocks;
    int64_t group = task / b->ranges / b->blocks % p->g, slice = task / b->ranges / b->blocks / p->g;
    int64_t ic = p->ic / p->g, oc = p->oc / p->g, strips = p->n * b->strips_h * b->strips_w;
    int64_t c0 = range * b->range, channels = min64(b->range, ic - c0);
    int64_t lanes = min64(b->width, oc - block * b->width), vecs = ceil_div(lanes, LANES), width = vecs * LANES;
    int64_t tile_height = tile_rows(vecs), taps = channels * b->taps;
    tile_function *tile = NAME(tile)(vecs);
    elem *acc = job->acc + task * b->range_rows * b->width;

    for (int64_t i = 0; i < taps + tile_height; i++) { /* the last tile repeats the last tap */
        int64_t tap = min64(i, taps - 1), c = tap / b->taps, r = tap % b->taps / p->kw, s = tap % p->kw;
        w->tap[i] = c * b->pitch_c + r * p->dil_h * b->pitch_h + s * p->dil_w * b->pitch_w;
    }
    int add = 0;
    for (int64_t strip = slice * b->per_slice; strip < min64(strips, (slice + 1) * b->per_slice); strip++) {
        int64_t j0 = strip % b->strips_w * b->cols, i0 = strip / b->strips_w % b->strips_h * b->rows;
        int64_t image = strip / b->strips_w / b->strips_h;
        int64_t rows = min64(b->rows, p->oh - i0), cols = min64(b->cols, p->ow - j0);
        if (rows <= 0 || cols <= 0) continue;

        int64_t h0 = i0 * p->stride_h - p->pad_t, w0 = j0 * p->stride_w - p->pad_l;
        const elem *source = job->x + image * p->x_stride[0] + (group * ic + c0) * p->x_stride[1];
        if (b->staged) {
            struct window window = {.channels = channels, .sh = p->ih, .sw = p->iw, .h0 = h0, .w0 = w0,
                                    .rows = b->src_rows, .cols = b->src_cols, .step_h = 1, .step_w = 1,
                                    .stride_c = p->x_stride[1], .stride_h = p->x_stride[2], .stride_w = p->x_stride[3],
                                    .pitch_c = b->pitch_c, .pitch_h = b->pitch_h, .pitch_w = b->pitch_w};
            NAME(stage)(&window, source, w->strip);
            source = w->strip;
        } else {
            source += h0 * p->x_stride[2] + w0 * p->x_stride[3];
        }
        const elem *dy = job->dy + image * p->y_stride[0] + (group * oc + block * b->width) * p->y_stride[1] +
                         i0 * p->y_stride[2] + j0 * p->y_stride[3];
        stage_gradient(p, dy, lanes, width, rows, cols, w->dy);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++)
                w->pixel[i * cols + j] = i * p->stride_h * b->pitch_h + j * p->stride_w * b->pitch_w;

        for (int64_t t = 0; t < taps; t += tile_height)
            tile(tile_height, rows * cols, w->pixel, w->dy, source, w->tap + t, acc + t * width, add);
        add = 1;
    }
    if (!add) memset(acc, 0, (size_t)(taps * width) * sizeof(elem));
}

/* Adds the slices in order and writes [tap][width] out as dweight[channel][tap]. */
static void finish_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    struct job *job = context;
    const engine_conv2d *p = job->p;
    const struct blocking *b = &job->b;
    int64_t range = task % b->ranges, block = task / b->ranges % b->blocks, group = task / b->ranges / b->blocks;
    int64_t ic = p->ic / p->g, oc = p->oc / p->g;
    int64_t c0 = range * b->range, channels = min64(b->range, ic - c0), taps = channels * b->taps;
    int64_t lanes = min64(b->width, oc - block * b->width), width = ceil_div(lanes, LANES) * LANES;
    int64_t per_slice = p->g * b->blocks * b->ranges * b->range_rows * b->width;
    elem *acc = job->acc + task * b->range_rows * b->width;
    for (int64_t slice = 1; slice < b->slices; slice++)
        for (int64_t i = 0; i < taps * width; i++) acc[i] += acc[slice * per_slice + i];

    const int64_t *s = p->weight_stride;
    elem *to = job->dweight + (group * oc + block * b->width) * s[0] + c0 * s[1];
    if (s[3] == 1 && s[2] == p->kw && s[1] == b->taps) {
        NAME(transpose)(taps, lanes, acc, width, to, s[0]);
        return;
    }
    for (int64_t t = 0; t < taps; t++)
        for (int64_t l = 0; l < lanes; l++)
            to[l * s[0] + t / b->taps * s[1] + t % b->taps / p->kw * s[2] + t % p->kw * s[3]] = acc[t * width + l];
}

void NAME(conv2d_weight)(const engine_conv2d *p, const elem *dy, const elem *x, elem *dweight, void *workspace) {
    struct job job = {.p = p, .b = block_up(p), .dy = dy, .x = x, .dweight = dweight};
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    int64_t tasks = p->g * job.b.blocks * job.b.ranges;
    engine_parallel(p->threads, job.b.slices * tasks, weight_task, &job);
    engine_parallel(p->threads, tasks, finish_task, &job);
}
