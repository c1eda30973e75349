"""The shortest step onto a hyperplane inside a box, against linear and quadratic programs."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from auditor.attacks.attempt import clearance
from auditor.attacks.hyperplane import Plane, nearest_plane, shortest_step
from auditor.attacks.norms import distance
from tests.zoo import Affine, Undefined

NORMS = ("Linf", "L2", "L1")
SHARES = (0.05, 0.4, 0.8, 0.99)


def _problem(seed, d=7, domain=(0.0, 1.0)):
    """An example with features at both ends of the domain, a slope with a zero, and rises that the domain allows."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.uniform(*domain, (1, d)).astype(np.float32), 2 * len(SHARES), axis=0)
    x[:, 0], x[:, 1] = domain
    g = np.repeat(rng.standard_normal((1, d)).astype(np.float32), len(x), axis=0)
    g[:, 2] = 0
    up = np.maximum(g * (domain[1] - x), g * (domain[0] - x)).sum(axis=1, dtype=np.float64)
    down = np.minimum(g * (domain[1] - x), g * (domain[0] - x)).sum(axis=1, dtype=np.float64)
    return x, g, np.concatenate([up[:4] * SHARES, down[4:] * SHARES])


def _program(x, g, rise, norm):
    """The length of the shortest step, by somebody else's solver."""
    d, room = len(x), np.stack([-x, 1 - x], axis=1).astype(float)
    slope = g.astype(float)
    if norm == "L2":
        start = np.clip(slope * rise / (slope @ slope), *room.T)
        line = {"type": "eq", "fun": lambda p: p @ slope - rise, "jac": lambda p: slope}
        found = minimize(lambda p: p @ p, start, jac=lambda p: 2 * p, bounds=room, constraints=[line], tol=1e-12)
        return np.sqrt(found.fun)
    extra = 1 if norm == "Linf" else d
    spread = np.ones((d, 1)) if norm == "Linf" else np.eye(d)
    within = np.concatenate([np.hstack([np.eye(d), -spread]), np.hstack([-np.eye(d), -spread])])
    cost = np.concatenate([np.zeros(d), np.ones(extra)])
    line = np.concatenate([slope, np.zeros(extra)])[None]
    bounds = [*room, *[(0, None)] * extra]
    return linprog(cost, A_ub=within, b_ub=np.zeros(2 * d), A_eq=line, b_eq=[rise], bounds=bounds).fun


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("norm", NORMS)
def test_the_step_is_as_short_as_a_program_can_make_it(norm, seed):
    x, g, rise = _problem(seed)
    step = shortest_step(np, x, g, rise, norm, (0.0, 1.0))
    assert np.sum(step.astype(float) * g, axis=1) == pytest.approx(rise, rel=1e-4, abs=1e-6)
    assert (x + step).min() >= -1e-6
    assert (x + step).max() <= 1 + 1e-6
    best = [_program(*row, norm) for row in zip(x, g, rise, strict=True)]
    assert distance(np, step, np.zeros_like(x), norm) == pytest.approx(best, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_where_the_domain_does_not_reach_the_step_goes_to_its_corner(norm):
    x, g, rise = _problem(0)
    step = shortest_step(np, x, g, rise * 2 / min(SHARES), norm, (0.0, 1.0))
    corner = np.where(g * rise[:, None] > 0, 1, np.where(g == 0, x, 0))
    assert x + step == pytest.approx(corner, abs=1e-6)


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4)])
@pytest.mark.parametrize("norm", NORMS)
def test_without_a_domain_the_step_has_the_length_of_the_dual_norm(norm, shape):
    classifier = Affine(shape, 10)
    x = np.random.default_rng(1).standard_normal((5, *shape)).astype(np.float32)
    y = classifier.logits(x).argmax(axis=1)
    others = np.array([[k for k in range(10) if k != label] for label in y])
    plane = nearest_plane(classifier, x, y, others, norm, np.ones(5, bool))
    step = shortest_step(np, x, plane.g, -plane.gap, norm, None)
    assert step.shape == x.shape
    exact = classifier.exact(x, y, norm, clearance=clearance(np, classifier.logits(x)))
    assert distance(np, step, np.zeros_like(x), norm) == pytest.approx(exact, rel=1e-4)
    assert plane.gap_at(np, step) == pytest.approx(np.zeros(5), abs=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_no_slope_and_no_finite_gap_ask_for_no_step(norm):
    x = np.ones((2, 5), np.float32)
    others = np.array([[1, 2], [0, 2]])
    plane = nearest_plane(Undefined((5,), 3, edge=0.0), x, np.array([0, 1]), others, norm, np.ones(2, bool))
    flat = Plane.finite(np, np.array([-1.0, np.nan], np.float32), np.array([[0.0] * 5, [1.0] * 5], np.float32))
    for given in (plane, flat):
        assert not shortest_step(np, x, given.g, -given.gap, norm, (0.0, 1.0)).any()
