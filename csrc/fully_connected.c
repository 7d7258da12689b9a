/* Forward: vectors along the sums, whose lanes are added up at the end, so that rows of the weight are read as they
   lie.  A tile is some rows of the weight times some pixels.  A lane adds up a chunk of the row from zero, then the
   chunks. */
#include "fully_connected.h"
#include "arena.h"
#include "pointwise.h"
#include "thread.h"

enum {
    CHUNK = 2048 / ELEM_BYTES,              /* terms; of all pixels of a tile they fit in L1 */
    ROWS = 48,                              /* of the weight in a task, a multiple of all that tiles have */
    STRIP = 64,                             /* pixels of a task */
    MANY_REGISTERS = VEC_REGISTERS > 16,
    MOST_PIXELS = MANY_REGISTERS ? 8 : 4,   /* of a tile */
    TASKS_PER_THREAD = 8,
};

/* rows of a tile of so many pixels, 1, 2, 4 or 8 */
INLINE int tile_height(int pixels) {
    if (pixels == 8) return 3;
    if (pixels == 4) return MANY_REGISTERS ? 4 : 2;
    return pixels == 2 && !MANY_REGISTERS ? 4 : 8;
}

struct job {
    const struct correlation *c;
    int64_t rows, blocks; /* rows of the weight in a task, a multiple of LANES, and tasks for all of them */
    int64_t strips;
    const elem *source, *weight, *bias;
    elem *dest;
    struct worker {
        elem *x;      /* [pixel of a tile][CHUNK] */
        elem *weight; /* [row][CHUNK]; NULL: its rows can be read where they are */
        elem *total;  /* [pixel of the strip][row][LANES] */
    } *worker;
};

int NAME(fully_connected_suits)(int64_t phases, const struct correlation *c) {
    return ELEM_IS_FLOATING && phases == 1 && c->dh == 1 && c->dw == 1 && NAME(pointwise_suits)(phases, c);
}

static struct job block_up(const struct correlation *c) {
    struct job job = {.c = c, .strips = ceil_div(c->n, STRIP)};
    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    int64_t blocks = max64(ceil_div(c->dc, ROWS), ceil_div(wanted, max64(1, c->g * job.strips)));
    job.rows = min64(ROWS, ceil_div(ceil_div(c->dc, blocks), LANES) * LANES);
    job.blocks = ceil_div(c->dc, job.rows);
    return job;
}

static void carve(struct job *job, struct arena *arena) {
    const struct correlation *c = job->c;
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {.x = ARENA_TAKE(arena, elem, MOST_PIXELS * CHUNK),
                           .weight = c->w_sc == 1 ? NULL : ARENA_TAKE(arena, elem, ROWS * CHUNK),
                           .total = ARENA_TAKE(arena, elem, min64(STRIP, c->n + MOST_PIXELS) * ROWS * LANES)};
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(fully_connected_workspace)(const struct correlation *c) {
    struct job job = block_up(c);
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* ---- products --------------------------------------------------------------------------------------------------- */

/* A chunk of some rows, of all their pixels. */
struct factors {
    const elem *weight;
    int64_t pitch, rows; /* from row to row, and how many there are; the tile repeats the last one */
    int64_t ahead;       /* from what is read now to what is fetched for later, into L2 or `near` */
    const elem *x;
    int64_t terms;
    elem *total;
    int add, near;
};

/* rows and pixels are constants wherever this is called, so the sums live in registers */
INLINE void tile(const int rows, const int pixels, const struct factors *p) {
    const elem *w[8], *x = p->x;
    vec sum[8][MOST_PIXELS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        w[r] = p->weight + min64(r, p->rows - 1) * p->pitch;
#pragma GCC unroll 8
        for (int q = 0; q < pixels; q++) sum[r][q] = (vec){0};
    }
    int64_t k = 0;
    for (; k + LANES <= p->terms; k += LANES) {
        vec v[8];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            v[r] = vec_load(w[r] + k);
            if (p->near)
                __builtin_prefetch(w[r] + k + p->ahead, 0, 3);
            else
                __builtin_prefetch(w[r] + k + p->ahead, 0, 2);
        }
#pragma GCC unroll 8
        for (int q = 0; q < pixels; q++) {
            vec s = vec_in_register(vec_load(x + q * CHUNK + k));
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) sum[r][q] += v[r] * s;
        }
    }
    if (k < p->terms) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec v = vec_load_first(w[r] + k, p->terms - k);
#pragma GCC unroll 8
            for (int q = 0; q < pixels; q++) sum[r][q] += v * vec_load(x + q * CHUNK + k);
        }
    }
#pragma GCC unroll 8
    for (int q = 0; q < pixels; q++)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            elem *total = p->total + (q * ROWS + r) * LANES;
            vec_store(total, p->add ? vec_load(total) + sum[r][q] : sum[r][q]);
        }
}

static void tile_of(int64_t pixels, const struct factors *p) {
    switch (pixels) {
        case 1: tile(tile_height(1), 1, p); break;
        case 2: tile(tile_height(2), 2, p); break;
        case 4: tile(tile_height(4), 4, p); break;
        default: tile(tile_height(MOST_PIXELS), MOST_PIXELS, p);
    }
}

