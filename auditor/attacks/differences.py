"""The margin's gradient by class scores alone: differences along random directions."""

from collections.abc import Iterable

from auditor.attacks.attempt import margin
from auditor.attacks.norms import per_row
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds


def slope(classifier: Classifier, x: Array, y: Array, probes: Iterable[Array], active: Array) -> Array:
    """The sum over the probes u (n, *shape) of u times the difference of the margin between x + u and x - u, both
    brought into the domain. Two forwards per probe. -> (n, *shape)"""
    xp = classifier.xp
    total = xp.zeros_like(x)
    for u in probes:
        ends = [xp.clip(x + sign * u, *bounds(classifier.domain)) for sign in (1, -1)]
        above, below = (margin(xp, classifier.logits(end, active=active), y) for end in ends)
        risen = xp.where(xp.isfinite(above - below), above - below, xp.float32(0))
        total = total + per_row(risen, x) * u
    return total
