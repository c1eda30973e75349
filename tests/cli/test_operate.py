"""The commands of those who run a service, on a folder of its own."""

import sqlite3

import pytest


@pytest.fixture
def on_data(command, tmp_path, monkeypatch):
    """Runs a command on an upgraded data folder."""
    monkeypatch.setenv("AUDITOR_LOG_LEVEL", "error")

    def run(*words):
        return command(*words, "--data", tmp_path / "data")

    assert run("db", "upgrade").code == 0
    return run


def test_a_key_is_made_listed_and_revoked(on_data):
    made = on_data("keys", "create", "pipeline", "--role", "reader")
    assert made.out.startswith("aud_")
    key_id, prefix, role, state, name = on_data("keys", "list").out.strip().split("\t")
    assert made.out.split("_")[1] == prefix
    assert (role, state, name) == ("reader", "valid", "pipeline")
    assert on_data("keys", "list", "--project", "another").out == ""
    assert on_data("keys", "revoke", key_id, "--project", "another").code == 1
    assert on_data("keys", "revoke", key_id).code == 0
    assert "\trevoked\t" in on_data("keys", "list").out


def test_a_role_that_does_not_exist_is_refused(on_data):
    answer = on_data("keys", "create", "pipeline", "--role", "god")
    assert answer.code == 64
    assert "reader, submitter, admin" in answer.err


def test_the_schema_goes_up_and_down(on_data, tmp_path):
    revision, needed = on_data("db", "current").out.strip().removesuffix(")").split(" (needed: ")
    assert revision == needed
    on_data("keys", "create", "kept")
    lowered = on_data("db", "downgrade", "0001")
    copy = lowered.out.strip().removeprefix("the database as it was: ")
    assert sqlite3.connect(copy).execute("SELECT name FROM key").fetchall() == [("kept",)]
    assert on_data("db", "current").out.startswith("0001 ")
    assert on_data("db", "upgrade").code == 0
    assert "kept" in on_data("keys", "list").out


def test_a_revision_that_is_not_known_is_refused(on_data):
    assert on_data("db", "downgrade", "nine").code != 0


def test_a_sound_service_has_nothing_to_mend_or_remove(on_data):
    assert on_data("fsck") == (0, "", "")
    assert on_data("fsck", "--deep", "--repair").code == 0
    assert on_data("gc").out.startswith("removed: uploads 0")


def test_a_file_that_is_gone_is_found(on_data, tmp_path):
    on_data("keys", "create", "any")
    database = sqlite3.connect(tmp_path / "data" / "auditor.sqlite3")
    database.execute("INSERT INTO blob (sha256, size, created_at, used_at) VALUES (?, 3, 0, 0)", ("0" * 64,))
    database.execute(
        "INSERT INTO dataset (id, project_id, name, sha256, size, filename, state, created_at)"
        " SELECT 'd', id, 'digits', ?, 3, 'digits.npz', 'ready', 0 FROM project",
        ("0" * 64,),
    )
    database.commit()
    answer = on_data("fsck")
    assert answer.code == 1
    assert "0" * 64 in answer.out


def test_the_doctor_names_what_it_looked_at_and_fails_on_errors(on_data, monkeypatch):
    answer = on_data("doctor")
    assert "database" in answer.out
    assert "python" in answer.out
    monkeypatch.setenv("AUDITOR_REDIS", "redis://127.0.0.1:1/0")
    answer = on_data("doctor")
    assert answer.code == 1
    assert "error   redis" in answer.out


def test_a_celery_worker_without_a_broker_says_what_to_set(on_data, monkeypatch):
    monkeypatch.delenv("AUDITOR_REDIS", raising=False)
    answer = on_data("worker", "--celery")
    assert answer.code == 64
    assert "AUDITOR_REDIS" in answer.err


def test_no_worker_lives_where_none_was_started(on_data):
    assert on_data("worker", "--healthcheck").code == 1
