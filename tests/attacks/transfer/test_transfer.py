"""Transfer attacks on affine classifiers, whose exact distances are known: the surrogate is followed, the upload judges."""

from functools import partial

import numpy as np
import pytest

from auditor.attacks.norms import distance
from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.attacks.transfer import METHODS, Admixed, Ensemble, Method, Pool, Scaled, Shuffled, Through, transfer
from auditor.attacks.transfer.smooth import smoothed, weights
from auditor.attacks.transfer.views import Setting
from auditor.classifier import Counted
from auditor.spec import Loss
from tests.zoo import Affine, Masked, Undefined

NORMS = ("Linf", "L2")
THROUGH = Method(views=Through(Shuffled(copies=2), Scaled(copies=2)), smooth=True)
EVERY = {**METHODS, "through": THROUGH, "bsr": Method(views=Shuffled(copies=3))}
IN_PLACE = ("mi-fgsm", "ni-fgsm", "si-fgsm", "vmi-fgsm", "vni-fgsm", "admix", "pgn")  # those that move no pixels


def _clean(classifier, n, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, *classifier.shape)).astype(np.float32)
    return x, classifier.logits(x).argmax(axis=1)


def _attack(name, classifier, x, y, *, surrogate=None, **given):
    followed = surrogate or classifier
    given = {"layer": getattr(followed, "layer", None), **given}
    return transfer(classifier, x, y, surrogate=followed, method=EVERY[name], **given)


@pytest.mark.parametrize("shape", [(7,), (3, 5, 4)])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", IN_PLACE)
def test_a_surrogate_that_is_the_upload_breaks_it_just_above_the_exact_distance(name, norm, shape, rng):
    classifier = Affine(shape, 2)
    x, y = _clean(classifier, 5)
    eps = 1.1 * classifier.exact(x, y, norm)
    found = _attack(name, classifier, x, y, eps=eps, norm=norm, rng=rng(5), loss=Loss.MARGIN)
    assert found.found.all()
    assert found.fooled.all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("name", ["mi-fgsm", "bsr"])
def test_nothing_is_found_below_the_exact_distance_and_no_point_leaves_the_ball(name, classes, norm, rng):
    classifier = Affine((3, 2, 4), classes)
    x, y = _clean(classifier, 4)
    eps = classifier.exact(x, y, norm)
    for factor in (0.99, 3.0):
        found = _attack(name, classifier, x, y, eps=factor * eps, norm=norm, rng=rng(4))
        assert np.all(distance(np, found.x_adv, x, norm) <= factor * eps)
        assert not (factor < 1 and found.found.any())
        assert name == "bsr" or factor < 1 or found.found.all()


@pytest.mark.parametrize("name", EVERY)
def test_only_the_upload_decides_and_it_is_asked_once(name, rng):
    """The surrogate calls every class by another's name; the upload is right and cannot be moved so far."""
    upload = Affine((3, 4, 4), 3)
    x, y = _clean(upload, 6)
    wrong = Affine((3, 4, 4), 3)
    wrong.W, wrong.b = np.roll(wrong.W, 1, axis=0), np.roll(wrong.b, 1)
    counted = Counted(upload, 6)
    found = _attack(
        name, counted, x, y, surrogate=wrong, eps=0.5 * upload.exact(x, y, "Linf"), norm="Linf", rng=rng(6)
    )
    assert found.fooled.all()
    assert not found.found.any()
    assert np.array_equal(found.x_adv, x)
    assert counted.forwards.tolist() == [1] * 6
    assert not counted.backwards.any()


def test_what_fools_the_surrogate_alone_and_what_breaks_the_upload_alone_are_told_apart(rng):
    upload, surrogate = Affine((9,), 10, seed=1), Affine((9,), 10, seed=2)
    surrogate.W += upload.W
    x, y = _clean(upload, 64)
    eps = 1.2 * upload.exact(x, y, "L2")
    found = _attack("mi-fgsm", upload, x, y, surrogate=surrogate, eps=eps, norm="L2", rng=rng(64))
    assert len({(bool(f), bool(b)) for f, b in zip(found.fooled, found.found, strict=True)}) == 4
    assert np.array_equal(upload.logits(found.x_adv).argmax(axis=1) != y, found.found)


@pytest.mark.parametrize("name", EVERY)
def test_the_surrogates_passes_are_those_that_are_said(name, rng):
    upload = Affine((1, 6, 6), 3)
    x, y = _clean(upload, 2)
    surrogate = Counted(upload, 2)
    active = np.array([True, False])
    given = {"surrogate": surrogate, "layer": surrogate.counting(upload.layer), "active": active, "steps": 3}
    _attack(name, upload, x, y, eps=np.ones(2), norm="Linf", rng=rng(2), **given)
    assert surrogate.backwards.tolist() == [EVERY[name].gradients(3), 0]
    assert surrogate.forwards.tolist() == [EVERY[name].gradients(3) + 1, 0]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", EVERY)
