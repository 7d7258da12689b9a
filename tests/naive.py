"""The slow, independent truth: loop nests over NumPy arrays; imports nothing of engine.

Arrays have axes (n, c, *size) with any number of spatial axes, weights (oc, ic/groups, *kernel);
strides and dilations have an entry for each of these axes, pads a pair (before, after).  Floats are
summed in float64, integers modulo 2^64, and results are returned that wide.  Only images and
channels are computed all at once.
"""

import itertools

import numpy as np

NO_PADS = ((0, 0), (0, 0))  # of a plane


def wide(array):
    """The array in float64, or in 64-bit integers of its own signedness."""
    array = np.asarray(array)
    return array.astype({"i": np.int64, "u": np.uint64}.get(array.dtype.kind, np.float64))


# ---- sizes -------------------------------------------------------------------------------------

def out_size(size, pads, kernel, stride, dilation=1, ceil_mode=False):
    """How many windows there are: they start inside the input or its leading padding."""
    before, after = pads
    room = size + before + after - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + before else count


def same_pads(size, kernel, stride, dilation=1, lower=False):
    """What to add before and after to get ceil(size / stride) windows; the odd one goes after."""
    count = (size + stride - 1) // stride
    total = max((count - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    half = total // 2
    return (total - half, half) if lower else (half, total - half)


def _out_sizes(size, kernel, stride, pads, dilation, ceil_mode=False):
    return tuple(out_size(*axis, ceil_mode) for axis in zip(size, pads, kernel, stride, dilation,
                                                            strict=True))


def _geometry(rank, stride, pads, dilation):
    return stride or (1,) * rank, pads or ((0, 0),) * rank, dilation or (1,) * rank


# ---- convolution -------------------------------------------------------------------------------

def _taps(out, kernel, size, stride, pads, dilation):
    """Every product of a window: its place, the weight's, and the input's, inside the image."""
    for place in itertools.product(*map(range, out)):
        for weight in itertools.product(*map(range, kernel)):
            seen = tuple(i * s - before + p * d for i, s, (before, _), p, d in
                         zip(place, stride, pads, weight, dilation, strict=True))
            if all(0 <= r < n for r, n in zip(seen, size, strict=True)):
                yield (..., *place), (..., *weight), (..., *seen)


def _per_channel(bias, rank):
    return wide(bias).reshape(-1, *(1,) * rank)


def conv(x, weight, bias=None, *, stride=None, pads=None, dilation=None, groups=1):
    x, weight = wide(x), wide(weight)
    n, ic, *size = x.shape
    oc, icg, *kernel = weight.shape
    steps = _geometry(len(size), stride, pads, dilation)
    out = _out_sizes(size, kernel, *steps)
    x = x.reshape(n, groups, icg, *size)
    weight = weight.reshape(groups, oc // groups, icg, *kernel)
    y = np.zeros((n, groups, oc // groups, *out), x.dtype)
    for here, tap, seen in _taps(out, kernel, size, *steps):
        y[here] += np.einsum("ngc,gkc->ngk", x[seen], weight[tap])
    y = y.reshape(n, oc, *out)
    return y if bias is None else y + _per_channel(bias, len(size)).astype(y.dtype)


def conv_backward_data(dy, weight, x_shape, *, stride=None, pads=None, dilation=None, groups=1):
    dy, weight = wide(dy), wide(weight)
    n, ic, *size = x_shape
    oc, icg, *kernel = weight.shape
    out = dy.shape[2:]
    dy = dy.reshape(n, groups, oc // groups, *out)
    weight = weight.reshape(groups, oc // groups, icg, *kernel)
    dx = np.zeros((n, groups, icg, *size), dy.dtype)
    for here, tap, seen in _taps(out, kernel, size, *_geometry(len(size), stride, pads, dilation)):
        dx[seen] += np.einsum("ngk,gkc->ngc", dy[here], weight[tap])
    return dx.reshape(x_shape)


def conv_backward_weight(dy, x, weight_shape, *, stride=None, pads=None, dilation=None, groups=1):
    dy, x = wide(dy), wide(x)
    n, ic, *size = x.shape
    oc, icg, *kernel = weight_shape
    out = dy.shape[2:]
    dy = dy.reshape(n, groups, oc // groups, *out)
    x = x.reshape(n, groups, icg, *size)
    dweight = np.zeros((groups, oc // groups, icg, *kernel), dy.dtype)
    for here, tap, seen in _taps(out, kernel, size, *_geometry(len(size), stride, pads, dilation)):
        dweight[tap] += np.einsum("ngk,ngc->gkc", dy[here], x[seen])
    return dweight.reshape(weight_shape)


def conv_backward_bias(dy):
    dy = wide(dy)
    dbias = np.zeros(dy.shape[1], dy.dtype)
    for image, *place in np.ndindex(dy.shape[0], *dy.shape[2:]):
        dbias += dy[(image, slice(None), *place)]
    return dbias


def conv_transpose(x, weight, bias=None, *, stride=None, padding=None, output_padding=None,
                   dilation=None, groups=1):
    """Every input element spreads the kernel over the output; weight is (ic, oc/g, *kernel)."""
    x, weight = wide(x), wide(weight)
    n, ic, *size = x.shape
    _, ocg, *kernel = weight.shape
    rank = len(size)
    pads = tuple((pad, pad) for pad in padding or (0,) * rank)
    stride, pads, dilation = _geometry(rank, stride, pads, dilation)
    out = [(n_in - 1) * s - sum(ends) + d * (k - 1) + extra + 1 for n_in, s, ends, d, k, extra in
           zip(size, stride, pads, dilation, kernel, output_padding or (0,) * rank, strict=True)]
    x = x.reshape(n, groups, ic // groups, *size)
    weight = weight.reshape(groups, ic // groups, ocg, *kernel)
    y = np.zeros((n, groups, ocg, *out), x.dtype)
    for here, tap, seen in _taps(size, kernel, out, stride, pads, dilation):
        y[seen] += np.einsum("ngc,gck->ngk", x[here], weight[tap])
    y = y.reshape(n, groups * ocg, *out)
    return y if bias is None else y + _per_channel(bias, rank).astype(y.dtype)


# ---- pooling -----------------------------------------------------------------------------------

class Windows:
    """Which cells of an image each output of a pooling looks at."""

    def __init__(self, size, kernel, stride=None, pads=None, dilation=None, ceil_mode=False):
        self.size, self.kernel = size, kernel
        self.stride, self.pads, self.dilation = _geometry(len(size), stride or kernel, pads,
                                                          dilation)
        self.out = _out_sizes(size, kernel, self.stride, self.pads, self.dilation, ceil_mode)

    def cells(self, place):
        """Every cell of the window at that place of the output, wherever it lies, in C order."""
        for tap in itertools.product(*map(range, self.kernel)):
            yield tuple(i * s - before + p * d for i, s, (before, _), p, d in
                        zip(place, self.stride, self.pads, tap, self.dilation, strict=True))

    def real(self, place):
        """Those inside the image."""
        return [cell for cell in self.cells(place)
                if all(0 <= r < n for r, n in zip(cell, self.size, strict=True))]

    def padded(self, place):
        """Those inside the image or its padding: all but a ceil-mode overhang."""
        return [cell for cell in self.cells(place) if all(
            r < n + after for r, n, (_, after) in zip(cell, self.size, self.pads, strict=True))]

    def __iter__(self):
        return itertools.product(*map(range, self.out))


class AdaptiveWindows(Windows):
    """Windows that cut the image into `out` nearly equal parts."""

    def __init__(self, size, out):
        self.size, self.out = size, out

    def cells(self, place):
        return itertools.product(*(
            range(k * size // out, -((k + 1) * -size // out))
            for k, size, out in zip(place, self.size, self.out, strict=True)))

    padded = Windows.real


def _at(place):
    """The index of that element in all images and channels."""
    return (slice(None), slice(None), *place)


def extreme_pool(x, windows, kind="max"):
    """The largest or smallest element, and its place in C order: the first NaN, else the first."""
    x = np.asarray(x)
    y = np.zeros((*x.shape[:2], *windows.out), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    for here in windows:
        first, *rest = windows.real(here)
        best = x[_at(first)].copy()
        place = np.full(x.shape[:2], np.ravel_multi_index(first, windows.size))
        for cell in rest:
            value = x[_at(cell)]
            beats = value > best if kind == "max" else value < best
            beats |= (value != value) & (best == best)  # the first NaN
            best[beats], place[beats] = value[beats], np.ravel_multi_index(cell, windows.size)
        y[_at(here)], indices[_at(here)] = best, place
    return y, indices


def extreme_pool_backward(dy, indices, x_shape):
    """dx of max- and min-pooling: each dy goes to the place its value came from."""
    dy = wide(dy)
    dx = np.zeros((*x_shape[:2], np.prod(x_shape[2:])), dy.dtype)
    with np.errstate(over="ignore"):  # integers wrap
        for n, c, *place in np.ndindex(*dy.shape):
            dx[n, c, indices[(n, c, *place)]] += dy[(n, c, *place)]
    return dx.reshape(x_shape)


def _divisor(windows, place, count_include_pad):
    return len(windows.padded(place) if count_include_pad else windows.real(place))


def avg_pool(x, windows, count_include_pad=True):
    x = wide(x).astype(np.float64)
    y = np.zeros((*x.shape[:2], *windows.out))
    for here in windows:
        for cell in windows.real(here):
            y[_at(here)] += x[_at(cell)]
        y[_at(here)] /= _divisor(windows, here, count_include_pad)
    return y


def avg_pool_backward(dy, x_shape, windows, count_include_pad=True):
    dy = wide(dy).astype(np.float64)
    dx = np.zeros(x_shape)
    for here in windows:
        share = dy[_at(here)] / _divisor(windows, here, count_include_pad)
        for cell in windows.real(here):
            dx[_at(cell)] += share
    return dx


def lp_pool(x, windows, p=2):
    x = wide(x).astype(np.float64)
    y = np.zeros((*x.shape[:2], *windows.out))
    for here in windows:
        for cell in windows.real(here):
            y[_at(here)] += np.abs(x[_at(cell)]) ** p
    return y ** (1 / p)


def lp_pool_backward(dy, x, windows, p=2):
    """d|x|_p / dx = sign(x) (|x| / |x|_p)^(p-1), and 0 where the norm is 0."""
    dy, x = wide(dy).astype(np.float64), wide(x).astype(np.float64)
    y = lp_pool(x, windows, p)
    dx = np.zeros(x.shape)
    for here in windows:
        norm = np.where(y[_at(here)] == 0, 1, y[_at(here)])
        for cell in windows.real(here):
            share = np.sign(x[_at(cell)]) * (np.abs(x[_at(cell)]) / norm) ** (p - 1)
            dx[_at(cell)] += dy[_at(here)] * share
    return dx


def max_unpool(x, indices, size):
    """An image of zeros of that size, with every element of x at its place in C order."""
    x = np.asarray(x)
    y = np.zeros((*x.shape[:2], np.prod(size)), x.dtype)
    for n, c, *place in np.ndindex(*x.shape):
        y[n, c, indices[(n, c, *place)]] = x[(n, c, *place)]
    return y.reshape(*x.shape[:2], *size)


def max_unpool_backward(dy, indices):
    dy = np.asarray(dy)
    flat = dy.reshape(*dy.shape[:2], -1)
    dx = np.zeros(indices.shape, dy.dtype)
    for n, c, *place in np.ndindex(*indices.shape):
        dx[(n, c, *place)] = flat[n, c, indices[(n, c, *place)]]
    return dx


# ---- normalisation: images (n, c, ...) and vectors (c,) ------------------------------------------

def moments(x):
    """Mean and variance of each channel."""
    channels = [wide(x)[:, c] for c in range(x.shape[1])]
    means = [each.sum() / each.size for each in channels]
    return np.array(means), np.array([((each - mean) ** 2).sum() / each.size
                                      for each, mean in zip(channels, means, strict=True)])


def batch_norm(x, mean, variance, weight, bias, epsilon, residual=0, relu=False):
    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        scale = float(weight[c]) / np.sqrt(float(variance[c]) + epsilon)
        y[:, c] = (wide(x)[:, c] - float(mean[c])) * scale + float(bias[c])
    y += residual
    return np.where(y > 0, y, 0) if relu else y


def batch_norm_backward(dy, x, mean, variance, weight, epsilon):
    """dx, dweight, dbias, where mean and variance are the moments of x."""
    dx, dweight, dbias = np.empty(x.shape), np.empty(len(mean)), np.empty(len(mean))
    for c in range(x.shape[1]):
        inverse = 1 / np.sqrt(float(variance[c]) + epsilon)
        g, scaled = wide(dy)[:, c], (wide(x)[:, c] - float(mean[c])) * inverse
        dweight[c], dbias[c] = (g * scaled).sum(), g.sum()
        dx[:, c] = (g - dbias[c] / g.size - scaled * dweight[c] / g.size) * inverse * weight[c]
    return dx, dweight, dbias
