"""The first work item: who is right when clean, whether the gradient is one, and what is asked before hours are spent."""

import dataclasses

import numpy as np
import pytest

from auditor.attacks.verify import Verifier
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.prepare import Prepared, prepare
from auditor.audits.subject import Subject
from auditor.classifier import OnnxClassifier
from auditor.data.arrays import dataset_of_arrays
from auditor.data.preprocessing import Preprocessing
from auditor.errors import DatasetError, ModelError, NoGradient, OutOfMemory
from auditor.graph.upload import read_upload
from auditor.spec import AuditSpec, Threat
from tests.graph.models import text


def subject_of(model, x, y, **settings):
    dataset = dataset_of_arrays("data", x, y, x.shape[1:], None, None, Preprocessing(), {})
    spec = AuditSpec(threats=(Threat(norm="Linf", eps=("0.1",)),), threads=1, **settings)
    return Subject("model", read_upload(model), dataset, spec)


def identity(body="y = Identity(x)", **constants):
    """Scores are the features, unless `body` says otherwise."""
    return text(f"f (float[N,4] x) => (float[N,4] y) {{ {body} }}", **constants)


X = np.random.default_rng(0).random((60, 4), dtype=np.float32)
Y = X.argmax(axis=1)


def test_the_upload_decides_who_is_right_when_clean():
    y = Y.copy()
    y[::3] = (y[::3] + 1) % 4
    prepared = prepare(subject_of(identity(), X, y))
    assert np.array_equal(prepared.predicted, Y[prepared.index])
    assert np.array_equal(prepared.right, (y == Y)[prepared.index])
    assert prepared.gradient.access == "white-box"


def test_the_sample_is_drawn_by_the_seed():
    few = [prepare(subject_of(identity(), X, Y, examples=20, seed=seed)).index for seed in (0, 0, 1)]
    assert np.array_equal(few[0], few[1])
    assert not np.array_equal(few[0], few[2])


def test_without_labels_the_models_own_answer_serves():
    prepared = prepare(subject_of(identity(), X, None))
    assert prepared.right.all()
    assert not prepared.labelled


def test_digests_tell_input_and_label_apart():
    prepared = prepare(subject_of(identity(), X[:8], Y[:8]))
    relabelled = prepare(subject_of(identity(), X[:8], (Y[:8] + (np.arange(8) == 3)) % 4))
    differ = [a != b for a, b in zip(prepared.digests, relabelled.digests, strict=True)]
    assert differ == (prepared.index == 3).tolist()


def test_what_was_prepared_survives_on_the_disk(tmp_path):
    prepared = prepare(subject_of(identity(), X, Y, examples=9))
    prepared.save(Checkpoints(Folder(tmp_path)))
    loaded = Prepared.load(Checkpoints(Folder(tmp_path)))
    for field in dataclasses.fields(Prepared):
        one, other = getattr(prepared, field.name), getattr(loaded, field.name)
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, field.name


def test_labels_out_of_range_are_refused():
    with pytest.raises(DatasetError, match="out of range"):
        prepare(subject_of(identity(), X, Y + 1))


@pytest.mark.parametrize("wrong", [1, 3])
def test_accuracy_at_chance_is_a_question(wrong):
    with pytest.raises(DatasetError, match="no better than chance"):
        prepare(subject_of(identity(), X, (Y + wrong) % 4))


def test_accuracy_at_chance_is_audited_when_it_is_insisted_on():
    prepared = prepare(subject_of(identity(), X, (Y + 1) % 4), allow_chance=True)
    assert not prepared.right.any()
    assert "not checked" in prepared.gradient.why


def test_a_weak_model_above_chance_is_no_question():
    y = Y.copy()
    y[:30] = (y[:30] + 1) % 4
    assert prepare(subject_of(identity(), X, y)).right.mean() == 0.5


def test_one_example_that_is_right_is_no_question():
    assert prepare(subject_of(identity(), X[:1], Y[:1])).right.all()


def test_scores_that_are_not_finite_on_clean_inputs_end_the_audit():
    x = X.copy()
    x[17, 0] = 0
    with pytest.raises(ModelError, match="not finite for the clean example 17"):
        prepare(subject_of(identity("y = Log(x)"), x, None))


def test_scores_that_change_from_run_to_run_are_told(monkeypatch):
    assert not prepare(subject_of(identity(), X, Y)).randomised
    scores, calls = Verifier.scores, iter(range(10**6))
    monkeypatch.setattr(Verifier, "scores", lambda self, x, **named: scores(self, x, **named) + next(calls) * 1e-9)
    assert prepare(subject_of(identity(), X, Y)).randomised


def test_a_random_model_keeps_its_gradient_unchecked():
    found = prepare(subject_of(identity("r = RandomUniformLike<low=0.0, high=0.5>(x) y = Add(x, r)"), X, Y))
    assert found.randomised
    assert found.gradient.access == "white-box"
    assert "cannot be checked" in found.gradient.why


def test_a_model_that_flips_coins_is_prepared():
    noisy = "r = Bernoulli(half) s = Mul(r, tenth) y = Add(x, s)"
    constants = {"half": np.full((1, 4), 0.5, np.float32), "tenth": np.array(0.1, np.float32)}
    found = prepare(subject_of(identity(noisy, **constants), X, Y))
    assert found.randomised
    assert 0.5 < found.expected_accuracy <= 1
    assert {stage.draws for stage in found.plan.stages} == {20}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("i = ArgMax<axis=1>(x) e = Equal(i, classes) y = Cast<to=1>(e)", "ArgMax"),
        (
            "h = Sub(x, x) i = ArgMax<axis=1>(x) e = Equal(i, classes) f = Cast<to=1>(e) y = Add(f, h)",
            "zero on every",
        ),
    ],
    ids=["no rule", "zero"],
)
def test_without_a_gradient_the_audit_asks_for_scores_and_decisions_and_says_why(body, why):
    prepared = prepare(subject_of(identity(body, classes=np.arange(4)[None]), X, Y))
    assert prepared.gradient.access == "score"
    assert why in prepared.gradient.why
    assert {stage.access for stage in prepared.plan.stages} == {"score", "decision"}


def test_a_gradient_that_is_refused_late_is_no_end(monkeypatch):
    def refuse(*arguments, **named):
        raise NoGradient("Exotic", "node 7", "nobody knows")

    monkeypatch.setattr(OnnxClassifier, "gradient", refuse)
    prepared = prepare(subject_of(identity(), X, Y))
    assert (prepared.gradient.access, prepared.gradient.why) == ("score", "Exotic (node 'node 7'): nobody knows")


def fits(monkeypatch, rows):
    evaluate = OnnxClassifier.gradient

    def limited(self, *arguments, **named):
        if self.batch > rows:
            raise OutOfMemory("too large")
        return evaluate(self, *arguments, **named)

    monkeypatch.setattr(OnnxClassifier, "gradient", limited)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(monkeypatch):
    fits(monkeypatch, 5)
    prepared = prepare(subject_of(identity(), X, Y, batch_size=16))
    assert (prepared.plan.batch, prepared.halvings) == (4, 2)


def test_where_not_one_example_fits_the_audit_ends(monkeypatch):
    fits(monkeypatch, 0)
    with pytest.raises(OutOfMemory, match="not even one example"):
        prepare(subject_of(identity(), X, Y, batch_size=16))
