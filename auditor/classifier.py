"""What an attack may call.

`Classifier` is the protocol that attacks are written against: class scores, and the gradient of a loss. An attack
sees no session, no database and no clock. `active` picks the rows that are evaluated; the classifier packs them
into full batches of the plan's one batch shape and counts what each example cost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from auditor import runtime
from auditor.autodiff import compile as compiler
from auditor.autodiff.losses import available
from auditor.autodiff.rules import Policy
from auditor.graph.file import read_file
from auditor.graph.plain import ClassifierGraph, make_plain
from auditor.graph.readout import middle
from auditor.graph.upload import read_upload
from auditor.spec import Loss, Normalisation

Array = Any  # numpy.ndarray on the CPU, cupy.ndarray on CUDA: arrays of the array-API standard


@dataclass(frozen=True)
class Evaluation:
    """One forward and backward pass. Rows outside `active` hold zeros."""

    logits: Array  # (n, classes) float32
    loss: Array  # (n,) float32
    g: Array  # (n, *shape) float32, d loss / d x


class Classifier(Protocol):
    """A model at one batch shape on one device."""

    xp: Any  # the array namespace: numpy or cupy, through array-api-compat
    shape: tuple[int, ...]  # of one example
    classes: int
    domain: tuple[float, float] | None  # the box inputs live in, in the model's input units

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """x: (n, *shape) float32 -> (n, classes) float32. One forward per active row."""
        ...

    def gradient(
        self,
        x: Array,
        y: Array,
        loss: Loss | Array,
        *,
        target: Array | None = None,
        active: Array | None = None,
    ) -> Evaluation:
        """x: (n, *shape) float32, y: (n,) int64, loss: one Loss or (n,) int64, target: (n,) int64 for the targeted
        losses, active: (n,) bool. One forward and one backward per active row."""
        ...


@dataclass(frozen=True)
class Layer:
    """A layer inside a model. width: how many features it has.

    at: called with x (n, *shape) float32, a direction (n, width) float32 or None, and `active` (n,) bool. Gives the
    features at x, (n, width), and the gradient of their product with the direction, (n, *shape), zeros without one; rows
    outside `active` hold zeros. One forward and one backward per active row.
    """

    width: int
    at: Callable[[Array, Array | None, Array], tuple[Array, Array]]


class OnnxClassifier:
    """A plain graph in ONNX Runtime at one batch shape, with buffers that every pass reuses.

    Rows are packed into full batches and the last one is padded with copies of its last row. At one batch shape
    neither position nor neighbours change a bit of a row's result (measured on the CPU provider; a test holds it).
    policy: which surrogates stand in for true slopes in the gradient, see `auditor.autodiff.rules`. Raises NoGradient at the first gradient when a node on the path has no rule; scores work all the same.
    """

    def __init__(
        self,
        graph: ClassifierGraph,
        *,
        domain: tuple[float, float] | None,
        device: runtime.Device = "cpu",
        threads: int = 1,
        policy: Policy = "true",
    ) -> None:
        self.xp = runtime.array_namespace(device)
        self.graph, self.domain, self.device, self.threads = graph, domain, device, threads
        self.policy = policy
        self.shape, self.classes, self.batch = graph.shape, graph.classes, graph.batch
        self._computed = self.xp.asarray(
            [available(graph.reading.classes(graph.classes))[loss] for loss in Loss], dtype=np.int64
        )
        self._x = self.xp.zeros((self.batch, *self.shape), dtype=np.float32)
        self._logits = self.xp.zeros((self.batch, self.classes), dtype=np.float32)

    @cached_property
    def _forward(self) -> runtime.Bound:
        session = self._session(compiler.forward_model(self.graph))
        return session.bind({self.graph.x.name: self._x}, {self.graph.logits.name: self._logits})

    @cached_property
    def _backward(self) -> runtime.Bound:
        model = compiler.gradient_model(self.graph, device=self.device, policy=self.policy)
        session = self._session(model)
        choices = {
            name: self.xp.zeros((self.batch,), dtype=np.int64)
            for name in (compiler.LABEL, compiler.TARGET, compiler.CHOICE)
        }
        results = {
            self.graph.logits.name: self._logits,
            compiler.LOSS: self.xp.zeros((self.batch,), dtype=np.float32),
            compiler.GRADIENT: self.xp.zeros((self.batch, *self.shape), dtype=np.float32),
        }
        # ONNX Runtime leaves an input that no chosen head reads out of the session.
        used = {name: array for name, array in choices.items() if name in session.inputs}
        return session.bind({self.graph.x.name: self._x} | used, results)

    @cached_property
    def _middle(self) -> ClassifierGraph:
        return middle(self.graph)

    @cached_property
    def _pulled(self) -> runtime.Bound:
        model = compiler.pull_model(self._middle, device=self.device, policy=self.policy)
        session = self._session(model)
        values, along = (self.xp.zeros((self.batch, self._middle.classes), dtype=np.float32) for _ in range(2))
        g = self.xp.zeros((self.batch, *self.shape), dtype=np.float32)
        given = {self.graph.x.name: self._x, compiler.ALONG: along}
        return session.bind(given, {self._middle.logits.name: values, compiler.GRADIENT: g})

    def _session(self, model: bytes) -> runtime.Session:
        return runtime.Session(model, device=self.device, threads=self.threads, without=runtime.UNSUITED)

    @property
    def layer(self) -> Layer:
        """A layer in the middle of the model, see `graph.readout.middle`. Raises NoGradient when it is asked and a node
        before it has no rule."""
        return Layer(self._middle.classes, self._at_layer)

    def _at_layer(self, x: Array, along: Array | None, active: Array) -> tuple[Array, Array]:
        bound, xp, n = self._pulled, self.xp, x.shape[0]
        direction, features = bound.inputs[compiler.ALONG], bound.outputs[self._middle.logits.name]
        values, g = xp.zeros((n, self._middle.classes), dtype=np.float32), xp.zeros_like(x)
        direction[...] = 0
        for rows in self._batches(n, active):
            self._fill(self._x, x, rows)
            if along is not None:
                self._fill(direction, along, rows)
            bound.run()
            values[rows] = features[: len(rows)]
            g[rows] = bound.outputs[compiler.GRADIENT][: len(rows)]
        return values, g

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """See Classifier.logits."""
        scores = self.xp.zeros((x.shape[0], self.classes), dtype=np.float32)
        for rows in self._batches(x.shape[0], active):
            self._fill(self._x, x, rows)
            self._forward.run()
            scores[rows] = self._logits[: len(rows)]
        return scores

    def gradient(
        self,
        x: Array,
        y: Array,
        loss: Loss | Array,
        *,
        target: Array | None = None,
        active: Array | None = None,
    ) -> Evaluation:
        """See Classifier.gradient."""
        xp, n = self.xp, x.shape[0]
        chosen = self._computed[xp.broadcast_to(xp.asarray(loss), (n,))]
        per_row = {compiler.LABEL: y, compiler.TARGET: y if target is None else target, compiler.CHOICE: chosen}
        result = Evaluation(
            logits=xp.zeros((n, self.classes), dtype=np.float32),
            loss=xp.zeros((n,), dtype=np.float32),
            g=xp.zeros((n, *self.shape), dtype=np.float32),
        )
        bound = self._backward
        for rows in self._batches(n, active):
            self._fill(self._x, x, rows)
            for name, values in per_row.items():
                if name in bound.inputs:
                    self._fill(bound.inputs[name], values, rows)
            bound.run()
            used = len(rows)
            result.logits[rows] = self._logits[:used]
            result.loss[rows] = bound.outputs[compiler.LOSS][:used]
            result.g[rows] = bound.outputs[compiler.GRADIENT][:used]
        return result

    def _batches(self, n: int, active: Array | None) -> list[Array]:
        rows = self.xp.arange(n) if active is None else self.xp.nonzero(active)[0]
        return [rows[start : start + self.batch] for start in range(0, rows.shape[0], self.batch)]

    def _fill(self, buffer: Array, values: Array, rows: Array) -> None:
        buffer[: len(rows)] = values[rows]
        if len(rows) < self.batch:
            buffer[len(rows) :] = values[rows[-1]]


def load_classifier(
    model: str | Path | bytes,
    *,
    domain: tuple[float, float] | None,
    batch: int = 32,
    shape: tuple[int, ...] | None = None,
    normalisation: Normalisation | None = None,
    device: runtime.Device = "cpu",
    threads: int | None = None,
    policy: Policy = "true",
) -> OnnxClassifier:
    """An ONNX file, by its path or its bytes, as a classifier that attacks can call.

    domain: the box that inputs live in, None for no limits. batch: rows per pass. shape: of one example, needed where
    the file leaves axes open. normalisation: applied between the domain and the file. threads: all processors unless
    given. policy: "straight-through" puts surrogates in the place of slopes that rounding and thresholds do not have,
    "unsaturated" also of those that sigmoids lose. Raises ModelError for a file that cannot be attacked, DeviceError for a device that is not there.
    """
    upload = read_upload(model if isinstance(model, bytes) else read_file(Path(model)))
    graph = make_plain(upload, batch=batch, shape=shape, normalisation=normalisation)
    return OnnxClassifier(graph, domain=domain, device=device, threads=threads or runtime.processors(), policy=policy)


class Counted:
    """A classifier that counts what each of n examples cost; every call must be about those n rows."""

    def __init__(self, classifier: Classifier, n: int) -> None:
        self._classifier = classifier
        self.xp, self.shape, self.classes = classifier.xp, classifier.shape, classifier.classes
        self.domain = classifier.domain
        self.forwards = self.xp.zeros((n,), dtype=np.int64)
        self.backwards = self.xp.zeros((n,), dtype=np.int64)

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        self.forwards += 1 if active is None else active
        return self._classifier.logits(x, active=active)

    def counting(self, layer: Layer) -> Layer:
        """A layer of the classifier whose passes count as the classifier's."""

        def at(x: Array, along: Array | None, active: Array) -> tuple[Array, Array]:
            self.forwards += active
            self.backwards += active
            return layer.at(x, along, active)

        return Layer(layer.width, at)

    def gradient(
        self,
        x: Array,
        y: Array,
        loss: Loss | Array,
        *,
        target: Array | None = None,
        active: Array | None = None,
    ) -> Evaluation:
        self.forwards += 1 if active is None else active
        self.backwards += 1 if active is None else active
        return self._classifier.gradient(x, y, loss, target=target, active=active)
