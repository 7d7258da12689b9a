/* What is added to the results of a convolution, where they lie: y = relu(y + residual). */
#include "residual.h"
#include "arena.h"
#include "thread.h"

enum { PIECE = 8192 }; /* elements of a task, at most */

struct axis {
    int64_t size, stride;
};

/* The elements of an image as rows: runs of `inner`, the steps between which are those of the other two. */
struct job {
    const engine_conv2d *p;
    elem *y;
    struct axis outer, middle, inner;
    int64_t pieces; /* of a run */
};

static void swap_if(int wrong, struct axis *a, struct axis *b) {
    struct axis held = *a;
    if (wrong) *a = *b, *b = held;
}

/* Axes in the order of memory, those that follow one another as one. */
static struct job rows_of(const engine_conv2d *p, elem *y) {
    const int64_t *stride = p->y_stride;
    struct axis a[3] = {{p->oc, stride[1]}, {p->oh, stride[2]}, {p->ow, stride[3]}};
    for (int i = 0; i < 3; i++)
        if (a[i].size == 1) a[i].stride = INT64_MAX; /* of no consequence: outermost */
    swap_if(a[0].stride < a[1].stride, &a[0], &a[1]);
    swap_if(a[1].stride < a[2].stride, &a[1], &a[2]);
    swap_if(a[0].stride < a[1].stride, &a[0], &a[1]);
    for (int joined = 0; joined < 2 && a[2].size > 1 && (a[1].size == 1 || a[1].stride == a[2].size * a[2].stride); joined++) {
        a[2].size *= a[1].size;
        a[1] = a[0], a[0] = (struct axis){1, 0};
    }
    return (struct job){.p = p, .y = y, .outer = a[0], .middle = a[1], .inner = a[2], .pieces = ceil_div(a[2].size, PIECE)};
}

static void add_run(int64_t count, elem *y, const elem *residual, int64_t step, int relu) {
    int64_t i = 0;
    if (step == 1)
        for (; i + LANES <= count; i += LANES) {
            vec v = vec_load(y + i) + vec_load(residual + i);
            vec_store(y + i, relu ? vec_relu(v) : v);
        }
    for (; i < count; i++) {
        elem v = y[i * step] + residual[i * step];
        y[i * step] = relu && (compare)v < 0 ? 0 : v;
    }
}

static void add_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    int64_t piece = task % job->pieces * PIECE, row = task / job->pieces;
    int64_t middle = row % job->middle.size, outer = row / job->middle.size % job->outer.size;
    int64_t image = row / job->middle.size / job->outer.size, step = job->inner.size > 1 ? job->inner.stride : 1;
    int64_t at = image * job->p->y_stride[0] + (job->outer.size > 1 ? outer * job->outer.stride : 0) +
                 (job->middle.size > 1 ? middle * job->middle.stride : 0) + piece * step;
    add_run(min64(PIECE, job->inner.size - piece), job->y + at, (const elem *)job->p->residual + at, step, job->p->relu);
}

void NAME(add_residual)(const engine_conv2d *p, elem *y) {
    struct job job = rows_of(p, y);
    engine_parallel(p->threads, p->n * job.outer.size * job.middle.size * job.pieces, add_task, &job);
}
