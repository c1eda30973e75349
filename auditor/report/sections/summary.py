"""Page one: what was asked, what was found, how sure it is, and what was not looked at."""

from auditor.audits.gates import GateResult
from auditor.report.blocks import Block, Facts, Items, Notice, Paragraph, Section, Table, Tile, Tiles
from auditor.report.focus import focuses
from auditor.report.numbers import interval, percent
from auditor.report.schema import Report
from auditor.report.sections import threat_model

_SHOWN = 4


def section(report: Report) -> Section:
    blocks: list[Block] = [Tiles(_tiles(report))]
    if report.gates:
        blocks.append(_gates(report))
    doubts = [check for check in report.diagnosis.checks if check.severity != "info"]
    for check in doubts[:_SHOWN]:
        blocks.append(Notice(f"{check.check}: {check.message}", "bad" if check.severity == "error" else "unsure"))
    blocks += [Facts(threat_model.facts(report)), Paragraph("Not tested:"), Items(tuple(report.not_tested))]
    blocks.append(Facts(_identity(report)))
    return Section("summary", "Summary", tuple(blocks))


def _tiles(report: Report) -> tuple[Tile, ...]:
    clean = report.clean
    tiles = [Tile("clean accuracy", percent(clean.accuracy), f"95 %: {interval(clean.interval)}")]
    for focus in focuses(report)[:_SHOWN]:
        point = focus.point
        note = f"95 %: {interval(point.interval)}; true value: {interval(point.true_interval)}"
        tiles.append(Tile(f"robust accuracy, {focus.name}", percent(point.robust_accuracy), note))
        if point.certified_accuracy is not None:
            tiles.append(Tile(f"certified accuracy, {focus.name}", percent(point.certified_accuracy), "proved"))
    return tuple(tiles)


def _gates(report: Report) -> Table:
    rows = tuple((gate.rule, gate.outcome, *_observed(gate), _why(gate)) for gate in report.gates)
    return Table(("gate", "outcome", "observed", "95 % interval", "why"), rows, numeric=frozenset({2, 3}))


def _observed(gate: GateResult) -> tuple[str, str]:
    """The accuracy or loss, and its interval; of checks that found something there is neither."""
    if gate.kind == "diagnosis":
        return percent(None), percent(None)
    return percent(gate.observed), interval(gate.interval)


def _why(gate: GateResult) -> str:
    if gate.waiver is None:
        return gate.message
    reason = f": {gate.waiver.reason}" if gate.waiver.reason else ""
    return f"{gate.message}. Waived by {gate.waiver.approver} until {gate.waiver.until}{reason}"


def _identity(report: Report) -> tuple[tuple[str, str], ...]:
    versions = ", ".join(f"{name} {version}" for name, version in report.audit.versions.items())
    return (
        (f"model {report.model.name}", f"sha256 {report.model.sha256}"),
        (f"dataset {report.dataset.name}", f"sha256 {report.dataset.sha256}"),
        ("configuration", f"sha256 {report.audit.spec_sha256}"),
        ("results", f"sha256 {report.results_sha256}"),
        ("audit", f"{report.audit.id}, {report.audit.finished_at}"),
        ("versions", f"{versions}; {report.audit.device}"),
    )
