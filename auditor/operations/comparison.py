"""Two finished audits of the same examples, example by example."""

from collections import Counter
from functools import lru_cache

from auditor import resources
from auditor.audits.gates import regression_gates
from auditor.operations import results
from auditor.operations.service import Service
from auditor.report.document import baseline_of
from auditor.report.schema import Report
from auditor.store.artifacts import Artifacts, blob_key


def compare(service: Service, project_id: str, first: str, second: str, margin: float) -> resources.Comparison:
    """What the second audit lost against the first, at every norm and eps. margin: as of `--margin`.

    Raises NotFound, Conflict while one of them is not done, Gone when a report is not there any more, and SpecError
    where they cannot be paired: other specifications, or no example in common.
    """
    found = [results.file(service, project_id, audit_id, "report").sha256 for audit_id in (first, second)]
    compared = _compared(service.artifacts, str(found[0]), str(found[1]), margin)
    return compared.model_copy(update={"first": first, "second": second})


@lru_cache(maxsize=64)
def _compared(artifacts: Artifacts, first: str, second: str, margin: float) -> resources.Comparison:
    """By the digests of two reports, which never change."""
    before, after = (Report.model_validate_json(artifacts.read(blob_key(sha256))) for sha256 in (first, second))
    one, other = baseline_of(before), baseline_of(after)
    losses = regression_gates(
        one, other.spec_sha256, other.digests, [other.outcomes[curve.norm] for curve in after.curves], margin=margin
    )
    # One specification: the curves have the same norms and eps, in the same order, and so have the losses.
    places = [
        (later.norm, earlier_point, later_point)
        for earlier, later in zip(before.curves, after.curves, strict=True)
        for earlier_point, later_point in zip(earlier.points, later.points, strict=True)
    ]
    return resources.Comparison(
        first="",
        second="",
        margin=margin,
        paired=(Counter(one.digests) & Counter(other.digests)).total(),
        clean_accuracy=(before.clean.accuracy, after.clean.accuracy),
        points=[
            resources.ComparedPoint(
                norm=norm,
                eps=point.eps,
                robust_accuracy=(earlier.robust_accuracy, point.robust_accuracy),
                net_loss=loss.observed,
                interval=loss.interval,
                mcnemar_p=loss.mcnemar_p,
                outcome=loss.outcome,
                message=loss.message,
            )
            for (norm, earlier, point), loss in zip(places, losses, strict=True)
        ],
    )
