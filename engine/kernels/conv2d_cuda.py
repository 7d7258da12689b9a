"""2-D convolution on a GPU: the same contract, with arrays whose memory is on the device.

"im2col" is one matrix product per group (``cuda_support/gemm.py``), "direct" a sum per result.
What float32 numbers are multiplied as is the `precision` of the problem: "fp32", "fp32x3" (three
products of TF32 parts, at the level of float32), "tf32", "bf16" or "fp16"; sums are float32.
"""

from __future__ import annotations

from functools import lru_cache

from .cuda_support import depthwise, direct, gemm, gemm_weight, sums
from .cuda_support.geometry import Steps, backward_data_taps, forward_taps
from .cuda_support.launch import MOST_BLOCKS, address, device, launch, scratch, table

ALGORITHMS = ("im2col", "direct")

_LIMIT = 1 << 31
_NATIVE = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_BLOCKS = 264  # of partial results: two for every multiprocessor of an H100
_LEAST_BLOCKS = 132  # of results: one for every multiprocessor, or the tile is too large
_LEAST_STEPS = 16  # of a partial result


def refusal(problem, direction, algorithm) -> str | None:
    """Why this backend cannot run the problem, or None."""
    p = problem
    if max(p.n * p.oh * p.ow, p.n * p.ih * p.iw) >= _LIMIT:
        return "pixels are numbered in 32 bits"
    if max(p.ic * p.ih * p.iw, p.oc * p.oh * p.ow) >= _LIMIT:
        return "positions within an image are kept in 32 bits"
    if algorithm == "im2col":
        if p.dtype.name not in _NATIVE:
            return f"it has no kernels for {p.dtype}"
    elif _precision(p) not in (None, "fp32") and p.precision is not None:
        return f"it sums as it is, not in {p.precision}"
    return None


def order(problem, direction) -> tuple[str, ...]:
    """Best first: a matter of one image alone."""
    p = problem
    if direction == "backward_data":
        terms, outputs = p.oc // p.g * p.kh * p.kw, p.ic // p.g
    else:
        terms, outputs = p.ic // p.g * p.kh * p.kw, p.oc // p.g
    small = outputs < 8 or terms < 8
    return ("direct", "im2col") if small else ALGORITHMS


def _precision(p) -> str | None:
    return p.precision or _NATIVE.get(p.dtype.name)


# ---------------------------------------------------------------- the four entry points

def forward(problem, algorithm, x, weight, bias, y) -> None:
    """y = correlation of x with weight, plus bias, then the activation."""
    p, x_steps, y_steps, w_steps = problem, Steps.of(x), Steps.of(y), Steps.of(weight)
    icg, ocg = p.ic // p.g, p.oc // p.g
    if algorithm == "direct" and _is_depthwise(p, icg):
        _depthwise(p, p.activation, x, x_steps, address(weight), w_steps, bias, y, y_steps,
                   (p.pad_t, p.pad_l), (p.ih, p.iw), (p.oh, p.ow))
        return
    taps = _products(device(), forward_taps, p, x_steps, w_steps, p.order)
    _gather(p, algorithm, taps, x, x_steps, icg, (p.ih, p.iw), address(weight), w_steps.n,
            ocg * w_steps.n, bias, p.activation, y, y_steps, ocg)


def backward_data(problem, algorithm, dy, weight, dx) -> None:
    """dx = the adjoint of forward in x, applied to dy."""
    backward_data_finished(problem, algorithm, None, dy, weight, None, dx)


def backward_data_finished(problem, algorithm, activation, dy, weight, bias, dx) -> None:
    """As a transposed convolution: with a bias and an activation of dx."""
    p, dy_steps, dx_steps, w_steps = problem, Steps.of(dy), Steps.of(dx), Steps.of(weight)
    icg, ocg = p.ic // p.g, p.oc // p.g
    if (algorithm == "direct" and icg == 1 and _is_depthwise(p, ocg)
            and p.stride_h == p.stride_w == 1):  # the weights turned round
        last = (p.kh - 1) * w_steps.h + (p.kw - 1) * w_steps.w
        turned = w_steps._replace(h=-w_steps.h, w=-w_steps.w)
        _depthwise(p, activation, dy, dy_steps, address(weight) + last * weight.itemsize, turned,
                   bias, dx, dx_steps, (p.dil_h * (p.kh - 1) - p.pad_t,
                                        p.dil_w * (p.kw - 1) - p.pad_l),
                   (p.oh, p.ow), (p.ih, p.iw))
        return
    taps = _products(device(), backward_data_taps, p, dy_steps, w_steps, dx_steps, p.order)
    _gather(p, algorithm, taps, dy, dy_steps, ocg, (p.oh, p.ow), address(weight), w_steps.c,
            ocg * w_steps.n, bias, activation, dx, dx_steps, icg)


