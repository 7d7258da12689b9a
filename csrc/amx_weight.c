/* Sums over pixels: rows of the tiles are channels of dy, columns channels of x. A pixel of x at a tap is the pixel so
   many positions further on, a whole number of lines, if both operands number their positions alike: with the gaps
   between rows that x has, where dy is zero. With one tap, where nothing shifts, x may be the rows and dy the columns.
   Where x has few channels every channel at every tap is a column by itself, and a strip of x is copied with its
   border.

   The work is cut into (slice of the strips, group, range of the rows' channels, range of the columns'). Every task
   splits its own operands, a strip at a time, and sums into memory of its own; slices are added in order at the end.
   The cut depends on the problem alone, so the bits do not depend on the number of threads. */
#include "amx_weight.h"
#include "amx_tile.h"

#if HAVE_AMX

#include "amx_squares.h"
#include "kernels.h"
#include "thread.h"
#include "transpose.h"

enum {
    STEP = 2 * AMX_PAIRS,
    SQUARE = AMX_SIDE * AMX_SIDE,
    MOST_PIXELS = 512,           /* of a strip */
    MOST_PIXELS_OF_ONE_TAP = 256,
    MOST_PIXELS_GATHERED = 1024, /* rows of dy that are read from memory at once are longer */
    STAGED_BYTES = 800 * 1024,   /* of a strip, in parts: processors with AMX have 2 MiB of L2 a core */
    SUM_BYTES = 640 * 1024,      /* of a task */
    RANGE = 256,                 /* channels of a task */
    RANGE_OF_TAPS = 64,          /* of x, if there are several taps */
    TASKS = 16,                  /* wanted at least */
    FEWEST_WEIGHTS = 64 * 128,   /* that pay for splitting */
    FEWEST_PIXELS = 48,
    FEWEST_ROWS_GATHERED = 64,
    FEWEST_PIXELS_GATHERED = 256,
};

/* The channels of one operand. */
struct side {
    struct amx_operand_of_pixels o;
    const elem *data;
    int64_t channels, range, ranges, blocks; /* blocks of AMX_SIDE in a range */
    int64_t stride_weight, group;            /* from channel to channel of the gradient, from group to group of data */
    int64_t *offset;                         /* of every channel, if they do not lie together */
};

struct job {
    struct correlation c;
    const struct correlation *whole;
    int64_t taps;
    int gathers;                               /* taps are columns; then c has one */
    int64_t window_h, window_w;                /* of x, in every strip */
    struct side row, col;
    int swapped;                               /* rows are x */
    int64_t images, lines, pixels;             /* of a strip */
    int64_t plane;                             /* positions of an image */
    int64_t strips_n, strips_h, strips_w, strips;
    int64_t slices, acc_size;
    int64_t *shift;                            /* of every tap */
    elem *dweight, *acc;                       /* [task][row block][column block][tap][AMX_SIDE][AMX_SIDE] */
    struct worker {
        struct amx_operand_of_pixels row, col; /* placed */
        uint32_t *rows, *cols;                 /* in parts: a block of rows, all columns */
        elem *sum[2], *window;
    } *worker;
};

/* ---- the cut ---------------------------------------------------------------------------------------------------- */

/* A plane whose pixels are all used, evenly spaced, is one long row. */
static struct correlation flattened(const struct correlation *c) {
    struct correlation f = *c;
    int same = c->taps_h == 1 && c->taps_w == 1 && c->step_h == 1 && c->step_w == 1 && c->first_h == 0 &&
               c->first_w == 0 && c->sh == c->dh && c->sw == c->dw;
    if (same && c->s_stride[2] == c->sw * c->s_stride[3] && c->d_stride[2] == c->dw * c->d_stride[3]) {
        f.sw = f.dw = c->sh * c->sw;
        f.sh = f.dh = 1;
    }
    return f;
}

static int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

static void cut_side(struct side *s, int64_t most) {
    s->ranges = ceil_div(s->channels, most);
    s->range = round_up(ceil_div(s->channels, s->ranges), AMX_SIDE);
    s->ranges = ceil_div(s->channels, s->range);
    s->blocks = s->range / AMX_SIDE;
    s->o.tiles = ceil_div(min64(s->range, s->channels), AMX_ROWS);
}

/* Whether there are too few channels of x to fill tiles. */
static int takes_taps_for_columns(const struct correlation *c) {
    int64_t taps = c->taps_h * c->taps_w;
    return taps > 1 && c->sc < AMX_ROWS && c->step_w <= 2;
}

