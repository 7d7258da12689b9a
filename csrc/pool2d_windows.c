/* Pooling one window at a time, of any shape, in arrays of any strides: for large windows, where vectors run along the rows
   of the window, and for whatever the other ways do not take. */
#include "pool2d_vec.h"
#include "thread.h"

enum { TASK_BYTES = 64 * 1024 };

struct job {
    const struct pool *pool;
    int64_t windows, per_task; /* of all planes */
    int64_t rows;              /* of dx, per task */
};

static const elem *plane_of(const elem *base, const int64_t stride[4], int64_t channels, int64_t plane) {
    return base + plane / channels * stride[0] + plane % channels * stride[1];
}

INLINE vec load_cells(const elem *p, int64_t step, int64_t cells) {
    if (step == 1) return cells >= LANES ? vec_load(p) : vec_load_first(p, cells);
    elem lane[LANES] = {0};
    for (int64_t l = 0; l < min64(cells, LANES); l++) lane[l] = p[l * step];
    return vec_load(lane);
}

INLINE vec_bits first_lanes(int64_t count) { return (vec_bits)(vec_lanes() < vec_splat_bits((bits)min64(count, LANES))); }

/* Every lane has the maximum of its own cells; among equals, and among NaN, the first position counts. */
static elem best_lane(vec best, vec_bits code, bits *position) {
    elem value[LANES];
    bits at[LANES];
    vec_store(value, best);
    vec_store_bits(at, code);
    int winner = 0;
    for (int l = 1; l < LANES; l++) {
        compare a = (compare)value[l], b = (compare)value[winner];
        int a_nan = ELEM_IS_FLOATING && isnan((double)a), b_nan = ELEM_IS_FLOATING && isnan((double)b);
        int beats = (a > b && !b_nan) || (a_nan && !b_nan), equal = a == b || (a_nan && b_nan);
        if (beats || (equal && at[l] < at[winner])) winner = l;
    }
    *position = at[winner];
    return value[winner];
}

static elem window_maximum(const struct pool *pool, const elem *plane, int64_t i, int64_t j, bits *position) {
    const struct axis *h = &pool->h, *w = &pool->w;
    const int64_t *stride = pool->p->x_stride;
    int64_t cells = w->first[j] < w->end[j] ? (w->end[j] - 1 - w->first[j]) / w->step + 1 : 0;
    if (cells == 0 || h->first[i] >= h->end[i]) return *position = 0, pool->outside;
    vec best = vec_splat(pool->outside);
    vec_bits code = vec_splat_bits((bits)(h->first[i] * w->in + w->first[j]));
    vec_bits flip = vec_splat_bits(pool->flip), step = vec_splat_bits((bits)w->step);
    for (int64_t row = h->first[i]; row < h->end[i]; row += h->step) {
        const elem *cell = plane + row * stride[2] + w->first[j] * stride[3];
        vec_bits at = vec_splat_bits((bits)(row * w->in + w->first[j])) + vec_lanes() * step;
        for (int64_t k = 0; k < cells; k += LANES) {
            vec v = load_cells(cell + k * w->step * stride[3], w->step * stride[3], cells - k);
            v = vec_select(first_lanes(cells - k), (vec)((vec_bits)v ^ flip), vec_splat(pool->outside));
            pool_replace(v, at, &best, &code);
            at += step * vec_splat_bits(LANES);
        }
    }
    return best_lane(best, code, position);
}

