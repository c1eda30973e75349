"""From the slices' progress to every example's outcome."""

import numpy as np
import pytest

from auditor.audits import finish
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.outcomes import Status
from auditor.audits.prepare import prepare
from auditor.audits.run import Engine, run_stages, slices
from auditor.request import settle
from auditor.spec import Budget


@pytest.fixture
def audit(requested, tmp_path):
    """Runs the cascade of a small audit, up to a number of steps; gives what `finish` takes."""

    def run(steps=None, **options):
        subject = settle(requested(**options)).subject
        prepared = prepare(subject)
        checkpoints = Checkpoints(Folder(tmp_path / str(steps)), passes=subject.spec.budget.passes)
        items = slices(prepared)
        for number, _ in enumerate(run_stages(Engine(subject, prepared), items, checkpoints)):
            if number + 1 == steps:
                break
        finished = {item.name: found[0] for item in items if (found := checkpoints.load(item.name)) is not None}
        return subject, prepared, items, finished

    return run


def test_a_finished_audit_leaves_no_example_open(audit):
    subject, prepared, items, finished = audit()
    linf, l2 = finish.outcomes(prepared, subject.spec, items, finished)
    for outcomes in (linf, l2):
        assert outcomes.complete.all()
        assert np.array_equal(outcomes.index, prepared.index)
        assert Status.NOT_TRIED not in outcomes.statuses()
        assert (outcomes.distance[~prepared.right] == 0).all()


def test_a_slice_that_was_not_reached_is_open(audit):
    subject, prepared, items, finished = audit(steps=1)
    linf, l2 = finish.outcomes(prepared, subject.spec, items, finished)
    assert len(items) == 2
    assert not linf.complete[prepared.right].any()
    assert (l2.complete == ~prepared.right).all()
    assert np.isinf(linf.distance[items[1].rows][prepared.right[items[1].rows]]).all()


def test_a_norm_is_complete_when_its_own_stages_ran(audit):
    subject, prepared, items, finished = audit(steps=4)
    linf, l2 = finish.outcomes(prepared, subject.spec, items, finished)
    assert linf.complete.all()
    assert not l2.complete[prepared.right].any()


def test_a_budget_leaves_open_only_whom_it_cut(audit):
    subject, prepared, items, finished = audit(budget="3passes")
    assert subject.spec.budget == Budget(passes=3)
    linf, l2 = finish.outcomes(prepared, subject.spec, items, finished)
    cut = linf.forwards + linf.backwards >= 3
    assert cut[prepared.right].any()
    assert not (linf.complete & np.isinf(linf.distance) & cut)[prepared.right].all()
    assert (linf.complete | prepared.right).all()
    assert Status.NOT_TRIED in linf.statuses() + l2.statuses()


def test_every_broken_example_has_its_nearest_point_in_the_file(audit):
    subject, prepared, items, finished = audit()
    for outcomes in finish.outcomes(prepared, subject.spec, items, finished):
        norm = outcomes.threat.norm
        found = finish.adversarial(prepared, norm, items, finished)
        broken = np.isfinite(outcomes.distance) & prepared.right
        assert np.array_equal(found["index"], prepared.index[broken])
        assert np.array_equal(found["distance"], outcomes.distance[broken])
        assert (found["label"] != found["predicted"]).all()
        delta = found["x_adv"].astype(float) - subject.dataset.fetch(found["index"])
        flat = np.abs(delta.reshape(len(delta), -1))
        measured = flat.max(axis=1) if norm == "Linf" else np.sqrt((flat**2).sum(axis=1))
        assert np.array_equal(measured, found["distance"])
        assert (found["x_adv"] >= 0).all()
        assert (found["x_adv"] <= 1).all()


def test_nothing_found_is_nothing_written(audit):
    _, prepared, items, _ = audit(steps=1)
    assert finish.adversarial(prepared, "Linf", items, {}) == {}
