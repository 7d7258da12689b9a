/* Rows of windows, vectors along a row: cell k of neighbouring windows is a run of neighbours, or every other one of a run. */
#include "pool2d_rows.h"
#include "pool2d_vec.h"

/* What is known when compiling; 0: not known. */
struct shape {
    int64_t kh, kw;
    int stride; /* 1, 2, or 0: at `offset` */
};

/* Cell k of the windows m, m + 1, ...  With an even distance from m*stride the cells are those of even places. */
INLINE vec cells_at(const struct rows *r, struct shape shape, const elem *row, int64_t m, int64_t k) {
    if (shape.stride == 0) return vec_load(row + m + r->offset[k]);
    if (shape.stride == 1) return vec_load(row + m + (shape.kw ? k : k * r->step));
    int64_t at = shape.kw ? k : k * r->step, odd = shape.kw ? k % 2 : 0;
    vec a = vec_load(row + 2 * m + at - odd), b = vec_load(row + 2 * m + at - odd + LANES);
    return odd ? vec_odd(a, b) : vec_even(a, b);
}

/* Memory is quick only if it is asked for long before. */
INLINE void ask_ahead(const struct rows *r, struct shape shape, int64_t i, int64_t m) {
    if (shape.stride == 0 || !r->ahead) return;
    int64_t rows = shape.kh && r->stride_h == shape.stride ? shape.stride : min64(r->kh, r->stride_h);
    const elem *ahead = r->ahead + i * r->stride_h * r->ahead_row + m * shape.stride;
    for (int64_t t = 0; t < rows; t++, ahead += r->ahead_row)
        for (int k = 0; k < shape.stride; k++) __builtin_prefetch(ahead + k * LANES);
}

INLINE void maxima(const struct rows *r, struct shape shape, int coded, int carried, int padded) {
    int64_t kh = shape.kh ? shape.kh : r->kh, kw = shape.kw ? shape.kw : r->kw;
    vec_bits flip = vec_splat_bits(r->flip), next = vec_splat_bits((bits)LANES * r->at_column);
    for (int64_t i = 0; i < r->count; i++) {
        const elem *const *row = r->cells + i * r->stride_h;
        vec_bits at = vec_splat_bits(r->at + (bits)i * r->at_row) + vec_lanes() * vec_splat_bits(r->at_column);
        for (int64_t m = 0; m < r->columns; m += LANES, at += next) {
            ask_ahead(r, shape, i, m);
            vec best = padded ? vec_splat(r->outside) : cells_at(r, shape, row[0], m, 0);
            vec_bits code = {0};
            if (carried) code = vec_load_bits((const bits *)row[0] + r->carried + m);
            if (padded) code = vec_load_bits(r->first + m) + vec_splat_bits(r->skip ? r->skip[i] : 0);
#pragma GCC unroll 4
            for (int64_t t = 0; t < kh; t++) {
                const elem *cells = row[t * r->step_h];
#pragma GCC unroll 4
                for (int64_t k = !padded && t == 0; k < kw; k++) {
                    vec v = cells_at(r, shape, cells, m, k);
                    if (!coded) {
                        best = vec_maximum(best, v);
                        continue;
                    }
                    vec_bits v_code = vec_splat_bits((bits)t * r->code_row + (bits)(shape.kw ? k : k * r->step));
                    if (carried) v_code += vec_load_bits((const bits *)cells + r->carried + m);
                    pool_replace(v, v_code, &best, &code);
                }
            }
            vec_store(r->value + i * r->value_pitch + m, (vec)((vec_bits)best ^ flip));
            if (coded) vec_store_bits(r->code + i * r->code_pitch + m, code + at);
        }
    }
}

INLINE void sums(const struct rows *r, struct shape shape) {
    int64_t kh = shape.kh ? shape.kh : r->kh, kw = shape.kw ? shape.kw : r->kw;
    for (int64_t i = 0; i < r->count; i++) {
        const elem *const *row = r->cells + i * r->stride_h;
        for (int64_t m = 0; m < r->columns; m += LANES) {
            ask_ahead(r, shape, i, m);
            vec total = {0};
#pragma GCC unroll 4
            for (int64_t t = 0; t < kh; t++) {
                const elem *cells = row[t * r->step_h];
                vec along = cells_at(r, shape, cells, m, 0); /* rows are summed on their own: less rounding */
#pragma GCC unroll 4
                for (int64_t k = 1; k < kw; k++) along += cells_at(r, shape, cells, m, k);
                total = t ? total + along : along;
            }
            if (r->scale != 0)
                total *= vec_splat(r->scale);
            else if (r->count_h)
                total /= vec_splat(r->count_h[i]) * vec_load(r->count_w + m);
            vec_store(r->value + i * r->value_pitch + m, total);
        }
    }
}

/* CALL(shape), with the usual windows unrolled */
#define FOR_SHAPE(r, CALL)                                                                                             \
    switch (r->offset || r->step != 1 || r->kh != r->kw ? 0 : 10 * r->kw + r->stride) {                                \
    case 21: CALL(2, 2, 1); break;                                                                                     \
    case 22: CALL(2, 2, 2); break;                                                                                     \
    case 31: CALL(3, 3, 1); break;                                                                                     \
    case 32: CALL(3, 3, 2); break;                                                                                     \
    default:                                                                                                           \
        if (r->offset) CALL(0, 0, 0);                                                                                  \
        else if (r->stride == 1) CALL(0, 0, 1);                                                                        \
        else CALL(0, 0, 2);                                                                                            \
    }

void NAME(rows_maximum)(const struct rows *r) {
#define MAXIMA(kh, kw, stride) maxima(r, (struct shape){kh, kw, stride}, 0, 0, 0)
#define CODED(kh, kw, stride) maxima(r, (struct shape){kh, kw, stride}, 1, 0, 0)
#define PADDED(kh, kw, stride) maxima(r, (struct shape){kh, kw, stride}, 1, 0, 1)
    if (!r->code)
        FOR_SHAPE(r, MAXIMA)
    else if (r->carried)
        r->first ? maxima(r, (struct shape){0, 1, 1}, 1, 1, 1) : maxima(r, (struct shape){0, 1, 1}, 1, 1, 0);
    else if (r->first)
        FOR_SHAPE(r, PADDED)
    else
        FOR_SHAPE(r, CODED)
}

void NAME(rows_sum)(const struct rows *r) {
#define SUMS(kh, kw, stride) sums(r, (struct shape){kh, kw, stride})
    FOR_SHAPE(r, SUMS)
}
