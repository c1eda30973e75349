"""What is locked in reads and writes what it may, and reaches nothing else of the machine."""

import errno
import os
import socket
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from auditor import sandbox
from auditor.errors import SpecError
from auditor.operations.machine import isolation
from auditor.settings import Settings
from auditor.store import migrate
from auditor.store.database import Database
from auditor.workers.worker import worker
from tests.conftest import DEMO, ROOT

TRY = """
import os, socket, sys, threading
from pathlib import Path
from auditor import sandbox
from auditor.processes.restrict import restrict
restrict()
mode, device, outside, port, code = *sys.argv[1:3], Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
sandbox.lock(Path.cwd(), mode, cuda=device == "cuda")
try:
    exec(code)
except OSError as error:
    print("refused", error.errno)
else:
    print("done")
"""
REFUSED = [f"refused {number}" for number in (errno.EACCES, errno.EPERM, errno.EXDEV)]

on_landlock = pytest.mark.skipif(sandbox.level() == 0, reason="this kernel has no Landlock")


@pytest.fixture
def attempt(tmp_path):
    """Has a process try something, in a folder beside one with the service's files."""
    scratch, outside = tmp_path / "scratch", tmp_path / "data"
    scratch.mkdir()
    outside.mkdir()
    (outside / "auditor.sqlite3").write_text("secret")

    def attempt(code, mode="required", device="cpu"):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            told = subprocess.run(
                [sys.executable, "-P", "-c", TRY, mode, device, outside, str(listening.getsockname()[1]), code],
                cwd=scratch,
                env={"PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
                capture_output=True,
                text=True,
                check=False,
            )
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    return attempt


@on_landlock
@pytest.mark.parametrize(
    ("code", "least"),
    [
        ("(outside / 'auditor.sqlite3').read_text()", 1),
        ("Path('../data/auditor.sqlite3').read_text()", 1),
        ("os.listdir(outside)", 1),
        ("(outside / 'new').write_text('x')", 1),
        ("os.truncate(outside / 'auditor.sqlite3', 0)", 3),
        ("os.link(outside / 'auditor.sqlite3', 'here')", 1),
        ("os.symlink(outside / 'auditor.sqlite3', 'here')", 1),
        ("os.mkfifo('report.json')", 1),
        ("os.rename(outside / 'auditor.sqlite3', 'here')", 1),
        ("os.remove(outside / 'auditor.sqlite3')", 1),
        ("Path(f'/proc/{os.getppid()}/environ').read_bytes()", 1),
        ("Path(f'/proc/{os.getppid()}/cwd/pyproject.toml').read_bytes()", 1),
        ("os.posix_spawn('/bin/true', ['true'], {})", 1),
        ("socket.create_connection(('127.0.0.1', port))", 4),
        ("socket.create_server(('127.0.0.1', 0))", 4),
        ("os.kill(os.getppid(), 0)", 6),
    ],
)
def test_what_is_not_its_own_is_out_of_reach(attempt, monkeypatch, code, least):
    if sandbox.level() < least:
        pytest.skip(f"this takes Landlock's level {least}")
    monkeypatch.chdir(ROOT)
    assert attempt(code) in REFUSED
    assert attempt(code, "off") == "done"


@on_landlock
@pytest.mark.parametrize(
    "code",
    [
        "Path('a').mkdir(); Path('a/b').write_text('x'); os.rename('a/b', 'c'); os.truncate('c', 0); os.remove('c')",
        "import tempfile; tempfile.TemporaryFile().write(b'x')",
        "import numpy, scipy.stats, onnxruntime, onnx, PIL.Image, pyarrow.parquet",
        f"Path({str(DEMO / 'digits.onnx')!r}).read_bytes()",
        "open('/dev/null', 'w').write('x'); open('/dev/urandom', 'rb').read(1); open('/proc/cpuinfo').read()",
        "threading.Thread(target=print).start()",
    ],
)
def test_what_an_audit_needs_is_within_reach(attempt, code):
    assert attempt(code).endswith("done")


@on_landlock
def test_with_a_gpu_programs_start_and_compiled_kernels_go_to_the_scratch_folder(attempt):
    start = "os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', 'echo $CUPY_CACHE_DIR'], os.environ), 0)"
    assert attempt(start, device="cuda").split()[0].endswith("scratch/.cupy")
    assert attempt("(outside / 'auditor.sqlite3').read_text()", device="cuda") in REFUSED


def test_a_child_is_locked_in_before_it_imports_what_starts_threads():
    code = "import auditor.workers.child, sys; print({'numpy', 'onnxruntime'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


@pytest.fixture
def no_landlock(monkeypatch):
    def refuse(number, *arguments):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(sandbox, "_call", refuse)


@pytest.mark.usefixtures("no_landlock")
def test_without_landlock_a_worker_says_so_once_and_goes_on(tmp_path):
    settings = Settings(data=tmp_path)
    database = Database(settings.database_url)
    migrate.upgrade(database)
    database.close()
    with capture_logs() as logs, worker(settings):
        pass
    assert [line["log_level"] for line in logs if line["event"] == "sandbox.missing"] == ["warning"]
    sandbox.lock(tmp_path, "best-effort", cuda=False)


@pytest.mark.usefixtures("no_landlock")
def test_without_landlock_nothing_works_where_it_is_required(tmp_path):
    with (
        pytest.raises(SpecError, match="AUDITOR_SANDBOX=required, but there is no Landlock"),
        worker(Settings(data=tmp_path, sandbox="required")),
    ):
        pass
    with pytest.raises(SpecError, match="no Landlock"):
        sandbox.lock(tmp_path, "required", cuda=False)


def test_a_mode_that_there_is_not_is_refused():
    with pytest.raises(SpecError, match="choose best-effort, required, off"):
        sandbox.check("on")


@pytest.mark.usefixtures("no_landlock")
@pytest.mark.parametrize(("mode", "state"), [("best-effort", "warning"), ("off", "warning"), ("required", "error")])
def test_the_doctor_says_that_models_are_free(tmp_path, mode, state):
    (found,) = isolation(mode, tmp_path)
    assert found.state == state


def test_the_doctor_names_the_level_and_a_data_folder_that_models_may_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "level", lambda: 7)
    assert [found.state for found in isolation("required", tmp_path)] == ["ok"]
    level, place = isolation("required", DEMO / "data")
    assert "level 7" in level.message
    assert (place.state, str(ROOT / "auditor") in place.message) == ("warning", True)
