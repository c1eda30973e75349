"""Requests made up from the OpenAPI document, good ones and bad ones, alone and in sequence: none makes the service
fail, and every answer is one that the document announces."""

from collections import Counter

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import EngineFinished, NonFatalError, ScenarioFinished

from auditor.api.app import create_app
from auditor.operations.service import Service
from auditor.settings import Settings
from auditor.store.artifacts import Artifacts
from tests.api.filled import fill, of_closed_network
from tests.service import empty_database, with_tables


@pytest.fixture
def app(tmp_path, monkeypatch):
    """An application that answers at once what would otherwise wait for a worker."""
    monkeypatch.setattr("auditor.api.audits._SETTLING_SECONDS", 0.0)
    with empty_database("sqlite", tmp_path) as url, with_tables(url) as database:
        settings = Settings(data=tmp_path)
        service = Service(database, Artifacts.open(settings.artifacts_url), settings, lambda: None)
        yield create_app(of_closed_network(service))


def configured(filled):
    """Half of the requests are about things that are there; deletions are not, or there would soon be nothing left."""
    there = filled.names | {"kind": "report"}
    return {
        "seed": 1,
        "headers": {"Authorization": f"Bearer {filled.key}", "Host": "localhost"},
        "generation": {"max-examples": 10, "no-shrink": True},
        # What is wrong in a request, such as an eps that is no number, is often more than a schema can say.
        "checks": {"positive_data_acceptance": {"enabled": False}},
        "parameters": {"query.wait": 0},
        "dictionaries": {name: {"values": [value]} for name, value in there.items()},
        "operations": [
            {
                "include-method": ["GET", "HEAD", "POST", "PUT", "PATCH"],
                "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.5} for name in there}
                | {"query.wait": 0},
            }
        ],
    }


def test_every_answer_is_one_that_the_document_announces(app, tmp_path):
    config = SchemathesisConfig.from_dict(configured(fill(app, "kestrel", tmp_path)))
    document = schemathesis.openapi.from_asgi(
        "/api/v1/openapi.json", app, config=config, headers={"Host": "localhost"}
    )
    requests, statuses, failures = 0, Counter(), []
    for event in engine.from_schema(document).execute():
        match event:
            case ScenarioFinished(recorder=recorder, phase=phase):
                answers = [each.response for each in recorder.interactions.values() if each.response is not None]
                requests += len(answers)
                statuses.update((answer.status_code // 100) for answer in answers)
                failures += [
                    f"{phase.name} {recorder.label}: {check.failure_info.failure.title}\n"
                    f"{check.failure_info.failure.message}\n{check.failure_info.code_sample}"
                    for checks in recorder.checks.values()
                    for check in checks
                    if check.failure_info is not None
                ]
            case NonFatalError(value=error, label=label):
                failures.append(f"{label}: {error!r}")
            case EngineFinished(running_time=seconds):
                print(f"{requests} requests in {seconds:.0f} s, answers by hundreds: {dict(statuses)}")
    assert not failures, f"{len(failures)} failures\n\n" + "\n\n".join(dict.fromkeys(failures))
    assert requests > 300
    assert statuses[2] > requests / 10
