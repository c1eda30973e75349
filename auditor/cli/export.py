"""The command export: a report in the formats that other tools read."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from auditor.cli.signing import signed
from auditor.errors import SpecError

# Written out so that --help needs no import; a test compares it with the table of formats.
FORMATS = (
    "html",
    "pdf",
    "csv",
    "parquet",
    "junit",
    "sarif",
    "cyclonedx",
    "in-toto",
    "model-index",
    "markdown",
    "checker",
    "mlflow",
)
_BINARY = ("pdf", "parquet")


def export(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{', '.join(FORMATS)}; schema.")],
    report: Annotated[Path | None, typer.Argument(metavar="REPORT", help="A report.json; schema needs none.")] = None,
    out: Annotated[Path | None, Option(help="The file to write (default: stdout).")] = None,
    tracking_uri: Annotated[
        str | None, Option(help="mlflow: log a run at this server instead, such as http://127.0.0.1:5000.")
    ] = None,
    experiment: Annotated[
        str, Option(help="mlflow: the experiment of that run; made where it is not there.")
    ] = "auditor",
    key: Annotated[
        Path | None, Option(help="in-toto: sign the statement with this private key (PEM), as a DSSE envelope.")
    ] = None,
) -> None:
    """Write a report as FORMAT: a page, a table, test results, a bill of materials, a statement …

    checker is a script for this one audit that re-checks adversarial.npz without this tool; schema the JSON Schema of report.json.
    """
    if tracking_uri is not None:
        _log(format, _named(format, report), tracking_uri, experiment)
        return
    if key is not None and format != "in-toto":
        raise SpecError("--key signs the format in-toto")
    made = _made(format, report)
    _write(made if key is None else signed(made, key), out, binary=format in _BINARY)


def _made(format: str, path: Path | None) -> bytes:
    if format == "schema":
        return _schema()
    from auditor.report.document import read_report
    from auditor.report.formats import format_named

    write = format_named(format).write
    return write(read_report(_named(format, path)))


def _named(format: str, path: Path | None) -> Path:
    if path is None:
        raise SpecError(f"export {format} needs a report: auditor export {format} audit-model/report.json")
    return path


def _schema() -> bytes:
    import json

    from auditor.report.schema import json_schema

    return json.dumps(json_schema(), indent=2).encode() + b"\n"


def _write(data: bytes, out: Path | None, *, binary: bool) -> None:
    if out is None and binary and sys.stdout.isatty():
        raise SpecError("this format is no text for a terminal; name a file with --out")
    if out is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    from auditor.audits.atomic import replacing

    try:
        with replacing(out) as file:
            file.write(data)
    except OSError as error:
        raise SpecError(f"--out {out} cannot be written: {error.strerror}") from error


def _log(format: str, path: Path, tracking_uri: str, experiment: str) -> None:
    if format != "mlflow":
        raise SpecError("--tracking-uri is for the format mlflow")
    from auditor.report.document import read_report
    from auditor.tracking import log_run

    print(log_run(read_report(path), tracking_uri, experiment))
