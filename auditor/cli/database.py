"""The service's database schema: `auditor db`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.operate import DataFolder

if TYPE_CHECKING:
    from auditor.store.database import Database

app = typer.Typer(help="The service's database schema.", no_args_is_help=True)


@app.command()
def upgrade(data: DataFolder = None) -> None:
    """Bring the schema to this version of auditor; an SQLite file is copied first."""
    from auditor.store import migrate

    _say_copy(migrate.upgrade(_database(data)))


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="As `auditor db current` prints it.")], data: DataFolder = None
) -> None:
    """Take the schema back to an older revision; what only the newer one can hold is lost."""
    from auditor.store import migrate

    _say_copy(migrate.downgrade(_database(data), revision))


@app.command()
def current(data: DataFolder = None) -> None:
    """Print the database's revision, and the one that this version of auditor needs."""
    from auditor.store import migrate

    print(f"{migrate.current(_database(data)) or 'empty'} (needed: {migrate.head()})")


def _say_copy(copy: Path | None) -> None:
    if copy is not None:
        print(f"the database as it was: {copy}")


def _database(data: DataFolder) -> "Database":
    from auditor.settings import Settings
    from auditor.store.database import Database

    return Database(Settings.read(data=data).database_url)
