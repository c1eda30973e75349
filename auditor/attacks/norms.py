"""What an attacker may do, as geometry: distances, balls inside the domain, steepest directions.

Everything acts on each example alone: no reduction crosses rows, and there is no BLAS, so that an example's
result does not depend on its neighbours.
"""

from copy import copy
from typing import Any

from auditor.attacks.random import Random
from auditor.classifier import Array
from auditor.data.domain import bounds
from auditor.spec import Norm

DUAL: dict[Norm, Norm] = {"Linf": "L1", "L2": "L2", "L1": "Linf"}


def per_row(values: Array, like: Array) -> Array:
    """(n,) -> (n, 1, ...), to broadcast over the examples of `like`."""
    return values.reshape((-1,) + (1,) * (like.ndim - 1))


def box(xp: Any, x: Array, domain: tuple[float, float] | None) -> tuple[Array, Array]:
    """(lower, upper), each (n, 1, ...) float32: the domain, or twice what x (n, *shape) spans around zero."""
    if domain is not None:
        ones = xp.ones(x.shape[0], dtype=xp.float32)
        lower, upper = bounds(domain)
        return per_row(ones * lower, x), per_row(ones * upper, x)
    largest = xp.max(xp.abs(x.reshape((x.shape[0], -1))), axis=1)
    upper = per_row(2 * xp.where(largest > 0, largest, xp.ones_like(largest)), x)
    return -upper, upper


def at_ends(xp: Any, x: Array, up: Array, lower: Array, upper: Array) -> Array:
    """x moved to `upper` where `up` says so, else to `lower`, and to the other one where it is there already: a feature
    that stays is no change. All broadcast."""
    end = xp.where(up, upper, lower)
    return xp.where(end == x, xp.where(up, lower, upper), end)


def largest(xp: Any, values: Array, count: Array) -> Array:
    """Where each row's `count` (n,) largest values stand, the first of equals. (n, *shape) -> (n, *shape) bool"""
    flat = values.reshape((values.shape[0], -1))
    d = flat.shape[1]
    whole = xp.clip(xp.floor(count), 0, d).astype(xp.int64)[:, None]
    least = xp.take_along_axis(xp.sort(flat, axis=1), xp.minimum(d - whole, d - 1), axis=1)
    above, equal = flat > least, flat == least
    wanted = whole - xp.sum(above, axis=1)[:, None]
    return (above | (equal & (xp.cumulative_sum(equal.astype(xp.int64), axis=1) <= wanted))).reshape(values.shape)


def elsewhere(xp: Any, start: Array, x: Array) -> Array:
    """(n,) bool, the rows of `start` (n, *shape) that are not x itself."""
    return xp.any((start != x).reshape((x.shape[0], -1)), axis=1)


def length(xp: Any, delta: Array, norm: Norm) -> Array:
    """The norm of each row, summed in the precision of delta; L0 counts features, each channel of a pixel being one.
    (n, *shape) -> (n,) float64"""
    flat = delta.reshape((delta.shape[0], -1))
    if norm == "L0":
        return xp.sum(flat != 0, axis=1).astype(xp.float64)
    if norm == "L1":
        return xp.sum(xp.abs(flat), axis=1).astype(xp.float64)
    if norm == "L2" and flat.dtype == xp.float64:
        return xp.sqrt(xp.sum(flat * flat, axis=1))
    largest = xp.max(xp.abs(flat), axis=1)
    if norm == "Linf":
        return largest.astype(xp.float64)
    # The gradient of a confident model's cross-entropy is so small that its square is zero in float32.
    unit = flat / xp.where(largest > 0, largest, xp.ones_like(largest))[:, None]
    return largest.astype(xp.float64) * xp.sqrt(xp.sum(unit * unit, axis=1).astype(xp.float64))


def distance(xp: Any, x_adv: Array, x: Array, norm: Norm) -> Array:
    """How far each row of x_adv lies from x, in float64. (n, *shape) float32, twice -> (n,) float64"""
    return length(xp, x_adv.astype(xp.float64) - x.astype(xp.float64), norm)


def dual_length(xp: Any, g: Array, norm: Norm) -> Array:
    """max <g, delta> over the unit ball of `norm`, per row: (n, *shape) -> (n,) float64"""
    return length(xp, g, DUAL[norm])


def linear_distance(xp: Any, gap: Array, g: Array, norm: Norm, *, unknown: float = 1.0) -> Array:
    """How far the decision boundary lies by the first-order model of a loss that is zero on it; `unknown` where the
    gradient says nothing. gap: (n,) the loss, g: (n, *shape) its gradient -> (n,) float64"""
    slope = dual_length(xp, xp.where(xp.isfinite(g), g, xp.zeros_like(g)), norm)
    known = (slope > 0) & xp.isfinite(gap)
    return xp.where(known, xp.abs(gap).astype(xp.float64) / xp.where(known, slope, 1.0), unknown)


