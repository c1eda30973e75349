"""Attacks that have to reach one class, on affine classifiers, where the way to its region is known exactly."""

import numpy as np
import pytest

from auditor.attacks.attempt import clearance, margin
from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.norms import distance
from auditor.attacks.targeted import Targeted
from auditor.attacks.transfer import METHODS, transfer
from auditor.spec import Loss
from tests.zoo import Affine, Masked

NORMS = ("Linf", "L2", "L1")
CHEAPER = {
    "square": {"queries": 300},
    "nes": {"queries": 600},
    "spsa": {"queries": 600},
    "cw-linf": {"searches": 6},
    **{name: {"queries": 600} for name in ("surfree", "boundary", "sign-opt", "hop-skip-jump")},
    "rays": {"queries": 1500},
}
# L1 is what HopSkipJump's paper has not: over six seeds the mean is 1.5, and one in some hundred comes no nearer than 2.
ROOM = {
    "boundary": 1.5,
    "sign-opt": 1.3,
    "surfree": 1.3,
    "hop-skip-jump": 2.3,
    "deepfool": 1.25,
    "cw": 1.15,
    "cw-linf": 1.15,
}


def setting(classes, n=3, kind=Affine):
    """A classifier, n examples, their labels, and of each the class of the fourth largest score, or of the smallest."""
    classifier = kind((3, 5, 4), classes)
    x = np.random.default_rng(0).standard_normal((n, 3, 5, 4)).astype(np.float32)
    ranked = np.argsort(-classifier.logits(x), axis=1)
    return classifier, x, ranked[:, 0], ranked[:, min(3, classes - 1)]


def given(name, classifier, x, target, norm, rng):
    options = {"norm": norm, "rng": rng(len(x)), **CHEAPER.get(name, {})}
    if CATALOGUE[name].access == "decision":  # a point far inside the target's region
        away = classifier.W[target] - classifier.W.mean(axis=0)
        options["start"] = x + 10 * away.reshape(x.shape)
    return options


def cases(budget):
    """Without Square in L2 and L1, which needs thousands of queries on so few features, noise, which follows nothing, and what
    needs another model or trees."""
    elsewhere = ("transfer", "structure")
    chosen = {name: entry for name, entry in CATALOGUE.items() if entry.access not in elsewhere and name != "noise"}
    return [
        (name, norm)
        for name, entry in chosen.items()
        for norm in entry.norms
        if entry.budget == budget and norm in NORMS and (name, norm) not in {("square", "L2"), ("square", "L1")}
    ]


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize(("name", "norm"), cases("minimal"))
def test_a_minimal_norm_attack_comes_near_the_targets_region(name, norm, classes, rng):
    classifier, x, y, target = setting(classes)
    seen = Targeted(classifier, y, target)
    options = given(name, classifier, x, target, norm, rng)
    attempt = CATALOGUE[name].function(seen, x, y, ceiling=np.full(3, np.inf), **options)
    assert attempt.found.sum() >= 2  # FAB in L1 may miss one where more than two classes meet
    found = attempt.found
    assert np.array_equal(classifier.logits(attempt.x_adv).argmax(axis=1)[found], target[found])
    ratio = (distance(np, attempt.x_adv, x, norm) / classifier.region(x, target, norm))[found]
    assert ratio.min() >= 1 - 1e-6
    assert ratio.max() <= ROOM.get(name, 1.12)


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize(("name", "norm"), cases("fixed"))
def test_a_fixed_budget_attack_reaches_the_target_just_above_its_distance_and_never_below(name, norm, classes, rng):
    classifier, x, y, target = setting(classes)
    exact = classifier.region(x, target, norm)
    safe = classifier.region(x, target, norm, clearance=clearance(np, classifier.logits(x)))
    for eps, reached in ((0.99 * exact, False), (2 * safe, True)):
        seen = Targeted(classifier, y, target)
        attempt = CATALOGUE[name].function(seen, x, y, eps=eps, **given(name, classifier, x, target, norm, rng))
        found = attempt.found
        assert np.all(distance(np, attempt.x_adv, x, norm) <= eps)
        assert np.array_equal(classifier.logits(attempt.x_adv).argmax(axis=1)[found], target[found])
        # one step of FGSM in L1 goes all the way towards one class, past others
        assert found.all() if reached and (name, norm) != ("fgsm", "L1") else reached or not found.any()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("loss", [Loss.LOGIT, Loss.MARGIN, Loss.CROSS_ENTROPY])
def test_what_a_surrogate_leads_to_is_the_target(loss, norm, rng):
    classifier, x, y, target = setting(10)
    eps = 2 * classifier.region(x, target, norm)
    seen, followed = (Targeted(each, y, target) for each in (Masked((3, 5, 4), 10), classifier))
    options = {"surrogate": followed, "method": METHODS["mi-fgsm"], "norm": norm, "rng": rng(3), "loss": loss}
    attempt = transfer(seen, x, y, eps=eps, **options)
    assert attempt.found.all()
    assert attempt.fooled.all()
    assert np.array_equal(classifier.logits(attempt.x_adv).argmax(axis=1), target)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_margin_is_the_targets_over_every_other_class(classes):
    classifier, x, y, target = setting(classes, n=6)
    seen, scores = Targeted(classifier, y, target), classifier.logits(x)
    rows = np.arange(6)
    best_other = np.max(np.where(np.arange(classes) == target[:, None], -np.inf, scores), axis=1)
    assert np.array_equal(margin(np, seen.logits(x), y), scores[rows, target] - best_other)
    assert np.array_equal(np.ptp(seen.logits(x), axis=1), np.ptp(scores, axis=1))


@pytest.mark.parametrize("loss", [loss for loss in Loss if loss != Loss.LOGIT])
def test_a_loss_rises_along_its_gradient_towards_the_target(loss):
    classifier, x, y, target = setting(10)
    classifier.W *= np.float32(0.1)  # so that no softmax is saturated
    seen = Targeted(classifier, y, target)
    here = seen.gradient(x, y, loss, target=y)
    step = np.float32(0.02)
    there = seen.gradient(x + step * here.g, y, loss, target=y)
    expected = step * np.sum(here.g.reshape(3, -1) ** 2, axis=1)
    assert np.allclose(there.loss - here.loss, expected, rtol=0.1)
    away = (classifier.W[target] - classifier.W.mean(axis=0)).reshape(x.shape)
    assert np.all(seen.gradient(x + 100 * away, y, loss, target=y).loss > here.loss)


def test_rows_may_have_losses_of_their_own_and_those_that_are_not_active_cost_nothing():
    classifier, x, y, target = setting(10)
    classifier.forwards = classifier.backwards = 0
    seen = Targeted(classifier, y, target)
    each = [Loss.CROSS_ENTROPY, Loss.LOGIT, Loss.MARGIN]
    active = np.array([True, True, False])
    together = seen.gradient(x, y, np.array(each), active=active)
    assert (classifier.forwards, classifier.backwards) == (2, 2)
    assert not together.g[2].any()
    for row, loss in enumerate(each[:2]):
        assert np.array_equal(together.g[row], seen.gradient(x, y, loss).g[row])


def test_a_score_that_is_not_finite_reaches_nothing():
    class Broken(Affine):
        def scores(self, flat):
            return super().scores(flat) + np.float32([0, 0, np.nan])

    classifier, x, y, _ = setting(3, kind=Broken)
    seen = Targeted(classifier, y, (y + 1) % 3)
    attempt = CATALOGUE["fgsm"].function(seen, x, y, eps=np.full(3, 100.0), norm="Linf")
    assert not attempt.found.any()
