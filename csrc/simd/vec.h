/* The vector type of this translation unit, which is compiled once per level (ENGINE_ISA) and element type (ENGINE_ELEM).
   Arithmetic is written with the operators of GCC's and Clang's vector extension; only what they lack is defined here. */
#ifndef ENGINE_SIMD_VEC_H
#define ENGINE_SIMD_VEC_H

#include <stdint.h>
#include <string.h>

#define JOIN3_(a, b, c) a##_##b##_##c
#define JOIN3(a, b, c) JOIN3_(a, b, c)
#define NAME(symbol) JOIN3(symbol, ENGINE_ISA, ENGINE_ELEM)

#define QUOTE_(x) #x
#define QUOTE(x) QUOTE_(x)
#define LEVEL_HEADER_(isa) QUOTE(isa.h)
#define LEVEL_HEADER LEVEL_HEADER_(ENGINE_ISA)
#include LEVEL_HEADER

/* Integers are unsigned inside: overflow wraps by definition, and sums are exact modulo 2^bits either way. */
#define ELEM_f32 1
#define ELEM_f64 2
#define ELEM_i32 3
#define ELEM_i64 4
#define ELEM_CODE_(e) ELEM_##e
#define ELEM_CODE(e) ELEM_CODE_(e)
#if ELEM_CODE(ENGINE_ELEM) == ELEM_f32
typedef float elem;
typedef float compare;
typedef uint32_t bits;
#define ELEM_BYTES 4
#elif ELEM_CODE(ENGINE_ELEM) == ELEM_f64
typedef double elem;
typedef double compare;
typedef uint64_t bits;
#define ELEM_BYTES 8
#elif ELEM_CODE(ENGINE_ELEM) == ELEM_i32
typedef uint32_t elem;
typedef int32_t compare; /* the type whose order `elem` has */
typedef uint32_t bits;
#define ELEM_BYTES 4
#else
typedef uint64_t elem;
typedef int64_t compare;
typedef uint64_t bits;
#define ELEM_BYTES 8
#endif

#define ELEM_IS_FLOATING (ELEM_CODE(ENGINE_ELEM) <= ELEM_f64)
#define LANES (VEC_BYTES / ELEM_BYTES)
#define INLINE static inline __attribute__((always_inline))

typedef elem vec __attribute__((vector_size(VEC_BYTES)));
typedef elem vec_in_memory __attribute__((vector_size(VEC_BYTES), aligned(ELEM_BYTES), may_alias));
typedef compare vec_compare __attribute__((vector_size(VEC_BYTES)));
typedef bits vec_bits __attribute__((vector_size(VEC_BYTES)));
typedef bits vec_bits_in_memory __attribute__((vector_size(VEC_BYTES), aligned(ELEM_BYTES), may_alias));

INLINE vec vec_load(const elem *p) { return *(const vec_in_memory *)p; }
INLINE void vec_store(elem *p, vec v) { *(vec_in_memory *)p = v; }
INLINE vec vec_splat(elem s) { return s - (vec){0}; }

/* v, which is held in a register from here on: compilers like to load an operand of several sums again for each */
INLINE vec vec_in_register(vec v) {
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
    return v;
}

/* max(v, 0) that lets NaN through */
INLINE vec vec_relu(vec v) {
    vec_bits negative = (vec_bits)((vec_compare)v < (vec_compare){0});
    return (vec)((vec_bits)v & ~negative);
}

