"""Reports found, compared and shown."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from auditor import terminal
from auditor.audits.gates import verdict
from auditor.client import Client
from auditor.errors import SpecError
from auditor.report.comparison import pair
from auditor.report.comparison.compose import largest_loss, remarks
from auditor.report.comparison.pair import Named
from auditor.report.comparison.schema import ComparisonReport, PairedPoint
from auditor.report.comparison.write import write
from auditor.report.document import read_report
from auditor.report.numbers import interval, percent


def compare(
    audits: Sequence[str],
    *,
    out: Path | None,
    margin: float | None,
    print_json: bool,
    url: str | None,
    api_key: str | None,
) -> int:
    """audits: reports, their folders, or ids of audits at the service. Gives the exit code."""
    here = [_local(text) for text in audits]
    if not all(here):
        with Client(url, api_key) as client:
            here = [named or _remote(client, text) for named, text in zip(here, audits, strict=True)]
    reports = [named for named in here if named is not None]
    names = pair.distinct([named.name for named in reports])
    renamed = [Named(name, named.report) for name, named in zip(names, reports, strict=True)]
    return show(pair.compare(renamed, margin=margin), out=out, print_json=print_json)


def _local(text: str) -> Named | None:
    """The report at a path; None where the text is no path but may be an id. SpecError where it can be neither."""
    path = Path(text)
    path = path / "report.json" if path.is_dir() else path
    if path.exists() or path.suffix:
        report = read_report(path)
        return Named(report.model.name, report)
    if path.name != text:
        raise SpecError(f"there is no report at {text}, and no audit has such an id")
    return None


def _remote(client: Client, audit_id: str) -> Named:
    audit = client.get(audit_id)
    return Named(f"{audit.model}@{audit.version}", client.report(audit_id, wait_for_it=False))


def show(comparison: ComparisonReport, *, out: Path | None, print_json: bool) -> int:
    """Show a comparison or print it as JSON; write its files to `out`, if given. Gives the exit code."""
    paths = [] if out is None else write(comparison, out)
    if print_json:
        sys.stdout.write(comparison.model_dump_json(indent=2) + "\n")
    else:
        _show(Console(highlight=False), comparison)
        for path in paths:
            print(f"comparison: {path}")
    return terminal.EXIT_CODES[verdict([point.gate for point in comparison.points if point.gate])]


def _show(console: Console, comparison: ComparisonReport) -> None:
    for entry in comparison.left_out:
        console.print(f"[yellow]left out[/yellow] {escape(entry.name)}: {escape(entry.why)}", soft_wrap=True)
    for remark in remarks(comparison):
        console.print(f"[yellow]note[/yellow] {escape(remark.text)}", soft_wrap=True)
    for audit in comparison.audits[1:]:
        points = [point for point in comparison.points if point.audit == audit.name]
        console.print(_table(comparison, audit.name, points))
        console.print(escape(largest_loss(points)), soft_wrap=True)


def _table(comparison: ComparisonReport, name: str, points: Sequence[PairedPoint]) -> Table:
    judged = comparison.margin is not None
    robust = {(point.audit, point.norm, point.eps): point.robust_accuracy for point in comparison.curves}
    first = comparison.first.name
    table = Table(title=escape(f"{name} against {first}, {points[0].paired} paired examples"), title_justify="left")
    heads = ("eps", escape(first), escape(name), "lost", "gained", "net loss", "95 % interval", "p", "Holm's p")
    for heading in (*heads, *(("outcome",) if judged else ())):
        table.add_column(heading, justify="right")
    for point in points:
        table.add_row(
            f"{point.norm} {point.eps}",
            *(percent(robust[audit, point.norm, point.eps]) for audit in (first, name)),
            str(point.lost),
            str(point.gained),
            percent(point.net_loss),
            interval(point.interval),
            f"{point.mcnemar_p:.3f}",
            f"{point.holm_p:.3f}",
            *((point.gate.outcome,) if point.gate is not None else ()),
        )
    return table
