"""Commands that need no service: audit, demo, inspect."""

from pathlib import Path
from typing import Annotated, Unpack

import typer
from typer import Option

from auditor.cli.options import AuditOptions, spread

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX classifier.")]
Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help=".npz with x and y, .npy, folder or .zip of images, .csv, .parquet."),
]
Spec = Annotated[Path | None, Option(help="A YAML file with these options; options given here win.")]
Json = Annotated[bool, Option("--json", help="Print the report to stdout.")]


@spread
def audit(
    model: Model,
    data: Data,
    *,
    spec: Spec = None,
    out: Annotated[Path | None, Option(help="The folder for the report (default audit-MODEL).")] = None,
    json: Json = False,
    **words: Unpack[AuditOptions],
) -> int:
    """Attack MODEL on DATA and write report.json, .html and .pdf, adversarial.npz and outcomes.parquet.

    Says what it chose where you said nothing. The same command resumes an audit that was stopped.
    """
    from auditor import options as requests
    from auditor.terminal import audit_in_terminal

    asked = requests.request({**words, "model": model, "data": data, "out": out}, spec)
    return audit_in_terminal(asked, print_json=json)


def demo(out: Annotated[Path, Option(help="The folder for the report.")] = Path("audit-demo")) -> int:
    """A real audit of a small digit classifier, both shipped with the package; under a minute on two cores."""
    from auditor import options as requests
    from auditor.terminal import audit_in_terminal

    return audit_in_terminal(requests.demo(out))


def inspect(
    model: Model,
    input: Annotated[str | None, Option(help="The input that is attacked, where there are several.")] = None,
    fix: Annotated[list[str] | None, Option(help="What another input is given, NAME=VALUE; repeat.")] = None,
    output: Annotated[str | None, Option(help="The output with the class scores, where there are several.")] = None,
    unbatched: Annotated[bool, Option(help="The input has no batch axis: the whole of it is one example.")] = False,
    threshold: Annotated[
        float | None, Option(help="Of an output of one number, above which it means class 1.")
    ] = None,
    multilabel: Annotated[bool, Option(help="Each score decides about a label of its own.")] = False,
    label: Annotated[str | None, Option(help="Of several labels, the one to look at: name or number.")] = None,
    layout: Annotated[str | None, Option(help="NCHW or NHWC, where the shape does not tell.")] = None,
    shape: Annotated[
        str | None, Option(help="One example's shape where the model leaves it open: 3,224,224.")
    ] = None,
    batch_size: Annotated[int | None, Option(help="Examples per pass.")] = None,
    json: Annotated[bool, Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Inputs, classes, operators, gradient coverage of MODEL, and what one forward and one gradient cost."""
    from auditor.options import layout_of, shape_of
    from auditor.spec import Held
    from auditor.terminal import inspect_in_terminal

    inspect_in_terminal(
        model,
        input=input,
        fix=[Held.parse(said) for said in fix or ()],
        output=output,
        threshold=threshold,
        unbatched=unbatched,
        multilabel=multilabel,
        label=label,
        layout=layout_of(layout),
        shape=shape_of(shape),
        batch=batch_size,
        print_json=json,
    )
