"""Real processes, killed at random: every slice is counted once, and the reports are those of a calm run."""

import random
import signal
import time
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import func, select

from auditor import local, options
from auditor.request import settle
from auditor.store.database import Database
from auditor.store.tables import Audit, Event, Item, Outcome, Stage
from tests.faults.deployment import LEASE, many_machines, one_machine, send, until

AUDITS = 5  # of 63 slices each
WORDS = {"norm": ["Linf"], "eps": ["0.05,0.1"], "attack": ["fgsm"], "batch_size": 2, "threads": 1, "examples": 500}
PATIENCE = 900.0


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """results_sha256 of each audit by the command line's way, in one process that nobody disturbs."""
    from tests.conftest import DEMO

    def digest(seed):
        out = tmp_path_factory.mktemp("calm")
        request = options.request(
            WORDS | {"model": DEMO / "digits.onnx", "data": DEMO / "digits.npz", "out": out, "seed": seed}
        )
        return local.audit(request, settle(request), lambda step: None).report.results_sha256

    return [digest(seed) for seed in range(AUDITS)]


@pytest.mark.parametrize("setting", [one_machine, many_machines])
def test_kills_change_nothing(setting, calm, tmp_path, demo_model, demo_data):
    with setting(tmp_path) as deployment, deployment.client() as client:
        _upload(client, "models", demo_model)
        _upload(client, "datasets", demo_data)
        audits = [_submit(client, seed) for seed in range(AUDITS)]
        done = _disturb(deployment, client, audits)
        reports = [client.get(f"/audits/{audit}/report.json").json() for audit in audits]
        assert [report["results_sha256"] for report in reports] == calm
        figures = _counted(deployment, audits)
        print({"setting": setting.__name__, **done, **figures})
        assert figures["slices"] >= 300
        assert figures["taken again"] > 0, "nobody was killed while at work: this run shows nothing"


def _upload(client, kind, path):
    answer = client.post(f"/{kind}", params={"name": "digits", "filename": path.name}, content=path.read_bytes())
    assert answer.status_code in (201, 202), answer.text
    until(lambda: client.get(answer.headers["location"].removeprefix("/api/v1")).json()["state"] == "ready")


def _submit(client, seed):
    answer = client.post("/audits", json=WORDS | {"model": "digits", "data": "digits", "seed": seed})
    assert answer.status_code in (201, 202), answer.text
    return answer.json()["id"]


def _disturb(deployment, client, audits):
    """Kill and stop processes until every audit is done; what was done.

    Nothing is disturbed again before another slice has been done: a machine on which processes start more slowly
    than they are killed would never end.
    """
    chance, started = random.Random(0), time.monotonic()
    done = dict.fromkeys(("workers killed", "API killed", "Redis killed", "workers stopped"), 0)
    beat = 0
    while not all(_state(client, audit) == "done" for audit in audits):
        assert time.monotonic() - started < PATIENCE, "the audits do not end"
        beat += 1
        workers = [pid for pid in deployment.processes("worker") if pid not in deployment.processes("workers.child")]
        if beat % 12 == 3:
            done["API killed"] += deployment.kill_one(deployment.processes("auditor.server"), chance)
        elif beat % 12 == 6:
            done["Redis killed"] += deployment.kill("redis-server")  # it keeps nothing: its queue is gone
        elif beat % 12 == 9 and workers:
            with _stopped(chance.choice(workers)):
                done["workers stopped"] += 1
        else:
            done["workers killed"] += deployment.kill_one(workers, chance)
        deployment.keep()
        _let_work(deployment, client, audits)
        time.sleep(chance.uniform(0.0, 0.5))
    return done | {"seconds": round(time.monotonic() - started)}


def _let_work(deployment, client, audits):
    """Wait until another slice is done, or all are; what ends meanwhile is started again."""

    def seen():
        deployment.keep()
        try:
            return [client.get(f"/audits/{audit}").json() for audit in audits]
        except httpx.TransportError:
            return None

    def done(seen):
        return sum(audit["progress"].get("done", 0) for audit in seen)

    def enough():
        now = seen()
        return now and (done(now) > before or all(audit["state"] == "done" for audit in now))

    before = done(until(seen, PATIENCE))
    until(enough, PATIENCE, every=0.2)


@contextmanager
def _stopped(pid):
    """A process that sleeps past its lease, and then goes on as if nothing had been."""
    send(pid, signal.SIGSTOP)
    time.sleep(1.5 * LEASE)
    yield
    send(pid, signal.SIGCONT)


def _state(client, audit):
    try:
        state = client.get(f"/audits/{audit}").json()["state"]
    except httpx.TransportError:
        return "unreachable"
    assert state not in ("failed", "cancelled"), client.get(f"/audits/{audit}").text
    return state


def _counted(deployment, audits):
    """What the database holds of these audits; fails where anything was counted twice or is missing."""
    url = deployment.environment.get("AUDITOR_DATABASE") or f"sqlite:///{deployment.folder / 'auditor.sqlite3'}"
    database = Database(url)
    with database.reading() as session:
        items = session.scalars(select(Item).where(Item.audit_id.in_(audits))).all()
        attacks = [item for item in items if item.kind == "attack"]
        assert {item.state for item in items} == {"done"}
        assert session.scalars(select(Audit.pending).where(Audit.id.in_(audits))).all() == [0] * len(audits)
        told = select(func.count()).select_from(Event).where(Event.type == "audit.stage")
        stages = session.scalar(select(func.count()).select_from(Stage))
        assert session.scalar(told) == stages == len(attacks)
        assert session.scalar(select(func.count()).select_from(Outcome)) == len(audits) * WORDS["examples"]
    database.close()
    return {
        "slices": sum(item.name.startswith("slice-") for item in attacks),
        "taken again": sum(item.attempt > 1 for item in attacks),
        "attempts": sum(item.attempt for item in attacks),
        "leases lost": sum(item.losses for item in items),
    }