static void cut_channels(struct job *job, struct side *x, struct side *dy) {
    const struct correlation *c = &job->c;
    x->channels = c->sc, x->stride_weight = c->w_sc, x->group = c->sc * c->s_stride[1];
    dy->channels = c->dc, dy->stride_weight = c->w_dc, dy->group = c->dc * c->d_stride[1];
    x->o.last = c->s_stride[1] == 1 && c->sc > 1, dy->o.last = c->d_stride[1] == 1 && c->dc > 1;
    if (job->gathers) x->channels *= job->whole->taps_h * job->whole->taps_w, x->o.last = 0, x->group = 0;
    /* what is transposed: planes as columns, channels that lie together as rows */
    int64_t turned = (x->o.last ? 0 : c->sc) + (dy->o.last ? c->dc : 0);
    job->swapped = !job->gathers && job->taps == 1 && (x->o.last ? c->sc : 0) + (dy->o.last ? 0 : c->dc) < turned;
    job->row = job->swapped ? *x : *dy;
    job->col = job->swapped ? *dy : *x;
    job->col.o.cols = 1, job->col.o.dense = job->taps > 1;

    cut_side(&job->col, job->taps > 1 ? RANGE_OF_TAPS : RANGE);
    int64_t room = SUM_BYTES / (job->taps * job->col.range * (int64_t)sizeof(elem));
    cut_side(&job->row, max64(AMX_SIDE, min64(RANGE, room / AMX_SIDE * AMX_SIDE)));
    job->row.o.tiles = min64(2, job->row.o.tiles); /* one block after the other */
}

/* the grids of strips of so many images, rows and pixels of dy; returns the bytes of their parts */
static int64_t lay_out(struct job *job, struct side *x, struct side *dy, int64_t images, int64_t lines,
                       int64_t pixels) {
    const struct correlation *c = &job->c;
    int64_t reach_h = (c->taps_h - 1) * c->space_h, reach_w = (c->taps_w - 1) * c->space_w;
    struct amx_grid *of_x = &x->o.grid, *of_dy = &dy->o.grid;
    *of_x = (struct amx_grid){
        .phases_h = min64(c->step_h, reach_h + 1), .phases_w = min64(c->step_w, reach_w + 1), .images = images,
        .rows = lines + reach_h / c->step_h, .cols = pixels + reach_w / c->step_w,
        .step_h = c->step_h, .step_w = c->step_w};
    *of_dy = (struct amx_grid){.phases_h = 1, .phases_w = 1, .images = images, .rows = of_x->rows,
                               .cols = of_x->cols, .step_h = 1, .step_w = 1};
    memcpy(of_x->stride, c->s_stride, sizeof c->s_stride);
    memcpy(of_dy->stride, c->d_stride, sizeof c->d_stride);
    if (job->gathers) {
        job->window_h = (lines - 1) * c->step_h + (job->whole->taps_h - 1) * c->space_h + 1;
        job->window_w = (pixels - 1) * c->step_w + (job->whole->taps_w - 1) * c->space_w + 1;
        of_x->stride[0] = c->sc * job->window_h * job->window_w;
        of_x->stride[2] = job->window_w, of_x->stride[3] = 1;
    }
    x->o.twice = c->step_w * of_x->stride[3] == 2, dy->o.twice = c->d_stride[3] == 2;

    job->images = images, job->lines = lines, job->pixels = pixels, job->plane = of_x->rows * of_x->cols;
    int64_t steps = ceil_div((images - 1) * job->plane + (lines - 1) * of_x->cols + pixels, STEP);
    job->row.o.units = steps;
    job->col.o.units = steps;
    if (job->col.o.dense) /* as far as the last step at the last tap */
        job->col.o.units = ceil_div(of_x->phases_h * of_x->phases_w * images * job->plane + STEP, LANES) + 1;
    for (int i = 0; i < 2; i++) {
        struct amx_operand_of_pixels *o = i ? &job->col.o : &job->row.o;
        o->pitch = (o->units | 1) * AMX_TILE_WORDS; /* parts must not meet in one set of a cache */
    }
    return 4 * (amx_operand_words(&job->row.o) + amx_operand_words(&job->col.o));
}

