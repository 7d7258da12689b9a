/* The gradient of the weights, with the register tile's roles turned round: rows are weight taps, the sum runs over output
   pixels, and vectors lie along output channels of the gradient (weight_tile.h), which is transposed to [pixel][channel]
   where it does not lie so.  Pixels for which a tap falls into the padding are left out, so the input is read in place.

   Output pixels are cut into strips of whole lines; every sum runs over strips in order, each summed from zero.  Where there
   are many taps, gradients are transposed for all of them, a batch of strips at a time, and tasks share the weights.  Where
   there are few, tasks share the strips, in a fixed number of slices whose sums are added at the end, and transpose for
   themselves.  Either way the order is that of one image after the other, whatever the number of threads. */
#include "conv2d_weight.h"
#include "arena.h"
#include "range.h"
#include "thread.h"
#include "tile.h"
#include "transpose.h"
#include "weight_tile.h"

enum {
    STRIP_PIXELS = 256,
    MANY_TAPS = 512,
    BATCH_BYTES = 2 << 20, /* of transposed gradients */
    RANGE_ROWS = 96,       /* taps of a task, about, where tasks share the weights */
    TASKS = 16,            /* wanted at least */
};

struct blocking {
    int64_t ic, oc, taps;               /* channels of a group */
    int64_t vecs, width, blocks;        /* output channels */
    int64_t lines, cols, segments;      /* a strip: lines of so many pixels, so many of them in a row of the output */
    int64_t strips, per_image;
    int64_t slices, batch;              /* strips taken in at a time */
    int64_t range, ranges;              /* input channels of a task */
    int ahead;                          /* gradients are transposed ahead of the tasks that share them, */
    int x_ahead;                        /* and the input's channels are gathered */
    int in_place;                       /* gradients are read where they are */
    int64_t step, pixels;               /* from pixel to pixel of the gradient as tiles see it; of a whole strip */
    int64_t x_stride[4], x_rows;        /* of the input as tiles see it, and the rows of a batch, if gathered */
};

/* What is to be done with a strip: neighbouring taps that see the same pixels make a run; the last one has no taps. */
struct plan {
    struct run {
        int64_t tap, taps, pixel, pixels;
    } *run;
    struct pixel *pixel;
};

struct job {
    const engine_conv2d *p;
    struct blocking b;
    const elem *dy, *x;
    elem *dweight;
    int64_t first, strips; /* of the batch at hand */
    elem *acc;             /* [slice][group][block][range][tap][channel of the range][width] */
    elem *ahead;           /* [strip of the batch][group][block][pixel][width] */
    elem *x_ahead;         /* [group][range][row of the batch][column][range] */
    int64_t row, rows;     /* the rows of the input that the batch needs, counted through all images */
    struct plan *plan;     /* of every strip of the batch */
    struct worker {
        elem *dy;
        int64_t *row;
        struct plan plan;
    } *worker;
};

static struct blocking block_up(const engine_conv2d *p) {
    struct blocking b = {.ic = p->ic / p->g, .oc = p->oc / p->g, .taps = p->kh * p->kw};
    int64_t vectors = ceil_div(b.oc, LANES);
    b.blocks = ceil_div(vectors, TILE_VECS);
    b.vecs = ceil_div(vectors, b.blocks);
    b.width = b.vecs * LANES;

    b.cols = ceil_div(p->ow, ceil_div(p->ow, STRIP_PIXELS));
    b.segments = ceil_div(p->ow, b.cols);
    b.lines = max64(1, STRIP_PIXELS / b.cols);
    b.strips = ceil_div(p->n * p->oh, b.lines) * b.segments;
    b.per_image = ceil_div(p->oh, b.lines) * b.segments;
    b.pixels = min64(b.lines, p->n * p->oh) * b.cols;

