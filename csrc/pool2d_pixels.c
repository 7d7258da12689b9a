/* Pooling with vectors along channels, which lie side by side in every pixel: any window is then a plain loop over its
   cells.  Channels-last arrays are used in place.  Small planes are transposed into such pixels, LANES planes at a time. */
#include "pool2d_vec.h"
#include "thread.h"

enum {
    TASK_BYTES = 64 * 1024,
    FEW_ROWS = 16,  /* fewer rows than these are shared out by channels too */
    WIDE = 4,       /* vectors of channels taken together */
    STAGED_BYTES = 256 * 1024, /* a quarter of L2 */
};

/* One image; distances in elements. */
struct image {
    int64_t channels;
    const elem *x, *dy;
    elem *y, *dx;
    int64_t *index;
    const int64_t *given;
    bits *code;             /* instead of the index, with the strides of y */
    int64_t x_row, x_pixel, y_row, y_pixel, index_row, index_pixel, dx_row, dx_pixel;
    int stream;
};

/* Vectors of the next channels: WIDE, or one; the last one may overlap its neighbour, or be all there is and incomplete. */
INLINE vec load_channels(const elem *p, int64_t channels) {
    return channels >= LANES ? vec_load(p) : vec_load_first(p, channels);
}

INLINE void store_channels(elem *p, vec v, int64_t channels, int stream) {
    if (channels < LANES)
        vec_store_first(p, v, channels);
    else if (stream && (uintptr_t)p % VEC_BYTES == 0)
        vec_stream(p, v);
    else
        vec_store(p, v);
}

INLINE void store_index(int64_t *p, vec_bits position, int64_t channels, int stream) {
    if (channels < LANES) {
        int64_t lane[LANES];
        pool_store_index(lane, position);
        memcpy(p, lane, (size_t)channels * sizeof *p);
    } else if (stream && (uintptr_t)p % VEC_BYTES == 0) {
        pool_stream_index(p, position);
    } else {
        pool_store_index(p, position);
    }
}

#define EACH_BLOCK(c, channels)                                                                                        \
    int64_t c = 0;                                                                                                     \
    for (; c + WIDE * LANES <= channels; c += WIDE * LANES) BLOCK(WIDE, c, LANES);                                     \
    for (; c + LANES <= channels; c += LANES) BLOCK(1, c, LANES);                                                      \
    if (c < channels && channels >= LANES) BLOCK(1, channels - LANES, LANES);                                          \
    else if (c < channels) BLOCK(1, 0, channels)

INLINE void pixel_maximum(const struct pool *pool, const struct image *m, int vecs, int coded, int64_t i, int64_t j, int64_t c,
                          int64_t channels) {
    const struct axis *h = &pool->h, *w = &pool->w;
    vec best[WIDE];
    vec_bits code[WIDE];
    for (int v = 0; v < vecs; v++) best[v] = vec_splat(pool->outside);
    bits first = h->first[i] < h->end[i] && w->first[j] < w->end[j] ? (bits)(h->first[i] * w->in + w->first[j]) : 0;
    for (int v = 0; v < vecs; v++) code[v] = vec_splat_bits(first);
    vec_bits flip = vec_splat_bits(pool->flip);
    for (int64_t row = h->first[i]; row < h->end[i]; row += h->step) {
        const elem *cell = m->x + row * m->x_row + w->first[j] * m->x_pixel + c;
        bits at = (bits)(row * w->in + w->first[j]);
        for (int64_t col = w->first[j]; col < w->end[j]; col += w->step) {
            for (int v = 0; v < vecs; v++) {
                vec value = (vec)((vec_bits)load_channels(cell + v * LANES, channels) ^ flip);
                if (coded)
                    pool_replace(value, vec_splat_bits(at), &best[v], &code[v]);
                else
                    best[v] = vec_maximum(best[v], value);
            }
            cell += w->step * m->x_pixel;
            at += (bits)w->step;
        }
    }
    for (int v = 0; v < vecs; v++) {
        int64_t k = c + v * LANES, pixel = i * m->y_row + j * m->y_pixel + k;
        if (m->y) store_channels(m->y + pixel, (vec)((vec_bits)best[v] ^ flip), channels, m->stream);
        if (coded && m->code)
            vec_store_bits(m->code + pixel, code[v]);
        else if (coded)
            store_index(m->index + i * m->index_row + j * m->index_pixel + k, code[v], channels, m->stream);
    }
}

