import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from auditor.attacks.norms import Ball, distance, dual_length, steepest

NORMS = ("Linf", "L2", "L1")
DOMAINS = (None, (0.0, 1.0), (0.1, 254.7))


def _points(rng, shape, domain):
    if domain is None:
        return (rng.standard_normal(shape) * rng.choice([1e-3, 1, 1e3])).astype(np.float32)
    low, high = Ball(np, np.zeros((1, 1), np.float32), np.array([np.inf]), "L2", domain).__dict__["lower"], domain[1]
    x = rng.uniform(low, high, shape).astype(np.float32)
    corner = rng.random(shape) < 0.3
    return np.clip(
        np.where(corner, np.float32(low), x), np.float32(low), np.nextafter(np.float32(high), np.float32(0))
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    norm=st.sampled_from(NORMS),
    domain=st.sampled_from(DOMAINS),
    size=st.floats(1e-6, 30),
    far=st.floats(1e-3, 100),
)
@settings(max_examples=150, deadline=None)
def test_a_projected_point_is_in_the_ball_and_the_domain_without_tolerance(seed, norm, domain, size, far):
    rng = np.random.default_rng(seed)
    x = _points(rng, (4, 3, 5), domain)
    eps = rng.uniform(0, size, 4)
    ball = Ball(np, x, eps, norm, domain)
    g = rng.standard_normal(x.shape).astype(np.float32)
    g[0] = 0
    outside = x + (rng.standard_normal(x.shape) * far).astype(np.float32)
    for point in (ball.project(outside), ball.vertex(g), ball.project(x)):
        assert point.dtype == np.float32
        assert np.all(distance(np, point, x, norm) <= eps)
        if domain is not None:
            assert np.all((point.astype(np.float64) >= domain[0]) & (point.astype(np.float64) <= domain[1]))


@pytest.mark.parametrize("norm", NORMS)
def test_a_projected_point_far_outside_lies_on_the_surface(norm):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 40)).astype(np.float32)
    eps = np.array([0.01, 0.5, 3.0])
    point = Ball(np, x, eps, norm, None).project(x + 10 * rng.standard_normal(x.shape).astype(np.float32))
    assert distance(np, point, x, norm) == pytest.approx(eps, rel=1e-3)


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_the_projection_is_the_nearest_point_of_ball_and_box(norm):
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (6, 4)).astype(np.float32)
    x[:, 0] = 0
    wanted = (x + rng.standard_normal(x.shape)).astype(np.float32)
    eps = np.full(6, 0.4)
    point = Ball(np, x, eps, norm, (0.0, 1.0)).project(wanted)
    for i in range(6):
        room = {"type": "ineq", "fun": lambda p, i=i: 0.4 - np.linalg.norm(p - x[i], 2 if norm == "L2" else 1)}
        best = minimize(
            lambda p, i=i: np.sum((p - wanted[i]) ** 2), point[i], bounds=[(0, 1)] * 4, constraints=[room]
        )
        ours = np.sum((point[i].astype(float) - wanted[i]) ** 2)
        assert ours <= best.fun * (1.05 if norm == "L2" else 1.001) + 1e-6


@pytest.mark.parametrize("domain", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("norm", NORMS)
def test_the_vertex_beats_random_points_of_the_ball(norm, domain):
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (1, 6)).astype(np.float32)
    g = rng.standard_normal((1, 6)).astype(np.float32)
    ball = Ball(np, x, np.array([0.7]), norm, domain)
    others = Ball(np, np.repeat(x, 2000, 0), np.full(2000, 0.7), norm, domain).project(
        x + rng.standard_normal((2000, 6)).astype(np.float32)
    )
    gain = np.sum((ball.vertex(g) - x) * g)
    slack = 1.05 if norm == "L2" and domain else 1 + 1e-5
    assert gain * slack >= np.max(np.sum((others - x) * g, axis=1))


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_direction_has_unit_length_and_gains_the_dual_length(norm):
    g = np.random.default_rng(3).standard_normal((5, 2, 3)).astype(np.float32)
    direction = steepest(np, g, norm, 0.01)
    assert distance(np, direction, np.zeros_like(g), norm) == pytest.approx(np.ones(5))
    assert np.sum(direction * g, axis=(1, 2)) == pytest.approx(dual_length(np, g, norm), rel=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("norm", NORMS)
def test_a_gradient_of_any_size_gives_the_same_direction(norm, size):
    g = np.random.default_rng(6).standard_normal((3, 8))
    usual = steepest(np, g.astype(np.float32), norm)
    assert steepest(np, (g * size).astype(np.float32), norm) == pytest.approx(usual, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_a_gradient_that_is_zero_or_not_finite_gives_a_finite_direction(norm):
    g = np.zeros((2, 7), np.float32)
    g[1] = [np.nan, np.inf, -np.inf, 0, 1, 2, np.nan]
    direction = steepest(np, g, norm)
    assert np.all(np.isfinite(direction))
    assert not direction[0].any()
    assert direction[1, 5] > 0


@pytest.mark.parametrize("norm", NORMS)
def test_a_radius_of_zero_gives_the_example_itself(norm):
    x = np.random.default_rng(4).standard_normal((3, 9)).astype(np.float32)
    assert np.array_equal(Ball(np, x, np.zeros(3), norm, None).project(x + 1), x)


@pytest.mark.parametrize("norm", NORMS)
def test_geometry_of_a_row_is_the_same_bits_alone_and_among_others(norm):
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 1, (7, 9000)).astype(np.float32)
    moved = (x + rng.standard_normal(x.shape)).astype(np.float32)
    together = Ball(np, x, np.full(7, 2.0), norm, (0.0, 1.0)).project(moved)
    alone = Ball(np, x[3:4], np.full(1, 2.0), norm, (0.0, 1.0)).project(moved[3:4])
    assert np.array_equal(together[3:4], alone)