    int many = b.ic * b.taps >= MANY_TAPS;
    int64_t blocks = p->g * b.blocks, high = tile_rows(b.vecs);
    b.ranges = many ? ceil_div(b.ic, max64(1, RANGE_ROWS / b.taps / high) * high) : 1;
    b.range = ceil_div(b.ic, b.ranges);
    b.slices = many ? 1 : max64(1, min64(ceil_div(TASKS, blocks), b.per_image));
    b.ahead = many;
    b.x_ahead = many && p->x_stride[1] == 1 && b.ranges > 1;
    b.in_place = !many && p->y_stride[1] == 1 && b.oc % LANES == 0;
    b.step = b.in_place ? p->y_stride[3] : b.width;
    memcpy(b.x_stride, p->x_stride, sizeof b.x_stride);

    int64_t x_row = p->iw * p->g * b.ranges * b.range, strip_x = b.x_ahead ? b.lines * p->stride_h * x_row : 0;
    int64_t strip_size = (blocks * b.pixels * b.width + strip_x) * (int64_t)sizeof(elem);
    b.batch = many ? max64(1, min64(b.strips, BATCH_BYTES / max64(1, strip_size))) : b.strips;
    if (b.x_ahead) {
        int64_t steps = (b.batch / b.segments + 1) * b.lines - 1, images = ceil_div(steps, p->oh);
        b.x_rows = steps * p->stride_h + images * max64(0, p->ih - p->oh * p->stride_h) + (p->kh - 1) * p->dil_h + 1;
        b.x_rows = min64(b.x_rows, p->n * p->ih);
        b.x_stride[3] = b.range, b.x_stride[2] = p->iw * b.range, b.x_stride[0] = p->ih * b.x_stride[2];
    }
    return b;
}

static int64_t acc_size(const struct blocking *b) { return b->range * b->taps * b->width; }

static struct plan carve_plan(const struct blocking *b, struct arena *arena) {
    return (struct plan){.run = ARENA_TAKE(arena, struct run, b->taps + 1),
                         .pixel = ARENA_TAKE(arena, struct pixel, b->taps * b->pixels)};
}