def backward_weight(problem, algorithm, dy, x, dweight) -> None:
    """dweight = the adjoint of forward in the weights, applied to dy; x is what forward saw."""
    p = problem
    x_steps, dy_steps, w_steps = Steps.of(x), Steps.of(dy), Steps.of(dweight)
    (taps,) = _products(device(), forward_taps, p, x_steps, w_steps, p.order)
    icg, ocg, pixels = p.ic // p.g, p.oc // p.g, p.n * p.oh * p.ow
    grid = (p.oh, p.ow, p.stride_h, p.stride_w, p.ih, p.iw)
    from_x = (icg * x_steps.c, x_steps.n, x_steps.h, x_steps.w)
    if algorithm == "direct":
        kernel = direct.gather_weight(p.dtype.name)
        for first, count in _chunks(p.oc, ocg):
            launch(kernel, (taps.terms, count), address(dy) + first * dy_steps.c * dy.itemsize,
                   address(x) + first // ocg * icg * x_steps.c * x.itemsize,
                   address(dweight) + first * w_steps.n * dweight.itemsize,
                   *taps[:4], -(-pixels // direct.WEIGHT_THREADS), pixels, ocg, *grid, dy_steps.n,
                   dy_steps.c, dy_steps.h, dy_steps.w, *from_x, w_steps.n)
        return
    precision = _precision(p)
    tile_m, tile_n = _tile(gemm_weight.TILES, ocg, taps.terms, _LEAST_BLOCKS)
    kernel = gemm_weight.gather_gemm_weight(p.dtype.name, precision, tile_m, tile_n, p.order)
    per_step = gemm_weight.DEPTH * gemm.words(precision)[0]
    tiles = (-(-ocg // tile_m), -(-taps.terms // tile_n))
    far = max(abs(x_steps.n), abs(dy_steps.n), 1)  # 32 bits count the elements of its images
    most = max((_LIMIT // far - 2) * p.oh * p.ow // per_step, 1)
    steps, splits = _split(-(-pixels // per_step), tiles[0] * tiles[1] * p.g, most)
    partial, kept = scratch(splits * p.oc * taps.terms, 4)
    launch(kernel, (*tiles, splits * p.g), address(dy), address(x), partial, *taps[:3], steps,
           pixels, p.g, ocg, taps.terms, *grid, *dy_steps, *from_x)
    count = p.oc * taps.terms
    launch(sums.add_up(p.dtype.name), (-(-count // sums.THREADS),), partial, address(dweight),
           taps.weights, splits, count, taps.terms, w_steps.n)
    del kept


def backward_bias(problem, dy, dbias) -> None:
    """dbias = dy summed over images and pixels."""
    p = problem
    pixels = p.n * p.oh * p.ow
    launch(sums.bias_gradient(p.dtype.name), (p.oc,), address(dy), address(dbias),
           -(-pixels // sums.THREADS), pixels, p.oh, p.ow, *Steps.of(dy))


# ---------------------------------------------------------------- parts

def _is_depthwise(p, channels) -> bool:
    """Whether a result is of one channel, and a thread can hold a row of its windows."""
    return channels == 1 and (depthwise.lanes(p.kw, p.stride_w, p.dil_w)
                              <= depthwise.MOST_LANES)


def _depthwise(p, activation, x, x_steps, weight, w_steps, bias, y, y_steps, pad, size, grid):
    """y of `grid` pixels, whose windows start at `pad` before x, of `size`."""
    kernel = depthwise.depthwise(p.dtype.name, p.order, activation, p.kw, p.stride_w, p.dil_w)
    channels, multiplier = y.shape[1], y.shape[1] // x.shape[1]
    fours = -(-grid[1] // depthwise.NEIGHBOURS)
    results = channels * grid[0] * fours
    for first, count in _chunks(p.n, 1):
        launch(kernel, (-(-results // depthwise.THREADS), count),
               address(x) + first * x_steps.n * x.itemsize, weight, address(bias),
               address(y) + first * y_steps.n * y.itemsize, p.kh, results, channels, multiplier,
               *grid, fours, p.stride_h, p.dil_h, *pad, *size, *x_steps, w_steps.n, w_steps.h,
               w_steps.w, *y_steps, *_bias_step(bias))


def _gather(p, algorithm, products, x, x_steps, channels, size, weight, weight_n, weight_g, bias,
            activation, y, y_steps, outputs):
    """Results of `outputs` channels per group from `channels` of x, for each of the products."""
    for taps in products:
        near = algorithm == "im2col" and _reaches(x_steps.n, taps.grid_h * taps.grid_w)
        run = _gather_gemm if near else _gather_direct
        to = (address(y) + taps.first * y.itemsize, outputs * y_steps.c, y_steps.n, y_steps.c,
              taps.apart_h * y_steps.h, taps.apart_w * y_steps.w)
        run(p, taps, x, x_steps, channels, size, weight, weight_n, weight_g, bias, activation, to,
            y, outputs)


def _gather_direct(p, taps, x, x_steps, channels, size, weight, weight_n, weight_g, bias,
                   activation, to, y, outputs):
    kernel = direct.gather(p.dtype.name, p.order, activation)
    results = p.g * outputs * taps.grid_h * taps.grid_w
    start, _, *y_steps = to
    for first, count in _chunks(p.n, 1):
        launch(kernel, (-(-results // direct.THREADS), count),
               address(x) + first * x_steps.n * x.itemsize, weight, address(bias),
               start + first * y_steps[0] * y.itemsize, *taps[:4], taps.terms, results,
               p.g * outputs, outputs, taps.grid_h, taps.grid_w, taps.step_h, taps.step_w, *size,
               channels * x_steps.c, x_steps.n, x_steps.h, x_steps.w, weight_g, weight_n, *y_steps,
               *_bias_step(bias))


def _gather_gemm(p, taps, x, x_steps, channels, size, weight, weight_n, weight_g, bias, activation,
                 to, y, outputs):
    precision, pixels = _precision(p), p.n * taps.grid_h * taps.grid_w
    tile_m, tile_n = _tile(gemm.TILES, pixels, outputs, p.g)
    per_word, depth = gemm.words(precision)[0], gemm.depth_of(precision, tile_m, tile_n)
    steps = -(-taps.terms // (depth * per_word))
    rows, columns = (steps + 1) * depth, -(-outputs // tile_n) * tile_n
    packed, kept = scratch(p.g * rows * columns, 4)
    launch(gemm.pack_weights(p.dtype.name, precision), (rows, -(-columns // 256), p.g), weight,
           taps.weights, packed, taps.terms, outputs, weight_n, weight_g, columns, rows * columns)
    kernel = gemm.gather_gemm(p.dtype.name, precision, tile_m, tile_n, p.order, activation)
    start, y_g, *y_steps = to
    launch(kernel, (-(-pixels // tile_m), columns // tile_n, p.g), address(x), packed,
           address(bias), start, taps.entries, steps, pixels, taps.grid_h, taps.grid_w, taps.step_h,
           taps.step_w, *size, channels * x_steps.c, x_steps.n, x_steps.h, x_steps.w, outputs,
           columns, rows * columns, y_g, *y_steps, *_bias_step(bias))
    del kept


def _reaches(step, image_pixels):
    """Whether 32 bits count the elements of all images that a tile of pixels may lie in."""
    images = gemm.TILES[0][0] // image_pixels + 2
    return images * abs(step) < _LIMIT


def _bias_step(bias):
    """Elements from one to the next, and whether there is one."""
    return (0, 0) if bias is None else (bias.strides[0] // bias.itemsize, 1)


@lru_cache(maxsize=1024)
def _products(where, make, *args):
    """What `make` lists, with addresses in place of tables; `where` is the device they are on."""
    return [taps._replace(offsets=table(taps.offsets), rows=table(taps.rows),
                          columns=table(taps.columns), weights=table(taps.weights),
                          entries=table(taps.entries))
            for taps in make(*args)]


def _tile(tiles, m, n, groups):
    """The largest tile that results do not leave half empty, and that is enough blocks.

    It may depend on the batch: whatever the tile, a sum has the same order.
    """
    full = [tile for tile in tiles if m > tile[0] // 2 and n > tile[1] // 2]
    busy = [(tile_m, tile_n) for tile_m, tile_n in full
            if -(-m // tile_m) * -(-n // tile_n) * groups >= _LEAST_BLOCKS]
    return (busy or full[-1:] or tiles[-1:])[0]


def _split(steps, blocks, most):
    """Steps of a block, `most` at most, and how many blocks share the sum of a result."""
    splits = max(1, min(_BLOCKS // blocks, steps // _LEAST_STEPS))
    each = min(max(1, -(-steps // splits)), most)
    return each, max(1, -(-steps // each))


def _chunks(count, multiple):
    """(first, count) of what fits into an axis of the grid."""
    most = max(MOST_BLOCKS // multiple, 1) * multiple
    return [(first, min(most, count - first)) for first in range(0, count, most)]
