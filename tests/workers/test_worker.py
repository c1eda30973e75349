"""Whole audits by real workers with real children, held against the command line's results."""

import itertools

import pytest

from auditor import options
from auditor.local import audit as local_audit
from auditor.request import settle
from auditor.store.artifacts import blob_key
from auditor.store.tables import Artifact, Item, Outcome, Point, Stage
from auditor.workers.loop import Worker
from tests.conftest import DEMO
from tests.work import WORDS, audit_of, events, put_audit, put_inputs, report, rows, work_off


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The same audit on the command line."""
    out = tmp_path_factory.mktemp("calm")
    request = options.request({**WORDS, "model": DEMO / "digits.onnx", "data": DEMO / "digits.npz", "out": out})
    return local_audit(request, settle(request), lambda step: None)


@pytest.fixture
def worker(service, tmp_path):
    """Makes workers."""
    numbers = itertools.count()

    def make(**options):
        name = f"worker-{next(numbers)}"
        return Worker(service, name, tmp_path / name, **options)

    return make


def test_an_audit_through_the_service_has_the_command_lines_results(service, project, worker, calm):
    audit_id = put_audit(service, project, put_inputs(service, project))
    work_off(worker())
    audit = audit_of(service, audit_id)
    assert audit.problem is None
    assert audit.state == "done"
    assert audit.results_sha256 == calm.report.results_sha256 == report(service, audit_id)["results_sha256"]
    files = {row.filename: service.artifacts.read(blob_key(row.sha256)) for row in rows(service, Artifact)}
    for name in ("adversarial.npz", "outcomes.parquet"):
        assert files[name] == (calm.folder / name).read_bytes()
    told = events(service, audit_id)
    assert told[:2] == ["audit.settled", "audit.running"]
    assert told[-1] == "audit.done"
    assert told.count("audit.stage") == len(rows(service, Stage, audit_id=audit_id))
    assert len(rows(service, Point, audit_id=audit_id)) == 4
    assert all(item.state == "done" for item in rows(service, Item))
    assert 0 < audit.seconds == pytest.approx(sum(item.seconds for item in rows(service, Item)))


def test_outcomes_in_the_database_are_those_of_the_report(service, project, worker, calm):
    audit_id = put_audit(service, project, put_inputs(service, project))
    work_off(worker())
    for curve in calm.report.curves:
        found = sorted(rows(service, Outcome, audit_id=audit_id, norm=curve.norm), key=lambda row: row.position)
        assert [row.example for row in found] == curve.examples.id
        assert [row.status for row in found] == [str(status) for status in curve.examples.status]
        assert [row.distance for row in found] == curve.examples.distance
        assert [row.attack for row in found] == curve.examples.attack
        assert [row.complete for row in found] == curve.examples.complete
