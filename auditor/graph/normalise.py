"""The declared normalisation, once in NumPy and once as nodes: the same float32 arithmetic, bit for bit."""

import numpy as np
import onnx_ir as ir

from auditor.errors import SpecError
from auditor.graph.build import Builder
from auditor.spec import Layout, Normalisation


def normalise(x: np.ndarray, normalisation: Normalisation | None, layout: Layout | None) -> np.ndarray:
    """(x - mean) / std in float32. x: (N, *shape) in the domain's units."""
    x = np.asarray(x, np.float32)
    if normalisation is None:
        return x
    mean, std = _per_channel(normalisation, layout, x.shape)
    return (x - mean) / std


def append_normalisation(
    op: Builder, x: ir.Value, normalisation: Normalisation | None, layout: Layout | None
) -> ir.Value:
    """The same as nodes behind `x`, float32 with a static shape."""
    if normalisation is None:
        return x
    assert x.shape is not None
    mean, std = _per_channel(normalisation, layout, tuple(int(d) for d in x.shape))
    return op.Div(op.Sub(x, op.const(mean)), op.const(std))


def _per_channel(
    normalisation: Normalisation, layout: Layout | None, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """mean and std as float32 arrays that broadcast over (N, *shape)."""
    mean, std = np.asarray(normalisation.mean, np.float32), np.asarray(normalisation.std, np.float32)
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise SpecError("mean and std must be finite, and std above 0")
    return _spread("mean", mean, layout, shape), _spread("std", std, layout, shape)


def _spread(name: str, values: np.ndarray, layout: Layout | None, shape: tuple[int, ...]) -> np.ndarray:
    if values.size == 1:
        return values.reshape(())
    if len(shape) == 2:
        axis = 1
    elif layout is None:
        raise SpecError(
            f"{name} has {values.size} values, and which axis is the channels' is not known; give --layout"
        )
    else:
        axis = 1 if layout == "NCHW" else len(shape) - 1
    if values.size != shape[axis]:
        raise SpecError(
            f"{name} has {values.size} values, but the input has {shape[axis]} channels; give 1 or {shape[axis]}"
        )
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