/* `plain`: an average, whose terms are the cells themselves. */
INLINE void pixel_sum(const struct pool *pool, const struct image *m, int vecs, int plain, int64_t i, int64_t j, int64_t c,
                      int64_t channels) {
    const struct axis *h = &pool->h, *w = &pool->w;
    vec total[WIDE] = {{0}};
    for (int64_t row = h->first[i]; row < h->end[i]; row += h->step) {
        const elem *cell = m->x + row * m->x_row + w->first[j] * m->x_pixel + c;
        vec along[WIDE] = {{0}}; /* rows are summed on their own: less rounding */
        for (int64_t col = w->first[j]; col < w->end[j]; col += w->step, cell += w->step * m->x_pixel)
            for (int v = 0; v < vecs; v++) {
                vec value = load_channels(cell + v * LANES, channels);
                along[v] += plain ? value : pool_term(pool, value);
            }
        for (int v = 0; v < vecs; v++) total[v] += along[v];
    }
    elem *to = m->y + i * m->y_row + j * m->y_pixel + c;
    vec count = vec_splat(h->count[i] * w->count[j]);
    for (int v = 0; v < vecs; v++)
        store_channels(to + v * LANES, plain ? total[v] / count : pool_finish(pool, total[v], count), channels, m->stream);
}

static void forward_row(const struct pool *pool, const struct image *m, int64_t i) {
    int coded = m->code || m->index;
    for (int64_t j = 0; j < pool->w.out; j++) {
        if (pool_is_norm(pool)) {
#define BLOCK(vecs, c, lanes) pixel_sum(pool, m, vecs, 0, i, j, c, lanes)
            EACH_BLOCK(k, m->channels);
#undef BLOCK
        } else if (!pool->maximum) {
#define BLOCK(vecs, c, lanes) pixel_sum(pool, m, vecs, 1, i, j, c, lanes)
            EACH_BLOCK(k, m->channels);
#undef BLOCK
        } else if (coded) {
#define BLOCK(vecs, c, lanes) pixel_maximum(pool, m, vecs, 1, i, j, c, lanes)
            EACH_BLOCK(k, m->channels);
#undef BLOCK
        } else {
#define BLOCK(vecs, c, lanes) pixel_maximum(pool, m, vecs, 0, i, j, c, lanes)
            EACH_BLOCK(k, m->channels);
#undef BLOCK
        }
    }
}

/* Backward.  Rows of windows, ready to be asked for: the share each window gives, or where its maximum was. */
struct shares {
    int64_t slots, row, pixel;
    elem *share;    /* ring; of a maximum the share is dy itself */
    bits *code;     /* ring */
    int64_t next;
};

static void enter(const struct pool *pool, const struct image *m, struct shares *s, int64_t i) {
    int64_t ring = i % s->slots * s->row;
    struct image row = *m; /* forward, from x into the ring */
    row.index = NULL, row.stream = 0, row.y_row = 0, row.y_pixel = s->pixel;
    row.y = pool->maximum ? NULL : s->share + ring;
    row.code = pool->maximum ? s->code + ring : NULL;
    if (pool->reads_x) forward_row(pool, &row, i);
    for (int64_t j = 0; j < pool->w.out; j++) {
        if (m->given) {
            const int64_t *from = m->given + i * m->index_row + j * m->index_pixel;
            bits *to = s->code + ring + j * s->pixel;
            check_given(pool, from, m->channels, 1);
            int64_t c = 0;
            for (; c + LANES <= m->channels; c += LANES) vec_store_bits(to + c, pool_load_index(from + c));
            for (; c < m->channels; c++) to[c] = (bits)from[c];
        } else if (!pool->maximum) {
            const elem *dy = m->dy + i * m->y_row + j * m->y_pixel;
            elem *share = s->share + ring + j * s->pixel;
            vec count = vec_splat(pool->h.count[i] * pool->w.count[j]);
            for (int64_t c = 0; c < m->channels; c += LANES)
                vec_store(share + c, pool_share(pool, load_channels(dy + c, m->channels - c), vec_load(share + c), count));
        }
    }
}

