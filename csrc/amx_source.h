/* The source of a strip, in bfloat16 parts (a source of bfloat16 in one) and laid out for tiles.

   Channels are taken in blocks of 2*pairs; pair j of a block is channels j and pairs + j, one word.  Pixels are numbered row by
   row, dealt by the step into phases so that a tap is a shift by a whole number of pixels whatever the step.  Then

       word (pixel, block, part, pair) is at  pixel*pitch + (block*parts + part)*pairs + pair  */
#ifndef ENGINE_AMX_SOURCE_H
#define ENGINE_AMX_SOURCE_H

#include "amx_tile.h"
#include "arena.h"
#include "correlate.h"
#include "range.h"

struct amx_source {
    int64_t pairs, blocks;
    int64_t phases_h, phases_w, rows, cols; /* sub-planes of rows x cols pixels */
    int64_t parts, pitch, words;
};

/* for `rows` x `cols` destination pixels */
static struct amx_source amx_source(const struct correlation *c, int64_t rows, int64_t cols) {
    int64_t reach_h = max64(0, c->taps_h - 1) * c->space_h, reach_w = max64(0, c->taps_w - 1) * c->space_w;
    int64_t pairs = ceil_div(c->sc, 2), blocks = ceil_div(pairs, AMX_PAIRS);
    struct amx_source s = {
        .parts = c->bfloat16 ? 1 : AMX_PARTS, .pairs = ceil_div(pairs, blocks), .blocks = blocks,
        .phases_h = min64(c->step_h, reach_h + 1), .phases_w = min64(c->step_w, reach_w + 1),
        .rows = rows + reach_h / c->step_h, .cols = cols + reach_w / c->step_w,
    };
    s.pitch = blocks * s.parts * s.pairs;
    s.words = (s.phases_h * s.phases_w * s.rows * s.cols + AMX_SIDE) * s.pitch; /* products read past the last pixel */
    return s;
}

/* where the destination's pixel 0 finds the source pixel h rows and w columns further */
static int64_t amx_source_offset(const struct amx_source *s, int64_t block, int64_t h, int64_t w, int64_t step_h, int64_t step_w) {
    int64_t phase = h % step_h * s->phases_w + w % step_w;
    int64_t pixel = (phase * s->rows + h / step_h) * s->cols + w / step_w;
    return pixel * s->pitch + block * s->parts * s->pairs;
}

/* The functions below take `half`, a constant: whether elements are bfloat16. */
INLINE const void *amx_at(const int half, const void *from, int64_t index) { return (const char *)from + index * (half ? 2 : 4); }

/* 16 elements `stride` apart, the first `count` of them in memory, zero after them */
INLINE vec amx_load(const int half, const void *from, int64_t stride, int64_t count) {
    if (stride == 1) return half ? amx_widen(_mm256_maskz_loadu_epi16(amx_first(count), from)) : amx_load_first(from, count);
    if (stride == 2 && half) { /* the even ones are lower halves of words; the last odd one is not touched */
        __mmask32 mask = (__mmask32)(amx_first(2 * count - 1) | (uint32_t)amx_first(2 * count - 17) << 16);
        return (vec)_mm512_slli_epi32(_mm512_maskz_loadu_epi16(mask, from), 16);
    }
    if (stride == 2)
        return vec_even(amx_load_first(from, 2 * count - 1), amx_load_first((const elem *)from + (count > 8 ? 16 : 0), 2 * count - 17));
    uint32_t lane[LANES] = {0};
    for (int64_t l = 0; l < min64(LANES, count); l++)
        lane[l] = half ? (uint32_t)((const uint16_t *)from)[l * stride] << 16 : ((const uint32_t *)from)[l * stride];
    return (vec)vec_load_bits(lane);
}

/* the words of one pixel and block */
INLINE void amx_put(const int half, vec low, vec high, int64_t pairs, uint32_t *to) {
    __mmask16 mask = amx_first(pairs);
    if (half) {
        _mm512_mask_storeu_epi32(to, mask, (__m512i)amx_pair((vec_bits)low, (vec_bits)high));
        return;
    }
    vec_bits a[AMX_PARTS], b[AMX_PARTS];
    amx_split(low, a), amx_split(high, b);
    for (int p = 0; p < AMX_PARTS; p++) _mm512_mask_storeu_epi32(to + p * pairs, mask, (__m512i)amx_pair(a[p], b[p]));
}

