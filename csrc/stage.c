#include "stage.h"
#include "range.h"

/* Rows are short, so no calls: the last vector overlaps the one before it. */
INLINE void copy_row(int64_t count, const elem *from, elem *to) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) vec_store(to + i, vec_load(from + i));
    if (i == count) return;
    if (count >= LANES)
        vec_store(to + count - LANES, vec_load(from + count - LANES));
    else
        for (; i < count; i++) to[i] = from[i];
}

INLINE void copy_line(int64_t count, const elem *from, int64_t stride, elem *to) {
    if (stride == 1) {
        copy_row(count, from, to);
        return;
    }
    if (stride == 2 && count >= LANES) {
        for (int64_t i = 0; i < count - LANES; i += LANES)
            vec_store(to + i, vec_even(vec_load(from + 2 * i), vec_load(from + 2 * i + LANES)));
        const elem *last = from + 2 * (count - LANES); /* its second half one back, so as not to read past the end */
        vec_store(to + count - LANES, vec_even_odd(vec_load(last), vec_load(last + LANES - 1)));
        return;
    }
    for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
}

INLINE void zero(int64_t count, elem *to) {
    for (int64_t i = 0; i < count; i++) to[i] = 0;
}

static void stage_planes(const struct window *w, const elem *source, elem *copy) {
    int64_t top, bottom, left, right;
    range_inside(w->h0, w->step_h, w->rows, w->sh, &top, &bottom);
    range_inside(w->w0, w->step_w, w->cols, w->sw, &left, &right);
    for (int64_t c = 0; c < w->channels; c++) {
        for (int64_t h = 0; h < w->rows; h++) {
            elem *row = copy + c * w->pitch_c + h * w->pitch_h;
            if (h < top || h >= bottom) {
                zero(w->cols, row);
                continue;
            }
            zero(left, row);
            const elem *from = source + c * w->stride_c + (w->h0 + h * w->step_h) * w->stride_h +
                               (w->w0 + left * w->step_w) * w->stride_w;
            copy_line(right - left, from, w->step_w * w->stride_w, row + left);
            zero(w->cols - right, row + right);
        }
    }
}

static void stage_channels_last(const struct window *w, const elem *source, elem *copy) {
    int64_t top, bottom, left, right;
    range_inside(w->h0, w->step_h, w->rows, w->sh, &top, &bottom);
    range_inside(w->w0, w->step_w, w->cols, w->sw, &left, &right);
    int64_t step = w->step_w * w->stride_w, adjacent = step == w->channels && w->pitch_w == w->channels && w->stride_c == 1;
    for (int64_t h = 0; h < w->rows; h++) {
        elem *row = copy + h * w->pitch_h;
        int64_t begin = h < top || h >= bottom ? w->cols : left, end = max64(begin, right);
        zero(begin * w->pitch_w, row);
        zero((w->cols - end) * w->pitch_w, row + end * w->pitch_w);
        if (begin >= end) continue;
        const elem *from = source + (w->h0 + h * w->step_h) * w->stride_h + (w->w0 + begin * w->step_w) * w->stride_w;
        if (adjacent)
            copy_row((end - begin) * w->channels, from, row + begin * w->channels);
        else
            for (int64_t x = begin; x < end; x++)
                copy_line(w->channels, from + (x - begin) * step, w->stride_c, row + x * w->pitch_w);
    }
}

void NAME(stage)(const struct window *w, const elem *source, elem *copy) {
    if (w->pitch_w == 1)
        stage_planes(w, source, copy);
    else
        stage_channels_last(w, source, copy);
}

/* One row dealt to two: the elements at even distance from the first go to `even`, the others to `odd`. */
INLINE void deal_row(int64_t count, const elem *from, elem *even, elem *odd) {
    int64_t pairs = count / 2, i = 0;
    for (; i + LANES <= pairs; i += LANES) {
        vec a = vec_load(from + 2 * i), b = vec_load(from + 2 * i + LANES);
        vec_store(even + i, vec_even(a, b));
        vec_store(odd + i, vec_odd(a, b));
    }
    if (i < pairs && pairs >= LANES) {
        i = pairs - LANES;
        vec a = vec_load(from + 2 * i), b = vec_load(from + 2 * i + LANES);
        vec_store(even + i, vec_even(a, b));
        vec_store(odd + i, vec_odd(a, b));
        i = pairs;
    }
    for (; i < pairs; i++) even[i] = from[2 * i], odd[i] = from[2 * i + 1];
    if (count % 2) even[pairs] = from[count - 1];
}

/* stage_phases for a column step of 2, all in one sweep */
static void stage_dealt(const struct window *w, const elem *source, elem *copy, int64_t plane) {
    int64_t first = max64(0, w->w0), last = min64(w->sw, w->w0 + 2 * w->cols);
    int64_t lead = first - w->w0; /* columns of zeros before the first */
    elem *even = copy + lead % 2 * plane + lead / 2, *odd = copy + (lead + 1) % 2 * plane + (lead + 1) / 2;
    for (int64_t c = 0; c < w->channels; c++)
        for (int64_t r = 0; r < w->rows * w->step_h; r++) {
            int64_t h = w->h0 + r, to = c * w->pitch_c + r % w->step_h * 2 * plane + r / w->step_h * w->pitch_h;
            if (h < 0 || h >= w->sh || last <= first) {
                zero(w->cols, copy + to);
                zero(w->cols, copy + to + plane);
                continue;
            }
            for (int64_t side = 0; side < 2; side++) {
                int64_t begin = (lead + 1 - side) / 2, end = (last - w->w0 + 1 - side) / 2;
                zero(begin, copy + to + side * plane);
                zero(w->cols - end, copy + to + side * plane + end);
            }
            deal_row(last - first, source + c * w->stride_c + h * w->stride_h + first, even + to, odd + to);
        }
}

void NAME(stage_phases)(struct window *w, int64_t h0, int64_t w0, const elem *source, elem *copy) {
    int64_t plane = w->rows * w->cols;
    w->h0 = h0, w->w0 = w0;
    if (w->step_w == 2 && w->stride_w == 1) {
        stage_dealt(w, source, copy, plane);
        return;
    }
    for (int64_t h = 0; h < w->step_h; h++)
        for (int64_t v = 0; v < w->step_w; v++) {
            w->h0 = h0 + h, w->w0 = w0 + v;
            NAME(stage)(w, source, copy + (h * w->step_w + v) * plane);
        }
}
