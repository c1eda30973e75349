"""What a person sees: what was chosen, a progress bar on stderr, a table of accuracies, where the report is."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from auditor import local
from auditor.audits.summary import Faced
from auditor.inspection import inspect
from auditor.report.schema import Report
from auditor.request import Request, read_model, settle

EXIT_CODES = {"passed": 0, "none": 0, "failed": 2, "inconclusive": 3}
INTERRUPTED = 130
Move = Callable[[str, int, int], None]  # name of what is done, done, total

_errors = Console(stderr=True, highlight=False)


def audit_in_terminal(request: Request, *, print_json: bool = False) -> int:
    """Run an audit, show it, write its files; gives the exit code."""
    request.refuse_expired()
    asked = settle(request)
    say_chosen(asked.chosen)
    try:
        with bar("stages") as move:
            finished = local.audit(request, asked, lambda step: move(step.title, step.done, step.total))
    except KeyboardInterrupt:
        _errors.print(
            "auditor: interrupted before there was anything to report; the same command goes on", soft_wrap=True
        )
        return INTERRUPTED
    report = finished.report
    if print_json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    else:
        show(Console(highlight=False), report, finished.folder)
    return INTERRUPTED if finished.interrupted else exit_code(report)


def exit_code(report: Report) -> int:
    """By the verdict; 0 for an inconclusive one that the policy puts up with."""
    return 0 if report.verdict == "inconclusive" and report.puts_up else EXIT_CODES[report.verdict]


def say_chosen(sentences: Iterable[str]) -> None:
    """What was chosen where the request said nothing, on stderr."""
    for sentence in sentences:
        _errors.print(f"[dim]chosen:[/dim] {escape(sentence)}", soft_wrap=True)


def inspect_in_terminal(
    model: Path, *, shape: tuple[int, ...] | None, batch: int | None, print_json: bool, **choice: Any
) -> None:
    """Show what a model is and what a gradient of it costs."""
    facts = inspect(read_model(model, **choice), shape=shape, batch=batch)
    if print_json:
        sys.stdout.write(json.dumps(asdict(facts), indent=2) + "\n")
        return
    console = Console(highlight=False)
    table = Table.grid(padding=(0, 2))
    for name, value in facts.lines():
        table.add_row(f"[bold]{name}[/bold]", escape(value))
    console.print(table)


def show(console: Console, report: Report, folder: Path | None) -> None:
    """The report in short, and where its files are, if they are here."""
    clean = report.clean
    labelled = report.dataset.sampling["labels"] == "dataset"
    name = "clean accuracy" if labelled else "stability, the model's own answers taken as labels:"
    console.print(
        f"\n{name} [bold]{clean.accuracy:.1%}[/bold] "
        f"({'weighted; ' if report.dataset.weight else ''}{clean.correct} of {clean.total}, "
        f"95 % interval {_interval(clean.interval)})"
    )
    if clean.effective_size is not None:
        console.print(
            f"by their weights and groups they tell as much as {clean.effective_size:,.0f} independent examples"
        )
    for curve in report.curves:
        table = Table(title=f"{curve.norm}, {_measured(curve.threat)} (an upper bound)", title_justify="left")
        for heading in ("eps", "robust", "95 % interval", "certified", "broken by"):
            table.add_column(heading, justify="left" if heading == "broken by" else "right")
        for point in curve.points:
            certified = "-" if point.certified_accuracy is None else f"{point.certified_accuracy:.1%}"
            finders = _finders(point.broken_by)
            unfinished = f" ({point.unfinished} unfinished)" if point.unfinished else ""
            table.add_row(
                point.eps, f"{point.robust_accuracy:.1%}", _interval(point.interval), certified, finders + unfinished
            )
        console.print(table)
    if report.other_threats:
        console.print(_beside(report))
    for row in report.diagnosis.attacks:
        for at in row.get("crossings", [])[-1:]:
            console.print(
                f"{row['norm']} {row['attack']} alone, through a surrogate, at eps {at['eps']}: broke {at['broken']} of "
                f"{at['tried']}, {at['both']} of the {at['fooled']} on which the surrogate was fooled",
                soft_wrap=True,
            )
    for check in report.diagnosis.checks:
        if check.severity != "info":
            console.print(f"[yellow]{check.severity}[/yellow] {check.check}: {escape(check.message)}", soft_wrap=True)
    for gate in report.gates:
        sure = f" (95 % interval {_interval(gate.interval)})" if gate.kind != "diagnosis" else ""
        console.print(f"gate {gate.rule}: [bold]{gate.outcome}[/bold]{sure}")
        if gate.waiver is not None:
            by = f"waived by {gate.waiver.approver} until {gate.waiver.until}"
            console.print(f"  {escape(by)}", soft_wrap=True)
    for sentence in report.not_tested:
        console.print(f"[dim]not tested: {escape(sentence)}[/dim]", soft_wrap=True)
    put_up = ", put up with by the policy" if report.verdict == "inconclusive" and report.puts_up else ""
    console.print(f"verdict: [bold]{report.verdict}[/bold]{put_up}")
    if folder is not None:
        console.print(f"report: {escape(str(folder / 'report.json'))}", soft_wrap=True)


def _beside(report: Report) -> Table:
    table = Table(title="threats beside the norms", title_justify="left")
    table.add_column("threat", no_wrap=True)
    for heading in ("right under all", "95 % interval", "mean of settings"):
        table.add_column(heading, justify="right")
    for figures in report.other_threats:
        mean = "-" if figures.mean_accuracy is None else f"{figures.mean_accuracy:.1%}"
        unfinished = f" ({figures.unfinished} unfinished)" if figures.unfinished else ""
        name, share = str(figures.threat["name"]) + unfinished, f"{figures.accuracy:.1%}"
        table.add_row(name, share, _interval(figures.interval), mean)
    return table


@contextmanager
def bar(unit: str, task: str = "reading and probing") -> Iterator[Move]:
    """A progress bar where stderr is a terminal; silence elsewhere. unit: stages, or bytes."""
    count = TextColumn("{task.completed}/{task.total} " + unit) if unit != "bytes" else DownloadColumn()
    columns = (TextColumn("{task.description:<32}"), BarColumn(), count)
    with Progress(*columns, TimeElapsedColumn(), console=_errors, disable=not _errors.is_terminal) as progress:
        shown = progress.add_task(task, total=None)
        yield lambda name, done, total: progress.update(shown, total=total, completed=done, description=escape(name))


def _measured(threat: Faced) -> str:
    if threat.goal == "untargeted":
        return "robust accuracy under these attacks"
    aim = "one random class each" if threat.target == "random" else f"class {threat.target}"
    return f"robust accuracy under these attacks towards {aim}, no other counts"


def _finders(broken_by: Mapping[str, int]) -> str:
    """The attack that holds most of the nearest points, and how many others hold some."""
    names = list(broken_by)
    if not names:
        return "-"
    others = f", {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]} {broken_by[names[0]]}{others}"


def _interval(interval: Any) -> str:
    if interval is None:
        return "-"
    lower, upper = interval
    return f"{lower:.1%} to {upper:.1%}"
