/* The transform of the 36 products of every tile into its outputs. */
#include "winograd_tiles.h"
#include "winograd_transform.h"

/* ---- one tile, one vector of channels ---- */

/* A^T m A of a whole tile.  In a function of its own, this just fits the registers. */
INLINE void whole_tile(const elem *m, int64_t plane, const elem *bias, const int relu, const int stream, elem *to,
                       int64_t pitch_h, int64_t pitch_w) {
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
            elem *at = to + i * pitch_h + j * pitch_w;
            vec v = relu ? vec_relu(y[j] + shift) : y[j] + shift;
            if (stream)
                vec_stream(at, v);
            else
                vec_store(at, v);
        }
    }
}

typedef void tile_function(const elem *m, int64_t plane, const elem *bias, elem *to, int64_t pitch_h, int64_t pitch_w);

#define TILE(name, relu, stream)                                                                                       \
    static __attribute__((noinline)) void name(const elem *m, int64_t plane, const elem *bias, elem *to,               \
                                               int64_t pitch_h, int64_t pitch_w) {                                     \
        whole_tile(m, plane, bias, relu, stream, to, pitch_h, pitch_w);                                                \
    }
TILE(tile, 0, 0)
TILE(tile_relu, 1, 0)
TILE(tile_stream, 0, 1)
TILE(tile_relu_stream, 1, 1)

static tile_function *const tile_of[2][2] = {{tile, tile_stream}, {tile_relu, tile_relu_stream}};

INLINE void transform(int64_t outputs, const vec m[6], vec y[4]) {
    switch (outputs) {
        case 1: winograd_output_1(m, y); break;
        case 2: winograd_output_2(m, y); break;
        case 3: winograd_output_3(m, y); break;
        default: winograd_output(m, y);
    }
}

/* The same of a tile of any size: what it does not need of m is not there. */
static void edge_tile(int64_t rows, int64_t cols, const elem *m, int64_t plane, const elem *bias, int relu, elem *to,
                      int64_t pitch_h, int64_t pitch_w) {
    vec half[4][6], shift = vec_load(bias);
    for (int j = 0; j < 6; j++) {
        vec column[6] = {{0}}, out[4];
        if (!winograd_uses((int)cols, j)) continue;
        for (int i = 0; i < 6; i++)
            if (winograd_uses((int)rows, i)) column[i] = vec_load(m + (6 * i + j) * plane);
        transform(rows, column, out);
        for (int64_t i = 0; i < rows; i++) half[i][j] = out[i];
    }
    for (int64_t i = 0; i < rows; i++) {
        vec y[4];
        transform(cols, half[i], y);
        for (int64_t j = 0; j < cols; j++) {
            vec v = y[j] + shift;
            vec_store(to + i * pitch_h + j * pitch_w, relu ? vec_relu(v) : v);
        }
    }
}

/* ---- segments ---- */

/* [pixel][LANES] -> planes, pixels d_w apart */
static void store_planes(const elem *from, int64_t pixels, int64_t lanes, elem *to, int64_t d_c, int64_t d_w,
                         int stream) {
    stream = stream && d_c * ELEM_BYTES % VEC_BYTES == 0;
    for (int64_t q = 0; q < pixels; q += LANES) {
        int64_t p = max64(0, min64(q, pixels - LANES)), count = min64(LANES, pixels - p);
        vec row[LANES];
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) row[l] = vec_load(from + (p + l) * LANES);
        vec_transpose(row);
        int whole = d_w == 1 && count == LANES && lanes == LANES;
        if (whole && stream && (uintptr_t)(to + p) % VEC_BYTES == 0) {
#pragma GCC unroll 16
            for (int l = 0; l < LANES; l++) vec_stream(to + l * d_c + p, row[l]);
            continue;
        }
        if (whole) {
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

/* A group of a segment's tiles, [t0, t1) and, if it is the last one, that at the edge; one vector of channels, of which
   `lanes` exist. */
static void store_group(const struct winograd_planes *p, const struct winograd_segment *s, int64_t t0, int64_t t1,
                        const elem *m, int64_t plane, int64_t row, const elem *bias, int relu, int64_t lanes,
                        elem *dest, elem *buffer) {
    const int64_t *d = p->stride;
    int64_t edge = t1 == s->tiles ? s->edge : 0, cols = 4 * (t1 - t0) + edge;
    int in_place = d[1] == 1 && lanes == LANES;
    dest += s->image * d[0] + 4 * s->i * d[2] + 4 * (s->j + t0) * d[3];
    elem *to = in_place ? dest : buffer;
    int64_t pitch_h = in_place ? d[2] : cols * LANES, pitch_w = in_place ? d[3] : LANES;
    uintptr_t places = (uintptr_t)dest | (uintptr_t)(d[2] * ELEM_BYTES) | (uintptr_t)(d[3] * ELEM_BYTES);
    int stream = in_place && p->stream && places % VEC_BYTES == 0;
    tile_function *whole = tile_of[relu != 0][stream];
    for (int64_t t = t0; t < t1; t++, to += 4 * pitch_w) {
        const elem *from = m + (s->slot + t) * row;
        if (s->rows == 4)
            whole(from, plane, bias, to, pitch_h, pitch_w);
        else
            edge_tile(s->rows, 4, from, plane, bias, relu, to, pitch_h, pitch_w);
    }
    if (edge) edge_tile(s->rows, edge, m + s->edge_slot * row, plane, bias, relu, to, pitch_h, pitch_w);
    if (in_place) return;
    int one_run = d[2] == cols * d[3];
    for (int64_t i = 0; i < (one_run ? 1 : s->rows); i++)
        store_planes(buffer + i * cols * LANES, one_run ? s->rows * cols : cols, lanes, dest + i * d[2], d[1], d[3],
                     p->stream);
}

void NAME(winograd_transform_outputs)(const struct winograd_planes *p, const elem *m, int64_t plane, int64_t row,
                                      int64_t channels, int64_t first, int64_t count, const elem *bias, int relu,
                                      elem *dest, elem *scratch) {
    struct winograd_order next = NAME(winograd_order)(p, first, count);
    for (int64_t tile = first; tile < first + count;) {
        struct winograd_segment s = winograd_segment(p, tile, first + count, next.begin);
        for (int64_t j = 0; j < channels; j += LANES) {
            int64_t lanes = min64(LANES, channels - j), t = 0;
            elem shift[LANES] = {0};
            if (bias) memcpy(shift, bias + j, (size_t)lanes * sizeof(elem));
            do {
                int64_t end = min64(s.tiles, t + WINOGRAD_GROUP);
                store_group(p, &s, t, end, m + j, plane, row, shift, relu, lanes, dest + j * p->stride[1], scratch);
                t = end;
            } while (t < s.tiles);
        }
        tile += s.tiles + (s.edge > 0);
    }
    if (p->stream) vec_stream_end();
}
