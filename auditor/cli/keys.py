"""API keys, made on the service's own machine: `auditor keys`."""

from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from auditor.cli.operate import DataFolder

if TYPE_CHECKING:
    from auditor.operations.service import Service

app = typer.Typer(help="API keys of the service's projects.", no_args_is_help=True)
Project = Annotated[str, Option(help="The project; made if there is none of this name.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    project: Project = "default",
    role: Annotated[str, Option(help="reader, submitter or admin.")] = "submitter",
    days: Annotated[float | None, Option(help="After so many days it opens nothing (default: never).")] = None,
    data: DataFolder = None,
) -> None:
    """Print a new API key; it cannot be shown again."""
    from auditor.errors import SpecError
    from auditor.operations import keys, projects
    from auditor.operations.access import ROLES

    if role not in ROLES:
        raise SpecError(f"there is no role '{role}'; choose from {', '.join(ROLES)}")
    seconds = None if days is None else days * 86400
    with _service(data).database.transaction() as session:
        owner = projects.ensure(session, project)
        _, text = keys.create_key(session, owner.id, name, role, expires_in=seconds)
    print(text)


@app.command("list")
def list_keys(project: Project = "default", data: DataFolder = None) -> None:
    """Each key's id, prefix, role, state and name, newest first."""
    from auditor.operations import keys, projects

    with _service(data).database.transaction() as session:
        for key in keys.list_keys(session, projects.ensure(session, project).id, None, 1000):
            state = "revoked" if key.revoked_at else "valid"
            print(key.id, key.prefix, key.role, state, key.name, sep="\t")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `auditor keys list` shows it.")],
    project: Project = "default",
    data: DataFolder = None,
) -> None:
    """Make a key useless; a running service notices within seconds."""
    from auditor.operations import keys, projects

    with _service(data).database.transaction() as session:
        keys.revoke(session, projects.ensure(session, project).id, key_id)


def _service(data: DataFolder) -> "Service":
    from auditor.operations.service import open_service
    from auditor.settings import Settings

    return open_service(Settings.read(data=data))
