/* Products of bfloat16 matrices in the tile registers of AMX, summed in float32: up to 32 rows times up to 32 columns, the sum
   running over steps of up to 32 numbers, in pairs.  Rows are read in place, a pair of one row after the other; of the columns a
   line of pairs of all of them after the other.

   A float32 operand comes as three bfloat16 parts that add up to it exactly.  Of the nine products the three smallest, below
   2^-24 of the whole, are left out: Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
   Higher-Precision Computations" (ARITH 2019). */
#ifndef ENGINE_AMX_TILE_H
#define ENGINE_AMX_TILE_H

#include "vec.h"

/* ENGINE_AMX: the assembler knows the instructions.  What is compiled here runs only if the processor does, too. */
#if ENGINE_AMX && VEC_BYTES == 64 && ELEM_CODE(ENGINE_ELEM) == ELEM_f32
#define HAVE_AMX 1
#else
#define HAVE_AMX 0
#endif

enum {
    AMX_ROWS = 16,          /* of a tile, each of 64 bytes */
    AMX_TILE_BYTES = 1024,
    AMX_TILE_WORDS = 256,   /* a word is a pair of bfloat16 */
    AMX_PAIRS = 16,         /* pairs of k of one step, at most */
    AMX_PARTS = 3,          /* of a float32 */
    AMX_SIDE = 32,          /* rows and columns of one product */
};

#if HAVE_AMX

/* Where a step finds its operands: lines of tiles are `pitch` apart, parts `part`, the second tile `next`.  All in bytes. */
struct amx_operand {
    int64_t pitch, part, next;
};

struct amx_config {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

/* Tiles 0-3 are sums, 4 and 5 rows, 6 and 7 columns. */
static void amx_begin(int64_t pairs) {
    struct amx_config c = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        c.rows[t] = (uint8_t)(t >= 6 ? pairs : AMX_ROWS);
        c.bytes[t] = (uint16_t)(t == 4 || t == 5 ? 4 * pairs : 64);
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(c));
}

static void amx_end(void) { __asm__ volatile("tilerelease"); }

#define AMX_LOAD(tile, at, pitch) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(at), "r"(pitch) : "memory")
#define AMX_STORE(tile, at, pitch) __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(at), "r"(pitch) : "memory")
#define AMX_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile ::)
#define AMX_MULTIPLY(sum, rows, cols) __asm__ volatile("tdpbf16ps %%tmm" #cols ", %%tmm" #rows ", %%tmm" #sum ::)

INLINE void amx_zero(void) {
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
}

/* the sums as [row][AMX_SIDE] */
INLINE void amx_store(const int row_tiles, const int col_tiles, elem *to) {
    const int64_t pitch = AMX_SIDE * sizeof(elem);
    AMX_STORE(0, to, pitch);
    if (col_tiles == 2) AMX_STORE(1, to + AMX_ROWS, pitch);
    if (row_tiles == 2) AMX_STORE(2, to + AMX_ROWS * AMX_SIDE, pitch);
    if (row_tiles == 2 && col_tiles == 2) AMX_STORE(3, to + AMX_ROWS * AMX_SIDE + AMX_ROWS, pitch);
}

INLINE void amx_load_rows(const int row_tiles, const char *at, const struct amx_operand *rows) {
    AMX_LOAD(4, at, rows->pitch);
    if (row_tiles == 2) AMX_LOAD(5, at + rows->next, rows->pitch);
}

INLINE void amx_load_cols(const int col_tiles, const char *at, const struct amx_operand *cols) {
    AMX_LOAD(6, at, cols->pitch);
    if (col_tiles == 2) AMX_LOAD(7, at + cols->next, cols->pitch);
}

INLINE void amx_multiply(const int row_tiles, const int col_tiles) {
    AMX_MULTIPLY(0, 4, 6);
    if (col_tiles == 2) AMX_MULTIPLY(1, 4, 7);
    if (row_tiles == 2) AMX_MULTIPLY(2, 5, 6);
    if (row_tiles == 2 && col_tiles == 2) AMX_MULTIPLY(3, 5, 7);
}

