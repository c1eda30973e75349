"""Inputs in whole levels: exact distances, and attacks that stay on the levels."""

from fractions import Fraction
from itertools import product
from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.attacks.grid import Grid
from auditor.attacks.levels import Levels
from auditor.attacks.stage import Stage
from auditor.data.domain import level_values
from auditor.spec import Threat, exact
from tests.attacks.test_cascade import Judge, rows_of, run, same, slice_of
from tests.zoo import Affine, Masked

UNIT = (0.0, 1.0)
STAGES = {
    "Linf": [Stage("minimal-apgd", "minimal-apgd", "Linf", {"steps": 60})],
    "L2": [Stage("ddn", "ddn", "L2", {"steps": 60})],
    "L1": [Stage("minimal-apgd", "minimal-apgd", "L1", {"steps": 60})],
    "L0": [Stage("sigma-zero", "sigma-zero", "L0", {"steps": 60})],
}


def on(space, examples):
    """The examples' nearest levels, with the classifier's own labels left as they are."""
    x = space.values[space.level(np, examples.x)]
    return type(examples)(examples.index, x, examples.y, examples.right)


def levelled(classifier, space, n=12):
    examples = on(space, slice_of(classifier, n))
    y = classifier.scores(examples.x.reshape(n, -1)).argmax(axis=1)
    return type(examples)(examples.index, examples.x, y, examples.right)


def exact_nearest(classifier, space, examples, norm):
    """The distance of the nearest input on the levels with another class, by trying all of them."""
    points = np.array(list(product(space.values, repeat=classifier.shape[0])), np.float32)
    scores = classifier.scores(points)
    nearest = []
    for x, y in zip(examples.x, examples.y, strict=True):
        others = points[scores.max(axis=1) > scores[:, y]]
        nearest.append(space.distances(np.repeat(x[None], len(others), axis=0), others)[norm].min(initial=np.inf))
    return np.array(nearest)


@pytest.mark.parametrize("norm", STAGES)
def test_what_is_found_lies_on_the_levels_and_near_the_exact_answer(norm):
    classifier, space = Affine((4,), 3, seed=2, domain=UNIT), Levels(UNIT, 3)
    examples = levelled(classifier, space, n=30)
    best = run(STAGES[norm], examples, classifier, space=space).best[norm]
    nearest = exact_nearest(classifier, space, examples, norm)
    found = np.isfinite(best.distance)
    assert space.admits(examples.x, best.x_adv).all()
    assert np.array_equal(space.distances(examples.x, best.x_adv)[norm][found], best.distance[found])
    assert (best.distance >= nearest).all()
    assert np.mean(best.distance == nearest) >= 0.8
    assert np.mean(best.distance / nearest) <= 1.02


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_an_attack_on_scores_stays_on_the_levels_and_asks_for_no_gradient(norm):
    classifier, space = Masked((4,), 3, seed=2, domain=UNIT), Levels(UNIT, 3)
    examples = levelled(classifier, space)
    stages = [Stage("square", "square", norm, {"queries": 200})]
    progress = run(stages, examples, classifier, space=space, eps=("0.5", "1", "2"))
    best = progress.best[norm]
    found = np.isfinite(best.distance)
    assert found.mean() > 0.5
    assert space.admits(examples.x, best.x_adv).all()
    assert (best.distance >= exact_nearest(classifier, space, examples, norm)).all()
    assert progress.backwards.sum() == 0


def test_a_row_does_not_depend_on_its_neighbours():
    classifier, space = Affine((4,), 3, seed=2, domain=UNIT), Levels(UNIT, 3)
    examples = levelled(classifier, space)
    stages = [*STAGES["L2"], Stage("apgd", "apgd", "L2", {"steps": 10})]
    few = np.array([7, 2, 4])
    same(
        run(stages, examples, classifier, space=space),
        run(stages, rows_of(examples, few), classifier, space=space),
        few,
        slice(None),
    )


def test_an_eps_below_one_level_is_not_attacked():
    classifier, space = Affine((4,), 3, seed=2, domain=UNIT), Levels(UNIT, 3)
    stages = [Stage("apgd", "apgd", norm, {"steps": 10}) for norm in ("Linf", "L2", "L1")]
    progress = run(stages, levelled(classifier, space), classifier, space=space, eps=("0.05", "0.1"))
    assert [row.tried for row in progress.rows] == [0, 0, 0]
    assert not progress.cut