static void carve(struct job *job, struct arena *arena) {
    const engine_conv2d *p = job->p;
    const struct blocking *b = &job->b;
    int64_t blocks = p->g * b->blocks, gradient = b->in_place ? 0 : b->pixels * b->width;
    job->acc = ARENA_TAKE(arena, elem, b->slices * blocks * b->ranges * acc_size(b));
    if (b->ahead) {
        job->ahead = ARENA_TAKE(arena, elem, b->batch * blocks * gradient);
        job->plan = ARENA_TAKE(arena, struct plan, b->batch);
        for (int64_t i = 0; i < b->batch; i++) {
            struct plan plan = carve_plan(b, arena);
            if (arena->base) job->plan[i] = plan;
        }
    }
    if (b->x_ahead) job->x_ahead = ARENA_TAKE(arena, elem, p->g * b->ranges * b->x_rows * b->x_stride[2]);
    job->worker = ARENA_TAKE(arena, struct worker, p->threads);
    for (int64_t t = 0; t < p->threads; t++) {
        struct worker w = {
            .dy = b->ahead ? NULL : ARENA_TAKE(arena, elem, gradient),
            .row = ARENA_TAKE(arena, int64_t, b->range * b->taps),
        };
        if (!b->ahead) w.plan = carve_plan(b, arena);
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(conv2d_weight_workspace)(const engine_conv2d *p) {
    struct job job = {.p = p, .b = block_up(p)};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* ---- strips ---- */

/* Lines [line, line + lines) of the output, counted through all images, and columns [j0, j0 + cols). */
struct strip {
    int64_t line, lines, j0, cols;
};

static struct strip strip_at(const struct job *job, int64_t index) {
    const struct blocking *b = &job->b;
    struct strip s = {.line = index / b->segments * b->lines, .j0 = index % b->segments * b->cols};
    s.lines = min64(b->lines, job->p->n * job->p->oh - s.line);
    s.cols = min64(b->cols, job->p->ow - s.j0);
    return s;
}

static int64_t block_vecs(const struct blocking *b, int64_t block) {
    return ceil_div(min64(b->width, b->oc - block * b->width), LANES);
}

/* dy[channel][pixel of the strip] -> [pixel][width], zero in the lanes past the last channel */
static void transpose_strip(const struct job *job, const struct strip *strip, int64_t group, int64_t block, elem *to) {
    const engine_conv2d *p = job->p;
    const int64_t *s = p->y_stride;
    int64_t width = job->b.width, lanes = min64(width, job->b.oc - block * width);
    const elem *dy = job->dy + (group * job->b.oc + block * width) * s[1] + strip->j0 * s[3];
    for (int64_t i = 0, run; i < strip->lines; i += run) {
        int64_t image = (strip->line + i) / p->oh, row = (strip->line + i) % p->oh;
        run = s[2] == strip->cols * s[3] ? min64(p->oh - row, strip->lines - i) : 1;
        const elem *from = dy + image * s[0] + row * s[2];
        elem *pixel = to + i * strip->cols * width;
        if (s[3] == 1) {
            NAME(transpose_whole)(lanes, run * strip->cols, from, s[1], pixel, width);
            continue;
        }
        for (int64_t j = 0; j < run * strip->cols; j++, from += s[3], pixel += width) {
            for (int64_t l = 0; l < lanes; l++) pixel[l] = from[l * s[1]];
            for (int64_t l = lanes; l < width; l++) pixel[l] = 0;
        }
    }
}

/* One row of the input -> [range][column][range].  Whole vectors are copied: the next pixel overwrites what is too much. */
static void gather_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    const engine_conv2d *p = job->p;
    const struct blocking *b = &job->b;
    int64_t group = task % p->g, i = task / p->g, image = (job->row + i) / p->ih, h = (job->row + i) % p->ih;
    const elem *x = job->x + image * p->x_stride[0] + group * b->ic + h * p->x_stride[2];
    for (int64_t range = 0; range < b->ranges; range++) {
        int64_t c0 = range * b->ic / b->ranges, channels = (range + 1) * b->ic / b->ranges - c0;
        const elem *from = x + c0;
        elem *to = job->x_ahead + ((group * b->ranges + range) * b->x_rows + i) * b->x_stride[2];
        for (int64_t j = 0; j < p->iw - LANES; j++, from += p->x_stride[3], to += b->range)
            for (int64_t c = 0; c < channels; c += LANES) vec_store(to + c, vec_load(from + c));
        for (int64_t j = max64(0, p->iw - LANES); j < p->iw; j++, from += p->x_stride[3], to += b->range)
            memcpy(to, from, (size_t)channels * sizeof(elem));
    }
}

/* ---- sums ---- */

/* Whether that row of taps lies inside the input on every line of the strip. */
static int sees_all_lines(const engine_conv2d *p, const struct strip *strip, int64_t r) {
    int64_t top = strip->line % p->oh, bottom = top + strip->lines - 1, tap = r * p->dil_h - p->pad_t;
    if (bottom >= p->oh) top = 0, bottom = p->oh - 1;
    return top * p->stride_h + tap >= 0 && bottom * p->stride_h + tap < p->ih;
}

/* The pixels of a strip, columns [begin, end), for which row r of the taps lies inside the input. */
static int64_t list_pixels(const struct job *job, const struct strip *strip, int64_t r, int64_t begin, int64_t end,
                           struct pixel *pixel) {
    const engine_conv2d *p = job->p;
    const struct blocking *b = &job->b;
    int64_t image = strip->line / p->oh, i = strip->line % p->oh, count = 0, tap = r * p->dil_h - p->pad_t;
    int64_t step = p->stride_w * b->x_stride[3];
    for (int64_t line = 0; line < strip->lines; line++) {
        if (i * p->stride_h + tap >= 0 && i * p->stride_h + tap < p->ih) {
            int64_t x = image * b->x_stride[0] + i * p->stride_h * b->x_stride[2] + begin * step;
            int64_t dy = b->in_place ? image * p->y_stride[0] + i * p->y_stride[2] + begin * b->step
                                     : (line * strip->cols + begin - strip->j0) * b->step;
            for (int64_t j = 0; j < end - begin; j++) pixel[count + j] = (struct pixel){x + j * step, dy + j * b->step};
            count += end - begin;
        }
        if (++i == p->oh) i = 0, image++;
    }
    return count;
}

struct sight {
    int64_t r, begin, end; /* the row of taps, -1 if it sees all lines, and columns */
};

static struct sight sight_of(const engine_conv2d *p, const struct strip *strip, int64_t tap) {
    struct sight s = {.r = sees_all_lines(p, strip, tap / p->kw) ? -1 : tap / p->kw};
    int64_t first = strip->j0 * p->stride_w + tap % p->kw * p->dil_w - p->pad_l;
    range_inside(first, p->stride_w, strip->cols, p->iw, &s.begin, &s.end);
    s.begin += strip->j0, s.end += strip->j0;
    return s;
}

/* Cuts the taps into runs of neighbours that see the same pixels. */
static void plan_strip(const struct job *job, const struct strip *strip, const struct plan *plan) {
    const engine_conv2d *p = job->p;
    int64_t runs = 0, listed = 0;
    for (int64_t tap = 0, next; tap < job->b.taps; tap = next) {
        struct sight s = sight_of(p, strip, tap);
        for (next = tap + 1; next < job->b.taps; next++) {
            struct sight other = sight_of(p, strip, next);
            if (other.r != s.r || other.begin != s.begin || other.end != s.end) break;
        }
        int64_t pixels = list_pixels(job, strip, tap / p->kw, s.begin, s.end, plan->pixel + listed);
        if (pixels == 0) continue;
        plan->run[runs++] = (struct run){.tap = tap, .taps = next - tap, .pixel = listed, .pixels = pixels};
        listed += pixels;
    }
    plan->run[runs].taps = 0;
}

static void ahead_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct blocking *b = &job->b;
    int64_t block = task % b->blocks, group = task / b->blocks % job->p->g, index = task / b->blocks / job->p->g;
    struct strip strip = strip_at(job, job->first + index);
    transpose_strip(job, &strip, group, block, job->ahead + task * b->pixels * b->width);
    if (block == 0 && group == 0) plan_strip(job, &strip, &job->plan[index]);
}

struct place {
    int64_t slice, group, block, range, c0, channels;
};

static struct place place_of(const struct job *job, int64_t task) {
    const struct blocking *b = &job->b;
    struct place at = {.range = task % b->ranges, .block = task / b->ranges % b->blocks};
    at.group = task / b->ranges / b->blocks % job->p->g;
    at.slice = task / b->ranges / b->blocks / job->p->g;
    at.c0 = at.range * b->ic / b->ranges;
    at.channels = (at.range + 1) * b->ic / b->ranges - at.c0;
    return at;
}

static void weight_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const engine_conv2d *p = job->p;
    const struct blocking *b = &job->b;
    const struct worker *w = &job->worker[worker];
    struct place at = place_of(job, task);
    int64_t vecs = block_vecs(b, at.block), together = ceil_div(b->per_image, b->slices);
    elem *acc = job->acc + task * acc_size(b);
    if (job->first == 0) memset(acc, 0, (size_t)acc_size(b) * sizeof(elem));

    for (int64_t tap = 0, i = 0; tap < b->taps; tap++)
        for (int64_t c = 0; c < at.channels; c++)
            w->row[i++] = c * b->x_stride[1] + (tap / p->kw * p->dil_h - p->pad_t) * b->x_stride[2] +
                          (tap % p->kw * p->dil_w - p->pad_l) * b->x_stride[3];
    const elem *x = job->x + (at.group * b->ic + at.c0) * p->x_stride[1];
    if (b->x_ahead) x = job->x_ahead + ((at.group * b->ranges + at.range) * b->x_rows - job->row) * b->x_stride[2];
    for (int64_t i = 0; i < job->strips; i++) {
        if ((job->first + i) / together % b->slices != at.slice) continue;
        struct strip strip = strip_at(job, job->first + i);
        const elem *dy = w->dy;
        if (b->in_place)
            dy = job->dy + (at.group * b->oc + at.block * b->width) * p->y_stride[1];
        else if (b->ahead)
            dy = job->ahead + ((i * p->g + at.group) * b->blocks + at.block) * b->pixels * b->width;
        else
            transpose_strip(job, &strip, at.group, at.block, w->dy);
        const struct plan *plan = b->ahead ? &job->plan[i] : &w->plan;
        if (!b->ahead) plan_strip(job, &strip, plan);
        for (const struct run *run = plan->run; run->taps > 0; run++)
            NAME(weight_tiles)(run->taps * at.channels, vecs, run->pixels, plan->pixel + run->pixel, x,
                               w->row + run->tap * at.channels, dy, acc + run->tap * at.channels * vecs * LANES);
    }
}

