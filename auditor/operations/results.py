"""What an audit found, in parts: files, curves, outcomes, adversarial examples."""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auditor import resources
from auditor.operations.audits import find
from auditor.operations.errors import Gone, NotDone, NotFound, Unacceptable
from auditor.operations.service import Service
from auditor.report.formats import Format
from auditor.report.schema import Report
from auditor.store.artifacts import blob_key
from auditor.store.queries import results as queries
from auditor.store.tables import Artifact, Audit, Outcome, Point


@dataclass(frozen=True)
class Example:
    """A broken example, and the class that its adversarial example gets."""

    outcome: Outcome
    adversarial: int


def file(service: Service, project_id: str, audit_id: str, kind: str) -> Artifact:
    """One file of an audit. Raises NotFound, NotDone, and Gone when its retention has ended."""
    with service.database.reading() as session:
        audit = find(session, project_id, audit_id).audit
        found = queries.artifact(session, audit_id, kind)
    if found is None:
        _require_done(audit)
        raise NotFound(
            f"audit {audit_id} has no file '{kind}'; it has those under /api/v1/audits/{audit_id}/artifacts"
        )
    if found.removed_at is not None:
        raise Gone(
            f"the {kind} file of audit {audit_id} was removed, for its retention ended; audit again to have it"
        )
    return found


def files(service: Service, project_id: str, audit_id: str) -> Sequence[Artifact]:
    """The files of an audit, also those that were removed. Raises NotFound."""
    with service.database.reading() as session:
        find(session, project_id, audit_id)
        return queries.artifacts(session, audit_id)


def exported(service: Service, project_id: str, audit_id: str, format: Format) -> bytes:
    """The report in a format that is made when it is asked for. Raises as `file` does, and SpecError where the format has
    nothing to say of such an audit."""
    stored = file(service, project_id, audit_id, "report")
    return format.write(Report.model_validate_json(service.artifacts.read(blob_key(str(stored.sha256)))))


def curves(service: Service, project_id: str, audit_id: str) -> dict[str, list[Point]]:
    """The points of each norm, by rising eps. Raises NotFound and NotDone."""
    with service.database.reading() as session:
        audit = find(session, project_id, audit_id).audit
        _require_done(audit)
        points = queries.points(session, audit_id)
    norms = [threat["norm"] for threat in (audit.spec or {})["threats"]]
    return {norm: [point for point in points if point.norm == norm] for norm in norms}


def outcomes(
    service: Service,
    project_id: str,
    audit_id: str,
    *,
    norm: str | None = None,
    status: str | None = None,
    attack: str | None = None,
    cursor: str | None = None,
    limit: int,
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of what is known of each example, by norm and position, and the next page's cursor.

    An outcome is a mapping with the fields of resources.Outcome: a page has up to ten thousand. While the audit runs these are the outcomes so far. Raises NotFound and Unacceptable.
    """
    after = None if cursor is None else _norm_and_position(cursor)
    with service.database.reading() as session:
        find(session, project_id, audit_id)
        rows = queries.outcomes(
            session, audit_id, norm=norm, status=status, attack=attack, after=after, limit=limit + 1
        )
    last = rows[limit - 1] if len(rows) > limit else None
    fields = tuple(resources.Outcome.model_fields)
    items = [dict(zip(fields, row, strict=False)) for row in rows[:limit]]  # without the position
    return items, None if last is None else f"{last.norm}:{last.position}"


def examples(
    service: Service,
    project_id: str,
    audit_id: str,
    *,
    norm: str | None = None,
    attack: str | None = None,
    label: int | None = None,
    cursor: str | None = None,
    limit: int,
) -> tuple[list[Example], str | None]:
    """A page of broken examples, the most fragile first, and the next page's cursor. attack: that found the smallest
    change.

    Raises NotFound, NotDone, Unacceptable, and Gone when the adversarial examples were removed.
    """
    from auditor.operations.adversarial import directory

    after = None
    if cursor is not None:
        distance, _, rest = cursor.partition(":")
        after = (_distance(distance, cursor), *_norm_and_position(rest, cursor))
    stored = file(service, project_id, audit_id, "adversarial")
    with service.database.reading() as session:
        rows = queries.broken(session, audit_id, norm=norm, attack=attack, label=label, after=after, limit=limit + 1)
    classes = directory(service.artifacts, str(stored.sha256), stored.size)
    page = [Example(row, classes.predicted_as(row.norm, row.example)) for row in rows[:limit]]
    last = page[-1].outcome if len(rows) > limit else None
    return page, None if last is None else f"{last.distance!r}:{last.norm}:{last.position}"


def example(service: Service, project_id: str, audit_id: str, norm: str, example: int) -> Example:
    """One broken example. Raises NotFound, NotDone, and Gone when the adversarial examples were removed."""
    from auditor.operations.adversarial import directory

    stored = file(service, project_id, audit_id, "adversarial")
    with service.database.reading() as session:
        row = queries.outcome(session, audit_id, norm, example)
    if row is None or row.status != "broken":
        raise NotFound(f"audit {audit_id} has no adversarial example of example {example} in {norm}")
    return Example(row, directory(service.artifacts, str(stored.sha256), stored.size).predicted_as(norm, example))


def adversarial(service: Service, project_id: str, audit_id: str, norm: str, example: int) -> bytes:
    """The smallest counted adversarial example of one example, as a .npy file.

    Raises NotFound, NotDone, and Gone when the adversarial examples were removed.
    """
    import numpy as np

    from auditor.operations.adversarial import directory

    stored = file(service, project_id, audit_id, "adversarial")
    try:
        x_adv = directory(service.artifacts, str(stored.sha256), stored.size).x_adv(service.artifacts, norm, example)
    except KeyError:
        raise NotFound(f"audit {audit_id} has no adversarial example of example {example} in {norm}") from None
    npy = io.BytesIO()
    np.save(npy, x_adv)
    return npy.getvalue()


def _require_done(audit: Audit) -> None:
    if audit.state != "done":
        raise NotDone(f"audit {audit.id} is {audit.state}; its results are there when it is done")


def _norm_and_position(text: str, cursor: str | None = None) -> tuple[str, int]:
    match = re.fullmatch(r"(\w{1,4}):(\d{1,18})", text, re.ASCII)
    if match is None:
        raise _bad_cursor(cursor or text)
    return match[1], int(match[2])


def _distance(text: str, cursor: str) -> float:
    try:
        distance = float(text)
    except ValueError:
        raise _bad_cursor(cursor) from None
    if not math.isfinite(distance):
        raise _bad_cursor(cursor)
    return distance


def _bad_cursor(cursor: str) -> Unacceptable:
    return Unacceptable(f"the cursor {cursor} is not understood; give `next` of the page before")
