"""DeepFool: step after step onto the nearest linearised boundary; SuperDeepFool: and back to where it is orthogonal.

Moosavi-Dezfooli et al. 2016, "DeepFool: a simple and accurate method to fool deep neural networks", algorithm 2, in
every norm and inside the domain. Abdolahpourrad et al. 2024, "SuperDeepFool: a new fast and accurate minimal
adversarial attack", SDF(inf, 1): whenever DeepFool has crossed the boundary, the perturbation is projected onto the
boundary's normal there, to which the shortest one is parallel, until that leaves the example broken.
"""

from functools import partial

from auditor.attacks.attempt import Attempt, Nearest
from auditor.attacks.hyperplane import nearest_plane, shortest_step
from auditor.attacks.losses import runners_up
from auditor.attacks.norms import per_row, steepest
from auditor.attacks.random import Random
from auditor.attacks.segment import come_nearer
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds
from auditor.spec import Loss, Norm


def deepfool(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    norm: Norm,
    ceiling: Array,
    rng: Random | None = None,
    active: Array | None = None,
    steps: int = 50,
    targets: int = 9,
    orthogonal: bool = False,
    overshoot: float = 0.02,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    Each step goes to the nearest of the linearised boundaries to the `targets` classes with the largest scores at x;
    the sum of all steps is then made longer by a share of `overshoot`. orthogonal: project as SuperDeepFool does (L2),
    and search the segment to x in the end. An example is done once it is broken, or once its projection is. Nothing here
    is random; `rng` is taken as by every attack. Gives the nearest safely broken point that is nearer than the ceiling.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    at_x = classifier.logits(x, active=active)
    aims = runners_up(xp, at_x, y, min(targets, classifier.classes - 1))
    best = Nearest(classifier, x, y, norm, ceiling)
    alive = active & ~best.see(x, at_x, active)
    broken = xp.zeros_like(alive)
    push, x_adv, delta = xp.float32(1 + overshoot), x, xp.zeros_like(x)
    for _ in range(steps):
        if not xp.any(alive):
            break
        crossed, short = alive & broken, alive & ~broken
        if xp.any(short):
            plane = nearest_plane(classifier, x_adv, y, aims, norm, short)
            delta = delta + shortest_step(xp, x_adv, plane.g, -plane.gap, norm, classifier.domain)
        if xp.any(crossed):
            delta = xp.where(per_row(crossed, x), _along_normal(classifier, x_adv, delta, y, crossed), delta)
        x_adv = xp.clip(x + push * delta, *bounds(classifier.domain))
        broken = best.see(x_adv, classifier.logits(x_adv, active=alive), alive)
        alive = alive & ~(broken & (crossed | (not orthogonal)))
    if orthogonal:
        come_nearer(classifier, best, at_x, active & best.found & (best.distance > 0))
    return best.attempt(nearer_than=ceiling)


superdeepfool = partial(deepfool, orthogonal=True)


def _along_normal(classifier: Classifier, x_adv: Array, delta: Array, y: Array, active: Array) -> Array:
    """The part of delta that is parallel to the gradient of the margin at x_adv; delta where that is zero."""
    xp = classifier.xp
    here = classifier.gradient(x_adv, y, Loss.MARGIN, active=active)
    normal = steepest(xp, here.g, "L2")
    along = xp.sum((delta * normal).reshape((delta.shape[0], -1)), axis=1)
    return xp.where(per_row(along > 0, delta), per_row(along, delta) * normal, delta)
