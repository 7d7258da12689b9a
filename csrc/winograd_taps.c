#include "winograd_taps.h"
#include "arena.h"
#include "winograd_tiles.h"
#include "winograd_transform.h"

/* How weights lie in memory: in rows of consecutive elements of one d channel, of one s channel, or anyhow. */
struct lie {
    enum { ANYHOW, BY_D, BY_S } rows;
    int step;           /* -1: each nine taps in descending order */
    int64_t row, ahead; /* from row to row, and to the next LANES s channels */
};

static struct lie lie_of(const struct correlation *c) {
    struct lie lie = {.step = c->w_w < 0 ? -1 : 1};
    if (c->w_w != lie.step || c->w_h != 3 * lie.step) return (struct lie){.rows = ANYHOW, .step = 1};
    lie.rows = c->w_sc == 9 ? BY_D : BY_S;
    lie.row = lie.rows == BY_D ? c->w_dc : c->w_sc;
    lie.ahead = lie.rows == BY_D ? 9 * LANES : LANES * c->w_sc;
    return lie;
}

/* `lanes` rows of `run` consecutive elements -> [element][row] */
static void transpose_run(const elem *from, int64_t stride, int64_t lanes, int64_t run, const elem *end, elem *to) {
    for (int64_t i = 0; i < run; i += LANES)
        winograd_square(from + i, stride, lanes, min64(LANES, run - i), end, to + i * LANES);
}

/* -> to[channel][tap][lane] */
static void gather(const struct correlation *c, const struct lie *lie, const elem *from, int64_t channels, int64_t lanes,
                   const elem *end, elem *to) {
    if (lie->rows == BY_D) {
        transpose_run(from, c->w_dc, lanes, 9 * channels, end, to);
    } else if (lie->rows == BY_S) {
        for (int64_t i = 0; i < channels; i++) /* overruns its nine rows, the next one puts that right */
            transpose_run(from + i * c->w_sc, c->w_dc, lanes, 9, end, to + 9 * i * LANES);
    } else {
        for (int64_t i = 0; i < channels; i++)
            for (int t = 0; t < 9; t++) {
                const elem *at = from + i * c->w_sc + t / 3 * c->w_h + t % 3 * c->w_w;
                for (int64_t l = 0; l < LANES; l++) to[(9 * i + t) * LANES + l] = l < lanes ? at[l * c->w_dc] : 0;
            }
    }
}

/* one s channel; `step` leads from tap to tap */
INLINE void transform(const elem *tap, int64_t step, elem *to, int64_t plane) {
    vec half[3][6];
#pragma GCC unroll 3
    for (int s = 0; s < 3; s++) {
        vec g[3] = {vec_load(tap + s * step), vec_load(tap + (3 + s) * step), vec_load(tap + (6 + s) * step)};
        winograd_weight(g, half[s]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < 6; r++) {
        vec g[3] = {half[0][r], half[1][r], half[2][r]}, whole[6];
        winograd_weight(g, whole);
#pragma GCC unroll 6
        for (int s = 0; s < 6; s++) vec_store(to + (6 * r + s) * plane, whole[s]);
    }
}

void NAME(winograd_transform_taps)(const struct correlation *c, const elem *weight, int64_t channels, int64_t lanes,
                                   const elem *end, elem *to, int64_t plane, int64_t row, elem *scratch) {
    struct lie lie = lie_of(c);
    const elem *first = scratch;
    if (lie.step < 0) weight -= 8, first += 8 * LANES;
    for (int64_t j = 0; j < channels; j += LANES) {
        int64_t some = min64(LANES, channels - j);
        const elem *from = weight + j * c->w_sc;
        gather(c, &lie, from, some, lanes, end, scratch);
        for (int64_t i = 0; i < some; i++) {
            if (lie.rows != ANYHOW) /* many short rows: no hardware sees where this goes */
                for (int64_t line = 0; line <= 9 * LANES; line += 64 / (int64_t)sizeof(elem))
                    __builtin_prefetch(from + lie.ahead + i * lie.row + line);
            transform(first + 9 * i * LANES, lie.step * LANES, to + (j + i) * row, plane);
        }
    }
}

/* ---- back ---- */

INLINE void transform_back(const elem *m, int64_t plane, elem *tap) {
    vec half[3][6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
        vec column[6], out[3];
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) column[i] = vec_load(m + (6 * i + j) * plane);
        winograd_weight_gradient(column, out);
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) half[i][j] = out[i];
    }
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        vec out[3];
        winograd_weight_gradient(half[i], out);
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) vec_store(tap + (3 * i + j) * LANES, out[j]);
    }
}

/* taps[channel][tap][lane] -> weight */
static void scatter(const struct correlation *c, const elem *taps, int64_t channels, int64_t lanes, elem *to) {
    int64_t run = 9 * channels;
    if (c->w_w == 1 && c->w_h == 3 && c->w_sc == 9 && channels == LANES && lanes == LANES) {
        for (int64_t i = 0; i < run; i += LANES) {
            vec row[LANES];
#pragma GCC unroll 16
            for (int l = 0; l < LANES; l++) row[l] = vec_load(taps + (i + l) * LANES);
            vec_transpose(row);
#pragma GCC unroll 16
            for (int l = 0; l < LANES; l++) vec_store(to + l * c->w_dc + i, row[l]);
        }
        return;
    }
    for (int64_t l = 0; l < lanes; l++)
        for (int64_t i = 0; i < run; i++)
            to[l * c->w_dc + i / 9 * c->w_sc + i % 9 / 3 * c->w_h + i % 3 * c->w_w] = taps[i * LANES + l];
}

void NAME(winograd_store_taps)(const struct correlation *c, const elem *m, int64_t plane, int64_t row, int64_t channels,
                               int64_t lanes, elem *weight, elem *scratch) {
    for (int64_t j = 0; j < channels; j += LANES) {
        int64_t some = min64(LANES, channels - j);
        for (int64_t i = 0; i < some; i++) transform_back(m + (j + i) * row, plane, scratch + 9 * i * LANES);
        scatter(c, scratch, some, lanes, weight + j * c->w_sc);
    }
}
