/* One tap: a matrix product between the weights and the pixels, whose memory order decides which is which.  With planes
   on both sides 16 pixels of a channel are a line of the second operand and the weights are rows; with channels last
   the channels of a pixel are a row and the weights lines.  Nothing but weights is ever transposed.

   A strip of pixels is staged, a chunk of channels at a time, a little between any two steps of the tiles that multiply
   the one before it. */
#include "amx_pointwise.h"
#include "amx_tile.h"

#if HAVE_AMX

#include "amx_lines.h"
#include "kernels.h"
#include "thread.h"

enum {
    CHUNK = 24,                  /* steps summed from zero before they are added up */
    STRIP_BYTES = 192 * 1024,    /* of parts */
    FAR_BYTES = 1 << 20,         /* so many weights do not stay in L2; then strips are larger */
    FAR_STRIP_BYTES = 512 * 1024,
    MOST_PIXELS = 256,           /* of a strip */
    FEWEST_IN_STRIP = 64,        /* where pixels are cut for the sake of the threads */
    PART_BLOCKS = 16,            /* of destination channels in a task, if there are several chunks */
    FARTHEST = 4,                /* elements between pixels that are fetched ahead */
    FEWEST_CHANNELS = 64,        /* of the destination: every one of the source is split for their sake */
    FEWEST_WEIGHTS = 64 * 128,
    FEWEST_PIXELS = 48,          /* that pay for splitting the weights: planes of 7 x 7 do */
    TASKS_PER_THREAD = 4,
};

struct job {
    const struct correlation *c, *phase;
    int64_t phases, across;
    int last;                         /* channels are */
    int stream;
    int64_t steps, chunk, chunks;     /* of source channels */
    int64_t blocks;                   /* of AMX_SIDE destination channels in a group */
    int64_t pixels, strip, strips;
    int64_t part, parts, run, runs;   /* a task is so many blocks of so many strips */
    struct pixels from, to;
    const elem *source, *weight, *bias;
    elem *dest;
    const uint32_t *in_parts;         /* the weights: packed, or what the caller has so */
    uint32_t *packed;                 /* [group][block][step][AMX_STEP_WORDS] */
    struct worker {
        uint32_t *staged[2];          /* [32 pixels][step of the chunk][AMX_STEP_WORDS]; of now, and of next */
        int64_t holds;                /* what is staged there now: group, strip and chunk in one number */
        elem *acc, *sum;              /* [block of the task][32 pixels][AMX_SIDE][AMX_SIDE]; one of these */
        struct amx_pixels from, to;   /* planes */
        int64_t *from_pixel, *to_pixel; /* channels last */
    } *worker;
};

static int source_last(const struct correlation *c) { return c->s_stride[1] == 1 && c->sc > 1; }
static int dest_last(const struct correlation *c) { return c->d_stride[1] == 1 && c->dc > 1; }

int NAME(amx_pointwise_suits)(int64_t phases, const struct correlation *phase) {
    const struct correlation *c = &phase[0];
    int same = source_last(c) == dest_last(c) || c->sc == 1 || c->dc == 1;
    return !c->bfloat16 && same && NAME(pointwise_suits)(phases, phase);
}

int NAME(amx_pointwise_wins)(const struct correlation *c) {
    return level_has_amx() && !c->bfloat16 && c->dc >= FEWEST_CHANNELS && c->sc * c->dc >= FEWEST_WEIGHTS &&
           c->dh * c->dw >= FEWEST_PIXELS;
}

static void block_pixels(struct job *job) {
    const struct correlation *c = job->c;
    int far_weights = job->blocks * job->steps * AMX_STEP_WORDS * 4 > FAR_BYTES;
    int64_t room = (far_weights ? FAR_STRIP_BYTES : STRIP_BYTES) / (job->chunk * AMX_STEP_WORDS * 4) * AMX_SIDE;
    int64_t wanted = c->threads > 1 ? TASKS_PER_THREAD * c->threads : 1;
    int64_t share = max64(FEWEST_IN_STRIP, ceil_div(job->pixels * c->g, wanted));
    job->strip = max64(1, ceil_div(min64(min64(room, MOST_PIXELS), share), AMX_SIDE)) * AMX_SIDE;
    job->strips = ceil_div(job->pixels, job->strip);
    job->strip = ceil_div(ceil_div(job->pixels, max64(1, job->strips)), AMX_SIDE) * AMX_SIDE;
    job->strips = job->pixels ? ceil_div(job->pixels, job->strip) : 0;

    job->run = max64(1, job->strips * c->g / wanted);
    job->runs = ceil_div(job->strips, job->run);
    if (job->chunks > 1) wanted = c->threads; /* every part stages all chunks again */
    int64_t parts = max64(1, min64(job->blocks, ceil_div(wanted, max64(1, job->runs * c->g))));
    job->part = ceil_div(job->blocks, parts);
    if (job->chunks > 1) job->part = min64(job->part, PART_BLOCKS);
    job->parts = ceil_div(job->blocks, job->part);
}

