"""What an audit's parts map to in published frameworks, as data. To map to a clause is not to comply with it.

Sources: NIST AI 100-2 E2025, "Adversarial Machine Learning: A Taxonomy and Terminology of Attacks and Mitigations" (2025);
MITRE ATLAS, data of release 5.6.1 (2026); ISO/IEC TR 24029-1:2021 and ISO/IEC 24029-2:2023, "Assessment of the robustness
of neural networks"; Regulation (EU) 2024/1689, Article 15. Identifiers and titles only; the texts are their publishers'.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from auditor.report.schema import Report

_ATLAS = {
    "AML.T0043.000": "White-Box Optimization",
    "AML.T0043.001": "Black-Box Optimization",
    "AML.T0043.002": "Black-Box Transfer",
    "AML.T0015": "Evade AI Model",
    "AML.T0031": "Erode AI Model Integrity",
    "AML.T0042": "Verify Attack",
}
# By what an attack sees: the attacker's knowledge and capability in NIST's terms, and ATLAS's technique.
_ACCESS = {
    "white-box": ("evasion, white-box", "AML.T0043.000"),
    "surrogate-gradient": ("evasion, white-box, through approximated gradients", "AML.T0043.000"),
    "structure": ("evasion, white-box", "AML.T0043.000"),
    "score": ("evasion, black-box, score-based queries", "AML.T0043.001"),
    "decision": ("evasion, black-box, decision-based queries", "AML.T0043.001"),
    "transfer": ("evasion, black-box, transferability", "AML.T0043.002"),
}


@dataclass(frozen=True)
class Mapping:
    """framework and reference: what is mapped to; part: of this report; says: how the two belong together."""

    framework: str
    reference: str
    part: str
    says: str


def mappings(report: Report) -> tuple[Mapping, ...]:
    """Of what this audit did, and of nothing else."""
    return (*_nist(report), *_atlas(report), *_iso(report), *_eu(report))


def _accesses(report: Report) -> tuple[str, ...]:
    seen = {stage.access for stage in report.stages}
    return tuple(access for access in _ACCESS if access in seen)


def _attacks(report: Report, access: str) -> str:
    names = sorted({stage.attack for stage in report.stages if stage.access == access})
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _nist(report: Report) -> Iterator[Mapping]:
    for access in _accesses(report):
        yield Mapping("NIST AI 100-2 E2025", _ACCESS[access][0], "Attacks", _attacks(report, access))


def _atlas(report: Report) -> Iterator[Mapping]:
    def mapped(technique: str, part: str, says: str) -> Mapping:
        return Mapping("MITRE ATLAS", f"{technique} {_ATLAS[technique]}", part, says)

    techniques = dict.fromkeys(_ACCESS[access][1] for access in _accesses(report))
    for technique in techniques:
        names = [_attacks(report, access) for access in _accesses(report) if _ACCESS[access][1] == technique]
        yield mapped(technique, "Attacks", "; ".join(names))
    yield mapped("AML.T0042", "Diagnosis", "every point was run again on the uploaded file")
    broken = any(point.broken_by for curve in report.curves for point in curve.points)
    if broken:
        yield mapped("AML.T0015", "Robustness curves", "inputs that evade the model were found")
        yield mapped("AML.T0031", "Robustness curves", "how far accuracy falls under attack")


def _iso(report: Report) -> Iterator[Mapping]:
    yield Mapping(
        "ISO/IEC TR 24029-1:2021",
        "empirical and statistical methods",
        "Robustness curves",
        "accuracy under attack on a random sample, with its interval",
    )
    if any(point.certified_accuracy is not None for curve in report.curves for point in curve.points):
        yield Mapping(
            "ISO/IEC 24029-2:2023",
            "formal methods: stability on a bounded domain",
            "Robustness curves",
            "certified accuracy: examples for which it is proved",
        )


def _eu(report: Report) -> Iterator[Mapping]:
    def mapped(paragraph: str, part: str, says: str) -> Mapping:
        return Mapping("EU AI Act (2024/1689)", f"Article 15({paragraph})", part, says)

    yield mapped("3", "Summary", "levels of accuracy and the metrics they are measured by")
    if report.other_threats:
        yield mapped("4", "Other threats", "errors and faults in the inputs: accuracy under them")
    yield mapped("5", "Robustness curves", "inputs designed to cause a mistake: adversarial examples, model evasion")