/* the first `count` lanes in memory, no more of which is touched; the others are zero */
#if defined(__x86_64__) && VEC_BYTES == 64
#include <immintrin.h>
#define LANES_BELOW(count) ((1u << (count)) - 1)
#if ELEM_BYTES == 4
INLINE vec vec_load_first(const elem *p, int64_t count) {
    return (vec)_mm512_maskz_loadu_epi32((__mmask16)LANES_BELOW(count), p);
}
INLINE void vec_store_first(elem *p, vec v, int64_t count) {
    _mm512_mask_storeu_epi32(p, (__mmask16)LANES_BELOW(count), (__m512i)v);
}
#else
INLINE vec vec_load_first(const elem *p, int64_t count) {
    return (vec)_mm512_maskz_loadu_epi64((__mmask8)LANES_BELOW(count), p);
}
INLINE void vec_store_first(elem *p, vec v, int64_t count) {
    _mm512_mask_storeu_epi64(p, (__mmask8)LANES_BELOW(count), (__m512i)v);
}
#endif
#elif defined(__x86_64__) && VEC_BYTES == 32
#include <immintrin.h>
#if ELEM_BYTES == 4
INLINE __m256i vec_lanes_below(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vec vec_load_first(const elem *p, int64_t count) {
    return (vec)_mm256_maskload_epi32((const void *)p, vec_lanes_below(count));
}
INLINE void vec_store_first(elem *p, vec v, int64_t count) {
    _mm256_maskstore_epi32((void *)p, vec_lanes_below(count), (__m256i)v);
}
#else
INLINE __m256i vec_lanes_below(int64_t count) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}
INLINE vec vec_load_first(const elem *p, int64_t count) {
    return (vec)_mm256_maskload_epi64((const void *)p, vec_lanes_below(count));
}
INLINE void vec_store_first(elem *p, vec v, int64_t count) {
    _mm256_maskstore_epi64((void *)p, vec_lanes_below(count), (__m256i)v);
}
#endif
#else
INLINE vec vec_load_first(const elem *p, int64_t count) {
    elem lane[LANES] = {0};
    memcpy(lane, p, (size_t)count * sizeof(elem));
    return vec_load(lane);
}
INLINE void vec_store_first(elem *p, vec v, int64_t count) {
    elem lane[LANES];
    vec_store(lane, v);
    memcpy(p, lane, (size_t)count * sizeof(elem));
}
#endif

/* a0 b0 a1 b1 ... from the lower, or the upper, halves of a and b */
#if LANES == 16
#define vec_zip_low(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define vec_zip_high(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define vec_zip_low(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define vec_zip_high(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif LANES == 4
#define vec_zip_low(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define vec_zip_high(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define vec_zip_low(a, b) __builtin_shufflevector(a, b, 0, 2)
#define vec_zip_high(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

/* even: a0 a2 a4 ... b0 b2 ...; odd: a1 a3 ... b1 b3 ...; even_odd: a0 a2 ... b1 b3 ... */
#if LANES == 16
#define vec_even(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define vec_odd(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define vec_even_odd(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31)
#elif LANES == 8
#define vec_even(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define vec_odd(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define vec_even_odd(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 9, 11, 13, 15)
#elif LANES == 4
#define vec_even(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define vec_odd(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#define vec_even_odd(a, b) __builtin_shufflevector(a, b, 0, 2, 5, 7)
#else
#define vec_even(a, b) __builtin_shufflevector(a, b, 0, 2)
#define vec_odd(a, b) __builtin_shufflevector(a, b, 1, 3)
#define vec_even_odd(a, b) __builtin_shufflevector(a, b, 0, 3)
#endif

#include "vec_transpose.h"

INLINE vec_bits vec_load_bits(const bits *p) { return *(const vec_bits_in_memory *)p; }
INLINE void vec_store_bits(bits *p, vec_bits v) { *(vec_bits_in_memory *)p = v; }
INLINE vec_bits vec_splat_bits(bits s) { return s - (vec_bits){0}; }

/* yes where the mask, all ones or all zeros in each lane, is set, no elsewhere */
INLINE vec vec_select(vec_bits mask, vec yes, vec no) { return (vec)((mask & (vec_bits)yes) | (~mask & (vec_bits)no)); }
INLINE vec_bits vec_select_bits(vec_bits mask, vec_bits yes, vec_bits no) { return (mask & yes) | (~mask & no); }

/* 0 1 2 ... */
INLINE vec_bits vec_lanes(void) {
    vec_bits v = {0};
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) v[l] = (bits)l;
    return v;
}

/* A store past the caches, to an address that is a multiple of VEC_BYTES; call vec_stream_end() before others read it. */
#if defined(__x86_64__)
#include <immintrin.h>
INLINE void vec_stream(void *p, vec v) {
#if VEC_BYTES == 64
    _mm512_stream_si512(p, (__m512i)v);
#elif VEC_BYTES == 32
    _mm256_stream_si256(p, (__m256i)v);
#else
    _mm_stream_si128(p, (__m128i)v);
#endif
}
INLINE void vec_stream_end(void) { _mm_sfence(); }
#else
INLINE void vec_stream(void *p, vec v) { *(vec_in_memory *)p = v; }
INLINE void vec_stream_end(void) {}
#endif

#endif