static elem window_sum(const struct pool *pool, const elem *plane, int64_t i, int64_t j) {
    const struct axis *h = &pool->h, *w = &pool->w;
    const int64_t *stride = pool->p->x_stride;
    int64_t cells = w->first[j] < w->end[j] ? (w->end[j] - 1 - w->first[j]) / w->step + 1 : 0;
    vec total = {0};
    for (int64_t row = h->first[i]; row < h->end[i]; row += h->step) {
        const elem *cell = plane + row * stride[2] + w->first[j] * stride[3];
        vec along = {0};
        for (int64_t k = 0; k < cells; k += LANES) {
            vec v = load_cells(cell + k * w->step * stride[3], w->step * stride[3], cells - k);
            along += (vec)((vec_bits)pool_term(pool, v) & first_lanes(cells - k));
        }
        total += along;
    }
    elem lane[LANES];
    vec_store(lane, total);
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

static elem finish(const struct pool *pool, elem sum, int64_t i, int64_t j) {
    return pool_finish(pool, vec_splat(sum), vec_splat(pool->h.count[i] * pool->w.count[j]))[0];
}

static void forward_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct pool *pool = job->pool;
    const engine_pool2d *p = pool->p;
    for (int64_t t = task * job->per_task; t < min64(job->windows, (task + 1) * job->per_task); t++) {
        int64_t plane = t / p->ow / p->oh, i = t / p->ow % p->oh, j = t % p->ow, n = plane / p->c, c = plane % p->c;
        const elem *x = plane_of(pool->x, p->x_stride, p->c, plane);
        elem *y = pool->y + n * p->y_stride[0] + c * p->y_stride[1] + i * p->y_stride[2] + j * p->y_stride[3];
        if (!pool->maximum) {
            *y = finish(pool, window_sum(pool, x, i, j), i, j);
            continue;
        }
        bits position;
        elem best = window_maximum(pool, x, i, j, &position);
        *y = pool_term(pool, vec_splat(best))[0];
        if (pool->index)
            pool->index[n * p->index_stride[0] + c * p->index_stride[1] + i * p->index_stride[2] + j * p->index_stride[3]] =
                (int64_t)position;
    }
}

static struct job job_of(const struct pool *pool) {
    const engine_pool2d *p = pool->p;
    struct job job = {.pool = pool, .windows = p->n * p->c * p->oh * p->ow};
    job.per_task = ceil_div(TASK_BYTES, pool->h.span * pool->w.span * (int64_t)sizeof(elem));
    job.rows = ceil_div(TASK_BYTES, p->iw * (int64_t)sizeof(elem));
    return job;
}

void NAME(windows_forward)(const struct pool *pool) {
    struct job job = job_of(pool);
    engine_parallel(pool->p->threads, ceil_div(job.windows, job.per_task), forward_task, &job);
}

/* Backward, first the share of every window, or the position of its maximum. */
static void share_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct pool *pool = job->pool;
    const engine_pool2d *p = pool->p;
    for (int64_t t = task * job->per_task; t < min64(job->windows, (task + 1) * job->per_task); t++) {
        int64_t plane = t / p->ow / p->oh, i = t / p->ow % p->oh, j = t % p->ow, n = plane / p->c, c = plane % p->c;
        const elem *x = pool->x ? plane_of(pool->x, p->x_stride, p->c, plane) : NULL;
        if (pool->given) {
            int64_t at = n * p->index_stride[0] + c * p->index_stride[1] + i * p->index_stride[2] + j * p->index_stride[3];
            check_given(pool, pool->given + at, 1, 1);
            pool->window_code[t] = (bits)pool->given[at];
        } else if (pool->maximum) {
            window_maximum(pool, x, i, j, pool->window_code + t);
        } else {
            elem norm = pool_is_norm(pool) ? finish(pool, window_sum(pool, x, i, j), i, j) : 0;
            elem dy = plane_of(pool->dy, p->y_stride, p->c, plane)[i * p->y_stride[2] + j * p->y_stride[3]];
            vec count = vec_splat(pool->h.count[i] * pool->w.count[j]);
            pool->window_share[t] = pool_share(pool, vec_splat(dy), vec_splat(norm), count)[0];
        }
    }
}

