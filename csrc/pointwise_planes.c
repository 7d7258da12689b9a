/* One tap, dest in planes: vectors along pixels, one panel of them after another; its channels, a chunk at a time,
   stay in L1 while every output channel passes.  Long rows are read in place by the first output channels, which
   leave a copy that is aligned and lies together to the others; short rows are gathered first. */
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
    LINE = 64 / ELEM_BYTES,
    TURNED = 4 * LINE,          /* output channels whose weights are turned at a time */
};

struct blocking {
    int64_t pixels, panels, strip, strips; /* a strip is so many panels */
    int64_t part, parts;                   /* a part is so many output channels */
    int64_t chunk;
    int stream;
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
    int64_t w_group, w_dc, w_sc;
    elem *turned; /* weights, each output channel's in a row; NULL: they already are */
    elem *dest;
    struct worker {
        int64_t gathered; /* which strip */
        struct piece *piece;
        elem *panel, *acc;
    } *worker;
};

static struct blocking block_up(const struct correlation *c) {
    struct blocking b = {.pixels = c->n * c->dh * c->dw, .chunk = product_chunk(c->sc), .stream = pointwise_streams(c)};
    struct pixels from = source_pixels(c);
    b.panels = ceil_div(b.pixels, WIDTH);
    b.in_place = from.stride_w == 1 && from.run >= LONG_ROW;
    b.strip = max64(1, min64(MOST_PANELS, STRIP_BYTES / (c->sc * WIDTH * (int64_t)sizeof(elem))));
    b.strips = ceil_div(b.panels, b.strip);
    int64_t rows = tile_rows(TILE_VECS), wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    b.parts = max64(ceil_div(c->dc, PART_ROWS), ceil_div(wanted, max64(1, b.strips * c->g)));
    b.part = ceil_div(ceil_div(c->dc, b.parts), rows) * rows;
    b.parts = ceil_div(c->dc, b.part);
    return b;
}

static int64_t turned_pitch(const struct correlation *c) { return (ceil_div(c->sc, LINE) | 1) * LINE; }

static void carve(struct job *job, struct arena *arena) {
    const struct blocking *b = &job->b;
    if (job->c->w_sc != 1) job->turned = ARENA_TAKE(arena, elem, job->c->g * job->c->dc * turned_pitch(job->c));
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

/* Weights whose sources' channels are not consecutive are turned round: products would miss the cache at each. */
static void turn_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    struct job *job = context;
    const struct correlation *c = job->c;
    int64_t pitch = turned_pitch(c), blocks = ceil_div(c->dc, TURNED);
    int64_t group = task / blocks, j = task % blocks * TURNED, channels = min64(TURNED, c->dc - j);
    const elem *from = job->weight + group * c->w_group + j * c->w_dc;
    elem *to = job->turned + (group * c->dc + j) * pitch;
    if (c->w_dc == 1)
        NAME(transpose)(c->sc, channels, from, c->w_sc, to, pitch);
    else
        for (int64_t r = 0; r < channels; r++)
            for (int64_t k = 0; k < c->sc; k++) to[r * pitch + k] = from[r * c->w_dc + k * c->w_sc];
}

/* ---- gathering -------------------------------------------------------------------------------------------------- */

