#include "depthwise.h"

/* Four rows at once: a source row is loaded once for all the output rows it reaches. */
enum { ROWS = 4, TALLEST = 7 };

/* taps_h, step and vecs are constants wherever this is called, so every index below but the column's is too */
INLINE void block(const int taps_h, const int step, const int vecs, const struct depthwise_rows *d, const elem *source,
                  elem *to, int64_t lanes) {
    vec sum[ROWS][2];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) sum[r][v] = vec_splat(d->bias);
    for (int64_t j = 0; j < d->taps_w; j++) {
        const elem *column = source + d->column[j];
        vec w[TALLEST];
#pragma GCC unroll 7
        for (int i = 0; i < taps_h; i++) w[i] = vec_splat(d->weights[i * d->taps_w + j]);
#pragma GCC unroll 16
        for (int h = 0; h < (ROWS - 1) * step + taps_h; h++) {
            const elem *at = column + h / step * d->pitch + h % step * d->plane;
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) {
                vec x = vec_load(at + v * LANES);
#pragma GCC unroll 4
                for (int r = 0; r < ROWS; r++) {
                    int i = h - r * step;
                    if (i >= 0 && i < taps_h) sum[r][v] += x * w[i];
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            vec y = d->relu ? vec_relu(sum[r][v]) : sum[r][v];
            if (lanes < LANES)
                vec_store_first(to + r * d->to_pitch, y, lanes);
            else
                vec_store(to + r * d->to_pitch + v * LANES, y);
        }
}

INLINE void all_rows(const int taps_h, const int step, const struct depthwise_rows *d) {
    for (int64_t i = 0; i < d->rows; i += ROWS) {
        if (i > d->rows - ROWS) i = d->rows - ROWS; /* the last block overlaps the one before it */
        const elem *source = d->source + i * d->pitch;
        elem *to = d->to + i * d->to_pitch;
        int64_t x = 0;
        for (; x + 2 * LANES <= d->cols; x += 2 * LANES) block(taps_h, step, 2, d, source + x, to + x, LANES);
        for (; x < d->cols; x += LANES) {
            if (d->cols >= LANES && x > d->cols - LANES) x = d->cols - LANES;
            block(taps_h, step, 1, d, source + x, to + x, d->cols - x);
        }
    }
}

int NAME(depthwise_rows_suits)(int64_t taps_h, int64_t space_h, int64_t step_h, int64_t rows) {
    int instantiated = (taps_h >= 1 && taps_h <= 5) || taps_h == 7;
    return instantiated && (space_h == 1 || taps_h == 1) && step_h <= 2 && rows >= ROWS;
}

void NAME(depthwise_rows)(const struct depthwise_rows *d) {
#define CASE(taps, step)                                                                                               \
    case 10 * taps + step: all_rows(taps, step, d); break;
    switch (10 * d->taps_h + d->step_h) {
        CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1) CASE(5, 1) CASE(7, 1)
        CASE(1, 2) CASE(2, 2) CASE(3, 2) CASE(4, 2) CASE(5, 2) CASE(7, 2)
    }
}
