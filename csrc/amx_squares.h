/* An operand of products that are summed over pixels, in three bfloat16 parts (amx_tile.h) and laid out for tiles.

   The pixels of a strip are numbered; a number is a position, and where there is no pixel the operand is zero. 16
   channels at 16 positions are a square. As rows of tiles an operand has a line for each channel, as columns one for
   each position. Two squares, 16 positions apart, are the low and the high halves of the words of one unit:

       word w of (tile of channels, part, unit, line) is at
           (tile*AMX_PARTS + part)*pitch + unit*AMX_TILE_WORDS + line*16 + w

   Units follow one another every 32 positions, or where products are to begin at any position, every 16. */
#ifndef ENGINE_AMX_SQUARES_H
#define ENGINE_AMX_SQUARES_H

#include "amx_tile.h"
#include "arena.h"
#include "range.h"

/* What lies at a strip's positions: rows of pixels in memory, every phase of a step by itself, of every image. */
struct amx_grid {
    int64_t phases_h, phases_w, images, rows, cols; /* positions are numbered in this order */
    int64_t step_h, step_w;                         /* from row to row and from pixel to pixel, in pixels */
    int64_t stride[4];                              /* of pixels in memory: n c h w */
};

/* Where its first pixel is, and what there is of it. */
struct amx_window {
    int64_t h, w, offset, images, height, width;
};

struct amx_run { /* lanes of a vector that one load brings */
    int64_t offset;
    uint32_t mask; /* of pixels that are two apart twice as many, every second one zero */
};

struct amx_operand_of_pixels {
    struct amx_grid grid;
    int64_t channels, tiles; /* of 16 of them */
    int last;                /* they lie together, and pixels are loaded one by one */
    int cols, dense;         /* columns of tiles; a unit every 16 positions */
    int64_t units, pitch;
    int twice;               /* pixels are two apart */
    int64_t *first;          /* run of each vector of positions, and one after the last */
    struct amx_run *run;
    int64_t *at;             /* offset of each position, if channels are last; otherwise */
    const int64_t *channel;  /* of each channel */
};

#define AMX_NOWHERE INT64_MIN /* no offset */

static int64_t amx_positions(const struct amx_operand_of_pixels *o) {
    return (o->units + 1) * (o->dense ? LANES : 2 * LANES);
}

INLINE int64_t amx_operand_words(const struct amx_operand_of_pixels *o) { return o->tiles * AMX_PARTS * o->pitch; }

static void amx_take_runs(struct arena *arena, struct amx_operand_of_pixels *o) {
    int64_t positions = amx_positions(o);
    if (o->last) {
        o->at = ARENA_TAKE(arena, int64_t, positions);
        return;
    }
    o->first = ARENA_TAKE(arena, int64_t, positions / LANES + 1);
    o->run = ARENA_TAKE(arena, struct amx_run, positions);
}

/* ---- where the pixels of a strip are ---------------------------------------------------------------------------- */

struct amx_placing {
    struct amx_operand_of_pixels *o;
    int64_t vectors, runs; /* begun so far */
};

/* every vector up to that one begins here at the latest */
static void amx_reach(struct amx_placing *p, int64_t vector) {
    while (p->vectors <= vector) p->o->first[p->vectors++] = p->runs;
}

static void amx_place_row(struct amx_placing *p, int64_t position, int64_t count, int64_t offset, int64_t stride) {
    struct amx_operand_of_pixels *o = p->o;
    if (o->last) {
        for (int64_t i = 0; i < count; i++) o->at[position + i] = offset + i * stride;
        return;
    }
    int64_t scale = o->twice ? 2 : 1;
    for (int64_t i = 0, length; i < count; i += length) {
        int64_t lane = (position + i) % LANES;
        amx_reach(p, (position + i) / LANES);
        length = stride == scale ? min64(LANES - lane, count - i) : 1;
        uint32_t mask = (uint32_t)(((1ull << length * scale) - 1) << lane * scale);
        int64_t from = offset + i * stride - lane * scale;
        if (o->twice) mask &= 0x55555555;
        struct amx_run *before = o->run + p->runs - 1;
        if (p->runs > o->first[p->vectors - 1] && before->offset == from)
            before->mask |= mask;
        else
            o->run[p->runs++] = (struct amx_run){from, mask};
    }
}

static void amx_place(struct amx_operand_of_pixels *o, const struct amx_window *window) {
    const struct amx_grid *g = &o->grid;
    struct amx_placing p = {.o = o};
    int64_t positions = amx_positions(o), position = 0;
    if (o->last)
        for (int64_t i = 0; i < positions; i++) o->at[i] = AMX_NOWHERE;
    for (int64_t phase = 0; phase < g->phases_h * g->phases_w; phase++) {
        int64_t left, right, w = window->w + phase % g->phases_w;
        range_inside(w, g->step_w, g->cols, window->width, &left, &right);
        for (int64_t line = 0; line < g->images * g->rows; line++, position += g->cols) {
            int64_t image = line / g->rows, h = window->h + phase / g->phases_w + line % g->rows * g->step_h;
            if (image >= window->images || h < 0 || h >= window->height) continue;
            int64_t offset = window->offset + image * g->stride[0] + h * g->stride[2];
            offset += (w + left * g->step_w) * g->stride[3];
            amx_place_row(&p, position + left, right - left, offset, g->step_w * g->stride[3]);
        }
    }
    if (!o->last) amx_reach(&p, positions / LANES);
}

/* ---- loading and splitting a unit ------------------------------------------------------------------------------- */

