#include "winograd_tiles.h"
#include "arena.h"
#include "winograd_transform.h"

/* a run of tiles within one row of tiles */
struct segment {
    int64_t image, i, j, tiles;
};

static struct segment segment_at(const struct winograd_planes *p, int64_t tile, int64_t end) {
    struct segment s = {
        .image = tile / (p->tiles_h * p->tiles_w), .i = tile / p->tiles_w % p->tiles_h, .j = tile % p->tiles_w};
    s.tiles = min64(min64(p->tiles_w - s.j, end - tile), WINOGRAD_SEGMENT);
    return s;
}

/* LANES channels x LANES columns of one row of planes -> [column][channel] */
static void transpose_row(const struct winograd_planes *p, const elem *from, int64_t channels, int64_t columns, elem *to) {
    if (p->stride[3] != 1) {
        for (int64_t x = 0; x < columns; x++)
            for (int64_t l = 0; l < LANES; l++)
                to[x * LANES + l] = l < channels ? from[l * p->stride[1] + x * p->stride[3]] : 0;
        return;
    }
    winograd_square(from, p->stride[1], min64(LANES, channels), columns, p->end, to);
}

/* `size` is the side of a tile, 6 (inputs) or 4 (gradients), and a constant wherever these are called */
INLINE void transform(const int size, vec d[6]) {
    if (size == 6)
        winograd_input(d);
    else
        winograd_gradient(d);
}

/* Every column: row i of the result at to + i*pitch, columns side by side. */
INLINE void transform_columns(const int size, const elem *const row[6], const int64_t step[6], int64_t columns, elem *to,
                              int64_t pitch) {
    for (int64_t x = 0; x < columns; x++) {
        vec d[6];
#pragma GCC unroll 6
        for (int i = 0; i < size; i++) d[i] = vec_load(row[i] + x * step[i]);
        transform(size, d);
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) vec_store(to + i * pitch + x * LANES, d[i]);
    }
}

/* Then the rows of one tile, which begins at `from`. */
INLINE void transform_rows(const int size, const elem *from, int64_t pitch, elem *to, int64_t plane) {
    for (int i = 0; i < 6; i++) {
        vec d[6];
#pragma GCC unroll 6
        for (int j = 0; j < size; j++) d[j] = vec_load(from + i * pitch + j * LANES);
        transform(size, d);
#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) vec_store(to + (6 * i + j) * plane, d[j]);
    }
}

static void zero_columns(elem *columns, int64_t pitch, int64_t begin, int64_t end) {
    for (int i = 0; i < 6; i++)
        for (int64_t x = begin; x < end; x++) vec_store(columns + i * pitch + x * LANES, (vec){0});
}

/* One segment, LANES channels.  A tile is finished as soon as its columns are there: they are in L1 then. */
INLINE void transform_segment(const int size, const struct winograd_planes *p, const elem *source, int64_t channels,
                              const struct segment *s, elem *to, int64_t plane, int64_t row, elem *scratch) {
    elem *columns = scratch, *block = scratch + 6 * WINOGRAD_COLUMNS * LANES, *zero = block + 6 * LANES * LANES;
    int64_t pitch = WINOGRAD_COLUMNS * LANES, width = 4 * s->tiles + size - 4, tile = 0;
    int64_t h0 = p->first_h + 4 * s->i, w0 = p->first_w + 4 * s->j;
    int64_t begin = min64(width, max64(0, -w0)), end = max64(begin, min64(width, p->sw - w0));
    int in_place = p->stride[1] == 1 && channels >= LANES;

    vec_store(zero, (vec){0});
    zero_columns(columns, pitch, 0, begin);
    for (int64_t x = begin; tile < s->tiles; x += LANES) {
        int64_t count = max64(0, min64(LANES, end - x));
        const elem *at[6];
        int64_t step[6];
        for (int i = 0; i < size && count; i++) {
            int64_t h = h0 + i;
            if (h < 0 || h >= p->sh) {
                at[i] = zero, step[i] = 0;
                continue;
            }
            const elem *from = source + h * p->stride[2] + (w0 + x) * p->stride[3];
            if (in_place) {
                at[i] = from, step[i] = p->stride[3];
            } else {
                at[i] = block + i * LANES * LANES, step[i] = LANES;
                transpose_row(p, from, channels, count, block + i * LANES * LANES);
            }
        }
        transform_columns(size, at, step, count, columns + x * LANES, pitch);
        if (x + LANES >= end) zero_columns(columns, pitch, end, width);
        for (; tile < s->tiles && (4 * tile + size <= x + count || x + LANES >= end); tile++)
            transform_rows(size, columns + 4 * tile * LANES, pitch, to + tile * row, plane);
    }
}

INLINE void transform_tiles(const int size, const struct winograd_planes *p, const elem *source, int64_t channels, int64_t first,
                            int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch) {
    for (int64_t tile = first; tile < first + count;) {
        struct segment s = segment_at(p, tile, first + count);
        for (int64_t j = 0; j < channels; j += LANES) {
            int64_t c = max64(0, min64(j, channels - LANES)); /* the last vector overlaps the one before */
            transform_segment(size, p, source + s.image * p->stride[0] + c * p->stride[1], min64(LANES, channels - c), &s,
                              to + (tile - first) * row + c, plane, row, scratch);
        }
        tile += s.tiles;
    }
}

