"""Fast adaptive boundary: a walk along the decision boundary that is drawn back to the example at every step.

Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack", algorithm 1; the
targeted form as in Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", section 4. The paper's final search is `segment.come_nearer`.
"""

from dataclasses import dataclass
from functools import partial

from auditor.attacks.attempt import Attempt, Nearest
from auditor.attacks.hyperplane import nearest_plane, shortest_step
from auditor.attacks.losses import runners_up
from auditor.attacks.norms import Ball, length, linear_distance, per_row
from auditor.attacks.random import Random
from auditor.attacks.segment import come_nearer
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds
from auditor.spec import Norm

FAINT = 1e-8  # a slope that AutoAttack's projections take for none


def fab(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    norm: Norm,
    rng: Random,
    ceiling: Array,
    active: Array | None = None,
    steps: int = 100,
    restarts: int = 1,
    targets: int = 9,
    apart: bool = False,
    overshoot: float = 1.05,
    pull: float = 0.1,
    backward: float = 0.9,
    final_search: bool = True,
    safe: bool = True,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    Each step goes to the nearest of the linearised boundaries to the `targets` classes with the largest scores at x
    (the paper takes all); apart: one run for each of them instead, a gradient per step however many there are. pull: the
    largest share of a step's end that comes from the projection of x itself; backward: where between x and a find the
    walk goes on; final_search: whether each run ends by coming nearer to x on a straight line, as in the paper and not in
    AutoAttack. safe: whether steps lead, and finds lie, beyond the boundary by a margin that no rounding undoes; AutoAttack's
    go to the boundary itself, and in L2 leave features whose slope is FAINT alone. The first restart begins at x, the others at random points half as far away as the nearest find. Gives the
    nearest broken point that is nearer than the ceiling.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    at_x = classifier.logits(x, active=active)
    aims = runners_up(xp, at_x, y, min(targets, classifier.classes - 1))
    best = Nearest(classifier, x, y, norm, ceiling, safe=safe)
    best.see(x, at_x, active)
    walk = _Walk(classifier, best, at_x, xp.float32(overshoot), pull, xp.float32(backward), final_search, safe)
    places = range(aims.shape[1])
    for number, group in enumerate([[place] for place in places] if apart else [list(places)]):
        for restart in range(restarts):
            start = rng.split(f"group {number} restart {restart}") if restart else None
            walk.run(aims[:, group], start, active, steps)
    return best.attempt(nearer_than=ceiling)


fab_targeted = partial(fab, apart=True)


@dataclass(frozen=True)
class _Walk:
    """What does not change from run to run, and where the finds go."""

    classifier: Classifier
    best: Nearest
    logits_at_x: Array
    overshoot: Array
    pull: float
    backward: Array
    final_search: bool
    safe: bool

    def run(self, aims: Array, start: Random | None, active: Array, steps: int) -> None:
        """Algorithm 1 towards the classes `aims` (n, m): from x, or from a random point if numbers are given."""
        classifier, xp, best, x = self.classifier, self.classifier.xp, self.best, self.best.x
        x_adv = x if start is None else self._random(aims, start, active)
        for _ in range(steps):
            active = active & (best.distance > 0)
            if not xp.any(active):
                return
            x_next = self._inside(self._step(x_adv, aims, active))
            broken = best.see(x_next, classifier.logits(x_next, active=active), active)
            x_adv = xp.where(per_row(broken, x), self._inside(x + self.backward * (x_next - x)), x_next)
        if self.final_search:
            come_nearer(classifier, best, self.logits_at_x, active & best.found)

    def _inside(self, x_adv: Array) -> Array:
        return self.classifier.xp.clip(x_adv, *bounds(self.classifier.domain))

    def _step(self, x_adv: Array, aims: Array, active: Array) -> Array:
        """Past the nearest linearised boundary from x_adv, drawn to where it is nearest to x."""
        classifier, xp, norm, x = self.classifier, self.classifier.xp, self.best.norm, self.best.x
        plane = nearest_plane(classifier, x_adv, self.best.y, aims, norm, active, safe=self.safe)
        g = plane.g if self.safe or norm != "L2" else xp.where(xp.abs(plane.g) > FAINT, plane.g, xp.float32(0))
        here = shortest_step(xp, x_adv, g, -plane.gap, norm, classifier.domain)
        home = shortest_step(xp, x, g, -plane.gap_at(xp, x - x_adv), norm, classifier.domain)
        near, far = length(xp, here, norm), length(xp, home, norm)
        share = xp.minimum(near / xp.where(near + far > 0, near + far, 1.0), self.pull)
        share = per_row(share, x).astype(xp.float32)
        return (1 - share) * (x_adv + self.overshoot * here) + share * (x + self.overshoot * home)

    def _random(self, aims: Array, start: Random, active: Array) -> Array:
        """A point half as far away as the nearest find; where there is none, as the linearised boundary."""
        classifier, xp, best = self.classifier, self.classifier.xp, self.best
        plane = nearest_plane(classifier, best.x, best.y, aims[:, :1], best.norm, active)
        guess = linear_distance(xp, plane.gap, plane.g, best.norm)
        radius = xp.where(xp.isfinite(best.distance), best.distance, guess) / 2
        return Ball(xp, best.x, radius, best.norm, classifier.domain).random(start)
