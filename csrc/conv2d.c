/* Convolution in its three directions: each is put as correlations (correlate.h) and given to the kernel that suits them. */
#include "conv2d.h"
#include "amx_correlate.h"
#include "amx_pointwise.h"
#include "amx_weight.h"
#include "arena.h"
#include "conv2d_weight.h"
#include "depthwise.h"
#include "depthwise_last.h"
#include "depthwise_weight.h"
#include "first_layer.h"
#include "fully_connected.h"
#include "narrow.h"
#include "narrow_weight.h"
#include "pointwise.h"
#include "pointwise_weight.h"
#include "residual.h"
#include "winograd.h"

#include <stdlib.h>

static struct correlation forward(const engine_conv2d *p) {
    struct correlation c = {
        .n = p->n, .g = p->g, .sc = p->ic / p->g, .dc = p->oc / p->g,
        .sh = p->ih, .sw = p->iw, .dh = p->oh, .dw = p->ow,
        .step_h = p->stride_h, .step_w = p->stride_w, .taps_h = p->kh, .taps_w = p->kw,
        .first_h = -p->pad_t, .first_w = -p->pad_l, .space_h = p->dil_h, .space_w = p->dil_w,
        .w_group = p->oc / p->g * p->weight_stride[0], .w_dc = p->weight_stride[0], .w_sc = p->weight_stride[1],
        .w_h = p->weight_stride[2], .w_w = p->weight_stride[3],
        .im2col = p->algorithm == ENGINE_IM2COL, .relu = p->relu && !p->residual, .bfloat16 = p->bfloat16, .threads = p->threads,
    };
    memcpy(c.s_stride, p->x_stride, sizeof c.s_stride);
    memcpy(c.d_stride, p->y_stride, sizeof c.d_stride);
    return c;
}

/* One axis of one phase of backward data: the input positions `phase`, phase + stride, ... and the taps that reach them.
   Tap r reads dy at (position + pad - r*dil) / stride where that is whole, so taps come `every` so many, and as r grows
   the position in dy falls: the taps are taken from the last one down. */
struct axis {
    int64_t positions, taps, every, last, first, space;
};

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static struct axis phase_of_axis(int64_t phase, int64_t size, int64_t k, int64_t stride, int64_t pad, int64_t dil) {
    struct axis a = {.positions = ceil_div(size - phase, stride), .every = 1};
    while (a.every * dil % stride) a.every++;
    a.space = a.every * dil / stride;
    for (int64_t r = 0; r < k; r++)
        if ((phase + pad - r * dil) % stride == 0) a.taps++, a.last = r;
    a.first = floor_div(phase + pad - a.last * dil, stride);
    return a;
}

static struct correlation backward_data(const engine_conv2d *p, int64_t phase_h, int64_t phase_w) {
    struct axis h = phase_of_axis(phase_h, p->ih, p->kh, p->stride_h, p->pad_t, p->dil_h);
    struct axis w = phase_of_axis(phase_w, p->iw, p->kw, p->stride_w, p->pad_l, p->dil_w);
    int no_taps = h.taps == 0 || w.taps == 0;
    struct correlation c = {
        .n = p->n, .g = p->g, .sc = p->oc / p->g, .dc = p->ic / p->g,
        .sh = p->oh, .sw = p->ow, .dh = h.positions, .dw = w.positions,
        .step_h = 1, .step_w = 1, .taps_h = no_taps ? 0 : h.taps, .taps_w = no_taps ? 0 : w.taps,
        .first_h = h.first, .first_w = w.first, .space_h = h.space, .space_w = w.space,
        .w_group = p->oc / p->g * p->weight_stride[0], .w_dc = p->weight_stride[1], .w_sc = p->weight_stride[0],
        .w_h = -h.every * p->weight_stride[2], .w_w = -w.every * p->weight_stride[3],
        .weight_offset = h.last * p->weight_stride[2] + w.last * p->weight_stride[3],
        .d_offset = phase_h * p->x_stride[2] + phase_w * p->x_stride[3],
        .im2col = p->algorithm == ENGINE_IM2COL, .bfloat16 = p->bfloat16, .threads = p->threads,
    };
    memcpy(c.s_stride, p->y_stride, sizeof c.s_stride);
    memcpy(c.d_stride, p->x_stride, sizeof c.d_stride);
    c.d_stride[2] *= p->stride_h;
    c.d_stride[3] *= p->stride_w;
    return c;
}