void NAME(winograd_transform_inputs)(const struct winograd_planes *p, const elem *source, int64_t channels, int64_t first,
                                     int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch) {
    transform_tiles(6, p, source, channels, first, count, to, plane, row, scratch);
}

void NAME(winograd_transform_gradients)(const struct winograd_planes *p, const elem *gradient, int64_t channels, int64_t first,
                                        int64_t count, elem *to, int64_t plane, int64_t row, elem *scratch) {
    transform_tiles(4, p, gradient, channels, first, count, to, plane, row, scratch);
}

/* ---- outputs ---- */

/* [pixel][LANES] -> planes, pixels d_w apart */
static void store_planes(const elem *from, int64_t pixels, int64_t lanes, elem *to, int64_t d_c, int64_t d_w) {
    for (int64_t q = 0; q < pixels; q += LANES) {
        int64_t p = max64(0, min64(q, pixels - LANES)), count = min64(LANES, pixels - p);
        vec row[LANES];
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) row[l] = vec_load(from + (p + l) * LANES);
        vec_transpose(row);
        if (d_w == 1 && count == LANES && lanes == LANES) {
#pragma GCC unroll 16
            for (int l = 0; l < LANES; l++) vec_store(to + l * d_c + p, row[l]);
            continue;
        }
        elem plane[LANES * LANES];
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) vec_store(plane + l * LANES, row[l]);
        for (int64_t l = 0; l < lanes; l++)
            for (int64_t i = 0; i < count; i++) to[l * d_c + (p + i) * d_w] = plane[l * LANES + i];
    }
}

/* A^T m A of one tile.  In a function of its own, this just fits the registers. */
INLINE void transform_output(const elem *m, int64_t plane, const elem *bias, int relu, elem *to, int64_t pitch_h, int64_t pitch_w) {
    vec half[4][6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
        vec column[6], out[4];
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) column[i] = vec_load(m + (6 * i + j) * plane);
        winograd_output(column, out);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) half[i][j] = out[i];
    }
    vec shift = vec_load(bias);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vec y[4];
        winograd_output(half[i], y);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            vec v = y[j] + shift;
            vec_store(to + i * pitch_h + j * pitch_w, relu ? vec_relu(v) : v);
        }
    }
}

typedef void output_function(const elem *m, int64_t plane, const elem *bias, elem *to, int64_t pitch_h, int64_t pitch_w);

static __attribute__((noinline)) void output(const elem *m, int64_t plane, const elem *bias, elem *to, int64_t pitch_h,
                                             int64_t pitch_w) {
    transform_output(m, plane, bias, 0, to, pitch_h, pitch_w);
}
static __attribute__((noinline)) void output_relu(const elem *m, int64_t plane, const elem *bias, elem *to, int64_t pitch_h,
                                                  int64_t pitch_w) {
    transform_output(m, plane, bias, 1, to, pitch_h, pitch_w);
}

/* One segment, one vector of channels, of which `lanes` exist. */
static void store_segment(const struct winograd_planes *p, const struct segment *s, const elem *m, int64_t plane, int64_t row,
                          const elem *bias, int relu, int64_t lanes, elem *dest, elem *buffer) {
    int64_t rows = min64(4, p->sh - 4 * s->i), cols = min64(4 * s->tiles, p->sw - 4 * s->j);
    const int64_t *d = p->stride;
    output_function *transform = relu ? output_relu : output;
    int in_place = d[1] == 1 && lanes == LANES;
    dest += s->image * d[0] + 4 * s->i * d[2] + 4 * s->j * d[3];
    elem *to = in_place ? dest : buffer;
    int64_t pitch_h = in_place ? d[2] : cols * LANES, pitch_w = in_place ? d[3] : LANES;
    for (int64_t t = 0; t < s->tiles; t++, m += row, to += 4 * pitch_w) {
        int64_t width = min64(4, cols - 4 * t);
        if (rows == 4 && width == 4) {
            transform(m, plane, bias, to, pitch_h, pitch_w);
            continue;
        }
        elem whole[16 * LANES];
        transform(m, plane, bias, whole, 4 * LANES, LANES);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < width; j++) vec_store(to + i * pitch_h + j * pitch_w, vec_load(whole + (4 * i + j) * LANES));
    }
    if (in_place) return;
    int one_run = d[2] == cols * d[3];
    for (int64_t i = 0; i < (one_run ? 1 : rows); i++)
        store_planes(buffer + i * cols * LANES, one_run ? rows * cols : cols, lanes, dest + i * d[2], d[1], d[3]);
}

void NAME(winograd_transform_outputs)(const struct winograd_planes *p, const elem *m, int64_t plane, int64_t row,
                                      int64_t channels, int64_t first, int64_t count, const elem *bias, int relu, elem *dest,
                                      elem *scratch) {
    for (int64_t tile = first; tile < first + count;) {
        struct segment s = segment_at(p, tile, first + count);
        for (int64_t j = 0; j < channels; j += LANES) {
            int64_t lanes = min64(LANES, channels - j);
            elem shift[LANES] = {0};
            if (bias) memcpy(shift, bias + j, (size_t)lanes * sizeof(elem));
            store_segment(p, &s, m + (tile - first) * row + j, plane, row, shift, relu, lanes, dest + j * p->stride[1], scratch);
        }
        tile += s.tiles;
    }
}
