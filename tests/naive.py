"""The slow, independent truth: loop nests over NumPy arrays; imports nothing of engine.

Arrays have axes (n, c, h, w), weights (oc, ic/groups, kh, kw); pairs are (height, width) and pads
((top, bottom), (left, right)).  Floats are summed in float64, integers modulo 2^64, and results
are returned that wide.  Only images and channels are computed all at once.
"""

import itertools

import numpy as np

ONE, NO_PADS = (1, 1), ((0, 0), (0, 0))


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


def _out_sizes(shape, kernel, stride, pads, dilation, ceil_mode=False):
    return tuple(out_size(shape[2 + axis], pads[axis], kernel[axis], stride[axis], dilation[axis],
                          ceil_mode) for axis in (0, 1))


# ---- convolution -------------------------------------------------------------------------------

def _taps(out, kernel, size, stride, pads, dilation):
    """Every product of a window: output (i, j), weight (p, q), input (r, c) inside the image."""
    for i, j, p, q in itertools.product(*map(range, (*out, *kernel))):
        r = i * stride[0] - pads[0][0] + p * dilation[0]
        c = j * stride[1] - pads[1][0] + q * dilation[1]
        if 0 <= r < size[0] and 0 <= c < size[1]:
            yield i, j, p, q, r, c


def conv2d(x, weight, bias=None, *, stride=ONE, pads=NO_PADS, dilation=ONE, groups=1):
    x, weight = wide(x), wide(weight)
    n, ic, *size = x.shape
    oc, icg, *kernel = weight.shape
    out = _out_sizes(x.shape, kernel, stride, pads, dilation)
    x = x.reshape(n, groups, icg, *size)
    weight = weight.reshape(groups, oc // groups, icg, *kernel)
    y = np.zeros((n, groups, oc // groups, *out), x.dtype)
    for i, j, p, q, r, c in _taps(out, kernel, size, stride, pads, dilation):
        y[..., i, j] += np.einsum("ngc,gkc->ngk", x[..., r, c], weight[..., p, q])
    y = y.reshape(n, oc, *out)
    return y if bias is None else y + wide(bias).astype(y.dtype)[:, None, None]


def conv2d_backward_data(dy, weight, x_shape, *, stride=ONE, pads=NO_PADS, dilation=ONE, groups=1):
    dy, weight = wide(dy), wide(weight)
    n, ic, *size = x_shape
    oc, icg, *kernel = weight.shape
    out = dy.shape[2:]
    dy = dy.reshape(n, groups, oc // groups, *out)
    weight = weight.reshape(groups, oc // groups, icg, *kernel)
    dx = np.zeros((n, groups, icg, *size), dy.dtype)
    for i, j, p, q, r, c in _taps(out, kernel, size, stride, pads, dilation):
        dx[..., r, c] += np.einsum("ngk,gkc->ngc", dy[..., i, j], weight[..., p, q])
    return dx.reshape(x_shape)


def conv2d_backward_weight(dy, x, weight_shape, *, stride=ONE, pads=NO_PADS, dilation=ONE,
                           groups=1):
    dy, x = wide(dy), wide(x)
    n, ic, *size = x.shape
    oc, icg, *kernel = weight_shape
    out = dy.shape[2:]
    dy = dy.reshape(n, groups, oc // groups, *out)
    x = x.reshape(n, groups, icg, *size)
    dweight = np.zeros((groups, oc // groups, icg, *kernel), dy.dtype)
    for i, j, p, q, r, c in _taps(out, kernel, size, stride, pads, dilation):
        dweight[..., p, q] += np.einsum("ngk,ngc->gkc", dy[..., i, j], x[..., r, c])
    return dweight.reshape(weight_shape)


def conv2d_backward_bias(dy):
    dy = wide(dy)
    dbias = np.zeros(dy.shape[1], dy.dtype)
    for image, i, j in itertools.product(range(dy.shape[0]), *map(range, dy.shape[2:])):
        dbias += dy[image, :, i, j]
    return dbias


def conv_transpose2d(x, weight, bias=None, *, stride=ONE, padding=(0, 0), output_padding=(0, 0),
                     dilation=ONE, groups=1):
    """Every input element spreads the kernel over the output; weight is (ic, oc/groups, kh, kw)."""
    x, weight = wide(x), wide(weight)
    n, ic, ih, iw = x.shape
    _, ocg, kh, kw = weight.shape
    oh, ow = ((size - 1) * s - 2 * pad + d * (k - 1) + extra + 1
              for size, s, pad, d, k, extra in zip((ih, iw), stride, padding, dilation, (kh, kw),
                                                   output_padding, strict=True))
    x = x.reshape(n, groups, ic // groups, ih, iw)
    weight = weight.reshape(groups, ic // groups, ocg, kh, kw)
    y = np.zeros((n, groups, ocg, oh, ow), x.dtype)
    for i, j, p, q in itertools.product(*map(range, (ih, iw, kh, kw))):
        r = i * stride[0] - padding[0] + p * dilation[0]
        c = j * stride[1] - padding[1] + q * dilation[1]
        if 0 <= r < oh and 0 <= c < ow:
            y[..., r, c] += np.einsum("ngc,gck->ngk", x[..., i, j], weight[..., p, q])
    y = y.reshape(n, groups * ocg, oh, ow)
    return y if bias is None else y + wide(bias).astype(y.dtype)[:, None, None]


# ---- pooling -----------------------------------------------------------------------------------

class Windows:
    """Which cells of an (h, w) plane each output of a pooling looks at."""

    def __init__(self, size, kernel, stride=None, pads=NO_PADS, dilation=ONE, ceil_mode=False):
        self.size, self.kernel, self.pads, self.dilation = size, kernel, pads, dilation
        self.stride = stride or kernel
        self.out = _out_sizes((0, 0, *size), kernel, self.stride, pads, dilation, ceil_mode)

    def cells(self, i, j):
        """(row, column) of every cell of window (i, j), wherever it lies, in C order."""
        for p, q in itertools.product(*map(range, self.kernel)):
            yield (i * self.stride[0] - self.pads[0][0] + p * self.dilation[0],
                   j * self.stride[1] - self.pads[1][0] + q * self.dilation[1])

    def real(self, i, j):
        """Those inside the image."""
        h, w = self.size
        return [(r, c) for r, c in self.cells(i, j) if 0 <= r < h and 0 <= c < w]

    def padded(self, i, j):
        """Those inside the image or its padding: all but a ceil-mode overhang."""
        h, w = self.size[0] + self.pads[0][1], self.size[1] + self.pads[1][1]
        return [(r, c) for r, c in self.cells(i, j) if r < h and c < w]

    def __iter__(self):
        return itertools.product(*map(range, self.out))


class AdaptiveWindows(Windows):
    """Windows that cut the plane into `out` nearly equal parts."""

    def __init__(self, size, out):
        self.size, self.out = size, out

    def cells(self, i, j):
        rows, columns = (range(k * size // out, -((k + 1) * -size // out))
                         for k, size, out in zip((i, j), self.size, self.out, strict=True))
        return itertools.product(rows, columns)

    padded = Windows.real


def extreme_pool2d(x, windows, kind="max"):
    """The largest or smallest element and its place h*iw + w: the first NaN, else the first."""
    x = np.asarray(x)
    y = np.zeros((*x.shape[:2], *windows.out), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    for i, j in windows:
        (r, c), *rest = windows.real(i, j)
        best, place = x[:, :, r, c].copy(), np.full(x.shape[:2], r * x.shape[3] + c)
        for r, c in rest:
            value = x[:, :, r, c]
            beats = value > best if kind == "max" else value < best
            beats |= (value != value) & (best == best)  # the first NaN
            best[beats], place[beats] = value[beats], r * x.shape[3] + c
        y[:, :, i, j], indices[:, :, i, j] = best, place
    return y, indices


def extreme_pool2d_backward(dy, indices, x_shape):
    """dx of max- and min-pooling: each dy goes to the place its value came from."""
    dy = wide(dy)
    dx = np.zeros(x_shape, dy.dtype)
    with np.errstate(over="ignore"):  # integers wrap
        for n, c, i, j in np.ndindex(*dy.shape):
            dx[(n, c, *divmod(indices[n, c, i, j], x_shape[3]))] += dy[n, c, i, j]
    return dx


def _divisor(windows, i, j, count_include_pad):
    return len(windows.padded(i, j) if count_include_pad else windows.real(i, j))


def avg_pool2d(x, windows, count_include_pad=True):
    x = wide(x).astype(np.float64)
    y = np.zeros((*x.shape[:2], *windows.out))
    for i, j in windows:
        for r, c in windows.real(i, j):
            y[:, :, i, j] += x[:, :, r, c]
        y[:, :, i, j] /= _divisor(windows, i, j, count_include_pad)
    return y


def avg_pool2d_backward(dy, x_shape, windows, count_include_pad=True):
    dy = wide(dy).astype(np.float64)
    dx = np.zeros(x_shape)
    for i, j in windows:
        for r, c in windows.real(i, j):
            dx[:, :, r, c] += dy[:, :, i, j] / _divisor(windows, i, j, count_include_pad)
    return dx


def lp_pool2d(x, windows, p=2):
    x = wide(x).astype(np.float64)
    y = np.zeros((*x.shape[:2], *windows.out))
    for i, j in windows:
        for r, c in windows.real(i, j):
            y[:, :, i, j] += np.abs(x[:, :, r, c]) ** p
    return y ** (1 / p)


def lp_pool2d_backward(dy, x, windows, p=2):
    """d|x|_p / dx = sign(x) (|x| / |x|_p)^(p-1), and 0 where the norm is 0."""
    dy, x = wide(dy).astype(np.float64), wide(x).astype(np.float64)
    y = lp_pool2d(x, windows, p)
    dx = np.zeros(x.shape)
    for i, j in windows:
        norm = np.where(y[:, :, i, j] == 0, 1, y[:, :, i, j])
        for r, c in windows.real(i, j):
            share = np.sign(x[:, :, r, c]) * (np.abs(x[:, :, r, c]) / norm) ** (p - 1)
            dx[:, :, r, c] += dy[:, :, i, j] * share
    return dx


def max_unpool2d(x, indices, size):
    """A plane of zeros of that size, with every element of x at its place h*w_out + w."""
    x = np.asarray(x)
    y = np.zeros((*x.shape[:2], *size), x.dtype)
    for n, c, i, j in np.ndindex(*x.shape):
        y[(n, c, *divmod(indices[n, c, i, j], size[1]))] = x[n, c, i, j]
    return y


def max_unpool2d_backward(dy, indices):
    dy = np.asarray(dy)
    dx = np.zeros(indices.shape, dy.dtype)
    for n, c, i, j in np.ndindex(*indices.shape):
        dx[n, c, i, j] = dy[(n, c, *divmod(indices[n, c, i, j], dy.shape[3]))]
    return dx
