/* One operand, x or dy, lies in vectors along its channels, brought into the order [pixel][channel] a block and a
   chunk of pixels at a time; the other is read in place, element by element, where its pixels are evenly spaced.

   The work is cut into (slice of the pixels, group, range of the rows' channels, range of the vectors' channels).
   Every task sums into memory of its own; slices are added in order at the end.  The cut depends on the problem
   alone, so the bits do not depend on the number of threads. */
#include "pointwise_weight.h"
#include "pointwise.h"
#include "product.h"
#include "thread.h"
#include "tile.h"
#include "transpose.h"

enum {
    WIDTH = TILE_VECS * LANES, /* of a block of vectors */
    MOST_ROWS = 256,           /* of a task */
    MOST_VECTORS = 4,          /* blocks of a task */
    TRANSPOSING = 8,           /* rows that could be multiplied while a vector is transposed */
    LINE = 64 / ELEM_BYTES,
    TASKS = 16,                /* wanted at least */
};

/* One operand.  Its channels are the rows or lie along the vectors of every product. */
struct side {
    int64_t channels, stride_c, stride_weight;
    struct pixels pixels;
    const elem *data;
};

struct blocking {
    int64_t row_range, row_ranges, blocks, block_range, block_ranges;
    int64_t run, chunk, run_chunks, chunks; /* runs of evenly spaced pixels, each cut into chunks */
    int64_t slices, per_slice;              /* consecutive chunks */
    int in_place;                           /* the rows are read so */
};

struct job {
    const struct correlation *c;
    struct side row, vec;
    struct blocking b;
    elem *dweight, *acc; /* acc[task][block][row][WIDTH] */
    int64_t acc_size;
    struct worker {
        elem *vectors, *rows, *planes;
    } *worker;
};

static int64_t vectors(int64_t channels) { return ceil_div(channels, LANES); }

/* The operand whose vectors are cheaper to make; x in case of doubt, whose products are rows of the gradient. */
static void choose_sides(struct job *job, const elem *x_data, const elem *dy_data) {
    const struct correlation *c = job->c;
    struct side x = {c->sc, c->s_stride[1], c->w_sc, source_pixels(c), x_data};
    struct side dy = {c->dc, c->d_stride[1], c->w_dc, dest_pixels(c), dy_data};
    int64_t x_costs = vectors(c->sc) * (c->dc + TRANSPOSING), dy_costs = vectors(c->dc) * (c->sc + TRANSPOSING);
    int x_in_vectors = 32 * x_costs <= 33 * dy_costs;
    job->vec = x_in_vectors ? x : dy;
    job->row = x_in_vectors ? dy : x;
}

static struct blocking block_up(const struct job *job) {
    const struct correlation *c = job->c;
    struct blocking b = {.blocks = ceil_div(job->vec.channels, WIDTH)};
    int64_t pixels = c->n * c->dh * c->dw, height = tile_rows(TILE_VECS), most = 32 * 1024 / (WIDTH * ELEM_BYTES);
    b.row_ranges = ceil_div(job->row.channels, MOST_ROWS);
    b.row_range = ceil_div(ceil_div(job->row.channels, b.row_ranges), height) * height;
    b.row_ranges = ceil_div(job->row.channels, b.row_range);
    b.block_ranges = max64(ceil_div(b.blocks, MOST_VECTORS), min64(b.blocks, ceil_div(TASKS, c->g * b.row_ranges)));
    b.block_range = ceil_div(b.blocks, b.block_ranges);
    b.block_ranges = ceil_div(b.blocks, b.block_range);

