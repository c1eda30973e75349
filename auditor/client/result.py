"""A finished audit as objects and as pandas frames."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor import resources
from auditor.errors import AuditorError

if TYPE_CHECKING:
    import pandas as pd

    from auditor.report.schema import Report


@dataclass(frozen=True)
class Result:
    """outcomes: one per example and norm."""

    audit: resources.Audit
    report: "Report"
    outcomes: tuple[resources.Outcome, ...]

    def frame(self) -> "pd.DataFrame":
        """One row per example and norm: status, smallest distance, which attack found it, what it cost."""
        columns = list(resources.Outcome.model_fields)
        return _pandas().DataFrame([outcome.model_dump() for outcome in self.outcomes], columns=columns)

    def curve_frame(self) -> "pd.DataFrame":
        """One row per norm and eps: robust accuracy and its intervals."""
        rows = [
            {
                "norm": curve.norm,
                "eps": point.eps,
                "value": point.value,
                "robust_accuracy": point.robust_accuracy,
                "lower": point.interval[0],
                "upper": point.interval[1],
                "true_lower": point.true_interval[0],
                "true_upper": point.true_interval[1],
                "certified_accuracy": point.certified_accuracy,
                "unfinished": point.unfinished,
            }
            for curve in self.report.curves
            for point in curve.points
        ]
        return _pandas().DataFrame(rows)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise AuditorError(
            "frames need pandas, which is not installed: pip install 'onnx-auditor[pandas]'"
        ) from error
    return pandas