/* The correlations of one call: one forward, one per phase of the stride backward, `across` of which share their rows. */
struct call {
    int64_t count, across, bytes;
    struct correlation *c;
};

static struct call count_call(const engine_conv2d *p, int32_t direction) {
    struct call call = {.count = 1, .across = 1};
    if (direction == ENGINE_BACKWARD_DATA) {
        call.across = min64(p->stride_w, p->iw);
        call.count = min64(p->stride_h, p->ih) * call.across;
    }
    call.bytes = ceil_div(call.count * (int64_t)sizeof(struct correlation), 64) * 64;
    return call;
}

static struct correlation phase_of(const engine_conv2d *p, int32_t direction, const struct call *call, int64_t f) {
    return direction == ENGINE_FORWARD ? forward(p) : backward_data(p, f / call->across, f % call->across);
}

static void fill_call(const engine_conv2d *p, int32_t direction, struct call *call, void *memory) {
    call->c = memory;
    for (int64_t f = 0; f < call->count; f++) call->c[f] = phase_of(p, direction, call, f);
}

/* im2col asks for patches, which only the dense kernel makes */
enum kind { DENSE, FULLY_CONNECTED, POINTWISE, FIRST_LAYER, NARROW, DEPTHWISE, DEPTHWISE_LAST, WINOGRAD, AMX, AMX_POINTWISE };

static enum kind kind_of(const engine_conv2d *p, int32_t direction, const struct call *call) {
    if (ELEM_IS_FLOATING && p->algorithm == ENGINE_WINOGRAD) return WINOGRAD;
    if (ELEM_IS_FLOATING && p->algorithm == ENGINE_BF16X6)
        return NAME(amx_pointwise_suits)(call->count, call->c) ? AMX_POINTWISE : AMX;
    if (p->algorithm == ENGINE_IM2COL) return DENSE;
    if (ELEM_IS_FLOATING && (direction == ENGINE_FORWARD ? NAME(fully_connected_suits)(call->count, call->c)
                                                         : NAME(fully_connected_data_suits)(call->count, call->c)))
        return FULLY_CONNECTED;
    if (NAME(pointwise_suits)(call->count, call->c)) return POINTWISE;
    if (NAME(depthwise_last_suits)(call->c)) return DEPTHWISE_LAST;
    if (NAME(depthwise_suits)(call->count, call->across, call->c)) return DEPTHWISE;
    if (NAME(narrow_suits)(call->c)) return NARROW;
    return call->count == 1 && NAME(first_layer_suits)(call->c) ? FIRST_LAYER : DENSE;
}

static enum kind kind_of_weight(const engine_conv2d *p, const struct correlation *c) {
    if (ELEM_IS_FLOATING && p->algorithm == ENGINE_WINOGRAD) return WINOGRAD;
    if (ELEM_IS_FLOATING && p->algorithm == ENGINE_BF16X6) return AMX;
    if (p->algorithm == ENGINE_IM2COL) return DENSE;
    if (ELEM_IS_FLOATING && NAME(fully_connected_weight_suits)(c)) return FULLY_CONNECTED;
    if (NAME(pointwise_suits)(1, c)) return POINTWISE;
    if (NAME(depthwise_last_suits)(c)) return DEPTHWISE_LAST;
    if (NAME(depthwise_weight_suits)(c)) return DEPTHWISE;
    return NAME(narrow_suits)(c) ? NARROW : DENSE;
}

static void run_call(const engine_conv2d *p, int32_t direction, const elem *source, const elem *weight, const elem *bias,
                     elem *dest, void *workspace) {
    struct call call = count_call(p, direction);
    fill_call(p, direction, &call, workspace);
    void *rest = (char *)workspace + call.bytes;
    const elem *packed = p->packed ? weight : NULL;
    if (packed) weight = NULL;
    enum kind kind = kind_of(p, direction, &call);
    int adds = p->residual && kind == AMX_POINTWISE; /* the others leave that to a second pass */
    if (adds) call.c->residual = (const elem *)p->residual - dest, call.c->relu = p->relu;
    switch (kind) {
        case FULLY_CONNECTED:
            if (ELEM_IS_FLOATING && direction == ENGINE_FORWARD)
                NAME(fully_connected)(call.c, source, weight, bias, dest, rest);
            else if (ELEM_IS_FLOATING)
                NAME(fully_connected_data)(call.c, source, weight, dest, rest);
            break;
        case POINTWISE: NAME(pointwise)(call.count, call.across, call.c, source, weight, packed, bias, dest, rest); break;
        case DEPTHWISE: NAME(depthwise)(call.count, call.across, call.c, source, weight, bias, dest, rest); break;
        case DEPTHWISE_LAST: NAME(depthwise_last)(call.count, call.c, source, weight, bias, dest, rest); break;
        case NARROW: NAME(narrow)(call.count, call.across, call.c, source, weight, bias, dest, rest); break;
        case FIRST_LAYER: NAME(first_layer)(call.c, source, weight, bias, dest, rest); break;
        case DENSE:
            NAME(correlate)(call.count, call.across, call.c, source, weight, packed, bias, dest, rest);
            break;
        case AMX:
            for (int64_t f = 0; f < call.count; f++) NAME(amx_correlate)(&call.c[f], source, weight, bias, dest, rest);
            break;
        case AMX_POINTWISE:
            NAME(amx_pointwise)(call.count, call.across, call.c, source, weight, packed, bias, dest, rest);
            break;
        case WINOGRAD:
            if (ELEM_IS_FLOATING)
                NAME(winograd)(call.c, source, weight, packed, bias, dest, rest);
    }
    if (p->residual && !adds) NAME(add_residual)(p, dest);
}

