"""The command compare: audits of the same examples side by side, those that there are or those of several models."""

from pathlib import Path
from typing import Annotated, Unpack

import typer
from typer import Option

from auditor.cli.local import Spec
from auditor.cli.options import AuditOptions, spread
from auditor.cli.remote import ApiKey, Url


@spread
def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="REPORT|ID … | MODEL … DATA",
            help="2 to 5 audits, each by its report.json, its folder or its id; or ONNX files, and the data to audit them on.",
        ),
    ],
    *,
    to: Annotated[
        list[str] | None, Option(help="Also audit MODEL as float16, int8 or int8-dynamic, made here; repeat.")
    ] = None,
    spec: Spec = None,
    out: Annotated[
        Path | None,
        Option(
            help="compare.html, .pdf or .json, or a folder for all three; of models always a folder "
            "(default compare-MODEL), which their audits go into too."
        ),
    ] = None,
    json: Annotated[bool, Option("--json", help="Print the comparison to stdout.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    **words: Unpack[AuditOptions],
) -> int:
    """What each audit lost against the first, example by example.

    Of models, each is audited alike with the options of `audit`, and given the adversarial examples of the first, and
    the first its. The same command resumes. Exit codes: 0; with --margin 2 where one surely lost more, 3 where that is open.
    """
    from auditor.cli import comparing, forms

    said = {**words}
    if to or any(Path(text).suffix in (".onnx", ".ort") for text in what):
        return forms.compare(what, said, to=to or [], spec=spec, out=out, print_json=json)
    margin = comparing.only_margin(said, spec)
    return comparing.compare(what, out=out, margin=margin, print_json=json, url=url, api_key=api_key)
