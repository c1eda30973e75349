"""The verdict and the figures as Markdown, for the summary of a pipeline's run or a comment."""

import re
from collections.abc import Iterator, Sequence

from auditor.report.focus import focuses, headline
from auditor.report.legible import legible_text
from auditor.report.numbers import interval, percent
from auditor.report.schema import Report


def markdown(report: Report) -> bytes:
    """UTF-8; no text of users' can become markup."""
    said, _, reason = headline(report)
    lines = [f"## {_plain(said)}: {_plain(report.model.name)}", "", _plain(reason), ""]
    lines += _table(("", "accuracy", "95 % interval"), list(_figures(report)))
    if report.gates:
        rows = [
            (gate.rule, f"{gate.outcome} (waived)" if gate.waiver else gate.outcome, gate.message)
            for gate in report.gates
        ]
        lines += _table(("gate", "outcome", "why"), rows)
    doubts = [check for check in report.diagnosis.checks if check.severity != "info"]
    lines += [f"- {check.severity}: {_plain(f'{check.check}: {check.message}')}" for check in doubts]
    lines += ["", f"{report.clean.total} examples; results sha256 {report.results_sha256[:16]}"]
    return "\n".join(lines).encode() + b"\n"


def _figures(report: Report) -> Iterator[tuple[str, ...]]:
    yield "clean", percent(report.clean.accuracy), interval(report.clean.interval)
    for focus in focuses(report):
        yield f"robust, {focus.name}", percent(focus.point.robust_accuracy), interval(focus.point.interval)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = (heads, ["---"] * len(heads), *([_plain(text) for text in row] for row in rows))
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _plain(text: str) -> str:
    """Every character that Markdown or HTML may take for its own, escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~&@:$^=-])", r"\\\1", legible_text(text))
