#include "depthwise_spread.h"
#include "arena.h"
#include "vec_mask.h"

enum {
    WIDE = ELEM_IS_FLOATING && VEC_REGISTERS > 16, /* nine weights fit the registers */
    COLUMNS = 8,                                   /* vectors of a row, at most */
};

/* Along either axis one of the two phases has one tap, the other two that are neighbours. */
static int one_and_two(int64_t a, int64_t b) { return a + b == 3 && a * b == 2; }

int NAME(depthwise_spread_suits)(const struct depthwise_rows pair[2]) {
    const struct correlation *c = pair[0].phase[0].c, *beside = pair[0].phase[1].c, *below = pair[1].phase[0].c;
    if (!WIDE || !beside || !below || pair[0].columns > COLUMNS) return 0;
    int next = (c->taps_h == 2 ? c : below)->space_h == 1 && (c->taps_w == 2 ? c : beside)->space_w == 1;
    return one_and_two(c->taps_h, below->taps_h) && one_and_two(c->taps_w, beside->taps_w) && next;
}

static const elem *source_row(const struct depthwise_rows *d, int64_t row) {
    int64_t at = row + d->phase[0].c->first_h;
    return at >= d->strip.begin && at < d->strip.end ? d->strip.source + at * d->strip.pitch : d->zeros;
}

static vec_mask taps_inside(const struct depthwise_column *column, int tap) {
    return mask_of(column->partial ? column->mask[tap] : ~(vec_bits){0});
}

INLINE void store(elem *to, vec v, int64_t count) {
    if (count >= LANES)
        vec_store(to, v);
    else if (count > 0)
        vec_store_first(to, v, count);
}

/* one: which phase of the columns has one tap; a constant wherever this is called */
INLINE void spread(const int one, const struct depthwise_rows *single, const struct depthwise_rows *twin) {
    const struct depthwise_column *column1 = single->phase[one].column, *column2 = single->phase[!one].column;
    const elem *ws = single->phase[one].weights, *wt = twin->phase[one].weights;
    const elem *ws2 = single->phase[!one].weights, *wt2 = twin->phase[!one].weights;
    vec s = vec_splat(ws[0]), s2[2] = {vec_splat(ws2[0]), vec_splat(ws2[1])};
    vec t[2] = {vec_splat(wt[0]), vec_splat(wt[1])};
    vec t2[4] = {vec_splat(wt2[0]), vec_splat(wt2[1]), vec_splat(wt2[2]), vec_splat(wt2[3])}; /* [column][row] */
    int64_t at1 = single->phase[one].c->first_w, at2 = single->phase[!one].c->first_w;
    int64_t x[COLUMNS], columns = single->columns, width = single->phase[0].c->dw + single->phase[1].c->dw;
    vec_mask mask[COLUMNS][3];
    for (int64_t k = 0; k < columns; k++) {
        x[k] = column1[k].x, mask[k][0] = taps_inside(&column1[k], 0);
        mask[k][1] = taps_inside(&column2[k], 0), mask[k][2] = taps_inside(&column2[k], 1);
    }
    for (int64_t i = 0; i < max64(single->rows, twin->rows); i++) {
        int64_t row = single->row0 + i;
        const elem *r = source_row(single, row), *r0 = source_row(twin, row), *r1 = source_row(twin, row + 1);
        elem *to = single->to + row * single->to_pitch, *below = twin->to + row * twin->to_pitch;
        for (int64_t k = 0; k < columns; k++) {
#define LOAD(row, tap) vec_load_where(mask[k][tap], (row) + x[k] + (tap ? at2 + tap - 1 : at1))
            vec a = LOAD(r, 0) * s, b = LOAD(r, 1) * s2[0] + LOAD(r, 2) * s2[1];
            vec c = LOAD(r0, 0) * t[0] + LOAD(r1, 0) * t[1];
            vec d = LOAD(r0, 1) * t2[0] + LOAD(r1, 1) * t2[1] + LOAD(r0, 2) * t2[2] + LOAD(r1, 2) * t2[3];
#undef LOAD
            vec even = one ? b : a, odd = one ? a : b, even2 = one ? d : c, odd2 = one ? c : d;
            int64_t count = width - 2 * x[k];
            if (i < single->rows) {
                store(to + 2 * x[k], vec_zip_low(even, odd), count);
                store(to + 2 * x[k] + LANES, vec_zip_high(even, odd), count - LANES);
            }
            if (i < twin->rows) {
                store(below + 2 * x[k], vec_zip_low(even2, odd2), count);
                store(below + 2 * x[k] + LANES, vec_zip_high(even2, odd2), count - LANES);
            }
        }
    }
}

void NAME(depthwise_spread)(const struct depthwise_rows pair[2]) {
    if (!WIDE) return;
    int twin = pair[1].phase[0].c->taps_h == 2;
    if (pair[0].phase[1].c->taps_w == 1)
        spread(1, &pair[!twin], &pair[twin]);
    else
        spread(0, &pair[!twin], &pair[twin]);
}
