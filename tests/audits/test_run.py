"""Stages over slices: resumed where they stopped, stopped by time, redone in smaller batches."""

import numpy as np
import pytest

from auditor import local
from auditor.attacks.progress import Progress
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.plan import DIAGNOSIS_EXAMPLES
from auditor.audits.prepare import prepare
from auditor.audits.run import Engine, _Timed, alone, run_stages, slices
from auditor.classifier import OnnxClassifier
from auditor.errors import OutOfMemory, OutOfTime
from auditor.request import settle
from auditor.spec import Loss
from tests.zoo import Affine


@pytest.fixture
def prepared(subject):
    return prepare(subject)


@pytest.fixture
def engine(subject, prepared):
    return Engine(subject, prepared)


def test_every_stage_runs_on_every_slice_before_the_next(engine, prepared, tmp_path):
    items = slices(prepared)
    steps = list(run_stages(engine, items, Checkpoints(Folder(tmp_path))))
    assert [(step.item, step.stage.name, step.stage.norm) for step in steps] == [
        (item.name, stage.name, stage.norm) for stage in prepared.plan.stages for item in items
    ]
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert {step.total for step in steps} == {len(steps)}


def test_finished_stages_are_yielded_but_not_run_again(engine, prepared, tmp_path, monkeypatch):
    items, checkpoints = slices(prepared), Checkpoints(Folder(tmp_path))
    first = [next(steps) for steps in [run_stages(engine, items, checkpoints)] for _ in range(3)]
    ran = []
    run = Engine.run
    monkeypatch.setattr(Engine, "run", lambda self, *given: ran.append(given[0].name) or run(self, *given))
    second = list(run_stages(engine, items, checkpoints))
    assert len(ran) == len(second) - 3
    assert [step.item for step in second[:3]] == [step.item for step in first]
    assert list(run_stages(engine, items, checkpoints))
    assert len(ran) == len(second) - 3


def test_nothing_to_do_is_nothing_done(engine, tmp_path):
    assert list(run_stages(engine, [], Checkpoints(Folder(tmp_path)))) == []


def test_the_diagnosis_runs_every_stage_alone_on_what_is_right_when_clean(prepared):
    items = alone(prepared, 0)
    assert [item.stages for item in items] == [(stage,) for stage in prepared.plan.stages]
    assert all(np.array_equal(item.rows, np.flatnonzero(prepared.right)) for item in items)


def test_the_diagnostic_subsample_is_random_and_of_fixed_size(requested):
    prepared = prepare(settle(requested(examples=200, attack=["fgsm"])).subject)
    one, again, other = (alone(prepared, seed)[0].rows for seed in (0, 0, 1))
    assert len(one) == DIAGNOSIS_EXAMPLES
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert prepared.right[one].all()


def test_a_classifier_stops_when_its_time_is_over():
    now = [0.0]
    timed = _Timed(Affine((3,), 3), 10.0, clock=lambda: now[0])
    x, y = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
    assert timed.logits(x).shape == (2, 3)
    assert timed.gradient(x, y, Loss.MARGIN).g.shape == (2, 3)
    now[0] = 10.0
    for call in (lambda: timed.logits(x), lambda: timed.gradient(x, y, Loss.MARGIN)):
        with pytest.raises(OutOfTime, match="time budget"):
            call()


def test_the_stage_that_time_cut_is_not_kept(subject, prepared, tmp_path):
    engine, checkpoints = Engine(subject, prepared, stop_at=0.0), Checkpoints(Folder(tmp_path))
    with pytest.raises(OutOfTime):
        list(run_stages(engine, slices(prepared), checkpoints))
    assert checkpoints.load("slice-00000") is None


def fits(monkeypatch, rows, error):
    """Lets no batch of more than `rows` through; gives the batches that were tried."""
    tried, evaluate = [], OnnxClassifier.gradient

    def limited(self, *arguments, **named):
        if not tried or tried[-1] != self.batch:
            tried.append(self.batch)
        if self.batch > rows:
            raise error
        return evaluate(self, *arguments, **named)

    monkeypatch.setattr(OnnxClassifier, "gradient", limited)
    return tried


@pytest.mark.parametrize("error", [OutOfMemory("too large"), MemoryError()])
def test_a_batch_that_does_not_fit_is_halved_and_the_stage_redone_and_recorded(
    requested, prepared, subject, tmp_path, monkeypatch, error
):
    whole = Engine(subject, prepared).run(*first_stage(prepared, subject))
    tried = fits(monkeypatch, 1, error)
    redone = Engine(subject, prepared).run(*first_stage(prepared, subject))
    assert tried == [4, 2, 1]
    assert redone.rows[0].halvings == 2
    assert whole.rows[0].halvings == 0
    assert redone.rows[0].tried == whole.rows[0].tried
    assert np.array_equal(redone.forwards, whole.forwards)


def test_where_not_even_one_example_fits_the_audit_ends(prepared, subject, monkeypatch):
    fits(monkeypatch, 0, OutOfMemory("too large"))
    with pytest.raises(OutOfMemory, match="not even one example"):
        Engine(subject, prepared).run(*first_stage(prepared, subject))


def first_stage(prepared, subject):
    item = slices(prepared)[0]
    examples = prepared.examples(subject.dataset, item.rows)
    return item.stages[0], examples, Progress.start(examples, ["Linf", "L2"])


def test_a_halved_batch_is_said_in_the_report_of_the_resumed_audit_too(requested, monkeypatch):
    with monkeypatch.context() as memory:
        request = requested()
        asked = settle(request)

        def stop(step):
            raise KeyboardInterrupt

        prepared = prepare(asked.subject)
        prepared.save(Checkpoints(Folder(request.out / ".auditor" / asked.subject.sha256)))
        fits(memory, 2, OutOfMemory("too large"))
        partial = local.audit(request, asked, stop)
    assert partial.interrupted
    report = local.audit(request, asked, lambda step: None).report
    assert any("halved 1 times" in sentence for sentence in report.not_tested)