static void cut_strips(struct job *job) {
    const struct correlation *c = &job->c;
    struct side *x = job->swapped ? &job->row : &job->col, *dy = job->swapped ? &job->col : &job->row;
    int64_t reach_h = (c->taps_h - 1) * c->space_h / c->step_h, reach_w = (c->taps_w - 1) * c->space_w / c->step_w;
    int64_t strip = job->gathers ? MOST_PIXELS_GATHERED : job->taps > 1 ? MOST_PIXELS : MOST_PIXELS_OF_ONE_TAP;
    for (;; strip /= 2) {
        int64_t pixels = ceil_div(c->dw, max64(1, ceil_div(c->dw + reach_w, strip)));
        if (pixels < c->dw) pixels = round_up(pixels, STEP);
        int64_t lines = max64(1, min64(c->dh, strip / (pixels + reach_w)));
        lines = ceil_div(c->dh, max64(1, ceil_div(c->dh, lines)));
        int whole = lines == c->dh && pixels == c->dw;
        int64_t images = whole ? max64(1, min64(c->n, strip / ((lines + reach_h) * (pixels + reach_w)))) : 1;
        images = ceil_div(c->n, max64(1, ceil_div(c->n, images)));
        int64_t bytes = lay_out(job, x, dy, max64(1, images), max64(1, lines), max64(1, pixels));
        if (bytes <= STAGED_BYTES || strip <= 4 * STEP) break;
    }
    job->strips_n = ceil_div(c->n, job->images);
    job->strips_h = ceil_div(c->dh, job->lines), job->strips_w = ceil_div(c->dw, job->pixels);
    job->strips = job->strips_n * job->strips_h * job->strips_w;
}

static struct job cut_up(const struct correlation *correlation) {
    struct job job = {.c = flattened(correlation), .whole = correlation};
    job.gathers = takes_taps_for_columns(correlation);
    if (job.gathers) job.c.taps_h = job.c.taps_w = 1;
    job.taps = job.c.taps_h * job.c.taps_w;
    struct side x = {0}, dy = {0};
    cut_channels(&job, &x, &dy);
    cut_strips(&job);
    int64_t tasks = job.c.g * job.row.ranges * job.col.ranges;
    job.slices = max64(1, min64(job.strips, TASKS / tasks));
    job.acc_size = job.row.blocks * job.col.blocks * job.taps * SQUARE;
    return job;
}

static int64_t staged_bytes(const struct correlation *c) {
    struct job job = cut_up(c);
    return 4 * (amx_operand_words(&job.row.o) + amx_operand_words(&job.col.o));
}