/* ---- staging ---------------------------------------------------------------------------------------------------- */

/* `rows` rows of which there are `count`, so many terms of each -> [row][CHUNK], zero to the end of the last vector */
static void stage(int64_t rows, int64_t count, int64_t terms, const elem *from, int64_t pitch, int64_t step, elem *to) {
    for (int64_t r = 0; r < rows; r++, to += CHUNK) {
        const elem *row = from + min64(r, count - 1) * pitch;
        int64_t k = 0;
        if (step == 1)
            for (; k + LANES <= terms; k += LANES) vec_store(to + k, vec_load(row + k));
        for (; k < terms; k++) to[k] = row[k * step];
        for (; k % LANES; k++) to[k] = 0;
    }
}

/* ---- tasks ------------------------------------------------------------------------------------------------------ */

struct extent { /* of a task */
    int64_t group, row, rows, pixel, pixels;
};

static int64_t tile_pixels(int64_t left) { return left >= 5 ? MOST_PIXELS : left >= 3 ? 4 : left; }

/* the terms of a chunk times all pixels of the strip */
static void add_chunk(const struct job *job, const struct worker *w, const struct extent *e, int64_t k0,
                      int64_t terms) {
    const struct correlation *c = job->c;
    const elem *source = job->source + e->pixel * c->s_stride[0] + (e->group * c->sc + k0) * c->s_stride[1];
    const elem *weight = job->weight + e->group * c->w_group + e->row * c->w_dc + k0 * c->w_sc;
    int64_t pitch = w->weight ? CHUNK : c->w_dc, last = k0 + terms == c->sc;
    if (w->weight) {
        stage(e->rows, e->rows, terms, weight, c->w_dc, c->w_sc, w->weight);
        weight = w->weight;
    }
    for (int64_t q = 0; q < e->pixels; q += MOST_PIXELS) {
        int64_t count = min64(MOST_PIXELS, e->pixels - q), pixels = tile_pixels(count), height = tile_height(pixels);
        stage(pixels, count, terms, source + q * c->s_stride[0], c->s_stride[0], c->s_stride[1], w->x);
        struct factors p = {.pitch = pitch, .x = w->x, .terms = terms, .add = k0 > 0, .near = q > 0};
        for (int64_t r = 0; r < e->rows; r += height) {
            p.weight = weight + r * pitch, p.rows = e->rows - r;
            p.total = w->total + (q * ROWS + r) * LANES;
            /* the rows after these; then the first ones again, or those of the next chunk or task */
            p.ahead = r + height < e->rows ? height * pitch : q > 0 ? -r * pitch : terms - r * pitch;
            if (q == 0 && last && r + height >= e->rows) p.ahead = (e->rows - r) * pitch - k0;
            tile_of(pixels, &p);
        }
    }
}

/* the sums of the lanes of LANES vectors */
INLINE vec add_lanes(const elem *total) {
    vec v[LANES];
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) v[l] = vec_load(total + l * LANES);
    vec_transpose(v);
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int l = 0; l < half; l++) v[l] += v[l + half];
    return v[0];
}

static void deliver(const struct job *job, const struct worker *w, const struct extent *e) {
    const struct correlation *c = job->c;
    int64_t channel = e->group * c->dc + e->row, stride = c->d_stride[1];
    elem *dest = job->dest + e->pixel * c->d_stride[0] + channel * stride;
    for (int64_t q = 0; q < e->pixels; q++, dest += c->d_stride[0])
        for (int64_t r = 0; r < e->rows; r += LANES) {
            int64_t count = min64(LANES, e->rows - r);
            vec sum = add_lanes(w->total + (q * ROWS + r) * LANES);
            if (job->bias) sum += vec_load_first(job->bias + channel + r, count);
            if (c->relu) sum = vec_relu(sum);
            elem lane[LANES];
            if (stride == 1) {
                vec_store_first(dest + r, sum, count);
            } else {
                vec_store(lane, sum);
                for (int64_t l = 0; l < count; l++) dest[(r + l) * stride] = lane[l];
            }
        }
}

static void rows_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct correlation *c = job->c;
    const struct worker *w = &job->worker[worker];
    struct extent e = {.row = task % job->blocks * job->rows, .pixel = task / job->blocks % job->strips * STRIP,
                       .group = task / job->blocks / job->strips};
    e.rows = min64(job->rows, c->dc - e.row), e.pixels = min64(STRIP, c->n - e.pixel);
    for (int64_t k0 = 0; k0 < c->sc; k0 += CHUNK) add_chunk(job, w, &e, k0, min64(CHUNK, c->sc - k0));
    deliver(job, w, &e);
}

void NAME(fully_connected)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias,
                           elem *dest, void *workspace) {
    struct job job = block_up(c);
    job.source = source + c->first_h * c->s_stride[2] + c->first_w * c->s_stride[3];
    job.weight = weight + c->weight_offset, job.bias = bias, job.dest = dest + c->d_offset;
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    engine_parallel(c->threads, c->g * job.strips * job.blocks, rows_task, &job);
}
