"""What a system does at random to an input before the model sees it: noise, other light, a shift, another size.

Each is drawn anew for every example at every pass, and is affine in the input, so that a gradient comes back through the
exact adjoint of what was drawn (expectation over transformation: Athalye, Engstrom, Ilyas & Kwok 2018, "Synthesizing
robust adversarial examples"). What leaves the domain is not cut off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.attacks.random import Random
from auditor.attacks.transfer.warp import grid, scaled
from auditor.classifier import Array, Classifier, Evaluation, Layer
from auditor.data.domain import Box
from auditor.data.layout import channel_axis
from auditor.errors import DatasetError, SpecError
from auditor.spec import Layout, Loss, Transformation

_MOVING = ("shift", "resize")  # they need images


@dataclass(frozen=True)
class Drawn:
    """One draw for each of n examples. apply: (n, *shape) -> the same shape; pull: the adjoint of its linear part,
    <apply(x) - apply(0), g> = <x, pull(g)>."""

    apply: Callable[[Array], Array]
    pull: Callable[[Array], Array]


@dataclass(frozen=True)
class Served:
    """The transformations in the order in which they are done, in a system whose inputs live in `domain`.

    axis: of the channels in an example's shape, where transformations move pixels. What is moved in from outside an image
    is black, the lower end of the domain, or 0 where there is none.
    """

    transformations: tuple[Transformation, ...] = ()
    domain: Box | None = None
    axis: int | None = None

    @classmethod
    def of(
        cls,
        transformations: tuple[Transformation, ...],
        shape: tuple[int, ...],
        layout: Layout | None,
        domain: Box | None,
    ) -> "Served":
        """Raises SpecError where examples of this shape are no images and something would have to be moved in them."""
        moving = [t for t in transformations if t.kind in _MOVING]
        if not moving:
            return cls(transformations, domain)
        if len(shape) != 3:
            raise SpecError(f"--eot {moving[0]} moves pixels, and an example of shape {shape} has none")
        try:
            return cls(transformations, domain, channel_axis(shape, layout))
        except DatasetError as error:
            raise SpecError(f"--eot {moving[0]}: {error}") from error

    def __bool__(self) -> bool:
        return bool(self.transformations)

    def drawn(self, rng: Random, step: int | Array, shape: tuple[int, ...]) -> Drawn:
        """What is done to each of the stream's examples, of `shape`, at its draw number `step`, one for all or (n,)."""
        chain = [
            self._one(transformation, rng.split(f"transformation {place}"), step, shape)
            for place, transformation in enumerate(self.transformations)
        ]

        def apply(x: Array) -> Array:
            for one in chain:
                x = one.apply(x)
            return x

        def pull(g: Array) -> Array:
            for one in reversed(chain):
                g = one.pull(g)
            return g

        return Drawn(apply, pull)

    def before(self, classifier: Classifier, rng: Random) -> Classifier:
        """The classifier behind the transformations, itself where there are none. rng: of the n rows that every call is
        about."""
        return Transformed(classifier, self, rng) if self else classifier

    def _one(self, transformation: Transformation, rng: Random, step: int | Array, shape: tuple[int, ...]) -> Drawn:
        xp, numbers = rng.xp, transformation.numbers
        width = 1.0 if self.domain is None else self.domain[1] - self.domain[0]
        if transformation.kind == "noise":
            return _added(rng.normal(step, shape) * xp.float32(numbers[0] * width))
        if transformation.kind == "brightness":
            change = (2 * rng.uniform(step, (1,) * len(shape)) - 1) * xp.float32(numbers[0] * width)
            return _added(change)
        height, wide = (side for axis, side in enumerate(shape) if axis != self.axis)
        if transformation.kind == "shift":
            most = int(numbers[0])
            by = xp.astype(rng.integers(step, 2) % (2 * most + 1), xp.int64) - most
            return self._of_planes(xp, lambda planes: _moved(xp, planes, by), lambda planes: _moved(xp, planes, -by))
        draws = rng.uniform(step, (3,))
        least, most_share = numbers
        share = (least + (most_share - least) * draws[:, 0]).astype(xp.float32)
        warp = scaled(xp, share, draws[:, 1:], height, wide)
        return self._of_planes(xp, warp.apply, warp.pull)

    def _of_planes(self, xp: Any, apply: Callable[[Array], Array], pull: Callable[[Array], Array]) -> Drawn:
        """The same of examples: channels first for what moves pixels, and black at 0."""
        black = xp.float32(0 if self.domain is None else self.domain[0])
        there, back = ((0, 1, 2, 3), (0, 1, 2, 3)) if self.axis == 0 else ((0, 3, 1, 2), (0, 2, 3, 1))

        def planes(x: Array) -> Array:
            return xp.permute_dims(x, there)

        def examples(x: Array) -> Array:
            return xp.permute_dims(x, back)

        return Drawn(lambda x: examples(apply(planes(x - black))) + black, lambda g: examples(pull(planes(g))))


