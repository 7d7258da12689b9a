#include "winograd_tiles.h"
#include "arena.h"
#include "winograd_transform.h"

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

/* Then the rows of tiles that begin 4 columns apart. */
INLINE void transform_rows(const int size, const elem *from, int64_t pitch, int64_t tiles, elem *to, int64_t plane, int64_t row) {
    for (int64_t t = 0; t < tiles; t++) {
        for (int i = 0; i < 6; i++) {
            vec d[6];
#pragma GCC unroll 6
            for (int j = 0; j < size; j++) d[j] = vec_load(from + i * pitch + (4 * t + j) * LANES);
            transform(size, d);
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) vec_store(to + (6 * i + j) * plane + t * row, d[j]);
        }
    }
}

/* One segment, LANES channels. */
INLINE void transform_segment(const int size, const struct winograd_planes *p, const elem *source, int64_t channels,
                              const struct winograd_segment *s, elem *to, int64_t plane, int64_t row, elem *scratch) {
    elem *columns = scratch, *block = scratch + 6 * WINOGRAD_COLUMNS * LANES, *zero = block + 6 * LANES * LANES;
    int64_t pitch = WINOGRAD_COLUMNS * LANES, width = 4 * s->tiles + size - 4;
    int64_t h0 = p->first_h + 4 * s->i, w0 = p->first_w + 4 * s->j;
    int64_t begin = min64(width, max64(0, -w0)), end = max64(begin, min64(width, p->sw - w0));
    int in_place = p->stride[1] == 1 && channels >= LANES;

    vec_store(zero, (vec){0});
    for (int64_t x = begin; x < end; x += LANES) {
        int64_t count = min64(LANES, end - x);
        const elem *at[6];
        int64_t step[6];
        for (int i = 0; i < size; i++) {
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
    }
    for (int i = 0; i < 6; i++) {
        memset(columns + i * pitch, 0, (size_t)(begin * LANES) * sizeof(elem));
        memset(columns + i * pitch + end * LANES, 0, (size_t)((width - end) * LANES) * sizeof(elem));
    }
    transform_rows(size, columns, pitch, s->tiles, to, plane, row);
}

INLINE void transform_tiles(const int size, const struct winograd_planes *p, const elem *source, int64_t channels, int64_t first,
                            int64_t count, const struct winograd_matrix *matrix, elem *scratch) {
    for (int64_t tile = first; tile < first + count;) {
        struct winograd_segment s = winograd_segment(p->tiles_h, p->tiles_w, tile, first + count);
        for (int64_t j = 0; j < channels; j += LANES) {
            int64_t c = max64(0, min64(j, channels - LANES)); /* the last vector overlaps the one before */
            transform_segment(size, p, source + s.image * p->stride[0] + c * p->stride[1], min64(LANES, channels - c), &s,
                              matrix->to + (tile - first) * matrix->row + c, matrix->plane, matrix->row, scratch);
        }
        tile += s.tiles;
    }
}

void NAME(winograd_transform_inputs)(const struct winograd_planes *p, const elem *source, int64_t channels, int64_t first,
                                     int64_t count, const struct winograd_matrix *matrix, elem *scratch) {
    transform_tiles(6, p, source, channels, first, count, matrix, scratch);
}

void NAME(winograd_transform_gradients)(const struct winograd_planes *p, const elem *gradient, int64_t channels, int64_t first,
                                        int64_t count, const struct winograd_matrix *matrix, elem *scratch) {
    transform_tiles(4, p, gradient, channels, first, count, matrix, scratch);
}
