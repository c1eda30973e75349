"""Attacks that are given an eps, on classifiers whose exact distance is known."""

import numpy as np
import pytest

from auditor.attacks.apgd import apgd, apgd_targeted, checkpoints
from auditor.attacks.fgsm import fgsm
from auditor.attacks.malt import nearest_targets
from auditor.attacks.momentum import mi_fgsm, ni_fgsm
from auditor.attacks.norms import distance
from auditor.attacks.pgd import _Circling, pgd
from auditor.attacks.random import Random
from auditor.attacks.square import eta, patch, square, window
from auditor.spec import Loss
from tests.zoo import Affine, Cross, Masked, Undefined

NORMS = ("Linf", "L2", "L1")


def _pgd(*args, **kwargs):
    return pgd(*args, loss=Loss.MARGIN, momentum=0.5, **kwargs)


def _dlr(*args, **kwargs):
    return apgd(*args, loss=Loss.DLR, **kwargs)


def _clipped(*args, **kwargs):
    return apgd(*args, bounded=False, **kwargs)


def _inwards(*args, **kwargs):
    return apgd(*args, larger_first=True, **kwargs)


def _targeted_inwards(*args, **kwargs):
    return apgd_targeted(*args, larger_first=True, **kwargs)


def _square(*args, **kwargs):
    return square(*args, queries=300, **kwargs)


def _fgsm(*args, **kwargs):
    return fgsm(*args, loss=Loss.MARGIN, **kwargs)


MOMENTUM = {"mi-fgsm": mi_fgsm, "ni-fgsm": ni_fgsm}
WHITE_BOX = {
    "fgsm": _fgsm,
    "pgd": _pgd,
    "apgd": apgd,
    "apgd-dlr": _dlr,
    "apgd-clipped": _clipped,
    "apgd-inwards": _inwards,
    "apgd-targeted": apgd_targeted,
    "apgd-targeted-inwards": _targeted_inwards,
}
EVERY = {**WHITE_BOX, "square": _square}


def _clean(classifier, n, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, *classifier.shape)).astype(np.float32)
    return x, classifier.logits(x).argmax(axis=1)


@pytest.mark.parametrize("shape", [(7,), (3, 5, 4)])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", WHITE_BOX)
def test_two_classes_are_broken_just_above_the_exact_distance(name, norm, shape, rng):
    classifier = Affine(shape, 2)
    x, y = _clean(classifier, 8)
    eps = 1.1 * classifier.exact(x, y, norm)
    attempt = WHITE_BOX[name](classifier, x, y, eps=eps, norm=norm, rng=rng(8))
    assert attempt.found.all()
    assert np.array_equal(classifier.logits(attempt.x_adv).argmax(axis=1) != y, attempt.found)


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("norm", NORMS)
def test_targeted_apgd_finds_the_nearest_of_many_classes(norm, classes, n, rng):
    classifier = Affine((3, 5, 4), classes)
    x, y = _clean(classifier, n)
    eps = 1.1 * classifier.exact(x, y, norm)
    assert apgd_targeted(classifier, x, y, eps=eps, norm=norm, rng=rng(n), steps=60).found.all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("name", EVERY)
def test_no_attack_breaks_below_the_exact_distance_or_leaves_the_ball(name, classes, norm, rng):
    classifier = Affine((3, 2, 4), classes)
    x, y = _clean(classifier, 4)
    eps = classifier.exact(x, y, norm)
    for factor in (0.99, 1.4):
        attempt = EVERY[name](classifier, x, y, eps=factor * eps, norm=norm, rng=rng(4))
        assert np.all(distance(np, attempt.x_adv, x, norm) <= factor * eps)
        assert not (factor < 1 and attempt.found.any())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", EVERY)
def test_points_stay_inside_the_domain(name, norm, rng):
    classifier = Affine((3, 6), 3, domain=(0.0, 1.0))
    x = np.random.default_rng(1).integers(0, 2, (5, 3, 6)).astype(np.float32)
    y = classifier.logits(x).argmax(axis=1)
    attempt = EVERY[name](classifier, x, y, eps=np.full(5, 0.3), norm=norm, rng=rng(5))
    assert attempt.x_adv.min() >= 0
    assert attempt.x_adv.max() <= 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["pgd", "apgd", "apgd-dlr"])
