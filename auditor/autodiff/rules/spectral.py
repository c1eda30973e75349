"""Fourier transforms: linear maps whose matrices are probed from ONNX Runtime's own operators."""

from math import prod

import numpy as np

from auditor.autodiff.rules import vjp
from auditor.autodiff.rules.linear import probe
from auditor.errors import NoGradient
from auditor.graph.build import constant_of, shape_of

MOST_ENTRIES = 2**26  # of a matrix: a transform of about 4,000 real numbers


def _within_limits(operator, y, entries):
    if entries > MOST_ENTRIES:
        raise NoGradient(
            operator, y.producer().name or "", "the transform is too long for the matrix of its gradient"
        )


@vjp("DFT")
def dft(op, g, y, x, length=None, axis=None, *, inverse=0, onesided=0):
    """Along one axis, with the last axis for real and imaginary parts."""
    along = -2 if axis is None else constant_of(axis)
    if along is None:
        raise NoGradient("DFT", y.producer().name or "", "its axis is not constant")
    shape, out = shape_of(x), shape_of(y)
    along = int(np.asarray(along).item()) % len(shape)
    n, parts, m, given = shape[along], shape[-1], out[along], out[-1]
    _within_limits("DFT", y, n * parts * m * given)
    units = np.eye(n * parts).reshape(n * parts, n, parts)
    size = None if length is None else constant_of(length)
    matrix = probe(op, "DFT", units, size, np.asarray(1), inverse=inverse, onesided=onesided)
    order = [i for i in range(len(shape) - 1) if i != along] + [along, len(shape) - 1]
    others = [shape[i] for i in order[:-2]]
    rows = op.Reshape(op.Transpose(g, perm=order), op.ints([prod(others), m * given]))
    found = op.MatMul(rows, op.const(matrix.reshape(n * parts, m * given).T, like=g))
    found = op.Reshape(found, op.ints([*others, n, parts]))
    return op.Transpose(found, perm=[int(i) for i in np.argsort(order)])


@vjp("STFT")
def stft(op, g, y, x, step, window=None, length=None, *, onesided=1):
    """Of each frame by its matrix; the frames are added up where they overlap, by a ConvTranspose."""
    given = [
        np.asarray(constant_of(v)) for v in (step, window, length) if v is not None and constant_of(v) is not None
    ]
    if len(given) != 1 + (window is not None) + (length is not None):
        raise NoGradient("STFT", y.producer().name or "", "its window or step is not constant")
    batch, samples, *rest = shape_of(x)
    if rest not in ([], [1]):
        raise NoGradient("STFT", y.producer().name or "", "a complex signal has no rule")
    _, frames, bins, parts = shape_of(y)
    n = int(given[-1].item()) if length is not None else len(given[1])
    hop = int(given[0].item())
    _within_limits("STFT", y, n * bins * parts)
    shape = None if window is None else given[1].astype(np.float32)
    units = np.eye(n)[:, :, None]
    matrix = probe(op, "STFT", units, given[0], shape, np.asarray(n), onesided=onesided).reshape(n, bins * parts)
    rows = op.Reshape(g, op.ints([batch * frames, bins * parts]))
    pieces = op.Reshape(op.MatMul(rows, op.const(matrix.T, like=g)), op.ints([batch, frames, n]))
    kernel = op.const(np.eye(n)[:, None, :], like=g)
    joined = op.ConvTranspose(op.Transpose(pieces, perm=[0, 2, 1]), kernel, strides=[hop])
    missing = samples - ((frames - 1) * hop + n)
    return op.Reshape(op.Pad(joined, op.ints([0, 0, 0, 0, 0, missing])), op.ints(shape_of(x)))
