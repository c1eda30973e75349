"""Audits over HTTP: asked for, listed, waited for, extended, cancelled, deleted; the worker is played by the bell."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import delete, func, select, update

from auditor import queue
from auditor.api.app import create_app
from auditor.operations import projects
from auditor.operations.events import tell
from auditor.store.database import now
from auditor.store.tables import Alias, Audit, Dataset, Item, Project, Version, Worker
from tests import finished
from tests.work import put_inputs, rows

AUDITS = "/api/v1/audits"
WORDS = {"norm": ["Linf"], "eps": ["1/255,8/255"], "examples": 50, "attack": ["fgsm"]}


@pytest.fixture
def inputs(service, project):
    return put_inputs(service, project)


@pytest.fixture
def about(inputs):
    """What every request names."""
    version, dataset = inputs
    return {"model": version, "data": dataset}


class Bell:
    """Settles what waits for it when it rings, as it was told to."""

    def __init__(self, service, ran):
        self.service, self.ran, self.answer = service, ran, {"state": "queued"}
        self.rung = 0

    def __call__(self):
        self.rung += 1
        if self.answer is None:
            return
        settled = {"spec": self.ran.report.audit.spec, "chosen": ["preset 'quick'"], "estimate": {"examples": 50}}
        with self.service.database.transaction() as session:
            for audit in session.scalars(select(Audit).where(Audit.state == "settling")):
                for name, value in (settled | self.answer).items():
                    setattr(audit, name, value)
                tell(session, audit.id, "audit.settled")


@pytest.fixture
def bell(service, ran):
    return Bell(service, ran)


@pytest.fixture
def app(service, bell):
    return create_app(replace(service, ring=bell))


@pytest.fixture
def ask(client, about):
    def ask(key=None, **words):
        headers = {} if key is None else {"Idempotency-Key": key}
        return client.post(AUDITS, json={**about, **WORDS, **words}, headers=headers)

    return ask


@pytest.fixture
def done(service, project, inputs, ran):
    """The id of a finished audit."""
    return finished.put(service, project, inputs, ran)


def change(service, audit_id, **columns):
    with service.database.transaction() as session:
        session.execute(update(Audit).where(Audit.id == audit_id).values(**columns))


def count(service, table):
    with service.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_an_audit_is_asked_for_and_settled(ask, service, ran, bell, about):
    answer = ask(priority=3, baseline=None, allow_chance=False)
    assert answer.status_code == 201
    audit = answer.json()
    assert answer.headers["location"] == f"{AUDITS}/{audit['id']}"
    assert (audit["state"], audit["version"], audit["priority"], bell.rung) == ("queued", 1, 3, 1)
    assert audit["spec"] == ran.report.audit.spec
    assert audit["spec_sha256"] == ran.report.audit.spec_sha256
    assert (audit["chosen"], audit["estimate"], audit["progress"]) == (["preset 'quick'"], {"examples": 50}, {})
    (row,) = rows(service, Audit)
    assert (row.words, row.version_id, row.dataset_id) == (WORDS, about["model"], about["data"])
    (item,) = rows(service, Item, audit_id=row.id)
    assert (item.kind, item.name, item.state, item.device, item.priority) == (
        "settle",
        "settle",
        "queued",
        "cpu",
        103,
    )


def test_levels_can_be_asked_for_before_the_data_tell_their_domain(ask, service):
    assert ask(quantize=8).status_code == 201
    assert rows(service, Audit)[0].words == WORDS | {"quantize": 8}


def test_constraints_are_asked_for_as_an_object(ask, service):
    declared = {"features": {"age": {"immutable": True}}, "groups": {"job": {"columns": ["a", "b"], "cost": 0.5}}}
    assert ask(constraints=declared).status_code == 201
    assert rows(service, Audit)[0].words == WORDS | {"constraints": declared}


@pytest.mark.parametrize("target", [0, "0", "random"])
def test_a_target_is_asked_for_by_its_number_or_at_random(ask, service, target):
    assert ask(target=target).status_code == 201
    assert rows(service, Audit)[0].words["target"] == target


def test_how_a_model_refuses_is_said_in_words(ask, service):
    assert ask(abstain=0, detector="reject:0.9").status_code == 201
    assert rows(service, Audit)[0].words == WORDS | {"abstain": 0, "detector": "reject:0.9"}


def test_what_is_done_to_inputs_at_random_is_asked_for_as_a_list(ask, service):
    transformed = {"eot": ["noise:0.05", "resize:0.9,1.1"], "draws": 10}
    assert ask(**transformed).status_code == 201
    assert rows(service, Audit)[0].words == WORDS | transformed


def test_a_stored_report_answers_with_200(ask, bell):
    bell.answer = {"state": "done"}
    assert ask().status_code == 200


def test_what_settling_refuses_is_unacceptable_and_kept(ask, bell, client):
    bell.answer = {"state": "failed", "problem": {"type": "DatasetError", "detail": "the labels do not fit"}}
    answer = ask()
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/dataset-refused")
    assert answer.json()["detail"] == "the labels do not fit"
    kept = client.get(answer.headers["location"]).json()
    assert (kept["state"], kept["problem"]["detail"]) == ("failed", "the labels do not fit")


def test_an_audit_that_is_not_settled_in_time_is_accepted(ask, bell, monkeypatch):
    monkeypatch.setattr("auditor.api.audits._SETTLING_SECONDS", 0.3)
    bell.answer = None
    answer = ask()
    assert (answer.status_code, answer.json()["state"]) == (202, "settling")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"fail_under": ["Linf=0.4"]}, "Linf=0.4"),
        ({"quantize": 8, "domain": "none"}, "quantize needs one"),
        ({"constraints": {"features": {"age": {"step": -1}}}}, "features.age.step"),
        ({"constraints": "/etc/passwd"}, "constraints"),
        ({"budget": "soon"}, "soon"),
        ({"threat": "sky"}, "sky"),
        ({"norm": ["L7"]}, "L7"),
        ({"eps": ["-1"]}, "-1"),
        ({"eps": ["1", "2"]}, "pair"),
        ({"attack": ["guess"]}, "guess"),
        ({"preset": "endless"}, "preset"),
        ({"domain": "0"}, "domain"),
        ({"scale": "1e999"}, "--scale 1e999"),
        ({"target": "cat"}, "--target cat"),
        ({"detector": "reject:much"}, "OUTPUT:THRESHOLD"),
        ({"abstain": -1}, "abstain"),
        ({"eot": ["blur:1"]}, "--eot blur:1"),
        ({"eot": "noise:0.1"}, "/eot"),
        ({"target": 3, "preset": "autoattack", "attack": []}, "--target"),
        ({"input": "x" * 200_000}, "/input"),
        ({"batch_size": 10**6}, "batch_size"),
        ({"eps": [",".join(f"{n}/999" for n in range(1, 300))]}, "too many"),
        ({"out": "/etc"}, "out"),
        ({"labels": "/etc/passwd"}, "labels"),
        ({"preprocessor": "/etc/passwd"}, "preprocessor"),
    ],
)
def test_words_that_make_no_sense_are_refused_before_anything_is_stored(ask, service, bell, words, said):
    answer = ask(**words)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert (count(service, Audit), count(service, Item), bell.rung) == (0, 0, 0)


def test_half_a_character_is_no_text(client, service):
    body = b'{"model": "digits", "data": "digits", "input": "\\ud800"}'
    answer = client.post(AUDITS, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/input")


@pytest.mark.parametrize("table", [Version, Dataset])
def test_inputs_must_be_ready(ask, service, table):
    for state, retry in (("checking", "2"), ("refused", None)):
        with service.database.transaction() as session:
            session.execute(update(table).values(state=state, reason="it is no classifier"))
        answer = ask()
        assert (answer.status_code, answer.headers.get("retry-after")) == (409, retry)
        assert ("still being checked" if retry else "it is no classifier") in answer.json()["detail"]
    assert count(service, Audit) == 0


def test_what_is_deleted_while_it_is_asked_for_is_a_conflict(ask, service, monkeypatch):
    check = projects.check_audits

    def overtaken(session, project_id):
        session.execute(delete(Version))
        check(session, project_id)

    monkeypatch.setattr(projects, "check_audits", overtaken)
    answer = ask()
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert "deleted" in answer.json()["detail"]
    assert (count(service, Audit), count(service, Version)) == (0, 1)


@pytest.mark.parametrize("name", ["model", "data"])
def test_unknown_inputs_are_not_found(ask, name):
    assert ask(**{name: "nothing"}).status_code == 404


def test_inputs_of_another_project_are_not_found(stranger, about):
    assert stranger.post(AUDITS, json=about).status_code == 404


def test_cuda_needs_a_worker_that_has_it(ask, service):
    worker = {"host": "a", "pid": 1, "kinds": [], "device": "cuda", "started_at": 0.0}
    with service.database.transaction() as session:
        session.add(Worker(owner="long dead", seen_at=0.0, **worker))
    answer = ask(device="cuda")
    assert answer.status_code == 409
    assert "CUDA" in answer.json()["detail"]
    with service.database.transaction() as session:
        session.add(Worker(owner="alive", seen_at=now(), **worker))
    assert ask(device="cuda").status_code == 201
    assert [item.device for item in rows(service, Item)] == ["cuda"]


def test_the_quota_of_audits_is_kept(ask, service, bell):
    with service.database.transaction() as session:
        session.execute(update(Project).values(quota_audits=1))
    assert ask().status_code == 201
    answer = ask()
    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/quota-exceeded")
    assert count(service, Audit) == 1


def test_a_repeated_key_gives_the_same_audit(ask, service):
    first, second = ask("once"), ask("once")
    assert first.json() == second.json()
    assert (first.status_code, second.status_code, count(service, Audit)) == (201, 201, 1)
    assert ask("once", examples=51).status_code == 422
    assert ask("again").json()["id"] != first.json()["id"]


def test_one_key_at_once_from_many_gives_one_audit(ask, service, client):
    with client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask("once"), range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == count(service, Audit) == 1


def test_a_refused_request_does_not_use_up_its_key(ask, service):
    with service.database.transaction() as session:
        session.execute(update(Version).values(state="checking"))
    assert ask("once").status_code == 409
    with service.database.transaction() as session:
        session.execute(update(Version).values(state="ready"))
    assert ask("once").status_code == 201


def test_a_policy_travels_as_words_and_names_the_baseline(ask, service, done):
    policy = {"clean": 0.9, "regression": {"baseline": done, "margin": 0.1}}
    audit_id = ask(policy=policy, on_inconclusive="warn").json()["id"]
    with service.database.reading() as session:
        row = session.get_one(Audit, audit_id)
    assert row.baseline_id == done
    assert row.words == WORDS | {"policy": {"clean": 0.9}, "margin": 0.1, "on_inconclusive": "warn"}
    waiver = {"rule": "clean=0.9", "approver": "J. Doe", "until": "2020-01-01"}
    answer = ask(policy={"clean": 0.9, "waivers": [waiver]})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/spec-refused")
    assert "ended on 2020-01-01" in answer.json()["detail"]


def test_a_baseline_is_a_finished_audit_or_a_version_s_last(ask, service, done, project, inputs, ran):
    with service.database.transaction() as session:
        version = session.get_one(Version, inputs[0])
        session.add(Alias(model_id=version.model_id, name="prod", version_id=version.id))
    name = ask().json()["model"]
    newer = finished.put(service, project, inputs, ran)
    for reference, expected in ((done, done), (f"{name}@prod", newer), (f"{name}@1", newer)):
        audit_id = ask(baseline=reference).json()["id"]
        (row,) = rows(service, Audit, id=audit_id)
        assert (row.baseline_id, row.words) == (expected, WORDS)
    running = ask().json()["id"]
    for reference in (running, "nothing"):
        answer = ask(baseline=reference)
        assert answer.status_code == 422
        assert reference in answer.json()["detail"]


def test_audits_are_listed_newest_first_in_pages(client, service, project, inputs, ran, stranger):
    ids = [
        finished.put(service, project, inputs, ran, state=state) for state in ("done", "failed", "running", "done")
    ]
    first = client.get(f"{AUDITS}?limit=3").json()
    assert [audit["id"] for audit in first["items"]] == ids[:0:-1]
    rest = client.get(f"{AUDITS}?limit=3&cursor={first['next']}").json()
    assert ([audit["id"] for audit in rest["items"]], rest["next"]) == (ids[:1], None)
    assert [a["id"] for a in client.get(f"{AUDITS}?state=done").json()["items"]] == [ids[3], ids[0]]
    model, dataset = first["items"][0]["model"], first["items"][0]["dataset"]
    assert len(client.get(AUDITS, params={"model": model, "dataset": dataset}).json()["items"]) == 4
    assert client.get(AUDITS, params={"model": "other"}).json()["items"] == []
    assert stranger.get(AUDITS).json()["items"] == []


def test_progress_counts_the_stages_of_slices_and_diagnosis(client, service, done, ran):
    shown = client.get(f"{AUDITS}/{done}").json()
    plan = ran.report.audit.plan
    stages = len(plan["stages"]) * (len(plan["slices"]) + 1)
    assert shown["progress"] == {"done": stages, "all": stages}
    assert (shown["bounds"], shown["verdict"], shown["seconds"]) == ([], "none", 1.5)
    assert shown["results_sha256"] == ran.report.results_sha256


def test_waiting_ends_with_the_next_change(client, service, done):
    change(service, done, state="running")

    answered = threading.Event()

    def stage():
        while not answered.wait(0.3):  # again, should the request have come too late for the first
            with service.database.transaction() as session:
                tell(session, done, "audit.stage", done=1)

    with client:
        telling = threading.Thread(target=stage)
        started = time.monotonic()
        telling.start()
        answer = client.get(f"{AUDITS}/{done}?wait=30")
        answered.set()
        telling.join()
        assert (answer.status_code, 0.3 < time.monotonic() - started < 10) == (200, True)
        started = time.monotonic()
        assert client.get(f"{AUDITS}/{done}?wait=0.4").json()["state"] == "running"
        assert time.monotonic() - started >= 0.4
        change(service, done, state="done")
        started = time.monotonic()
        assert client.get(f"{AUDITS}/{done}?wait=30").json()["state"] == "done"
        assert time.monotonic() - started < 5


def test_many_may_wait_while_others_are_answered(client, service, done):
    change(service, done, state="running")
    with client, ThreadPoolExecutor(60) as pool:  # more would meet the rate limit
        waiting = [pool.submit(client.get, f"{AUDITS}/{done}?wait=60") for _ in range(60)]
        time.sleep(0.5)
        started = time.monotonic()
        assert client.get(f"{AUDITS}/{done}").status_code == 200
        assert time.monotonic() - started < 5
        change(service, done, state="done")
        assert {answer.result(timeout=20).json()["state"] for answer in waiting} == {"done"}


def test_cancelling_ends_what_waits(client, ask, service):
    audit_id = ask().json()["id"]
    answers = [client.post(f"{AUDITS}/{audit_id}/cancel") for _ in range(2)]
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "cancelled")] * 2
    assert [item.state for item in rows(service, Item, audit_id=audit_id)] == ["cancelled"]
    told = client.get(f"{AUDITS}/{audit_id}/events", headers={"Accept": "application/json"}).json()["items"]
    assert [event["type"] for event in told] == ["audit.settled", "audit.cancelled"]
    assert answers[0].json()["finished_at"]


def test_cancelling_waits_for_what_runs(client, ask, service):
    audit_id = ask().json()["id"]
    with service.database.transaction() as session:
        assert queue.claim(session, "worker", kinds=["settle"], devices=["cpu"], lease=60) is not None
    assert client.post(f"{AUDITS}/{audit_id}/cancel").json()["state"] == "cancelling"
    assert [item.state for item in rows(service, Item, audit_id=audit_id)] == ["running"]


def test_what_has_ended_cannot_be_cancelled(client, done, service):
    for state in ("done", "failed"):
        change(service, done, state=state)
        assert client.post(f"{AUDITS}/{done}/cancel").status_code == 409


def test_extending_merges_grids_exactly_and_keeps_the_rest(client, service, done, project, inputs):
    body = {"eps": {"Linf": ["16/510", "0.03", "2/40"]}, "examples": 40}
    answer = client.post(f"{AUDITS}/{done}/extend", json=body, headers={"Idempotency-Key": "more"})
    assert (answer.status_code, answer.json()["extends"]) == (201, done)
    (row,) = rows(service, Audit, id=answer.json()["id"])
    assert row.words == finished.WORDS | {"examples": 40, "eps": ["0.02,0.03,8/255,0.05,0.1", "0.25,0.5"]}
    assert (row.version_id, row.dataset_id) == inputs
    again = client.post(f"{AUDITS}/{done}/extend", json=body, headers={"Idempotency-Key": "more"})
    assert again.json()["id"] == row.id


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "nothing new"),
        ({"eps": {"Linf": ["16/510"]}}, "nothing new"),
        ({"examples": 24}, "24"),
        ({"eps": {"L1": ["1"]}}, "L1"),
        ({"eps": {"Linf": ["much"]}}, "much"),
    ],
)
def test_an_extension_must_add_something(client, done, body, said):
    answer = client.post(f"{AUDITS}/{done}/extend", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_only_finished_audits_are_extended(client, done, service):
    change(service, done, state="running")
    assert client.post(f"{AUDITS}/{done}/extend", json={"examples": 99}).status_code == 409


def test_deleting_takes_everything(client, done, service):
    change(service, done, state="running")
    assert client.delete(f"{AUDITS}/{done}").status_code == 409
    change(service, done, state="done")
    assert client.delete(f"{AUDITS}/{done}").status_code == 204
    assert client.get(f"{AUDITS}/{done}").status_code == 404


def test_a_reader_changes_nothing_and_a_stranger_finds_nothing(client_of, make_key, stranger, done, about):
    reader = client_of(make_key("reader"))
    for method, path, body in (
        ("POST", "", about),
        ("POST", f"/{done}/cancel", None),
        ("POST", f"/{done}/extend", {"examples": 99}),
        ("DELETE", f"/{done}", None),
    ):
        assert reader.request(method, AUDITS + path, json=body).status_code == 403, path
        assert stranger.request(method, AUDITS + path, json=body).status_code == 404, path
    assert stranger.get(f"{AUDITS}/{done}").status_code == 404


def test_what_was_declared_of_a_version_holds_for_its_audits_unless_they_say_otherwise(ask, service):
    with service.database.transaction() as session:
        session.execute(update(Version).values(input="image", layout="NCHW"))
    for said, layout in (({}, "NCHW"), ({"layout": "NHWC"}, "NHWC")):
        audit_id = ask(**said).json()["id"]
        with service.database.reading() as session:
            assert session.get_one(Audit, audit_id).words == WORDS | {"input": "image", "layout": layout}
