/* Every function that engine._native exports.  The Python module is generated from this file: plain C declarations only.
   Shapes and strides count elements, strides may be any (zero and negative too), axes are n c h w and oc ic/g kh kw.
   Nothing here validates: engine/_check.py has done so. */
#ifndef ENGINE_H
#define ENGINE_H
#include <stdint.h>

enum engine_type { ENGINE_F32, ENGINE_F64, ENGINE_I32, ENGINE_I64, ENGINE_TYPES };
enum engine_direction { ENGINE_FORWARD, ENGINE_BACKWARD_DATA, ENGINE_BACKWARD_WEIGHT };
enum engine_algorithm { ENGINE_DIRECT, ENGINE_IM2COL, ENGINE_WINOGRAD, ENGINE_BF16X6 };

typedef struct {
    int64_t n, g, ic, ih, iw, oc, oh, ow, kh, kw; /* ic and oc count all groups together */
    int64_t stride_h, stride_w, pad_t, pad_l, dil_h, dil_w;
    int64_t x_stride[4], weight_stride[4], y_stride[4];
    int32_t type, algorithm, relu, threads; /* threads: how many this call may use, the caller included */
    int32_t packed;                         /* the weight argument is what engine_conv2d_pack_weight() wrote */
    const void *residual;                   /* forward: NULL, or what is added before relu; of y's type and strides, apart from y */
    int32_t bfloat16;                       /* ENGINE_BF16X6 of such x and y: one product is enough; weight and bias as float32 */
} engine_conv2d;

/* bytes of scratch memory, aligned to 64, that the call below needs under the current level */
int64_t engine_conv2d_workspace(const engine_conv2d *conv, int32_t direction);
void engine_conv2d_forward(const engine_conv2d *conv, const void *x, const void *weight, const void *bias, void *y,
                           void *workspace);
void engine_conv2d_backward_data(const engine_conv2d *conv, const void *dy, const void *weight, void *dx, void *workspace);
void engine_conv2d_backward_weight(const engine_conv2d *conv, const void *dy, const void *x, void *dweight, void *workspace);

/* Weights can be brought into a kernel's own form once for many calls, forward or backward data, of the same layer, algorithm
   and level; 0 bytes: this kernel has no such form. */
int64_t engine_conv2d_packed_bytes(const engine_conv2d *conv, int32_t direction);
void engine_conv2d_pack_weight(const engine_conv2d *conv, int32_t direction, const void *weight, void *packed);

/* the algorithm expected to be fastest: asks about one image, never about n or threads */
int32_t engine_conv2d_preferred(const engine_conv2d *conv, int32_t direction);
enum engine_pooling { ENGINE_MAX, ENGINE_MIN, ENGINE_AVG, ENGINE_LP };

typedef struct {
    int64_t n, c, ih, iw, oh, ow, kh, kw;
    int64_t stride_h, stride_w, pad_t, pad_b, pad_l, pad_r, dil_h, dil_w;
    int64_t x_stride[4], dx_stride[4], y_stride[4], index_stride[4]; /* y: or dy */
    double p;                                                        /* of the norm */
    int32_t type, is_unsigned, kind, include_pad, adaptive, threads;
} engine_pool2d;

/* indices (int64, h*iw + w) may be NULL; backward recomputes them from x then, otherwise x may be NULL.  Averages need
   neither.  Backward returns 0 if an index is outside its plane: dx is not to be used then.  A plane of 32-bit elements has less than 2^31 of them. */
int64_t engine_pool2d_workspace(const engine_pool2d *pool, int32_t backward, int32_t indexed);
void engine_pool2d_forward(const engine_pool2d *pool, const void *x, void *y, int64_t *indices, void *workspace);
int32_t engine_pool2d_backward(const engine_pool2d *pool, const void *dy, const void *x, const int64_t *indices, void *dx,
                               void *workspace);

/* softmax of every row; strides are between rows, columns are adjacent; float32 or float64 */
typedef struct {
    int64_t rows, columns, x_stride, y_stride;
    int32_t type;
} engine_softmax;

void engine_softmax_forward(const engine_softmax *softmax, const void *x, void *y);

/* One forward call of a chain, that of which there is a block; pooling without indices. */
typedef struct {
    const engine_conv2d *conv;
    const engine_pool2d *pool;
    const engine_softmax *softmax;
    const void *x, *weight, *bias;
    void *y;
} engine_step;

/* So many steps, one after the other; the workspace is that of the one that needs most. */
void engine_chain(const engine_step *step, int64_t steps, void *workspace);

/* Batch normalisation of contiguous floating-point arrays: planes, [n][c][pixels], or with `last` [pixels][c], and n is 1. */
typedef struct {
    int64_t n, c, pixels;
    double epsilon, count;              /* count: values of a channel in the batch that dweight and dbias are summed over */
    int32_t type, last, relu, threads;
} engine_norm;

/* y = (x - mean) / sqrt(variance + epsilon) * weight + bias; the latter two may be NULL: 1 and 0 */
typedef struct {
    const void *mean, *variance, *weight, *bias;
} engine_affine;

int64_t engine_norm_workspace(const engine_norm *norm);
void engine_norm_moments(const engine_norm *norm, const void *x, void *mean, void *variance, void *workspace);
void engine_norm_forward(const engine_norm *norm, const void *x, const engine_affine *affine, const void *residual, void *y,
                         void *workspace);
/* x may be NULL: only dbias, the sum over each channel of dy, is formed then */
void engine_norm_backward_weight(const engine_norm *norm, const void *dy, const void *x, const engine_affine *affine,
                                 void *dweight, void *dbias, void *workspace);
void engine_norm_backward_data(const engine_norm *norm, const void *dy, const void *x, const engine_affine *affine,
                               const void *dweight, const void *dbias, void *dx, void *workspace);

/* dx = dy where y > 0, else 0; dx may be dy */
void engine_relu_backward(int32_t type, const void *dy, const void *y, void *dx, int64_t count, int32_t threads);

/* instruction-set levels: 0 is the weakest; only those below engine_isa_count() run on this processor */
int32_t engine_isa_count(void);
const char *engine_isa_name(int32_t level);
int32_t engine_get_isa(void);
void engine_set_isa(int32_t level);

#endif
