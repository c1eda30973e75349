"""Does a rewritten graph still give the upload's scores? Measured, on random inputs.

The upload runs each example alone, so that rows that mix inside a batch show up as a difference.
"""

import numpy as np

from auditor import runtime
from auditor.graph.normalise import normalise
from auditor.graph.upload import Upload
from auditor.spec import Normalisation


def difference(
    upload: Upload,
    plain: bytes,
    *,
    batch: int,
    shape: tuple[int, ...],
    squash: str | None,
    normalisation: Normalisation | None,
) -> float:
    """The largest difference between scores, as a share of the range of each example's scores.

    plain: serialised ONNX, (batch, *shape) float32 -> (batch, classes) logits. squash: the operator that the upload
    has behind them. For a label-only upload: 1 where another class wins clearly, else 0. nan when the upload's
    scores are finite for no input.
    """
    x = probes(shape)
    session = runtime.Session(upload.data, optimise="none")
    scores = np.concatenate(
        [_alone(upload, session, normalise(row[None], normalisation, upload.layout)) for row in x]
    )
    logits = _batched(runtime.Session(plain, optimise="none"), x, batch)
    rows = np.isfinite(scores).all(axis=1)
    if not rows.any():
        return float("nan")
    scores, logits = scores[rows].astype(np.float64), logits[rows].astype(np.float64)
    if upload.scores == "label":
        return float((_margin(logits, scores.argmax(axis=1)) < -1e-3 * np.ptp(logits, axis=1)).any())
    spread = np.maximum(np.ptp(scores, axis=1), 1e-3 * np.abs(scores).max(axis=1) + 1e-30)
    return float((np.abs(squashed(logits, squash) - scores).max(axis=1) / spread).max())


def probes(shape: tuple[int, ...]) -> np.ndarray:
    """Random inputs on several scales, since the domain is not known here. -> (8, *shape) float32"""
    rng = np.random.default_rng(0)
    x = rng.random((8, *shape), np.float32)
    x[2:4] = np.round(x[2:4])  # corners of [0, 1]
    x[4:6] = 4 * x[4:6] - 2
    x[6:8] = np.round(255 * x[6:8])
    return x


def squashed(logits: np.ndarray, operator: str | None) -> np.ndarray:
    """What the operator makes of (n, classes) logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    if operator == "Softmax":
        return np.exp(shifted - log_sum)
    if operator == "LogSoftmax":
        return shifted - log_sum
    if operator == "Sigmoid":
        return 1 / (1 + np.exp(np.clip(-logits, -700, 700)))
    return logits


def _alone(upload: Upload, session: runtime.Session, x: np.ndarray) -> np.ndarray:
    """Class scores of one example, (1, *shape) -> (1, classes)."""
    copies = np.repeat(x, upload.fixed_batch or 1, axis=0).astype(upload.input_dtype)
    (raw,) = session.run({upload.input: copies}, [upload.output])
    return upload.class_scores(raw)[:1]


def _batched(session: runtime.Session, x: np.ndarray, batch: int) -> np.ndarray:
    (name,) = session.inputs
    filled = np.resize(x, (-(-len(x) // batch) * batch, *x.shape[1:]))
    parts = [session.run({name: part})[0] for part in np.split(filled, len(filled) // batch)]
    return np.concatenate(parts)[: len(x)]


def _margin(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z_y - max_k z_k, at most 0."""
    return np.take_along_axis(logits, y[:, None], axis=1)[:, 0] - logits.max(axis=1)