INLINE void pixel_gradient(const struct pool *pool, const struct image *m, const struct shares *s, int vecs, int coded,
                           int64_t row, int64_t col, int64_t c, int64_t channels) {
    const struct axis *h = &pool->h, *w = &pool->w;
    vec total[WIDE] = {{0}};
    vec_bits at = vec_splat_bits((bits)(row * w->in + col));
    for (int64_t i = h->lo[row]; i < h->hi[row]; i++) {
        if (!axis_holds(h, i, row)) continue;
        for (int64_t j = w->lo[col]; j < w->hi[col]; j++) {
            if (!axis_holds(w, j, col)) continue;
            int64_t ring = i % s->slots * s->row + j * s->pixel + c;
            for (int v = 0; v < vecs; v++) {
                if (coded) {
                    vec share = load_channels(m->dy + i * m->y_row + j * m->y_pixel + c + v * LANES, channels);
                    vec_bits here = (vec_bits)(vec_load_bits(s->code + ring + v * LANES) == at);
                    total[v] += (vec)((vec_bits)share & here);
                } else {
                    total[v] += vec_load(s->share + ring + v * LANES);
                }
            }
        }
    }
    for (int v = 0; v < vecs; v++) {
        int64_t k = c + v * LANES;
        if (pool_is_norm(pool))
            total[v] *= pool_factor(pool, load_channels(m->x + row * m->x_row + col * m->x_pixel + k, channels));
        store_channels(m->dx + row * m->dx_row + col * m->dx_pixel + k, total[v], channels, m->stream);
    }
}

static void backward_row(const struct pool *pool, const struct image *m, struct shares *s, int64_t h) {
    for (s->next = max64(s->next, pool->h.lo[h]); s->next < pool->h.hi[h]; s->next++) enter(pool, m, s, s->next);
    for (int64_t w = 0; w < pool->w.in; w++) {
        if (pool->maximum) {
#define BLOCK(vecs, c, lanes) pixel_gradient(pool, m, s, vecs, 1, h, w, c, lanes)
            EACH_BLOCK(k, m->channels);
#undef BLOCK
        } else {
#define BLOCK(vecs, c, lanes) pixel_gradient(pool, m, s, vecs, 0, h, w, c, lanes)
            EACH_BLOCK(k, m->channels);
#undef BLOCK
        }
    }
}

static struct shares carve_shares(const struct pool *pool, struct arena *arena, int64_t channels) {
    struct shares s = {.slots = max64(1, pool->h.cover), .pixel = ceil_div(channels, LANES) * LANES};
    s.row = pool->w.out * s.pixel;
    s.share = pool->maximum ? NULL : ARENA_TAKE(arena, elem, s.slots * s.row);
    s.code = pool->maximum ? ARENA_TAKE(arena, bits, s.slots * s.row) : NULL;
    return s;
}

/* Channels-last arrays in place: tasks of some rows of one image, and of some channels if there are few rows. */
struct split {
    const struct pool *pool;
    int64_t image_rows, rows, tasks_per_image, parts, part;
};

