"""The cascade: stages in order on a slice of examples, keeping each example's smallest counted distance per norm.

A minimal-norm stage looks for a point nearer than the best known one. A fixed-budget stage attacks each example at
its critical eps, the largest of the grid below its smallest counted distance: only there can a point of the curve
still change. Where it succeeds it goes on to the next critical eps, where it fails it is done with that example. So
one pass gives the whole curve. What any stage finds is scored under every norm of the audit.

Everything here is a function of values; a stage can be repeated, and gives the same bits.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from auditor import runtime
from auditor.attacks.attempt import Attempt
from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.expectation import Averaged
from auditor.attacks.grid import Grid
from auditor.attacks.norms import per_row
from auditor.attacks.progress import Examples, Progress, StageRow
from auditor.attacks.random import Random
from auditor.attacks.shown import shown
from auditor.attacks.space import Space, View
from auditor.attacks.stage import Stage
from auditor.attacks.targeted import Targeted
from auditor.attacks.transfer import Crossing, Surrogate
from auditor.attacks.transformations import Served, Transformed
from auditor.attacks.trees import Forest, Proof
from auditor.attacks.verify import Judge
from auditor.classifier import Array, Classifier, Counted, Layer
from auditor.data.domain import bounds

FARTHER = (1.05, 1.1, 1.2, 1.4, 1.7)  # times a refuted point's distance, see `_StageRun._farther`


def run_stage(
    stage: Stage,
    examples: Examples,
    progress: Progress,
    *,
    classifier: Classifier,
    verifier: Judge,
    grid: Grid,
    space: Space,
    seed: int,
    passes: int | None = None,
    surrogate: Surrogate | None = None,
    served: Served | None = None,
    forest: Forest | None = None,
) -> Progress:
    """Attack a slice with one stage. `passes`: an example that has cost as many or more is skipped, and marked so;
    `surrogate`: what a transfer attack follows; `space`: which inputs there are; `served`: what is done to them before the
    model; `forest`: the classifier as a sum of trees, for attacks that know it. Where a proof settles what a stage
    could change, it is not tried."""
    entry = CATALOGUE[stage.attack]
    spent = progress.forwards + progress.backwards
    in_budget = np.ones_like(examples.right) if passes is None else spent < passes
    known = progress.best[stage.norm]
    settled = known.exact(stage.norm) if entry.budget == "minimal" else grid.proved(known.distance, known.radius)
    can_change = examples.right & grid.open(known.distance) & ~settled
    run = _StageRun(
        stage, examples, progress, classifier, verifier, space, seed, surrogate, served or Served(), forest
    )
    active = can_change & in_budget
    if entry.budget == "minimal":
        run.minimal(active)
    elif stage.each_eps:
        run.fixed_at_each(active, grid)
    else:
        run.fixed(active, grid)
    return run.result(tried=active, skipped=can_change & ~in_budget)


class _StageRun:
    """The state of one stage on one slice."""

    def __init__(
        self,
        stage: Stage,
        examples: Examples,
        progress: Progress,
        classifier: Classifier,
        verifier: Judge,
        space: Space,
        seed: int,
        surrogate: Surrogate | None,
        served: Served,
        forest: Forest | None,
    ) -> None:
        self.stage, self.examples, self.before = stage, examples, progress
        self.verifier, self.space = verifier, space
        self.best = {norm: best.copy() for norm, best in progress.best.items()}
        self.xp = classifier.xp
        x, y = self.xp.asarray(examples.x), self.xp.asarray(examples.y)
        self.rng = Random.keyed(self.xp, seed, f"{stage.norm}/{stage.name}", examples.index)
        behind = served.before(classifier, self.rng.split("served"))
        knows_trees = stage.access == "structure"
        self.view = View(behind, x) if knows_trees else space.view(behind, x)
        self.classifier = Counted(self.view.classifier, len(examples.index))
        seen, self.y = shown(self.classifier, y, examples.reading)
        self.seen = self._aimed(self._averaged(seen))
        self.claims = self.refuted = 0
        self.surrogate: Counted | None = None
        self.given: dict[str, Any] = dict(stage.parameters)
        if CATALOGUE[stage.attack].views:
            self.given["view"] = self.view
        self.crossings = np.zeros((0, 4), dtype=np.int64)
        if knows_trees:
            assert forest is not None, f"{stage.attack} needs a model that is a sum of trees"
            target = None if examples.target is None else self.xp.asarray(examples.target)
            self.given |= {"forest": forest, "target": target}
        if stage.access == "transfer":
            assert surrogate is not None, f"{stage.attack} needs a surrogate"
            self.given |= self._followed(surrogate, x, y, served)

    def _followed(self, surrogate: Surrogate, x: Array, y: Array, served: Served) -> dict[str, Any]:
        """What a transfer attack is given: the surrogate behind the same transformations, in the mean over what is drawn of
        them."""
        behind = served.before(surrogate.classifier, self.rng.split("served surrogate"))
        counted = self.surrogate = Counted(self.space.view(behind, x).classifier, len(self.examples.index))
        followed, _ = shown(counted, y, self.examples.reading)
        layer = surrogate.layer
        if isinstance(behind, Transformed):
            followed = averaged = self._mean(followed)
            layer = layer and averaged.layer(counted.counting(self._seen(behind.layer(layer))))
        elif layer is not None:
            layer = counted.counting(self._seen(layer))
        return {"surrogate": self._aimed(followed), "pool": surrogate.pool, "layer": layer}

    def _seen(self, layer: Layer) -> Layer:
        """A layer at the inputs that points stand for."""
        return Layer(layer.width, lambda x, along, active: layer.at(self.view.input(x), along, active))

    def _averaged(self, classifier: Classifier) -> Classifier:
        """The classifier in the mean over what is drawn, where something is."""
        return classifier if self.stage.draws == 1 else self._mean(classifier)

    def _mean(self, classifier: Classifier) -> Averaged:
        target = None if self.examples.target is None else self.xp.asarray(self.examples.target)
        return Averaged(classifier, self.stage.draws, self.y, target)

    def _aimed(self, classifier: Classifier) -> Classifier:
        target = self.examples.target
        return classifier if target is None else Targeted(classifier, self.y, self.xp.asarray(target))

    def minimal(self, active: np.ndarray) -> None:
        if active.any():
            ceiling = self.space.ceiling(self.best[self.stage.norm].distance, self.stage.norm)
            attempt = self._attack(active, self.rng, ceiling=self.xp.asarray(ceiling), **self._start())
            self._accept(attempt, active)
            if isinstance(attempt, Proof):
                best = self.best[self.stage.norm]
                radius = self.space.measured(attempt.radius, self.stage.norm)
                np.maximum(best.radius, np.where(active, radius, 0.0), out=best.radius)

    def fixed(self, active: np.ndarray, grid: Grid) -> None:
        """At the critical eps, and where that succeeds at the next one."""
        distance = self.best[self.stage.norm].distance
        position = grid.critical(distance)
        for level in range(len(grid.eps)):
            self._within(active, grid, position, self.rng.split(f"level {level}"))
            before, position = position, grid.critical(distance)
            active = active & (position < before) & grid.open(distance)

    def fixed_at_each(self, active: np.ndarray, grid: Grid) -> None:
        """At every eps. Random numbers are keyed by its value, so that it may stand in any grid."""
        distance = self.best[self.stage.norm].distance
        for level, eps in enumerate(grid.eps):
            position = np.full(len(active), level)
            standing = active & (grid.critical(distance) >= level) & (grid.units(position) > 0)
            self._within(standing, grid, position, self.rng.split(f"eps {eps}"))

    def _within(self, active: np.ndarray, grid: Grid, position: np.ndarray, rng: Random) -> None:
        """One attack, each active row at the eps of its own position (n,) in the grid."""
        if not active.any():
            return
        attempt = self._attack(active, rng, eps=self.xp.asarray(grid.units(position)), **self._start())
        broken = grid.critical(self._accept(attempt, active)) < position
        if isinstance(attempt, Crossing):
            if not len(self.crossings):
                self.crossings = np.zeros((len(grid.eps), 4), dtype=np.int64)
            fooled = runtime.to_host(attempt.fooled)
            counts = np.stack([active, fooled, broken, fooled & broken], 1)
            np.add.at(self.crossings, position[active], counts[active])

    def _start(self) -> dict[str, Any]:
        """An example without a known point has x itself here, and starts as the attack usually does."""
        best = self.best[self.stage.norm]
        begin = best.x_adv
        if self.examples.start is not None and self.stage.access == "decision":
            known = np.isfinite(best.distance) & self.stage.warm
            begin = np.where(per_row(known, begin), begin, self.examples.start)
        elif not self.stage.warm:
            return {}
        return {"start": self.view.coordinates(self.xp.asarray(begin))}

    def _attack(self, active: np.ndarray, rng: Random, **budget: Any) -> Attempt:
        return CATALOGUE[self.stage.attack].function(
            self.seen,
            self.view.x,
            self.y,
            norm=self.stage.norm,
            rng=rng,
            active=self.xp.asarray(active),
            **budget,
            **self.given,
        )

    def _accept(self, attempt: Attempt, active: np.ndarray) -> np.ndarray:
        """Re-check what was claimed and keep what is nearer than the best known, under every norm. Gives the distance
        in the stage's norm at which each row's claim counts, inf where none does. (n,) float64"""
        found = runtime.to_host(attempt.found) & active
        counted = np.full(len(found), np.inf)
        if not found.any():
            return counted
        rows = np.flatnonzero(found)
        self.claims += len(rows)
        for points in self._points(attempt, found):
            for row in rows:
                counted[row] = self._keep(points[row], int(row))
            rows = rows[~np.isfinite(counted[rows])]
            if not len(rows):
                break
        self.refuted += len(rows)
        return counted

    def _points(self, attempt: Attempt, found: np.ndarray) -> Iterator[np.ndarray]:
        """What is claimed, as inputs: brought nearer first, then as it was, then farther out. (n, *shape) each

        A transfer attack has asked the upload all that it may."""
        claimed = self.view.input(attempt.x_adv)
        if self.stage.draws == 1 and self.stage.access != "transfer":
            rows, follow = self.xp.asarray(found), self.stage.access == "white-box"
            nearer = self.view.nearer(self.seen, claimed, self.y, self.stage.norm, rows, follow=follow)
            if nearer is not claimed:
                yield runtime.to_host(nearer)
        yield runtime.to_host(claimed)
        if self.stage.access != "transfer":
            yield from map(runtime.to_host, self._farther(attempt.x_adv))

    def _farther(self, points: Array) -> Iterator[Array]:
        """Points farther out on the same ray: where fresh draws refute what lucky ones showed, or the upload takes two scores
        for equal that are not so in the attacked graph."""
        xp, x = self.xp, self.view.x
        ends = bounds(self.seen.domain)
        for far in FARTHER:
            yield self.view.input(xp.clip(x + xp.float32(far) * (points - x), *ends))

    def _keep(self, x_adv: np.ndarray, row: int) -> float:
        """The distance at which one point counts, inf where it does not; it is kept under every norm in which it is the
        nearest."""
        x = self.examples.x[row : row + 1]
        if not self.space.admits(x, x_adv[None])[0]:
            return np.inf
        target = None if self.examples.target is None else int(self.examples.target[row])
        verdict = self.verifier.check(x_adv, int(self.examples.y[row]), target)
        if not verdict.counts:
            return np.inf
        measured = self.space.distances(x, x_adv[None])
        for norm, best in self.best.items():
            if measured[norm][0] < best.distance[row]:
                best.distance[row], best.x_adv[row] = measured[norm][0], x_adv
                best.attack[row], best.margin[row] = self.stage.name, verdict.margin
                best.predicted[row], best.confidence[row] = verdict.predicted, verdict.confidence
        return float(measured[self.stage.norm][0])

    def result(self, *, tried: np.ndarray, skipped: np.ndarray) -> Progress:
        forwards, backwards = (runtime.to_host(c) for c in (self.classifier.forwards, self.classifier.backwards))
        queries = 0
        if self.surrogate is not None:
            queries = int(forwards.sum())
            forwards = forwards + runtime.to_host(self.surrogate.forwards)
            backwards = backwards + runtime.to_host(self.surrogate.backwards)
        norm = self.stage.norm
        nearer = self.best[norm].distance < self.before.best[norm].distance
        row = StageRow(
            stage=self.stage.name,
            tried=int(tried.sum()),
            broken=int(nearer.sum()),
            claims=self.claims,
            refuted=self.refuted,
            forwards=int(forwards.sum()),
            backwards=int(backwards.sum()),
            queries=queries,
            crossings=self.crossings.tolist(),
        )
        return Progress(
            best=self.best,
            forwards=self.before.forwards + forwards,
            backwards=self.before.backwards + backwards,
            skipped={**self.before.skipped, norm: self.before.skipped[norm] | skipped},
            rows=(*self.before.rows, row),
        )
