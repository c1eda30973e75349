"""What counts as an adversarial example."""

import numpy as np
import pytest

from auditor import runtime
from auditor.attacks.verify import Verifier
from auditor.graph.upload import read_upload
from auditor.spec import Normalisation
from tests.graph.models import text


def verifier(body="y = Identity(x)", *, batch="N", domain=None, normalisation=None, **weights):
    """A classifier of three features whose scores are the features, unless `body` says otherwise."""
    model = text(f"f (float[{batch},3] x) => (float[{batch},3] y) {{ {body} }}", **weights)
    return Verifier(read_upload(model), domain=domain, normalisation=normalisation)


def counts(x_adv, y, **choices):
    return verifier(**choices).check(np.array(x_adv, np.float32), y).counts


def test_another_class_counts_and_the_same_does_not():
    assert counts([0, 1, 0], 0)
    assert not counts([0, 1, 0], 1)


def test_the_verdict_holds_class_and_margin():
    verdict = verifier().check(np.array([1, 5, 3], np.float32), 2)
    assert (verdict.predicted, verdict.margin) == (1, 0.5)


@pytest.mark.parametrize("body", ["y = Identity(x)", "y = Softmax(x)"])
def test_confidence_is_the_probability_of_the_class_given(body):
    e = np.exp([1, 5, 3])
    assert verifier(body).check(np.array([1, 5, 3], np.float32), 2).confidence == pytest.approx(e[1] / e.sum())


def test_a_tie_for_the_largest_score_is_not_broken():
    assert not counts([1, 1, 0], 0)
    assert not counts([1, 1, 0], 1)


def test_a_tie_between_other_classes_is_broken():
    assert counts([0, 1, 1], 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_input_that_is_not_finite_never_counts(value):
    assert not counts([0, 1, value], 0)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_score_that_is_not_finite_never_counts(value):
    assert counts([1, 2, 0.5], 0, body="y = Log(x)")
    assert not counts([1, 2, value], 0, body="y = Log(x)")


def test_the_ends_of_the_domain_are_inside_and_one_unit_in_the_last_place_further_is_outside():
    above, below = np.nextafter(np.float32(1), np.float32(2)), np.nextafter(np.float32(0), np.float32(-1))
    assert counts([0, 1, 0], 0, domain=(0.0, 1.0))
    assert not counts([0, above, 0], 0, domain=(0.0, 1.0))
    assert not counts([below, 1, 0], 0, domain=(0.0, 1.0))


def test_the_domain_is_not_rounded_to_float32():
    nearest = np.float32(0.1)
    assert float(nearest) > 0.1
    assert not counts([0, nearest, 0], 0, domain=(0.0, 0.1))
    assert counts([0, np.nextafter(nearest, np.float32(0)), 0], 0, domain=(0.0, 0.1))


def test_a_fixed_batch_is_filled_with_copies():
    other_row = {"body": "y = Gather<axis=0>(x, rows)", "rows": np.array([1, 2, 0]), "batch": 3}
    assert counts([0, 1, 0], 0, **other_row)


def test_every_example_is_run_alone_with_one_thread_with_and_without_graph_optimisation(monkeypatch):
    opened, ran = [], []

    class Recorded(runtime.Session):
        def __init__(self, model, **choices):
            opened.append((model, choices))
            super().__init__(model, **choices)

        def run(self, feeds, outputs=None):
            ran.append({name: array.shape for name, array in feeds.items()})
            return super().run(feeds, outputs)

    checked = verifier()
    monkeypatch.setattr(runtime, "Session", Recorded)
    checked.check(np.array([0, 1, 0], np.float32), 0)
    assert [(model, choices) for model, choices in opened] == [
        (checked._upload.data, {"optimise": "all"}),
        (checked._upload.data, {"optimise": "none"}),
    ]
    assert ran == [{"x": (1, 3)}] * 2


class TwoMinds(Verifier):
    """Scores that change with graph optimisation."""

    by_optimisation = {}

    def scores(self, x, *, optimised=True):
        return np.array(self.by_optimisation[optimised], np.float64)


@pytest.mark.parametrize(
    ("optimised", "plain", "expected"),
    [
        ([0, 1, 0], [0, 1, 0], True),
        ([0, 1, 0], [0, 0, 1], True),
        ([0, 1, 0], [1, 0, 0], False),
        ([1, 0, 0], [0, 1, 0], False),
        ([0, 1, 0], [1, 1, 0], False),
        ([0, 1, 0], [0, 1, np.nan], False),
        ([0, np.inf, 0], [0, 1, 0], False),
    ],
)
def test_both_runs_have_to_give_another_class(optimised, plain, expected):
    split = TwoMinds(verifier()._upload, domain=None)
    split.by_optimisation = {True: optimised, False: plain}
    verdict = split.check(np.zeros(3, np.float32), 0)
    assert verdict.counts is expected


def test_the_smaller_margin_of_the_two_runs_is_kept():
    split = TwoMinds(verifier()._upload, domain=None)
    split.by_optimisation = {True: [0, 1, 0], False: [0.5, 1, 0]}
    assert split.check(np.zeros(3, np.float32), 0).margin == 0.5


def test_the_declared_normalisation_comes_before_the_upload():
    shifted = Normalisation(mean=(0.0, 0.0, 5.0), std=(1.0,))
    assert counts([1, 2, 3], 1)
    assert not counts([1, 2, 3], 1, normalisation=shifted)
    assert counts([1, 2, 3], 2, normalisation=shifted)


def test_the_domain_is_that_of_the_input_before_normalisation():
    scaled = Normalisation(mean=(0.0,), std=(0.01,))
    assert counts([0, 1, 0], 0, domain=(0.0, 1.0), normalisation=scaled)