static int64_t call_workspace(const engine_conv2d *p, int32_t direction) {
    struct call call = count_call(p, direction);
    void *memory = calloc(1, (size_t)call.bytes);
    if (!memory) return INT64_MAX; /* more than any limit: the caller reports that memory is short */
    fill_call(p, direction, &call, memory);
    int64_t most = 0;
    switch (kind_of(p, direction, &call)) {
        case FULLY_CONNECTED:
            if (ELEM_IS_FLOATING)
                most = direction == ENGINE_FORWARD ? NAME(fully_connected_workspace)(call.c)
                                                   : NAME(fully_connected_data_workspace)(call.c);
            break;
        case POINTWISE: most = NAME(pointwise_workspace)(call.c, p->packed); break;
        case DEPTHWISE: most = NAME(depthwise_workspace)(call.count, call.across, call.c); break;
        case DEPTHWISE_LAST: most = NAME(depthwise_last_workspace)(call.count, call.c); break;
        case NARROW: most = NAME(narrow_workspace)(call.count, call.across, call.c); break;
        case FIRST_LAYER: most = NAME(first_layer_workspace)(call.c); break;
        case DENSE: most = NAME(correlate_workspace)(call.count, call.across, call.c, p->packed); break;
        case AMX:
            for (int64_t f = 0; f < call.count; f++) most = max64(most, NAME(amx_correlate_workspace)(&call.c[f]));
            break;
        case AMX_POINTWISE: most = NAME(amx_pointwise_workspace)(call.c, p->packed); break;
        case WINOGRAD: most = ELEM_IS_FLOATING ? NAME(winograd_workspace)(call.c, p->packed) : 0;
    }
    free(memory);
    return call.bytes + most;
}

int64_t NAME(conv2d_workspace)(const engine_conv2d *p, int32_t direction) {
    if (direction != ENGINE_BACKWARD_WEIGHT) return call_workspace(p, direction);
    struct correlation c = forward(p);
    switch (kind_of_weight(p, &c)) {
        case DEPTHWISE_LAST: return NAME(depthwise_last_weight_workspace)(&c);
        case FULLY_CONNECTED: return ELEM_IS_FLOATING ? NAME(fully_connected_weight_workspace)(&c) : 0;
        case POINTWISE: return NAME(pointwise_weight_workspace)(&c);
        case DEPTHWISE: return NAME(depthwise_weight_workspace)(&c);
        case NARROW: return NAME(narrow_weight_workspace)(&c);
        case AMX: return NAME(amx_weight_workspace)(&c);
        case WINOGRAD: return ELEM_IS_FLOATING ? NAME(winograd_weight_workspace)(&c) : 0;
        default: return NAME(conv2d_weight_workspace)(p);
    }
}

void NAME(conv2d_forward)(const engine_conv2d *p, const void *x, const void *weight, const void *bias, void *y,
                          void *workspace) {
    run_call(p, ENGINE_FORWARD, x, weight, bias, y, workspace);
}

void NAME(conv2d_backward_data)(const engine_conv2d *p, const void *dy, const void *weight, void *dx, void *workspace) {
    run_call(p, ENGINE_BACKWARD_DATA, dy, weight, NULL, dx, workspace);
}

