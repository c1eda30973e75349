"""The cascade on classifiers whose answers are known."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.attacks.cascade import run_stage
from auditor.attacks.grid import Grid
from auditor.attacks.progress import Examples, Progress
from auditor.attacks.space import Space, in_widths
from auditor.attacks.stage import Stage
from auditor.attacks.verify import Verdict
from auditor.spec import Threat, exact
from tests.zoo import Affine, Masked, Zoo

MINIMAL = Stage("minimal-apgd", "minimal-apgd", "Linf", {"steps": 30})
PGD = Stage("pgd", "pgd", "Linf", {"steps": 20})
FGSM = Stage("fgsm", "fgsm", "L2")
FLOATS = Space()


class Judge:
    """Verifies by the zoo's own scores, which must differ by more than `needed`; refuses every point of the classes in
    `refuse`."""

    def __init__(self, classifier, refuse=(), needed=0.0):
        self.classifier, self.refuse, self.needed = classifier, refuse, needed

    def check(self, x_adv, y, target=None):
        scores = self.classifier.scores(x_adv.reshape(1, -1))[0]
        reached = scores.max() > scores[y] + self.needed if target is None else scores.argmax() == target
        counts = reached and y not in self.refuse
        return Verdict(bool(counts), int(scores.argmax()), 0.1)


def slice_of(classifier, n=12, seed=1):
    x = np.random.default_rng(seed).random((n, *classifier.shape), dtype=np.float32)
    y = classifier.scores(x.reshape(n, -1)).argmax(axis=1)
    return Examples(np.arange(n) * 3 + 5, x, y, np.ones(n, bool))


def rows_of(examples, rows):
    columns = {name: column[rows] for name, column in vars(examples).items() if isinstance(column, np.ndarray)}
    return replace(examples, **columns)


def run(
    stages,
    examples,
    classifier,
    *,
    eps=("0.01", "0.03", "0.1", "0.3", "1"),
    refuse=(),
    needed=0.0,
    passes=None,
    seed=0,
    space=FLOATS,
):
    norms = list(dict.fromkeys(stage.norm for stage in stages))
    progress = Progress.start(examples, norms)
    for stage in stages:
        progress = run_stage(
            stage,
            examples,
            progress,
            classifier=classifier,
            verifier=Judge(classifier, refuse, needed),
            grid=Grid(Threat(norm=stage.norm, eps=eps), space),
            space=space,
            seed=seed,
            passes=passes,
        )
    return progress


def test_a_minimal_norm_stage_comes_near_the_exact_distance_from_above():
    classifier = Affine((6,), 2)
    examples = slice_of(classifier)
    found = run([MINIMAL], examples, classifier).best["Linf"].distance
    nearest = classifier.exact(examples.x, examples.y, "Linf")
    assert (found >= nearest * (1 - 1e-6)).all()
    assert (found <= nearest * 1.05).all()


def test_a_fixed_budget_stage_gives_the_whole_curve():
    classifier = Affine((6,), 2)
    examples = slice_of(classifier, n=40)
    grid = Grid(Threat(norm="Linf", eps=("0.01", "0.03", "0.1", "0.3", "1")), Space())
    found = grid.critical(run([PGD], examples, classifier).best["Linf"].distance)
    nearest = classifier.exact(examples.x, examples.y, "Linf")
    assert np.array_equal(found, grid.critical(nearest))
    assert len(set(found.tolist())) > 2


class Band(Zoo):
    """Two classes of one number: class 1 between 0.1 and 0.2, class 0 on either side."""

    def __init__(self):
        super().__init__((1,), 2)

    def scores(self, flat):
        return np.concatenate([np.zeros_like(flat), 0.05 - np.abs(flat - 0.15)], axis=1)

    def pull(self, flat, g):
        return g[:, 1:] * -np.sign(flat - 0.15)


def test_a_stage_for_each_eps_finds_what_lies_below_an_eps_at_which_it_fails():
    examples = Examples(np.arange(3), np.zeros((3, 1), np.float32), np.zeros(3, np.int64), np.ones(3, bool))
    grid = ("0.05", "0.15", "1", "2")
    critical, each = (
        run([Stage("fgsm", "fgsm", "Linf", each_eps=each)], examples, Band(), eps=grid) for each in (False, True)
    )
    assert np.isinf(critical.best["Linf"].distance).all()
    assert each.best["Linf"].distance == pytest.approx(0.15)
    assert each.forwards.tolist() == [2 * 2] * 3  # at the two smallest: above them all are known to be broken


@pytest.mark.parametrize("attack", ["pgd", "square"])
def test_a_stage_for_each_eps_finds_at_one_eps_what_it_finds_there_alone(attack):
    classifier = Affine((6,), 2)
    examples = slice_of(classifier)
    nearest = classifier.exact(examples.x, examples.y, "Linf")
    low, middle, high = (f"{np.quantile(nearest, share):.4f}" for share in (0.1, 0.5, 0.9))
    steps = {"steps": 3} if attack == "pgd" else {"queries": 30}
    stage = Stage(attack, attack, "Linf", steps, each_eps=True)
    alone, within = (run([stage], examples, classifier, eps=eps) for eps in ((middle,), (low, middle, high)))
    above = nearest > float(low)
    assert (within.best["Linf"].distance <= alone.best["Linf"].distance).all()
    at_middle = above & (alone.best["Linf"].distance <= float(middle))
    assert at_middle.any()
    assert np.array_equal(within.best["Linf"].x_adv[at_middle], alone.best["Linf"].x_adv[at_middle])


def test_l0_counts_features_however_wide_the_domain_is():
    classifier = Affine((6,), 2, seed=4, domain=(0.0, 5.0))
    examples = slice_of(classifier)
    stages = [Stage("sigma-zero", "sigma-zero", "L0", {"steps": steps}) for steps in (5, 60)]
    found = run(stages, examples, classifier, eps=("1", "2", "3"), space=Space((0.0, 5.0))).best["L0"]
    assert np.array_equal(found.distance, np.sum(found.x_adv != examples.x, axis=1))
    assert np.array_equal(found.distance, classifier.fewest(examples.x, examples.y))


def test_a_warm_minimal_norm_stage_goes_on_from_the_nearest_known_point():
    """FGSM's direction is exact here: bisected along it, its points at distance 3 come as near as HopSkipJump bisects
    in six dimensions, to 6^-1.5 of that. No dozen random points do."""
    classifier = Affine((6,), 2)
    examples = slice_of(classifier)
    nearest = classifier.exact(examples.x, examples.y, "L2")
    decisions = Stage("hop-skip-jump", "hop-skip-jump", "L2", {"queries": 14})
    cold = run([FGSM, decisions], examples, classifier, eps=("1e-9", "3")).best["L2"].distance
    warm = run([FGSM, replace(decisions, warm=True)], examples, classifier, eps=("1e-9", "3")).best["L2"].distance
    assert (warm <= nearest + 3 * 6**-1.5).all()
    assert not (cold <= nearest + 3 * 6**-1.5).any()


def test_what_is_found_is_scored_under_every_norm():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    best = run([MINIMAL, FGSM], examples, classifier, eps=("1e-9",)).best
    assert (best["L2"].attack == "minimal-apgd").all()
    delta = best["L2"].x_adv.astype(np.float64) - examples.x
    assert np.array_equal(best["L2"].distance, np.sqrt(np.sum(delta**2, axis=1)))


def test_later_stages_never_lose_what_earlier_ones_found():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    one = run([MINIMAL], examples, classifier).best["Linf"].distance
    both = run([MINIMAL, PGD], examples, classifier).best["Linf"].distance
    assert (both <= one).all()


def test_examples_that_are_wrong_when_clean_are_left_alone():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    examples.right[:5] = False
    progress = run([MINIMAL, PGD], examples, classifier)
    assert np.isinf(progress.best["Linf"].distance[:5]).all()
    assert progress.forwards[:5].sum() == progress.backwards[:5].sum() == 0
    assert progress.rows[0].tried == len(examples.index) - 5


def test_claims_that_the_upload_does_not_confirm_are_counted_and_dropped():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    refused = int(examples.y[0])
    progress = run([MINIMAL], examples, classifier, refuse=(refused,))
    theirs = examples.y == refused
    assert np.isinf(progress.best["Linf"].distance[theirs]).all()
    assert progress.rows[0].refuted == theirs.sum()
    assert progress.rows[0].claims == len(examples.index)


def test_what_the_upload_refutes_is_tried_again_farther_out():
    """An upload that takes scores for equal that are close."""
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    plain = run([MINIMAL], examples, classifier).best["Linf"].distance
    blunt = run([MINIMAL], examples, classifier, needed=0.2)
    again = blunt.best["Linf"].distance
    assert np.isfinite(again).sum() > 0.5 * len(again)
    assert (again >= plain).all()
    assert blunt.rows[0].refuted == np.isinf(again[examples.right]).sum()


def test_an_attack_on_scores_needs_no_gradient():
    classifier = Masked((6,), 4)
    examples = slice_of(classifier)
    gradients = run([PGD], examples, classifier, eps=("1",)).best["Linf"].distance
    square = Stage("square", "square", "Linf", {"queries": 200})
    scores = run([square], examples, classifier, eps=("1",))
    assert np.isfinite(scores.best["Linf"].distance).sum() > np.isfinite(gradients).sum()
    assert scores.backwards.sum() == 0
    assert square.access == "score"


def same(progress, other, rows, other_rows):
    for norm, best in progress.best.items():
        for name, column in vars(best).items():
            assert np.array_equal(column[rows], getattr(other.best[norm], name)[other_rows]), name
    assert np.array_equal(progress.forwards[rows], other.forwards[other_rows])
    assert np.array_equal(progress.backwards[rows], other.backwards[other_rows])


STAGES = [MINIMAL, PGD, FGSM, Stage("square", "square", "Linf", {"queries": 20})]


def test_a_repeated_stage_gives_the_same_bits():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    same(*(run(STAGES, examples, classifier) for _ in range(2)), slice(None), slice(None))


def test_shuffled_positions_and_other_neighbours_change_no_bit():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    whole = run(STAGES, examples, classifier)
    order = np.random.default_rng(0).permutation(len(examples.index))
    same(whole, run(STAGES, rows_of(examples, order), classifier), order, slice(None))
    few = np.array([9, 2, 4])
    same(whole, run(STAGES, rows_of(examples, few), classifier), few, slice(None))


def test_another_seed_draws_other_numbers():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    one, two = (run([PGD], examples, classifier, seed=seed).best["Linf"] for seed in (0, 1))
    assert not np.array_equal(one.x_adv, two.x_adv)


def test_a_budget_of_passes_skips_whom_it_cannot_pay_for_and_says_so():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    progress = run([MINIMAL, PGD, FGSM], examples, classifier, passes=1, eps=("1e-9",))
    first = run([MINIMAL], examples, classifier, eps=("1e-9",))
    assert np.array_equal(progress.forwards, first.forwards)
    assert progress.rows[1].tried == 0
    assert not first.cut
    assert progress.cut


def test_a_budget_marks_only_the_norm_whose_stage_was_skipped():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    progress = run([MINIMAL, FGSM], examples, classifier, passes=1, eps=("1e-9",))
    assert not progress.skipped["Linf"].any()
    assert progress.skipped["L2"].all()


def test_examples_that_no_eps_of_the_grid_can_change_cost_nothing_more():
    classifier = Affine((6,), 4)
    examples = slice_of(classifier)
    nearest = classifier.exact(examples.x, examples.y, "Linf")
    progress = run([MINIMAL, PGD], examples, classifier, eps=(f"{nearest.max() * 2:.6f}",))
    assert progress.rows[1].tried == 0
    assert not progress.cut


GRID = ("1/255", "8/255", "0.1", "1/3")


@given(st.sampled_from(GRID), st.integers(-2, 2))
def test_an_eps_that_float64_cannot_hold_is_compared_exactly(eps, steps):
    distance = float(exact(eps))
    for _ in range(abs(steps)):
        distance = float(np.nextafter(distance, np.inf if steps > 0 else 0))
    grid = Grid(Threat(norm="Linf", eps=GRID), Space())
    broken_at = {text for text in GRID if Fraction(distance) <= exact(text)}
    position = int(grid.critical(np.array([distance]))[0])
    assert {text for place, text in enumerate(GRID) if place > position} == broken_at


def test_a_distance_equal_to_eps_is_inside_it():
    grid = Grid(Threat(norm="L2", eps=("0.25", "0.5")), Space())
    assert grid.critical(np.array([0.0, 0.25, 0.2500001, 0.5, 0.6, np.inf])).tolist() == [-1, -1, 0, 0, 1, 1]


@pytest.mark.parametrize("width", [1.0, 255.0, 2.64 + 2.1179, 0.1])
def test_a_point_at_the_eps_that_is_attacked_counts_at_that_eps(width):
    eps = tuple(f"{n}/255" for n in range(1, 256))
    grid = Grid(Threat(norm="Linf", eps=eps), Space((0.0, width)))
    units = grid.units(np.arange(len(eps)))
    assert np.array_equal(grid.critical(in_widths(units, width)), np.arange(len(eps)) - 1)
    assert np.allclose(units, width * np.arange(1, 256) / 255, rtol=1e-14)


def test_no_eps_is_no_room():
    assert Grid(Threat(norm="L2", eps=("1",)), Space()).units(np.array([-1, 0])).tolist() == [0.0, 1.0]