static struct job block_up(const struct correlation *c) {
    struct job job = {.c = c, .phase = c, .phases = 1, .from = source_pixels(c), .to = dest_pixels(c)};
    job.stream = pointwise_streams(c);
    job.last = c->dc > 1 ? dest_last(c) : source_last(c);
    job.pixels = c->n * c->dh * c->dw;
    job.steps = ceil_div(c->sc, AMX_STEP), job.blocks = ceil_div(c->dc, AMX_SIDE);
    job.chunk = ceil_div(job.steps, ceil_div(job.steps, CHUNK));
    job.chunks = ceil_div(job.steps, job.chunk);
    block_pixels(&job);
    return job;
}

static int64_t packed_words(const struct job *job) { return job->c->g * job->blocks * job->steps * AMX_STEP_WORDS; }

/* packed: the weights are so already */
static void carve(struct job *job, struct arena *arena, int packed) {
    const struct correlation *c = job->c;
    int64_t square = AMX_SIDE * AMX_SIDE, side = job->strip / AMX_SIDE, staged = side * job->chunk * AMX_STEP_WORDS;
    if (!packed) job->packed = ARENA_TAKE(arena, uint32_t, packed_words(job));
    job->worker = ARENA_TAKE(arena, struct worker, c->threads);
    for (int64_t t = 0; t < c->threads; t++) {
        struct worker w = {.staged = {ARENA_TAKE(arena, uint32_t, staged), ARENA_TAKE(arena, uint32_t, staged)},
                           .holds = -1,
                           .acc = job->chunks > 1 ? ARENA_TAKE(arena, elem, job->part * side * square) : NULL,
                           .sum = ARENA_TAKE(arena, elem, square)};
        if (job->last) {
            w.from_pixel = ARENA_TAKE(arena, int64_t, job->strip);
            w.to_pixel = ARENA_TAKE(arena, int64_t, job->strip);
        } else {
            amx_pixels_take(arena, job->strip, &w.from);
            amx_pixels_take(arena, job->strip, &w.to);
        }
        if (arena->base) job->worker[t] = w;
    }
}

