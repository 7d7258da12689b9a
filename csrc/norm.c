#include "norm.h"
#include "arena.h"
#include "thread.h"

#include <math.h>

enum {
    BLOCKS = 32,       /* partial sums, a fixed number for the sake of equal bits */
    CHUNK = 4096,      /* elements of a plane that are read twice: they stay in L1 */
    CHUNK_PIXELS = 64, /* the same where channels are last */
    TASK = 16384,      /* elements that are worth a task */
};

/* An array is planes, [n][c][pixels], or with channels last [pixels][c] (then n is 1).  Sums are over blocks of images,
   or of pixels; the channels of a block are further tasks where there are few images. */
struct norm {
    const engine_norm *p;
    const elem *x, *dy, *residual;
    elem *y;
    elem *mean, *factor, *offset, *slope, *constant; /* by channel, with room for a whole vector at the end */
    double *parts;                                   /* [block][2][c] */
    int64_t blocks, per_block, groups, per_group;
};

/* Everything but the arrays; with no base in the arena it is only measured. */
static struct norm prepare(const engine_norm *p, struct arena *arena) {
    struct norm s = {.p = p};
    int64_t rows = p->last ? ceil_div(p->pixels, CHUNK_PIXELS) : p->n, room = p->c + LANES;
    s.blocks = max64(1, min64(BLOCKS, rows));
    s.per_block = ceil_div(rows, s.blocks) * (p->last ? CHUNK_PIXELS : 1);
    s.groups = p->last ? 1 : min64(p->c, ceil_div(BLOCKS, s.blocks));
    s.per_group = ceil_div(p->c, max64(1, s.groups));
    s.mean = ARENA_TAKE(arena, elem, room), s.factor = ARENA_TAKE(arena, elem, room);
    s.offset = ARENA_TAKE(arena, elem, room), s.slope = ARENA_TAKE(arena, elem, room);
    s.constant = ARENA_TAKE(arena, elem, room);
    s.parts = ARENA_TAKE(arena, double, 2 * s.blocks * p->c);
    return s;
}

int64_t NAME(norm_workspace)(const engine_norm *p) {
    struct arena arena = {0};
    prepare(p, &arena);
    return arena.used;
}

INLINE vec load_up_to(const elem *p, int64_t count) { return count >= LANES ? vec_load(p) : vec_load_first(p, count); }

INLINE double total(vec v) {
    elem lane[LANES];
    vec_store(lane, v);
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return (double)lane[0];
}

/* ---- sums over all of a channel but the channel ---- */

typedef void (*sum_chunk)(const struct norm *s, int64_t at, int64_t count, int64_t c, int64_t before, double *parts);

/* One block: its chunks one after the other, each added to parts[2][c]. */
static void sum_block(const struct norm *s, int64_t task, sum_chunk planes, sum_chunk last) {
    const engine_norm *p = s->p;
    int64_t block = task / s->groups, c0 = task % s->groups * s->per_group, c1 = min64(p->c, c0 + s->per_group);
    double *parts = s->parts + block * 2 * p->c;
    for (int64_t c = c0; c < c1; c++) parts[c] = parts[p->c + c] = 0;
    int64_t first = block * s->per_block;
    if (p->last) {
        int64_t end = min64(p->pixels, first + s->per_block);
        for (int64_t i = first; i < end; i += CHUNK_PIXELS)
            for (int64_t c = 0; c < p->c; c += LANES)
                last(s, i * p->c + c, min64(CHUNK_PIXELS, end - i), c, i - first, parts);
        return;
    }
    for (int64_t image = first; image < min64(p->n, first + s->per_block); image++)
        for (int64_t i = 0; i < p->pixels; i += CHUNK)
            for (int64_t c = c0; c < c1; c++)
                planes(s, (image * p->c + c) * p->pixels + i, min64(CHUNK, p->pixels - i), c,
                       (image - first) * p->pixels + i, parts);
}

/* Mean and sum of squares about it, of `before` numbers and of `count` more, put together.
   Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", section 2. */
INLINE void merge(double *mean, double *squares, int64_t before, double more_mean, double more_squares, int64_t count) {
    double share = (double)count / (double)(before + count), delta = more_mean - *mean;
    *mean += delta * share;
    *squares += more_squares + delta * delta * share * (double)before;
}

