/* The transforms of what is multiplied: first down the columns, then along the rows.  Planes stay planes in the first step
   (vectors along columns) and are transposed for the second, whose vectors run along channels. */
#include "winograd_tiles.h"
#include "winograd_transform.h"

enum { TILES = WINOGRAD_CHUNK / 4, GRADIENT = 5 };

/* `kind` is GRADIENT, or the outputs (1 to 4) of a tile of inputs; a constant wherever inlined functions take it */
INLINE int side(int kind) { return kind == GRADIENT ? 4 : kind + 2; }

INLINE void transform(const int kind, vec d[6]) {
    switch (kind) {
        case 1: winograd_input_1(d); break;
        case 2: winograd_input_2(d); break;
        case 3: winograd_input_3(d); break;
        case 4: winograd_input(d); break;
        default: winograd_gradient(d);
    }
}

/* ---- down the columns ---- */

/* WINOGRAD_CHUNK columns of LANES channels: row i of the first channel, or column, begins at row[i], the next one is
   next[i] further.  Columns outside [begin, end) are zero. */
struct chunk {
    const elem *row[6];
    int64_t next[6], begin, end;
};

/* of planes -> half[i][channel][column] */
INLINE void transform_planes(const int kind, const int masked, const struct chunk *c, elem *half) {
    for (int v = 0; v < WINOGRAD_CHUNK; v += LANES) {
        vec_bits column = vec_lanes() + (bits)v;
        vec_bits inside = (vec_bits)((column >= (bits)c->begin) & (column < (bits)c->end));
        for (int l = 0; l < LANES; l++) {
            vec d[6] = {{0}};
#pragma GCC unroll 6
            for (int i = 0; i < side(kind); i++) {
                d[i] = vec_load(c->row[i] + l * c->next[i] + v);
                if (masked) d[i] = (vec)((vec_bits)d[i] & inside);
            }
            transform(kind, d);
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++)
                if (winograd_uses(kind, i)) vec_store(half + (i * LANES + l) * WINOGRAD_CHUNK + v, d[i]);
        }
    }
}

/* where channels lie together -> half[i][column][channel] */
INLINE void transform_pixels(const int kind, const struct chunk *c, elem *half) {
    for (int64_t x = 0; x < WINOGRAD_CHUNK; x++) {
        vec d[6] = {{0}};
        if (x >= c->begin && x < c->end) {
#pragma GCC unroll 6
            for (int i = 0; i < side(kind); i++) d[i] = vec_load(c->row[i] + x * c->next[i]);
            transform(kind, d);
        }
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++)
            if (winograd_uses(kind, i)) vec_store(half + (i * WINOGRAD_CHUNK + x) * LANES, d[i]);
    }
}

#define COLUMNS(kind)                                                                                                  \
    static void columns_##kind(int pixels, int masked, const struct chunk *c, elem *half) {                            \
        if (pixels)                                                                                                    \
            transform_pixels(kind, c, half);                                                                           \
        else if (masked)                                                                                               \
            transform_planes(kind, 1, c, half);                                                                        \
        else                                                                                                           \
            transform_planes(kind, 0, c, half);                                                                        \
    }
COLUMNS(1)
COLUMNS(2)
COLUMNS(3)
COLUMNS(4)
COLUMNS(GRADIENT)

static void transform_columns(int64_t kind, int pixels, int masked, const struct chunk *c, elem *half) {
    switch (kind) {
        case 1: columns_1(pixels, masked, c, half); break;
        case 2: columns_2(pixels, masked, c, half); break;
        case 3: columns_3(pixels, masked, c, half); break;
        case 4: columns_4(pixels, masked, c, half); break;
        default: columns_GRADIENT(pixels, masked, c, half);
    }
}

/* ---- along the rows ---- */

/* What a chunk's columns are for: tiles [0, whole) that begin in it, and with `before` the one that began in the chunk
   before; tile `edge` is short of columns, which are put by. */
struct wanted {
    int64_t whole, edge;
    int before;
};

