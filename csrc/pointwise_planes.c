/* One tap, dest in planes: vectors along pixels, one panel of them after another; its channels, a chunk at a time, stay in L1
   while every output channel passes.  Long rows are read in place, others are gathered first. */
#include "pointwise.h"
#include "product.h"
#include "thread.h"
#include "tile.h"
#include "transpose.h"

enum {
    WIDTH = TILE_VECS * LANES,  /* pixels of a panel */
    STRIP_BYTES = 384 * 1024,   /* of gathered panels */
    MOST_PANELS = 8,            /* of a strip */
    PART_ROWS = 256,            /* output channels of a task */
    LONG_ROW = 8 * WIDTH,       /* is read in place */
    TASKS_PER_THREAD = 4,
};

struct blocking {
    int64_t pixels, panels, strip, strips; /* a strip is so many panels */
    int64_t part, parts;                   /* a part is so many output channels */
    int64_t chunk;
    int in_place;
};

struct piece {
    int64_t from, to, count;
};

struct job {
    const struct correlation *c, *phase;
    int64_t phases, across;
    struct blocking b;
    struct pixels from, to;
    const elem *source, *weight, *bias;
    elem *dest;
    struct worker {
        int64_t gathered; /* which strip */
        struct piece *piece;
        elem *panel, *acc;
    } *worker;
};

/* whether the rows of a chunk, one below the other at this distance, find room in an 8-way L1 */
static int spreads(int64_t rows, int64_t stride) {
    int64_t bytes = stride * (int64_t)sizeof(elem), lines = 64;
    if (bytes % 64) return 1;
    while (bytes / 64 % lines) lines /= 2;
    return rows * lines <= 512;
}

static struct blocking block_up(const struct correlation *c) {
    struct blocking b = {.pixels = c->n * c->dh * c->dw, .chunk = product_chunk(c->sc)};
    struct pixels from = source_pixels(c);
    b.panels = ceil_div(b.pixels, WIDTH);
    b.in_place = from.stride_w == 1 && from.run >= LONG_ROW && spreads(b.chunk, c->s_stride[1]);
    b.strip = max64(1, min64(MOST_PANELS, STRIP_BYTES / (c->sc * WIDTH * (int64_t)sizeof(elem))));
    b.strips = ceil_div(b.panels, b.strip);
    int64_t rows = tile_rows(TILE_VECS), wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    b.parts = max64(ceil_div(c->dc, PART_ROWS), ceil_div(wanted, max64(1, b.strips * c->g)));
    b.part = ceil_div(ceil_div(c->dc, b.parts), rows) * rows;
    b.parts = ceil_div(c->dc, b.part);
    return b;
}

