#include "pointwise.h"

enum { LEAST_CHANNELS = 8 }; /* of a group, on either side, if there are several groups */

int NAME(pointwise_suits)(int64_t phases, const struct correlation *phase) {
    const struct correlation *c = &phase[0];
    for (int64_t f = 1; f < phases; f++)
        if (phase[f].taps_h > 0) return 0;
    int one_tap = c->taps_h == 1 && c->taps_w == 1;
    int inside = c->first_h >= 0 && c->first_w >= 0 && c->first_h + (c->dh - 1) * c->step_h < c->sh &&
                 c->first_w + (c->dw - 1) * c->step_w < c->sw;
    return one_tap && inside && (c->g == 1 || (c->sc >= LEAST_CHANNELS && c->dc >= LEAST_CHANNELS));
}

static int last(const struct correlation *c) { return c->d_stride[1] == 1 && c->dc > 1; }

int64_t NAME(pointwise_workspace)(const struct correlation *c, int packed) {
    return last(c) ? NAME(pointwise_last_workspace)(c, packed) : NAME(pointwise_planes_workspace)(c);
}

int64_t NAME(pointwise_packed_bytes)(const struct correlation *c) {
    return last(c) ? NAME(pointwise_last_packed_bytes)(c) : 0;
}

void NAME(pointwise_pack)(const struct correlation *c, const elem *weight, elem *packed) {
    NAME(pointwise_last_pack)(c, weight + c->weight_offset, packed);
}

void NAME(pointwise)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source,
                     const elem *weight, const elem *packed, const elem *bias, elem *dest, void *workspace) {
    const struct correlation *c = &phase[0];
    source += c->first_h * c->s_stride[2] + c->first_w * c->s_stride[3];
    if (weight) weight += c->weight_offset;
    if (last(c))
        NAME(pointwise_last)(phases, phase, source, weight, packed, bias, dest, workspace);
    else
        NAME(pointwise_planes)(phases, across, phase, source, weight, bias, dest, workspace);
}