static void moments_of_plane(const struct norm *s, int64_t at, int64_t count, int64_t c, int64_t before,
                             double *parts) {
    const elem *x = s->x + at;
    int64_t whole = count / (4 * LANES) * 4 * LANES;
    vec sum[4] = {{0}}, square[4] = {{0}};
    for (int64_t i = 0; i < whole; i += 4 * LANES)
        for (int k = 0; k < 4; k++) sum[k] += vec_load(x + i + k * LANES);
    for (int64_t i = whole; i < count; i += LANES) sum[0] += load_up_to(x + i, count - i);
    double mean = total((sum[0] + sum[1]) + (sum[2] + sum[3])) / (double)count;
    vec middle = vec_splat((elem)mean);
    for (int64_t i = 0; i < whole; i += 4 * LANES)
        for (int k = 0; k < 4; k++) {
            vec d = vec_load(x + i + k * LANES) - middle;
            square[k] += d * d;
        }
    double rest = 0;
    for (int64_t i = whole; i < count; i++) {
        double d = (double)x[i] - (double)(elem)mean;
        rest += d * d;
    }
    rest += total((square[0] + square[1]) + (square[2] + square[3]));
    merge(parts + c, parts + s->p->c + c, before, mean, rest, count);
}

static void moments_of_pixels(const struct norm *s, int64_t at, int64_t count, int64_t c, int64_t before,
                              double *parts) {
    const elem *x = s->x + at;
    int64_t channels = s->p->c, lanes = min64(LANES, channels - c);
    vec sum[2] = {{0}}, square[2] = {{0}};
    for (int64_t i = 0; i < count; i++) sum[i % 2] += load_up_to(x + i * channels, lanes);
    vec mean = (sum[0] + sum[1]) / vec_splat((elem)count);
    for (int64_t i = 0; i < count; i++) {
        vec d = load_up_to(x + i * channels, lanes) - mean;
        square[i % 2] += d * d;
    }
    elem means[LANES], squares[LANES];
    vec_store(means, mean), vec_store(squares, square[0] + square[1]);
    for (int64_t l = 0; l < lanes; l++)
        merge(parts + c + l, parts + channels + c + l, before, (double)means[l], (double)squares[l], count);
}

static void moments_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    sum_block(context, task, moments_of_plane, moments_of_pixels);
}

void NAME(norm_moments)(const engine_norm *p, const void *x, void *mean, void *variance, void *workspace) {
    struct arena arena = {.base = workspace};
    struct norm s = prepare(p, &arena);
    s.x = x;
    engine_parallel(p->threads, s.blocks * s.groups, moments_task, &s);
    int64_t rows = p->last ? p->pixels : p->n, each = p->last ? 1 : p->pixels;
    for (int64_t c = 0; c < p->c; c++) {
        double middle = 0, squares = 0;
        for (int64_t block = 0, first = 0; first < rows; block++, first += s.per_block) {
            double *part = s.parts + block * 2 * p->c + c;
            merge(&middle, &squares, first * each, part[0], part[p->c], min64(s.per_block, rows - first) * each);
        }
        ((elem *)mean)[c] = (elem)middle, ((elem *)variance)[c] = (elem)(squares / (double)(rows * each));
    }
}

/* ---- elements, one by one ---- */

/* y = (x - mean) * factor + offset, and dx = dy * factor + (x - mean) * slope + constant */
static void fill(struct norm *s, const engine_affine *affine, const elem *dweight, const elem *dbias) {
    memset(s->mean, 0, (size_t)((char *)s->parts - (char *)s->mean));
    if (!affine) return;
    const elem *mean = affine->mean, *variance = affine->variance, *weight = affine->weight, *bias = affine->bias;
    double count = s->p->count;
    for (int64_t c = 0; c < s->p->c; c++) {
        double inverse = 1 / sqrt((double)variance[c] + s->p->epsilon);
        double factor = inverse * (weight ? (double)weight[c] : 1);
        s->mean[c] = mean[c], s->factor[c] = (elem)factor, s->offset[c] = bias ? bias[c] : 0;
        if (dweight) {
            s->slope[c] = (elem)(-factor * inverse * (double)dweight[c] / count);
            s->constant[c] = (elem)(-factor * (double)dbias[c] / count);
        }
    }
}

struct coefficients {
    vec mean, factor, offset, slope, constant;
};

INLINE vec of_channel(const int last, const elem *values, int64_t c) {
    return last ? vec_load(values + c) : vec_splat(values[c]);
}

