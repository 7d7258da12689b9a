/* From the exported names to the kernels of the level in use. */
#include "kernels.h"
#include "cpu.h"
#include "subnormal.h"

#include <stdatomic.h>
#include <string.h>

#define ISA_TABLES(name, whose)                                                                                        \
    extern const struct kernels kernels_##whose##_f32, kernels_##whose##_f64, kernels_##whose##_i32, kernels_##whose##_i64;
#define ISA(arch, name, whose, flags, test) ISA_ON_##arch(ISA_TABLES(name, whose))
#include "isa.def"
#undef ISA

struct level {
    const char *name;
    const struct kernels *kernels[ENGINE_TYPES];
};

#define ISA_LEVEL(name, whose)                                                                                         \
    {#name, {&kernels_##whose##_f32, &kernels_##whose##_f64, &kernels_##whose##_i32, &kernels_##whose##_i64}},
#define ISA(arch, name, whose, flags, test) ISA_ON_##arch(ISA_LEVEL(name, whose))
static const struct level levels[] = {
#include "isa.def"
};
#undef ISA

/* Levels are ordered, so a processor has the first so many of them. */
int32_t engine_isa_count(void) {
    static _Atomic int32_t count; /* every thread computes the same number */
    int32_t known = atomic_load(&count);
    if (known) return known;
    int32_t usable = 0, open = 1;
#define ISA_TEST(test) open = open && (test), usable += open;
#define ISA(arch, name, whose, flags, test) ISA_ON_##arch(ISA_TEST(test))
#include "isa.def"
#undef ISA
    atomic_store(&count, usable);
    return usable;
}

static _Atomic int32_t chosen = -1; /* -1: not chosen yet, the best one then */

int32_t engine_get_isa(void) {
    int32_t level = atomic_load_explicit(&chosen, memory_order_relaxed);
    return level >= 0 ? level : engine_isa_count() - 1;
}

void engine_set_isa(int32_t level) {
    if (level >= 0 && level < engine_isa_count()) atomic_store(&chosen, level);
}

const char *engine_isa_name(int32_t level) {
    return level >= 0 && level < (int32_t)(sizeof levels / sizeof *levels) ? levels[level].name : "";
}

int level_has_amx(void) { return strcmp(levels[engine_get_isa()].name, "amx") == 0; }

static const struct kernels *kernels(int32_t type) { return levels[engine_get_isa()].kernels[type]; }

int64_t engine_conv2d_workspace(const engine_conv2d *conv, int32_t direction) {
    return kernels(conv->type)->conv2d_workspace(conv, direction);
}

void engine_conv2d_forward(const engine_conv2d *conv, const void *x, const void *weight, const void *bias, void *y,
                           void *workspace) {
    uint64_t mode = subnormals_to_zero();
    kernels(conv->type)->conv2d_forward(conv, x, weight, bias, y, workspace);
    set_floating_mode(mode);
}

void engine_conv2d_backward_data(const engine_conv2d *conv, const void *dy, const void *weight, void *dx, void *workspace) {
    uint64_t mode = subnormals_to_zero();
    kernels(conv->type)->conv2d_backward_data(conv, dy, weight, dx, workspace);
    set_floating_mode(mode);
}

void engine_conv2d_backward_weight(const engine_conv2d *conv, const void *dy, const void *x, void *dweight, void *workspace) {
    uint64_t mode = subnormals_to_zero();
    kernels(conv->type)->conv2d_backward_weight(conv, dy, x, dweight, workspace);
    set_floating_mode(mode);
}

int64_t engine_conv2d_packed_bytes(const engine_conv2d *conv, int32_t direction) {
    return kernels(conv->type)->conv2d_packed_bytes(conv, direction);
}

void engine_conv2d_pack_weight(const engine_conv2d *conv, int32_t direction, const void *weight, void *packed) {
    uint64_t mode = subnormals_to_zero();
    kernels(conv->type)->conv2d_pack_weight(conv, direction, weight, packed);
    set_floating_mode(mode);
}

int32_t engine_conv2d_preferred(const engine_conv2d *conv, int32_t direction) {
    return kernels(conv->type)->conv2d_preferred(conv, direction);
}

int64_t engine_pool2d_workspace(const engine_pool2d *pool, int32_t backward, int32_t indexed) {
    return kernels(pool->type)->pool2d_workspace(pool, backward, indexed);
}

/* Maxima and minima tell subnormals apart, and multiply nothing. */
static uint64_t pooling_mode(const engine_pool2d *pool) {
    return pool->kind == ENGINE_AVG || pool->kind == ENGINE_LP ? subnormals_to_zero() : floating_mode();
}

void engine_pool2d_forward(const engine_pool2d *pool, const void *x, void *y, int64_t *indices, void *workspace) {
    uint64_t mode = pooling_mode(pool);
    kernels(pool->type)->pool2d_forward(pool, x, y, indices, workspace);
    set_floating_mode(mode);
}

int32_t engine_pool2d_backward(const engine_pool2d *pool, const void *dy, const void *x, const int64_t *indices, void *dx,
                               void *workspace) {
    uint64_t mode = pooling_mode(pool);
    int32_t wrong = kernels(pool->type)->pool2d_backward(pool, dy, x, indices, dx, workspace);
    set_floating_mode(mode);
    return wrong;
}

void engine_chain(const engine_step *step, int64_t steps, void *workspace) {
    for (const engine_step *end = step + steps; step < end; step++) {
        if (step->conv)
            engine_conv2d_forward(step->conv, step->x, step->weight, step->bias, step->y, workspace);
        else if (step->pool)
            engine_pool2d_forward(step->pool, step->x, step->y, NULL, workspace);
        else
            engine_softmax_forward(step->softmax, step->x, step->y);
    }
}

int64_t engine_norm_workspace(const engine_norm *norm) { return kernels(norm->type)->norm_workspace(norm); }

void engine_norm_moments(const engine_norm *norm, const void *x, void *mean, void *variance, void *workspace) {
    uint64_t mode = subnormals_to_zero();
    kernels(norm->type)->norm_moments(norm, x, mean, variance, workspace);
    set_floating_mode(mode);
}

void engine_norm_forward(const engine_norm *norm, const void *x, const engine_affine *affine, const void *residual, void *y,
                         void *workspace) {
    uint64_t mode = subnormals_to_zero();
    kernels(norm->type)->norm_forward(norm, x, affine, residual, y, workspace);
    set_floating_mode(mode);
}

void engine_norm_backward_weight(const engine_norm *norm, const void *dy, const void *x, const engine_affine *affine,
                                 void *dweight, void *dbias, void *workspace) {
    uint64_t mode = subnormals_to_zero();
    kernels(norm->type)->norm_backward_weight(norm, dy, x, affine, dweight, dbias, workspace);
    set_floating_mode(mode);
}

void engine_norm_backward_data(const engine_norm *norm, const void *dy, const void *x, const engine_affine *affine,
                               const void *dweight, const void *dbias, void *dx, void *workspace) {
    uint64_t mode = subnormals_to_zero();
    kernels(norm->type)->norm_backward_data(norm, dy, x, affine, dweight, dbias, dx, workspace);
    set_floating_mode(mode);
}

void engine_relu_backward(int32_t type, const void *dy, const void *y, void *dx, int64_t count, int32_t threads) {
    kernels(type)->relu_backward(dy, y, dx, count, threads);
}