static struct split split(const struct pool *pool) {
    const engine_pool2d *p = pool->p;
    struct split s = {.pool = pool, .image_rows = pool->backward ? p->ih : p->oh};
    int64_t bytes = (p->ih * p->iw + p->oh * p->ow) * p->c / s.image_rows * (int64_t)sizeof(elem);
    s.rows = max64(ceil_div(TASK_BYTES, max64(1, bytes)), 2 * (pool->backward ? pool->h.span : pool->h.cover));
    s.tasks_per_image = ceil_div(s.image_rows, s.rows);
    s.rows = ceil_div(s.image_rows, s.tasks_per_image);
    int64_t blocks = ceil_div(p->c, WIDE * LANES);
    int small = p->n * s.tasks_per_image * TASK_BYTES > p->n * s.image_rows * bytes;
    s.parts = small ? 1 : min64(blocks, ceil_div(FEW_ROWS, p->n * s.tasks_per_image));
    s.part = ceil_div(blocks, s.parts) * WIDE * LANES;
    s.parts = ceil_div(p->c, s.part);
    return s;
}

static struct image image_of(const struct pool *pool, int64_t n, int64_t c) {
    const engine_pool2d *p = pool->p;
    return (struct image){
        .x = pool->x ? pool->x + n * p->x_stride[0] + c : NULL, .x_row = p->x_stride[2], .x_pixel = p->x_stride[3],
        .y = pool->y ? pool->y + n * p->y_stride[0] + c : NULL, .y_row = p->y_stride[2], .y_pixel = p->y_stride[3],
        .dy = pool->dy ? pool->dy + n * p->y_stride[0] + c : NULL,
        .dx = pool->dx ? pool->dx + n * p->dx_stride[0] + c : NULL, .dx_row = p->dx_stride[2], .dx_pixel = p->dx_stride[3],
        .index = pool->index ? pool->index + n * p->index_stride[0] + c : NULL,
        .given = pool->given ? pool->given + n * p->index_stride[0] + c : NULL,
        .index_row = p->index_stride[2], .index_pixel = p->index_stride[3], .stream = pool->stream,
    };
}

static void image_task(void *context, int64_t task, int64_t worker) {
    const struct split *s = context;
    const struct pool *pool = s->pool;
    int64_t part = task % s->parts, rows = task / s->parts;
    int64_t n = rows / s->tasks_per_image, begin = rows % s->tasks_per_image * s->rows, c = part * s->part;
    struct image image = image_of(pool, n, c);
    struct arena arena = {.base = pool->scratch + worker * pool->scratch_bytes};
    image.channels = min64(s->part, pool->p->c - c);
    struct shares shares = pool->backward ? carve_shares(pool, &arena, s->part) : (struct shares){0};
    for (int64_t row = begin; row < min64(s->image_rows, begin + s->rows); row++)
        if (pool->backward)
            backward_row(pool, &image, &shares, row);
        else
            forward_row(pool, &image, row);
    if (image.stream) vec_stream_end();
}

/* Small planes, LANES of them at a time. */
struct view {
    char *base;
    const int64_t *stride;
    int64_t channels, rows, cols;
    int index; /* 64-bit positions; otherwise elements */
};

static char *plane_of(const struct view *v, int64_t plane) {
    int64_t item = v->index ? 8 : (int64_t)sizeof(elem);
    return v->base + item * (plane / v->channels * v->stride[0] + plane % v->channels * v->stride[1]);
}

static int contiguous(const struct view *v) { return v->stride[3] == 1 && v->stride[2] == v->cols; }

INLINE vec load_run(const char *plane, int64_t at, int64_t count, int index) {
    if (!index) return count >= LANES ? vec_load((const elem *)plane + at) : vec_load_first((const elem *)plane + at, count);
    int64_t lane[LANES] = {0};
    if (count >= LANES) return (vec)pool_load_index((const int64_t *)plane + at);
    memcpy(lane, (const int64_t *)plane + at, (size_t)count * sizeof *lane);
    return (vec)pool_load_index(lane);
}

INLINE void store_run(char *plane, int64_t at, int64_t count, int index, vec v) {
    if (!index)
        count >= LANES ? vec_store((elem *)plane + at, v) : vec_store_first((elem *)plane + at, v, count);
    else
        store_index((int64_t *)plane + at, (vec_bits)v, min64(count, LANES), 0);
}

