"""The command line. Heavy imports are made inside commands, so that `auditor --help` answers at once.

Exit codes: 0 done and no gate failed; 1 the audit could not be done; 2 a gate failed; 3 inconclusive; 64 wrong usage
or unacceptable input; 130 interrupted (what is known so far is written).
"""

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from auditor import __version__
from auditor.cli import compare, database, export, keys, local, operate, remote, signing
from auditor.errors import AuditorError, InputError

app = typer.Typer(
    name="auditor",
    help="Attacks an ONNX classifier and reports how robust it is, and how sure that is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
    local.audit,
    local.demo,
    local.inspect,
    export.export,
    signing.verify,
    compare.compare,
    remote.submit,
    remote.wait,
    remote.report,
    remote.cancel,
    remote.audits,
    operate.serve,
    operate.worker,
    operate.doctor,
    operate.fsck,
    operate.gc,
):
    app.command()(command)
app.add_typer(database.app, name="db")
app.add_typer(keys.app, name="keys")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"auditor {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Attacks an ONNX classifier and reports how robust it is, and how sure that is."""


def main() -> None:
    """The entry point: errors become one sentence on stderr and an exit code, never a traceback."""
    # NumPy's matrices are small here: on two busy cores its threads took most of an audit's time, and rounded otherwise.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is first imported, which a command does
    try:
        code = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = _fail("interrupted", 130)
    except TyperException as error:
        code = _fail(f"{error.format_message().rstrip('.')}. See 'auditor --help'.", InputError.exit_code)
    except AuditorError as error:
        code = _fail(str(error), error.exit_code)
    except Exception as error:
        if os.environ.get("AUDITOR_DEBUG") == "1":
            raise
        code = _fail(
            f"an error that was not foreseen, {type(error).__name__}: {' '.join(str(error).split())[:400]}. "
            "This is a fault of auditor: please report it to its maintainers, with the traceback that the same "
            "command prints under AUDITOR_DEBUG=1",
            AuditorError.exit_code,
        )
    sys.exit(code or 0)


def _fail(sentence: str, code: int) -> int:
    print(f"auditor: {sentence}", file=sys.stderr)
    return code
