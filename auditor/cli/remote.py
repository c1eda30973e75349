"""Commands that talk to a service: submit, wait, report, cancel, audits."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer
from typer import Option

from auditor.cli.local import Json, Spec
from auditor.cli.options import AuditOptions, spread

if TYPE_CHECKING:
    from auditor.resources import Audit

Url = Annotated[str | None, Option(help="The service (default AUDITOR_URL, else http://127.0.0.1:8000).")]
ApiKey = Annotated[str | None, Option(help="An API key (default AUDITOR_API_KEY, which other users cannot see).")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The audit's id, as `auditor submit` printed it.")]
Out = Annotated[
    Path | None,
    Option(help="Write the audit's files here: report.json, .html and .pdf, adversarial.npz, outcomes.parquet."),
]


@spread
def submit(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="An ONNX file, or NAME[@ALIAS] of one that is there.")
    ],
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for `audit`, or the name of a dataset there.")],
    *,
    spec: Spec = None,
    name: Annotated[str | None, Option(help="The model's name there (default: the file's).")] = None,
    wait: Annotated[bool, Option("--wait", help="Wait for the end; Ctrl-C stops only the waiting.")] = False,
    out: Annotated[Path | None, Option(help="The folder for the report; waits for it.")] = None,
    json: Annotated[bool, Option("--json", help="Print the audit as JSON; with --wait, the report.")] = False,
    idempotency_key: Annotated[str | None, Option(help="The same key again gives the same audit.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    **words: Unpack[AuditOptions],
) -> int:
    """Upload MODEL and DATA to a service, have them audited there, and print the audit's id.

    Exit codes with --wait are those of `audit`. --baseline also takes an audit's id or NAME@ALIAS.
    """
    from auditor.cli import following, submission
    from auditor.client import Client
    from auditor.options import words_of

    said = words_of({**words}, spec)
    with Client(url, api_key) as client:
        audit = submission.submit(client, model, data, said, name=name, idempotency_key=idempotency_key)
        if not (wait or out):
            return following.show_audit(audit, print_json=json)
        following.wait_for(client, audit.id)
        return following.show_report(client, audit.id, out=out, print_json=json)


def wait(
    audit_id: Id,
    timeout: Annotated[float | None, Option(help="Seconds; the audit goes on when they are over.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> int:
    """Wait until an audit has ended. Exit codes are those of `audit`."""
    from auditor.cli import following
    from auditor.client import Client

    with Client(url, api_key) as client:
        following.wait_for(client, audit_id, timeout=timeout)
        return following.show_report(client, audit_id)


def report(audit_id: Id, out: Out = None, json: Json = False, url: Url = None, api_key: ApiKey = None) -> int:
    """Show the report of an audit that has ended, or write its files. Exit codes are those of `audit`."""
    from auditor.cli import following
    from auditor.client import Client

    with Client(url, api_key) as client:
        return following.show_report(client, audit_id, out=out, print_json=json)


def cancel(audit_id: Id, url: Url = None, api_key: ApiKey = None) -> None:
    """Stop an audit; what runs of it ends within seconds."""
    from auditor.client import Client

    with Client(url, api_key) as client:
        print(f"{audit_id} {client.cancel(audit_id).state}")


def audits(
    state: Annotated[str | None, Option(help="Only those in this state, such as running or done.")] = None,
    model: Annotated[str | None, Option(help="Only those of this model.")] = None,
    limit: Annotated[int, Option(help="How many at most.", min=1)] = 20,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List audits, newest first: id, state, model and version, dataset, verdict, clean and robust accuracy."""
    from itertools import islice

    from auditor.client import Client

    with Client(url, api_key) as client:
        for audit in islice(client.audits(state=state, model=model), limit):
            named = (audit.id, audit.state, f"{audit.model}@{audit.version}", audit.dataset, audit.verdict or "-")
            print(*named, *_found(audit), sep="\t")


def _found(audit: "Audit") -> Iterator[str]:
    if audit.summary is not None:
        yield f"clean={audit.summary.clean_accuracy:.3f}"
        for point in audit.summary.points:
            yield f"{point.norm}:{point.eps}={point.robust_accuracy:.3f}"
