"""Minimal-norm APGD again and again: towards every likely class, or from random starts while it pays."""

from collections.abc import Iterable
from typing import Any

from auditor.attacks.attempt import Attempt
from auditor.attacks.losses import runners_up
from auditor.attacks.minimal_apgd import minimal_apgd
from auditor.attacks.norms import distance, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm

PATIENCE = {"Linf": 5, "L2": 5, "L1": 10}  # of an ascent from a random start; those in L1 begin slowly


def minimal_apgd_targeted(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    norm: Norm,
    rng: Random,
    ceiling: Array,
    active: Array | None = None,
    targets: int = 9,
    steps: int = 60,
    patience: int = 10,
    shrink: float = 0.02,
    finest: float = 0.01,
    random_start: bool = False,
    loss: Loss = Loss.DIFFERENCE,
) -> Attempt:
    """Minimal-norm APGD towards each of the `targets` classes with the largest scores at x beside the label.

    Arguments and result as those of `minimal_apgd`. Each run has to beat what the ones before it found by a share of
    `shrink` soon, or it is given up: so most targets cost 2 * patience steps and not `steps`.
    """
    xp, n = classifier.xp, x.shape[0]
    active = xp.ones(n, dtype=bool) if active is None else active
    ranked = runners_up(xp, classifier.logits(x, active=active), y, min(targets, classifier.classes - 1))
    nearest = _NearestOf(xp, x, norm, ceiling)
    for place in range(ranked.shape[1]):
        nearest.take(
            minimal_apgd(
                classifier,
                x,
                y,
                norm=norm,
                rng=rng.split(f"target {place}"),
                ceiling=nearest.distance,
                active=active,
                steps=steps,
                patience=patience,
                shrink=shrink,
                finest=finest,
                random_start=random_start,
                loss=loss,
                target=ranked[:, place],
            )
        )
    return nearest.attempt()


def minimal_apgd_restarts(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    norm: Norm,
    rng: Random,
    ceiling: Array,
    active: Array | None = None,
    restarts: int = 8,
    gain: float = 0.01,
    misses: int = 2,
    losses: Iterable[Loss] = (Loss.CROSS_ENTROPY, Loss.MARGIN),
    steps: int = 100,
    far: float = 0.6,
) -> Attempt:
    """Minimal-norm APGD from random points far away, the losses taking turns.

    Arguments and result as those of `minimal_apgd`; far: 0 for random points nearby instead. An example goes on until
    `misses` restarts in a row have not brought it nearer by a share of `gain`: so a smooth model costs few, and one
    whose gradients mislead near x as many as it may.
    """
    xp, n = classifier.xp, x.shape[0]
    active = xp.ones(n, dtype=bool) if active is None else active
    nearest = _NearestOf(xp, x, norm, ceiling)
    turns, missed = list(losses), xp.zeros(n, dtype=xp.int64)
    for restart in range(restarts):
        if not xp.any(active):
            break
        before = nearest.distance
        nearest.take(
            minimal_apgd(
                classifier,
                x,
                y,
                norm=norm,
                rng=rng.split(f"restart {restart}"),
                ceiling=before,
                active=active,
                steps=steps,
                patience=PATIENCE[norm],
                random_start=True,
                fresh=True,
                far=far,
                loss=turns[restart % len(turns)],
            )
        )
        nearer = nearest.found & (nearest.distance < (1 - gain) * before)
        missed = xp.where(nearer, 0, missed + 1)
        active = active & (missed < misses)
    return nearest.attempt()


class _NearestOf:
    """The nearest point of several attempts, each of which was given the distance so far as its ceiling."""

    def __init__(self, xp: Any, x: Array, norm: Norm, ceiling: Array) -> None:
        self.xp, self.x, self.norm = xp, x, norm
        self.distance = xp.asarray(ceiling, dtype=xp.float64)
        self.x_adv = x
        self.found = xp.zeros(x.shape[0], dtype=bool)
        self.loss = xp.full(x.shape[0], -xp.inf, dtype=xp.float32)

    def take(self, attempt: Attempt) -> None:
        xp = self.xp
        apart = distance(xp, attempt.x_adv, self.x, self.norm)
        self.distance = xp.where(attempt.found, apart, self.distance)
        self.x_adv = xp.where(per_row(attempt.found, self.x), attempt.x_adv, self.x_adv)
        self.found = self.found | attempt.found
        self.loss = xp.maximum(self.loss, attempt.loss)

    def attempt(self) -> Attempt:
        return Attempt(self.x_adv, self.found, self.loss)
