"""How alembic reaches the database: by the connection that `migrate` hands over, or, on alembic's own command line, at
AUDITOR_DATABASE."""

from alembic import context
from sqlalchemy import Connection

from auditor.settings import Settings
from auditor.store.database import Database
from auditor.store.tables import Table


def run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=Table.metadata, render_as_batch=True, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with Database(Settings.read().database_url).engine.begin() as opened:
        run(opened)