INLINE void store_tile(const int kind, const vec x[6], elem *v, int64_t plane) {
    vec d[6] = {{0}};
#pragma GCC unroll 6
    for (int j = 0; j < side(kind); j++) d[j] = x[j];
    transform(kind, d);
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++)
        if (winograd_uses(kind, j)) vec_store(v + j * plane, d[j]);
}

/* The rows that `down` outputs need.  Inputs of two tiles overlap: `carry` holds the last four columns of the chunk
   before. */
INLINE void transform_rows(const int kind, const int planes, int64_t down, const struct wanted *w, const elem *half,
                           elem *carry, elem *put_by, elem *v, int64_t plane, int64_t row) {
    for (int i = 0; i < 6; i++) {
        if (!winograd_uses((int)down, i)) continue;
        const elem *from = half + i * WINOGRAD_CHUNK * LANES;
        elem *last = carry + 4 * i * LANES, *edge = put_by + 5 * i * LANES, *to = v + 6 * i * plane;
        vec x[WINOGRAD_CHUNK + 2];
#pragma GCC unroll 16
        for (int q = 0; q < WINOGRAD_CHUNK; q += LANES) {
#pragma GCC unroll 16
            for (int l = 0; l < LANES; l++)
                x[q + l] = vec_load(from + (planes ? l * WINOGRAD_CHUNK + q : (q + l) * LANES));
            if (planes) vec_transpose(x + q);
        }
        if (kind != GRADIENT && w->before) {
            vec d[6] = {vec_load(last), vec_load(last + LANES), vec_load(last + 2 * LANES), vec_load(last + 3 * LANES),
                        x[0], x[1]};
            store_tile(kind, d, to - row, plane);
        } else if (w->edge == -1) {
            vec_store(edge + 4 * LANES, x[0]);
        }
#pragma GCC unroll 4
        for (int t = 0; t < TILES; t++) {
            if (t < w->whole && 4 * t + side(kind) <= WINOGRAD_CHUNK) store_tile(kind, x + 4 * t, to + t * row, plane);
            if (t == w->edge) {
#pragma GCC unroll 5
                for (int j = 0; j < 5; j++)
                    if (4 * t + j < WINOGRAD_CHUNK) vec_store(edge + j * LANES, x[4 * t + j]);
            }
        }
        if (kind == GRADIENT) continue;
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) vec_store(last + j * LANES, x[WINOGRAD_CHUNK - 4 + j]);
    }
}

/* the tile whose columns were put by */
INLINE void transform_edge(const int kind, int64_t down, const elem *put_by, elem *v, int64_t plane) {
    for (int i = 0; i < 6; i++) {
        if (!winograd_uses((int)down, i)) continue;
        vec x[6] = {{0}};
#pragma GCC unroll 5
        for (int j = 0; j < 5; j++) x[j] = vec_load(put_by + (5 * i + j) * LANES);
        store_tile(kind, x, v + 6 * i * plane, plane);
    }
}

/* ---- segments ---- */

/* What cannot be read in whole vectors, as planes of its own: to[i][channel][column]. */
static void copy_chunk(const struct winograd_planes *p, const elem *source, int64_t channels, int64_t h0, int64_t w0,
                       int64_t rows, struct chunk *c, elem *to) {
    memset(to, 0, (size_t)(6 * LANES * WINOGRAD_CHUNK) * sizeof(elem));
    for (int64_t i = 0; i < rows; i++, to += LANES * WINOGRAD_CHUNK) {
        int64_t h = h0 + i;
        c->row[i] = to, c->next[i] = WINOGRAD_CHUNK;
        if (h < 0 || h >= p->sh) continue;
        for (int64_t l = 0; l < channels; l++)
            for (int64_t x = c->begin; x < c->end; x++)
                to[l * WINOGRAD_CHUNK + x] = source[l * p->stride[1] + h * p->stride[2] + (w0 + x) * p->stride[3]];
    }
}

/* whether whole vectors of all rows and channels, but for rows that are `zero`, may be read */
static int readable(const struct winograd_planes *p, const elem *zero, const struct chunk *c, int64_t rows) {
    for (int64_t i = 0; i < rows; i++) {
        const elem *one = c->row[i], *other = one + (LANES - 1) * c->next[i];
        if (one == zero) continue;
        if (one < p->begin || one + WINOGRAD_CHUNK > p->end || other < p->begin || other + WINOGRAD_CHUNK > p->end) return 0;
    }
    return 1;
}

