"""HopSkipJump: the nearest adversarial example by decisions alone, along normals that are estimated at the boundary.

Chen, Jordan & Wainwright 2020, "HopSkipJumpAttack: a query-efficient decision-based attack", algorithm 2. The paper's
bisection ends at d^(-3/2) (L2) or d^-2 (Linf) of the distance, where float32 ends too; here never below FINEST of it,
and the radius of the probes grows along. The L1 variant, which the paper has not, jumps along the coordinates where
the normal is largest.
"""

from itertools import count
from math import isqrt

from auditor.attacks.attempt import Attempt
from auditor.attacks.decisions import FINEST, Decisions, begin, to_boundary
from auditor.attacks.norms import distance, per_row, steepest
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm

MOST = 10_000  # probes of one normal
HALVINGS = 25  # of a jump, before it is given up
AT_ONCE = 4096  # numbers of an example that are drawn together: few features leave little to each call
KEPT = 20  # queries kept back from the last probes for the jump and the bisection that use them


def hop_skip_jump(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    queries: int = 2000,
    probes: int = 100,
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    probes: decisions from which the first normal is estimated; the t-th takes sqrt(t) times as many. start:
    (n, *shape), where the search begins; a row that is x begins at random points. At most `queries` forwards per
    example, of which only the largest score is looked at. Gives the nearest point that is nearer than the ceiling.
    """
    xp = classifier.xp
    asked = Decisions(classifier, x, y, norm=norm, ceiling=ceiling, queries=queries, active=active)
    finest = max(asked.d ** (-2.0 if norm == "Linf" else -1.5), FINEST)
    reach = finest * (asked.d if norm == "Linf" else asked.d**0.5)
    x_adv, known = begin(asked, rng.split("start"), start)
    x_adv = to_boundary(asked, x_adv, known, finest)
    for t in count(1):
        alive = known & asked.alive
        if not xp.any(alive):
            break
        apart = distance(xp, x_adv, x, norm)
        wanted = min(isqrt(probes**2 * t), MOST)
        normal = _normal(asked, x_adv, reach * apart, wanted, rng.split(f"normal {t}"), alive)
        x_adv = _jump(asked, x_adv, steepest(xp, normal, norm), apart / t**0.5, alive)
        x_adv = to_boundary(asked, x_adv, alive, finest)
    return asked.attempt()


def _normal(asked: Decisions, x_adv: Array, radius: Array, wanted: int, rng: Random, rows: Array) -> Array:
    """The boundary's normal at x_adv, towards the goal: the mean of random directions of length `radius` (n,), each
    weighted by the decision there less the mean decision (equation 16). Up to `wanted` queries per row."""
    xp, x = asked.xp, asked.x
    n, shape = x.shape[0], x.shape[1:]
    samples = xp.where(rows, xp.clip(asked.left - KEPT, 1, wanted), 0)
    k = min(wanted, max(AT_ONCE // asked.d, 1))
    moved, weighted, agreed = xp.zeros_like(x), xp.zeros_like(x), xp.zeros(n, dtype=xp.float32)
    for first in range(0, wanted, k):
        probing = first + xp.arange(k)[None, :] < samples[:, None]
        if not xp.any(probing):
            break
        u = rng.coarse(first, (k, *shape))
        size = xp.linalg.vector_norm(u.reshape((n, k, -1)), axis=2)
        u *= _within((probing * radius[:, None] / size).astype(xp.float32), u)  # nowhere, where none is asked about
        u += x_adv[:, None]
        probes = asked.inside(u)
        broken = [asked.broken(probes[:, i], probing[:, i], probe=True) for i in range(k)]
        phi = xp.where(xp.stack(broken, axis=1), xp.float32(1), xp.float32(-1)) * probing
        u = probes - x_adv[:, None]
        agreed += xp.sum(phi, axis=1)
        moved += xp.sum(u, axis=1)
        u *= _within(phi, u)
        weighted += xp.sum(u, axis=1)
    mean = agreed / xp.maximum(samples, 1).astype(xp.float32)
    same = xp.abs(mean) == 1  # all decisions alike: the mean direction, forwards or backwards
    return weighted - per_row(xp.where(same, xp.float32(0), mean), x) * moved


def _within(values: Array, like: Array) -> Array:
    """(n, k) -> (n, k, 1, ...), to broadcast over the probes of `like`."""
    return values.reshape(values.shape + (1,) * (like.ndim - 2))


def _jump(asked: Decisions, x_adv: Array, direction: Array, size: Array, rows: Array) -> Array:
    """The first of the steps size, size / 2, ... along the direction that reaches the goal; x_adv where none does."""
    xp = asked.xp
    for _ in range(HALVINGS):
        rows = rows & asked.alive
        if not xp.any(rows):
            break
        point = asked.inside(x_adv + direction * per_row(size, x_adv).astype(xp.float32))
        broken = asked.broken(point, rows)
        x_adv = xp.where(per_row(broken, x_adv), point, x_adv)
        rows, size = rows & ~broken, size / 2
    return x_adv
