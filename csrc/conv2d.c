/* Convolution forward and backward data, both as correlations; backward weight is in conv2d_weight.c. */
#include "conv2d.h"
#include "arena.h"
#include "narrow.h"

#include <stdlib.h>

/* im2col asks for patches, which only the dense kernel makes */
static int narrow(const struct correlation *c) { return !c->im2col && NAME(narrow_suits)(c); }

static struct correlation forward(const engine_conv2d *p) {
    struct correlation c = {
        .n = p->n, .g = p->g, .sc = p->ic / p->g, .dc = p->oc / p->g,
        .sh = p->ih, .sw = p->iw, .dh = p->oh, .dw = p->ow,
        .step_h = p->stride_h, .step_w = p->stride_w, .taps_h = p->kh, .taps_w = p->kw,
        .first_h = -p->pad_t, .first_w = -p->pad_l, .space_h = p->dil_h, .space_w = p->dil_w,
        .w_group = p->oc / p->g * p->weight_stride[0], .w_dc = p->weight_stride[0], .w_sc = p->weight_stride[1],
        .w_h = p->weight_stride[2], .w_w = p->weight_stride[3],
        .im2col = p->algorithm == ENGINE_IM2COL, .relu = p->relu, .threads = p->threads,
    };
    memcpy(c.s_stride, p->x_stride, sizeof c.s_stride);
    memcpy(c.d_stride, p->y_stride, sizeof c.d_stride);
    return c;
}

void NAME(conv2d_forward)(const engine_conv2d *p, const void *x, const void *weight, const void *bias, void *y,
                          void *workspace) {
    struct correlation c = forward(p);
    struct narrow_phase whole = {.c = c};
    if (narrow(&c))
        NAME(narrow)(1, &whole, x, weight, bias, y, workspace);
    else
        NAME(correlate)(&c, x, weight, bias, y, workspace);
}

/* One axis of one phase of backward data: the input positions `phase`, phase + stride, ... and the taps that reach them.
   Tap r reads dy at (position + pad - r*dil) / stride where that is whole, so taps come `every` so many, and as r grows
   the position in dy falls: the taps are taken from the last one down. */
struct phase {
    int64_t positions, taps, every, last, first, space;
};

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static struct phase phase_of(int64_t phase, int64_t size, int64_t k, int64_t stride, int64_t pad, int64_t dil) {
    struct phase f = {.positions = phase < size ? ceil_div(size - phase, stride) : 0, .every = 1};
    while (f.every * dil % stride) f.every++;
    f.space = f.every * dil / stride;
    for (int64_t r = 0; r < k; r++)
        if ((phase + pad - r * dil) % stride == 0) f.taps++, f.last = r;
    f.first = floor_div(phase + pad - f.last * dil, stride);
    return f;
}

static struct narrow_phase backward_data_phase(const engine_conv2d *p, int64_t phase_h, int64_t phase_w) {
    struct phase h = phase_of(phase_h, p->ih, p->kh, p->stride_h, p->pad_t, p->dil_h);
    struct phase w = phase_of(phase_w, p->iw, p->kw, p->stride_w, p->pad_l, p->dil_w);
    int no_taps = h.taps == 0 || w.taps == 0;
    struct correlation c = {
        .n = p->n, .g = p->g, .sc = p->oc / p->g, .dc = p->ic / p->g,
        .sh = p->oh, .sw = p->ow, .dh = h.positions, .dw = w.positions,
        .step_h = 1, .step_w = 1, .taps_h = no_taps ? 0 : h.taps, .taps_w = no_taps ? 0 : w.taps,
        .first_h = h.first, .first_w = w.first, .space_h = h.space, .space_w = w.space,
        .w_group = p->oc / p->g * p->weight_stride[0], .w_dc = p->weight_stride[1], .w_sc = p->weight_stride[0],
        .w_h = -h.every * p->weight_stride[2], .w_w = -w.every * p->weight_stride[3],
        .im2col = p->algorithm == ENGINE_IM2COL, .threads = p->threads,
    };
    memcpy(c.s_stride, p->y_stride, sizeof c.s_stride);
    memcpy(c.d_stride, p->x_stride, sizeof c.d_stride);
    c.d_stride[2] *= p->stride_h;
    c.d_stride[3] *= p->stride_w;
    return (struct narrow_phase){.c = c, .weight_offset = h.last * p->weight_stride[2] + w.last * p->weight_stride[3],
                                 .dest_offset = phase_h * p->x_stride[2] + phase_w * p->x_stride[3]};
}

/* All phases, at the front of the workspace; returns how many. */
static int64_t backward_data_phases(const engine_conv2d *p, struct narrow_phase *phase) {
    int64_t count = 0;
    for (int64_t h = 0; h < min64(p->stride_h, p->ih); h++)
        for (int64_t w = 0; w < min64(p->stride_w, p->iw); w++) phase[count++] = backward_data_phase(p, h, w);
    return count;
}

static int64_t phases_bytes(const engine_conv2d *p) {
    int64_t bytes = min64(p->stride_h, p->ih) * min64(p->stride_w, p->iw) * (int64_t)sizeof(struct narrow_phase);
    return ceil_div(bytes, 64) * 64;
}

void NAME(conv2d_backward_data)(const engine_conv2d *p, const void *dy, const void *weight, void *dx, void *workspace) {
    struct narrow_phase *phase = workspace;
    int64_t phases = backward_data_phases(p, phase);
    void *rest = (char *)workspace + phases_bytes(p);
    if (narrow(&phase->c)) {
        NAME(narrow)(phases, phase, dy, weight, NULL, dx, rest);
        return;
    }
    for (int64_t f = 0; f < phases; f++)
        NAME(correlate)(&phase[f].c, dy, (const elem *)weight + phase[f].weight_offset, NULL,
                        (elem *)dx + phase[f].dest_offset, rest);
}

static int64_t backward_data_workspace(const engine_conv2d *p) {
    struct narrow_phase *phase = calloc(1, (size_t)phases_bytes(p));
    if (!phase) return -1;
    int64_t phases = backward_data_phases(p, phase), most = 0;
    if (narrow(&phase->c))
        most = NAME(narrow_workspace)(phases, phase);
    else
        for (int64_t f = 0; f < phases; f++) most = max64(most, NAME(correlate_workspace)(&phase[f].c));
    free(phase);
    return phases_bytes(p) + most;
}

int64_t NAME(conv2d_workspace)(const engine_conv2d *p, int32_t direction) {
    if (direction == ENGINE_BACKWARD_WEIGHT) return NAME(conv2d_backward_weight_workspace)(p);
    if (direction == ENGINE_BACKWARD_DATA) return backward_data_workspace(p);
    struct correlation c = forward(p);
    struct narrow_phase whole = {.c = c};
    return narrow(&c) ? NAME(narrow_workspace)(1, &whole) : NAME(correlate_workspace)(&c);
}
