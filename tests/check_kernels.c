/* Checks the C library without Python, for processors that are only emulated: every level, type, direction and algorithm on
   a few geometries, with small integers, which every type must get exactly right.  Prints what it ran; exits 1 on a mismatch. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 4 };
static const char *const type_name[COUNT] = {"f32", "f64", "i32", "i64"};

static double get(int type, const void *p, int64_t i) {
    switch (type) {
        case ENGINE_F32: return ((const float *)p)[i];
        case ENGINE_F64: return ((const double *)p)[i];
        case ENGINE_I32: return ((const int32_t *)p)[i];
        default: return (double)((const int64_t *)p)[i];
    }
}

static void set(int type, void *p, int64_t i, double v) {
    switch (type) {
        case ENGINE_F32: ((float *)p)[i] = (float)v; break;
        case ENGINE_F64: ((double *)p)[i] = v; break;
        case ENGINE_I32: ((int32_t *)p)[i] = (int32_t)v; break;
        default: ((int64_t *)p)[i] = (int64_t)v;
    }
}

struct array {
    void *data;
    int64_t size, stride[4];
};

static struct array make(int64_t n, int64_t c, int64_t h, int64_t w, int last) {
    struct array a = {.size = n * c * h * w};
    a.data = calloc((size_t)a.size + 1, 8);
    int64_t planes[4] = {c * h * w, h * w, w, 1}, channels_last[4] = {c * h * w, 1, w * c, c};
    memcpy(a.stride, last ? channels_last : planes, sizeof planes);
    return a;
}

static void fill(int type, struct array a, unsigned seed) {
    for (int64_t i = 0; i < a.size; i++) {
        seed = seed * 1103515245u + 12345u;
        set(type, a.data, i, (double)(seed >> 16 & 7) - 3);
    }
}

static int64_t at(struct array a, int64_t n, int64_t c, int64_t h, int64_t w) {
    return n * a.stride[0] + c * a.stride[1] + h * a.stride[2] + w * a.stride[3];
}

/* Visits every product of the convolution: adds to y, dx or dw, whichever is the direction's result. */
static void naive(const engine_conv2d *p, int direction, struct array x, struct array w, struct array y, double *result) {
    int64_t ic = p->ic / p->g, oc = p->oc / p->g;
    for (int64_t n = 0; n < p->n; n++)
        for (int64_t k = 0; k < p->oc; k++)
            for (int64_t i = 0; i < p->oh; i++)
                for (int64_t j = 0; j < p->ow; j++)
                    for (int64_t c = 0; c < ic; c++)
                        for (int64_t r = 0; r < p->kh; r++)
                            for (int64_t s = 0; s < p->kw; s++) {
                                int64_t h = i * p->stride_h - p->pad_t + r * p->dil_h, v = j * p->stride_w - p->pad_l + s * p->dil_w;
                                if (h < 0 || h >= p->ih || v < 0 || v >= p->iw) continue;
                                int64_t xi = at(x, n, k / oc * ic + c, h, v), wi = at(w, k, c, r, s), yi = at(y, n, k, i, j);
                                if (direction == ENGINE_FORWARD)
                                    result[yi] += get(p->type, x.data, xi) * get(p->type, w.data, wi);
                                else if (direction == ENGINE_BACKWARD_DATA)
                                    result[xi] += get(p->type, y.data, yi) * get(p->type, w.data, wi);
                                else
                                    result[wi] += get(p->type, y.data, yi) * get(p->type, x.data, xi);
                            }
}

