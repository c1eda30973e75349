"""Attacks that look for the nearest point, on classifiers whose exact distance is known."""

import numpy as np
import pytest

from auditor.attacks.attempt import clearance, margin, safely_broken
from auditor.attacks.cw import cw, cw_linf
from auditor.attacks.ddn import ddn
from auditor.attacks.deepfool import deepfool, superdeepfool
from auditor.attacks.ead import ead
from auditor.attacks.fab import fab, fab_targeted
from auditor.attacks.fmn import fmn
from auditor.attacks.minimal_apgd import minimal_apgd
from auditor.attacks.minimal_runs import minimal_apgd_restarts, minimal_apgd_targeted
from auditor.attacks.norms import distance
from auditor.attacks.pdpgd import pdpgd
from auditor.attacks.random import Random
from auditor.spec import Loss
from tests.zoo import Affine, Cross, Dip, Masked, Undefined

NORMS = ("Linf", "L2", "L1")
CASES = [
    *(
        (name, norm)
        for name in ("minimal-apgd", "minimal-apgd-targeted", "fab", "fab-targeted", "fmn", "deepfool", "pdpgd")
        for norm in NORMS
    ),
    ("ddn", "L2"),
    ("superdeepfool", "L2"),
    ("cw", "L2"),
    ("cw-linf", "Linf"),
    ("ead", "L1"),
]
ATTACKS = {
    "minimal-apgd": minimal_apgd,
    "minimal-apgd-targeted": minimal_apgd_targeted,
    "ddn": ddn,
    "fab": fab,
    "fab-targeted": fab_targeted,
    "fmn": fmn,
    "deepfool": deepfool,
    "superdeepfool": superdeepfool,
    "cw": cw,
    "cw-linf": cw_linf,
    "ead": ead,
    "pdpgd": pdpgd,
}


def _clean(classifier, n, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, *classifier.shape)).astype(np.float32)
    return x, classifier.logits(x).argmax(axis=1)


def _none(n):
    return np.full(n, np.inf)


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("shape", [(7,), (3, 5, 4)])
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_the_distance_to_the_only_other_class_is_nearly_exact(name, norm, shape, n, rng):
    classifier = Affine(shape, 2)
    x, y = _clean(classifier, n)
    exact = classifier.exact(x, y, norm)
    attempt = ATTACKS[name](classifier, x, y, norm=norm, rng=rng(n), ceiling=_none(n))
    assert attempt.found.all()
    assert np.all(safely_broken(np, classifier.logits(attempt.x_adv), y))
    ratio = distance(np, attempt.x_adv, x, norm) / exact
    assert ratio.min() >= 1 - 1e-6  # scores are rounded to float32
    assert ratio.max() <= (1.1 if name in ("ddn", "cw-linf") else 1.05)


@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("norm", NORMS)
def test_untargeted_then_targeted_finds_the_nearest_of_many_classes(norm, classes, rng):
    classifier = Affine((3, 5, 4), classes)
    x, y = _clean(classifier, 8)
    first = minimal_apgd(classifier, x, y, norm=norm, rng=rng(8), ceiling=_none(8))
    ceiling = np.where(first.found, distance(np, first.x_adv, x, norm), np.inf)
    then = minimal_apgd_targeted(classifier, x, y, norm=norm, rng=rng(8), ceiling=ceiling)
    nearest = np.where(then.found, distance(np, then.x_adv, x, norm), ceiling)
    assert np.max(nearest / classifier.exact(x, y, norm)) <= 1.05


@pytest.mark.parametrize("classes", [3, 10, 100])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fab", "fab-targeted", "deepfool"])
def test_attacks_that_look_at_every_boundary_find_the_nearest_of_many(name, norm, classes, rng):
    classifier = Affine((3, 5, 4), classes)
    x, y = _clean(classifier, 4)
    exact = classifier.exact(x, y, norm, clearance=clearance(np, classifier.logits(x)))
    options = {"norm": norm, "rng": rng(4), "ceiling": _none(4), "steps": 10, "targets": 99}
    attempt = ATTACKS[name](classifier, x, y, **options)
    assert np.all(distance(np, attempt.x_adv, x, norm) <= 1.03 * exact)