/* `pixels` pixels whose channels lie in memory as the source's */
INLINE void amx_stage_pixels(const int half, const struct amx_source *s, const struct correlation *c, const void *from,
                             int64_t stride, int64_t pixels, uint32_t *to) {
    int64_t between = c->s_stride[1];
    for (int64_t q = 0; q < pixels; q++, from = amx_at(half, from, stride))
        for (int64_t block = 0; block < s->blocks; block++) {
            int64_t low = block * 2 * s->pairs, high = low + s->pairs;
            vec x = amx_load(half, amx_at(half, from, low * between), between, min64(s->pairs, c->sc - low));
            vec y = {0};
            if (high < c->sc) y = amx_load(half, amx_at(half, from, high * between), between, min64(s->pairs, c->sc - high));
            amx_put(half, x, y, s->pairs, to + q * s->pitch + block * s->parts * s->pairs);
        }
}

/* The same for planes of pixels: squares of 16 pixels and 16 channels are transposed. */
INLINE void amx_stage_planes(const int half, const struct amx_source *s, const struct correlation *c, const void *from,
                             int64_t stride, int64_t pixels, uint32_t *to) {
    int64_t between = c->s_stride[1];
    for (int64_t q = 0; q < pixels; q += LANES) {
        int64_t count = min64(LANES, pixels - q);
        for (int64_t block = 0; block < s->blocks; block++) {
            vec x[LANES], y[LANES];
            for (int64_t j = 0; j < LANES; j++) {
                int64_t low = block * 2 * s->pairs + j, high = low + s->pairs;
                const void *at = amx_at(half, from, q * stride + low * between);
                x[j] = y[j] = (vec){0};
                if (j < s->pairs && low < c->sc) x[j] = amx_load(half, at, stride, count);
                if (j < s->pairs && high < c->sc) y[j] = amx_load(half, amx_at(half, at, s->pairs * between), stride, count);
            }
            vec_transpose(x), vec_transpose(y);
            for (int64_t l = 0; l < count; l++)
                amx_put(half, x[l], y[l], s->pairs, to + (q + l) * s->pitch + block * s->parts * s->pairs);
        }
    }
}

/* the window whose first pixel is row h0, column w0 of the source, for so many rows of the destination */
INLINE void amx_stage(const int half, const struct amx_source *s, const struct correlation *c, const void *source, int64_t h0,
                      int64_t w0, int64_t dest_rows, uint32_t *to) {
    int64_t rows = dest_rows + max64(0, c->taps_h - 1) * c->space_h / c->step_h;
    for (int64_t phase_h = 0; phase_h < s->phases_h; phase_h++)
        for (int64_t phase_w = 0; phase_w < s->phases_w; phase_w++) {
            int64_t left, right;
            range_inside(w0 + phase_w, c->step_w, s->cols, c->sw, &left, &right);
            for (int64_t r = 0; r < rows; r++) {
                int64_t h = h0 + phase_h + r * c->step_h, w = w0 + phase_w + left * c->step_w;
                int64_t inside = h >= 0 && h < c->sh ? right - left : 0, zeros = inside ? left : s->cols;
                uint32_t *row = to + ((phase_h * s->phases_w + phase_w) * s->rows + r) * s->cols * s->pitch;
                memset(row, 0, (size_t)(zeros * s->pitch) * sizeof *row);
                if (!inside) continue;
                const void *from = amx_at(half, source, h * c->s_stride[2] + w * c->s_stride[3]);
                int64_t stride = c->step_w * c->s_stride[3];
                if (c->s_stride[1] == 1)
                    amx_stage_pixels(half, s, c, from, stride, inside, row + left * s->pitch);
                else
                    amx_stage_planes(half, s, c, from, stride, inside, row + left * s->pitch);
                memset(row + right * s->pitch, 0, (size_t)((s->cols - right) * s->pitch) * sizeof *row);
            }
        }
}

#endif
