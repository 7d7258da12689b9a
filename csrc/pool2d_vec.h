/* The arithmetic of pooling, on vectors. */
#ifndef ENGINE_POOL2D_VEC_H
#define ENGINE_POOL2D_VEC_H

#include "pool2d.h"
#include "vec_mask.h"

#include <math.h>

#if ELEM_IS_FLOATING
#define SIGN_BIT ((bits)1 << (8 * ELEM_BYTES - 1))

INLINE vec vec_abs(vec v) { return (vec)((vec_bits)v & vec_splat_bits(~SIGN_BIT)); }

INLINE vec vec_sqrt(vec v) {
    elem lane[LANES];
    vec_store(lane, v);
    for (int l = 0; l < LANES; l++) lane[l] = ELEM_BYTES == 4 ? (elem)sqrtf((float)lane[l]) : (elem)sqrt(lane[l]);
    return vec_load(lane);
}

static inline vec vec_pow(vec v, double exponent) {
    elem lane[LANES];
    vec_store(lane, v);
    for (int l = 0; l < LANES; l++)
        lane[l] = ELEM_BYTES == 4 ? (elem)powf((float)lane[l], (float)exponent) : (elem)pow(lane[l], exponent);
    return vec_load(lane);
}

/* |v|^exponent; small whole exponents by multiplication, which is much faster */
static inline vec vec_abs_pow(vec v, double exponent) {
    vec base = vec_abs(v), power = base;
    if (exponent != floor(exponent) || exponent < 1 || exponent > 8) return vec_pow(base, exponent);
    for (int i = 1; i < (int)exponent; i++) power *= base;
    return power;
}
#endif

/* A cell as it is compared or summed. */
INLINE vec pool_term(const struct pool *pool, vec v) {
    switch (pool->term) {
    case TERM_SAME: return v;
    case TERM_FLIP: return (vec)((vec_bits)v ^ vec_splat_bits(pool->flip));
#if ELEM_IS_FLOATING
    case TERM_ABS: return vec_abs(v);
    case TERM_SQUARE: return v * v;
    case TERM_POWER: return vec_abs_pow(v, pool->p->p);
#endif
    default: return v;
    }
}

/* v and its code in place of the best so far, if it is larger, or the first NaN. */
INLINE void pool_replace(vec v, vec_bits v_code, vec *best, vec_bits *code) {
    vec_mask beats = mask_beats(v, *best);
    *best = mask_select(beats, v, *best);
    *code = mask_select_bits(beats, v_code, *code);
}

/* The result of a window from the sum of its terms. */
INLINE vec pool_finish(const struct pool *pool, vec sum, vec count) {
#if ELEM_IS_FLOATING
    switch (pool->term) {
    case TERM_ABS: return sum;
    case TERM_SQUARE: return vec_sqrt(sum);
    case TERM_POWER: return vec_pow(sum, 1 / pool->p->p);
    default: return sum / count;
    }
#else
    (void)pool, (void)count;
    return sum;
#endif
}

/* What a window adds to the gradient of each of its cells, up to the factor of the cell itself below.
   average: dy / count.  norm: dy |x|^(p-1) sign(x) / norm^(p-1). */
INLINE vec pool_share(const struct pool *pool, vec dy, vec norm, vec count) {
#if ELEM_IS_FLOATING
    vec_bits nonzero = ~(vec_bits)(norm == (vec){0});
    switch (pool->term) {
    case TERM_ABS: return dy;
    case TERM_SQUARE: return (vec)((vec_bits)(dy / norm) & nonzero);
    case TERM_POWER: return (vec)((vec_bits)(dy * vec_pow(norm, 1 - pool->p->p)) & nonzero);
    default: return dy / count;
    }
#else
    (void)pool, (void)norm, (void)count;
    return dy;
#endif
}

INLINE int pool_is_norm(const struct pool *pool) { return !pool->maximum && pool->term != TERM_SAME; }

INLINE vec pool_factor(const struct pool *pool, vec x) {
#if ELEM_IS_FLOATING
    vec one = vec_splat(1), sign = (vec)(((vec_bits)x & vec_splat_bits(SIGN_BIT)) | (vec_bits)one);
    switch (pool->term) {
    case TERM_ABS: return vec_select((vec_bits)(x == (vec){0}), x, sign);
    case TERM_SQUARE: return x;
    default: return sign * vec_abs_pow(x, pool->p->p - 1);
    }
#else
    (void)pool;
    return x;
#endif
}

/* Positions are counted in `bits` inside and in 64 bits outside.  Reads and writes LANES of them (little endian). */
#if ELEM_BYTES == 8
INLINE void pool_store_index(int64_t *to, vec_bits position) { vec_store_bits((bits *)to, position); }
INLINE void pool_stream_index(int64_t *to, vec_bits position) { vec_stream(to, (vec)position); }
INLINE vec_bits pool_load_index(const int64_t *from) { return vec_load_bits((const bits *)from); }
#else
INLINE void pool_store_index(int64_t *to, vec_bits position) {
    vec_bits zero = {0};
    vec_store_bits((bits *)to, vec_zip_low(position, zero));
    vec_store_bits((bits *)to + LANES, vec_zip_high(position, zero));
}
INLINE void pool_stream_index(int64_t *to, vec_bits position) {
    vec_bits zero = {0};
    vec_stream(to, (vec)vec_zip_low(position, zero));
    vec_stream((bits *)to + LANES, (vec)vec_zip_high(position, zero));
}
INLINE vec_bits pool_load_index(const int64_t *from) {
    vec_bits low = vec_load_bits((const bits *)from), high = vec_load_bits((const bits *)from + LANES);
    return vec_even(low, high);
}
#endif

#endif