/* One step of operands that are bfloat16. */
INLINE void amx_step_whole(const int row_tiles, const int col_tiles, const void *row, const struct amx_operand *rows,
                           const void *col, const struct amx_operand *cols) {
    amx_load_rows(row_tiles, row, rows);
    amx_load_cols(col_tiles, col, cols);
    amx_multiply(row_tiles, col_tiles);
}

/* One step of operands in parts: six products of parts, from small to large, in an order in which only one operand changes from one to the next. */
INLINE void amx_step(const int row_tiles, const int col_tiles, const void *row, const struct amx_operand *rows, const void *col,
                     const struct amx_operand *cols) {
    const char *r = row, *c = col;
    amx_load_rows(row_tiles, r, rows);
    amx_load_cols(col_tiles, c + 2 * cols->part, cols);
    amx_multiply(row_tiles, col_tiles);
    amx_load_cols(col_tiles, c + cols->part, cols);
    amx_multiply(row_tiles, col_tiles);
    amx_load_rows(row_tiles, r + rows->part, rows);
    amx_multiply(row_tiles, col_tiles);
    amx_load_cols(col_tiles, c, cols);
    amx_multiply(row_tiles, col_tiles);
    amx_load_rows(row_tiles, r + 2 * rows->part, rows);
    amx_multiply(row_tiles, col_tiles);
    amx_load_rows(row_tiles, r, rows);
    amx_multiply(row_tiles, col_tiles);
}

/* The three parts of each float, in the upper half of its word.  Rounded to nearest, halves away from zero, so that the last
   has at most 8 bits; of what is not finite one part at least is NaN. */
INLINE void amx_split(vec x, vec_bits part[AMX_PARTS]) {
    const vec_bits half = vec_splat_bits(0x8000), upper = vec_splat_bits(0xffff0000u);
    part[0] = ((vec_bits)x + half) & upper;
    vec rest = x - (vec)part[0];
    part[1] = ((vec_bits)rest + half) & upper;
    part[2] = (vec_bits)(rest - (vec)part[1]); /* the lower half is zero but in numbers below 2^-110 */
}

/* 16 bfloat16 as floats, and back: rounded to nearest, halves to even */
INLINE vec amx_widen(__m256i half) { return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16); }
INLINE __m256i amx_narrow(vec x) {
    vec_bits odd = ((vec_bits)x >> 16) & 1, nan = (vec_bits)(x != x);
    vec_bits rounded = ((vec_bits)x + 0x7fff + odd) >> 16;
    return _mm512_cvtepi32_epi16((__m512i)vec_select_bits(nan, vec_splat_bits(0x7fc0), rounded));
}

/* the words (low, high) of the upper halves of two vectors */
INLINE vec_bits amx_pair(vec_bits low, vec_bits high) { return (low >> 16) | (high & vec_splat_bits(0xffff0000u)); }

/* 16 pairs, a line of each part; parts are `part` words apart */
INLINE void amx_put_parts(vec low, vec high, uint32_t *to, int64_t part) {
    vec_bits a[AMX_PARTS], b[AMX_PARTS];
    amx_split(low, a), amx_split(high, b);
#pragma GCC unroll 3
    for (int p = 0; p < AMX_PARTS; p++) vec_store_bits(to + p * part, amx_pair(a[p], b[p]));
}

INLINE __mmask16 amx_first(int64_t count) { return (__mmask16)(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1); }
INLINE vec amx_load_first(const elem *p, int64_t count) { return (vec)_mm512_maskz_loadu_ps(amx_first(count), p); }
INLINE void amx_store_first(elem *p, vec v, int64_t count) { _mm512_mask_storeu_ps(p, amx_first(count), (__m512)v); }

#endif
#endif