static void gather_channels(const struct job *job, const struct worker *w, int64_t pieces, const elem *source) {
    int64_t stride_c = job->c->s_stride[1], stride_w = job->from.stride_w, channels = job->c->sc;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < pieces; i++) {
            const struct piece *piece = &w->piece[i];
            int free = c < channels - 1 && next_channel_covers(piece->count, stride_w, stride_c);
            copy_pixels(piece->count, source + piece->from + c * stride_c, stride_w, w->panel + piece->to + c * WIDTH,
                        free);
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

INLINE void copy_row(int64_t count, const elem *from, elem *to, int64_t stride) {
    int64_t i = 0;
    if (stride == 1 && count >= LANES) { /* the last vector overlaps the one before it */
        for (; i + LANES <= count; i += LANES) vec_store(to + i, vec_load(from + i));
        vec_store(to + count - LANES, vec_load(from + count - LANES));
        return;
    }
    for (; i < count; i++) to[i * stride] = from[i];
}

/* every other element of a row; the others, as far as the row goes, are zero */
INLINE void spread_by_two(int64_t count, int64_t zeros, const elem *from, elem *to) {
    elem row[2 * WIDTH];
    for (int64_t i = 0; i < count; i += LANES) {
        vec v = vec_load(from + i), zero = {0};
        vec_store(row + 2 * i, vec_zip_low(v, zero));
        vec_store(row + 2 * i + LANES, vec_zip_high(v, zero));
    }
    copy_row(count + zeros, row, to, 1);
}

INLINE void zero_row(int64_t count, elem *to, int64_t stride) {
    if (stride == 1)
        memset(to, 0, (size_t)count * sizeof(elem));
    else
        for (int64_t i = 0; i < count; i++) to[i * stride] = 0;
}

/* Pixels in one row of dest, beginning in row i, column j, and those around them that no tap reaches. */
static void deliver_phases(const struct job *job, int64_t i, int64_t j, int64_t count, int64_t channels,
                           const elem *acc, elem *dest) {
    const struct correlation *phase = job->phase;
    int64_t stride = phase->d_stride[3], step_c = phase->d_stride[1], next = min64(count, phase[1].dw - j);
    int in_pairs = job->across == 2 && stride == 2;
    for (int64_t r = 0; r < channels; r++) {
        elem *to = dest + r * step_c;
        int64_t f = in_pairs ? 2 : 1;
        if (in_pairs)
            spread_by_two(count, next, acc + r * WIDTH, to);
        else
            copy_row(count, acc + r * WIDTH, to, stride);
        for (; f < job->phases; f += in_pairs ? 2 : 1) {
            if (i >= phase[f].dh) continue;
            elem *zeros = to + phase[f].d_offset - phase->d_offset;
            if (in_pairs)
                zero_row(count + next, zeros, 1);
            else
                zero_row(min64(count, phase[f].dw - j), zeros, stride);
        }
    }
}

static void deliver(const struct job *job, int64_t q0, int64_t count, int64_t channels, const elem *acc, elem *dest) {
    const struct correlation *c = job->c;
    for (int64_t q = 0; q < count;) {
        int64_t j = (q0 + q) % c->dw, left = job->phases > 1 ? c->dw - j : pixels_left(&job->to, q0 + q);
        int64_t length = min64(count - q, left);
        elem *to = dest + pixel_offset(&job->to, q0 + q);
        if (job->phases > 1)
            deliver_phases(job, (q0 + q) / c->dw % c->dh, j, length, channels, acc + q, to);
        else
            for (int64_t r = 0; r < channels; r++)
                copy_row(length, acc + r * WIDTH + q, to + r * c->d_stride[1], job->to.stride_w);
        q += length;
    }
}

/* ---- multiplying ------------------------------------------------------------------------------------------------ */

struct panel {
    const elem *source;
    int64_t source_c, vecs, lanes;
    elem *copy;       /* of a chunk of the panel, if it is read in place */
    elem *dest;
    int64_t dest_c;
    int direct; /* written to its place */
    struct errands errands;
};

/* the output channels [j0, j1) of a panel */
static void multiply(const struct job *job, struct panel *panel, int64_t j0, int64_t j1, const elem *weight,
                     const elem *bias) {
    const struct correlation *c = job->c;
    int64_t height = tile_rows(panel->vecs), a_row[TILE_ROWS_1], to_row[TILE_ROWS_1];
    for (int64_t r = 0; r < height; r++) a_row[r] = r * job->w_dc, to_row[r] = r * panel->dest_c;
    for (int64_t k0 = 0; k0 < c->sc; k0 += job->b.chunk) {
        struct product p = {.k = min64(job->b.chunk, c->sc - k0), .a_row = a_row, .a_step = job->w_sc,
                            .b = panel->source + k0 * panel->source_c, .b_step = panel->source_c,
                            .to_row = to_row, .lanes = panel->lanes, .add = k0 > 0};
        int ends = k0 + p.k == c->sc;
        p.relu = ends && c->relu;
        p.stream = job->b.stream && p.k == c->sc && panel->direct; /* otherwise it is read again */
        for (int64_t j = j0; j < j1; j += height) {
            p.rows = min64(height, j1 - j);
            for (int64_t r = p.rows; r < height; r++) a_row[r] = a_row[p.rows - 1];
            p.a = weight + j * job->w_dc + k0 * job->w_sc;
            p.to = panel->dest + (j - j0) * panel->dest_c;
            p.row_bias = ends && bias ? bias + j : NULL;
            product_errand(&panel->errands, &p);
            if (j == j0 && panel->copy) {
                p.keep = panel->copy;
                NAME(product_keeping)(&p);
                p.b = panel->copy, p.b_step = WIDTH;
            } else {
                NAME(product)(panel->vecs, p.rows)(&p);
            }
        }
        for (int64_t r = 0; r < height; r++) a_row[r] = r * job->w_dc;
    }
}

/* the panel from q on */
static struct errands look_ahead(const struct job *job, int64_t q, const elem *source) {
    const struct correlation *c = job->c;
    struct errands e = {0};
    /* the first line of an unaligned panel was the last one of the panel before */
    if (job->b.in_place && q < job->b.pixels)
        e.todo[0] = (struct stretches){source + pixel_offset(&job->from, q) + LINE - 1, c->sc, c->s_stride[1],
                                       WIDTH / LINE};
    return e;
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
        int64_t count = min64(WIDTH, last - q);
        struct panel panel = {.vecs = ceil_div(count, LANES), .errands = look_ahead(job, q + WIDTH, source)};
        panel.lanes = count - (panel.vecs - 1) * LANES;
        if (b->in_place && pixels_left(&job->from, q) >= WIDTH) {
            panel.source = source + pixel_offset(&job->from, q), panel.source_c = c->s_stride[1];
            panel.copy = w->panel;
        } else {
            if (b->in_place) gather(job, w, q, count, source);
            panel.source = w->panel + (b->in_place ? 0 : (q - first) * c->sc), panel.source_c = WIDTH;
        }
        panel.direct = job->to.stride_w == 1 && job->phases == 1 && pixels_left(&job->to, q) >= count;
        panel.dest = panel.direct ? dest + pixel_offset(&job->to, q) : w->acc;
        panel.dest_c = panel.direct ? c->d_stride[1] : WIDTH;
        multiply(job, &panel, j0, j1, job->weight + group * job->w_group, job->bias ? job->bias + group * c->dc : NULL);
        if (!panel.direct) deliver(job, q, count, j1 - j0, w->acc, dest);
    }
    if (b->stream) vec_stream_end();
}

void NAME(pointwise_planes)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source,
                            const elem *weight, const elem *bias, elem *dest, void *workspace) {
    struct job job = {.c = phase, .phase = phase, .phases = phases, .across = across, .b = block_up(phase),
                      .from = source_pixels(phase), .to = dest_pixels(phase),
                      .source = source, .weight = weight, .bias = bias, .dest = dest,
                      .w_group = phase->w_group, .w_dc = phase->w_dc, .w_sc = phase->w_sc};
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    if (job.turned) {
        engine_parallel(phase->threads, phase->g * ceil_div(phase->dc, TURNED), turn_task, &job);
        job.weight = job.turned;
        job.w_dc = turned_pitch(phase), job.w_group = phase->dc * job.w_dc, job.w_sc = 1;
    }
    engine_parallel(phase->threads, phase->g * job.b.strips * job.b.parts, strip_task, &job);
}
