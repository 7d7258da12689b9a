/* Transposing a square of LANES x LANES in registers.  Shuffles that stay within, or move whole, blocks of 16 bytes cost less
   than arbitrary ones, so small squares are transposed within the blocks first, then the blocks among one another. */
#ifndef ENGINE_SIMD_VEC_TRANSPOSE_H
#define ENGINE_SIMD_VEC_TRANSPOSE_H

/* of floats, as GCC finds the in-block shuffles of floats only; no arithmetic is done on them */
typedef float words __attribute__((vector_size(VEC_BYTES)));

/* words zip4, pairs of words zip8: a0 b0 a1 b1, from the lower or upper half of every block; blocks even: a0 a2 .. b0 b2 .. */
#if VEC_BYTES == 64
#define words_zip4_low(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define words_zip4_high(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define words_zip8_low(a, b) __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define words_zip8_high(a, b) __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define words_blocks_even(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define words_blocks_odd(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#elif VEC_BYTES == 32
#define words_zip4_low(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define words_zip4_high(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define words_zip8_low(a, b) __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define words_zip8_high(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define words_blocks_even(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define words_blocks_odd(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define words_zip4_low(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define words_zip4_high(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define words_zip8_low(a, b) __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define words_zip8_high(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7)
#endif

enum { IN_BLOCK = 16 / ELEM_BYTES };

/* squares of IN_BLOCK rows and one block: row i + j gets elements j of the blocks of rows i, i + 1, ... */
INLINE void transpose_in_blocks(words row[LANES]) {
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += IN_BLOCK) {
#if ELEM_BYTES == 4
        words a = words_zip4_low(row[i], row[i + 1]), b = words_zip4_high(row[i], row[i + 1]);
        words c = words_zip4_low(row[i + 2], row[i + 3]), d = words_zip4_high(row[i + 2], row[i + 3]);
        row[i] = words_zip8_low(a, c), row[i + 1] = words_zip8_high(a, c);
        row[i + 2] = words_zip8_low(b, d), row[i + 3] = words_zip8_high(b, d);
#else
        words a = row[i], b = row[i + 1];
        row[i] = words_zip8_low(a, b), row[i + 1] = words_zip8_high(a, b);
#endif
    }
}

/* block k of row j + IN_BLOCK*l goes to block l of row j + IN_BLOCK*k */
INLINE void transpose_blocks(words row[LANES]) {
#pragma GCC unroll 4
    for (int j = 0; j < IN_BLOCK; j++) {
#if VEC_BYTES == 64
        words a = row[j], b = row[j + IN_BLOCK], c = row[j + 2 * IN_BLOCK], d = row[j + 3 * IN_BLOCK];
        words ab_even = words_blocks_even(a, b), ab_odd = words_blocks_odd(a, b);
        words cd_even = words_blocks_even(c, d), cd_odd = words_blocks_odd(c, d);
        row[j] = words_blocks_even(ab_even, cd_even), row[j + IN_BLOCK] = words_blocks_even(ab_odd, cd_odd);
        row[j + 2 * IN_BLOCK] = words_blocks_odd(ab_even, cd_even), row[j + 3 * IN_BLOCK] = words_blocks_odd(ab_odd, cd_odd);
#elif VEC_BYTES == 32
        words a = row[j], b = row[j + IN_BLOCK];
        row[j] = words_blocks_even(a, b), row[j + IN_BLOCK] = words_blocks_odd(a, b);
#else
        (void)row;
#endif
    }
}

INLINE void vec_transpose(vec row[LANES]) {
    words bits[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) bits[i] = (words)row[i];
    transpose_in_blocks(bits);
    transpose_blocks(bits);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) row[i] = (vec)bits[i];
}

#endif