static void to_pixels(const struct view *v, int64_t plane, int64_t planes, elem *to) {
    int64_t cells = v->rows * v->cols;
    char *from[LANES];
    for (int64_t l = 0; l < LANES; l++) from[l] = plane_of(v, plane + min64(l, planes - 1));
    if (!contiguous(v)) {
        for (int64_t at = 0; at < cells; at++) {
            int64_t cell = at / v->cols * v->stride[2] + at % v->cols * v->stride[3];
            for (int64_t l = 0; l < LANES; l++)
                ((bits *)to)[at * LANES + l] = v->index ? (bits)((int64_t *)from[l])[cell] : ((bits *)from[l])[cell];
        }
        return;
    }
    for (int64_t at = 0; at < cells; at += LANES) {
        vec row[LANES];
        for (int64_t l = 0; l < LANES; l++) row[l] = load_run(from[l], at, cells - at, v->index);
        vec_transpose(row);
        for (int64_t l = 0; l < LANES; l++) vec_store(to + (at + l) * LANES, row[l]);
    }
}

static void from_pixels(const struct view *v, int64_t plane, int64_t planes, const elem *from) {
    int64_t cells = v->rows * v->cols;
    char *to[LANES];
    for (int64_t l = 0; l < planes; l++) to[l] = plane_of(v, plane + l);
    if (!contiguous(v)) {
        for (int64_t at = 0; at < cells; at++) {
            int64_t cell = at / v->cols * v->stride[2] + at % v->cols * v->stride[3];
            for (int64_t l = 0; l < planes; l++)
                if (v->index)
                    ((int64_t *)to[l])[cell] = (int64_t)((const bits *)from)[at * LANES + l];
                else
                    ((bits *)to[l])[cell] = ((const bits *)from)[at * LANES + l];
        }
        return;
    }
    for (int64_t at = 0; at < cells; at += LANES) {
        vec row[LANES];
        for (int64_t l = 0; l < LANES; l++) row[l] = vec_load(from + (at + l) * LANES);
        vec_transpose(row);
        for (int64_t l = 0; l < planes; l++) store_run(to[l], at, cells - at, v->index, row[l]);
    }
}

struct staged {
    elem *x, *y, *dx; /* y: or dy */
    bits *code;
    struct shares shares;
};

static struct staged carve_staged(const struct pool *pool, struct arena *arena) {
    int64_t in = (pool->h.in * pool->w.in + LANES) * LANES, out = (pool->h.out * pool->w.out + LANES) * LANES;
    struct staged s = {.y = ARENA_TAKE(arena, elem, out)};
    if (pool->reads_x) s.x = ARENA_TAKE(arena, elem, in);
    if (!pool->backward && pool->coded) s.code = ARENA_TAKE(arena, bits, out);
    if (!pool->backward) return s;
    s.dx = ARENA_TAKE(arena, elem, in);
    s.shares = (struct shares){.slots = pool->h.out, .row = pool->w.out * LANES, .pixel = LANES};
    s.shares.share = pool->maximum ? NULL : ARENA_TAKE(arena, elem, out);
    s.shares.code = pool->maximum ? ARENA_TAKE(arena, bits, out) : NULL;
    return s;
}

struct group {
    const struct pool *pool;
    int64_t planes, per_task;
};

static void group_forward(const struct pool *pool, const struct staged *s, int64_t plane, int64_t planes) {
    const engine_pool2d *p = pool->p;
    to_pixels(&(struct view){(char *)pool->x, p->x_stride, p->c, p->ih, p->iw, 0}, plane, planes, s->x);
    struct image image = {.channels = LANES, .x = s->x, .x_row = p->iw * LANES, .x_pixel = LANES,
                          .y = s->y, .code = s->code, .y_row = p->ow * LANES, .y_pixel = LANES};
    for (int64_t i = 0; i < p->oh; i++) forward_row(pool, &image, i);
    from_pixels(&(struct view){(char *)pool->y, p->y_stride, p->c, p->oh, p->ow, 0}, plane, planes, s->y);
    if (s->code)
        from_pixels(&(struct view){(char *)pool->index, p->index_stride, p->c, p->oh, p->ow, 1}, plane, planes,
                    (const elem *)s->code);
}

