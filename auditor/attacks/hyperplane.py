"""The linearised decision boundary: where it lies, and the shortest step onto it that stays inside the domain.

The step solves min |delta| subject to <g, delta> = rise, x + delta in the box, exactly: every feature moves towards
its own end of the box, and how far is a question of one number, found by sorting (Croce & Hein 2020, "Minimally
distorted adversarial examples with a fast adaptive boundary attack", section 2.2).
"""

from dataclasses import dataclass
from typing import Any

from auditor.attacks.attempt import clearance
from auditor.attacks.norms import linear_distance, per_row
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds
from auditor.spec import Loss, Norm


@dataclass(frozen=True)
class Plane:
    """Per row, the points p with gap + <g, p - x> = 0. gap: (n,) float32; g: (n, *shape) float32, both finite."""

    gap: Array
    g: Array

    @classmethod
    def finite(cls, xp: Any, gap: Array, g: Array) -> "Plane":
        """What is not finite becomes zero: such a plane asks for no step."""
        known = xp.isfinite(gap) & xp.all(xp.isfinite(g).reshape((g.shape[0], -1)), axis=1)
        return cls(xp.where(known, gap, xp.float32(0)), xp.where(per_row(known, g), g, xp.float32(0)))

    def gap_at(self, xp: Any, offset: Array) -> Array:
        """gap + <g, offset>, in float64. offset: (n, *shape) -> (n,)"""
        product = self.g.astype(xp.float64) * offset
        return self.gap + xp.sum(product.reshape((offset.shape[0], -1)), axis=1)


def nearest_plane(
    classifier: Classifier, x: Array, y: Array, targets: Array, norm: Norm, active: Array, *, safe: bool = True
) -> Plane:
    """The linearised boundary nearest to each x among those between the label and `targets` (n, m), if it is to be `safe`
    moved out to where the example is safely broken. One forward and one backward for each target."""
    xp = classifier.xp
    nearest = Plane(xp.zeros(x.shape[0], dtype=xp.float32), xp.zeros_like(x))
    smallest = xp.full(x.shape[0], xp.inf)
    for place in range(targets.shape[1]):
        here = classifier.gradient(x, y, Loss.DIFFERENCE, target=targets[:, place], active=active)
        beyond = clearance(xp, here.logits) if safe else xp.float32(0)
        plane = Plane.finite(xp, here.loss - beyond, here.g)
        apart = linear_distance(xp, plane.gap, plane.g, norm, unknown=xp.inf)
        nearer = apart < smallest
        smallest = xp.where(nearer, apart, smallest)
        nearest = Plane(xp.where(nearer, plane.gap, nearest.gap), xp.where(per_row(nearer, x), plane.g, nearest.g))
    return nearest


def shortest_step(xp: Any, x: Array, g: Array, rise: Array, norm: Norm, domain: tuple[float, float] | None) -> Array:
    """The shortest delta with <g, delta> = rise and x + delta in the domain; where the domain does not reach that
    far, the one that comes nearest to it. x, g: (n, *shape) float32, rise: (n,) -> (n, *shape) float32"""
    lower, upper = bounds(domain)
    slope = g.reshape((g.shape[0], -1)).astype(xp.float64)
    flat = x.reshape(slope.shape)
    towards = xp.sign(slope) * xp.sign(rise)[:, None]
    gain, needed = xp.abs(slope), xp.abs(rise).astype(xp.float64)[:, None]
    # No feature moves further than it would alone, which keeps everything finite where there is no domain.
    alone = xp.where(gain > 0, needed / xp.where(gain > 0, gain, 1.0), 0.0)
    room = xp.minimum(xp.where(towards > 0, upper - flat, flat - lower).astype(xp.float64), alone)
    moved = _steepest_first(xp, gain, room, needed) if norm == "L1" else _together(xp, gain, room, needed, norm)
    return (towards * moved).astype(xp.float32).reshape(x.shape)


def _steepest_first(xp: Any, gain: Array, room: Array, needed: Array) -> Array:
    """L1: the features of the largest gain go to their ends, one after another."""
    order = xp.argsort(-gain, axis=1, stable=True)
    full = xp.take_along_axis(gain * room, order, axis=1)
    before = xp.cumulative_sum(full, axis=1) - full
    share = xp.clip((needed - before) / xp.where(full > 0, full, 1.0), 0.0, 1.0)
    return room * xp.take_along_axis(share, xp.argsort(order, axis=1), axis=1)


def _together(xp: Any, gain: Array, room: Array, needed: Array, norm: Norm) -> Array:
    """All features move at once until they are at their ends: at one speed for Linf, as fast as they gain for L2."""
    speed = gain if norm == "L2" else xp.where(gain > 0, 1.0, 0.0)
    end = xp.where(speed > 0, room / xp.where(speed > 0, speed, 1.0), 0.0)
    order = xp.argsort(end, axis=1, stable=False)
    end, full, rate = (xp.take_along_axis(values, order, axis=1) for values in (end, gain * room, gain * speed))
    stopped = xp.cumulative_sum(full, axis=1) - full
    moving = xp.flip(xp.cumulative_sum(xp.flip(rate, axis=1), axis=1), axis=1)
    reached = stopped + end * moving >= needed
    at = xp.argmax(reached, axis=1)[:, None]
    slope = xp.take_along_axis(moving, at, axis=1)
    time = (needed - xp.take_along_axis(stopped, at, axis=1)) / xp.where(slope > 0, slope, 1.0)
    time = xp.where(xp.any(reached, axis=1)[:, None], time, xp.inf)
    return xp.where(speed > 0, xp.minimum(room, time * xp.where(speed > 0, speed, 1.0)), 0.0)
