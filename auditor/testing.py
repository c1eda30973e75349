"""For test suites of those who make models: a model that is not robust enough fails a test."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import AuditorWarning

if TYPE_CHECKING:
    from auditor.report.schema import Report


def assert_robust(
    model: Path | str,
    data: Path | str,
    *,
    norm: str,
    eps: str | float,
    min_accuracy: float,
    out: Path | str | None = None,
    **options: Any,
) -> "Report":
    """Audit the model and raise AssertionError unless its robust accuracy at eps surely reaches min_accuracy.

    model: an ONNX file; data: as for `auditor audit`; eps: in widths of the domain, "8/255"; out: the folder for the report
    and for what a repeated call goes on from, a new one of its own unless given; options: those of `auditor audit`, with
    underscores (preset="quick", examples=200, policy="policy.yaml" …). Where the evidence decides neither, it is an
    assertion too, unless on_inconclusive="warn" makes it an AuditorWarning. Raises InputError for what makes no sense.
    """
    __tracebackhide__ = True
    from tempfile import mkdtemp

    from auditor import local
    from auditor.options import request
    from auditor.request import settle

    folder = Path(out) if out is not None else Path(mkdtemp(prefix="auditor-"))
    gates = [*options.pop("fail_under", []), f"{norm}:{eps}={min_accuracy}"]
    threat = {"norm": [norm], "eps": [str(eps)]}
    asked = request({**threat, **options, "model": model, "data": data, "out": folder, "fail_under": gates})
    asked.refuse_expired()
    report = local.audit(asked, settle(asked), lambda step: None).report
    undecided = [
        f"{gate.rule}: {gate.message}" for gate in report.gates if gate.outcome != "passed" and not gate.waiver
    ]
    said = f"{report.verdict}: {'; '.join(undecided)} (report: {folder / 'report.html'})"
    if report.verdict == "inconclusive" and report.puts_up:
        warnings.warn(said, AuditorWarning, stacklevel=2)
    elif report.verdict != "passed":
        raise AssertionError(said)
    return report
