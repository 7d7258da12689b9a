/* Backward weight: every row of the gradient is the sum over the batch of x, times the row's element of dy.  Rows are
   written in order and once, past the caches where there are many. */
#include "arena.h"
#include "fully_connected.h"
#include "pointwise.h"
#include "product.h"
#include "thread.h"
#include "tile.h"

enum {
    WIDTH = TILE_VECS * LANES,
    MOST_PIXELS = 128,           /* are one chunk of the sum */
    STAGED_BYTES = 256 * 1024,   /* of x */
    STREAM_BYTES = 8 << 20,      /* so large a gradient is no longer in a cache when somebody reads it */
    ROWS = 16 * TILE_ROWS_4,     /* of a task: x is staged again for each */
    TASKS_PER_THREAD = 4,
};

struct job {
    const struct correlation *c;
    int64_t segment, segments; /* of x's channels, in blocks of WIDTH */
    int64_t rows, ranges;      /* of dy's channels */
    const elem *x, *dy;
    elem *dweight;
    int stream;
    struct worker {
        elem *x; /* [block][pixel][WIDTH] */
    } *worker;
};

int NAME(fully_connected_weight_suits)(const struct correlation *c) {
    return NAME(fully_connected_suits)(1, c) && c->w_sc == 1 && c->n > 0 && c->n <= MOST_PIXELS;
}

static struct job block_up(const struct correlation *c) {
    struct job job = {.c = c, .stream = c->g * c->dc * c->sc * ELEM_BYTES >= STREAM_BYTES};
    int64_t blocks = ceil_div(c->sc, WIDTH), most = max64(1, STAGED_BYTES / (c->n * WIDTH * ELEM_BYTES));
    job.segments = ceil_div(blocks, most);
    job.segment = ceil_div(blocks, job.segments) * WIDTH;
    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    int64_t ranges = max64(ceil_div(c->dc, ROWS), ceil_div(wanted, c->g * job.segments));
    job.rows = ceil_div(ceil_div(c->dc, ranges), TILE_ROWS_4) * TILE_ROWS_4;
    job.ranges = ceil_div(c->dc, job.rows);
    return job;
}

static void carve(struct job *job, struct arena *arena) {
    job->worker = ARENA_TAKE(arena, struct worker, job->c->threads);
    for (int64_t t = 0; t < job->c->threads; t++) {
        struct worker w = {.x = ARENA_TAKE(arena, elem, job->c->n * job->segment)};
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(fully_connected_weight_workspace)(const struct correlation *c) {
    struct job job = block_up(c);
    struct arena arena = {0};
    carve(&job, &arena);
    return arena.used;
}

/* channels of all pixels -> [block][pixel][width of the block], zero past the last channel */
static void stage(const struct correlation *c, const elem *x, int64_t channels, elem *to) {
    int64_t stride = c->s_stride[1];
    for (int64_t j = 0; j < channels; j += WIDTH) {
        int64_t count = min64(WIDTH, channels - j), width = ceil_div(count, LANES) * LANES;
        for (int64_t q = 0; q < c->n; q++, to += width) {
            const elem *from = x + q * c->s_stride[0] + j * stride;
            if (stride == 1)
                memcpy(to, from, (size_t)count * sizeof(elem));
            else
                for (int64_t l = 0; l < count; l++) to[l] = from[l * stride];
            for (int64_t l = count; l < width; l++) to[l] = 0;
        }
    }
}

static void rows_task(void *context, int64_t task, int64_t worker) {
    const struct job *job = context;
    const struct correlation *c = job->c;
    elem *staged = job->worker[worker].x;
    int64_t range = task % job->ranges, segment = task / job->ranges % job->segments;
    int64_t group = task / job->ranges / job->segments, j0 = segment * job->segment;
    int64_t first = range * job->rows, last = min64(c->dc, first + job->rows);
    int64_t channels = min64(job->segment, c->sc - j0);
    const elem *dy = job->dy + group * c->dc * c->d_stride[1];
    elem *dweight = job->dweight + group * c->w_group + j0;
    stage(c, job->x + (group * c->sc + j0) * c->s_stride[1], channels, staged);

    for (int64_t r = first; r < last; r += TILE_ROWS_4) {
        int64_t a_row[TILE_ROWS_1], to_row[TILE_ROWS_1];
        struct product p = {.k = c->n, .a = dy + r * c->d_stride[1], .a_row = a_row, .a_step = c->d_stride[0],
                            .to_row = to_row, .rows = min64(TILE_ROWS_4, last - r), .stream = job->stream};
        for (int64_t i = 0; i < TILE_ROWS_1; i++)
            a_row[i] = min64(i, p.rows - 1) * c->d_stride[1], to_row[i] = i * c->w_dc;
        for (int64_t j = 0; j < channels; j += WIDTH) {
            int64_t count = min64(WIDTH, channels - j), vecs = ceil_div(count, LANES);
            p.b = p.ahead = staged + j * c->n, p.b_step = p.ahead_step = vecs * LANES;
            p.to = dweight + r * c->w_dc + j, p.lanes = count - (vecs - 1) * LANES;
            NAME(product)(vecs, p.rows)(&p);
        }
    }
    if (job->stream) vec_stream_end();
}

void NAME(fully_connected_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight,
                                  void *workspace) {
    struct job job = block_up(c);
    job.x = x + c->first_h * c->s_stride[2] + c->first_w * c->s_stride[3];
    job.dy = dy, job.dweight = dweight;
    struct arena arena = {.base = workspace};
    carve(&job, &arena);
    engine_parallel(c->threads, c->g * job.segments * job.ranges, rows_task, &job);
}
