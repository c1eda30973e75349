"""Resize is linear and separable: its matrix along each axis is probed from the operator itself, whatever the mode,
so that the cotangent belongs to the pixels that ONNX Runtime really computes."""

import numpy as np

from auditor.autodiff.rules import vjp
from auditor.autodiff.rules.linear import along_axis, probe
from auditor.errors import NoGradient
from auditor.graph.build import constant_of, shape_of


@vjp("Resize")
def resize(op, g, y, x, roi=None, scales=None, sizes=None, *, axes=None, **attributes):
    rank = len(shape_of(x))
    axes = [a % rank for a in axes] if axes else list(range(rank))
    roi, scales, sizes = (_constant(y, v) for v in (roi, scales, sizes))
    for i, axis in enumerate(axes):
        if attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            matrix = _matrix_among(op, [shape_of(x)[a] for a in axes], i, sizes, attributes)
        else:
            matrix = _matrix(op, shape_of(x)[axis], i, roi, scales, sizes, attributes)
        if not np.array_equal(matrix, np.eye(len(matrix))):
            g = along_axis(op, g, axis, matrix)
    return g


def _constant(y, value):
    """The array behind an optional input; an empty one counts as left out."""
    if value is None:
        return None
    array = constant_of(value)
    if array is None:
        raise NoGradient("Resize", y.producer().name or "", f"'{value.name}' depends on the model's input")
    return array if array.size else None


def _matrix(op, n, i, roi, scales, sizes, attributes):
    """The matrix (n, m) along the i-th axis alone: unit vectors as a batch of images of one row."""
    if roi is not None:
        begin, end = roi[i], roi[len(roi) // 2 + i]
        roi = np.asarray([0, 0, 0, begin, 1, 1, 1, end], roi.dtype)
    if scales is not None:
        scales = np.asarray([1, 1, 1, scales[i]], np.float32)
    if sizes is not None:
        sizes = np.asarray([n, 1, 1, sizes[i]], np.int64)
    # What a crop sees outside the image is a constant: it has no part in the derivative.
    units, nothing = np.eye(n)[:, None, None, :], np.zeros((n, 1, 1, n))
    at_units, at_zero = (probe(op, "Resize", v, roi, scales, sizes, **attributes) for v in (units, nothing))
    return (at_units - at_zero)[:, 0, 0, :]


def _matrix_among(op, shape, i, sizes, attributes):
    """The same where another axis may decide the scale: the unit vectors are constant along the other axes."""
    n, rank = shape[i], len(shape)
    units = np.eye(n).reshape([n, 1, *(n if a == i else 1 for a in range(rank))])
    lines = np.broadcast_to(units, [n, 1, *shape])
    resized = probe(op, "Resize", lines, None, None, sizes, axes=list(range(2, 2 + rank)), **attributes)
    return np.moveaxis(resized, 2 + i, 1).reshape(n, resized.shape[2 + i], -1)[:, :, 0]
