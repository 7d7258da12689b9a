#include "finish.h"
#include "arena.h"

INLINE vec result(const struct finish *f, const elem *acc, vec bias) {
    vec v = vec_load(acc) + bias;
    return f->relu ? vec_relu(v) : v;
}

/* Fewer elements than a vector has, in a few stores of fixed size. */
INLINE void store_few(elem *to, vec v, int64_t count) {
    elem lane[LANES];
    vec_store(lane, v);
    const elem *from = lane;
#pragma GCC unroll 4
    for (int64_t part = LANES / 2; part >= 1; part /= 2)
        if (count & part) {
            memcpy(to, from, (size_t)part * sizeof(elem));
            to += part, from += part;
        }
}

INLINE void store_up_to(elem *to, vec v, int64_t count) {
    if (count >= LANES)
        vec_store(to, v);
    else
        store_few(to, v, count);
}

/* ---- channels last: a pixel's channels are adjacent ---- */

static void run_of_pixels(const struct finish *f, const elem *acc, int64_t pixels, elem *dest) {
    int aligned = ((uintptr_t)dest | (uintptr_t)(f->d_w * (int64_t)sizeof(elem))) % VEC_BYTES == 0;
    vec bias[TILE_VECS];
    for (int64_t j = 0; j < TILE_VECS; j++) {
        int64_t lanes = max64(0, min64(LANES, f->lanes - j * LANES));
        bias[j] = f->bias ? vec_load_first(f->bias + (lanes ? j * LANES : 0), lanes) : (vec){0};
    }
    int64_t whole = f->lanes / LANES, rest = f->lanes % LANES;
    for (int64_t p = 0; p < pixels; p++, acc += f->width, dest += f->d_w) {
        if (f->stream && aligned)
            for (int64_t j = 0; j < whole; j++) vec_stream(dest + j * LANES, result(f, acc + j * LANES, bias[j]));
        else
            for (int64_t j = 0; j < whole; j++) vec_store(dest + j * LANES, result(f, acc + j * LANES, bias[j]));
        if (rest) store_few(dest + whole * LANES, result(f, acc + whole * LANES, bias[whole]), rest);
    }
}

/* ---- planes: a channel's pixels are adjacent, or evenly spaced ---- */

/* a square of LANES pixels and channels, one vector per channel; past the last pixel it is repeated */
INLINE void load_square(const struct finish *f, const elem *acc, int64_t pixels, vec bias, vec row[LANES]) {
    for (int64_t l = 0; l < LANES; l++) row[l] = result(f, acc + min64(l, pixels - 1) * f->width, bias);
    vec_transpose(row);
}

INLINE void scatter(elem *to, vec v, int64_t count, int64_t step) {
    elem lane[LANES];
    vec_store(lane, v);
    for (int64_t i = 0; i < count; i++) to[i * step] = lane[i];
}

static void run_of_planes(const struct finish *f, const elem *acc, int64_t pixels, elem *dest) {
    for (int64_t j = 0; j < f->lanes; j += LANES) {
        int64_t lanes = min64(LANES, f->lanes - j);
        vec bias = f->bias ? vec_load_first(f->bias + j, lanes) : (vec){0};
        for (int64_t p = 0, next; p < pixels; p = next) {
            next = p + LANES;
            if (next > pixels) p = max64(0, pixels - LANES); /* the last vector overlaps the one before it */
            vec row[LANES];
            load_square(f, acc + p * f->width + j, pixels - p, bias, row);
            elem *to = dest + j * f->d_c + p * f->d_w;
            for (int64_t l = 0; l < lanes; l++, to += f->d_c) {
                if (f->d_w == 1)
                    store_up_to(to, row[l], pixels - p);
                else
                    scatter(to, row[l], min64(LANES, pixels - p), f->d_w);
            }
        }
    }
}

static void run_of_pairs(const struct finish *f, const elem *even, const elem *odd, int64_t odd_cols, elem *dest) {
    for (int64_t j = 0; j < f->lanes; j += LANES) {
        int64_t lanes = min64(LANES, f->lanes - j);
        vec bias = f->bias ? vec_load_first(f->bias + j, lanes) : (vec){0};
        int64_t pixels = f->cols + odd_cols;
        for (int64_t p = 0, next; p < f->cols; p = next) {
            next = p + LANES;
            if (next > f->cols) p = max64(0, f->cols - LANES);
            int64_t count = pixels - 2 * p;
            vec a[LANES], b[LANES];
            load_square(f, even + p * f->width + j, f->cols - p, bias, a);
            load_square(f, odd + p * f->width + j, max64(1, odd_cols - p), bias, b);
            elem *to = dest + j * f->d_c + 2 * p;
            for (int64_t l = 0; l < lanes; l++, to += f->d_c) {
                store_up_to(to, vec_zip_low(a[l], b[l]), count);
                if (count > LANES) store_up_to(to + LANES, vec_zip_high(a[l], b[l]), count - LANES);
            }
        }
    }
}

/* ---- entries ---- */

void NAME(finish)(const struct finish *f) {
    int one_run = f->acc_cols == f->cols && f->d_h == f->cols * f->d_w;
    int64_t runs = one_run ? 1 : f->rows, pixels = one_run ? f->rows * f->cols : f->cols;
    for (int64_t i = 0; i < runs; i++) {
        const elem *acc = f->acc + i * f->acc_cols * f->width;
        if (f->d_c == 1)
            run_of_pixels(f, acc, pixels, f->dest + i * f->d_h);
        else
            run_of_planes(f, acc, pixels, f->dest + i * f->d_h);
    }
}

void NAME(finish_pair)(const struct finish *f, const elem *odd, int64_t odd_cols) {
    for (int64_t i = 0; i < f->rows; i++) {
        int64_t at = i * f->acc_cols * f->width;
        run_of_pairs(f, f->acc + at, odd + at, odd_cols, f->dest + i * f->d_h);
    }
}
