"""An audit as a run of an MLflow tracking server, through its REST API (api/2.0/mlflow)."""

from collections.abc import Iterator
from typing import Any

import httpx

from auditor.errors import AuditorError
from auditor.report.formats.mlflow import batch
from auditor.report.legible import legible_text
from auditor.report.schema import Report

_MOST = {"params": 100, "tags": 100, "metrics": 1000}  # what one request may hold


class TrackingError(AuditorError):
    """The tracking server cannot be reached, or refused."""


def log_run(report: Report, tracking_uri: str, experiment: str, transport: httpx.BaseTransport | None = None) -> str:
    """Log the report as a finished run and give the run's id. transport: instead of the network. Raises TrackingError."""
    values = batch(report)
    moment = values["metrics"][0]["timestamp"]
    server = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/"
    with httpx.Client(base_url=server, timeout=30, transport=transport) as client:
        made = _post(
            client,
            "runs/create",
            experiment_id=_experiment(client, experiment),
            run_name=legible_text(f"robustness of {report.model.name}"),
            start_time=moment,
        )
        run_id = str(made["run"]["info"]["run_id"])
        for piece in _pieces(values):
            _post(client, "runs/log-batch", run_id=run_id, **piece)
        _post(client, "runs/update", run_id=run_id, status="FINISHED", end_time=moment)
    return run_id


def _experiment(client: httpx.Client, name: str) -> str:
    found = _send(client, "GET", "experiments/get-by-name", params={"experiment_name": name})
    if found.status_code == 404:
        return str(_post(client, "experiments/create", name=name)["experiment_id"])
    return str(_answer(found)["experiment"]["experiment_id"])


def _pieces(values: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, list[dict[str, Any]]]]:
    for kind, entries in values.items():
        for start in range(0, len(entries), _MOST[kind]):
            yield {kind: entries[start : start + _MOST[kind]]}


def _post(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    return _answer(_send(client, "POST", path, json=body))


def _send(client: httpx.Client, method: str, path: str, **said: Any) -> httpx.Response:
    try:
        return client.request(method, path, **said)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TrackingError(f"the tracking server {client.base_url.host} cannot be reached: {error}") from error


def _answer(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not response.is_success or not isinstance(answer, dict):
        why = answer.get("message", "") if isinstance(answer, dict) else response.text
        raise TrackingError(
            f"the tracking server answered {response.url.path} with {response.status_code}: {str(why)[:300]}"
        )
    return answer
