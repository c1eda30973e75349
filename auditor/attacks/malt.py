"""Which classes to aim at: those whose boundary looks nearest, not those with the largest scores.

Melamed, Yehudai & Shamir 2024, "MALT powers up adversarial attacks", section 3: a difference of scores is divided by the
length of its gradient, here the dual length of the norm that the attack works in.
"""

from auditor.attacks.losses import runners_up
from auditor.attacks.norms import linear_distance
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm


def nearest_targets(
    classifier: Classifier,
    x: Array,
    y: Array,
    logits: Array,
    norm: Norm,
    active: Array,
    *,
    targets: int,
    candidates: int,
) -> Array:
    """Among the `candidates` classes with the largest scores at x beside the label, the `targets` whose linearised
    boundary is nearest to x, nearest first. logits: (n, classes) at x -> (n, targets) int64. One forward and one
    backward for each candidate."""
    xp = classifier.xp
    ranked = runners_up(xp, logits, y, min(candidates, classifier.classes - 1))
    apart = []
    for place in range(ranked.shape[1]):
        here = classifier.gradient(x, y, Loss.DIFFERENCE, target=ranked[:, place], active=active)
        apart.append(linear_distance(xp, here.loss, here.g, norm, unknown=xp.inf))
    order = xp.argsort(xp.stack(apart, axis=1), axis=1, stable=True)[:, :targets]
    return xp.take_along_axis(ranked, order, axis=1)
