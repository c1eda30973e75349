"""The doctor finds what is wrong with a machine and a service, and says what to do."""

import os
from collections import namedtuple

import pytest

from auditor import runtime
from auditor.errors import DeviceError
from auditor.operations import doctor, machine
from auditor.settings import Settings
from auditor.store import migrate
from auditor.store.database import Database


def findings(settings):
    """By name: state and what was said."""
    return {found.name: (found.state, f"{found.message}; {found.advice}") for found in doctor.doctor(settings)}


def test_a_machine_without_a_service_is_told_how_to_begin_and_nothing_is_made(tmp_path):
    found = findings(Settings(data=tmp_path / "data"))
    assert found["database"][0] == "warning"
    assert "auditor serve" in found["database"][1]
    assert found["python"][0] == found["packages"][0] == "ok"
    assert not (tmp_path / "data").exists()


def test_a_service_in_order_lacks_only_workers(database_url, tmp_path):
    database = Database(database_url)
    migrate.upgrade(database)
    database.close()
    found = findings(Settings(data=tmp_path, database=database_url))
    assert {name: state for name, (state, _) in found.items() if state != "ok"} == {"workers": "warning"}
    assert migrate.head() in found["database"][1]


def test_a_database_without_tables_is_an_error(database, database_url, tmp_path):
    state, said = findings(Settings(data=tmp_path, database=database_url))["database"]
    assert state == "error"
    assert "auditor db upgrade" in said


def test_a_database_that_does_not_answer_is_an_error_without_its_password(tmp_path):
    settings = Settings(data=tmp_path, database="postgresql://someone:S3cr3t@127.0.0.1:1/none")
    state, said = findings(settings)["database"]
    assert state == "error"
    assert "AUDITOR_DATABASE" in said
    assert "S3cr3t" not in said


def test_a_database_of_an_unknown_kind_is_an_error(tmp_path):
    assert findings(Settings(data=tmp_path, database="mysql://x/y"))["settings"][0] == "error"


@pytest.mark.parametrize("url", ["redis://:S3cr3t@127.0.0.1:1/0", "not-a-url"])
def test_a_broker_that_does_not_answer_is_an_error(tmp_path, url):
    state, said = findings(Settings(data=tmp_path, redis=url))["redis"]
    assert state == "error"
    assert "S3cr3t" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_artifacts_that_cannot_be_written_are_an_error(tmp_path, database_url):
    database = Database(database_url)
    migrate.upgrade(database)
    database.close()
    folder = tmp_path / "artifacts"
    folder.mkdir(mode=0o500)
    assert findings(Settings(data=tmp_path, database=database_url))["artifacts"][0] == "error"


def test_artifacts_in_a_bucket_that_is_not_there_are_an_error(tmp_path, database_url, monkeypatch):
    Database(database_url).engine.connect().close()
    monkeypatch.setattr(doctor.health, "probe_artifacts", raise_refused)
    settings = Settings(data=tmp_path, database=database_url, artifacts="s3://none/prefix")
    assert "s3://none/prefix" in findings(settings)["artifacts"][1]


def raise_refused(service):
    raise OSError("connection refused")


def test_a_clock_that_differs_is_a_warning(tmp_path, database_url, monkeypatch):
    database = Database(database_url)
    migrate.upgrade(database)
    database.close()
    monkeypatch.setattr(doctor.retention, "time_of", lambda service: 0.0)
    state, said = findings(Settings(data=tmp_path, database=database_url))["clock"]
    assert state == "warning"
    assert "NTP" in said


def test_sqlite_on_a_network_file_system_is_an_error(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"rootfs / ext4 rw 0 0\nserver:/x {tmp_path}/share nfs4 rw 0 0\n")
    monkeypatch.setattr(machine, "_MOUNTS", mounts)
    (tmp_path / "share").mkdir()
    assert findings(Settings(data=tmp_path / "share" / "data"))["data folder"][0] == "error"
    assert "data folder" not in findings(Settings(data=tmp_path / "local"))


def test_two_builds_of_the_runtime_are_an_error(monkeypatch):
    versions = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(machine, "version_of", lambda name: versions.get(name, "1"))
    (clash,) = [found for found in machine.packages() if found.name == "onnxruntime"]
    assert clash.state == "error"
    assert "uninstall both" in clash.advice
    del versions["onnxruntime"], versions["onnxruntime-gpu"]
    monkeypatch.setattr(machine, "version_of", lambda name: None if name in machine._RUNTIMES else "1")
    assert "missing" in next(found.message for found in machine.packages() if found.name == "onnxruntime")


@pytest.mark.parametrize(
    ("driver", "device", "state"),
    [("550.54.15", "cuda", "error"), ("550.54.15", "cpu", "warning"), (None, "cpu", "ok")],
)
def test_an_old_driver_is_named(tmp_path, monkeypatch, driver, device, state):
    file = tmp_path / "version"
    if driver:
        file.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Tue Feb 27 02:11:04 UTC 2026\n")
    monkeypatch.setattr(machine, "_DRIVER_VERSION", file)
    (found,) = machine.gpu(device)
    assert found.state == state
    if driver:
        assert "580" in found.advice


def test_a_gpu_that_does_not_answer_is_an_error(monkeypatch, tmp_path):
    def refuse(device):
        raise DeviceError("no GPU answers")

    monkeypatch.setattr(machine, "_DRIVER_VERSION", tmp_path / "none")
    monkeypatch.setattr(runtime, "require", refuse)
    (found,) = machine.gpu("cuda:1")
    assert (found.state, found.message) == ("error", "no GPU answers")


@pytest.mark.parametrize(("free", "state"), [(100, "ok"), (10, "warning"), (0.5, "error")])
def test_a_disk_that_fills_up_is_named(tmp_path, monkeypatch, free, state):
    usage = namedtuple("usage", "free")(int(free * 2**30))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: usage)
    (found,) = machine.disk(tmp_path / "not" / "there")
    assert found.state == state