def test_a_boundary_with_a_kink_is_crossed(name, norm, rng):
    classifier = Cross(6)
    x = np.random.default_rng(2).uniform(-0.3, 0.3, (8, 6)).astype(np.float32)
    x[:, 2] = 0.8
    y = np.zeros(8, np.int64)
    attempt = EVERY[name](classifier, x, y, eps=1.25 * classifier.exact(x), norm=norm, rng=rng(8))
    assert attempt.found.all()


def test_bounded_steps_go_further_at_the_border_of_the_domain(rng):
    classifier = Affine((3, 5, 4), 2, domain=(0.0, 1.0))
    x = np.zeros((4, 3, 5, 4), np.float32)
    y = classifier.logits(x).argmax(axis=1)
    eps = np.full(4, 0.01)
    bounded, clipped = (
        apgd(classifier, x, y, eps=eps, norm="L2", rng=rng(4), steps=3, bounded=choice).loss
        for choice in (True, False)
    )
    assert (bounded > clipped).all()


class Watched(Affine):
    """Remembers where it was asked."""

    def __init__(self, shape, classes):
        super().__init__(shape, classes)
        self.asked = []

    def gradient(self, x, y, loss, *, target=None, active=None):
        self.asked.append(x.copy())
        return super().gradient(x, y, loss, target=target, active=active)


@pytest.mark.parametrize("attack", [apgd, apgd_targeted])
def test_larger_radii_come_first_and_what_they_break_does_not_count(attack, rng):
    classifier = Watched((3, 5, 4), 3)
    x, y = _clean(classifier, 4)
    eps = 0.6 * classifier.exact(x, y, "L1")
    options = {"trial": 0, "targets": 1} if attack is apgd_targeted else {}
    attempt = attack(classifier, x, y, eps=eps, norm="L1", rng=rng(4), steps=20, larger_first=True, **options)
    size = np.array([distance(np, point, x, "L1") for point in classifier.asked]) / eps
    assert len(size) == 20
    for steps, most in ((size[:6], 3), (size[6:12], 2)):
        assert (steps.max(axis=0) > most - 1).all()
        assert (steps <= most).all()
    assert (size[12:] <= 1).all()
    assert any((classifier.logits(point).argmax(axis=1) != y).any() for point in classifier.asked[:6])
    assert not attempt.found.any()


def test_sparse_steps_follow_the_start_that_is_known(rng):
    classifier = Watched((3, 5, 4), 2)
    x, y = _clean(classifier, 2)
    start = x.copy()
    start[0, 0, 0, 0] += 1e-3  # one feature; the other row has no start
    apgd(classifier, x, y, eps=np.full(2, 1e-2), norm="L1", rng=rng(2), steps=2, start=start)
    first, second = classifier.asked
    moved = (second != first).reshape((2, -1)).sum(axis=1)
    assert moved[0] <= 2
    assert moved[1] > 10


@pytest.mark.parametrize("norm", NORMS)
def test_square_needs_no_gradient(norm, rng):
    classifier = Masked((7,), 3)
    x, y = _clean(classifier, 8)
    eps = 1.5 * classifier.exact(x, y, norm)
    assert square(classifier, x, y, eps=eps, norm=norm, rng=rng(8), queries=500).found.all()
    assert classifier.backwards == 0


@pytest.mark.parametrize("norm", NORMS)
def test_square_patches_follow_the_layout(norm, rng):
    """The same picture, channels first and last, is attacked by the same queries."""
    first = Affine((2, 6, 5), 3, seed=3)
    last = Affine((6, 5, 2), 3, seed=3)
    last.W = np.ascontiguousarray(first.W.reshape(3, 2, 6, 5).transpose(0, 2, 3, 1)).reshape(3, -1)
    x, y = _clean(first, 4)
    eps = 0.5 * first.exact(x, y, norm)
    a = square(first, x, y, eps=eps, norm=norm, rng=rng(4), queries=40, layout="NCHW")
    b = square(last, np.ascontiguousarray(x.transpose(0, 2, 3, 1)), y, eps=eps, norm=norm, rng=rng(4), queries=40,
               layout="NHWC")  # fmt: skip
    assert a.loss == pytest.approx(b.loss, rel=1e-4)