def test_a_rows_result_is_the_same_bits_whatever_its_neighbours(name, norm, rng):
    upload, surrogate = Affine((3, 4, 4), 4, domain=(-9.0, 9.0)), Affine((3, 4, 4), 4, seed=5)
    x, y = _clean(upload, 6)
    given = {"surrogate": surrogate, "norm": norm, "pool": Pool(*_clean(surrogate, 7, seed=3)), "steps": 2}
    eps, order = np.full(6, {"Linf": 8.0, "L2": 50.0}[norm]), np.array([5, 2, 4])
    together = _attack(name, upload, x, y, eps=eps, rng=rng(6), **given)
    streams = Random.keyed(np, 0, "test", order)
    apart = _attack(name, upload, x[order], y[order], eps=eps[order], rng=streams, **given)
    for one, other in zip(vars(apart).values(), vars(together).values(), strict=True):
        assert np.array_equal(one, other[order])
    assert together.fooled.any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", EVERY)
def test_points_stay_inside_the_domain(name, norm, rng):
    upload, surrogate = Affine((3, 6), 3, domain=(0.0, 1.0)), Affine((3, 6), 3, seed=4)
    x = np.random.default_rng(1).integers(0, 2, (5, 3, 6)).astype(np.float32)
    y = upload.logits(x).argmax(axis=1)
    found = _attack(name, upload, x, y, surrogate=surrogate, eps=np.full(5, 0.3), norm=norm, rng=rng(5), steps=2)
    assert found.x_adv.min() >= 0
    assert found.x_adv.max() <= 1


@pytest.mark.parametrize("kind", [Masked, Undefined])
@pytest.mark.parametrize("name", ["ni-fgsm", "vmi-fgsm", "pgn"])
def test_a_surrogate_without_a_usable_gradient_does_no_harm(kind, name, rng):
    surrogate = kind((5,), 3, **({"edge": -np.inf} if kind is Undefined else {}))
    upload = Affine((5,), 3)
    x, y = _clean(upload, 3)
    found = _attack(name, upload, x, y, surrogate=surrogate, eps=np.ones(3), norm="L2", rng=rng(3), steps=2)
    assert np.isfinite(found.x_adv).all()
    assert not found.found.any()


@pytest.mark.parametrize("loss", [Loss.LOGIT, Loss.DIFFERENCE, Loss.TARGETED_CROSS_ENTROPY])
def test_a_targeted_loss_leads_to_the_target(loss, rng):
    upload = Affine((40,), 10)
    x, y = _clean(upload, 12)
    target = (y + 3) % 10
    given = {"eps": np.full(12, 60.0), "norm": "L2", "rng": rng(12), "loss": loss, "target": target}
    found = _attack("mi-fgsm", upload, x, y, **given)
    assert np.mean(upload.logits(found.x_adv).argmax(axis=1) == target) > 0.9


@pytest.mark.parametrize("loss", [Loss.DIFFERENCE, Loss.LOGIT])
def test_a_linear_loss_of_an_ensemble_is_that_of_its_mean_scores(loss):
    members = [Affine((4, 3), 5, seed=seed) for seed in range(3)]
    mean = Affine((4, 3), 5)
    mean.W, mean.b = (np.mean([getattr(m, part) for m in members], axis=0) for part in ("W", "b"))
    x, y = _clean(mean, 6)
    found, known = (c.gradient(x, y, loss, target=(y + 1) % 5) for c in (Ensemble(members), mean))
    for part in ("logits", "loss", "g"):
        assert getattr(found, part) == pytest.approx(getattr(known, part), abs=1e-5), part


def test_mixing_in_other_examples_changes_nothing_where_there_are_none(rng):
    upload = Affine((1, 6, 6), 3)
    x, y = _clean(upload, 3)
    setting = partial(Setting, np, Planes(np, (1, 6, 6), "NCHW"), 0.0, y)
    pools = (None, Pool(x[:0], y[:0]), Pool(*_clean(upload, 9, seed=8)))
    nothing, empty, some = (np.stack([seen for seen, _ in Admixed()(setting(pool), x, rng(3))]) for pool in pools)
    assert np.array_equal(nothing, empty)
    assert not np.array_equal(nothing, some)


def test_the_kernel_weighs_neighbours_and_keeps_the_sum():
    for size in (1, 8, 28, 224):
        kernel = weights(size)
        assert sum(kernel) == pytest.approx(1)
        assert len(kernel) == (1 if size == 1 else 2 * max(round(size * 7 / 299), 1) + 1)
    g = np.zeros((1, 9, 9, 2), np.float32)
    g[0, 4, 4, 1] = 1
    spread = smoothed(np, Planes(np, (9, 9, 2), "NHWC"), g)
    assert spread[..., 0].max() == 0
    assert np.array_equal(spread[0, :, :, 1] > 0, np.maximum(*np.abs(np.indices((9, 9)) - 4)) <= 1)
    assert spread.sum() == pytest.approx(1)
    assert smoothed(np, Planes(np, (9, 18), "NCHW"), g.reshape(1, 9, 18)) == pytest.approx(g.reshape(1, 9, 18))