@pytest.mark.parametrize("norm", NORMS)
def test_fab_ends_nearer_with_its_final_search(norm, rng):
    classifier = Affine((3, 5, 4), 2)
    x, y = _clean(classifier, 4)
    options = {"norm": norm, "ceiling": _none(4), "steps": 1}
    near, far = (fab(classifier, x, y, rng=rng(4), final_search=search, **options) for search in (True, False))
    assert (distance(np, near.x_adv, x, norm) < distance(np, far.x_adv, x, norm)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_fab_goes_to_the_boundary_itself_where_it_need_not_be_safe(norm, rng):
    classifier = Affine((3, 5, 4), 10)
    x, y = _clean(classifier, 4)
    options = {"norm": norm, "ceiling": _none(4), "steps": 1, "overshoot": 1.00003, "final_search": False}
    near, far = (fab(classifier, x, y, rng=rng(4), safe=safe, **options) for safe in (False, True))
    assert near.found.all()
    assert far.found.all()
    assert (distance(np, near.x_adv, x, norm) < distance(np, far.x_adv, x, norm)).all()
    assert not safely_broken(np, classifier.logits(near.x_adv), y).any()


def test_fab_leaves_faint_slopes_alone_in_l2_where_it_need_not_be_safe(rng):
    classifier = Affine((4,), 2, domain=(0.0, 1.0))
    classifier.W[:] = 0
    classifier.W[1] = [1e-9, 1, 1, 1]
    classifier.b[:] = [9, 0]  # out of reach: every feature goes to its end
    x, asked, own = np.full((2, 4), 0.5, np.float32), [], classifier.logits

    def logits(x, **options):
        asked.append(x)
        return own(x, **options)

    classifier.logits = logits
    for safe in (False, True):
        asked.clear()
        fab(classifier, x, np.zeros(2, np.int64), norm="L2", rng=rng(2), ceiling=_none(2), steps=2, safe=safe)
        points = np.concatenate(asked)
        assert (points[:, 1:] == 1).any()
        assert (points[:, 0] != 0.5).any() == safe


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("norm", NORMS)
def test_minimal_apgd_with_a_target_goes_to_that_class(norm, classes, rng):
    classifier = Affine((3, 5, 4), classes)
    x, y = _clean(classifier, 4)
    farthest = np.argmin(classifier.logits(x), axis=1)
    exact = classifier.exact(x, y, norm, target=farthest, clearance=clearance(np, classifier.logits(x)))
    attempt = minimal_apgd(classifier, x, y, norm=norm, rng=rng(4), ceiling=_none(4), target=farthest)
    assert attempt.found.all()
    assert np.all(distance(np, attempt.x_adv, x, norm) <= 1.1 * exact)


@pytest.mark.parametrize(("name", "norm"), [case for case in CASES if "deepfool" not in case[0]])
def test_a_boundary_with_a_kink_is_found(name, norm, rng):
    """DeepFool takes whole steps, and lands far beyond a kink."""
    classifier = Cross(6)
    x = np.random.default_rng(2).uniform(-0.9, 0.9, (8, 6)).astype(np.float32)
    attempt = ATTACKS[name](classifier, x, np.zeros(8, np.int64), norm=norm, rng=rng(8), ceiling=_none(8))
    assert attempt.found.all()
    assert np.all(
        distance(np, attempt.x_adv, x, norm) <= (1.6 if name == "ead" else 1.25) * classifier.exact(x) + 1e-3
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fresh": True},
        {"random_start": True},
        {"fresh": True, "random_start": True},
        {"random_start": True, "far": 1.0},
    ],
)
@pytest.mark.parametrize("norm", NORMS)
def test_only_points_nearer_than_the_ceiling_are_given(norm, options, rng):
    classifier = Affine((6,), 2)
    x, y = _clean(classifier, 4)
    exact = classifier.exact(x, y, norm)
    ceiling = exact * np.array([0.9, 0.999, 1.2, 3.0])
    attempt = minimal_apgd(classifier, x, y, norm=norm, rng=rng(4), ceiling=ceiling, **options)
    assert attempt.found.tolist() == [False, False, True, True]
    apart = distance(np, attempt.x_adv, x, norm)
    assert np.all(apart < ceiling)
    assert np.array_equal(attempt.x_adv[:2], x[:2])


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_points_stay_inside_the_domain(name, norm, rng):
    classifier = Affine((3, 6), 3, domain=(0.0, 1.0))
    x = np.random.default_rng(1).integers(0, 2, (5, 3, 6)).astype(np.float32)
    y = classifier.logits(x).argmax(axis=1)
    attempt = ATTACKS[name](classifier, x, y, norm=norm, rng=rng(5), ceiling=_none(5))
    assert attempt.found.any()
    assert attempt.x_adv.min() >= 0
    assert attempt.x_adv.max() <= 1


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_rows_result_is_the_same_bits_whatever_its_neighbours(name, norm, rng):
    classifier = Affine((3, 4, 4), 4, domain=(-9.0, 9.0))
    x, y = _clean(classifier, 8)
    together = ATTACKS[name](classifier, x, y, norm=norm, rng=rng(8), ceiling=_none(8))
    order = np.array([5, 2, 7])
    apart = ATTACKS[name](
        classifier, x[order], y[order], norm=norm, rng=Random.keyed(np, 0, "test", order), ceiling=_none(3)
    )
    assert np.array_equal(apart.x_adv, together.x_adv[order])
    assert np.array_equal(apart.found, together.found[order])


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_rows_that_are_not_active_cost_nothing_and_are_left_alone(name, norm, rng):
    classifier = Affine((6,), 4)
    x, y = _clean(classifier, 6)
    active = np.arange(6) % 2 == 0
    counted = []
    classifier.logits = lambda x, *, active, own=classifier.logits: counted.append(active) or own(x, active=active)
    attempt = ATTACKS[name](classifier, x, y, norm=norm, rng=rng(6), ceiling=_none(6), active=active)
    assert not np.any([a & ~active for a in counted])
    assert attempt.found[active].all()
    assert not attempt.found[~active].any()