/* Then rows of cells sum the shares of their windows. */
static void sum_row(const struct pool *pool, int64_t plane, int64_t h, elem *along, elem *row) {
    const struct axis *w = &pool->w;
    memset(along, 0, (size_t)w->out * sizeof(elem));
    for (int64_t i = pool->h.lo[h]; i < pool->h.hi[h]; i++) {
        if (!axis_holds(&pool->h, i, h)) continue;
        const elem *share = pool->window_share + (plane * pool->h.out + i) * w->out;
        for (int64_t j = 0; j < w->out; j++) along[j] += share[j];
    }
    for (int64_t k = 0; k < w->in; k++) {
        elem total = 0;
        for (int64_t j = w->lo[k]; j < w->hi[k]; j++)
            if (axis_holds(w, j, k)) total += along[j];
        row[k] = total;
    }
}

static void store_row(const struct pool *pool, int64_t plane, int64_t h, const elem *row) {
    const engine_pool2d *p = pool->p;
    elem *to = (elem *)plane_of(pool->dx, p->dx_stride, p->c, plane) + h * p->dx_stride[2];
    int norm = pool_is_norm(pool);
    const elem *x = norm ? plane_of(pool->x, p->x_stride, p->c, plane) + h * p->x_stride[2] : NULL;
    for (int64_t k = 0; k < p->iw; k += LANES) {
        vec v = vec_load(row + k);
        if (norm) v *= pool_factor(pool, load_cells(x + k * p->x_stride[3], p->x_stride[3], p->iw - k));
        if (p->dx_stride[3] == 1 && p->iw - k >= LANES)
            vec_store(to + k, v);
        else
            for (int64_t l = 0; l < min64(LANES, p->iw - k); l++) to[(k + l) * p->dx_stride[3]] = v[l];
    }
}

static void sum_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct pool *pool = job->pool;
    const engine_pool2d *p = pool->p;
    elem *along = (elem *)(pool->scratch + worker * pool->scratch_bytes), *row = along + p->ow;
    int64_t begin = task * job->rows, end = min64(p->n * p->c * p->ih, begin + job->rows), lo = -1, hi = -1;
    for (int64_t r = begin; r < end; r++) {
        int64_t plane = r / p->ih, h = r % p->ih;
        /* rows of the same windows have the same sums */
        int same = h > 0 && pool->h.step == 1 && pool->h.lo[h] == lo && pool->h.hi[h] == hi;
        if (!same) sum_row(pool, plane, h, along, row);
        lo = pool->h.lo[h], hi = pool->h.hi[h];
        store_row(pool, plane, h, row);
    }
}

static void scatter_task(void *context, int64_t plane, int64_t worker) {
    (void)worker;
    const struct pool *pool = ((const struct job *)context)->pool;
    const engine_pool2d *p = pool->p;
    elem *dx = (elem *)plane_of(pool->dx, p->dx_stride, p->c, plane);
    const elem *dy = plane_of(pool->dy, p->y_stride, p->c, plane);
    for (int64_t h = 0; h < p->ih; h++)
        for (int64_t k = 0; k < p->iw; k++) dx[h * p->dx_stride[2] + k * p->dx_stride[3]] = 0;
    const bits *code = pool->window_code + plane * p->oh * p->ow;
    for (int64_t i = 0; i < p->oh; i++)
        for (int64_t j = 0; j < p->ow; j++) {
            int64_t at = (int64_t)*code++;
            if (at >= p->ih * p->iw) continue;
            dx[at / p->iw * p->dx_stride[2] + at % p->iw * p->dx_stride[3]] += dy[i * p->y_stride[2] + j * p->y_stride[3]];
        }
}

int64_t NAME(windows_scratch)(const struct pool *pool) {
    const engine_pool2d *p = pool->p;
    return pool->backward ? (p->ow + p->iw + LANES) * (int64_t)sizeof(elem) : 0;
}

void NAME(windows_backward)(const struct pool *pool) {
    const engine_pool2d *p = pool->p;
    struct job job = job_of(pool);
    engine_parallel(p->threads, ceil_div(job.windows, job.per_task), share_task, &job);
    if (pool->maximum)
        engine_parallel(p->threads, p->n * p->c, scatter_task, &job);
    else
        engine_parallel(p->threads, ceil_div(p->n * p->c * p->ih, job.rows), sum_task, &job);
}