@pytest.mark.parametrize(
    ("share", "size", "odd", "side"),
    [(0.4, 28, False, 18), (0.4, 28, True, 19), (0.05, 28, True, 7), (0.001, 28, False, 1), (0.001, 28, True, 3)],
)
def test_squares_patch_has_the_whole_number_nearest_to_its_side_and_a_bump_the_next_odd_one(share, size, odd, side):
    assert window(share, size, size, odd=odd) == (side, side)


@pytest.mark.parametrize("odd", [True, False])
def test_squares_patch_is_no_larger_than_the_image(odd):
    assert window(1.0, 4, 6, odd=odd) == (4, 5)
    assert window(0.8, 2, 1, odd=odd) == (2, 1)


@pytest.mark.parametrize(("norm", "order"), [("L2", 2), ("L1", 1)])
@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (5, 4), (3, 1)])
def test_a_bump_has_two_halves_of_equal_length_and_opposite_sign(rows, columns, norm, order):
    bump = eta(rows, columns, norm)
    top, bottom = bump[: rows // 2], bump[rows // 2 :]
    assert (top > 0).all()
    assert (bottom < 0).all()
    assert np.linalg.norm(top.ravel(), order) == pytest.approx(np.linalg.norm(bottom.ravel(), order))
    assert np.linalg.norm(bump.ravel(), order) == pytest.approx(1)


class _Remembering(Affine):
    """Keeps all points that it was asked about."""

    def __init__(self, shape, classes):
        super().__init__(shape, classes)
        self.asked = []

    def logits(self, x, *, active=None):
        self.asked.append(x.copy())
        return super().logits(x, active=active)


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_each_channel_of_squares_pays_for_its_own_bumps(norm, rng):
    """Where one channel holds the whole budget, the other one has nothing to spend."""
    classifier = _Remembering((2, 9, 9), 3)
    x, y = _clean(classifier, 3)
    eps = 0.1 * classifier.exact(x, y, norm)
    start = x.copy()
    start[:, 0] += 1
    classifier.asked.clear()
    square(classifier, x, y, eps=eps, norm=norm, rng=rng(3), queries=20, start=start)
    moved = np.abs(np.stack(classifier.asked) - x).reshape(20, 3, 2, -1).max(axis=-1)
    assert (moved[:, :, 1] < 0.02 * eps).all()
    assert (moved[1:, :, 0] > 0.02 * eps).all()


@pytest.mark.parametrize("norm", NORMS)
def test_square_begins_a_longer_search_where_the_horizon_says_so(norm, rng):
    classifier = Masked((3, 9, 9), 3)
    x, y = _clean(classifier, 4)
    eps = 0.1 * classifier.exact(x, y, norm)
    with_horizon, whole, short = (
        square(classifier, x, y, eps=eps, norm=norm, rng=rng(4), queries=queries, horizon=horizon).loss
        for queries, horizon in ((60, 240), (240, None), (60, None))
    )
    assert (with_horizon <= whole).all()
    assert not np.array_equal(with_horizon, short)
    assert patch(59 / 240, 0.8) > patch(59 / 60, 0.8)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", EVERY)
def test_a_rows_result_is_the_same_bits_whatever_its_neighbours(name, norm, rng):
    classifier = Affine((3, 4, 4), 4, domain=(-9.0, 9.0))
    x, y = _clean(classifier, 8)
    eps = 1.02 * classifier.exact(x, y, norm)
    together = EVERY[name](classifier, x, y, eps=eps, norm=norm, rng=rng(8))
    order = np.array([5, 2, 7])
    apart = EVERY[name](
        classifier, x[order], y[order], eps=eps[order], norm=norm, rng=Random.keyed(np, 0, "test", order)
    )
    assert np.array_equal(apart.x_adv, together.x_adv[order])
    assert np.array_equal(apart.found, together.found[order])
    assert np.array_equal(apart.loss, together.loss[order])


@pytest.mark.parametrize("name", EVERY)
def test_rows_that_are_not_active_cost_nothing_and_are_left_alone(name, rng):
    classifier = Affine((6,), 4)
    x, y = _clean(classifier, 6)
    active = np.arange(6) % 2 == 0
    counted = []
    classifier.logits = lambda x, *, active, own=classifier.logits: counted.append(active) or own(x, active=active)
    attempt = EVERY[name](classifier, x, y, eps=np.full(6, 5.0), norm="L2", rng=rng(6), active=active)
    assert counted
    assert not np.any([a & ~active for a in counted])
    assert attempt.found[active].all()
    assert not attempt.found[~active].any()
    assert np.array_equal(attempt.x_adv[~active], x[~active])


@pytest.mark.parametrize("name", ["pgd", "apgd", "apgd-targeted", "square"])
def test_a_broken_row_stops_costing_passes(name, rng):
    classifier = Affine((6,), 4)
    x, y = _clean(classifier, 4)
    EVERY[name](classifier, x, y, eps=np.full(4, 100.0), norm="Linf", rng=rng(4))
    assert classifier.forwards <= 4 + 4 * 20


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", EVERY)
def test_scores_that_are_not_finite_never_count(name, norm, rng):
    classifier = Undefined((5,), 3, edge=-np.inf)
    x = np.zeros((3, 5), np.float32)
    y = np.zeros(3, np.int64)
    attempt = EVERY[name](classifier, x, y, eps=np.full(3, 1.0), norm=norm, rng=rng(3))
    assert not attempt.found.any()
    assert np.isfinite(attempt.x_adv).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", WHITE_BOX)
def test_a_zero_gradient_gives_no_point_that_is_not_finite(name, norm, rng):
    classifier = Masked((5,), 3)
    x, y = _clean(classifier, 3)
    attempt = WHITE_BOX[name](classifier, x, y, eps=np.full(3, 1e-3), norm=norm, rng=rng(3))
    assert np.isfinite(attempt.x_adv).all()


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", MOMENTUM)
class TestMomentum:
    def test_two_classes_are_broken_just_above_the_exact_distance_and_never_below(self, name, norm):
        classifier = Affine((3, 5, 4), 2)
        x, y = _clean(classifier, 8)
        for factor in (0.99, 1.02):
            eps = factor * classifier.exact(x, y, norm)
            attempt = MOMENTUM[name](classifier, x, y, eps=eps, norm=norm, loss=Loss.MARGIN)
            assert (attempt.found == (factor > 1)).all()
            assert np.all(distance(np, attempt.x_adv, x, norm) <= eps)

    def test_the_target_is_approached(self, name, norm):
        classifier = Affine((7,), 10)
        x, y = _clean(classifier, 4)
        target = np.argmin(classifier.logits(x), axis=1)
        eps = 1.05 * classifier.exact(x, y, norm, target=target)
        options = {"norm": norm, "loss": Loss.DIFFERENCE, "target": target}
        assert MOMENTUM[name](classifier, x, y, eps=eps, **options).found.all()

    def test_a_rows_result_is_the_same_bits_whatever_its_neighbours(self, name, norm):
        classifier = Affine((3, 4, 4), 4, domain=(-9.0, 9.0))
        x, y = _clean(classifier, 8)
        eps = 1.02 * classifier.exact(x, y, norm)
        together = MOMENTUM[name](classifier, x, y, eps=eps, norm=norm)
        order = np.array([5, 2, 7])
        apart = MOMENTUM[name](classifier, x[order], y[order], eps=eps[order], norm=norm)
        assert np.array_equal(apart.x_adv, together.x_adv[order])

    def test_broken_and_inactive_rows_cost_nothing(self, name, norm):
        classifier = Affine((6,), 4)
        x, y = _clean(classifier, 4)
        active = np.arange(4) % 2 == 0
        attempt = MOMENTUM[name](classifier, x, y, eps=np.full(4, 100.0), norm=norm, active=active)
        assert attempt.found.tolist() == active.tolist()
        assert classifier.forwards <= 2 * 5

    @pytest.mark.parametrize("broken", [Masked((5,), 3), Undefined((5,), 3, edge=-np.inf)])
    def test_no_gradient_or_no_score_gives_no_point_that_is_not_finite(self, broken, name, norm):
        x = np.full((3, 5), 0.01, np.float32)
        y = np.nan_to_num(Affine((5,), 3).scores(x)).argmax(axis=1)
        attempt = MOMENTUM[name](broken, x, y, eps=np.full(3, 1e-3), norm=norm)
        assert np.isfinite(attempt.x_adv).all()
        assert not attempt.found.any()


@pytest.mark.parametrize(("norm", "size"), [("Linf", 1.0), ("L2", 2.0)])
def test_nesterov_looks_one_decayed_step_ahead_along_the_momentum(norm, size):
    seen = []
    classifier = Affine((4,), 2)
    classifier.W = np.array([[0, 0, 0, 0], [2, 2, 2, 2]], np.float32)
    classifier.b = np.array([100, 0], np.float32)
    x = np.zeros((1, 4), np.float32)
    ask = classifier.gradient
    classifier.gradient = lambda x, *rest, **options: seen.append(x) or ask(x, *rest, **options)
    ni_fgsm(classifier, x, np.zeros(1, np.int64), eps=np.full(1, 10.0), norm=norm, decay=0.5, loss=Loss.MARGIN)
    first, second = 1.0, 1.0 + 0.5
    assert seen[0] == pytest.approx(x)
    assert seen[1] == pytest.approx(np.full((1, 4), (first + 0.5 * first) / size), rel=1e-4)
    assert seen[2] == pytest.approx(np.full((1, 4), (2 + 0.5 * second) / size), rel=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_targets_are_ranked_by_the_distance_of_their_boundaries(norm, rng):
    classifier = Affine((12,), 100)
    classifier.W *= np.random.default_rng(5).uniform(0.2, 5, (100, 1)).astype(np.float32)
    x, y = _clean(classifier, 60)
    everybody = np.ones(60, bool)
    options = {"targets": 5, "candidates": 99}
    ranked = nearest_targets(classifier, x, y, classifier.logits(x), norm, everybody, **options)
    apart = [classifier.exact(x, y, norm, target=ranked[:, place]) for place in range(5)]
    assert np.all(np.diff(apart, axis=0) >= 0)
    assert apart[0] == pytest.approx(classifier.exact(x, y, norm), rel=1e-4)
    eps = 1.02 * apart[0]
    one = {"eps": eps, "norm": norm, "rng": rng(60), "targets": 1, "loss": Loss.DIFFERENCE, "steps": 50}
    assert apgd_targeted(classifier, x, y, candidates=99, **one).found.all()
    assert not apgd_targeted(classifier, x, y, **one).found.all()


@pytest.mark.parametrize("loss", [Loss.CROSS_ENTROPY, Loss.PROBABILITY_MARGIN])
def test_pgd_ends_where_its_points_repeat_and_gives_the_same_bits(loss, rng, monkeypatch):
    classifier = Affine((3, 5, 4), 2, domain=(-9.0, 9.0))
    x, y = _clean(classifier, 6)
    eps = np.array([0.5, 0.7, 0.9, 0.97, 1.02, 1.2]) * classifier.exact(x, y, "Linf")
    found, spent = [], []
    for tell in (True, False):
        if not tell:
            monkeypatch.setattr(_Circling, "see", lambda self, x_adv: None)
        before = classifier.backwards
        options = {"rng": rng(6), "steps": 100, "restarts": 2, "step_size": 0.25, "loss": loss}
        found.append(pgd(classifier, x, y, eps=eps, norm="Linf", **options))
        spent.append(classifier.backwards - before)
    for one, other in zip(vars(found[0]).values(), vars(found[1]).values(), strict=True):
        assert np.array_equal(one, other)
    assert spent[0] < 0.5 * spent[1]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("climb", [pgd, apgd])
def test_the_margin_of_probabilities_leads_across_the_boundary(climb, classes, norm, rng):
    classifier = Affine((3, 5, 4), classes)
    classifier.W *= np.float32(0.1)  # scores of far more than ten leave no probability to climb by
    x, y = _clean(classifier, 6)
    exact = classifier.exact(x, y, norm)
    options = {"norm": norm, "rng": rng(6), "steps": 100, "loss": Loss.PROBABILITY_MARGIN}
    assert climb(classifier, x, y, eps=1.3 * exact, **options).found.mean() > 0.8
    assert not climb(classifier, x, y, eps=0.99 * exact, **options).found.any()


@pytest.mark.parametrize("period", [1, 2, 3, 7])
@pytest.mark.parametrize("ahead", [0, 5, 11])
def test_rounds_of_any_length_are_told_and_nothing_else(period, ahead):
    points = [-1.0 - k for k in range(ahead)] + [float(k % period) for k in range(80)]
    circling = _Circling(np, np.array([[points[0]], [0.0]], np.float32))
    told = []
    for k, point in enumerate(points[1:], start=1):
        circling.see(np.array([[point], [k]], np.float32))
        told.append(circling.rows.tolist())
    first = next(k for k, row in enumerate(told, start=1) if row[0])
    assert ahead + period <= first <= 2 * (2 * ahead + 2 * period)
    assert not any(row[1] for row in told)
