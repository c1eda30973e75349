"""Searches on sums of trees against every combination of cells of tiny ones, on which the answer is known."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from auditor.attacks.levels import Levels
from auditor.attacks.random import Random
from auditor.attacks.space import Space
from auditor.attacks.table import Table
from auditor.attacks.trees import Forest, leaf_tuples, tree_search
from auditor.attacks.trees.branch import Branching
from auditor.attacks.trees.cells import Goal
from auditor.constraints import Constraints
from auditor.data.rules import Rules
from auditor.graph.trees import Ensemble, Split, arrays
from auditor.spec import NORMS

FEATURES = 3
INFINITE = np.array([np.inf])


def random_trees(seed, classes=3, trees=5, depth=3, cuts=None):
    """Trees of random splits of every mode, on few thresholds, some of them the same in several trees."""
    rng = np.random.default_rng(seed)
    cuts = np.float32(rng.random(6)) if cuts is None else cuts
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE", "BRANCH_EQ", "BRANCH_NEQ"]
    splits, leaves, roots = {}, {}, []

    def grow(level):
        if level == depth or (level and rng.random() < 0.2):
            leaves[len(leaves)] = {k: float(v) for k, v in enumerate(np.float32(rng.normal(size=classes)))}
            return True, len(leaves) - 1
        yes, no = grow(level + 1), grow(level + 1)
        mode = modes[rng.integers(6 if level == depth - 1 else 4)]
        splits[len(splits)] = Split(int(rng.integers(FEATURES)), mode, float(rng.choice(cuts)), yes, no)
        return False, len(splits) - 1

    for _ in range(trees):
        roots.append(grow(0))
    ensemble = Ensemble(splits, leaves, roots, classes, [0.0] * classes, average=False)
    found = arrays([(ensemble, np.eye(classes))], FEATURES, np.zeros(classes))
    assert found is not None
    return ensemble, found


def walked(ensemble, x):
    """The scores of one input, node after node."""
    scores = np.array(ensemble.base, np.float64)
    ask = {
        "BRANCH_LEQ": np.less_equal,
        "BRANCH_LT": np.less,
        "BRANCH_GT": np.greater,
        "BRANCH_GTE": np.greater_equal,
        "BRANCH_EQ": np.equal,
        "BRANCH_NEQ": np.not_equal,
    }
    for is_leaf, key in ensemble.roots:
        while not is_leaf:
            split = ensemble.splits[key]
            is_leaf, key = split.yes if ask[split.mode](x[split.feature], np.float32(split.value)) else split.no
        for output, value in ensemble.leaves[key].items():
            scores[output] += value
    return scores


class OfTrees:
    """The classifier that a sum of trees is."""

    xp, shape = np, (FEATURES,)

    def __init__(self, trees, domain=None):
        self.trees, self.classes, self.domain = trees, trees.value.shape[1], domain
        self.forwards = 0

    def logits(self, x, *, active=None):
        active = np.ones(len(x), bool) if active is None else active
        self.forwards += int(active.sum())
        return np.where(active[:, None], self.trees.scores(x), 0).astype(np.float32)


def every_value(trees, x, space):
    """Per feature the nearest value of each cell that an input may have, and how far it is."""
    values = []
    for feature in range(FEATURES):
        cuts = np.unique(
            np.concatenate([trees.lower[trees.feature == feature], trees.upper[trees.feature == feature]])
        )
        cuts = cuts[np.isfinite(cuts)]
        lower = np.concatenate([-INFINITE, cuts]).astype(np.float32)
        upper = np.concatenate([cuts, INFINITE]).astype(np.float32)
        value, cost = space.nearest(x, np.full(len(lower), feature), lower, upper)
        values.append([(v, c) for v, c in zip(value, cost, strict=True) if np.isfinite(c)])
    return values


def nearest_of_all(trees, x, y, space, norm, target=None):
    """The least distance at which some combination of cells is of another class; inf where none is."""
    least = np.inf
    for combination in product(*every_value(trees, x, space)):
        point = np.array([v for v, _ in combination], np.float32)
        cost = np.array([c for _, c in combination])
        scores = trees.scores(point[None])[0]
        reached = scores.argmax() != y if target is None else scores[target] > np.delete(scores, target).max()
        if reached:
            least = min(
                least,
                {"Linf": cost.max(), "L2": np.sqrt((cost**2).sum()), "L1": cost.sum(), "L0": (cost > 0).sum()}[norm],
            )
    return least


def table_space():
    declared = Constraints.model_validate(
        {
            "features": {
                "0": {"direction": "up", "scale": 0.5, "range": [0, 1]},
                "1": {"step": 0.125, "range": [0, 1]},
                "2": {"immutable": True},
            }
        }
    )
    return Table(Rules.of(declared, [str(i) for i in range(FEATURES)], None))


SPACES = {
    "everywhere": Space(),
    "domain": Space((0.2, 0.8)),
    "levels": Levels((0.0, 1.0), 3),
    "table": table_space(),
}


def examples(space, seed, n=6):
    x = np.random.default_rng(seed).random((n, FEATURES)).astype(np.float32) * np.float32(0.6) + np.float32(0.2)
    if isinstance(space, Levels):
        return space.values[space.level(np, x)]
    if isinstance(space, Table):
        x[:, 1] = np.round(x[:, 1] * 8) / 8
    return x


@pytest.mark.parametrize("seed", range(6))
def test_leaves_as_boxes_give_the_scores_of_a_walk(seed):
    cuts = np.float32(np.random.default_rng(seed).random(6))
    ensemble, trees = random_trees(seed, cuts=cuts)
    near = np.concatenate([cuts, np.nextafter(cuts, np.float32(2)), np.nextafter(cuts, np.float32(-2))])
    x = np.random.default_rng(seed).choice(near, (200, FEATURES))
    assert np.allclose(trees.scores(x), [walked(ensemble, row) for row in x], atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_the_search_is_exact_in_every_norm_and_space(norm, name, targeted):
    space = SPACES[name]
    found_some = 0
    for seed in range(4):
        _, trees = random_trees(seed)
        x = examples(space, seed)
        classifier, y = OfTrees(trees), trees.scores(x).argmax(axis=1)
        target = (y + 1) % 3 if targeted else None
        proof = tree_search(
            classifier,
            x,
            y,
            ceiling=np.full(len(x), np.inf),
            norm=norm,
            rng=Random.keyed(np, 0, "trees", np.arange(len(x))),
            forest=Forest.of(trees, space),
            target=target,
        )
        for row in range(len(x)):
            wanted = nearest_of_all(trees, x[row], y[row], space, norm, None if target is None else target[row])
            if wanted == np.inf:
                assert not proof.found[row]
                assert proof.radius[row] == np.inf
                continue
            found_some += 1
            assert proof.found[row]
            assert space.admits(x[row : row + 1], proof.x_adv[row : row + 1])[0]
            distance = space.distances(x[row : row + 1], proof.x_adv[row : row + 1])[norm]
            assert np.isclose(distance[0], space.measured(wanted, norm), rtol=1e-6)
            nothing_within = wanted - 1 if norm == "L0" else wanted * (1 - 1e-6)
            assert np.isclose(proof.radius[row], nothing_within, rtol=1e-9)
    assert found_some >= 8


def test_a_search_that_is_cut_short_proves_less_and_never_too_much():
    proved = []
    for seed in range(4):
        _, trees = random_trees(seed, classes=2, trees=12, depth=4)
        space = Space()
        x = examples(space, seed)
        y = trees.scores(x).argmax(axis=1)
        exact = [nearest_of_all(trees, row, label, space, "L2") for row, label in zip(x, y, strict=True)]
        for visits in (2_000, 20_000, 2_000_000):
            proof = tree_search(
                OfTrees(trees), x, y, ceiling=np.full(len(x), np.inf), norm="L2", rng=None, forest=Forest.of(trees, space), visits=visits
            )  # fmt: skip
            assert (proof.radius <= np.array(exact)).all()
            proved.append((visits, float(np.mean(proof.radius / np.array(exact)))))
    shares = {visits: np.mean([share for v, share in proved if v == visits]) for visits, _ in proved}
    assert shares[2_000] < shares[20_000] < shares[2_000_000]
    assert shares[2_000_000] == pytest.approx(1, abs=1e-5)


def test_what_rounding_decides_is_asked_and_not_proved():
    """Two trees whose leaves cancel: beyond the threshold both classes have the same score."""
    splits = {
        0: Split(0, "BRANCH_LEQ", 0.5, (True, 0), (True, 1)),
        1: Split(1, "BRANCH_LEQ", 0.75, (True, 2), (True, 3)),
    }
    leaves = {0: {0: 0.5}, 1: {0: 0.25, 1: 0.25}, 2: {0: 0.25, 1: 0.25}, 3: {1: 1.0}}
    ensemble = Ensemble(splits, leaves, [(False, 0), (False, 1)], 2, [0.0, 0.0], average=False)
    trees = arrays([(ensemble, np.eye(2))], 2, np.zeros(2))
    x = np.array([[0.25, 0.25]], np.float32)

    class Tied(OfTrees):
        shape = (2,)

    classifier = Tied(trees)
    proof = tree_search(
        classifier, x, np.array([0]), ceiling=INFINITE, norm="Linf", rng=None, forest=Forest.of(trees, Space())
    )
    assert proof.found[0]
    assert proof.x_adv[0, 1] > 0.75  # not the tie, which is nearer
    assert proof.radius[0] == pytest.approx(0.25, rel=1e-5)  # but no more than up to the tie is proved
    assert classifier.forwards == 2


@pytest.mark.parametrize("norm", NORMS)
def test_the_local_search_comes_near_the_nearest_point(norm):
    ratios, space = [], Space((0.0, 1.0))
    for seed in range(6):
        _, trees = random_trees(seed, trees=8, depth=3)
        x = examples(space, seed)
        y = trees.scores(x).argmax(axis=1)
        attempt = leaf_tuples(
            OfTrees(trees),
            x,
            y,
            ceiling=np.full(len(x), np.inf),
            norm=norm,
            rng=Random.keyed(np, 0, "trees", np.arange(len(x))),
            forest=Forest.of(trees, space),
        )
        for row in range(len(x)):
            wanted = nearest_of_all(trees, x[row], y[row], space, norm)
            assert attempt.found[row] or wanted == np.inf
            if attempt.found[row]:
                found = space.distances(x[row : row + 1], attempt.x_adv[row : row + 1])[norm][0]
                assert found >= wanted * (1 - 1e-12)
                ratios.append(found / wanted)
    assert np.mean(np.array(ratios) < 1 + 1e-9) > 0.8
    assert max(ratios) < 2.5


def test_a_scaler_whose_rounding_is_not_known_costs_its_slack():
    _, trees = random_trees(0)
    x = examples(Space(), 0)
    y = trees.scores(x).argmax(axis=1)

    def radius(slack, norm):
        forest = Forest.of(replace(trees, slack=slack), Space())
        given = {"ceiling": np.full(len(x), np.inf), "norm": norm, "rng": None, "forest": forest}
        return tree_search(OfTrees(trees), x, y, **given).radius

    assert np.allclose(radius(0.0, "Linf") - radius(1e-4, "Linf"), 1e-4)
    assert np.allclose(radius(0.0, "L1") - radius(1e-4, "L1"), 3e-4)
    assert (radius(np.inf, "L2") == 0).all()


def test_a_goal_is_every_margin():
    _, trees = random_trees(1)
    goal = Goal.ahead(trees, 2, [0, 1])
    forest = Forest.of(trees, Space())
    cells = np.array([forest.grid.home(row) for row in examples(Space(), 1)])
    scores = trees.scores(examples(Space(), 1))
    assert np.allclose(goal.reached(forest.grid, cells), scores[:, 2] - scores[:, :2].max(axis=1))
    prices = forest.prices(examples(Space(), 1)[0], "L1")
    assert Branching(prices, goal, 10**6).nearest(np.inf).total == pytest.approx(
        nearest_of_all(trees, prices.x, None, Space(), "L1", target=2)
    )