static int check(engine_conv2d p, int direction, int last) {
    struct array x = make(p.n, p.ic, p.ih, p.iw, last), w = make(p.oc, p.ic / p.g, p.kh, p.kw, 0);
    struct array y = make(p.n, p.oc, p.oh, p.ow, last);
    fill(p.type, x, 1), fill(p.type, w, 2), fill(p.type, y, 3);
    memcpy(p.x_stride, x.stride, sizeof x.stride);
    memcpy(p.weight_stride, w.stride, sizeof w.stride);
    memcpy(p.y_stride, y.stride, sizeof y.stride);
    struct array out = direction == ENGINE_FORWARD ? y : direction == ENGINE_BACKWARD_DATA ? x : w;
    double *expected = calloc((size_t)out.size, sizeof *expected);
    naive(&p, direction, x, w, y, expected);
    void *work = aligned_alloc(64, ((size_t)engine_conv2d_workspace(&p, direction) / 64 + 1) * 64);
    if (direction == ENGINE_FORWARD)
        engine_conv2d_forward(&p, x.data, w.data, NULL, y.data, work);
    else if (direction == ENGINE_BACKWARD_DATA)
        engine_conv2d_backward_data(&p, y.data, w.data, x.data, work);
    else
        engine_conv2d_backward_weight(&p, y.data, x.data, w.data, work);
    int wrong = 0;
    for (int64_t i = 0; i < out.size; i++) wrong += get(p.type, out.data, i) != expected[i];
    if (wrong)
        printf("MISMATCH %d of %lld: %s %s direction %d ic %lld oc %lld kh %lld stride %lld algorithm %d last %d\n", wrong,
               (long long)out.size, engine_isa_name(engine_get_isa()), type_name[p.type], direction, (long long)p.ic,
               (long long)p.oc, (long long)p.kh, (long long)p.stride_h, p.algorithm, last);
    free(x.data), free(w.data), free(y.data), free(expected), free(work);
    return wrong != 0;
}

int main(void) {
    /* n g ic ih iw oc kh kw stride pad dil */
    static const int shapes[][11] = {
        {2, 1, 3, 11, 9, 5, 3, 3, 1, 1, 1},   {1, 1, 1, 12, 12, 6, 5, 5, 1, 2, 1},  {1, 1, 20, 7, 7, 70, 3, 3, 1, 1, 1},
        {2, 1, 17, 9, 8, 33, 1, 1, 1, 0, 1},  {1, 1, 16, 13, 13, 16, 3, 3, 2, 1, 1}, {1, 1, 3, 23, 21, 20, 7, 7, 2, 3, 1},
        {1, 6, 6, 14, 37, 6, 3, 3, 1, 1, 1},  {1, 40, 40, 9, 18, 40, 3, 3, 2, 1, 1}, {1, 2, 8, 10, 10, 12, 3, 3, 1, 2, 2},
        {1, 1, 8, 9, 9, 8, 2, 2, 3, 0, 1},
    };
    int checks = 0, mismatches = 0;
    for (int level = 0; level < engine_isa_count(); level++) {
        engine_set_isa(level);
        int before = checks;
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int type = 0; type < COUNT; type++)
                for (int direction = 0; direction < 3; direction++)
                    for (int algorithm = 0; algorithm < 2; algorithm++)
                        for (int last = 0; last < 2; last++) {
                            const int *v = shapes[s];
                            engine_conv2d p = {.n = v[0], .g = v[1], .ic = v[2], .ih = v[3], .iw = v[4], .oc = v[5], .kh = v[6],
                                               .kw = v[7], .stride_h = v[8], .stride_w = v[8], .pad_t = v[9], .pad_l = v[9],
                                               .dil_h = v[10], .dil_w = v[10], .type = type, .algorithm = algorithm, .threads = 2};
                            p.oh = (p.ih + 2 * p.pad_t - p.dil_h * (p.kh - 1) - 1) / p.stride_h + 1;
                            p.ow = (p.iw + 2 * p.pad_l - p.dil_w * (p.kw - 1) - 1) / p.stride_w + 1;
                            mismatches += check(p, direction, last);
                            checks++;
                        }
        printf("%s: %d checks\n", engine_isa_name(level), checks - before);
    }
    printf("%d mismatches\n", mismatches);
    return mismatches != 0;
}
