/* Pooling planes forward: strips of results, each through a sink. */
#include "pool2d_planes.h"
#include "sink.h"
#include "thread.h"

struct job {
    struct planes g;
    int64_t rows, task_rows; /* of all planes, of windows */
};

struct scratch {
    struct strip strip;
    elem *norm; /* sums of a strip, until their roots are taken */
    bits *code;
    struct sink value, index;
};

static struct scratch carve(const struct planes *g, struct arena *arena) {
    const struct pool *pool = g->pool;
    int64_t results = g->strip * g->columns;
    struct scratch s = {
        .strip = NAME(planes_strip)(g, arena),
        .norm = pool_is_norm(pool) ? ARENA_TAKE(arena, elem, results) : NULL,
        .value.buffer = ARENA_TAKE(arena, char, SINK_BYTES + results * (int64_t)sizeof(elem)),
    };
    if (!pool->coded) return s;
    s.code = ARENA_TAKE(arena, bits, results);
    s.index.buffer = ARENA_TAKE(arena, char, SINK_BYTES + results * (int64_t)sizeof(int64_t));
    return s;
}

int64_t NAME(planes_forward_scratch)(const struct pool *pool) {
    struct planes g = NAME(planes_plan)(pool);
    struct arena arena = {0};
    carve(&g, &arena);
    return arena.used;
}

static struct sink sink_to(const struct pool *pool, char *buffer, int64_t item, const int64_t stride[4]) {
    const engine_pool2d *p = pool->p;
    return (struct sink){.buffer = buffer, .item = item, .row = stride[2], .step = stride[3], .stream = pool->stream,
                         .contiguous = contiguous(stride, p->c, p->oh, p->ow)};
}

/* Rows i0 to i1 of the results of a plane. */
static void write_strip(const struct planes *g, struct scratch *s, int64_t plane, int64_t i0, int64_t i1) {
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    const elem *x = plane_of(pool->x, p->x_stride, p->c, plane);
    elem *value = sink_place(&s->value, (i1 - i0) * p->ow + LANES);
    if (s->norm) {
        NAME(planes_reduce)(g, &s->strip, x, i0, i1, s->norm, g->columns, NULL, 0);
        for (int64_t i = 0; i < i1 - i0; i++)
            for (int64_t m = 0; m < g->columns; m += LANES)
                vec_store(value + i * p->ow + m, pool_finish(pool, vec_load(s->norm + i * g->columns + m), (vec){0}));
    } else {
        NAME(planes_reduce)(g, &s->strip, x, i0, i1, value, p->ow, s->code, g->columns);
    }
    elem *y = plane_of(pool->y, p->y_stride, p->c, plane) + i0 * p->y_stride[2];
    NAME(sink_rows)(&s->value, y, i1 - i0, p->ow);
    if (!s->code) return;

    int64_t *index = sink_place(&s->index, (i1 - i0) * p->ow + LANES);
    for (int64_t i = 0; i < i1 - i0; i++)
        for (int64_t m = 0; m < g->columns; m += LANES)
            pool_store_index(index + i * p->ow + m, vec_load_bits(s->code + i * g->columns + m));
    int64_t at = plane / p->c * p->index_stride[0] + plane % p->c * p->index_stride[1] + i0 * p->index_stride[2];
    NAME(sink_rows)(&s->index, pool->index + at, i1 - i0, p->ow);
}

static void forward_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct planes *g = &job->g;
    const struct pool *pool = g->pool;
    const engine_pool2d *p = pool->p;
    int64_t begin = task * job->task_rows, end = min64(job->rows, begin + job->task_rows);
    struct arena arena = {.base = pool->scratch + worker * pool->scratch_bytes};
    struct scratch s = carve(g, &arena);
    NAME(planes_ready)(g, &s.strip);
    s.value = sink_to(pool, s.value.buffer, sizeof(elem), p->y_stride);
    sink_open(&s.value, pool->y + begin * p->ow, pool->y + end * p->ow);
    if (s.code) {
        s.index = sink_to(pool, s.index.buffer, sizeof(int64_t), p->index_stride);
        sink_open(&s.index, pool->index + begin * p->ow, pool->index + end * p->ow);
    }
    for (int64_t row = begin, rows; row < end; row += rows) {
        int64_t i = row % p->oh;
        rows = min64(min64(g->strip, p->oh - i), end - row);
        write_strip(g, &s, row / p->oh, i, i + rows);
    }
    NAME(sink_close)(&s.value);
    if (s.code) NAME(sink_close)(&s.index);
}

void NAME(planes_forward)(const struct pool *pool) {
    const engine_pool2d *p = pool->p;
    struct job job = {.g = NAME(planes_plan)(pool), .rows = p->n * p->c * p->oh};
    int64_t row_bytes = (p->ih * p->iw + p->oh * p->ow) / p->oh * (int64_t)sizeof(elem);
    job.task_rows = rows_per_task(p->oh, row_bytes, 8 * pool->h.cover);
    planes_begin(pool);
    engine_parallel(p->threads, ceil_div(job.rows, job.task_rows), forward_task, &job);
}
