#include "winograd_tiles.h"
#include "winograd_transform.h"

struct winograd_order NAME(winograd_order)(const struct winograd_planes *p, int64_t first, int64_t count) {
    struct winograd_order order = {{0}};
    int64_t of_kind[4] = {0};
    for (int64_t tile = first; tile < first + count;) {
        struct winograd_segment s = winograd_segment(p, tile, first + count, of_kind);
        tile += s.tiles + (s.edge > 0);
    }
    for (int kind = 0; kind < 4; kind++) order.begin[kind + 1] = order.begin[kind] + of_kind[kind];
    return order;
}

void NAME(winograd_slots)(const struct winograd_planes *p, const struct winograd_order *order, int i, int j,
                          int64_t *begin, int64_t *end) {
    int rows = !p->edge_h || winograd_uses((int)p->edge_h, i);
    int columns = !p->edge_w || winograd_uses((int)p->edge_w, j);
    *begin = order->begin[rows ? 0 : 1];
    *end = order->begin[!columns ? 2 : !rows ? 3 : 4];
}

void NAME(winograd_prefetch)(const struct winograd_planes *p, const elem *source, int64_t channels, int64_t first,
                             int64_t count, int64_t part, int64_t parts) {
    enum { LINE = 64 / (int)sizeof(elem) };
    int64_t next[4] = {0};
    for (int64_t tile = first; tile < first + count;) {
        struct winograd_segment s = winograd_segment(p, tile, first + count, next);
        int64_t tiles = s.tiles + (s.edge > 0), h = p->first_h + 4 * s.i, w = p->first_w + 4 * s.j;
        int64_t h0 = max64(0, h), rows = max64(0, min64(p->sh, h + 6) - h0);
        int64_t w0 = max64(0, w), w1 = min64(p->sw, w + 4 * tiles + 2);
        const elem *plane = source + s.image * p->stride[0] + h0 * p->stride[2];
        for (int64_t r = part * channels * rows / parts; r < (part + 1) * channels * rows / parts; r++)
            for (int64_t x = w0; x < w1; x += LINE)
                __builtin_prefetch(plane + r / rows * p->stride[1] + r % rows * p->stride[2] + x, 0, 2);
        tile += tiles;
    }
}
