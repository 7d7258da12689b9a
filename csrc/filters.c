#include "filters.h"
#include "transpose.h"

void NAME(gather_filters)(const struct correlation *c, int64_t lanes, int64_t channels, const elem *from, int64_t width,
                          elem *to) {
    int64_t taps = c->taps_h * c->taps_w, k = channels * taps;
    if (lanes < width)
        for (int64_t i = 0; i < k; i++) memset(to + i * width + lanes, 0, (size_t)(width - lanes) * sizeof(elem));
    if (c->w_w == 1 && c->w_h == c->taps_w && c->w_sc == taps) { /* a filter's channels and taps follow one another */
        NAME(transpose)(lanes, k, from, c->w_dc, to, width);
        return;
    }
    int backwards = c->w_w == -1 && c->w_h == -c->taps_w && c->w_dc > 0; /* the taps of a channel do, in reverse */
    for (int64_t channel = 0; channel < channels; channel++) {
        const elem *at = from + channel * c->w_sc;
        elem *rows = to + channel * taps * width;
        if (backwards) {
            NAME(transpose)(lanes, taps, at - (taps - 1), c->w_dc, rows + (taps - 1) * width, -width);
            continue;
        }
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t l = 0; l < lanes; l++)
                rows[tap * width + l] = at[tap / c->taps_w * c->w_h + tap % c->taps_w * c->w_w + l * c->w_dc];
    }
}
