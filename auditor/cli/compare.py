"""The command compare: audits of the same examples side by side."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from auditor.cli.remote import ApiKey, Url


def compare(
    audits: Annotated[
        list[str], typer.Argument(metavar="REPORT|ID …", help="A report.json, its folder, or an audit's id; 2 to 5.")
    ],
    out: Annotated[
        Path | None, Option(help="compare.html, .pdf or .json, or a folder for all three; none is written without.")
    ] = None,
    margin: Annotated[
        float | None, Option(help="The net loss that is tolerated, such as 0.02; the exit code then follows.")
    ] = None,
    json: Annotated[bool, Option("--json", help="Print the comparison to stdout.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> int:
    """What each audit lost against the first, example by example.

    Exit codes without --margin: 0. With it: 0 where no audit lost more, 2 where one surely did, 3 where that is open.
    """
    from auditor.cli import comparing

    return comparing.compare(audits, out=out, margin=margin, print_json=json, url=url, api_key=api_key)
