"""Operators that the standard's reference implementation gets wrong or rounds to float32, done right in float64."""

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_conv_transpose import ConvTranspose as UngroupedConvTranspose
from onnx.reference.ops.op_grid_sample import GridSample
from scipy.special import erf


class ConvTranspose(UngroupedConvTranspose):
    """The reference refuses groups: here a grouped one is a concatenation of ungrouped ones."""

    op_domain = ""

    def _run(self, x, w, b=None, group=1, **attributes):  # type: ignore[override]
        group = group or 1
        split = [np.split(x, group, axis=1), np.split(w, group, axis=0)]
        split.append([None] * group if b is None else np.split(b, group))
        parts = [super(ConvTranspose, self)._run(*p, group=1, **attributes)[0] for p in zip(*split, strict=True)]
        return (np.concatenate(parts, axis=1),)


class Erf(OpRun):
    """The reference rounds to float32."""

    op_domain = ""

    def _run(self, x):
        return (erf(x),)


class Mean(OpRun):
    """The reference accumulates in place, so a first input that broadcasts fails."""

    op_domain = ""

    def _run(self, *inputs):
        return (sum(inputs) / len(inputs),)


class LpNormalization(OpRun):
    """The reference leaves out the absolute value."""

    op_domain = ""

    def _run(self, x, axis=-1, p=2):
        norm = np.linalg.norm(x, ord=p, axis=axis, keepdims=True)
        return (np.where(norm == 0, 0, x / norm),)


class LRN(OpRun):
    """The reference counts the examples where it should count the channels."""

    op_domain = ""

    def _run(self, x, alpha=1e-4, beta=0.75, bias=1.0, size=None):
        channels = x.shape[1]
        windows = [slice(max(0, c - (size - 1) // 2), c + size // 2 + 1) for c in range(channels)]
        sums = np.stack([(x[:, w] ** 2).sum(axis=1) for w in windows], axis=1)
        return (x / (bias + alpha / size * sums) ** beta,)


class Gelu(OpRun):
    """The reference runs the function body, with its own Erf."""

    op_domain = ""

    def _run(self, x, approximate="none"):
        if approximate == "tanh":
            return (x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,)
        return (x * (1 + erf(x / np.sqrt(2))) / 2,)


class MeanVarianceNormalization(OpRun):
    """The reference runs the function body, which holds float32 constants."""

    op_domain = ""

    def _run(self, x, axes=(0, 2, 3)):
        mean, std = x.mean(tuple(axes), keepdims=True), x.std(tuple(axes), keepdims=True)
        return ((x - mean) / (std + 1e-9),)


def _positions_in_float64(self, n, dims, align_corners):
    """The reference rounds positions to float32; its DeformConv goes by the same function."""
    return np.array([self._gs_denormalize(v, d, align_corners) for v, d in zip(n, dims, strict=False)], np.float64)


GridSample._gs_denormalize_coordinates = _positions_in_float64


class GlobalLpPool(OpRun):
    """The reference has none."""

    op_domain = ""

    def _run(self, x, p=2):
        return ((np.abs(x) ** p).sum(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1 / p),)


class Scan(OpRun):
    """The reference knows no directions; axes other than the first are left to it."""

    op_domain = ""

    def need_context(self):
        return True

    def _run(
        self, *args, context=None, num_scan_inputs=None, scan_input_directions=None, scan_output_directions=None, **_
    ):
        count = len(args) - num_scan_inputs
        flipped = zip(args[count:], scan_input_directions or [0] * num_scan_inputs, strict=True)
        scanned = [x[::-1] if backwards else x for x, backwards in flipped]
        state, rows = list(args[:count]), []
        for slices in zip(*scanned, strict=True):
            feeds = dict(zip(self.body.input_names, [*state, *slices], strict=True))
            outputs = self.body.run(None, (context or {}) | feeds)
            state = outputs[:count]
            rows.append(outputs[count:])
        given = [np.stack(column) for column in zip(*rows, strict=True)]
        flipped = zip(given, scan_output_directions or [0] * len(given), strict=True)
        return (*state, *(y[::-1] if backwards else y for y, backwards in flipped))


class Loop(OpRun):
    """The reference joins rows where it should stack them, and runs no step where the condition is left out."""

    op_domain = ""

    def need_context(self):
        return True

    def _run(self, count, going, *state, context=None, **_):
        going, state, rows, i = True if going is None else bool(going), list(state), [], 0
        while going and (count is None or i < count):
            arrays = [np.asarray(i, np.int64), np.asarray(going), *state]
            outputs = self.body.run(None, (context or {}) | dict(zip(self.body.input_names, arrays, strict=True)))
            going, i = bool(outputs[0]), i + 1
            state = outputs[1 : 1 + len(state)]
            rows.append(outputs[1 + len(state) :])
        return (*state, *(np.stack(column) for column in zip(*rows, strict=True)))


class MaxRoiPool(OpRun):
    """The reference has none."""

    op_domain = ""

    def _run(self, x, rois, pooled_shape=None, spatial_scale=1.0):
        y = np.zeros((len(rois), x.shape[1], *pooled_shape), x.dtype)
        for r, (number, *corners) in enumerate(rois):
            scaled = np.multiply(corners, spatial_scale)
            first, last = np.split(np.trunc(scaled + np.copysign(0.5, scaled))[[1, 0, 3, 2]], 2)
            width = np.maximum(last - first + 1, 1) / pooled_shape
            for at in np.ndindex(*pooled_shape):
                low = np.clip(np.floor(at * width) + first, 0, x.shape[2:]).astype(int)
                high = np.clip(np.ceil((np.add(at, 1)) * width) + first, 0, x.shape[2:]).astype(int)
                if (low < high).all():
                    y[(r, slice(None), *at)] = x[int(number), :, low[0] : high[0], low[1] : high[1]].max(axis=(1, 2))
        return (y,)


CORRECTED = [
    MaxRoiPool,
    ConvTranspose,
    Erf,
    Mean,
    LpNormalization,
    LRN,
    Gelu,
    MeanVarianceNormalization,
    GlobalLpPool,
    Scan,
    Loop,
]