void NAME(conv2d_backward_weight)(const engine_conv2d *p, const void *dy, const void *x, void *dweight, void *workspace) {
    struct correlation c = forward(p);
    switch (kind_of_weight(p, &c)) {
        case DEPTHWISE_LAST: NAME(depthwise_last_weight)(&c, x, dy, dweight, workspace); break;
        case DEPTHWISE: NAME(depthwise_weight)(&c, x, dy, dweight, workspace); break;
        case NARROW: NAME(narrow_weight)(&c, x, dy, dweight, workspace); break;
        case FULLY_CONNECTED:
            if (ELEM_IS_FLOATING) NAME(fully_connected_weight)(&c, x, dy, dweight, workspace);
            break;
        case POINTWISE: NAME(pointwise_weight)(&c, x, dy, dweight, workspace); break;
        case FIRST_LAYER:
        case DENSE: NAME(conv2d_weight)(p, dy, x, dweight, workspace); break;
        case WINOGRAD:
            if (ELEM_IS_FLOATING) NAME(winograd_weight)(&c, x, dy, dweight, workspace);
            break;
        case AMX: NAME(amx_weight)(&c, x, dy, dweight, workspace); break;
        case AMX_POINTWISE: break; /* it has none */
    }
}

/* The weights of these kernels, of the dense one phase after phase, have a form of their own. */
int64_t NAME(conv2d_packed_bytes)(const engine_conv2d *p, int32_t direction) {
    if (direction == ENGINE_BACKWARD_WEIGHT) return 0;
    struct call call = count_call(p, direction);
    void *memory = calloc(1, (size_t)call.bytes);
    if (!memory) return 0;
    fill_call(p, direction, &call, memory);
    int64_t bytes = 0;
    switch (kind_of(p, direction, &call)) {
        case WINOGRAD: bytes = ELEM_IS_FLOATING ? NAME(winograd_packed_bytes)(call.c) : 0; break;
        case DENSE:
            for (int64_t f = 0; f < call.count; f++) bytes += NAME(correlate_packed_bytes)(&call.c[f]);
            break;
        case POINTWISE: bytes = NAME(pointwise_packed_bytes)(call.c); break;
        case AMX_POINTWISE: bytes = NAME(amx_pointwise_packed_bytes)(call.c); break;
        default: break;
    }
    free(memory);
    return bytes;
}

void NAME(conv2d_pack_weight)(const engine_conv2d *p, int32_t direction, const void *weight, void *packed) {
    struct call call = count_call(p, direction);
    struct correlation first = phase_of(p, direction, &call, 0);
    if (ELEM_IS_FLOATING && p->algorithm == ENGINE_WINOGRAD) {
        NAME(winograd_pack)(&first, weight, packed);
        return;
    }
    if (ELEM_IS_FLOATING && p->algorithm == ENGINE_BF16X6) { /* of its kernels only this one packs */
        NAME(amx_pointwise_pack)(&first, weight, packed);
        return;
    }
    int one_tap = p->algorithm == ENGINE_DIRECT && NAME(pointwise_suits)(1, &first);
    for (int64_t f = 1; f < call.count; f++) one_tap = one_tap && phase_of(p, direction, &call, f).taps_h == 0;
    if (one_tap) {
        NAME(pointwise_pack)(&first, weight, packed);
        return;
    }
    char *to = packed;
    for (int64_t f = 0; f < call.count; f++) {
        struct correlation c = phase_of(p, direction, &call, f);
        NAME(correlate_pack)(&c, weight, (elem *)to);
        to += NAME(correlate_packed_bytes)(&c);
    }
}

int32_t NAME(conv2d_preferred)(const engine_conv2d *p, int32_t direction) {
    struct correlation c = direction == ENGINE_BACKWARD_DATA ? backward_data(p, 0, 0) : forward(p);
    int dense = p->stride_h == 1 && p->stride_w == 1 && p->dil_h == 1 && p->dil_w == 1, weight = direction == ENGINE_BACKWARD_WEIGHT;
    int tiles = weight ? NAME(amx_weight_wins)(&c) : NAME(amx_wins)(&c);
    if (p->bfloat16) return tiles ? ENGINE_BF16X6 : ENGINE_DIRECT;
    if (ELEM_IS_FLOATING && dense && p->kh == 3 && p->kw == 3 && NAME(winograd_wins)(&c, weight)) return ENGINE_WINOGRAD;
    if (tiles && (weight || p->kh * p->kw > 1)) return ENGINE_BF16X6;
    if (!weight && NAME(pointwise_suits)(1, &c) && NAME(amx_pointwise_wins)(&c)) return ENGINE_BF16X6;
    return ENGINE_DIRECT;
}