def unit(xp: Any, g: Array, norm: Norm) -> Array:
    """Each row over its length, zero where it has none; what is not finite counts as zero."""
    g = xp.where(xp.isfinite(g), g, xp.zeros_like(g))
    size = length(xp, g, norm)
    scale = xp.where(size > 0, 1.0 / xp.where(size > 0, size, 1.0), 0.0)
    return (g * per_row(scale, g)).astype(xp.float32)


def steepest(xp: Any, g: Array, norm: Norm, density: Array | float = 0.05) -> Array:
    """The direction of unit length along which a step gains most; zero where g is zero or not finite.

    Linf: the sign; L2: g over its length; L1: the signs of the `density` share (one number, or one per row) of
    coordinates with the largest |g|, evenly: a single coordinate would be steeper, but moves one pixel per step
    (Tramer & Boneh 2019; Croce & Hein 2021).
    """
    g = xp.where(xp.isfinite(g), g, xp.zeros_like(g))
    if norm == "Linf":
        return xp.sign(g)
    if norm == "L2":
        return unit(xp, g, norm)
    flat = xp.abs(g.reshape((g.shape[0], -1)))
    d = flat.shape[1]
    kept = xp.clip(xp.broadcast_to(xp.asarray(density) * d, (flat.shape[0],)).astype(xp.int64), 1, d)
    threshold = xp.take_along_axis(xp.sort(flat, axis=1), (d - kept)[:, None], axis=1)
    signs = xp.where(flat >= threshold, xp.sign(g.reshape(flat.shape)), xp.float32(0))
    count = xp.maximum(xp.sum(xp.abs(signs), axis=1), xp.float32(1))
    return (signs / count[:, None]).reshape(g.shape)