/* Those of channel c in all lanes, or with channels last of the channels from c on. */
INLINE struct coefficients coefficients_of(const int last, const struct norm *s, int64_t c) {
    return (struct coefficients){of_channel(last, s->mean, c), of_channel(last, s->factor, c),
                                 of_channel(last, s->offset, c), of_channel(last, s->slope, c),
                                 of_channel(last, s->constant, c)};
}

INLINE vec normalised(const struct coefficients *k, vec x) { return (x - k->mean) * k->factor + k->offset; }

/* dy, without what relu has stopped */
INLINE vec passed(vec dy, vec y) { return (vec)((vec_bits)dy & (vec_bits)((vec_compare)y > (vec_compare){0})); }

INLINE void store_up_to(elem *p, vec v, int64_t count) {
    if (count >= LANES)
        vec_store(p, v);
    else
        vec_store_first(p, v, count);
}

/* A row is a plane, of channel c, or with channels last the channels of a pixel; `at` is its first element. */
INLINE void forward_row(const int last, const struct norm *s, int64_t at, int64_t size, int64_t c) {
    const elem *x = s->x + at, *residual = s->residual ? s->residual + at : NULL;
    elem *y = s->y + at;
    int relu = s->p->relu;
    struct coefficients k = coefficients_of(0, s, c);
    for (int64_t i = 0; i < size; i += LANES) {
        if (last) k = coefficients_of(1, s, i);
        vec v = normalised(&k, load_up_to(x + i, size - i));
        if (residual) v += load_up_to(residual + i, size - i);
        store_up_to(y + i, relu ? vec_relu(v) : v, size - i);
    }
}

INLINE void backward_row(const int last, const struct norm *s, int64_t at, int64_t size, int64_t c) {
    const elem *x = s->x + at, *dy = s->dy + at;
    elem *dx = s->y + at;
    int relu = s->p->relu;
    struct coefficients k = coefficients_of(0, s, c);
    for (int64_t i = 0; i < size; i += LANES) {
        if (last) k = coefficients_of(1, s, i);
        vec v = load_up_to(x + i, size - i), g = load_up_to(dy + i, size - i);
        if (relu) g = passed(g, normalised(&k, v));
        store_up_to(dx + i, g * k.factor + ((v - k.mean) * k.slope + k.constant), size - i);
    }
}

INLINE int64_t row_size(const struct norm *s) { return s->p->last ? s->p->c : s->p->pixels; }
INLINE int64_t row_count(const struct norm *s) { return s->p->last ? s->p->pixels : s->p->n * s->p->c; }
INLINE int64_t rows_of_task(const struct norm *s) { return max64(1, TASK / row_size(s)); }

static void forward_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct norm *s = context;
    int64_t size = row_size(s), first = task * rows_of_task(s), end = min64(row_count(s), first + rows_of_task(s));
    for (int64_t row = first; row < end; row++)
        if (s->p->last)
            forward_row(1, s, row * size, size, 0);
        else
            forward_row(0, s, row * size, size, row % s->p->c);
}

static void backward_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct norm *s = context;
    int64_t size = row_size(s), first = task * rows_of_task(s), end = min64(row_count(s), first + rows_of_task(s));
    for (int64_t row = first; row < end; row++)
        if (s->p->last)
            backward_row(1, s, row * size, size, 0);
        else
            backward_row(0, s, row * size, size, row % s->p->c);
}

static int64_t tasks(const struct norm *s) { return ceil_div(row_count(s), rows_of_task(s)); }

void NAME(norm_forward)(const engine_norm *p, const void *x, const engine_affine *affine, const void *residual, void *y,
                        void *workspace) {
    struct arena arena = {.base = workspace};
    struct norm s = prepare(p, &arena);
    s.x = x, s.residual = residual, s.y = y;
    fill(&s, affine, NULL, NULL);
    engine_parallel(p->threads, tasks(&s), forward_task, &s);
}

void NAME(norm_backward_data)(const engine_norm *p, const void *dy, const void *x, const engine_affine *affine,
                              const void *dweight, const void *dbias, void *dx, void *workspace) {
    struct arena arena = {.base = workspace};
    struct norm s = prepare(p, &arena);
    s.x = x, s.dy = dy, s.y = dx;
    fill(&s, affine, dweight, dbias);
    engine_parallel(p->threads, tasks(&s), backward_task, &s);
}

