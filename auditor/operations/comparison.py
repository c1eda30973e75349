"""Finished audits of the same examples, example by example."""

from collections.abc import Sequence
from functools import lru_cache

from auditor import resources
from auditor.operations import audits, results
from auditor.operations.service import Service
from auditor.report.comparison import pair
from auditor.report.comparison.pair import Named
from auditor.report.comparison.schema import ComparisonReport
from auditor.report.comparison.write import WRITERS
from auditor.report.schema import Report
from auditor.store.artifacts import Artifacts, blob_key


def compare(service: Service, project_id: str, ids: Sequence[str], margin: float | None) -> ComparisonReport:
    """What each audit lost against the first, at every norm and eps, under the names MODEL@VERSION.

    Raises NotFound, Conflict while one of them is not done, Gone when a report is not there any more, and SpecError
    where nothing can be paired with the first: other specifications, or no example in common.
    """
    known = [audits.show(service, project_id, audit_id).listed for audit_id in ids]
    found = [str(results.file(service, project_id, audit_id, "report").sha256) for audit_id in ids]
    names = pair.distinct([f"{listed.model}@{listed.version}" for listed in known])
    compared = _compared(service.artifacts, tuple(zip(names, found, strict=True)), margin)
    own = dict(zip(names, ids, strict=True))
    return compared.model_copy(
        update={"audits": [audit.model_copy(update={"audit": own[audit.name]}) for audit in compared.audits]}
    )


def written(service: Service, project_id: str, ids: Sequence[str], margin: float | None, kind: str) -> bytes:
    """The comparison as "html" or "pdf". Raises as `compare` does."""
    return WRITERS[f".{kind}"](compare(service, project_id, ids, margin))


def compare_two(service: Service, project_id: str, first: str, second: str, margin: float) -> resources.Comparison:
    """What the second audit lost against the first. Raises as `compare` does."""
    compared = compare(service, project_id, [first, second], margin)
    robust = {(point.audit, point.norm, point.eps): point.robust_accuracy for point in compared.curves}
    before, after = compared.audits
    gates = [(point, point.gate) for point in compared.points if point.gate is not None]
    return resources.Comparison(
        first=first,
        second=second,
        margin=margin,
        paired=after.paired,
        clean_accuracy=(before.clean.accuracy, after.clean.accuracy),
        points=[
            resources.ComparedPoint(
                norm=point.norm,
                eps=point.eps,
                robust_accuracy=(
                    robust[before.name, point.norm, point.eps],
                    robust[after.name, point.norm, point.eps],
                ),
                net_loss=point.net_loss,
                interval=gate.interval,
                mcnemar_p=point.mcnemar_p,
                outcome=gate.outcome,
                message=gate.message,
            )
            for point, gate in gates
        ],
    )


@lru_cache(maxsize=64)
def _compared(artifacts: Artifacts, reports: tuple[tuple[str, str], ...], margin: float | None) -> ComparisonReport:
    """By names and the digests of reports, which never change."""
    read = [Named(name, Report.model_validate_json(artifacts.read(blob_key(sha256)))) for name, sha256 in reports]
    return pair.compare(read, margin=margin)