static void check_plane(const struct pool *pool, int64_t plane) {
    const engine_pool2d *p = pool->p;
    const int64_t *given = pool->given + plane / p->c * p->index_stride[0] + plane % p->c * p->index_stride[1];
    for (int64_t i = 0; i < p->oh; i++) check_given(pool, given + i * p->index_stride[2], p->ow, p->index_stride[3]);
}

static void group_backward(const struct pool *pool, struct staged *s, int64_t plane, int64_t planes) {
    const engine_pool2d *p = pool->p;
    struct image image = {.channels = LANES, .x = s->x, .x_row = p->iw * LANES, .x_pixel = LANES,
                          .dy = s->y, .y_row = p->ow * LANES, .y_pixel = LANES,
                          .dx = s->dx, .dx_row = p->iw * LANES, .dx_pixel = LANES};
    to_pixels(&(struct view){(char *)pool->dy, p->y_stride, p->c, p->oh, p->ow, 0}, plane, planes, s->y);
    if (s->x) to_pixels(&(struct view){(char *)pool->x, p->x_stride, p->c, p->ih, p->iw, 0}, plane, planes, s->x);
    s->shares.next = 0;
    if (pool->given) {
        for (int64_t k = 0; k < planes; k++) check_plane(pool, plane + k);
        to_pixels(&(struct view){(char *)pool->given, p->index_stride, p->c, p->oh, p->ow, 1}, plane, planes,
                  (elem *)s->shares.code);
        s->shares.next = p->oh;
    }
    for (int64_t h = 0; h < p->ih; h++) backward_row(pool, &image, &s->shares, h);
    from_pixels(&(struct view){(char *)pool->dx, p->dx_stride, p->c, p->ih, p->iw, 0}, plane, planes, s->dx);
}

static void group_task(void *context, int64_t task, int64_t worker) {
    const struct group *g = context;
    struct arena arena = {.base = g->pool->scratch + worker * g->pool->scratch_bytes};
    struct staged s = carve_staged(g->pool, &arena);
    int64_t begin = task * g->per_task, end = min64(g->planes, begin + g->per_task);
    for (int64_t plane = begin; plane < end; plane += LANES)
        if (g->pool->backward)
            group_backward(g->pool, &s, plane, min64(LANES, end - plane));
        else
            group_forward(g->pool, &s, plane, min64(LANES, end - plane));
}

int NAME(pixels_in_place)(const struct pool *pool) {
    const engine_pool2d *p = pool->p;
    return p->c > 1 && p->y_stride[1] == 1 && (!pool->reads_x || p->x_stride[1] == 1) &&
           (!pool->backward || p->dx_stride[1] == 1) && (!pool->indexed || p->index_stride[1] == 1);
}

int NAME(pixels_fit)(const struct pool *pool) {
    return (pool->h.in * pool->w.in + pool->h.out * pool->w.out) * VEC_BYTES <= STAGED_BYTES;
}

int64_t NAME(pixels_scratch)(const struct pool *pool) {
    struct arena arena = {0};
    if (!NAME(pixels_in_place)(pool))
        carve_staged(pool, &arena);
    else if (pool->backward)
        carve_shares(pool, &arena, split(pool).part);
    return arena.used;
}

void NAME(pixels_run)(const struct pool *pool) {
    const engine_pool2d *p = pool->p;
    if (NAME(pixels_in_place)(pool)) {
        struct split s = split(pool);
        engine_parallel(p->threads, p->n * s.tasks_per_image * s.parts, image_task, &s);
        return;
    }
    int64_t bytes = (p->ih * p->iw + p->oh * p->ow) * VEC_BYTES;
    struct group g = {.pool = pool, .planes = p->n * p->c, .per_task = ceil_div(TASK_BYTES, bytes) * LANES};
    engine_parallel(p->threads, ceil_div(g.planes, g.per_task), group_task, &g);
}
