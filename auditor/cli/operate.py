"""Commands of those who run a service: serve, worker, doctor, fsck, gc."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

if TYPE_CHECKING:
    from auditor.settings import Settings

DataFolder = Annotated[Path | None, Option(help="The service's folder (default AUDITOR_DATA, else auditor-data).")]
Device = Annotated[str | None, Option(help="cpu (default), cuda, or one GPU as cuda:1.")]


def serve(
    data: DataFolder = None,
    host: Annotated[str | None, Option(help="Where to listen (default 127.0.0.1).")] = None,
    port: Annotated[int | None, Option(help="Where to listen (default 8000).")] = None,
    workers: Annotated[int | None, Option(help="How many audit at once (default 1).")] = None,
    device: Device = None,
) -> None:
    """The whole service on this machine, with nothing to install: API, workers, SQLite and files in one folder.

    The first start prints an API key and writes it to DATA/first-key. Kill it at any time; the next start goes on.
    """
    from auditor.settings import Settings
    from auditor.workers import supervisor

    supervisor.serve(Settings.read(data=data, host=host, port=port, workers=workers, device=device))


def worker(
    celery: Annotated[bool, Option("--celery", help="Be woken through Redis (AUDITOR_REDIS).")] = False,
    kinds: Annotated[str | None, Option(help="Only this work: check,settle,prepare,attack,finish.")] = None,
    device: Device = None,
    healthcheck: Annotated[
        bool, Option("--healthcheck", help="Start none; say whether one lives on this host.")
    ] = False,
    data: DataFolder = None,
) -> int | None:
    """A worker alone, for a service on many machines; database and files as AUDITOR_DATABASE and AUDITOR_ARTIFACTS say."""
    from auditor.settings import Settings

    settings = Settings.read(data=data, device=device, kinds=kinds)
    if healthcheck:
        return _no_worker_here(settings)
    if celery:
        from auditor.workers import celery_app

        celery_app.main(settings)
    else:
        from auditor.workers.worker import main

        main(settings)
    return None


def _no_worker_here(settings: "Settings") -> int:
    import socket

    from auditor.operations.health import worker_lives
    from auditor.operations.service import open_service

    return int(not worker_lives(open_service(settings), socket.gethostname()))


def doctor(data: DataFolder = None) -> int:
    """Look at this installation and at the service's database, files, broker and workers; say what is wrong."""
    from auditor.operations.doctor import doctor as examine
    from auditor.settings import Settings

    findings = examine(Settings.read(data=data))
    for finding in findings:
        print(f"{finding.state:<8}{finding.name}: {finding.message}")
        if finding.advice:
            print(f"{'':<8}{finding.advice}")
    return int(any(finding.state == "error" for finding in findings))


def fsck(
    repair: Annotated[bool, Option("--repair", help="Mend what can be mended without loss.")] = False,
    deep: Annotated[bool, Option("--deep", help="Read every file and compare its digest.")] = False,
    data: DataFolder = None,
) -> int:
    """Check that database and files agree. Exit code 1 where they do not."""
    from auditor.operations.consistency import fsck as check
    from auditor.operations.service import open_service
    from auditor.settings import Settings

    findings = check(open_service(Settings.read(data=data)), repair=repair, deep=deep)
    for finding in findings:
        print(finding)
    return int(bool(findings))


def gc(data: DataFolder = None) -> None:
    """Delete what nothing needs any more: ended retention, old uploads, files that nothing refers to."""
    from auditor.operations.retention import collect
    from auditor.operations.service import open_service
    from auditor.settings import Settings

    print(collect(open_service(Settings.read(data=data))))