/* ---- the gradients of weight and bias: sums of dy * (x - mean) and of dy ---- */

/* Vectors `stride` elements apart, of each of which `lanes` count: those of a plane, or the same channels of several
   pixels. */
INLINE void sums_of_chunk(const struct norm *s, int64_t at, int64_t vectors, int64_t stride, int64_t lanes,
                          const struct coefficients *k, vec *product, vec *sum) {
    const elem *x = s->x + at, *dy = s->dy + at;
    int relu = s->p->relu, reads_x = s->x != NULL;
    vec products[2] = {{0}}, sums[2] = {{0}};
    for (int64_t i = 0; i < vectors; i += 2)
        for (int64_t j = 0; j < min64(2, vectors - i); j++) {
            vec g = load_up_to(dy + (i + j) * stride, lanes);
            if (reads_x) {
                vec v = load_up_to(x + (i + j) * stride, lanes);
                if (relu) g = passed(g, normalised(k, v));
                products[j] += g * (v - k->mean);
            }
            sums[j] += g;
        }
    *product += products[0] + products[1], *sum += sums[0] + sums[1];
}

static void sums_of_plane(const struct norm *s, int64_t at, int64_t count, int64_t c, int64_t before, double *parts) {
    (void)before;
    vec product = {0}, sum = {0};
    struct coefficients k = coefficients_of(0, s, c);
    int64_t whole = count / LANES;
    sums_of_chunk(s, at, whole, LANES, LANES, &k, &product, &sum);
    if (count % LANES) sums_of_chunk(s, at + whole * LANES, 1, 0, count % LANES, &k, &product, &sum);
    parts[c] += total(product), parts[s->p->c + c] += total(sum);
}

static void sums_of_pixels(const struct norm *s, int64_t at, int64_t count, int64_t c, int64_t before, double *parts) {
    (void)before;
    int64_t channels = s->p->c, lanes = min64(LANES, channels - c);
    vec product = {0}, sum = {0};
    struct coefficients k = coefficients_of(1, s, c);
    if (lanes == LANES)
        sums_of_chunk(s, at, count, channels, LANES, &k, &product, &sum);
    else
        sums_of_chunk(s, at, count, channels, lanes, &k, &product, &sum);
    elem products[LANES], sums[LANES];
    vec_store(products, product), vec_store(sums, sum);
    for (int64_t l = 0; l < lanes; l++)
        parts[c + l] += (double)products[l], parts[channels + c + l] += (double)sums[l];
}

static void sums_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    sum_block(context, task, sums_of_plane, sums_of_pixels);
}

/* Without x only dbias, the sum of dy; affine and dweight may be NULL then. */
void NAME(norm_backward_weight)(const engine_norm *p, const void *dy, const void *x, const engine_affine *affine,
                                void *dweight, void *dbias, void *workspace) {
    struct arena arena = {.base = workspace};
    struct norm s = prepare(p, &arena);
    s.x = x, s.dy = dy;
    fill(&s, affine, NULL, NULL);
    engine_parallel(p->threads, s.blocks * s.groups, sums_task, &s);
    for (int64_t c = 0; c < p->c; c++) {
        double product = 0, sum = 0;
        for (int64_t block = 0; block < s.blocks; block++)
            product += s.parts[block * 2 * p->c + c], sum += s.parts[(block * 2 + 1) * p->c + c];
        if (x) ((elem *)dweight)[c] = (elem)(product / sqrt((double)((const elem *)affine->variance)[c] + p->epsilon));
        ((elem *)dbias)[c] = (elem)sum;
    }
}

/* ---- max(x, 0) ---- */

struct relu {
    const elem *dy, *y;
    elem *dx;
    int64_t count;
};

static void relu_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    const struct relu *r = context;
    int64_t i = task * TASK, end = min64(r->count, i + TASK);
    for (; i + LANES <= end; i += LANES) vec_store(r->dx + i, passed(vec_load(r->dy + i), vec_load(r->y + i)));
    if (i == end) return;
    vec dy = vec_load_first(r->dy + i, end - i), y = vec_load_first(r->y + i, end - i);
    vec_store_first(r->dx + i, passed(dy, y), end - i);
}

void NAME(relu_backward)(const void *dy, const void *y, void *dx, int64_t count, int32_t threads) {
    struct relu r = {dy, y, dx, count};
    engine_parallel(threads, ceil_div(count, TASK), relu_task, &r);
}
