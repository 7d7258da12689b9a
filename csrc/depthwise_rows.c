#include "depthwise_rows.h"
#include "arena.h"
#include "depthwise_roll.h"

enum {
    ROWS = DEPTHWISE_ROWS,
    TALLEST = 7,
    WIDEST = 63,
    TALLEST_OF_PAIRS = 4, /* a kernel of 7 rows at stride 2, backward */
    MOST_SOURCE_ROWS = (ROWS - 1) * 2 + TALLEST
};

/* Products of one source vector with the weights of all output rows it reaches: output row r takes tap h - r*step of source
   row h.  taps_h, step, and so every index, are constants wherever these functions are called. */
INLINE void multiply(const int taps_h, const int step, const int h, vec x, const vec *w, vec sum[ROWS]) {
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) {
        int i = h - r * step;
        if (i >= 0 && i < taps_h) sum[r] += x * w[i];
    }
}

INLINE vec masked(vec x, const vec_bits *mask) { return mask ? (vec)((vec_bits)x & *mask) : x; }

/* the taps of one column */
INLINE void add_column(const int taps_h, const int step, const int vecs, const elem *const *row, int64_t at, int64_t second,
                       const elem *weights, const vec_bits *mask, vec sum[2][ROWS]) {
    vec w[TALLEST];
#pragma GCC unroll 7
    for (int i = 0; i < taps_h; i++) w[i] = vec_splat(weights[i]);
#pragma GCC unroll 16
    for (int h = 0; h < (ROWS - 1) * step + taps_h; h++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            const elem *p = row[h] + at + v * second * step;
            vec x = step == 1 ? vec_load(p) : vec_even(vec_load(p), vec_load(p + LANES));
            multiply(taps_h, step, h, masked(x, mask ? mask + v : NULL), w, sum[v]);
        }
}

/* the taps of two neighbouring columns at step 2: they share what they load */
INLINE void add_two_columns(const int taps_h, const int vecs, const elem *const *row, int64_t at, int64_t second,
                            const elem *weights, const vec_bits *mask, vec sum[2][ROWS]) {
    vec w[2][TALLEST];
#pragma GCC unroll 7
    for (int i = 0; i < taps_h; i++) w[0][i] = vec_splat(weights[i]), w[1][i] = vec_splat(weights[taps_h + i]);
#pragma GCC unroll 16
    for (int h = 0; h < (ROWS - 1) * 2 + taps_h; h++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            const elem *p = row[h] + at + v * second * 2;
            vec a = vec_load(p), b = vec_load(p + LANES);
            multiply(taps_h, 2, h, masked(vec_even(a, b), mask ? mask + v : NULL), w[0], sum[v]);
            multiply(taps_h, 2, h, masked(vec_odd(a, b), mask ? mask + vecs + v : NULL), w[1], sum[v]);
        }
}

INLINE void all_taps(const int taps_h, const int step, const int vecs, const struct depthwise_phase *f,
                     const struct depthwise_column *column, const elem *const *row, vec sum[2][ROWS]) {
    const struct correlation *c = f->c;
    const elem *weights = f->weights;
    int64_t at = column->x * step + c->first_w, j = 0;
    uint64_t partial = column->partial;
    if (step == 2 && c->space_w == 1)
        for (; j + 2 <= c->taps_w; j += 2, at += 2, weights += 2 * taps_h) {
            if (partial >> j & 3)
                add_two_columns(taps_h, vecs, row, at, column->second, weights, column->mask + vecs * j, sum);
            else
                add_two_columns(taps_h, vecs, row, at, column->second, weights, NULL, sum);
        }
    for (; j < c->taps_w; j++, at += c->space_w, weights += taps_h) {
        if (partial >> j & 1)
            add_column(taps_h, step, vecs, row, at, column->second, weights, column->mask + vecs * j, sum);
        else
            add_column(taps_h, step, vecs, row, at, column->second, weights, NULL, sum);
    }
}

INLINE void store(elem *to, vec v, int64_t count) {
    if (count >= LANES)
        vec_store(to, v);
    else if (count > 0)
        vec_store_first(to, v, count);
}

