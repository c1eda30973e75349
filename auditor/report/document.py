"""The report as a value: put together from the audit's parts, and read back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from auditor.audits.gates import Baseline, GateResult, verdict
from auditor.audits.other_sections import OtherFigures
from auditor.audits.summary import Clean, Curve, outcomes_of
from auditor.errors import SpecError
from auditor.report.schema import Report
from auditor.spec import digest

# What may differ between two runs that found the same: times, names, the machine, how the work was cut, and the
# spec's budget (spec_sha256, which stays, covers all in the spec that can change a result); and what follows from the rest.
_CIRCUMSTANCES: dict[str, Any] = {
    "results_sha256": True,
    "audit": {"id", "started_at", "finished_at", "device", "versions", "fingerprint", "plan", "spec"},
    "model": {"name", "output"},
    "dataset": {"name"},
    "surrogates": {"__all__": {"name"}},
    "stages": {"__all__": {"seconds"}},
    "other_threats": {"__all__": {"seconds"}},
}


def build_report(
    *,
    audit: Mapping[str, Any],
    model: Mapping[str, Any],
    dataset: Mapping[str, Any],
    clean: Clean,
    curves: Sequence[Curve],
    stages: Sequence[Mapping[str, Any]],
    diagnosis: Mapping[str, Any],
    gates: Sequence[GateResult] = (),
    other_threats: Sequence[OtherFigures] = (),
    not_tested: Sequence[str] = (),
    surrogates: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """The report of an audit, with its verdict and the digest of its results. Mappings follow `report.schema`."""
    report = Report.model_validate(
        {
            "audit": audit,
            "model": model,
            "dataset": dataset,
            "clean": clean,
            "curves": list(curves),
            "other_threats": list(other_threats),
            "surrogates": list(surrogates),
            "stages": list(stages),
            "diagnosis": diagnosis,
            "gates": list(gates),
            "verdict": verdict(gates),
            "not_tested": list(not_tested),
        }
    )
    return report.model_copy(update={"results_sha256": results_sha256(report)})


def results_sha256(report: Report) -> str:
    """SHA-256 of the canonical JSON (sorted keys, no spaces) of everything in a report that is a result."""
    return digest(json.loads(report.model_dump_json(exclude=_CIRCUMSTANCES)))


def read_report(path: Path) -> Report:
    """A report.json from the disk; SpecError says what is wrong with it."""
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SpecError(f"the report {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise SpecError(f"{path} is not a report of this tool: {where}: {first['msg'].lower()}") from error


def baseline_of(report: Report) -> Baseline:
    """What a report says of its examples, to be compared with; SpecError where its columns do not fit together."""
    digests = tuple(report.dataset.digest)
    try:
        outcomes = {curve.norm: outcomes_of(curve) for curve in report.curves}
        design = report.dataset.design
    except ValueError as error:
        raise SpecError(f"the baseline's columns do not fit together: {error}") from error
    if any(len(found) != len(digests) for found in outcomes.values()):
        raise SpecError("the baseline has not as many digests as examples; it was changed after it was written")
    return Baseline(report.audit.spec_sha256, digests, outcomes, design)