    most = min64(most, 256);
    b.in_place = job->row.pixels.run >= most / 2 || job->row.pixels.run >= pixels;
    b.run = max64(1, b.in_place ? min64(job->row.pixels.run, pixels) : pixels);
    int64_t whole = b.in_place ? LINE : min64(most, job->row.pixels.run); /* chunks begin where lines or runs begin */
    b.chunk = ceil_div(ceil_div(b.run, ceil_div(b.run, most)), whole) * whole;
    b.run_chunks = ceil_div(b.run, b.chunk);
    b.chunks = pixels / b.run * b.run_chunks;
    b.slices = max64(1, min64(b.chunks, TASKS / (c->g * b.row_ranges * b.block_ranges)));
    b.per_slice = max64(1, ceil_div(b.chunks, b.slices));
    b.slices = max64(1, ceil_div(b.chunks, b.per_slice));
    return b;
}

static void carve(struct job *job, struct arena *arena) {
    const struct blocking *b = &job->b;
    job->acc_size = b->block_range * b->row_range * WIDTH;
    job->acc = ARENA_TAKE(arena, elem, b->slices * job->c->g * b->row_ranges * b->block_ranges * job->acc_size);
    job->worker = ARENA_TAKE(arena, struct worker, job->c->threads);
    for (int64_t t = 0; t < job->c->threads; t++) {
        struct worker w = {.vectors = ARENA_TAKE(arena, elem, b->chunk * WIDTH),
                           .planes = ARENA_TAKE(arena, elem, b->chunk * WIDTH),
                           .rows = b->in_place ? NULL : ARENA_TAKE(arena, elem, b->chunk * b->row_range)};
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(pointwise_weight_workspace)(const struct correlation *c) {
    struct job job = {.c = c};
    choose_sides(&job, NULL, NULL);
    job.b = block_up(&job);
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* ---- staging ---------------------------------------------------------------------------------------------------- */

/* channels [c0, c0 + channels) of pixels [q0, q0 + count) -> [channel][pitch] */
static void stage_planes(const struct side *side, int64_t c0, int64_t channels, int64_t q0, int64_t count, elem *to,
                         int64_t pitch) {
    for (int64_t q = 0; q < count;) {
        int64_t length = min64(count - q, pixels_left(&side->pixels, q0 + q)), stride = side->pixels.stride_w;
        const elem *from = side->data + c0 * side->stride_c + pixel_offset(&side->pixels, q0 + q);
        /* the excess must not reach the next channel's row */
        int within = q + ceil_div(length, LANES) * LANES <= count;
        int covers = within && next_channel_covers(length, stride, side->stride_c);
        for (int64_t c = 0; c < channels; c++)
            copy_pixels(length, from + c * side->stride_c, stride, to + c * pitch + q, covers && c < channels - 1);
        q += length;
    }
}

/* the same -> [pixel][pitch] from memory with the channels last */
static void stage_pixels(const struct side *side, int64_t c0, int64_t channels, int64_t q0, int64_t count, elem *to,
                         int64_t pitch) {
    for (int64_t q = 0; q < count; q++) {
        const elem *from = side->data + c0 + pixel_offset(&side->pixels, q0 + q);
        if (channels == WIDTH)
            for (int64_t i = 0; i < WIDTH; i += LANES) vec_store(to + q * pitch + i, vec_load(from + i));
        else
            memcpy(to + q * pitch, from, (size_t)channels * sizeof(elem));
    }
}

/* a block of vectors: [pixel][width], zero in the lanes past the last channel */
static void stage_vectors(const struct side *side, const struct worker *w, int64_t c0, int64_t channels, int64_t q0,
                          int64_t count) {
    int64_t width = vectors(channels) * LANES;
    if (channels < width) memset(w->vectors, 0, (size_t)(count * width) * sizeof(elem));
    if (side->stride_c == 1) {
        stage_pixels(side, c0, channels, q0, count, w->vectors, width);
    } else if (side->pixels.stride_w == 1 && side->pixels.run >= LANES) {
        for (int64_t q = 0; q < count;) {
            int64_t length = min64(count - q, pixels_left(&side->pixels, q0 + q));
            const elem *from = side->data + c0 * side->stride_c + pixel_offset(&side->pixels, q0 + q);
            NAME(transpose)(channels, length, from, side->stride_c, w->vectors + q * width, width);
            q += length;
        }
    } else {
        stage_planes(side, c0, channels, q0, count, w->planes, count);
        NAME(transpose)(channels, count, w->planes, count, w->vectors, width);
    }
}

/* ---- fetching ahead --------------------------------------------------------------------------------------------- */

/* what a chunk will read of one operand */
static struct stretches look_ahead(const struct side *side, int64_t c0, int64_t channels, int64_t q, int64_t count) {
    int64_t begin = pixel_offset(&side->pixels, q), end = pixel_offset(&side->pixels, q + count - 1) + 1;
    const elem *from = side->data + c0 * side->stride_c + begin;
    if (side->stride_c != 1)
        return (struct stretches){from, channels, side->stride_c, max64(0, min64(count, ceil_div(end - begin, LINE)))};
    int64_t even = min64(count, pixels_left(&side->pixels, q));
    return (struct stretches){from, even, side->pixels.stride_w, ceil_div(channels, LINE)};
}

/* ---- multiplying ------------------------------------------------------------------------------------------------ */

struct extent { /* of a task */
    int64_t group, r0, rows, block0, blocks;
};

static struct extent extent_of(const struct job *job, int64_t task) {
    const struct blocking *b = &job->b;
    struct extent e = {.r0 = task / b->block_ranges % b->row_ranges * b->row_range,
                       .block0 = task % b->block_ranges * b->block_range,
                       .group = task / b->block_ranges / b->row_ranges % job->c->g};
    e.rows = min64(b->row_range, job->row.channels - e.r0);
    e.blocks = min64(b->block_range, b->blocks - e.block0);
    return e;
}

/* where the weight gradient of a group begins */
static elem *gradient(const struct job *job, const struct extent *e) {
    return job->dweight + e->group * job->c->w_group;
}

/* whether products go to the gradient itself */
static int direct(const struct job *job) {
    return job->b.slices == 1 && job->b.chunks > 0 && job->vec.stride_weight == 1;
}

static void pixels_of_chunk(const struct blocking *b, int64_t chunk, int64_t *q0, int64_t *count) {
    int64_t within = chunk % b->run_chunks * b->chunk;
    *q0 = chunk / b->run_chunks * b->run + within;
    *count = min64(b->chunk, b->run - within);
}

/* The rows of a chunk: element r, q of them is at[r * step + q * k_step]. */
struct rows {
    const elem *at;
    int64_t step, k_step;
};

static struct rows rows_of_chunk(const struct job *job, const struct side *row, const struct worker *w,
                                 const struct extent *e, int64_t q0, int64_t count) {
    if (job->b.in_place) {
        const elem *at = row->data + e->r0 * row->stride_c + pixel_offset(&row->pixels, q0);
        return (struct rows){at, row->stride_c, row->pixels.stride_w};
    }
    if (row->stride_c == 1) {
        stage_pixels(row, e->r0, e->rows, q0, count, w->rows, e->rows);
        return (struct rows){w->rows, 1, e->rows};
    }
    stage_planes(row, e->r0, e->rows, q0, count, w->rows, job->b.chunk);
    return (struct rows){w->rows, job->b.chunk, 1};
}

static void multiply_chunk(const struct job *job, const struct worker *w, const struct extent *e, int64_t chunk,
                           int add, elem *acc) {
    const struct blocking *b = &job->b;
    struct side row = job->row, vec = job->vec;
    row.data += e->group * row.channels * row.stride_c;
    vec.data += e->group * vec.channels * vec.stride_c;
    int64_t q0, count;
    pixels_of_chunk(b, chunk, &q0, &count);
    struct rows rows = rows_of_chunk(job, &row, w, e, q0, count);
    struct errands errands = {0};
    if (chunk + 1 < b->chunks) {
        int64_t next, length;
        pixels_of_chunk(b, chunk + 1, &next, &length);
        errands.todo[0] = look_ahead(&row, e->r0, e->rows, next, length);
        int64_t c0 = e->block0 * WIDTH;
        errands.todo[1] = look_ahead(&vec, c0, min64(vec.channels - c0, e->blocks * WIDTH), next, length);
    }

    int64_t a_row[TILE_ROWS_1], to_row[TILE_ROWS_1], to_step = direct(job) ? row.stride_weight : WIDTH;
    for (int64_t block = 0; block < e->blocks; block++) {
        int64_t c0 = (e->block0 + block) * WIDTH, lanes = min64(WIDTH, vec.channels - c0), vecs = vectors(lanes);
        int64_t height = tile_rows(vecs);
        stage_vectors(&vec, w, c0, lanes, q0, count);
        for (int64_t r = 0; r < height; r++) a_row[r] = r * rows.step, to_row[r] = r * to_step;
        elem *to = direct(job) ? gradient(job, e) + e->r0 * to_step + c0 : acc + block * b->row_range * WIDTH;
        struct product p = {.k = count, .a_row = a_row, .a_step = rows.k_step, .b = w->vectors, .b_step = vecs * LANES,
                            .to_row = to_row, .lanes = lanes - (vecs - 1) * LANES, .add = add};
        for (int64_t r = 0; r < e->rows; r += height) {
            p.rows = min64(height, e->rows - r);
            for (int64_t i = p.rows; i < height; i++) a_row[i] = a_row[p.rows - 1];
            p.a = rows.at + r * rows.step;
            p.to = to + r * to_step;
            product_errand(&errands, &p);
            NAME(product)(vecs, p.rows)(&p);
        }
    }
}

/* the sum of all slices, to the gradient */
static void finish(const struct job *job, int64_t task) {
    const struct blocking *b = &job->b;
    struct extent e = extent_of(job, task);
    int64_t tasks = job->c->g * b->row_ranges * b->block_ranges;
    int64_t s_row = job->row.stride_weight, s_vec = job->vec.stride_weight;
    for (int64_t block = 0; block < e.blocks; block++) {
        int64_t c0 = (e.block0 + block) * WIDTH, lanes = min64(WIDTH, job->vec.channels - c0);
        elem *acc = job->acc + task * job->acc_size + block * b->row_range * WIDTH;
        for (int64_t slice = 1; slice < b->slices; slice++) {
            const elem *other = acc + slice * tasks * job->acc_size;
            for (int64_t i = 0; i < e.rows * WIDTH; i += LANES)
                vec_store(acc + i, vec_load(acc + i) + vec_load(other + i));
        }
        elem *to = gradient(job, &e) + e.r0 * s_row + c0 * s_vec;
        if (s_row == 1)
            NAME(transpose)(e.rows, lanes, acc, WIDTH, to, s_vec);
        else
            for (int64_t r = 0; r < e.rows; r++)
                for (int64_t l = 0; l < lanes; l++) to[r * s_row + l * s_vec] = acc[r * WIDTH + l];
    }
}

static void weight_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct blocking *b = &job->b;
    struct extent e = extent_of(job, task);
    int64_t slice = task / (job->c->g * b->row_ranges * b->block_ranges), first = slice * b->per_slice;
    elem *acc = job->acc + task * job->acc_size;
    for (int64_t i = first; i < min64(b->chunks, first + b->per_slice); i++)
        multiply_chunk(job, &job->worker[worker], &e, i, i > first, acc);
    if (b->chunks == 0) memset(acc, 0, (size_t)job->acc_size * sizeof(elem));
    if (b->slices == 1 && !direct(job)) finish(job, task);
}

static void finish_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    finish(context, task);
}

void NAME(pointwise_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight,
                            void *workspace) {
    struct job job = {.c = c, .dweight = dweight};
    choose_sides(&job, x + c->first_h * c->s_stride[2] + c->first_w * c->s_stride[3], dy);
    job.b = block_up(&job);
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    int64_t tasks = c->g * job.b.row_ranges * job.b.block_ranges;
    engine_parallel(c->threads, job.b.slices * tasks, weight_task, &job);
    if (job.b.slices > 1) engine_parallel(c->threads, tasks, finish_task, &job);
}