@pytest.mark.parametrize(("name", "norm"), CASES)
@pytest.mark.parametrize("broken", [Masked((5,), 3), Undefined((5,), 3, edge=-np.inf)])
def test_no_gradient_or_no_score_gives_no_find_and_no_point_that_is_not_finite(broken, name, norm, rng):
    x = np.full((3, 5), 0.01, np.float32)
    y = np.nan_to_num(Affine((5,), 3).scores(x)).argmax(axis=1)
    attempt = ATTACKS[name](broken, x, y, norm=norm, rng=rng(3), ceiling=np.full(3, 1e-3))
    assert not attempt.found.any()
    assert np.isfinite(attempt.x_adv).all()


@pytest.mark.parametrize(("name", "norm"), [("cw", "L2"), ("cw-linf", "Linf")])
def test_only_points_with_the_confidence_that_is_wanted_are_given(name, norm, rng):
    classifier = Affine((6,), 2)
    x, y = _clean(classifier, 4)
    attempt = ATTACKS[name](classifier, x, y, norm=norm, rng=rng(4), ceiling=_none(4), confidence=2.0)
    assert attempt.found.all()
    assert np.all(margin(np, classifier.logits(attempt.x_adv), y) > 2.0)
    exact = classifier.exact(x, y, norm, clearance=2.0)
    assert np.max(distance(np, attempt.x_adv, x, norm) / exact) <= 1.1


def test_an_example_that_is_wrong_when_clean_is_found_at_distance_zero(rng):
    classifier = Affine((6,), 3)
    x, y = _clean(classifier, 2)
    attempt = minimal_apgd(classifier, x, (y + 1) % 3, norm="L2", rng=rng(2), ceiling=_none(2), loss=Loss.MARGIN)
    assert attempt.found.all()
    assert np.array_equal(attempt.x_adv, x)
    assert classifier.forwards == 2 + 2


def test_restarts_end_where_they_stop_paying(rng):
    classifier = Affine((6,), 2)
    x, y = _clean(classifier, 4)
    exact = classifier.exact(x, y, "L2")
    options = {"norm": "L2", "rng": rng(4), "restarts": 8}
    one = minimal_apgd_restarts(classifier, x, y, ceiling=exact, misses=1, **options)
    cost = classifier.forwards
    assert not one.found.any()
    two = minimal_apgd_restarts(classifier, x, y, ceiling=exact, misses=2, **options)
    assert classifier.forwards - cost == pytest.approx(2 * cost, rel=0.3)
    assert not two.found.any()
    fresh = minimal_apgd_restarts(classifier, x, y, ceiling=_none(4), **options)
    assert np.max(distance(np, fresh.x_adv, x, "L2") / exact) <= 1.05


def test_restarts_from_far_away_do_not_meet_what_misleads_nearby(rng):
    classifier = Dip((100,), 2, domain=(-6.0, 6.0))
    x = np.random.default_rng(0).uniform(-5, 5, (4, 100)).astype(np.float32)
    x[:, 0], y = 0.1, np.zeros(4, np.int64)
    options = {"norm": "L2", "rng": rng(4), "ceiling": _none(4), "restarts": 12, "misses": 12}
    nearby, far = (minimal_apgd_restarts(classifier, x, y, **options, far=far) for far in (0.0, 0.6))
    assert np.max(distance(np, far.x_adv, x, "L2")) <= 1.05 * 1.1
    assert np.max(distance(np, nearby.x_adv, x, "L2")) >= 4.0
