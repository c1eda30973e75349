"""The figures are those of the tables, in Prometheus' format, and no label tells who or what was audited."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from auditor.operations import deletion, metrics
from auditor.operations.metrics import Metrics
from auditor.store.tables import Delivery, Item, Stage, Webhook
from tests.operations.rows import audited, item
from tests.operations.test_health import see_worker


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch):
    monkeypatch.setattr(metrics, "_FRESH", -1.0)


def figures(of):
    """Name and labels of each figure, in the order of the labels' names, and its value."""
    families = text_string_to_metric_families(of.text().decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_new_service_has_nothing_to_tell(service):
    found = figures(Metrics(service))
    assert found["auditor_queue_oldest_seconds",] == 0
    assert found["auditor_workers", "cpu"] == 0
    assert found["auditor_lease_expiries_total",] == 0


def test_the_queue_is_told_by_state_and_kind(service, project):
    made = audited(service, project, state="running")
    for number, state in enumerate(("queued", "queued", "running", "done", "poisoned")):
        item(service, project, made, name=f"slice-{number}", state=state, deaths=number, losses=1)
    item(service, project, made, kind="prepare", name="prepare", state="done")
    found = figures(Metrics(service))
    assert found["auditor_work_items", "attack", "queued"] == 2
    assert found["auditor_work_items", "prepare", "done"] == 1
    assert found["auditor_audits", "running"] == 1
    assert found["auditor_lease_expiries_total",] == 5
    assert found["auditor_child_deaths_total",] == 10
    assert found["auditor_poisoned_total",] == 1


def test_the_age_of_the_queue_is_that_of_what_could_be_claimed(service, project):
    made, at = audited(service, project, state="running"), time.time()
    ages = {"old": (100, 0), "later": (500, -60), "backed off": (900, 30)}
    for name, (age, waited) in ages.items():
        row = item(service, project, made, name=name)
        with service.database.transaction() as session:
            created = {"created_at": at - age, "not_before": at - waited if waited else 0.0}
            session.execute(update(Item).where(Item.id == row.id).values(**created))
    assert figures(Metrics(service))["auditor_queue_oldest_seconds",] == pytest.approx(100, abs=10)


def test_work_is_told_by_attack(service, project):
    made = audited(service, project, state="running")
    item(service, project, made, state="done", finished_at=time.time() - 10)
    item(service, project, made, name="slice-00001", state="done", finished_at=time.time() - 1000)
    with service.database.transaction() as session:
        columns = {"norm": "Linf", "access": "white-box", "broken": 0, "claims": 0, "refuted": 0}
        session.add(
            Stage(
                audit_id=made.audit,
                item="slice-00001",
                position=0,
                attack="apgd",
                tried=20,
                seconds=1.5,
                forwards=0,
                backwards=0,
                **columns,
            )
        )
    found = figures(Metrics(service))
    assert found["auditor_examples_total", "apgd"] == 60
    assert found["auditor_stage_seconds_total", "apgd"] == pytest.approx(4.0)
    assert found["auditor_examples_per_second", "apgd"] == pytest.approx(40 / 300)


def test_totals_do_not_fall_when_an_audit_is_deleted(service, project):
    made, of = audited(service, project), Metrics(service)
    assert figures(of)["auditor_examples_total", "apgd"] == 40
    deletion.delete_audit(service, project.id, made.audit)
    assert figures(of)["auditor_examples_total", "apgd"] == 40
    audited(service, project, name="next", salt=b"2")
    assert figures(of)["auditor_examples_total", "apgd"] == 80


def test_workers_and_their_gpus_are_told(service):
    see_worker(service)
    see_worker(service, owner="w2", device="cuda", gpu_used=3 << 30, gpu_total=16 << 30)
    see_worker(service, owner="w3", device="cuda", age=100)
    found = figures(Metrics(service))
    assert found["auditor_workers", "cpu"] == found["auditor_workers", "cuda"] == 1
    assert found["auditor_gpu_memory_bytes", "used", "w2"] == 3 << 30
    assert found["auditor_gpu_memory_bytes", "total", "w2"] == 16 << 30


def test_webhook_messages_that_were_given_up_are_told(service, project):
    with service.database.transaction() as session:
        hook = Webhook(project_id=project.id, url="https://x.example", secret="s", events=[], created_at=1.0)
        session.add(hook)
        session.flush()
        for state in ("failed", "delivered", "queued"):
            session.add(Delivery(webhook_id=hook.id, type="t", body="{}", state=state, created_at=1.0))
    assert figures(Metrics(service))["auditor_webhook_failures_total",] == 1


def test_figures_are_not_asked_for_at_every_scrape(service, project, monkeypatch):
    monkeypatch.setattr(metrics, "_FRESH", 60.0)
    of = Metrics(service)
    figures(of)
    audited(service, project)
    assert ("auditor_audits", "done") not in figures(of)


def test_no_label_names_a_model_or_a_project(service, project):
    made = audited(service, project, name="confidential")
    item(service, project, made)
    text = Metrics(service).text().decode()
    for word in ("confidential", project.name, project.id, made.audit, made.version):
        assert word not in text
