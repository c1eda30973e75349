"""Convolutions in one to three dimensions, by lowerings measured on ONNX Runtime.

On CUDA the adjoint of Conv is ConvTranspose (cuDNN's own data gradient). On the CPU, ConvTranspose walks images and
groups one by one, while Conv runs in blocked kernels: there the adjoint is a Conv wherever that is faster.
"""

from dataclasses import dataclass

import numpy as np

from auditor.autodiff.rules import vjp
from auditor.graph.build import constant_of, shape_of

FEW_CHANNELS = 16


@dataclass(frozen=True)
class Window:
    """How a kernel slides: one entry per spatial axis, padding explicit."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]  # padding
    end: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """What one kernel spans of the input."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True))

    @property
    def pads(self) -> list[int]:
        return [*self.begin, *self.end]


def _window(kernel, strides, dilations, pads):
    n = len(kernel)
    pads = tuple(pads) if pads else (0,) * 2 * n
    return Window(
        tuple(kernel),
        tuple(strides) if strides else (1,) * n,
        tuple(dilations) if dilations else (1,) * n,
        pads[:n],
        pads[n:],
    )


def _conv_window(x, w, y, auto_pad="NOTSET", dilations=None, kernel_shape=None, pads=None, strides=None):
    window = _window(shape_of(w)[2:], strides, dilations, None if auto_pad != "NOTSET" else pads)
    if auto_pad in ("NOTSET", "VALID"):
        return window
    spans = zip(shape_of(y)[2:], shape_of(x)[2:], window.strides, window.extent, strict=True)
    total = [max(0, (out - 1) * s + e - size) for out, size, s, e in spans]
    return _shared_out(window, total, small_first=auto_pad == "SAME_UPPER")


def _transposed_window(
    x,
    w,
    y,
    auto_pad="NOTSET",
    dilations=None,
    kernel_shape=None,
    output_padding=None,
    output_shape=None,
    pads=None,
    strides=None,
):
    window = _window(shape_of(w)[2:], strides, dilations, pads)
    if auto_pad == "VALID":
        return _window(shape_of(w)[2:], strides, dilations, None)
    if auto_pad == "NOTSET" and not output_shape:
        return window
    extra = output_padding or (0,) * len(window.kernel)
    spans = zip(shape_of(y)[2:], shape_of(x)[2:], window.strides, window.extent, extra, strict=True)
    total = [max(0, s * (size - 1) + e + o - out) for out, size, s, e, o in spans]
    return _shared_out(window, total, small_first=auto_pad == "SAME_UPPER")


def _shared_out(window, total, *, small_first):
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    begin, end = (small, large) if small_first else (large, small)
    return Window(window.kernel, window.strides, window.dilations, begin, end)


@vjp("Conv", wrt=0)
def conv_x(op, g, y, x, w, b=None, *, group=1, **attributes):
    window = _conv_window(x, w, y, **attributes)
    weights = constant_of(w)
    if op.device == "cpu" and weights is not None and _conv_is_faster(x, window, group):
        begin, end = (
            [e - 1 - p for e, p in zip(window.extent, pads, strict=True)] for pads in (window.begin, window.end)
        )
        flipped = op.const(_flipped(weights, group), like=x)
        return op.Conv(g, flipped, pads=[*begin, *end], dilations=window.dilations, group=group)
    return op.ConvTranspose(
        g,
        w,
        strides=window.strides,
        dilations=window.dilations,
        pads=window.pads,
        group=group,
        output_padding=_rest(window, shape_of(x)[2:], shape_of(y)[2:]),
    )


def _conv_is_faster(x, window, group):
    """Whether Conv with flipped weights beats ConvTranspose on the CPU: unless it is strided (and zeros would have to
    be stuffed into g), has to cut g (padding longer than the kernel), or gives few channels (as the first layer)."""
    fits = all(max(b, e) < extent for b, e, extent in zip(window.begin, window.end, window.extent, strict=True))
    return max(window.strides) == 1 and fits and (group > 1 or shape_of(x)[1] >= FEW_CHANNELS)


def _rest(window, size, steps):
    """What the last step leaves of the padded input."""
    spans = zip(size, steps, window.begin, window.end, window.extent, window.strides, strict=True)
    return [n + b + e - extent - (m - 1) * s for n, m, b, e, extent, s in spans]


def _flipped(w: np.ndarray, group: int) -> np.ndarray:
    """w: (M, C / group, *kernel) -> (C, M / group, *kernel) with every kernel reversed."""
    m, c, *kernel = w.shape
    w = w.reshape(group, m // group, c, *kernel).swapaxes(1, 2).reshape(group * c, m // group, *kernel)
    return np.ascontiguousarray(np.flip(w, axis=tuple(range(2, w.ndim))))


@vjp("Conv", wrt=1)
def conv_w(op, g, y, x, w, b=None, *, group=1, **attributes):
    window = _conv_window(x, w, y, **attributes)
    return _weight_gradient(op, x, g, window, group)


@vjp("Conv", "ConvTranspose", wrt=2)
def bias(op, g, y, x, w, b, **attributes):
    axes = [i for i in range(len(shape_of(g))) if i != 1]
    return op.ReduceSum(g, op.ints(axes), keepdims=0)


@vjp("ConvTranspose", wrt=0)
def conv_transpose_x(op, g, y, x, w, b=None, *, group=1, **attributes):
    window = _transposed_window(x, w, y, **attributes)
    return op.Conv(g, w, strides=window.strides, dilations=window.dilations, pads=window.pads, group=group)


@vjp("ConvTranspose", wrt=1)
def conv_transpose_w(op, g, y, x, w, b=None, *, group=1, **attributes):
    window = _transposed_window(x, w, y, **attributes)
    # In ConvTranspose the cotangent is what the kernel slides over, and the input has one entry per step.
    return _weight_gradient(op, g, x, window, group)


def _weight_gradient(op, slid, steps, window, group):
    """The correlation of what the kernel slides over with its steps: a Conv whose batch is the channels, whose
    channels are the batch, and whose strides and dilations have changed places.

    slid: (N, C, *size), steps: (N, M, *steps) -> (M, C / group, *kernel).
    """
    n, c, *size = shape_of(slid)
    axes = list(range(2, 2 + len(size)))
    images = op.Reshape(slid, op.ints([n, group, c // group, *size]))
    images = op.Transpose(images, perm=[2, 1, 0, *(a + 1 for a in axes)])
    images = op.Reshape(images, op.ints([c // group, group * n, *size]))
    kernels = op.Transpose(steps, perm=[1, 0, *axes])
    gw = op.Conv(images, kernels, strides=window.dilations, dilations=window.strides, pads=window.pads, group=group)
    if shape_of(gw)[2:] != window.kernel:
        # Where the last stride left a rest of the input, the kernel has room to slide further than it is long.
        gw = op.Slice(gw, op.ints([0] * len(size)), op.ints(window.kernel), op.ints(axes))
    return op.Transpose(gw, perm=[1, 0, *axes])
