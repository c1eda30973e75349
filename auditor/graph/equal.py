"""Does a rewritten graph still give the upload's scores? Measured, on random inputs.

The upload runs each example alone, so that rows that mix inside a batch show up as a difference. Random numbers inside
the model are held at their mean in both.
"""

from collections.abc import Callable, Sequence

import numpy as np

from auditor import runtime
from auditor.graph.normalise import normalise
from auditor.graph.randomness import stilled
from auditor.graph.upload import Upload
from auditor.spec import Normalisation


def differences(
    upload: Upload,
    plain: bytes,
    *,
    batch: int,
    shape: tuple[int, ...],
    squash: Sequence[str],
    normalisation: Normalisation | None,
) -> np.ndarray:
    """The largest difference between scores at each probe, as a share of the range of its scores; nan where these are
    not finite.

    plain: serialised ONNX, (batch, *shape) float32 -> (batch, classes) logits. squash: the operators that the upload
    has behind them. For a label-only upload: 1 where another class wins clearly, else 0.
    """
    x = probes(shape, upload.levels)
    session = runtime.Session(stilled(upload.data), optimise="none")
    scores = np.concatenate([upload.run(session, normalise(row[None], normalisation, upload.layout)) for row in x])
    logits = _batched(runtime.Session(stilled(plain), optimise="none"), x, batch)
    scores, logits = scores.astype(np.float64), logits.astype(np.float64)
    found = _of_classes(upload, scores[:, : upload.classes], logits[:, : upload.classes], squash)
    return found if upload.detector is None else np.maximum(found, _of_rejection(scores, logits))


def _of_classes(upload: Upload, scores: np.ndarray, logits: np.ndarray, squash: Sequence[str]) -> np.ndarray:
    """`differences` of the classes' own scores."""
    if upload.scores == "label":
        return (_margin(logits, scores.argmax(axis=1)) < -1e-3 * np.ptp(logits, axis=1)).astype(np.float64)
    if upload.multilabel:
        return _of_labels(upload.threshold or 0.0, scores, logits, squash)
    spread = np.maximum(np.ptp(scores, axis=1), 1e-2 * np.abs(scores).max(axis=1) + 1e-30)
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.abs(squashed(logits, squash) - scores).max(axis=1) / spread
    return np.where(np.isfinite(scores).all(axis=1), np.nan_to_num(found, nan=np.inf), np.nan)


def _of_labels(threshold: float, scores: np.ndarray, logits: np.ndarray, squash: Sequence[str]) -> np.ndarray:
    """`differences` of scores about several labels, which have lost the threshold, the logits what stands for it."""
    inside = np.log(threshold / (1 - threshold)) if squash else threshold
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.abs(squashed(logits + inside, squash) - threshold - scores).max(axis=1)
    spread = np.maximum(
        np.ptp(np.pad(scores, ((0, 0), (1, 0))), axis=1), 1e-2 * np.abs(scores + threshold).max(axis=1)
    )
    found = found / (spread + 1e-30)
    return np.where(np.isfinite(scores).all(axis=1), np.nan_to_num(found, nan=np.inf), np.nan)


def _of_rejection(scores: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """1 where one of the two rejects by more than rounding and the other does not, else 0. How far above its threshold a
    detector is need not agree: the graph may leave a Sigmoid out."""
    above = [rows[:, -1] - rows[:, :-1].max(axis=1) for rows in (scores, logits)]
    unclear = [1e-3 * np.abs(rows).max(axis=1) for rows in (scores, logits)]
    clear = np.logical_or(*(np.abs(gap) > doubt for gap, doubt in zip(above, unclear, strict=True)))
    return (clear & ((above[0] > 0) != (above[1] > 0))).astype(np.float64)


def rows_mix(plain: bytes, *, batch: int, shape: tuple[int, ...]) -> bool:
    """Whether an example's scores depend on its neighbours, as dynamic quantisation makes them: by a single bit, where no
    tolerance could tell. plain: see `differences`."""
    if batch == 1:
        return False
    session = runtime.Session(stilled(plain), optimise="none")
    (name,) = session.inputs
    rows = probes(shape)
    (among,), (copied,) = (session.run({name: np.resize(x, (batch, *shape))}) for x in (rows, rows[:1]))
    return not np.array_equal(among[0], copied[0], equal_nan=True)


def probes(shape: tuple[int, ...], levels: tuple[int, int] | None = None) -> np.ndarray:
    """Random inputs on several scales, since the domain is not known here; whole numbers between the levels where these are
    given. -> (4, *shape) float32"""
    rng = np.random.default_rng(0)
    x = rng.random((4, *shape), np.float32)
    if levels is not None:
        low, high = levels
        x[1] = np.round(x[1])  # corners
        x[2] = 0.4 + 0.1 * x[2]
        return np.round(low + (high - low) * x)
    x[1] = np.round(x[1])  # corners of [0, 1]
    x[2] = 4 * x[2] - 2
    x[3] = np.round(255 * x[3])
    return x


def squashed(logits: np.ndarray, operators: Sequence[str]) -> np.ndarray:
    """What the operators, one after the other, make of (n, classes) logits."""
    for operator in operators:
        logits = _SQUASH[operator](logits)
    return logits


def _log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


_SQUASH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "LogSoftmax": _log_softmax,
    "Softmax": lambda z: np.exp(_log_softmax(z)),
    "Sigmoid": lambda z: 1 / (1 + np.exp(np.clip(-z, -700, 700))),
    "Normalizer": lambda p: p / np.abs(p).sum(axis=1, keepdims=True),
}


def _batched(session: runtime.Session, x: np.ndarray, batch: int) -> np.ndarray:
    (name,) = session.inputs
    filled = np.resize(x, (-(-len(x) // batch) * batch, *x.shape[1:]))
    parts = [session.run({name: part})[0] for part in np.split(filled, len(filled) // batch)]
    return np.concatenate(parts)[: len(x)]


def _margin(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z_y - max_k z_k, at most 0."""
    return np.take_along_axis(logits, y[:, None], axis=1)[:, 0] - logits.max(axis=1)