class Ball:
    """The points within eps of x, inside the domain, each row with its own radius.

    `project` rounds inward: whatever it gives, `distance(...) <= eps` holds without tolerance and the point lies
    in the domain, provided that x does. For L2 and L1 this costs about a hundred-thousandth of the radius.

    x: (n, *shape) float32; eps: (n,) float64, in the model's input units, may be inf. inward=False rounds to the
    nearest instead, which is faster: enough for a search that measures the distance of what it finds.
    """

    def __init__(
        self, xp: Any, x: Array, eps: Array, norm: Norm, domain: tuple[float, float] | None, *, inward: bool = True
    ) -> None:
        self.xp, self.x, self.domain, self.inward = xp, x, domain, inward
        self.norm: Norm = norm
        self._size = None if norm in ("Linf", "L0") else length(xp, x, norm)
        self._resize(eps)

    def resized(self, eps: Array) -> "Ball":
        """The balls of other radii around the same points. eps: (n,) float64"""
        other = copy(self)
        other._resize(eps)
        return other

    def _resize(self, eps: Array) -> None:
        xp, x = self.xp, self.x
        self.eps = xp.broadcast_to(xp.asarray(eps, dtype=xp.float64), (x.shape[0],))
        lower, upper = bounds(self.domain)
        if self.norm == "Linf" and not self.inward:
            radius = per_row(self.eps.astype(xp.float32), x)
            self.lower, self.upper = xp.maximum(x - radius, lower), xp.minimum(x + radius, upper)
        elif self.norm == "Linf":
            exact, radius = x.astype(xp.float64), per_row(self.eps, x)
            down, up = (exact - radius).astype(xp.float32), (exact + radius).astype(xp.float32)
            down = xp.where(exact - down > radius, xp.nextafter(down, xp.float32(xp.inf)), down)
            up = xp.where(up - exact > radius, xp.nextafter(up, xp.float32(-xp.inf)), up)
            self.lower, self.upper = xp.maximum(down, lower), xp.minimum(up, upper)
        elif self.norm == "L0":
            self.lower, self.upper = lower, upper
        else:
            self.lower, self.upper = lower, upper
            # x + delta is rounded to float32, by at most half a unit in the last place of each coordinate.
            slack = 2.0**-23 * (self._size + xp.where(xp.isfinite(self.eps), self.eps, 0.0))
            self.reach = xp.maximum(self.eps * (1 - 2.0**-17) - slack, xp.zeros_like(slack))

    def project(self, x_adv: Array) -> Array:
        """The point of the ball nearest to x_adv in the Euclidean sense (for L2 with a domain: nearly)."""
        xp = self.xp
        if self.norm == "Linf":
            return xp.clip(x_adv, self.lower, self.upper)
        if self.norm == "L0":
            return self._sparsest(xp.clip(x_adv, self.lower, self.upper))
        delta = xp.clip(x_adv, self.lower, self.upper) - self.x if self.norm == "L2" else self._shrunk(x_adv - self.x)
        size = length(xp, delta, self.norm)
        scale = xp.where(size > self.reach, self.reach / xp.where(size > 0, size, 1.0), 1.0)
        return xp.clip(self.x + delta * per_row(scale, delta).astype(xp.float32), self.lower, self.upper)

    def uphill(self, x_adv: Array, g: Array, density: Array | float = 0.05) -> Array:
        """The steepest direction at x_adv among coordinates that the domain lets move that way."""
        xp = self.xp
        if self.norm != "Linf" and self.domain is not None:
            g = xp.where(xp.where(g > 0, x_adv < self.upper, x_adv > self.lower), g, xp.float32(0))
        return steepest(xp, g, self.norm, density)

    def random(self, rng: Random, step: int = 0) -> Array:
        """A random start: uniform in the box for Linf, a random direction to the surface for L2, projected normal
        noise for L1 (as in AutoAttack)."""
        xp, shape = self.xp, self.x.shape[1:]
        if self.norm == "Linf":
            share = rng.uniform(step, shape)
            return xp.clip(self.lower + share * (self.upper - self.lower), self.lower, self.upper)
        noise = rng.normal(step, shape)
        if self.norm == "L2":
            noise = noise * per_row((self.eps / length(xp, noise, "L2")).astype(xp.float32), noise)
        return self.project(self.x + noise)

    def vertex(self, g: Array) -> Array:
        """The point that maximises <g, .> over the ball (for L2 with a domain: the projection of that point)."""
        xp = self.xp
        g = xp.where(xp.isfinite(g), g, xp.zeros_like(g))
        if self.norm == "Linf":
            return xp.where(g > 0, self.upper, xp.where(g < 0, self.lower, self.x))
        if self.norm == "L2":
            return self.project(self.x + steepest(xp, g, "L2") * per_row(self.eps, g).astype(xp.float32))
        room = xp.where(g > 0, self.upper - self.x, self.x - self.lower).reshape((g.shape[0], -1))
        flat = g.reshape(room.shape)
        room = xp.where(flat == 0, xp.float32(0), room).astype(xp.float64)
        order = xp.argsort(-xp.abs(flat), axis=1, stable=True)
        ordered = xp.minimum(xp.take_along_axis(room, order, axis=1), self.reach[:, None])
        spent = xp.cumulative_sum(ordered, axis=1) - ordered
        used = xp.minimum(ordered, xp.maximum(self.reach[:, None] - spent, xp.zeros_like(spent)))
        used = xp.take_along_axis(used, xp.argsort(order, axis=1), axis=1)
        delta = (xp.sign(flat) * used).astype(xp.float32).reshape(g.shape)
        return xp.clip(self.x + delta, self.lower, self.upper)

    def _sparsest(self, x_adv: Array) -> Array:
        """L0: the largest changes stay, as many as the radius allows, the first of equals."""
        return self.xp.where(largest(self.xp, self.xp.abs(x_adv - self.x), self.eps), x_adv, self.x)

    def _shrunk(self, delta: Array) -> Array:
        """L1: sign(delta) * clip(|delta| - shift, 0, room) with the smallest shift >= 0 at which it has length
        `reach` (Croce & Hein 2021, "Mind the box", proposition 1), found by sorting the 2 d breakpoints.

        The length is a piecewise linear function of the shift: |delta| is where a coordinate starts to count,
        |delta| - room where it is full.
        """
        xp = self.xp
        flat = delta.reshape((delta.shape[0], -1))
        room = xp.where(delta > 0, self.upper - self.x, self.x - self.lower).reshape(flat.shape)
        size = xp.abs(flat)
        points = xp.maximum(xp.concat([size, size - room], axis=1), xp.zeros((), dtype=xp.float32))
        order = xp.argsort(-points, axis=1, stable=True)
        points = xp.take_along_axis(points, order, axis=1).astype(xp.float64)
        slope = xp.cumulative_sum(xp.where(order < size.shape[1], 1.0, -1.0), axis=1)
        gained = xp.cumulative_sum(slope[:, :-1] * (points[:, :-1] - points[:, 1:]), axis=1)
        reach = self.reach[:, None]
        passed = gained > reach
        at = xp.argmax(passed, axis=1)[:, None]
        over = xp.take_along_axis(gained, at, axis=1) - reach
        shift = xp.take_along_axis(points[:, 1:], at, axis=1) + over / xp.maximum(
            xp.take_along_axis(slope, at, axis=1), xp.ones_like(over)
        )
        shift = xp.where(xp.any(passed, axis=1)[:, None], shift, 0.0)
        kept = xp.clip(size.astype(xp.float64) - shift, 0.0, room.astype(xp.float64))
        return (xp.sign(flat) * kept).astype(xp.float32).reshape(delta.shape)
