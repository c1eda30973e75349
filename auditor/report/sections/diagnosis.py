"""Whether the attacks can be trusted on this model."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from auditor.report.blocks import Block, Paragraph, Section, Table
from auditor.report.schema import Check, Report

_ORDER = ("error", "warning", "info")
_ATTACK = re.compile(r"[\w-]+ \((?:Linf|L2|L1|L0)\)")


def section(report: Report) -> Section:
    checks = sorted(report.diagnosis.checks, key=lambda check: _ORDER.index(check.severity))
    doubts = sum(check.severity != "info" for check in checks)
    said = (
        f"{doubts} of {len(checks)} checks raise a doubt: a gate that would pass is inconclusive."
        if doubts
        else f"None of {len(checks)} checks raises a doubt. That is no proof that the attacks see everything."
    )
    blocks: list[Block] = [Paragraph(said), Table(("severity", "check", "finding"), tuple(_rows(checks)))]
    return Section("diagnosis", "Diagnosis: can the attacks be trusted here?", tuple(blocks))


def _rows(checks: Iterable[Check]) -> Iterator[tuple[str, str, str]]:
    """A row per check, and one for those that follow each other and say the same, be it of different attacks."""
    for (severity, pattern), alike in groupby(
        checks, lambda check: (check.severity, _ATTACK.sub("…", check.message))
    ):
        same = list(alike)
        names = ", ".join(dict.fromkeys(check.check for check in same))
        attacks = dict.fromkeys(name for check in same for name in _ATTACK.findall(check.message))
        one_each = pattern.count("…") == 1 and len(attacks) == len(same)
        messages = [pattern.replace("…", ", ".join(attacks))] if one_each else dict.fromkeys(c.message for c in same)
        for message in messages:
            yield severity, names, message
