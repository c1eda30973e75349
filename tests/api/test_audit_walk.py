"""An audit over HTTP with a real worker, from the request to everything that can be read of it."""

import io

import numpy as np
import pytest

from auditor.report.schema import Report
from auditor.workers.loop import Worker
from tests import finished
from tests.conftest import DEMO
from tests.work import WORDS, at_work, put_inputs

AUDITS = "/api/v1/audits"
EXAMPLES = WORDS["examples"]
MORE = EXAMPLES + 16


@pytest.fixture
def asked(client, service, project, tmp_path, monkeypatch):
    """Asks for the audit of the demo while a worker is at work, with more words."""
    monkeypatch.setattr("auditor.api.audits._SETTLING_SECONDS", 120.0)  # however busy the machine is
    version, dataset = put_inputs(service, project)
    with client, at_work(Worker(service, "worker", tmp_path / "scratch")):
        yield lambda **words: client.post(AUDITS, json={"model": version, "data": dataset, **WORDS, **words})


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """results_sha256 of the walk's audit by the command line's way, as it is asked for and as it is extended."""
    folder = tmp_path_factory.mktemp("here")
    return [finished.run(folder, **WORDS | {"examples": n}).report.results_sha256 for n in (EXAMPLES, MORE)]


def ended(client, audit_id):
    for _ in range(100):
        audit = client.get(f"{AUDITS}/{audit_id}?wait=30").json()
        if audit["state"] in ("done", "failed", "cancelled"):
            return audit
    raise AssertionError(audit)


def test_an_audit_is_done_answered_again_and_extended(asked, client, here):
    made = asked()
    assert made.status_code == 201, made.text
    assert made.json()["estimate"]["passes_at_most"] > 0
    audit = ended(client, made.json()["id"])
    assert (audit["state"], audit["problem"]) == ("done", None)
    assert audit["progress"]["done"] == audit["progress"]["all"] > 0
    assert audit["results_sha256"] == here[0]
    path = f"{AUDITS}/{audit['id']}"
    report = Report.model_validate_json(client.get(f"{path}/report.json").content)
    assert report.results_sha256 == audit["results_sha256"]
    curves = client.get(f"{path}/curves").json()
    assert [[point["robust_accuracy"] for point in curve["points"]] for curve in curves] == [
        [point.robust_accuracy for point in curve.points] for curve in report.curves
    ]
    outcomes = client.get(f"{path}/outcomes?norm=Linf").json()["items"]
    assert [row["distance"] for row in outcomes] == report.curves[0].examples.distance
    example = client.get(f"{path}/examples?limit=1").json()["items"][0]
    assert np.load(io.BytesIO(client.get(example["array"]).content)).shape == (1, 8, 8)

    again = asked()
    assert (again.status_code, again.json()["results_sha256"]) == (200, audit["results_sha256"])
    refused = asked(label_column="y", mean="0.5,0.5,0.5,0.5,0.5", std="1")
    assert refused.status_code == 422, refused.text

    more = client.post(f"{path}/extend", json={"examples": MORE})
    assert (more.status_code, more.json()["extends"]) == (201, audit["id"])
    extended = ended(client, more.json()["id"])
    assert extended["results_sha256"] == here[1]


def test_a_running_audit_is_bounded_and_cancelled(asked, client):
    audit_id = asked(examples=400, attack=["square", "pgd"]).json()["id"]
    path = f"{AUDITS}/{audit_id}"
    while not (known := client.get(f"{path}?wait=20").json())["bounds"] or not known["progress"]["done"]:
        assert known["state"] in ("queued", "running"), known
    assert known["progress"]["done"] < known["progress"]["all"]
    assert all(0 <= bound["lower"] <= bound["upper"] <= 1 for bound in known["bounds"])
    assert any(bound["lower"] < bound["upper"] for bound in known["bounds"])
    assert client.get(f"{path}/report.json").status_code == 202
    assert client.post(f"{path}/cancel").json()["state"] in ("cancelling", "cancelled")
    assert ended(client, audit_id)["state"] == "cancelled"
    report = client.get(f"{path}/report.json")
    assert (report.status_code, report.json()["state"]) == (409, "cancelled")
    assert report.json()["bounds"]


def test_weights_and_groups_come_with_the_data(client, service, project, tmp_path):
    with np.load(DEMO / "digits.npz") as stored:
        columns = {"worth": np.arange(len(stored["x"])) % 3 + 1, "writer": np.arange(len(stored["x"])) % 30}
        np.savez(tmp_path / "data.npz", **stored, **columns)
    words = WORDS | {"norm": ["Linf"], "eps": ["0.1"], "attack": ["fgsm"], "weights": "worth", "groups": "writer"}
    version, dataset = put_inputs(service, project, data=tmp_path / "data.npz")
    with client, at_work(Worker(service, "worker", tmp_path / "scratch")):
        made = client.post(AUDITS, json={"model": version, "data": dataset, **words})
        audit = ended(client, made.json()["id"])
    here = finished.run(tmp_path / "here", **words, data=tmp_path / "data.npz")
    assert audit["results_sha256"] == here.report.results_sha256
    assert any("by the weights in 'worth'" in sentence for sentence in audit["chosen"])
    (point,) = client.get(f"{AUDITS}/{audit['id']}/curves").json()[0]["points"]
    assert tuple(point["interval"]) == here.report.curves[0].points[0].interval
