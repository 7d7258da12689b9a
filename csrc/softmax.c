/* exp(x - max) / sum of such, row by row: once the largest is subtracted no exponential overflows. */
#include "engine.h"

#include <math.h>

#define SOFTMAX(name, elem, exponential)                                                                               \
    static void name(int64_t columns, const elem *x, elem *y) {                                                        \
        elem largest = x[0], sum = 0;                                                                                  \
        for (int64_t i = 1; i < columns; i++)                                                                          \
            if (x[i] > largest || x[i] != x[i]) largest = x[i];                                                        \
        for (int64_t i = 0; i < columns; i++) sum += y[i] = exponential(x[i] - largest);                               \
        for (int64_t i = 0; i < columns; i++) y[i] /= sum;                                                             \
    }
SOFTMAX(row_f32, float, expf)
SOFTMAX(row_f64, double, exp)

void engine_softmax_forward(const engine_softmax *s, const void *x, void *y) {
    for (int64_t i = 0; i < s->rows && s->columns > 0; i++) {
        if (s->type == ENGINE_F32)
            row_f32(s->columns, (const float *)x + i * s->x_stride, (float *)y + i * s->y_stride);
        else
            row_f64(s->columns, (const double *)x + i * s->x_stride, (double *)y + i * s->y_stride);
    }
}
