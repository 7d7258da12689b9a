#include "depthwise_edges.h"
#include "arena.h"

struct depthwise_cut NAME(depthwise_cut)(const struct correlation *c, int64_t vecs, int overlap) {
    int64_t vectors = ceil_div(c->dw, LANES);
    return (struct depthwise_cut){.columns = ceil_div(vectors, vecs), .vecs = vecs, .overlap = overlap,
                                  .last = overlap ? max64(0, c->dw - LANES) : (vectors - 1) * LANES};
}

static struct depthwise_column column_at(struct depthwise_cut cut, int64_t index) {
    int64_t x = min64(index * cut.vecs * LANES, cut.last);
    struct depthwise_column column = {.x = x, .vecs = 1};
    if (cut.vecs == 2 && x < cut.last) column.vecs = 2, column.second = min64(LANES, cut.last - x);
    return column;
}

static int64_t source_column(const struct correlation *c, int64_t x, int64_t tap) {
    return x * c->step_w + c->first_w + tap * c->space_w;
}

/* Lanes past the end of the row count as outside only where vectors do not overlap, and sums would take them up. */
static int is_inside(const struct correlation *c, struct depthwise_cut cut, int64_t x, int64_t tap) {
    if (x >= c->dw) return cut.overlap;
    int64_t at = source_column(c, x, tap);
    return at >= 0 && at < c->sw;
}

static int all_inside(const struct correlation *c, struct depthwise_cut cut, int64_t x, int64_t tap) {
    int64_t end = min64(x + LANES, c->dw);
    if (end < x + LANES && !cut.overlap) return 0;
    return end <= x || (is_inside(c, cut, x, tap) && is_inside(c, cut, end - 1, tap));
}

static vec_bits lanes_inside(const struct correlation *c, struct depthwise_cut cut, int64_t x, int64_t tap) {
    vec_bits mask = {0};
    for (int64_t l = 0; l < LANES; l++) mask[l] = is_inside(c, cut, x + l, tap) ? ~(bits)0 : 0;
    return mask;
}

static uint64_t partial_taps(const struct correlation *c, struct depthwise_cut cut, const struct depthwise_column *column) {
    uint64_t partial = 0;
    for (int64_t j = 0; j < c->taps_w; j++)
        for (int64_t v = 0; v < column->vecs; v++)
            if (!all_inside(c, cut, column->x + v * column->second, j)) partial |= (uint64_t)1 << j;
    return partial;
}

int64_t NAME(depthwise_count_masks)(const struct correlation *c, struct depthwise_cut cut) {
    int64_t count = 0;
    for (int64_t k = 0; k < cut.columns; k++) {
        struct depthwise_column column = column_at(cut, k);
        if (partial_taps(c, cut, &column)) count += column.vecs * c->taps_w;
    }
    return count;
}

void NAME(depthwise_fill_columns)(const struct correlation *c, struct depthwise_cut cut, struct depthwise_column *column,
                                  vec_bits *mask) {
    for (int64_t k = 0; k < cut.columns; k++) {
        column[k] = column_at(cut, k);
        column[k].partial = partial_taps(c, cut, &column[k]);
        column[k].mask = mask;
        if (!column[k].partial) continue;
        for (int64_t j = 0; j < c->taps_w; j++)
            for (int64_t v = 0; v < column[k].vecs; v++) *mask++ = lanes_inside(c, cut, column[k].x + v * column[k].second, j);
    }
}

struct depthwise_reach NAME(depthwise_reach)(int64_t phases, const struct correlation *phase, struct depthwise_cut cut) {
    const struct correlation *c = &phase[0];
    struct depthwise_reach r = {0};
    for (int64_t f = 0; f < phases; f++) {
        if (phase[f].taps_h == 0) continue;
        int64_t end = cut.last + LANES; /* whole vectors are read */
        r.first = min64(r.first, phase[f].first_w);
        r.last = max64(r.last, source_column(&phase[f], end, phase[f].taps_w - 1) - 1);
    }
    int64_t size[] = {c->n, c->g, c->sh, c->sw};
    for (int axis = 0; axis < 4; axis++) {
        int64_t furthest = (size[axis] - 1) * c->s_stride[axis];
        r.low += min64(0, furthest), r.high += max64(0, furthest);
    }
    r.pitch = max64(r.last + 1, c->sw) - r.first;
    return r;
}

int64_t NAME(depthwise_rows_reached)(int64_t phases, const struct correlation *phase, int64_t rows) {
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (int64_t f = 0; f < phases; f++) {
        const struct correlation *c = &phase[f];
        if (c->taps_h == 0) continue;
        first = min64(first, c->first_h);
        last = max64(last, (rows - 1) * c->step_h + c->first_h + (c->taps_h - 1) * c->space_h);
    }
    return first > last ? 0 : min64(phase->sh, last - first + 1);
}

/* The source rows [*begin, *end) that the destination rows [i0, i0 + rows) of the phases read. */
static void rows_read(int64_t phases, const struct correlation *phase, int64_t i0, int64_t rows, int64_t *begin,
                      int64_t *end) {
    *begin = phase->sh, *end = 0;
    for (int64_t f = 0; f < phases; f++) {
        const struct correlation *c = &phase[f];
        int64_t last = min64(i0 + rows, c->dh) - 1;
        if (c->taps_h == 0 || last < i0) continue;
        *begin = min64(*begin, i0 * c->step_h + c->first_h);
        *end = max64(*end, last * c->step_h + c->first_h + (c->taps_h - 1) * c->space_h + 1);
    }
    *begin = max64(*begin, 0), *end = min64(*end, phase->sh);
}

struct depthwise_strip NAME(depthwise_strip)(const struct depthwise_reach *reach, int64_t phases,
                                             const struct correlation *phase, const elem *source, int64_t offset,
                                             int64_t i0, int64_t rows, elem *copy) {
    const struct correlation *c = &phase[0];
    struct depthwise_strip strip = {.source = source + offset, .pitch = c->s_stride[2]};
    rows_read(phases, phase, i0, rows, &strip.begin, &strip.end);
    if (strip.begin >= strip.end) return strip;
    int64_t a = offset + strip.begin * strip.pitch, b = offset + (strip.end - 1) * strip.pitch;
    if (min64(a, b) + reach->first >= reach->low && max64(a, b) + reach->last <= reach->high) return strip;
    copy -= reach->first;
    for (int64_t i = strip.begin; i < strip.end; i++)
        memcpy(copy + (i - strip.begin) * reach->pitch, strip.source + i * strip.pitch, (size_t)c->sw * sizeof(elem));
    strip.source = copy - strip.begin * reach->pitch, strip.pitch = reach->pitch;
    return strip;
}