def test_only_exact_levels_are_admitted():
    space = Levels(UNIT, 8)
    x_adv = np.repeat(level_values(UNIT)[None, :], 5, axis=0)
    x_adv[1, 3] = np.nextafter(x_adv[1, 3], np.float32(1))
    x_adv[2, 7] = 0.5
    x_adv[3, 0] = -1 / 255
    x_adv[4, 1] = np.nan
    assert space.admits(x_adv, x_adv).tolist() == [True, False, False, False, False]


@given(
    st.integers(1, 16), st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=5), st.data()
)
def test_distances_are_fractions_of_whole_levels(bits, pairs, data):
    space = Levels((-1.0, 3.0), bits)
    steps = 2**bits - 1
    level = st.integers(0, steps)
    a, b = (np.array([data.draw(level) for _ in pairs]) for _ in range(2))
    found = {n: d[0] for n, d in space.distances(space.values[a][None], space.values[b][None]).items()}
    moved = [abs(int(p) - int(q)) for p, q in zip(a, b, strict=True)]
    for norm, levels in (("Linf", max(moved)), ("L1", sum(moved))):
        assert Fraction(found[norm]) <= Fraction(levels, steps)
        assert Fraction(np.nextafter(found[norm], np.inf)) > Fraction(levels, steps)
    square = sum(m * m for m in moved)
    assert (Fraction(found["L2"]) * steps) ** 2 <= square < (Fraction(np.nextafter(found["L2"], np.inf)) * steps) ** 2
    assert found["L0"] == np.count_nonzero(moved)
    assert isqrt(square) <= sum(moved)


@pytest.mark.parametrize("norm", ["Linf", "L1"])
def test_as_many_levels_as_eps_says_are_within_eps(norm):
    """8/255 is no float64: the distance of eight levels must not come out above it."""
    space = Levels(UNIT, 8)
    eps = tuple(f"{k}/255" for k in range(1, 256))
    grid = Grid(Threat(norm=norm, eps=eps), space)
    x = np.zeros((255, 1), np.float32)
    distance = space.distances(x, space.values[1:, None])[norm]
    assert np.array_equal(grid.critical(distance), np.arange(255) - 1)


def test_in_linf_an_attack_is_given_whole_levels():
    space = Levels((0.0, 255.0), 8)
    reach = [space.reach(exact(eps), "Linf") for eps in ("0.9/255", "1/255", "2.9/255", "8/255")]
    assert reach == [0.0, 1.0, 2.0, 8.0]
    assert space.reach(exact("2.5/255"), "L2") == 2.5
    assert space.reach(exact("0.9/255"), "L2") == 0.0


def test_levels_that_gain_nothing_are_taken_back():
    """Two of four features tell the classes apart; the find moved all of them by two levels."""
    space = Levels(UNIT, 3)
    classifier = Affine((4,), 2, domain=UNIT)
    classifier.W = np.array([[0, 0, 0, 0], [1, 1, 0, 0]], np.float32)
    classifier.b = np.array([0, -0.5], np.float32)
    x, far = np.zeros((1, 4), np.float32), space.values[[[2, 2, 2, 2]]]
    view = space.view(classifier, x)
    y, rows = np.zeros(1, np.int64), np.ones(1, bool)
    for norm, left in (("L2", [2, 2, 0, 0]), ("L1", [2, 2, 0, 0]), ("L0", [2, 2, 0, 0])):
        nearer = view.nearer(view.classifier, far, y, norm, rows, follow=True)
        assert space.level(np, nearer)[0].tolist() == left, norm


def test_what_is_not_broken_is_left_as_it_is():
    classifier, space = Affine((4,), 3, seed=2, domain=UNIT), Levels(UNIT, 3)
    examples = levelled(classifier, space)
    view, rows = space.view(classifier, examples.x), np.ones(len(examples.y), bool)
    same_points = view.nearer(view.classifier, examples.x, examples.y, "L2", rows, follow=True)
    assert np.array_equal(same_points, examples.x)


def test_the_judge_is_asked_about_inputs_on_the_levels(monkeypatch):
    classifier, space = Affine((4,), 3, seed=2, domain=UNIT), Levels(UNIT, 3)
    asked, check = [], Judge.check

    def recorded(judge, x_adv, *labels):
        asked.append(x_adv)
        return check(judge, x_adv, *labels)

    monkeypatch.setattr(Judge, "check", recorded)
    run(STAGES["Linf"], levelled(classifier, space), classifier, space=space)
    assert asked
    assert space.admits(np.array(asked), np.array(asked)).all()