def _added(change: Array) -> Drawn:
    return Drawn(lambda x: x + change, lambda g: g)


def _moved(xp: Any, planes: Array, by: Array) -> Array:
    """Whole pixels down and to the right, (n, 2) int64, zeros from outside. planes: (n, channels, h, w)"""
    _, _, h, w = planes.shape
    rows, columns = (axis.astype(xp.int64) for axis in grid(xp, h, w))
    i, j = rows - by[:, 0, None, None], columns - by[:, 1, None, None]
    inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
    flat = planes.reshape((*planes.shape[:2], -1))
    at = xp.where(inside, i * w + j, 0).reshape((planes.shape[0], 1, h * w))
    taken = xp.take_along_axis(flat, xp.broadcast_to(at, flat.shape), axis=2).reshape(planes.shape)
    return xp.where(inside[:, None], taken, xp.float32(0))


class Transformed:
    """A classifier as it answers behind the transformations; each call draws anew for the rows that it is about, by how many
    came before for each, whatever its neighbours are asked. Every call must be about the rng's n rows."""

    def __init__(self, classifier: Classifier, served: Served, rng: Random) -> None:
        self._classifier, self._served, self._rng = classifier, served, rng
        self.xp, self.shape, self.classes = classifier.xp, classifier.shape, classifier.classes
        self.domain = classifier.domain
        self._calls = self.xp.zeros((rng.examples.shape[0],), dtype=np.int64)

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """See Classifier.logits."""
        rows, drawn = self._next(active)
        return self._classifier.logits(self._put(x, rows, drawn.apply), active=active)

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        """See Classifier.gradient."""
        rows, drawn = self._next(active)
        moved = self._put(x, rows, drawn.apply)
        found = self._classifier.gradient(moved, y, loss, target=target, active=active)
        return Evaluation(found.logits, found.loss, self._put(found.g, rows, drawn.pull))

    def layer(self, layer: Layer) -> Layer:
        """A layer of the classifier as it answers behind the transformations."""

        def at(x: Array, along: Array | None, active: Array) -> tuple[Array, Array]:
            rows, drawn = self._next(active)
            features, g = layer.at(self._put(x, rows, drawn.apply), along, active)
            return features, self._put(g, rows, drawn.pull)

        return Layer(layer.width, at)

    def _next(self, active: Array | None) -> tuple[Array, Drawn]:
        """The rows that are asked for, and what is done to them."""
        xp, n = self.xp, self._rng.examples.shape[0]
        rows = xp.arange(n) if active is None else xp.nonzero(active)[0]
        self._calls[rows] += 1
        return rows, self._served.drawn(self._rng.of(rows), self._calls[rows], self.shape)

    def _put(self, values: Array, rows: Array, change: Callable[[Array], Array]) -> Array:
        changed = values.copy()
        changed[rows] = change(values[rows])
        return changed
