"""A remote audit, watched to its end and shown."""

import sys
from pathlib import Path

from rich.console import Console

from auditor import resources, terminal
from auditor.client import Client
from auditor.errors import AuditorError, InputError

_REFUSALS = ("InputError", "ModelError", "DatasetError", "SpecError")


class Interrupted(AuditorError):
    """The waiting was interrupted; the audit goes on."""

    exit_code = terminal.INTERRUPTED


def show_audit(audit: resources.Audit, *, print_json: bool) -> int:
    """What was asked for: the id on stdout, for the next command."""
    print(audit.model_dump_json(indent=2) if print_json else audit.id)
    return 0


def wait_for(client: Client, audit_id: str, *, timeout: float | None = None) -> resources.Audit:
    """Wait with a progress bar. Raises NotFinished after `timeout` seconds, Interrupted on Ctrl-C."""
    try:
        with terminal.bar("stages", "waiting for a worker") as move:
            return client.wait(audit_id, timeout=timeout, on_event=_Watcher(client, audit_id, move))
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped waiting; the audit goes on. 'auditor wait {audit_id}' waits again, 'auditor cancel {audit_id}' "
            "ends it"
        ) from None


class _Watcher:
    """Moves a progress bar by an audit's events. How many stages there are is asked once they are known."""

    def __init__(self, client: Client, audit_id: str, move: terminal.Move) -> None:
        self._client, self._audit_id, self._move = client, audit_id, move
        self._total = 0

    def __call__(self, event: resources.Event) -> None:
        if event.type != "audit.stage":
            return
        self._total = self._total or self._client.get(self._audit_id).progress.get("all", 0)
        self._move(f"{event.data['norm']} {event.data['attack']}", event.data["done"], self._total)


def show_report(client: Client, audit_id: str, *, out: Path | None = None, print_json: bool = False) -> int:
    """Show a finished audit's report or print it as JSON; write its files to `out`, if given. Gives the exit code.

    Raises NotFinished while it runs, and the audit's own problem where it has no report.
    """
    _refuse_without_report(client.get(audit_id))
    report = client.report(audit_id, wait_for_it=False)
    if out is not None:
        for file in client.artifacts(audit_id):
            if file.removed_at is None:
                client.download(audit_id, file.kind, out / file.filename)
    if print_json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    else:
        terminal.show(Console(highlight=False), report, out)
    return terminal.exit_code(report)


def _refuse_without_report(audit: resources.Audit) -> None:
    if audit.state == "cancelled":
        raise AuditorError(f"audit {audit.id} was cancelled and has no report")
    if audit.state == "failed":
        problem = audit.problem or {}
        kind = InputError if problem.get("type") in _REFUSALS else AuditorError
        raise kind(f"audit {audit.id} failed: {problem.get('detail', 'for no reason that the service told')}")