static void carve(struct job *job, struct arena *arena) {
    int64_t tasks = job->slices * job->c.g * job->row.ranges * job->col.ranges;
    job->shift = ARENA_TAKE(arena, int64_t, job->taps);
    job->row.offset = ARENA_TAKE(arena, int64_t, job->row.channels);
    job->col.offset = ARENA_TAKE(arena, int64_t, job->col.channels);
    job->row.o.channel = job->row.offset, job->col.o.channel = job->col.offset;
    job->acc = ARENA_TAKE(arena, elem, tasks * job->acc_size);
    job->worker = ARENA_TAKE(arena, struct worker, job->c.threads);
    for (int64_t t = 0; t < job->c.threads; t++) {
        struct worker w = {.row = job->row.o, .col = job->col.o,
                           .rows = ARENA_TAKE(arena, uint32_t, amx_operand_words(&job->row.o)),
                           .cols = ARENA_TAKE(arena, uint32_t, amx_operand_words(&job->col.o)),
                           .sum = {ARENA_TAKE(arena, elem, SQUARE), ARENA_TAKE(arena, elem, SQUARE)}};
        if (job->gathers) w.window = ARENA_TAKE(arena, elem, job->images * job->c.sc * job->window_h * job->window_w);
        amx_take_runs(arena, &w.row);
        amx_take_runs(arena, &w.col);
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(amx_weight_workspace)(const struct correlation *c) {
    struct job job = cut_up(c);
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

int NAME(amx_weight_wins)(const struct correlation *c) {
    if (!level_has_amx()) return 0;
    int64_t cols = c->sc * c->taps_h * c->taps_w, pixels = c->dh * c->dw;
    if (takes_taps_for_columns(c))
        return c->dc >= FEWEST_ROWS_GATHERED && cols >= AMX_ROWS && pixels >= FEWEST_PIXELS_GATHERED;
    if (c->sc < AMX_ROWS || c->dc < AMX_ROWS || c->dc * cols < FEWEST_WEIGHTS || pixels < FEWEST_PIXELS) return 0;
    struct correlation one = *c;
    one.n = 1;
    return staged_bytes(&one) <= 2 * STAGED_BYTES; /* more if taps are far from one another */
}

static void fill_offsets(struct job *job) {
    const struct correlation *c = &job->c;
    const struct amx_grid *g = job->swapped ? &job->row.o.grid : &job->col.o.grid;
    for (int64_t tap = 0; tap < job->taps; tap++) {
        int64_t h = tap / c->taps_w * c->space_h, w = tap % c->taps_w * c->space_w;
        int64_t phase = h % c->step_h * g->phases_w + w % c->step_w;
        job->shift[tap] = phase * job->images * job->plane + h / c->step_h * g->cols + w / c->step_w;
    }
    for (int64_t i = 0; i < job->row.channels; i++) job->row.offset[i] = i * job->row.o.grid.stride[1];
    for (int64_t i = 0; i < job->col.channels; i++) job->col.offset[i] = i * job->col.o.grid.stride[1];
    if (!job->gathers) return;
    int64_t taps = job->whole->taps_h * job->whole->taps_w;
    for (int64_t i = 0; i < job->col.channels; i++) {
        int64_t h = i % taps / job->whole->taps_w * c->space_h, w = i % job->whole->taps_w * c->space_w;
        job->col.offset[i] = (i / taps * job->window_h + h) * job->window_w + w;
    }
}

/* ---- staging, a unit at a time ---------------------------------------------------------------------------------- */

/* What a task is about. */
struct share {
    int64_t slice, group, r0, rows, c0, cols; /* channels */
};

static struct share share_of(const struct job *job, int64_t task) {
    int64_t rest = task / job->col.ranges / job->row.ranges;
    struct share s = {.slice = rest / job->c.g, .group = rest % job->c.g,
                      .r0 = task / job->col.ranges % job->row.ranges * job->row.range,
                      .c0 = task % job->col.ranges * job->col.range};
    s.rows = min64(job->row.range, job->row.channels - s.r0);
    s.cols = min64(job->col.range, job->col.channels - s.c0);
    return s;
}

struct strip {
    int64_t n0, i0, j0, images, lines, pixels;
};

static struct strip strip_at(const struct job *job, int64_t index) {
    struct strip s = {.n0 = index / job->strips_w / job->strips_h * job->images,
                      .i0 = index / job->strips_w % job->strips_h * job->lines,
                      .j0 = index % job->strips_w * job->pixels};
    s.images = min64(job->images, job->c.n - s.n0);
    s.lines = min64(job->lines, job->c.dh - s.i0);
    s.pixels = min64(job->pixels, job->c.dw - s.j0);
    return s;
}

static int64_t steps_of(const struct job *job, const struct strip *s) {
    int64_t cols = job->plane / job->row.o.grid.rows;
    return ceil_div((s->images - 1) * job->plane + (s->lines - 1) * cols + s->pixels, STEP);
}

/* The part of x that the strip sees, its border zero: [image][channel][row][column]. */
static void copy_window(const struct job *job, const struct strip *strip, const elem *x, elem *to) {
    const struct correlation *c = &job->c;
    int64_t left, right, h0 = strip->i0 * c->step_h + c->first_h, w0 = strip->j0 * c->step_w + c->first_w;
    range_inside(w0, 1, job->window_w, c->sw, &left, &right);
    for (int64_t line = 0; line < strip->images * c->sc * job->window_h; line++, to += job->window_w) {
        int64_t h = h0 + line % job->window_h, plane = line / job->window_h;
        if (h < 0 || h >= c->sh || left == right) {
            memset(to, 0, (size_t)job->window_w * sizeof(elem));
            continue;
        }
        const elem *from = x + (strip->n0 + plane / c->sc) * c->s_stride[0] + plane % c->sc * c->s_stride[1] +
                           h * c->s_stride[2] + (w0 + left) * c->s_stride[3];
        memset(to, 0, (size_t)left * sizeof(elem));
        if (c->s_stride[3] == 1)
            memcpy(to + left, from, (size_t)(right - left) * sizeof(elem));
        else
            for (int64_t w = left; w < right; w++, from += c->s_stride[3]) to[w] = *from;
        memset(to + right, 0, (size_t)(job->window_w - right) * sizeof(elem));
    }
}

static void place(const struct job *job, struct worker *w, const struct strip *strip) {
    const struct correlation *c = &job->c;
    struct amx_operand_of_pixels *x = job->swapped ? &w->row : &w->col, *dy = job->swapped ? &w->col : &w->row;
    const int64_t *d = c->d_stride;
    struct amx_window of_x = {.h = strip->i0 * c->step_h + c->first_h, .w = strip->j0 * c->step_w + c->first_w,
                              .images = strip->images, .height = c->sh, .width = c->sw,
                              .offset = strip->n0 * c->s_stride[0]};
    const struct amx_window of_dy = {.images = strip->images, .height = strip->lines, .width = strip->pixels,
                                     .offset = strip->n0 * d[0] + strip->i0 * d[2] + strip->j0 * d[3]};
    if (job->gathers)
        of_x = (struct amx_window){.images = strip->images, .height = job->window_h, .width = job->window_w};
    amx_place(x, &of_x);
    amx_place(dy, &of_dy);
}

/* ---- products --------------------------------------------------------------------------------------------------- */

/* Sums of the product before, which are added up while the next one is made: tiles are not read back at once. */
struct sums {
    elem *from, *to;
    int64_t left; /* elements */
};

static void add_some(struct sums *s, int64_t count) {
    for (int64_t end = max64(0, s->left - count); s->left > end; s->left -= LANES, s->from += LANES, s->to += LANES)
        vec_store(s->to, vec_load(s->to) + vec_load(s->from));
}

struct tiles_at {
    const uint32_t *row, *col;
    struct amx_operand rows, cols;
    int64_t row_step, col_step, steps;
};

/* The sums as [row][AMX_SIDE].  The numbers of tiles are constants wherever this is called. */
INLINE void product(const int row_tiles, const int col_tiles, const struct tiles_at *t, struct sums *before,
                    int64_t share, elem *sum) {
    const uint32_t *row = t->row, *col = t->col;
    amx_zero();
    for (int64_t step = 0; step < t->steps; step++, row += t->row_step, col += t->col_step) {
        amx_step(row_tiles, col_tiles, row, &t->rows, col, &t->cols);
        if (before->left) add_some(before, share);
    }
    amx_store(row_tiles, col_tiles, sum);
}

static void product_of(int64_t row_tiles, int64_t col_tiles, const struct tiles_at *t, struct sums *before,
                       int64_t share, elem *sum) {
    switch (2 * row_tiles + col_tiles) {
        case 6: product(2, 2, t, before, share, sum); break;
        case 5: product(2, 1, t, before, share, sum); break;
        case 4: product(1, 2, t, before, share, sum); break;
        default: product(1, 1, t, before, share, sum);
    }
}

/* A block of rows by all columns at all taps. */
static void multiply(const struct job *job, const struct worker *w, int64_t rows, int64_t cols, int64_t steps, int add,
                     elem *acc) {
    const int64_t row_pitch = w->row.pitch, col_pitch = w->col.pitch;
    const int64_t share = round_up(ceil_div(SQUARE, steps), LANES);
    struct tiles_at t = {.rows = {64, row_pitch * 4, AMX_PARTS * row_pitch * 4}, .row = w->rows, .steps = steps,
                         .cols = {64, col_pitch * 4, AMX_PARTS * col_pitch * 4},
                         .row_step = AMX_TILE_WORDS, .col_step = (w->col.dense ? 2 : 1) * AMX_TILE_WORDS};
    struct sums before = {0};
    int turn = 0;
    for (int64_t c = 0; c < cols; c += AMX_SIDE)
        for (int64_t tap = 0; tap < job->taps; tap++, acc += SQUARE) {
            elem *sum = w->sum[turn ^= 1];
            t.col = w->cols + c / AMX_ROWS * AMX_PARTS * col_pitch + job->shift[tap] * AMX_PAIRS;
            product_of(rows > AMX_ROWS ? 2 : 1, cols - c > AMX_ROWS ? 2 : 1, &t, &before, share, add ? sum : acc);
            if (add) before = (struct sums){sum, acc, SQUARE};
        }
    add_some(&before, SQUARE);
}

static void weight_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct correlation *c = &job->c;
    struct worker *w = &job->worker[worker];
    struct share share = share_of(job, task);
    elem *acc = job->acc + task * job->acc_size;
    int64_t first = share.slice * job->strips / job->slices, end = (share.slice + 1) * job->strips / job->slices;
    if (first == end) memset(acc, 0, (size_t)job->acc_size * sizeof(elem));
    amx_begin(AMX_PAIRS);
    for (int64_t i = first; i < end; i++) {
        struct strip strip = strip_at(job, i);
        int64_t steps = steps_of(job, &strip);
        const elem *row = job->row.data + share.group * job->row.group;
        const elem *col = job->col.data + share.group * job->col.group;
        if (job->gathers) {
            copy_window(job, &strip, col + share.group * c->sc * c->s_stride[1], w->window);
            col = w->window;
        }
        place(job, w, &strip);
        amx_split_tiles(&w->col, w->col.dense ? w->col.units : steps, col, share.c0, share.cols, w->cols);
        for (int64_t r = 0; r < share.rows; r += AMX_SIDE) {
            int64_t rows = min64(AMX_SIDE, share.rows - r);
            amx_split_tiles(&w->row, steps, row, share.r0 + r, rows, w->rows);
            multiply(job, w, rows, share.cols, steps, i > first, acc + r * job->col.blocks * job->taps * AMX_SIDE);
        }
    }
    amx_end();
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

/* of a column at one of the job's taps */
static int64_t place_of_weight(const struct job *job, int64_t col, int64_t tap) {
    const struct correlation *c = job->whole;
    int64_t taps = c->taps_h * c->taps_w;
    if (job->swapped) return col * c->w_dc;
    if (job->gathers) tap = col % taps, col /= taps;
    return col * c->w_sc + tap / c->taps_w * c->w_h + tap % c->taps_w * c->w_w;
}

/* A block of rows of one range of columns: the slices added in order, to the gradient. */
static void finish_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    struct job *job = context;
    const struct correlation *c = &job->c;
    int64_t block = task % job->row.blocks, tasks = c->g * job->row.ranges * job->col.ranges;
    task /= job->row.blocks;
    struct share share = share_of(job, task);
    int64_t rows = min64(AMX_SIDE, share.rows - block * AMX_SIDE), size = job->col.blocks * job->taps * SQUARE;
    elem *acc = job->acc + task * job->acc_size + block * size;
    for (int64_t slice = 1; slice < job->slices; slice++) {
        const elem *other = acc + slice * tasks * job->acc_size;
        for (int64_t i = 0; i < size; i += LANES) vec_store(acc + i, vec_load(acc + i) + vec_load(other + i));
    }
    int64_t s_row = job->row.stride_weight;
    /* whether all taps of all channels lie together */
    int whole = c->w_w == 1 && c->w_h == job->whole->taps_w && c->w_sc == c->w_h * job->whole->taps_h;
    elem *to = job->dweight + share.group * c->w_group + (share.r0 + block * AMX_SIDE) * s_row;
    for (int64_t c0 = share.c0; c0 < share.c0 + share.cols; c0 += AMX_SIDE, acc += job->taps * SQUARE) {
        int64_t cols = min64(AMX_SIDE, share.c0 + share.cols - c0);
        if (job->swapped && s_row == 1) {
            NAME(transpose)(rows, cols, acc, AMX_SIDE, to + c0 * job->col.stride_weight, job->col.stride_weight);
            continue;
        }
        for (int64_t r = 0; r < rows; r++, to += s_row) {
            const elem *from = acc + r * AMX_SIDE;
            if (whole && job->taps > 1)
                NAME(transpose)(job->taps, cols, from, SQUARE, to + c0 * job->taps, job->taps);
            else if (whole && !job->swapped)
                memcpy(to + c0, from, (size_t)cols * sizeof(elem));
            else
                for (int64_t i = 0; i < cols; i++)
                    for (int64_t tap = 0; tap < job->taps; tap++)
                        to[place_of_weight(job, c0 + i, tap)] = from[tap * SQUARE + i];
        }
        to -= rows * s_row;
    }
}

void NAME(amx_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace) {
    struct job job = cut_up(c);
    job.dweight = dweight;
    job.row.data = job.swapped ? x : dy, job.col.data = job.swapped ? dy : x;
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    fill_offsets(&job);
    int64_t tasks = c->g * job.row.ranges * job.col.ranges;
    engine_parallel(c->threads, job.slices * tasks, weight_task, &job);
    engine_parallel(c->threads, tasks * job.row.blocks, finish_task, &job);
}

#else

int NAME(amx_weight_wins)(const struct correlation *c) {
    (void)c;
    return 0;
}

int64_t NAME(amx_weight_workspace)(const struct correlation *c) {
    (void)c;
    return 0;
}

void NAME(amx_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight, void *workspace) {
    (void)c, (void)x, (void)dy, (void)dweight, (void)workspace;
}

#endif
