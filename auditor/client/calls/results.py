"""What an audit found: its report, curves, outcomes, examples and files."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from auditor import resources
from auditor.client.calls.auditing import get, wait
from auditor.client.errors import NotFinished, Unreachable
from auditor.client.result import Result
from auditor.client.sending import LONG_PATIENCE, every, fetch, fetch_json, listed, path_of, pauses, send
from auditor.client.steps import Call, ConnectionLost, Pause, Read, Request, Stream
from auditor.errors import Damaged, SpecError

if TYPE_CHECKING:
    import numpy as np

    from auditor.report.comparison.schema import ComparisonReport
    from auditor.report.schema import Report

_PAGE = 10_000


def report(audit_id: str, *, wait_for_it: bool = True, timeout: float | None = None) -> "Call[Report]":
    """The report of an audit, as report.json holds it.

    wait_for_it: wait for the audit's end, at most `timeout` seconds. Raises NotFinished where there is no report yet,
    Conflict for an audit that failed or was cancelled, Gone once its retention has ended.
    """
    from auditor.report.schema import Report

    answer = yield from send(Request("GET", path_of("audits", audit_id, "report.json")))
    if answer.status == 202:
        yield from _until_done(audit_id, timeout=timeout if wait_for_it else 0.0)
        answer = yield from send(Request("GET", path_of("audits", audit_id, "report.json")))
    return Report.model_validate_json(answer.body)


def _until_done(audit_id: str, *, timeout: float | None) -> Call[resources.Audit]:
    if timeout == 0.0:
        raise NotFinished((yield from get(audit_id)))
    return (yield from wait(audit_id, timeout=timeout))


def result(audit_id: str, *, timeout: float | None = None) -> Call[Result]:
    """Everything an audit found, as objects and as pandas frames; waits for its end, at most `timeout` seconds."""
    found = yield from report(audit_id, timeout=timeout)
    audit = yield from get(audit_id)
    outcomes = yield from listed(resources.Outcome, path_of("audits", audit_id, "outcomes"), limit=_PAGE)
    return Result(audit, found, tuple(outcomes))


def curves(audit_id: str) -> Call[list[resources.Curve]]:
    """Robust accuracy at every eps, per norm."""
    found = yield from fetch_json(Request("GET", path_of("audits", audit_id, "curves")))
    return TypeAdapter(list[resources.Curve]).validate_python(found)


def outcomes(
    audit_id: str, *, norm: str | None = None, status: str | None = None, attack: str | None = None
) -> Stream[resources.Outcome]:
    """What is known of each example under each norm; also while the audit runs."""
    path = path_of("audits", audit_id, "outcomes")
    return every(resources.Outcome, path, norm=norm, status=status, attack=attack, limit=_PAGE)


def examples(
    audit_id: str, *, norm: str | None = None, attack: str | None = None, label: int | None = None
) -> Stream[resources.Example]:
    """The broken examples, nearest first. attack: that found the smallest change; label: the class of the example."""
    return every(resources.Example, path_of("audits", audit_id, "examples"), norm=norm, attack=attack, label=label)


def example(audit_id: str, norm: str, example: int) -> "Call[np.ndarray]":
    """The adversarial example found for an example of the dataset, as the model saw it: one example's shape, float32."""
    import numpy as np

    answer = yield from send(Request("GET", path_of("audits", audit_id, "examples", norm, f"{example}.npy")))
    array: np.ndarray = np.load(io.BytesIO(answer.body), allow_pickle=False)
    return array


def compare(audit_id: str, other: str) -> Call[resources.Comparison]:
    """Two finished audits, paired example by example: what the second lost against the first."""
    return fetch(resources.Comparison, Request("GET", path_of("audits", audit_id, "compare", other)))


def comparison(audit_ids: Sequence[str], *, margin: float | None = None) -> "Call[ComparisonReport]":
    """Two to five finished audits, each paired example by example with the first.

    margin: the net loss that is tolerated, such as 0.02; every point is then judged like a gate.
    """
    from auditor.report.comparison.schema import ComparisonReport

    answer = yield from send(Request("GET", path_of("compare"), _compared(audit_ids, margin)))
    return ComparisonReport.model_validate_json(answer.body)


def download_comparison(audit_ids: Sequence[str], path: Path | str, *, margin: float | None = None) -> Call[Path]:
    """Write the same to `path`, as its ending says: .html, .pdf or .json; whole or not at all.

    Raises SpecError where it ends otherwise.
    """
    from auditor.audits.atomic import replacing

    path = Path(path)
    if path.suffix not in (".html", ".pdf", ".json"):
        raise SpecError(f"{path}: a comparison is written as .html, .pdf or .json")
    kind = "" if path.suffix == ".json" else path.suffix
    answer = yield from send(Request("GET", path_of(f"compare{kind}"), _compared(audit_ids, margin)))
    with replacing(path) as file:
        file.write(answer.body)
    return path


def _compared(audit_ids: Sequence[str], margin: float | None) -> dict[str, Any]:
    return {"audits": list(audit_ids)} | ({} if margin is None else {"margin": margin})


def artifacts(audit_id: str) -> Stream[resources.Artifact]:
    """The files of an audit."""
    return every(resources.Artifact, path_of("audits", audit_id, "artifacts"))


def download(audit_id: str, kind: str, path: Path | str) -> Call[Path]:
    """Write a file of an audit (kind: report, html, pdf, adversarial, outcomes) to `path`, whole or not at all.

    Raises NotFound, Gone, and Damaged when the bytes are not those that the service's digest names.
    """
    files = yield from listed(resources.Artifact, path_of("audits", audit_id, "artifacts"))
    digest = next((file.sha256 for file in files if file.kind == kind), None)
    source = path_of("audits", audit_id, "artifacts", kind)
    for pause in pauses(LONG_PATIENCE):
        try:
            yield from _write(source, Path(path), digest)
            break
        except ConnectionLost as lost:
            if pause is None:
                raise Unreachable(f"{lost} while {kind} was on its way, again and again") from lost
            yield Pause(pause)
    return Path(path)


def _write(source: str, path: Path, digest: str | None) -> Call[None]:
    from auditor.audits.atomic import replacing

    yield from send(Request("GET", source, stream=True))
    seen = hashlib.sha256()
    with replacing(path) as file:
        while chunk := (yield Read()):
            seen.update(chunk)
            file.write(chunk)
        if digest is not None and seen.hexdigest() != digest:
            raise Damaged(f"{path} came with the digest {seen.hexdigest()}, not {digest}; fetch it again")