/* [channel][position] of planes, `channels` of them from number c on */
INLINE void amx_load_planes(const struct amx_operand_of_pixels *o, int64_t vector, const elem *from, int64_t c,
                            int64_t channels, vec square[LANES]) {
    int64_t begin = o->first[vector], end = o->first[vector + 1];
    const int64_t *channel = o->channel + c;
    if (!o->twice && channels == LANES && end - begin == 1 && o->run[begin].mask == 0xffff) {
        from += o->run[begin].offset;
#pragma GCC unroll 16
        for (int64_t i = 0; i < LANES; i++) square[i] = vec_load(from + channel[i]);
        return;
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < LANES; i++) square[i] = (vec){0};
    for (const struct amx_run *run = o->run + begin; run < o->run + end; run++) {
        __mmask16 low = (__mmask16)run->mask, high = (__mmask16)(run->mask >> 16); /* loading nothing can be slow */
        for (int64_t i = 0; i < channels; i++) {
            const elem *at = from + run->offset + channel[i];
            if (!o->twice) {
                square[i] = (vec)_mm512_mask_loadu_ps((__m512)square[i], low, at);
                continue;
            }
            __m512 a = {0}, b = {0};
            if (low) a = _mm512_maskz_loadu_ps(low, at);
            if (high) b = _mm512_maskz_loadu_ps(high, at + LANES);
            square[i] = (vec)((vec_bits)square[i] | (vec_bits)vec_even((vec)a, (vec)b));
        }
    }
}

/* [position][channel] of pixels */
INLINE void amx_load_last(const struct amx_operand_of_pixels *o, int64_t vector, const elem *from, int64_t c,
                          int64_t channels, vec square[LANES]) {
    const int64_t *at = o->at + vector * LANES;
    from += c;
    for (int64_t i = 0; i < LANES; i++) {
        square[i] = (vec){0};
        if (at[i] == AMX_NOWHERE) continue;
        square[i] = channels == LANES ? vec_load(from + at[i]) : amx_load_first(from + at[i], channels);
    }
}

/* as the tiles want it: rows [channel][position], columns [position][channel] */
INLINE void amx_load_operand(const struct amx_operand_of_pixels *o, int64_t vector, const elem *from, int64_t c,
                             int64_t channels, vec square[LANES]) {
    if (o->last)
        amx_load_last(o, vector, from, c, channels, square);
    else
        amx_load_planes(o, vector, from, c, channels, square);
    if (o->last != o->cols) vec_transpose(square);
}

/* whether these are 16 channels, 32 pixels of each following one another */
INLINE int amx_is_plain(const struct amx_operand_of_pixels *o, int64_t vector, int64_t channels) {
    if (o->last || o->twice || channels < LANES || o->first[vector + 2] - o->first[vector] != 2) return 0;
    const struct amx_run *run = &o->run[o->first[vector]];
    return run[0].mask == 0xffff && run[1].mask == 0xffff;
}

static void amx_split_unit(const struct amx_operand_of_pixels *o, int64_t unit, const elem *from, int64_t c,
                           int64_t channels, uint32_t *to) {
    int64_t vector = 2 * unit;
    if (!o->cols && amx_is_plain(o, vector, channels)) {
        const struct amx_run *run = &o->run[o->first[vector]];
        for (int64_t i = 0; i < LANES; i++, to += AMX_PAIRS) {
            const elem *at = from + o->channel[c + i];
            amx_put_parts(vec_load(at + run[0].offset), vec_load(at + run[1].offset), to, o->pitch);
        }
        return;
    }
    vec low[LANES], high[LANES];
    amx_load_operand(o, vector, from, c, channels, low);
    amx_load_operand(o, vector + 1, from, c, channels, high);
    for (int64_t i = 0; i < LANES; i++) amx_put_parts(low[i], high[i], to + i * AMX_PAIRS, o->pitch);
}

/* Dense units: every square is split once, its parts are kept for the next unit. */
static void amx_split_dense(const struct amx_operand_of_pixels *o, int64_t units, const elem *from, int64_t c,
                            int64_t channels, uint32_t *to) {
    vec_bits kept[LANES][AMX_PARTS];
    for (int64_t vector = 0; vector <= units; vector++) {
        vec square[LANES];
        amx_load_operand(o, vector, from, c, channels, square);
        uint32_t *line = to + (vector - 1) * AMX_TILE_WORDS;
        for (int64_t i = 0; i < LANES; i++, line += AMX_PAIRS) {
            vec_bits part[AMX_PARTS];
            amx_split(square[i], part);
#pragma GCC unroll 3
            for (int p = 0; p < AMX_PARTS; p++) {
                if (vector > 0) vec_store_bits(line + p * o->pitch, amx_pair(kept[i][p], part[p]));
                kept[i][p] = part[p];
            }
        }
    }
}

/* so many units of channels [c, c + channels), tile by tile; `from` is channel 0 */
static void amx_split_tiles(const struct amx_operand_of_pixels *o, int64_t units, const elem *from, int64_t c,
                            int64_t channels, uint32_t *to) {
    for (; channels > 0; channels -= LANES, c += LANES, to += AMX_PARTS * o->pitch) {
        int64_t some = min64(LANES, channels);
        if (o->dense)
            amx_split_dense(o, units, from, c, some, to);
        else
            for (int64_t unit = 0; unit < units; unit++)
                amx_split_unit(o, unit, from, c, some, to + unit * AMX_TILE_WORDS);
    }
}

#endif
