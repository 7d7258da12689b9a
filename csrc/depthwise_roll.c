#include "depthwise_roll.h"
#include "arena.h"

enum {
    WIDE = ELEM_IS_FLOATING && VEC_REGISTERS > 16, /* the weights and the sums of a band fit the registers */
    VECS = DEPTHWISE_BAND,
};

static int is_whole(const struct correlation *c, int64_t x) {
    int64_t first = x * c->step_w + c->first_w;
    return first >= 0 && first + (LANES - 1) * c->step_w + 2 * c->space_w < c->sw;
}

static struct depthwise_band band_of(const struct depthwise_phase *phase, int64_t columns) {
    struct depthwise_band b = {0};
    for (int64_t k = 0; k < columns; k++) {
        const struct depthwise_column *column = &phase->column[k];
        for (int64_t v = 0; v < column->vecs; v++) {
            b.x[b.vecs] = column->x + v * column->second;
            for (int j = 0; j < 3; j++) {
                vec_bits inside = column->partial ? column->mask[j * column->vecs + v] : ~(vec_bits){0};
                b.right[j] = mask_of(inside);
                if (b.vecs == 0) b.left[j] = b.right[j];
            }
            b.vecs++;
        }
    }
    return b;
}

int NAME(depthwise_roll_suits)(const struct depthwise_phase *phase, int64_t columns, struct depthwise_band *band) {
    const struct correlation *c = phase->c;
    if (!WIDE || c->taps_h != 3 || c->taps_w != 3 || columns > VECS / 2) return 0;
    if (c->step_h != 1 && (c->step_h != 2 || c->space_w > 1)) return 0;
    *band = band_of(phase, columns);
    for (int64_t v = 1; v + 1 < band->vecs; v++)
        if (!is_whole(c, band->x[v])) return 0;
    return 1;
}

/* The rows first, first + apart, ... below `end` of the band, of whose vectors only `count` lanes are stored.  vecs and
   whether count is LANES are constants wherever this is called. */
INLINE void roll(const int vecs, const int64_t count, const struct depthwise_rows *d, const struct depthwise_band *of,
                 int64_t first, int64_t end) {
    const struct correlation *c = d->phase[0].c;
    const struct depthwise_strip strip = d->strip; /* copies: stores might change what others can see */
    const struct depthwise_band band = *of;
    int64_t apart = c->space_h, rows = ceil_div(end - first, apart);
    int64_t first_h = c->first_h, first_w = c->first_w, space_w = c->space_w;
    int64_t to_pitch = apart * d->to_pitch, relu = c->relu;
    elem *to = d->to + first * d->to_pitch - 2 * to_pitch;
    vec w[3][3], third[VECS], second[VECS], bias = vec_splat(d->bias); /* sums by what is still to come of them */
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++)
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) w[j][i] = vec_splat(d->phase[0].weights[j * 3 + i]);
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) third[v] = second[v] = bias;
    for (int64_t t = 0; t < rows + 2; t++, to += to_pitch) {
        int64_t at = first + t * apart + first_h;
        const elem *row = at >= strip.begin && at < strip.end ? strip.source + at * strip.pitch : d->zeros;
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) {
            const elem *p = row + band.x[v] + first_w;
            vec sum = bias, x[3];
#pragma GCC unroll 3
            for (int j = 0; j < 3; j++, p += space_w)
                x[j] = v == 0          ? vec_load_where(band.left[j], p)
                       : v == vecs - 1 ? vec_load_where(band.right[j], p)
                                       : vec_load(p);
#pragma GCC unroll 3
            for (int j = 0; j < 3; j++) sum += x[j] * w[j][0], second[v] += x[j] * w[j][1], third[v] += x[j] * w[j][2];
            if (relu) third[v] = vec_relu(third[v]);
            if (t >= 2 && count == LANES) vec_store(to + band.x[v], third[v]);
            if (t >= 2 && count != LANES) vec_store_first(to, third[v], count);
            third[v] = second[v], second[v] = sum;
        }
    }
}

/* the source of three taps of a row at step 2 */
INLINE void load_by_two(const elem *p, const vec_mask *mask, vec x[3]) {
    vec a = vec_load(p), b = vec_load(p + LANES);
    x[0] = vec_even(a, b), x[1] = vec_odd(a, b);
    x[2] = vec_even(vec_load(p + 2), vec_load(p + 2 + LANES));
    if (mask)
        for (int j = 0; j < 3; j++) x[j] = mask_select(mask[j], x[j], (vec){0});
}

/* As `roll`, at step 2: every second row of the source belongs to two rows of the destination. */
INLINE void roll_by_two(const int vecs, const int64_t count, const struct depthwise_rows *d, const struct depthwise_band *of,
                        int64_t first, int64_t end) {
    const struct correlation *c = d->phase[0].c;
    const struct depthwise_strip strip = d->strip;
    const struct depthwise_band band = *of;
    int64_t first_w = c->first_w, to_pitch = d->to_pitch, relu = c->relu, at = 2 * first + c->first_h;
    elem *to = d->to + first * to_pitch;
    vec w[3][3], sum[VECS], bias = vec_splat(d->bias);
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++)
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) w[j][i] = vec_splat(d->phase[0].weights[j * 3 + i]);
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) sum[v] = bias;
    for (int64_t t = -1; t < end - first; t++, at += 2) { /* the middle row of destination row t, and the one below */
        const elem *row[2];
        for (int i = 0; i < 2; i++) {
            int64_t h = at + i - 1;
            row[i] = (h >= strip.begin && h < strip.end ? strip.source + h * strip.pitch : d->zeros) + first_w;
        }
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) {
            const vec_mask *mask = v == 0 ? band.left : v == vecs - 1 ? band.right : NULL;
            vec next = bias, x[3];
            if (t >= 0) {
                load_by_two(row[0] + 2 * band.x[v], mask, x);
                for (int j = 0; j < 3; j++) sum[v] += x[j] * w[j][1];
            }
            load_by_two(row[1] + 2 * band.x[v], mask, x);
            for (int j = 0; j < 3; j++) sum[v] += x[j] * w[j][2], next += x[j] * w[j][0];
            if (relu) sum[v] = vec_relu(sum[v]);
            if (t >= 0 && count == LANES) vec_store(to + t * to_pitch + band.x[v], sum[v]);
            if (t >= 0 && count != LANES) vec_store_first(to + t * to_pitch, sum[v], count);
            sum[v] = next;
        }
    }
}

#define BAND(by, vecs, count) by(vecs, count, d, band, first, end)
#define BANDS(by)                                                                                                      \
    switch (band->vecs) {                                                                                              \
        case 1: dw < LANES ? BAND(by, 1, dw) : BAND(by, 1, LANES); break;                                              \
        case 2: BAND(by, 2, LANES); break;                                                                             \
        case 3: BAND(by, 3, LANES); break;                                                                             \
        default: BAND(by, 4, LANES); break;                                                                            \
    }

static void roll_band(const struct depthwise_rows *d, const struct depthwise_band *band, int64_t first, int64_t end) {
    int64_t dw = d->phase[0].c->dw;
    if (d->phase[0].c->step_h == 1)
        BANDS(roll)
    else
        BANDS(roll_by_two)
}

void NAME(depthwise_roll)(const struct depthwise_rows *d) {
    if (!WIDE) return;
    const struct correlation *c = d->phase[0].c;
    int64_t apart = c->step_h == 1 ? c->space_h : 1, end = d->row0 + d->rows;
    for (int64_t first = d->row0; first < min64(end, d->row0 + apart); first++) roll_band(d, d->band, first, end);
}
