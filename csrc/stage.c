#include "stage.h"
#include "arena.h"

INLINE void copy_line(int64_t count, const elem *from, int64_t stride, elem *to) {
    if (stride == 1)
        memcpy(to, from, (size_t)count * sizeof(elem));
    else {
        int64_t i = 0;
        if (stride == 2)
            for (; i + LANES < count; i += LANES) /* one short, so as not to read past the last element */
                vec_store(to + i, vec_even(vec_load(from + 2 * i), vec_load(from + 2 * i + LANES)));
        for (; i < count; i++) to[i] = from[i * stride];
    }
}

static void zero(int64_t count, elem *to) { memset(to, 0, (size_t)count * sizeof(elem)); }

/* the part [*begin, *end) of the positions first, first + step, ... (`size` of them) that lies within [0, limit) */
static void inside(int64_t first, int64_t size, int64_t step, int64_t limit, int64_t *begin, int64_t *end) {
    *begin = first >= 0 ? 0 : min64(size, ceil_div(-first, step));
    *end = first >= limit ? *begin : max64(*begin, min64(size, ceil_div(limit - first, step)));
}

static void stage_planes(const struct window *w, const elem *source, elem *copy) {
    int64_t top, bottom, left, right;
    inside(w->h0, w->rows, w->step_h, w->sh, &top, &bottom);
    inside(w->w0, w->cols, w->step_w, w->sw, &left, &right);
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
    inside(w->h0, w->rows, w->step_h, w->sh, &top, &bottom);
    inside(w->w0, w->cols, w->step_w, w->sw, &left, &right);
    for (int64_t h = 0; h < w->rows; h++) {
        for (int64_t x = 0; x < w->cols; x++) {
            elem *pixel = copy + h * w->pitch_h + x * w->pitch_w;
            if (h < top || h >= bottom || x < left || x >= right)
                zero(w->channels, pixel);
            else
                copy_line(w->channels, source + (w->h0 + h * w->step_h) * w->stride_h + (w->w0 + x * w->step_w) * w->stride_w,
                          w->stride_c, pixel);
        }
    }
}

void NAME(stage)(const struct window *w, const elem *source, elem *copy) {
    if (w->pitch_w == 1)
        stage_planes(w, source, copy);
    else
        stage_channels_last(w, source, copy);
}
