/* Rows of cells, vectors along a row: windows that hold neighbouring cells, or every stride-th cell of a row, are neighbours. */
#include "pool2d_spread.h"
#include "pool2d_vec.h"

/* What is known when compiling; 0: not known. */
struct shape {
    int64_t kernel;
    int stride, odd;  /* 1; 2 and whether the padding is odd; 0: by tables */
    int64_t sources;  /* rows of windows that hold a row of cells */
};

struct sources {
    const elem *share;
    const bits *code;
    int64_t pitch, count;
};

INLINE vec add(const struct sources *from, int coded, int64_t source, int64_t window, vec_bits place, vec total) {
    int64_t at = source * from->pitch + window;
    vec share = vec_load(from->share + at);
    return coded ? mask_add(mask_equal(vec_load_bits(from->code + at), place), total, share) : total + share;
}

/* The sums of the cells residue + m*stride, ..., LANES of them; windows come in C order, as wherever gradients are summed. */
INLINE vec total_of(const struct spread *s, struct shape shape, const struct sources *from, int coded, int64_t residue,
                    int64_t m, vec_bits place) {
    int64_t kernel = shape.kernel ? shape.kernel : s->kernel, sources = shape.sources ? shape.sources : from->count;
    vec total = {0};
#pragma GCC unroll 4
    for (int64_t i = 0; i < sources; i++) {
        if (shape.stride == 0) {
            for (int64_t k = s->reach_begin[residue]; k < s->reach_begin[residue + 1]; k++)
                total = add(from, coded, i, m + s->reach[k], place, total);
        } else if (shape.stride == 1) {
#pragma GCC unroll 4
            for (int64_t k = kernel - 1; k >= 0; k--) total = add(from, coded, i, m + s->pad - k, place, total);
        } else {
            int64_t first = (residue + shape.odd) % 2, last = first + (kernel - first + 1) / 2 * 2 - 2;
#pragma GCC unroll 2
            for (int64_t k = last; k >= first; k -= 2)
                total = add(from, coded, i, m + s->pad / 2 + (residue + shape.odd - k) / 2, place, total);
        }
    }
    return total;
}

INLINE void row_of(const struct spread *s, struct shape shape, const struct sources *from, int coded, int64_t h, elem *to) {
    int64_t stride = shape.stride ? shape.stride : s->stride, steps = ceil_div(s->cells, stride);
    vec_bits every = vec_lanes() * vec_splat_bits((bits)stride), start = vec_splat_bits((bits)(h * s->cells));
    if (shape.stride == 1) {
        for (int64_t m = 0; m < steps; m += LANES)
            vec_store(to + m, total_of(s, shape, from, coded, 0, m, start + every + vec_splat_bits((bits)m)));
    } else if (shape.stride == 2) {
        for (int64_t m = 0; m < steps; m += LANES) {
            vec_bits place = start + every + vec_splat_bits((bits)(2 * m));
            vec even = total_of(s, shape, from, coded, 0, m, place);
            vec odd = total_of(s, shape, from, coded, 1, m, place + vec_splat_bits(1));
            vec_store(to + 2 * m, vec_zip_low(even, odd));
            vec_store(to + 2 * m + LANES, vec_zip_high(even, odd));
        }
    } else {
        for (int64_t residue = 0; residue < stride; residue++)
            for (int64_t m = 0; m < steps; m += LANES) {
                elem lane[LANES];
                vec_bits place = start + every + vec_splat_bits((bits)(m * stride + residue));
                vec_store(lane, total_of(s, shape, from, coded, residue, m, place));
                for (int64_t l = 0; l < LANES; l++) to[(m + l) * stride + residue] = lane[l];
            }
    }
}

/* The rows of windows that hold row h of cells, at equal distances. */
static inline struct sources sources_of(const struct spread *s, int64_t h) {
    int64_t lo = s->h ? s->h->lo[h] : h, hi = s->h ? s->h->hi[h] : h + 1, apart = 1, count;
    if (s->h && s->h->step > 1) {
        while (lo < hi && !axis_holds(s->h, lo, h)) lo++;
        while (lo + apart < hi && !axis_holds(s->h, lo + apart, h)) apart++;
        count = ceil_div(max64(0, hi - lo), apart);
    } else {
        count = max64(0, hi - lo);
    }
    int64_t at = (lo - s->row) * s->pitch;
    return (struct sources){.share = s->share + at, .code = s->code ? s->code + at : NULL, .pitch = apart * s->pitch,
                            .count = count};
}

INLINE void ask_ahead(const struct spread *s, int64_t row) {
    for (int k = 0; k < 2; k++)
        for (int64_t at = row * s->ahead_bytes[k], end = at + s->ahead_bytes[k]; at < end; at += 64)
            __builtin_prefetch(s->ahead[k] + at);
}

INLINE void rows_of(const struct spread *s, struct shape shape, int coded) {
    for (int64_t h = s->begin; h < s->end; h++) {
        struct sources from = sources_of(s, h);
        ask_ahead(s, h - s->begin);
        elem *to = s->to + (h - s->begin) * s->to_pitch;
#define ROW_FROM(count) shape.sources = count, row_of(s, shape, &from, coded, h, to)
        switch (from.count) {
        case 0: memset(to, 0, (size_t)s->cells * sizeof(elem)); break;
        case 1: ROW_FROM(1); break;
        case 2: ROW_FROM(2); break;
        case 3: ROW_FROM(3); break;
        default: ROW_FROM(0);
        }
#undef ROW_FROM
    }
}

INLINE void rows_by_shape(const struct spread *s, int coded) {
    if (s->stride > 2 || s->step > 1)
        rows_of(s, (struct shape){0}, coded);
    else if (s->stride == 1)
        switch (s->kernel) {
        case 1: rows_of(s, (struct shape){1, 1, 0, 0}, coded); break;
        case 2: rows_of(s, (struct shape){2, 1, 0, 0}, coded); break;
        case 3: rows_of(s, (struct shape){3, 1, 0, 0}, coded); break;
        default: rows_of(s, (struct shape){0, 1, 0, 0}, coded);
        }
    else if (s->pad % 2 == 0)
        switch (s->kernel) {
        case 2: rows_of(s, (struct shape){2, 2, 0, 0}, coded); break;
        case 3: rows_of(s, (struct shape){3, 2, 0, 0}, coded); break;
        default: rows_of(s, (struct shape){0, 2, 0, 0}, coded);
        }
    else
        switch (s->kernel) {
        case 3: rows_of(s, (struct shape){3, 2, 1, 0}, coded); break;
        default: rows_of(s, (struct shape){0, 2, 1, 0}, coded);
        }
}

void NAME(spread_rows)(const struct spread *s) {
    if (s->code)
        rows_by_shape(s, 1);
    else
        rows_by_shape(s, 0);
}

void NAME(spread_reach)(const struct axis *w, int64_t *reach, int64_t *reach_begin) {
    int64_t found = 0;
    for (int64_t residue = 0; residue < w->stride; residue++) {
        reach_begin[residue] = found;
        for (int64_t k = w->kernel - 1; k >= 0; k--)
            if ((residue + w->pad - k * w->step) % w->stride == 0) reach[found++] = (residue + w->pad - k * w->step) / w->stride;
    }
    reach_begin[w->stride] = found;
}
