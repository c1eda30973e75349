"""Migrations: what they make is what the tables say, and what is stored survives them, there and back."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, MetaData, String, Text, inspect, select, text

from auditor.store import migrate
from auditor.store.database import Database, now
from auditor.store.tables import Spending, Table

OLDEST = "0001"


@pytest.fixture
def empty(database_url):
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def older(empty):
    """A database at the oldest revision, with a row in every table."""
    migrate.upgrade(empty)
    migrate.downgrade(empty, OLDEST)
    fill(empty)
    return empty


def fill(database):
    tables = reflected(database)
    stored = {}
    with database.transaction() as session:
        for table in tables.sorted_tables:
            row = {column.name: value(column, stored) for column in table.columns}
            session.execute(table.insert().values(row))
            stored[table.name] = row


def value(column, stored):
    """Something that fits the column; of a reference to another table, what is stored there."""
    for key in column.foreign_keys:
        return stored.get(key.column.table.name, {}).get(key.column.name)  # None: the table refers to itself
    if isinstance(column.type, JSON):
        return {"a": [1, 2.5, "ü"]}
    if isinstance(column.type, String | Text):
        return f"{column.name}-ü"[: column.type.length]
    return column.type.python_type(1)


def reflected(database):
    metadata = MetaData()
    metadata.reflect(database.engine)
    metadata.remove(metadata.tables["alembic_version"])
    return metadata


def rows(database, tables):
    """All rows of these columns, whatever else the tables have by now."""
    with database.reading() as session:
        return {table.name: session.execute(select(*table.columns)).all() for table in tables.sorted_tables}


def revision_of(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_migrations_make_the_tables(empty):
    migrate.upgrade(empty)

    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Table.metadata) == []
        made = {index["name"]: index["column_names"] for index in inspect(connection).get_indexes("item")}
    assert made.keys() >= {index.name for index in Table.metadata.tables["item"].indexes}
    assert migrate.current(empty) == migrate.head()


def test_rows_survive_every_revision(older):
    tables = reflected(older)
    before = rows(older, tables)
    assert before.keys() == Table.metadata.tables.keys() - {"spending", "surrogate", "session"}
    assert all(len(stored) == 1 for stored in before.values())

    migrate.upgrade(older)
    assert rows(older, tables) == before
    migrate.downgrade(older, OLDEST)
    assert rows(older, tables) == before
    migrate.upgrade(older)
    assert rows(older, tables) == before
    assert migrate.current(older) == migrate.head()


def test_references_still_hold_after_a_migration(older):
    migrate.upgrade(older)
    migrate.downgrade(older, OLDEST)
    migrate.upgrade(older)

    with older.transaction() as session:
        session.execute(text("DELETE FROM project"))
    left = {name: len(stored) for name, stored in rows(older, reflected(older)).items() if stored}
    assert left == {"blob": 1, "worker": 1}


def test_what_audits_have_cost_is_spent(older):
    audit = reflected(older).tables["audit"]
    with older.transaction() as session:
        row = dict(session.execute(select(audit)).mappings().one())
        for id, seconds, finished_at in (("a", 2.5, 86399.0), ("b", 4.0, 86400.0), ("c", 8.0, None), ("d", 0.0, 9e6)):
            session.execute(audit.insert().values(row | {"id": id, "seconds": seconds, "finished_at": finished_at}))

    migrate.upgrade(older)

    with older.reading() as session:
        today = int(session.scalar(select(now())) // 86400)
        spent = session.execute(select(Spending.project_id, Spending.day, Spending.seconds).order_by(Spending.day))
        assert spent.all() == [
            (row["project_id"], 0, 3.5),
            (row["project_id"], 1, 4.0),
            (row["project_id"], today, 8.0),
        ]


def test_base_leaves_nothing(empty):
    migrate.upgrade(empty)
    migrate.downgrade(empty, "base")

    assert set(inspect(empty.engine).get_table_names()) == {"alembic_version"}
    assert migrate.current(empty) is None


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_file_with_tables_is_copied_first(older, tmp_path):
    older_rows = rows(older, reflected(older))

    copy = migrate.upgrade(older)

    assert copy == tmp_path / f"auditor.sqlite3.before-{migrate.head()}"
    assert revision_of(copy) == OLDEST
    kept = Database(f"sqlite:///{copy}")
    assert rows(kept, reflected(kept)) == older_rows
    kept.close()
    assert migrate.upgrade(older) is None


def test_nothing_is_copied_where_nothing_is(empty, tmp_path):
    assert migrate.upgrade(empty) is None
    assert not list(tmp_path.glob("*.before-*"))


def test_check_says_what_to_do(empty):
    with pytest.raises(migrate.WrongRevision, match=r"has no tables.*run 'auditor db upgrade'"):
        migrate.check(empty)
    migrate.upgrade(empty)
    migrate.check(empty)
    migrate.downgrade(empty, OLDEST)
    with pytest.raises(migrate.WrongRevision, match=f"is at revision {OLDEST}.*run 'auditor db upgrade'"):
        migrate.check(empty)


def test_a_newer_database_is_left_alone(empty):
    migrate.upgrade(empty)
    with empty.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    for refused in (migrate.check, migrate.upgrade, lambda database: migrate.downgrade(database, OLDEST)):
        with pytest.raises(migrate.WrongRevision, match="9999 is not known"):
            refused(empty)
    assert migrate.current(empty) == "9999"


def test_an_unknown_target_is_refused(empty):
    with pytest.raises(migrate.WrongRevision, match="7777 is not known"):
        migrate.downgrade(empty, "7777")


def test_many_upgrades_at_once(database_url):
    def upgrade(_):
        database = Database(database_url)
        migrate.upgrade(database)
        found = migrate.current(database)
        database.close()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(upgrade, range(4))) == {migrate.head()}


def test_a_failed_migration_changes_nothing(older, monkeypatch):
    before, upgrade = rows(older, reflected(older)), migrate.command.upgrade

    def fail(config, revision):
        upgrade(config, revision)
        raise RuntimeError("the machine has no room left")

    monkeypatch.setattr(migrate.command, "upgrade", fail)
    with pytest.raises(RuntimeError, match="no room left"):
        migrate.upgrade(older)
    assert migrate.current(older) == OLDEST
    assert rows(older, reflected(older)) == before
