/* Choosing lane by lane.  AVX-512 has registers for masks, on other levels a mask is a vector of ones and zeros; compilers do
   not find the former by themselves. */
#ifndef ENGINE_SIMD_VEC_MASK_H
#define ENGINE_SIMD_VEC_MASK_H

#include "vec.h"

#if defined(__x86_64__) && VEC_BYTES == 64

typedef __mmask16 vec_mask;

/* of lanes that are all ones or all zeros */
INLINE vec_mask mask_of(vec_bits v) {
#if ELEM_BYTES == 4
    return _mm512_movepi32_mask((__m512i)v);
#else
    return _mm512_movepi64_mask((__m512i)v);
#endif
}

/* zero in the lanes that the mask leaves out */
INLINE vec vec_load_where(vec_mask mask, const elem *p) {
#if ELEM_BYTES == 4
    return (vec)_mm512_maskz_loadu_epi32(mask, p);
#else
    return (vec)_mm512_maskz_loadu_epi64((__mmask8)mask, p);
#endif
}

INLINE vec_mask mask_equal(vec_bits a, vec_bits b) {
#if ELEM_BYTES == 4
    return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b);
#else
    return _mm512_cmpeq_epi64_mask((__m512i)a, (__m512i)b);
#endif
}

/* where a > b, or a alone is NaN */
INLINE vec_mask mask_beats(vec a, vec b) {
#if ELEM_CODE(ENGINE_ELEM) == ELEM_f32
    vec_mask numbers = _mm512_cmp_ps_mask((__m512)b, (__m512)b, _CMP_ORD_Q);
    return _mm512_mask_cmp_ps_mask(numbers, (__m512)a, (__m512)b, _CMP_NLE_UQ);
#elif ELEM_CODE(ENGINE_ELEM) == ELEM_f64
    __mmask8 numbers = _mm512_cmp_pd_mask((__m512d)b, (__m512d)b, _CMP_ORD_Q);
    return _mm512_mask_cmp_pd_mask(numbers, (__m512d)a, (__m512d)b, _CMP_NLE_UQ);
#elif ELEM_CODE(ENGINE_ELEM) == ELEM_i32
    return _mm512_cmpgt_epi32_mask((__m512i)a, (__m512i)b);
#else
    return _mm512_cmpgt_epi64_mask((__m512i)a, (__m512i)b);
#endif
}

INLINE vec_bits mask_select_bits(vec_mask mask, vec_bits yes, vec_bits no) {
#if ELEM_BYTES == 4
    return (vec_bits)_mm512_mask_blend_epi32(mask, (__m512i)no, (__m512i)yes);
#else
    return (vec_bits)_mm512_mask_blend_epi64((__mmask8)mask, (__m512i)no, (__m512i)yes);
#endif
}

INLINE vec mask_add(vec_mask mask, vec total, vec v) {
#if ELEM_CODE(ENGINE_ELEM) == ELEM_f32
    return (vec)_mm512_mask_add_ps((__m512)total, mask, (__m512)total, (__m512)v);
#elif ELEM_CODE(ENGINE_ELEM) == ELEM_f64
    return (vec)_mm512_mask_add_pd((__m512d)total, (__mmask8)mask, (__m512d)total, (__m512d)v);
#else
    return (vec)mask_select_bits(mask, (vec_bits)(total + v), (vec_bits)total);
#endif
}

#else

typedef vec_bits vec_mask;

INLINE vec_mask mask_of(vec_bits v) { return v; }
INLINE vec vec_load_where(vec_mask mask, const elem *p) { return (vec)((vec_bits)vec_load(p) & mask); }

INLINE vec_mask mask_equal(vec_bits a, vec_bits b) { return (vec_bits)(a == b); }
INLINE vec_mask mask_beats(vec a, vec b) {
#if ELEM_IS_FLOATING
    return ~(vec_bits)(a <= b) & (vec_bits)(b == b);
#else
    return (vec_bits)((vec_compare)a > (vec_compare)b);
#endif
}
INLINE vec_bits mask_select_bits(vec_mask mask, vec_bits yes, vec_bits no) { return vec_select_bits(mask, yes, no); }
INLINE vec mask_add(vec_mask mask, vec total, vec v) { return total + (vec)((vec_bits)v & mask); }

#endif

INLINE vec mask_select(vec_mask mask, vec yes, vec no) {
    return (vec)mask_select_bits(mask, (vec_bits)yes, (vec_bits)no);
}

/* a > b ? a : b, which is b if either is NaN */
INLINE vec vec_larger(vec a, vec b) {
#if defined(__x86_64__) && VEC_BYTES == 64 && ELEM_CODE(ENGINE_ELEM) == ELEM_f32
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__x86_64__) && VEC_BYTES == 64 && ELEM_CODE(ENGINE_ELEM) == ELEM_f64
    return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__x86_64__) && VEC_BYTES == 32 && ELEM_CODE(ENGINE_ELEM) == ELEM_f32
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__) && VEC_BYTES == 32 && ELEM_CODE(ENGINE_ELEM) == ELEM_f64
    return (vec)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__x86_64__) && VEC_BYTES == 16 && ELEM_CODE(ENGINE_ELEM) == ELEM_f32
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#elif defined(__x86_64__) && VEC_BYTES == 16 && ELEM_CODE(ENGINE_ELEM) == ELEM_f64
    return (vec)_mm_max_pd((__m128d)a, (__m128d)b);
#else
    return vec_select((vec_bits)((vec_compare)a > (vec_compare)b), a, b);
#endif
}

/* The larger of both, NaN if either is. */
INLINE vec vec_maximum(vec a, vec b) {
    vec larger = vec_larger(a, b);
#if ELEM_IS_FLOATING
    return (vec)((vec_bits)larger | (vec_bits)vec_larger(b, a)); /* equal numbers; or one of them is the NaN */
#else
    return larger;
#endif
}

#endif