static void carve(struct job *job, struct arena *arena) {
    const struct blocking *b = &job->b;
    int64_t panels = b->in_place ? 1 : b->strip;
    job->worker = ARENA_TAKE(arena, struct worker, job->c->threads);
    for (int64_t t = 0; t < job->c->threads; t++) {
        struct worker w = {.gathered = -1,
                           .piece = ARENA_TAKE(arena, struct piece, panels * WIDTH),
                           .panel = ARENA_TAKE(arena, elem, panels * job->c->sc * WIDTH),
                           .acc = ARENA_TAKE(arena, elem, b->part * WIDTH + LANES)};
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(pointwise_planes_workspace)(const struct correlation *c) {
    struct job job = {.c = c, .b = block_up(c)};
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* ---- gathering -------------------------------------------------------------------------------------------------- */

/* Of a channel that another one lies behind, whole vectors may be read and written: the excess is overwritten later. */
INLINE void copy_freely(int64_t count, const elem *from, int64_t stride, elem *to) {
    if (stride == 1)
        for (int64_t i = 0; i < count; i += LANES) vec_store(to + i, vec_load(from + i));
    else
        for (int64_t i = 0; i < count; i += LANES)
            vec_store(to + i, vec_even(vec_load(from + 2 * i), vec_load(from + 2 * i + LANES)));
}

static void gather_channels(const struct job *job, const struct worker *w, int64_t pieces, const elem *source) {
    int64_t stride_c = job->c->s_stride[1], stride_w = job->from.stride_w, channels = job->c->sc;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < pieces; i++) {
            const struct piece *piece = &w->piece[i];
            const elem *from = source + piece->from + c * stride_c;
            elem *to = w->panel + piece->to + c * WIDTH;
            int64_t whole = ceil_div(piece->count, LANES) * LANES;
            int free = (stride_w == 1 || stride_w == 2) && whole * stride_w <= stride_c + (piece->count - 1) * stride_w;
            if (free && c < channels - 1)
                copy_freely(piece->count, from, stride_w, to);
            else
                for (int64_t q = 0; q < piece->count; q++) to[q] = from[q * stride_w];
        }
}

/* pixels from q0 on -> [panel][channel][pixel], zero in the rest of the last vector */
static void gather(const struct job *job, const struct worker *w, int64_t q0, int64_t count, const elem *source) {
    const struct pixels *from = &job->from;
    int64_t pieces = 0, panel_size = job->c->sc * WIDTH;
    for (int64_t q = 0; q < count;) {
        int64_t length = min64(count - q, min64(pixels_left(from, q0 + q), WIDTH - q % WIDTH));
        w->piece[pieces++] = (struct piece){pixel_offset(from, q0 + q), q / WIDTH * panel_size + q % WIDTH, length};
        q += length;
    }
    if (job->c->s_stride[1] == 1)
        for (int64_t i = 0; i < pieces; i++)
            NAME(transpose)(w->piece[i].count, job->c->sc, source + w->piece[i].from, from->stride_w,
                            w->panel + w->piece[i].to, WIDTH);
    else
        gather_channels(job, w, pieces, source);
    if (count % LANES) {
        elem *rest = w->panel + count / WIDTH * panel_size + count % WIDTH;
        for (int64_t c = 0; c < job->c->sc; c++)
            for (int64_t i = 0; i < LANES - count % LANES; i++) rest[c * WIDTH + i] = 0;
    }
}

/* ---- delivering ------------------------------------------------------------------------------------------------- */

/* every other element of a row; the others, as far as the row goes, are zero */
static void spread_by_two(int64_t count, int64_t zeros, const elem *from, elem *to) {
    elem row[2 * WIDTH];
    for (int64_t i = 0; i < count; i += LANES) {
        vec v = vec_load(from + i), zero = {0};
        vec_store(row + 2 * i, vec_zip_low(v, zero));
        vec_store(row + 2 * i + LANES, vec_zip_high(v, zero));
    }
    memcpy(to, row, (size_t)(count + zeros) * sizeof(elem));
}

/* the pixels q.. of one channel, in one row of dest, and the pixels without taps around them */
static void deliver_row(const struct job *job, int64_t q, int64_t count, const elem *from, elem *channel) {
    const struct correlation *phase = job->phase;
    elem *to = channel + pixel_offset(&job->to, q);
    int64_t stride = job->to.stride_w, i = q / phase->dw % phase->dh, j = q % phase->dw, f = 1;
    if (job->across == 2 && phase->d_stride[3] == 2) {
        spread_by_two(count, min64(count, phase[1].dw - j), from, to);
        f = 2;
    } else {
        for (int64_t p = 0; p < count; p++) to[p * stride] = from[p];
    }
    for (; f < job->phases; f++) {
        if (i >= phase[f].dh) continue;
        elem *zero = to + phase[f].d_offset - phase[0].d_offset;
        int64_t zeros = min64(count, phase[f].dw - j);
        for (int64_t p = 0; p < zeros; p++) zero[p * stride] = 0;
    }
}

static void deliver(const struct job *job, int64_t q0, int64_t count, int64_t channels, const elem *acc, elem *dest) {
    for (int64_t q = 0; q < count;) {
        int64_t left = job->phases > 1 ? job->c->dw - (q0 + q) % job->c->dw : pixels_left(&job->to, q0 + q);
        int64_t length = min64(count - q, left);
        for (int64_t r = 0; r < channels; r++)
            deliver_row(job, q0 + q, length, acc + r * WIDTH + q, dest + r * job->c->d_stride[1]);
        q += length;
    }
}

/* ---- multiplying ------------------------------------------------------------------------------------------------ */

struct panel {
    const elem *source;
    int64_t source_c, vecs, lanes;
    const elem *next; /* the panel that is read in place after this one, or NULL */
    elem *dest;
    int64_t dest_c;
};

/* the output channels [j0, j1) of a panel */
static void multiply(const struct job *job, const struct panel *panel, int64_t j0, int64_t j1, const elem *weight,
                     const elem *bias) {
    const struct correlation *c = job->c;
    int64_t height = tile_rows(panel->vecs), a_row[TILE_ROWS_1], to_row[TILE_ROWS_1];
    for (int64_t r = 0; r < height; r++) a_row[r] = r * c->w_dc, to_row[r] = r * panel->dest_c;
    for (int64_t k0 = 0; k0 < c->sc; k0 += job->b.chunk) {
        struct product p = {.k = min64(job->b.chunk, c->sc - k0), .a_row = a_row, .a_step = c->w_sc,
                            .b = panel->source + k0 * panel->source_c, .b_step = panel->source_c,
                            .to_row = to_row, .lanes = panel->lanes, .add = k0 > 0};
        int ends = k0 + p.k == c->sc;
        p.relu = ends && c->relu;
        for (int64_t j = j0; j < j1; j += height) {
            p.rows = min64(height, j1 - j);
            for (int64_t r = p.rows; r < height; r++) a_row[r] = a_row[p.rows - 1];
            p.a = weight + j * c->w_dc + k0 * c->w_sc;
            p.to = panel->dest + (j - j0) * panel->dest_c;
            p.row_bias = ends && bias ? bias + j : NULL;
            int64_t line = (j - j0) / height * (64 / (int64_t)sizeof(elem));
            int fetch = panel->next && line < WIDTH;
            p.ahead = fetch ? panel->next + k0 * panel->source_c + line : p.b;
            p.ahead_step = p.b_step;
            NAME(product)(panel->vecs, p.rows)(&p);
        }
        for (int64_t r = 0; r < height; r++) a_row[r] = r * c->w_dc;
    }
}

static void strip_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    const struct correlation *c = job->c;
    const struct blocking *b = &job->b;
    struct worker *w = &job->worker[worker];
    int64_t part = task % b->parts, strip = task / b->parts % b->strips, group = task / b->parts / b->strips;
    int64_t j0 = part * b->part, j1 = min64(c->dc, j0 + b->part);
    int64_t first = strip * b->strip * WIDTH, last = min64(b->pixels, first + b->strip * WIDTH);
    const elem *source = job->source + group * c->sc * c->s_stride[1];
    elem *dest = job->dest + (group * c->dc + j0) * c->d_stride[1] + job->phase->d_offset;

    if (!b->in_place && w->gathered != task / b->parts) {
        gather(job, w, first, last - first, source);
        w->gathered = task / b->parts;
    }
    for (int64_t q = first; q < last; q += WIDTH) {
        int64_t count = min64(WIDTH, last - q), next = q + WIDTH;
        struct panel panel = {.vecs = ceil_div(count, LANES)};
        panel.lanes = count - (panel.vecs - 1) * LANES;
        if (b->in_place && pixels_left(&job->from, q) >= WIDTH) {
            panel.source = source + pixel_offset(&job->from, q), panel.source_c = c->s_stride[1];
        } else {
            if (b->in_place) gather(job, w, q, count, source);
            panel.source = w->panel + (b->in_place ? 0 : (q - first) * c->sc), panel.source_c = WIDTH;
        }
        if (b->in_place && next + WIDTH <= b->pixels && pixels_left(&job->from, next) >= WIDTH)
            panel.next = source + pixel_offset(&job->from, next);
        int direct = job->to.stride_w == 1 && job->phases == 1 && pixels_left(&job->to, q) >= count;
        panel.dest = direct ? dest + pixel_offset(&job->to, q) : w->acc;
        panel.dest_c = direct ? c->d_stride[1] : WIDTH;
        multiply(job, &panel, j0, j1, job->weight + group * c->w_group, job->bias ? job->bias + group * c->dc : NULL);
        if (!direct) deliver(job, q, count, j1 - j0, w->acc, dest);
    }
}

void NAME(pointwise_planes)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source,
                            const elem *weight, const elem *bias, elem *dest, void *workspace) {
    struct job job = {.c = phase, .phase = phase, .phases = phases, .across = across, .b = block_up(phase),
                      .from = source_pixels(phase), .to = dest_pixels(phase),
                      .source = source, .weight = weight, .bias = bias, .dest = dest};
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    engine_parallel(phase->threads, phase->g * job.b.strips * job.b.parts, strip_task, &job);
}
