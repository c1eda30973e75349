"""The command line. Heavy imports are made inside commands, so that `auditor --help` answers at once.

Exit codes: 0 done and no gate failed; 1 the audit could not be done; 2 a gate failed; 3 inconclusive; 64 wrong usage
or unacceptable input; 130 interrupted (what is known so far is written).
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from auditor import __version__
from auditor.errors import AuditorError, InputError

app = typer.Typer(
    name="auditor",
    help="Attacks an ONNX classifier and reports how robust it is, and how sure that is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
export = typer.Typer(help="Write what other tools read.", no_args_is_help=True)
app.add_typer(export, name="export")

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX classifier.")]
Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help=".npz with x and y, .npy, folder or .zip of images, .csv, .parquet."),
]
Option = typer.Option


@app.command()
def audit(
    model: Model,
    data: Data,
    spec: Annotated[Path | None, Option(help="A YAML file with these options; options given here win.")] = None,
    threat: Annotated[str | None, Option(help="image-8bit, mnist, imagenet or tabular.")] = None,
    norm: Annotated[list[str] | None, Option(help="Linf, L2 or L1; repeat, each with its --eps.")] = None,
    eps: Annotated[list[str] | None, Option(help="Such as 1/255,2/255,8/255, in widths of the domain.")] = None,
    preset: Annotated[str | None, Option(help="quick or standard (default).")] = None,
    attack: Annotated[list[str] | None, Option(help="Run this attack instead of the preset's; repeat.")] = None,
    domain: Annotated[str | None, Option(help="The box that inputs live in: 0,1 or none.")] = None,
    mean: Annotated[str | None, Option(help="Declared normalisation, per channel: 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, Option(help="Declared normalisation, per channel.")] = None,
    layout: Annotated[str | None, Option(help="NCHW or NHWC, where the shape does not tell.")] = None,
    input: Annotated[str | None, Option(help="The input that is attacked, where there are several.")] = None,
    output: Annotated[str | None, Option(help="The output with the class scores, where there are several.")] = None,
    labels: Annotated[Path | None, Option(help="Labels beside DATA: .npy, or CSV for images.")] = None,
    label_column: Annotated[str | None, Option(help="The label's column in a table.")] = None,
    resize: Annotated[str | None, Option(help="Images: shorter side, or HEIGHT,WIDTH.")] = None,
    crop: Annotated[str | None, Option(help="Images: side, or HEIGHT,WIDTH, from the centre.")] = None,
    interpolation: Annotated[str | None, Option(help="Images: bilinear, bicubic, nearest …")] = None,
    channel_order: Annotated[str | None, Option(help="Images: RGB or BGR.")] = None,
    scale: Annotated[str | None, Option(help="Images: value = grey level * scale; 1/255 unless given.")] = None,
    preprocessor: Annotated[Path | None, Option(help="A preprocessor_config.json.")] = None,
    examples: Annotated[int | None, Option(help="How many, sampled at random by --seed (default 1000).")] = None,
    seed: Annotated[int | None, Option(help="Of every random choice (default 0).")] = None,
    budget: Annotated[str | None, Option(help="500passes per example, or 90s, 10m, 2h.")] = None,
    device: Annotated[str | None, Option(help="cpu (default) or cuda.")] = None,
    batch_size: Annotated[int | None, Option(help="Examples per pass.")] = None,
    threads: Annotated[int | None, Option(help="Processor threads per session.")] = None,
    fail_under: Annotated[list[str] | None, Option(help="A gate such as Linf:8/255=0.40; repeat.")] = None,
    baseline: Annotated[Path | None, Option(help="A report.json that this model must not fall behind.")] = None,
    margin: Annotated[float | None, Option(help="The loss against the baseline that is accepted (0.02).")] = None,
    allow_chance: Annotated[bool, Option(help="Audit even when clean accuracy is at chance.")] = False,
    out: Annotated[Path | None, Option(help="The folder for the report (default audit-MODEL).")] = None,
    json: Annotated[bool, Option("--json", help="Print the report to stdout.")] = False,
) -> int:
    """Attack MODEL on DATA and write report.json, adversarial.npz and outcomes.parquet.

    Says what it chose where you said nothing. The same command resumes an audit that was stopped.
    """
    options = {key: value for key, value in locals().items() if key not in ("spec", "json")}
    from auditor import options as requests
    from auditor.terminal import audit_in_terminal

    return audit_in_terminal(requests.request(options, spec), print_json=json)


@app.command()
def demo(out: Annotated[Path, Option(help="The folder for the report.")] = Path("audit-demo")) -> int:
    """A real audit of a small digit classifier, both shipped with the package; under a minute on two cores."""
    from auditor import options as requests
    from auditor.terminal import audit_in_terminal

    return audit_in_terminal(requests.demo(out))


@app.command()
def inspect(
    model: Model,
    input: Annotated[str | None, Option(help="The input that is attacked, where there are several.")] = None,
    output: Annotated[str | None, Option(help="The output with the class scores, where there are several.")] = None,
    layout: Annotated[str | None, Option(help="NCHW or NHWC, where the shape does not tell.")] = None,
    shape: Annotated[
        str | None, Option(help="One example's shape where the model leaves it open: 3,224,224.")
    ] = None,
    batch_size: Annotated[int | None, Option(help="Examples per pass.")] = None,
    json: Annotated[bool, Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Inputs, classes, operators, gradient coverage of MODEL, and what one forward and one gradient cost."""
    from auditor.options import layout_of, shape_of
    from auditor.terminal import inspect_in_terminal

    inspect_in_terminal(
        model,
        input=input,
        output=output,
        layout=layout_of(layout),
        shape=shape_of(shape),
        batch=batch_size,
        print_json=json,
    )


@export.command()
def schema() -> None:
    """The JSON Schema of report.json."""
    import json

    from auditor.report.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"auditor {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Attacks an ONNX classifier and reports how robust it is, and how sure that is."""


def main() -> None:
    """The entry point: errors become one sentence on stderr and an exit code, never a traceback."""
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
