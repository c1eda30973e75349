"""Rows of a table: every point keeps the rules, and comes near the exact answer, which all rows together give."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from auditor.attacks.norms import distance
from auditor.attacks.progress import Examples
from auditor.attacks.stage import Stage
from auditor.attacks.table import Table
from auditor.constraints import Constraints
from auditor.data.rules import Rules
from tests.attacks.test_cascade import rows_of, run, same
from tests.zoo import Affine, Zoo

NAMES = ("age", "visits", "dose", "a", "b", "c")
MIXED = Constraints(
    features={
        "age": {"immutable": True, "integer": True, "range": (0, 9)},
        "visits": {"integer": True, "range": (0, 6), "direction": "up", "scale": 2},
        "dose": {"step": 0.25, "range": (0, 2), "scale": 1},
    },
    groups={"kind": {"columns": ("a", "b", "c"), "cost": 0.75}},
)
VALUES = (range(10), range(7), np.arange(9) / 4)

GRADIENTS = {
    "Linf": Stage("minimal-apgd", "minimal-apgd", "Linf", {"steps": 40}),
    "L2": Stage("ddn", "ddn", "L2", {"steps": 40}),
    "L1": Stage("minimal-apgd", "minimal-apgd", "L1", {"steps": 40}),
    "L0": Stage("sigma-zero", "sigma-zero", "L0", {"steps": 40}),
}


def search(norm):
    return Stage("feature-search", "feature-search", norm, {"queries": 300}, warm=True)


def table(declared=MIXED, names=NAMES):
    return Table(Rules.of(declared, names, None))


def every_row():
    return np.array([(*v, *np.eye(3)[k]) for *v, k in product(*VALUES, range(3))], np.float32)


def examples_of(classifier, rows, n=24, seed=0):
    x = rows[np.random.default_rng(seed).permutation(len(rows))[:n]]
    return Examples(np.arange(n), x, classifier.scores(x).argmax(axis=1), np.ones(n, bool))


def exact_nearest(classifier, space, examples, norm, rows):
    scores = classifier.scores(rows)
    nearest = []
    for x, y in zip(examples.x, examples.y, strict=True):
        others = rows[scores.max(axis=1) > scores[:, y]]
        # Rows that may take the place of x, picked by hand from what MIXED says.
        others = others[(others[:, 0] == x[0]) & (others[:, 1] >= x[1])]
        clean = np.repeat(x[None], len(others), axis=0)
        nearest.append(space.distances(clean, others)[norm].min(initial=np.inf))
    return np.array(nearest)


class Trees(Zoo):
    """Sums of steps, as boosted trees are: no gradient anywhere."""

    def __init__(self, shape, classes, *, seed=0, stumps=24, high=3.0):
        super().__init__(shape, classes)
        rng = np.random.default_rng(seed)
        self.feature = rng.integers(0, shape[0], stumps)
        self.at = rng.random(stumps).astype(np.float32) * np.float32(high)
        self.value = rng.standard_normal((stumps, classes)).astype(np.float32)

    def scores(self, flat):
        passed = (flat[:, self.feature] > self.at).astype(np.float32)
        return np.sum(passed[:, :, None] * self.value[None], axis=1, dtype=np.float32)

    def pull(self, flat, g):
        return np.zeros_like(flat)


@pytest.mark.parametrize("norm", GRADIENTS)
@pytest.mark.parametrize("kind", [Affine, Trees])
def test_what_is_found_keeps_the_rules_and_comes_near_the_exact_answer(norm, kind):
    classifier, space, rows = kind((6,), 3, seed=3), table(), every_row()
    examples = examples_of(classifier, rows)
    eps = ("0.25", "0.5", "0.75", "1", "1.5", "2", "3") if norm != "L0" else ("1", "2", "3")
    stages = [GRADIENTS[norm], search(norm)] if kind is Affine else [search(norm)]
    best = run(stages, examples, classifier, space=space, eps=eps).best[norm]
    nearest = exact_nearest(classifier, space, examples, norm, rows)
    found = np.isfinite(best.distance)
    assert space.admits(examples.x, best.x_adv).all()
    assert np.array_equal(space.distances(examples.x, best.x_adv)[norm][found], best.distance[found])
    assert (best.distance >= nearest).all()
    assert np.mean(best.distance == nearest) >= 0.75
    at_eps = np.array([[np.mean(d <= float(e)) for e in eps] for d in (nearest, best.distance)])
    assert np.abs(at_eps[0] - at_eps[1]).max() <= 1.5 / len(nearest)


def test_gradients_alone_change_categories():
    """Nothing but the category tells the classes apart."""
    classifier, space = Affine((6,), 3, seed=3), table()
    classifier.W[:, :3], classifier.W[:, 3:], classifier.b[:] = 0, np.eye(3), 0
    examples = examples_of(classifier, every_row())
    best = run([GRADIENTS["Linf"]], examples, classifier, space=space, eps=("1",)).best["Linf"]
    assert (best.distance == 0.75).all()
    assert (best.x_adv[:, 3:].sum(axis=1) == 1).all()


def test_a_row_does_not_depend_on_its_neighbours():
    classifier, space = Affine((6,), 3, seed=3), table()
    examples = examples_of(classifier, every_row(), n=12)
    stages, few = [GRADIENTS["L2"], search("L2")], np.array([7, 2, 4])
    whole, part = (run(stages, e, classifier, space=space) for e in (examples, rows_of(examples, few)))
    same(whole, part, few, slice(None))


RELATED = Constraints(
    features={
        "0": {"range": (0, 5), "scale": 0.5},
        "1": {"integer": True},
        "2": {"step": "1/3", "direction": "down"},
    },
    groups={
        "k": {"columns": ("4", "5"), "cost": 2, "immutable": True},
        "m": {"columns": ("6", "7", "8"), "cost": 0.5},
    },
    relations=(
        {"terms": {"0": 1, "1": -1}, "at_most": 0},
        {"terms": {"3": 2, "6": 1}, "at_most": 1.5},
    ),
)
CLEAN = np.array([2.5, 3, 4 / 3, 0.1, 1, 0, 0, 1, 0], np.float32)
amounts = st.floats(-20, 20, width=32) | st.floats(-1, 1, width=32) | st.sampled_from([0.0, 0.5, 1.0, 2.0])


@given(arrays(np.float32, (3, 9), elements=amounts))
def test_every_point_stands_for_a_row_that_keeps_the_rules_and_is_no_further_away(points):
    space = table(RELATED, [str(i) for i in range(9)])
    x = np.repeat(CLEAN[None], 3, axis=0)
    view = space.view(Affine((9,), 2), x)
    rows = view.input(points)
    assert space.admits(x, rows).all()
    apart = space.distances(x, rows)
    for norm in ("Linf", "L2", "L1"):
        assert (apart[norm] <= distance(np, points, np.zeros_like(points), norm) * (1 + 1e-5) + 1e-9).all()
    again = view.input(view.coordinates(rows))
    assert np.allclose(again, rows, rtol=1e-6)
    assert np.array_equal(view.input(np.zeros_like(points)), x)


def test_what_the_rules_leave_no_way_to_has_no_slope():
    space = table(RELATED, [str(i) for i in range(9)])
    view = space.view(Affine((9,), 2), CLEAN[None])
    up = view.slope(np.zeros((1, 9), np.float32), np.ones((1, 9), np.float32))[0]
    assert up.tolist() == [0.5, 1, 0, 1, 0, 0, 0, 0, 0]  # 2 goes down only, 4 and 5 are fixed, no category gains
    category = np.array([[0, 0, 0, 0, 0, 0, 3, 1, 2]], np.float32)
    assert view.slope(np.zeros((1, 9), np.float32), category)[0].tolist() == [0, 0, 0, 0, 0, 0, 4, 0, 2]


def test_distances_are_exact_in_the_declared_scales():
    space = table()
    x = np.array([[5, 1, 0.5, 1, 0, 0]], np.float32)
    other = np.array([[5, 4, 0.25, 0, 1, 0]], np.float32)
    found = {norm: d[0] for norm, d in space.distances(x, other).items()}
    assert found == {"Linf": 1.5, "L2": float((1.5**2 + 0.25**2 + 0.75**2) ** 0.5), "L1": 2.5, "L0": 3.0}
    tenths = table(Constraints(features={"0": {"scale": 10}}), ["0"])
    three = tenths.distances(np.zeros((1, 1), np.float32), np.full((1, 1), 3, np.float32))["Linf"][0]
    assert Fraction(three) <= Fraction(3, 10) < Fraction(np.nextafter(three, 1))


def test_changes_that_gain_nothing_are_taken_back():
    space = table(Constraints(features={str(i): {"scale": 1} for i in range(4)}), list("0123"))
    classifier = Affine((4,), 2)
    classifier.W, classifier.b = np.array([[0, 0, 0, 0], [1, 1, 0, 0]], np.float32), np.array([0, -0.5], np.float32)
    x, far = np.zeros((1, 4), np.float32), np.array([[0.3, 0.3, 0.3, 0.3]], np.float32)
    view = space.view(classifier, x)
    for norm, follow in product(("L2", "L1", "L0"), (True, False)):
        nearer = view.nearer(view.classifier, far, np.zeros(1, np.int64), norm, np.ones(1, bool), follow=follow)
        assert np.count_nonzero(nearer) == 2
        assert 0.5 < nearer.sum() <= (0.61 if norm == "L0" else 0.52)
