"""Models audited one after another, shown, and compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from auditor import options, terminal
from auditor.cli import comparing
from auditor.errors import SpecError
from auditor.report.comparison.write import is_file
from auditor.request import Asked
from auditor.variants import audit
from auditor.variants.audit import Form

_errors = Console(stderr=True, highlight=False)


def compare(
    what: Sequence[str],
    words: Mapping[str, Any],
    *,
    to: Sequence[str],
    spec: Path | None,
    out: Path | None,
    print_json: bool,
) -> int:
    """what: the models, and behind them the data; words: the options of an audit. Gives the exit code."""
    *models, data = map(Path, what)
    if not models or data.suffix == ".onnx":
        raise SpecError("a comparison of models ends with the data to audit them on: compare MODEL … DATA")
    folder = out or Path(f"compare-{models[0].stem}")
    if is_file(folder):
        raise SpecError(f"--out {folder}: models are compared in a folder, which their audits go into; name one")
    said = {**words, "model": models[0], "data": data, "out": folder}
    request = options.request(said, spec)
    request.refuse_expired()
    margin = request.margin if "margin" in options.words_of(said, spec) else None
    try:
        comparison = audit.audit_all(audit.forms(request, models, to), margin=margin, say=_say, bar=terminal.bar)
    except KeyboardInterrupt:
        _errors.print("auditor: interrupted; the same command goes on", soft_wrap=True)
        return terminal.INTERRUPTED
    comparing.show(comparison, out=folder, print_json=print_json)
    verdicts = {comparing.judged(comparison), *(audited.verdict for audited in comparison.audits)}
    codes = {terminal.EXIT_CODES[found] for found in verdicts}
    return min(codes - {0}, default=0)  # that one failed says more than that another is open


def _say(form: Form, asked: Asked) -> None:
    _errors.print(f"[bold]{escape(form.name)}[/bold]: {escape(str(form.request.model))}", soft_wrap=True)
    terminal.say_chosen(asked.chosen)