int64_t NAME(amx_pointwise_workspace)(const struct correlation *c, int packed) {
    struct job job = block_up(c);
    struct arena arena = {0};
    carve(&job, &arena, packed);
    return arena.used;
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

static void pack_task(void *context, int64_t task, int64_t worker) {
    (void)worker;
    struct job *job = context;
    const struct correlation *c = job->c;
    int64_t group = task / job->blocks, block = task % job->blocks;
    uint32_t *to = job->packed + task * job->steps * AMX_STEP_WORDS;
    for (int64_t step = 0; step < job->steps; step++, to += AMX_STEP_WORDS)
        for (int64_t tile = 0; tile < 2; tile++) {
            int64_t j = block * AMX_SIDE + tile * AMX_ROWS, k = step * AMX_STEP, js = c->dc - j, ks = c->sc - k;
            const elem *from = job->weight + group * c->w_group + j * c->w_dc + k * c->w_sc;
            const elem *next = from + AMX_PAIRS * c->w_sc;
            vec low[LANES], high[LANES];
            if (job->last) {
                amx_load_square(from, c->w_sc, c->w_dc, ks, js, low);
                amx_load_square(next, c->w_sc, c->w_dc, ks - AMX_PAIRS, js, high);
            } else {
                amx_load_square(from, c->w_dc, c->w_sc, js, ks, low);
                amx_load_square(next, c->w_dc, c->w_sc, js, ks - AMX_PAIRS, high);
            }
            for (int64_t r = 0; r < LANES; r++) amx_put_line(low[r], high[r], to + tile * AMX_TILE_WORDS + r * LANES);
        }
}

/* The two forms, of planes and of channels last, are told apart by their size. */
int64_t NAME(amx_pointwise_packed_bytes)(const struct correlation *c) {
    struct job job = block_up(c);
    return packed_words(&job) * (int64_t)sizeof(uint32_t) + (job.last ? 64 : 0);
}

void NAME(amx_pointwise_pack)(const struct correlation *c, const elem *weight, elem *packed) {
    struct job job = block_up(c);
    job.weight = weight + c->weight_offset, job.packed = (uint32_t *)packed;
    engine_parallel(c->threads, c->g * job.blocks, pack_task, &job);
}

/* ---- staging, a little at a time -------------------------------------------------------------------------------- */

/* One chunk of channels of one strip. */
struct staging {
    const struct job *job;
    const struct worker *w;
    const elem *source, *ahead; /* its first channel, and where the pixels after this strip are */
    int64_t channels, steps, pixels;
    uint32_t *to;
    int64_t done, bits;        /* a bit: of planes a pair of channels, with channels last a pixel */
    int64_t owed, units;       /* `bits` of them in so many units of time */
};

static uint32_t *staged_line(const struct job *job, uint32_t *to, int64_t pixel, int64_t step) {
    return to + (pixel / AMX_SIDE * job->chunk + step) * AMX_STEP_WORDS + pixel % AMX_SIDE / AMX_ROWS * AMX_TILE_WORDS;
}

/* two channels, whole vectors of pixels that follow one another */
static void stage_plain(int64_t vectors, const elem *low, const elem *high, uint32_t *to, int64_t pitch) {
    for (int64_t v = 0; v < vectors; v += 2, to += pitch) {
        amx_put_line(vec_load(low + v * LANES), vec_load(high + v * LANES), to);
        if (v + 1 == vectors) break;
        amx_put_line(vec_load(low + (v + 1) * LANES), vec_load(high + (v + 1) * LANES), to + AMX_TILE_WORDS);
    }
}

static void stage_planes(const struct staging *s, int64_t bit) {
    int64_t step = bit / AMX_PAIRS, pair = bit % AMX_PAIRS, low = step * AMX_STEP + pair, high = low + AMX_PAIRS;
    int64_t stride = s->job->c->s_stride[1], next = AMX_PAIRS * stride, step_w = s->job->from.stride_w;
    const elem *from = s->source + low * stride;
    uint32_t *to = s->to + step * AMX_STEP_WORDS + pair * LANES;
    int64_t pitch = s->job->chunk * AMX_STEP_WORDS; /* of 32 pixels */
    const struct amx_pixels pixels = s->w->from;
    if (pixels.plain && high < s->channels)
        stage_plain(pixels.vectors, from + pixels.piece->offset, from + next + pixels.piece->offset, to, pitch);
    else
        for (int64_t v = 0; v < pixels.vectors; v++) {
            vec x = {0}, y = {0};
            if (low < s->channels) x = amx_load_pixels(&pixels, v, from);
            if (high < s->channels) y = amx_load_pixels(&pixels, v, from + next);
            amx_put_line(x, y, to + v / 2 * pitch + v % 2 * AMX_TILE_WORDS);
        }
    if (s->ahead && step_w <= FARTHEST && high < s->channels)
        for (int64_t q = low * stride; q < low * stride + s->pixels * step_w; q += 64 / ELEM_BYTES) {
            __builtin_prefetch(s->ahead + q, 0, 2);
            __builtin_prefetch(s->ahead + next + q, 0, 2);
        }
}

static void stage_last(const struct staging *s, int64_t q) {
    const elem *from = s->source + s->w->from_pixel[q], *ahead = s->ahead;
    uint32_t *to = staged_line(s->job, s->to, q, 0) + q % AMX_ROWS * AMX_PAIRS;
    int64_t left = s->channels;
    if (ahead) ahead += q * s->job->from.stride_w;
    for (; left >= AMX_STEP; left -= AMX_STEP, from += AMX_STEP, to += AMX_STEP_WORDS) {
        amx_put_line(vec_load(from), vec_load(from + AMX_PAIRS), to);
        if (!ahead) continue;
        __builtin_prefetch(ahead, 0, 2);
        __builtin_prefetch(ahead + AMX_PAIRS, 0, 2);
        ahead += AMX_STEP;
    }
    if (left == 0) return;
    vec x = amx_load_first(from, left), y = {0};
    if (left > AMX_PAIRS) y = amx_load_first(from + AMX_PAIRS, left - AMX_PAIRS);
    amx_put_line(x, y, to);
}

static void stage_bit(struct staging *s) {
    if (s->job->last)
        stage_last(s, s->done++);
    else
        stage_planes(s, s->done++);
}

/* what falls due while one step is multiplied */
INLINE void stage_some(struct staging *s) {
    for (s->owed += s->bits; s->owed >= s->units && s->done < s->bits; s->owed -= s->units) stage_bit(s);
}

/* ---- products --------------------------------------------------------------------------------------------------- */

/* The sums as [row][AMX_SIDE].  The numbers of tiles are constants wherever this is called. */
INLINE void product(const int row_tiles, const int col_tiles, int64_t steps, const uint32_t *rows, const uint32_t *cols,
                    struct staging *next, elem *sum) {
    amx_zero();
    for (int64_t step = 0; step < steps; step++, rows += AMX_STEP_WORDS, cols += AMX_STEP_WORDS) {
        amx_step_lines(row_tiles, col_tiles, rows, cols);
        stage_some(next);
    }
    amx_store(row_tiles, col_tiles, sum);
}

static void product_of(int64_t row_tiles, int64_t col_tiles, int64_t steps, const uint32_t *rows, const uint32_t *cols,
                       struct staging *next, elem *sum) {
    switch (2 * row_tiles + col_tiles) {
        case 6: product(2, 2, steps, rows, cols, next, sum); break;
        case 5: product(2, 1, steps, rows, cols, next, sum); break;
        case 4: product(1, 2, steps, rows, cols, next, sum); break;
        default: product(1, 1, steps, rows, cols, next, sum);
    }
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

INLINE void put(const struct job *job, elem *to, vec v, vec bias, __mmask16 mask) {
    v += bias;
    if (job->c->residual) v += (vec)_mm512_maskz_loadu_ps(mask, to + job->c->residual);
    if (job->c->relu) v = vec_relu(v);
    if (job->stream && mask == 0xffff && (uintptr_t)to % VEC_BYTES == 0)
        vec_stream(to, v);
    else
        _mm512_mask_storeu_ps(to, mask, (__m512)v);
}

/* pixels of a row with zeros between them, and where the row has another below, zeros there */
static void put_spread(const struct job *job, const struct amx_piece *piece, elem *to, vec v) {
    __mmask16 low = (__mmask16)piece->mask, high = (__mmask16)(piece->mask >> 16);
    vec zero = {0}, a = vec_zip_low(v, zero), b = vec_zip_high(v, zero);
    int64_t row = piece->pixel / job->c->dw % job->c->dh;
    for (int64_t f = 0; f < job->phases; f += job->across, a = b = zero) {
        if (row >= job->phase[f].dh) continue;
        elem *at = to + job->phase[f].d_offset - job->phase->d_offset;
        if (low) _mm512_mask_storeu_ps(at, low, (__m512)a);
        if (high) _mm512_mask_storeu_ps(at + LANES, high, (__m512)b);
    }
}

/* zeros around one pixel, in as many channels, `stride` apart */
static void put_zeros(const struct job *job, int64_t pixel, int64_t channels, int64_t stride, elem *to) {
    int64_t row = pixel / job->c->dw % job->c->dh, col = pixel % job->c->dw;
    for (int64_t f = 1; f < job->phases; f++)
        if (row < job->phase[f].dh && col < job->phase[f].dw)
            for (int64_t r = 0; r < channels; r++) to[r * stride + job->phase[f].d_offset - job->phase->d_offset] = 0;
}

static void deliver_planes(const struct job *job, const struct worker *w, int64_t first, int64_t pixels,
                           int64_t channels, const elem *sum, const elem *bias, elem *dest) {
    int64_t stride = job->c->d_stride[1];
    for (int64_t v = first / LANES; v < ceil_div(first + pixels, LANES); v++, sum += LANES)
        for (int64_t i = w->to.first[v]; i < w->to.first[v + 1]; i++) {
            const struct amx_piece *piece = &w->to.piece[i];
            elem *to = dest + piece->offset;
            for (int64_t r = 0; r < channels; r++) {
                vec x = vec_load(sum + r * AMX_SIDE);
                if (w->to.twice)
                    put_spread(job, piece, to + r * stride, x);
                else
                    put(job, to + r * stride, x, bias ? vec_splat(bias[r]) : (vec){0}, (__mmask16)piece->mask);
            }
            if (job->phases > 1 && !w->to.twice)
                put_zeros(job, piece->pixel, channels, stride, dest + pixel_offset(&job->to, piece->pixel));
        }
}

static void deliver_last(const struct job *job, const struct worker *w, int64_t first, int64_t pixels,
                         int64_t channels, int64_t q0, const elem *sum, const elem *bias, elem *dest) {
    __mmask16 low = amx_first(channels), high = amx_first(channels - LANES);
    vec bias_low = {0}, bias_high = {0};
    if (bias) bias_low = amx_load_first(bias, channels);
    if (bias && high) bias_high = amx_load_first(bias + LANES, channels - LANES);
    for (int64_t q = first; q < first + pixels; q++, sum += AMX_SIDE) {
        elem *to = dest + w->to_pixel[q];
        put(job, to, vec_load(sum), bias_low, low);
        if (high) put(job, to + LANES, vec_load(sum + LANES), bias_high, high);
        if (job->phases > 1) put_zeros(job, q0 + q, channels, 1, to);
    }
}

/* ---- strips ----------------------------------------------------------------------------------------------------- */

/* One chunk of channels of one strip. */
struct portion {
    int64_t group, q0, pixels, first, steps, number;
};

static struct portion portion_of(const struct job *job, int64_t group, int64_t strip, int64_t chunk) {
    struct portion p = {.group = group, .q0 = strip * job->strip, .first = chunk * job->chunk};
    p.pixels = min64(job->strip, job->pixels - p.q0);
    p.steps = min64(job->chunk, job->steps - p.first);
    p.number = (group * job->strips + strip) * job->chunks + chunk;
    return p;
}

static struct staging begin_staging(const struct job *job, struct worker *w, const struct portion *p, int64_t blocks) {
    const struct correlation *c = job->c;
    int64_t channel = p->first * AMX_STEP, beyond = p->q0 + job->strip;
    struct staging s = {.job = job, .w = w, .steps = p->steps, .pixels = p->pixels, .to = w->staged[1],
                        .channels = min64(c->sc - channel, p->steps * AMX_STEP),
                        .source = job->source + (p->group * c->sc + channel) * c->s_stride[1]};
    if (beyond < job->pixels) s.ahead = s.source + pixel_offset(&job->from, beyond);
    s.bits = job->last ? p->pixels : p->steps * AMX_PAIRS;
    s.units = max64(1, blocks * ceil_div(p->pixels, AMX_SIDE) * p->steps);
    if (job->last)
        for (int64_t q = 0; q < p->pixels; q++) w->from_pixel[q] = pixel_offset(&job->from, p->q0 + q);
    else
        amx_place(&job->from, p->q0, p->pixels, job->from.run, 1, 0, &w->from);
    return s;
}

/* what is staged next is now */
static void end_staging(struct staging *s, struct worker *w, int64_t number) {
    while (s->done < s->bits) stage_bit(s);
    uint32_t *now = w->staged[1];
    w->staged[1] = w->staged[0], w->staged[0] = now;
    w->holds = number;
}

static void place_results(const struct job *job, struct worker *w, const struct portion *p) {
    if (job->last) {
        for (int64_t q = 0; q < p->pixels; q++) w->to_pixel[q] = pixel_offset(&job->to, p->q0 + q);
        return;
    }
    int spread = job->across == 2 && job->phase[1].d_offset - job->phase[0].d_offset == 1;
    int64_t row = job->phases > 1 ? job->c->dw : job->to.run, odd = spread ? job->phase[1].dw : 0;
    amx_place(&job->to, p->q0, p->pixels, row, spread, odd, &w->to);
}

/* a portion times one block of channels */
static void multiply(const struct job *job, const struct worker *w, const struct portion *p, int64_t block, elem *acc,
                     struct staging *next) {
    const struct correlation *c = job->c;
    int64_t channel = p->group * c->dc + block * AMX_SIDE, channels = min64(AMX_SIDE, c->dc - block * AMX_SIDE);
    int64_t channel_tiles = channels > AMX_ROWS ? 2 : 1, square = AMX_SIDE * AMX_SIDE;
    int64_t at = (p->group * job->blocks + block) * job->steps + p->first;
    const uint32_t *packed = job->in_parts + at * AMX_STEP_WORDS;
    const elem *bias = job->bias ? job->bias + channel : NULL;
    elem *dest = job->dest + c->d_offset + channel * c->d_stride[1];
    for (int64_t q = 0; q < p->pixels; q += AMX_SIDE, acc += job->chunks > 1 ? square : 0) {
        int64_t count = min64(AMX_SIDE, p->pixels - q), pixel_tiles = count > AMX_ROWS ? 2 : 1;
        const uint32_t *staged = staged_line(job, w->staged[0], q, 0);
        elem *sum = p->first ? w->sum : acc;
        if (job->last)
            product_of(pixel_tiles, channel_tiles, p->steps, staged, packed, next, sum);
        else
            product_of(channel_tiles, pixel_tiles, p->steps, packed, staged, next, sum);
        if (p->first)
            for (int64_t i = 0; i < square; i += LANES) vec_store(acc + i, vec_load(acc + i) + vec_load(sum + i));
        if (p->first + p->steps < job->steps) continue;
        if (job->last)
            deliver_last(job, w, q, count, channels, p->q0, acc, bias, dest);
        else
            deliver_planes(job, w, q, count, channels, acc, bias, dest);
    }
}

static void strips_task(void *context, int64_t task, int64_t worker) {
    struct job *job = context;
    struct worker *w = &job->worker[worker];
    int64_t part = task % job->parts, run = task / job->parts % job->runs, group = task / job->parts / job->runs;
    int64_t first = run * job->run, portions = min64(job->run, job->strips - first) * job->chunks;
    int64_t begin = part * job->part, end = min64(job->blocks, begin + job->part);

    struct portion now = portion_of(job, group, first, 0);
    if (w->holds != now.number) {
        struct staging s = begin_staging(job, w, &now, end - begin);
        end_staging(&s, w, now.number);
    }
    amx_begin(AMX_PAIRS);
    for (int64_t i = 1; i <= portions; i++) {
        struct portion after = portion_of(job, group, first + i / job->chunks, i % job->chunks);
        struct staging next = {.units = 1};
        if (i < portions) next = begin_staging(job, w, &after, end - begin);
        if (now.first + now.steps == job->steps) place_results(job, w, &now);
        for (int64_t block = begin; block < end; block++) {
            elem *acc = job->chunks > 1 ? w->acc + (block - begin) * job->strip * AMX_SIDE : w->sum;
            multiply(job, w, &now, block, acc, &next);
        }
        if (i < portions) end_staging(&next, w, after.number);
        now = after;
    }
    amx_end();
    if (job->stream) vec_stream_end();
}

void NAME(amx_pointwise)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source,
                         const elem *weight, const elem *packed, const elem *bias, elem *dest, void *workspace) {
    struct job job = block_up(phase);
    job.phases = phases, job.across = across, job.phase = phase;
    job.source = source + phase->first_h * phase->s_stride[2] + phase->first_w * phase->s_stride[3];
    job.bias = bias, job.dest = dest;
    struct arena arena = {.base = workspace};
    carve(&job, &arena, packed != NULL);
    if (!packed) {
        job.weight = weight + phase->weight_offset;
        engine_parallel(phase->threads, phase->g * job.blocks, pack_task, &job);
    }
    job.in_parts = packed ? (const uint32_t *)packed : job.packed;
    engine_parallel(phase->threads, phase->g * job.runs * job.parts, strips_task, &job);
}

#else

int NAME(amx_pointwise_suits)(int64_t phases, const struct correlation *phase) {
    (void)phases, (void)phase;
    return 0;
}

int NAME(amx_pointwise_wins)(const struct correlation *c) {
    (void)c;
    return 0;
}

int64_t NAME(amx_pointwise_workspace)(const struct correlation *c, int packed) {
    (void)c, (void)packed;
    return 0;
}

int64_t NAME(amx_pointwise_packed_bytes)(const struct correlation *c) {
    (void)c;
    return 0;
}

void NAME(amx_pointwise_pack)(const struct correlation *c, const elem *weight, elem *packed) {
    (void)c, (void)weight, (void)packed;
}

void NAME(amx_pointwise)(int64_t phases, int64_t across, const struct correlation *phase, const elem *source,
                         const elem *weight, const elem *packed, const elem *bias, elem *dest, void *workspace) {
    (void)phases, (void)across, (void)phase, (void)source, (void)weight, (void)packed, (void)bias, (void)dest;
    (void)workspace;
}

#endif