/* one segment, LANES channels */
INLINE void transform_segment(const int kind, const struct winograd_planes *p, const elem *source, int64_t channels,
                              const struct winograd_segment *s, elem *v, int64_t plane, int64_t row, elem *scratch) {
    static const elem zero[WINOGRAD_CHUNK];
    elem *half = scratch, *carry = half + 6 * WINOGRAD_CHUNK * LANES;
    elem *put_by = carry + 24 * LANES, *copy = put_by + 30 * LANES;
    int64_t down = kind == GRADIENT ? GRADIENT : s->rows, rows = side((int)down);
    int64_t h0 = p->first_h + 4 * s->i, w0 = p->first_w + 4 * s->j;
    int64_t columns = 4 * s->tiles + (s->edge ? s->edge + 2 : side(kind) - 4);
    int pixels = p->stride[1] == 1 && channels >= LANES;
    int in_vectors = pixels || (p->stride[3] == 1 && channels >= LANES);
    for (int64_t tile = 0; 4 * tile < columns; tile += TILES, w0 += WINOGRAD_CHUNK) {
        struct chunk c = {.begin = min64(WINOGRAD_CHUNK, max64(0, -w0))};
        c.end = max64(c.begin, min64(WINOGRAD_CHUNK, p->sw - w0));
        for (int64_t i = 0; i < rows; i++) {
            int64_t h = h0 + i;
            int inside = h >= 0 && h < p->sh;
            c.row[i] = inside ? source + h * p->stride[2] + w0 * p->stride[3] : zero;
            c.next[i] = inside ? p->stride[pixels ? 3 : 1] : 0;
        }
        int masked = c.begin > 0 || c.end < WINOGRAD_CHUNK;
        if (!in_vectors || (masked && !pixels && !readable(p, zero, &c, rows)))
            copy_chunk(p, source, min64(LANES, channels), h0, w0, rows, &c, copy);
        transform_columns(down, pixels, masked, &c, half);
        struct wanted w = {.whole = s->tiles - tile, .edge = s->edge ? s->tiles - tile : -2,
                           .before = tile > 0 && tile <= s->tiles};
        elem *to = v + (s->slot + tile) * row;
        if (pixels)
            transform_rows(kind, 0, down, &w, half, carry, put_by, to, plane, row);
        else
            transform_rows(kind, 1, down, &w, half, carry, put_by, to, plane, row);
    }
    elem *edge = v + s->edge_slot * row;
    switch (s->edge) {
        case 1: transform_edge(1, down, put_by, edge, plane); break;
        case 2: transform_edge(2, down, put_by, edge, plane); break;
        case 3: transform_edge(3, down, put_by, edge, plane); break;
    }
}

INLINE void transform_tiles(const int kind, const struct winograd_planes *p, const elem *source, int64_t channels,
                            int64_t first, int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch) {
    struct winograd_order next = NAME(winograd_order)(p, first, count);
    for (int64_t tile = first; tile < first + count;) {
        struct winograd_segment s = winograd_segment(p, tile, first + count, next.begin);
        for (int64_t j = 0; j < channels; j += LANES) {
            int64_t c = max64(0, min64(j, channels - LANES)); /* the last vector overlaps the one before */
            const elem *from = source + s.image * p->stride[0] + c * p->stride[1];
            transform_segment(kind, p, from, min64(LANES, channels - c), &s, to + c, plane, row, scratch);
        }
        tile += s.tiles + (s.edge > 0);
    }
}

void NAME(winograd_transform_inputs)(const struct winograd_planes *p, const elem *source, int64_t channels,
                                     int64_t first, int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch) {
    transform_tiles(4, p, source, channels, first, count, to, plane, row, scratch);
}

void NAME(winograd_transform_gradients)(const struct winograd_planes *p, const elem *gradient, int64_t channels,
                                        int64_t first, int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch) {
    transform_tiles(GRADIENT, p, gradient, channels, first, count, to, plane, row, scratch);
}
