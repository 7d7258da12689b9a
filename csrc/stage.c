#include "stage.h"
#include "arena.h"

INLINE void copy_line(int64_t count, const elem *from, int64_t stride, elem *to) {
    if (stride == 1)
        memcpy(to, from, (size_t)count * sizeof(elem));
    else
        for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
}

static void zero(int64_t count, elem *to) { memset(to, 0, (size_t)count * sizeof(elem)); }

/* the part [*begin, *end) of a window of `size` starting at `first` that lies within [0, limit) */
static void inside(int64_t first, int64_t size, int64_t limit, int64_t *begin, int64_t *end) {
    *begin = min64(size, max64(0, -first));
    *end = max64(*begin, min64(size, limit - first));
}

static void stage_planes(const struct window *w, const elem *source, elem *copy) {
    int64_t top, bottom, left, right;
    inside(w->h0, w->rows, w->sh, &top, &bottom);
    inside(w->w0, w->cols, w->sw, &left, &right);
    for (int64_t c = 0; c < w->channels; c++) {
        for (int64_t h = 0; h < w->rows; h++) {
            elem *row = copy + c * w->pitch_c + h * w->pitch_h;
            if (h < top || h >= bottom) {
                zero(w->cols, row);
                continue;
            }
            zero(left, row);
            copy_line(right - left, source + c * w->stride_c + (w->h0 + h) * w->stride_h + (w->w0 + left) * w->stride_w,
                      w->stride_w, row + left);
            zero(w->cols - right, row + right);
        }
    }
}

static void stage_channels_last(const struct window *w, const elem *source, elem *copy) {
    int64_t top, bottom, left, right;
    inside(w->h0, w->rows, w->sh, &top, &bottom);
    inside(w->w0, w->cols, w->sw, &left, &right);
    for (int64_t h = 0; h < w->rows; h++) {
        for (int64_t x = 0; x < w->cols; x++) {
            elem *pixel = copy + h * w->pitch_h + x * w->pitch_w;
            if (h < top || h >= bottom || x < left || x >= right)
                zero(w->channels, pixel);
            else
                copy_line(w->channels, source + (w->h0 + h) * w->stride_h + (w->w0 + x) * w->stride_w, w->stride_c, pixel);
        }
    }
}

void NAME(stage)(const struct window *w, const elem *source, elem *copy) {
    if (w->pitch_w == 1)
        stage_planes(w, source, copy);
    else
        stage_channels_last(w, source, copy);
}