/* `rows` rows, every `apart`-th, of two vectors (or one) of pixels */
INLINE void block(const int taps_h, const int step, const int vecs, const struct depthwise_rows *d, int64_t index,
                  const elem *const *row, elem *to, int64_t rows, int64_t apart) {
    const struct correlation *c = d->phase[0].c;
    const struct depthwise_column *column = d->phase[0].column + index;
    vec sum[2][ROWS], bias = vec_splat(d->bias);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) sum[0][r] = sum[1][r] = bias;
    all_taps(taps_h, step, vecs, &d->phase[0], column, row, sum);
    to += column->x;
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) {
        if (r >= rows) return;
        elem *at = to + r * apart * d->to_pitch;
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            vec y = c->relu ? vec_relu(sum[v][r]) : sum[v][r];
            store(at + v * column->second, y, vecs == 2 ? LANES : c->dw - column->x);
        }
    }
}

/* Two phases whose pixels alternate, a vector of each. */
INLINE void block_of_pairs(const int taps_h, const struct depthwise_rows *d, int64_t index, const elem *const *row, elem *to,
                           int64_t rows, int64_t apart) {
    int64_t x = d->phase[0].column[index].x, count = d->phase[0].c->dw + d->phase[1].c->dw - 2 * x;
    vec even[2][ROWS], odd[2][ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) even[0][r] = odd[0][r] = (vec){0};
    all_taps(taps_h, 1, 1, &d->phase[0], d->phase[0].column + index, row, even);
    all_taps(taps_h, 1, 1, &d->phase[1], d->phase[1].column + index, row, odd);
    to += 2 * x;
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) {
        if (r >= rows) return;
        elem *at = to + r * apart * d->to_pitch;
        store(at, vec_zip_low(even[0][r], odd[0][r]), count);
        store(at + LANES, vec_zip_high(even[0][r], odd[0][r]), count - LANES);
    }
}

/* the phase whose taps say which rows are read: the second only where the first has none */
INLINE const struct correlation *with_taps(const struct depthwise_rows *d) {
    return d->phase[0].c->taps_h || !d->phase[1].c ? d->phase[0].c : d->phase[1].c;
}

/* Rows `apart` rows from one another share source rows where the taps are as far apart (and the step is 1). */
INLINE void all_rows(const int taps_h, const int step, const struct depthwise_rows *d) {
    const struct correlation *c = with_taps(d);
    int64_t apart = taps_h > 1 && step == 1 ? c->space_h : 1, end = d->row0 + d->rows;
    for (int64_t first = d->row0; first < d->row0 + min64(apart, d->rows); first++)
        for (int64_t i = first; i < end; i += ROWS * apart) {
            const elem *row[MOST_SOURCE_ROWS];
#pragma GCC unroll 16
            for (int h = 0; h < (ROWS - 1) * step + taps_h; h++) {
                int64_t at = i * step + c->first_h + h * apart;
                row[h] = at >= d->strip.begin && at < d->strip.end ? d->strip.source + at * d->strip.pitch : d->zeros;
            }
            elem *to = d->to + i * d->to_pitch;
            int64_t rows = ceil_div(end - i, apart);
            for (int64_t k = 0; k < d->columns; k++) {
                if (step == 1 && taps_h <= TALLEST_OF_PAIRS && d->phase[1].c)
                    block_of_pairs(taps_h, d, k, row, to, rows, apart);
                else if (d->phase[0].column[k].vecs == 2)
                    block(taps_h, step, 2, d, k, row, to, rows, apart);
                else
                    block(taps_h, step, 1, d, k, row, to, rows, apart);
            }
        }
}

/* which taps_h and step are instantiated; for integers the usual ones, as each takes much code */
#if ELEM_IS_FLOATING
#define CASES                                                                                                          \
    CASE(0, 1) CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1) CASE(5, 1) CASE(7, 1) CASE(3, 2) CASE(5, 2) CASE(7, 2)
#else
#define CASES CASE(3, 1) CASE(5, 1) CASE(3, 2)
#endif

int NAME(depthwise_rows_suits)(const struct correlation *c, int in_pairs) {
    int shared = c->step_h == 1 || c->space_h == 1; /* see all_rows */
    if (!shared || c->step_h != c->step_w || c->taps_w > WIDEST || (in_pairs && c->taps_h > TALLEST_OF_PAIRS)) return 0;
#define CASE(taps, step) (c->taps_h == taps && c->step_h == step) ||
    return CASES 0;
#undef CASE
}

void NAME(depthwise_rows)(const struct depthwise_rows *d) {
    const struct correlation *c = with_taps(d);
    if (d->band) {
        NAME(depthwise_roll)(d);
        return;
    }
#define CASE(taps, step)                                                                                               \
    case 10 * taps + step: all_rows(taps, step, d); break;
    switch (10 * c->taps_h + c->step_h) { CASES }
}