/* ---- results ---- */

/* Adds the slices in order and writes [tap][channel][width] out as dweight[width][channel][tap]. */
static void finish_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct blocking *b = &job->b;
    struct place at = place_of(job, task);
    int64_t lanes = min64(b->width, b->oc - at.block * b->width), width = block_vecs(b, at.block) * LANES;
    int64_t rows = at.channels * b->taps, slice_size = job->p->g * b->blocks * b->ranges * acc_size(b);
    elem *acc = job->acc + task * acc_size(b);
    for (int64_t slice = 1; slice < b->slices; slice++)
        for (int64_t i = 0; i < rows * width; i++) acc[i] += acc[slice * slice_size + i];

    const int64_t *s = job->p->weight_stride;
    elem *to = job->dweight + (at.group * b->oc + at.block * b->width) * s[0] + at.c0 * s[1];
    int contiguous = s[3] == 1 && s[2] == job->p->kw && s[1] == b->taps;
    for (int64_t i = 0; i < rows; i += LANES) {
        int64_t some = min64(LANES, rows - i);
        for (int64_t l = 0; l < lanes; l += LANES) {
            vec row[LANES];
            for (int64_t j = 0; j < LANES; j++) {
                int64_t k = min64(i + j, rows - 1); /* [channel][tap] */
                row[j] = vec_load(acc + (k % b->taps * at.channels + k / b->taps) * width + l);
            }
            vec_transpose(row);
            for (int64_t j = 0; j < min64(LANES, lanes - l); j++) {
                elem *first = to + (l + j) * s[0];
                if (contiguous && some == LANES) {
                    vec_store(first + i, row[j]);
                    continue;
                }
                elem one[LANES];
                vec_store(one, row[j]);
                for (int64_t k = 0; k < some; k++) {
                    int64_t c = (i + k) / b->taps, tap = (i + k) % b->taps;
                    first[c * s[1] + tap / job->p->kw * s[2] + tap % job->p->kw * s[3]] = one[k];
                }
            }
        }
    }
}

