"""Reports found, compared and shown."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from auditor import terminal
from auditor.audits.gates import Verdict, verdict
from auditor.client import Client
from auditor.errors import SpecError
from auditor.report.comparison import pair
from auditor.report.comparison.compose import largest_loss, remarks
from auditor.report.comparison.pair import Named
from auditor.report.comparison.schema import ComparisonReport, PairedPoint
from auditor.report.comparison.write import write
from auditor.report.document import read_report


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


def only_margin(words: Mapping[str, Any], spec: Path | None) -> float | None:
    """The one option of an audit that a comparison of finished ones takes. SpecError where others were given."""
    given = [name for name, value in words.items() if name != "margin" and value not in (None, False, [])]
    given += [] if spec is None else ["spec"]
    if given:
        raise SpecError(f"--{given[0].replace('_', '-')} is for comparing models; these audits are done")
    return words["margin"]


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
    return terminal.EXIT_CODES[judged(comparison)]


def judged(comparison: ComparisonReport) -> Verdict:
    """What the margin says; "none" without one."""
    return verdict([point.gate for point in comparison.points if point.gate])


def _show(console: Console, comparison: ComparisonReport) -> None:
    for entry in comparison.left_out:
        console.print(f"[yellow]left out[/yellow] {escape(entry.name)}: {escape(entry.why)}", soft_wrap=True)
    for remark in remarks(comparison):
        console.print(f"[yellow]note[/yellow] {escape(remark.text)}", soft_wrap=True)
    for audit in comparison.audits[1:]:
        points = [point for point in comparison.points if point.audit == audit.name]
        for norm in dict.fromkeys(point.norm for point in points):
            console.print(_table(comparison, audit.name, [point for point in points if point.norm == norm]))
        console.print(escape(largest_loss(points)), soft_wrap=True)
        for outcome in ("failed", "inconclusive", "passed"):
            where = [f"{point.norm} {point.eps}" for point in points if point.gate and point.gate.outcome == outcome]
            if where:
                console.print(f"[bold]{outcome}[/bold] at {', '.join(where)}", soft_wrap=True)


def _table(comparison: ComparisonReport, name: str, points: Sequence[PairedPoint]) -> Table:
    """One audit in one norm."""
    robust = {(point.audit, point.norm, point.eps): point.robust_accuracy for point in comparison.curves}
    title = f"{name} against {comparison.first.name}, {points[0].norm}, {points[0].paired} paired examples, in %"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("eps", "first", "this", "lost", "gain", "net", "95 % interval", "Holm's p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for point in points:
        lower, upper = point.interval
        table.add_row(
            point.eps,
            *(f"{100 * robust[audit, point.norm, point.eps]:.1f}" for audit in (comparison.first.name, name)),
            f"{100 * point.lost / point.paired:.1f}",
            f"{100 * point.gained / point.paired:.1f}",
            f"{100 * point.net_loss:.1f}",
            f"{100 * lower:.1f} to {100 * upper:.1f}",
            f"{point.holm_p:.3f}",
        )
    return table
