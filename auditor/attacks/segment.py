"""The last step of a walk to the boundary: the point between an example and its nearest find that is just broken."""

from typing import Any

from auditor.attacks.attempt import Nearest, clearance, margin
from auditor.attacks.norms import per_row
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds

POINTS = 3  # that are looked at, as in FAB


def come_nearer(classifier: Classifier, best: Nearest, logits_at_x: Array, active: Array) -> None:
    """Search from x to the nearest find by secants on the margin (Croce & Hein 2020, "Minimally distorted adversarial
    examples with a fast adaptive boundary attack", section 3.3), aiming not at the boundary but at twice the margin
    that is safe. POINTS + 1 forwards for each active row; every one of them must have a find."""
    xp, x, y = classifier.xp, best.x, best.y
    if not xp.any(active):
        return
    way = best.x_adv - x
    below, above = _excess(xp, logits_at_x, y), _excess(xp, classifier.logits(best.x_adv, active=active), y)
    low, high = xp.zeros_like(below), xp.ones_like(below)
    for _ in range(POINTS):
        rise = above - below
        share = low - (high - low) * below / xp.where(rise > 0, rise, xp.float32(1))
        share = xp.clip(share, low, high)
        x_next = xp.clip(x + per_row(share, x) * way, *bounds(classifier.domain))
        logits = classifier.logits(x_next, active=active)
        broken, excess = best.see(x_next, logits, active), _excess(xp, logits, y)
        low, below = xp.where(broken, low, share), xp.where(broken, below, excess)
        high, above = xp.where(broken, share, high), xp.where(broken, excess, above)


def _excess(xp: Any, logits: Array, y: Array) -> Array:
    return margin(xp, logits, y) - clearance(xp, logits)