static void gather(struct job *job) {
    const engine_conv2d *p = job->p;
    struct strip first = strip_at(job, job->first), last = strip_at(job, job->first + job->strips - 1);
    int64_t top = first.line % p->oh * p->stride_h - p->pad_t, line = last.line + last.lines - 1;
    int64_t bottom = line % p->oh * p->stride_h - p->pad_t + (p->kh - 1) * p->dil_h + 1;
    job->row = first.line / p->oh * p->ih + max64(0, min64(top, p->ih));
    job->rows = line / p->oh * p->ih + max64(0, min64(bottom, p->ih)) - job->row;
    engine_parallel(p->threads, job->rows * p->g, gather_task, job);
}

void NAME(conv2d_weight)(const engine_conv2d *p, const elem *dy, const elem *x, elem *dweight, void *workspace) {
    struct job job = {.p = p, .b = block_up(p), .dy = dy, .x = x, .dweight = dweight};
    const struct blocking *b = &job.b;
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    int64_t blocks = p->g * b->blocks, tasks = blocks * b->ranges;
    if (b->strips == 0) memset(job.acc, 0, (size_t)(b->slices * tasks * acc_size(b)) * sizeof(elem));
    for (job.first = 0; job.first < b->strips; job.first += b->batch) {
        job.strips = min64(b->batch, b->strips - job.first);
        if (b->ahead) engine_parallel(p->threads, job.strips * blocks, ahead_task, &job);
        if (b->x_ahead) gather(&job);
        engine_parallel(p->threads, b->slices * tasks, weight_task, &job);
    }
    engine_parallel(p->threads, tasks, finish_task, &job);
}
