/* Operands of AMX's tiles in three parts (amx_tile.h), as kernels of one tap lay them out: steps of 32 terms follow one
   another, each [part][2 tiles][line][pair].  Terms j and 16 + j of a step are a pair.

   A vector of 16 pixels of a plane is put together wherever rows and images break: every piece of them that lies
   together is one masked load or store, based where lane 0 would be. */
#ifndef ENGINE_AMX_LINES_H
#define ENGINE_AMX_LINES_H

#include "amx_tile.h"
#include "arena.h"
#include "pointwise.h"

enum {
    AMX_STEP = 2 * AMX_PAIRS,
    AMX_STEP_WORDS = AMX_PARTS * 2 * AMX_TILE_WORDS,
};

/* ---- lines ------------------------------------------------------------------------------------------------------ */

/* the parts of 16 pairs, one line of each */
INLINE void amx_put_line(vec low, vec high, uint32_t *to) { amx_put_parts(low, high, to, 2 * AMX_TILE_WORDS); }

/* The sums as [row][AMX_SIDE].  The numbers of tiles are constants wherever this is called. */
INLINE void amx_step_lines(const int row_tiles, const int col_tiles, const uint32_t *rows, const uint32_t *cols) {
    const struct amx_operand lines = {.pitch = 64, .part = 2 * AMX_TILE_BYTES, .next = AMX_TILE_BYTES};
    amx_step(row_tiles, col_tiles, rows, &lines, cols, &lines);
}

/* v[r][l] = from[r*stride_r + l*stride_l] for r < rows and l < lanes, zero elsewhere */
static void amx_load_square(const elem *from, int64_t stride_r, int64_t stride_l, int64_t rows, int64_t lanes,
                            vec v[LANES]) {
    rows = min64(rows, LANES), lanes = min64(lanes, LANES);
    for (int64_t r = 0; r < LANES; r++) v[r] = (vec){0};
    if (rows <= 0 || lanes <= 0) return;
    if (stride_l == 1) {
        for (int64_t r = 0; r < rows; r++) v[r] = amx_load_first(from + r * stride_r, lanes);
    } else if (stride_r == 1) {
        for (int64_t l = 0; l < lanes; l++) v[l] = amx_load_first(from + l * stride_l, rows);
        vec_transpose(v);
    } else {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t l = 0; l < lanes; l++) v[r][l] = from[r * stride_r + l * stride_l];
    }
}

/* ---- pixels of planes ------------------------------------------------------------------------------------------- */

struct amx_piece {
    int64_t offset;
    uint32_t mask; /* of the lanes; of pairs of elements, twice as many, where pixels lie two apart */
    int64_t pixel; /* the first */
};

struct amx_pixels {
    int64_t vectors;
    int64_t *first; /* piece of each vector, and one after the last */
    struct amx_piece *piece;
    int twice;
    int plain;      /* all of them follow one another in whole vectors */
};

static void amx_pixels_take(struct arena *arena, int64_t pixels, struct amx_pixels *to) {
    int64_t vectors = ceil_div(pixels, LANES);
    to->first = ARENA_TAKE(arena, int64_t, vectors + 1);
    to->piece = ARENA_TAKE(arena, struct amx_piece, vectors * LANES);
}

/* `count` pixels from q0 on; no piece is longer than what is left of `row` pixels.  Elements between pixels that are
   `twice` apart may be touched; so may, in the `odd` first columns of every row, the one after a pixel. */
static void amx_place(const struct pixels *p, int64_t q0, int64_t count, int64_t row, int twice, int64_t odd,
                      struct amx_pixels *to) {
    int64_t stride = p->stride_w, pieces = 0;
    to->vectors = ceil_div(count, LANES), to->twice = twice && stride == 2;
    for (int64_t q = 0; q < count;) {
        int64_t lane = q % LANES, column = (q0 + q) % row;
        int64_t length = min64(min64(LANES - lane, count - q), row - column);
        if (lane == 0) to->first[q / LANES] = pieces;
        if (stride != 1 && !to->twice) length = 1;
        struct amx_piece piece = {.pixel = q0 + q, .offset = pixel_offset(p, q0 + q) - lane};
        piece.mask = (uint32_t)((1ull << length) - 1) << lane;
        if (to->twice) {
            int64_t elements = 2 * length - (column + length > odd);
            piece.mask = (uint32_t)((1ull << elements) - 1) << 2 * lane;
            piece.offset -= lane;
        }
        to->piece[pieces++] = piece;
        q += length;
    }
    to->first[to->vectors] = pieces;
    to->plain = stride == 1 && count % LANES == 0 && pieces == to->vectors && count <= p->run - q0 % p->run;
}

INLINE vec amx_load_pixels(const struct amx_pixels *p, int64_t vector, const elem *from) {
    const struct amx_piece *piece = p->piece + p->first[vector], *end = p->piece + p->first[vector + 1];
    __m512 low = _mm512_maskz_loadu_ps((__mmask16)piece->mask, from + piece->offset), high = {0};
    if (!p->twice) {
        while (++piece < end) low = _mm512_mask_loadu_ps(low, (__mmask16)piece->mask, from + piece->offset);
        return (vec)low;
    }
    for (;;) { /* a load of nothing, from where nothing may be, is slow */
        __mmask16 above = (__mmask16)(piece->mask >> 16);
        if (above) high = _mm512_mask_loadu_ps(high, above, from + piece->offset + LANES);
        if (++piece == end) return vec_even((vec)low, (vec)high);
        if (piece->mask & 0xffff) low = _mm512_mask_loadu_ps(low, (__mmask16)piece->mask, from + piece->offset);
    }
}

#endif
