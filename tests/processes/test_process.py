"""A process that is watched: what it prints is bounded, and its end is sure and explained."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from itertools import pairwise

import pytest

from auditor.processes.process import Process, Silent, Stopped
from tests.conftest import ROOT


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Starts the given code with `pipe` at hand; whatever still runs in the end is killed."""
    started = []
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def start(code, **named):
        taken = "import os, sys, time\nfrom auditor.processes.pipe import standard_pipe\npipe = standard_pipe()\n"
        (tmp_path / "other.py").write_text(taken + textwrap.dedent(code))
        started.append(Process("other", tmp_path, named.pop("tail", 1000)))
        return started[-1]

    yield start
    for process in started:
        process.end()


def gone(pid):
    """Whether a process ends within some seconds."""
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_messages_larger_than_any_buffer_go_both_ways_while_it_prints(run):
    process = run("""
        facts, payload = pipe.receive()
        sys.stderr.write("x" * 3_000_000)
        print("y" * 3_000_000)
        pipe.send({"size": len(payload)}, payload[::-1])
    """)
    payload = bytes(range(256)) * 20_000
    process.pipe.send({}, payload)
    assert process.pipe.receive() == ({"size": len(payload)}, payload[::-1])


def test_what_it_prints_is_told_up_to_a_limit(run):
    process = run("print('early ' * 9999); print('last words', end='', flush=True); os._exit(3)", tail=25)
    with pytest.raises(EOFError):
        process.pipe.receive()
    ended = process.end()
    assert ended.startswith("ended with exit code 3\n")
    assert ended.endswith("early \nlast words")
    assert len(ended) < 60


def test_an_exception_is_told_with_its_traceback(run):
    process = run("raise RuntimeError('my fault')")
    with pytest.raises(EOFError):
        process.pipe.receive()
    assert "RuntimeError: my fault" in process.end()


def test_the_signal_that_ended_it_is_named(run):
    process = run("os.kill(os.getpid(), 11)")
    with pytest.raises(EOFError):
        process.pipe.receive()
    assert process.end().startswith("was ended by SIGSEGV")


def test_a_reader_that_does_not_read_can_be_stopped_too(run):
    asked = []
    process = run("time.sleep(600)")
    process.watch(lambda: asked.append(time.monotonic()) or len(asked) > 2, 60)
    with pytest.raises(Stopped):
        process.pipe.send({}, b"x" * (8 << 20))
    assert max(later - earlier for earlier, later in pairwise(asked)) < 1


def test_silence_is_noticed(run):
    process = run("pipe.send({}); time.sleep(600)")
    process.pipe.receive()
    process.watch(lambda: False, 0.1)
    with pytest.raises(Silent, match=r"0\.1 seconds"):
        process.pipe.receive()


def test_whatever_it_started_ends_with_it(run):
    process = run("""
        import subprocess
        other = subprocess.Popen(["sleep", "600"])
        pipe.send({"pid": other.pid, "own": os.getpid()})
        time.sleep(600)
    """)
    facts, _ = process.pipe.receive()
    process.end()
    assert gone(facts["own"])
    assert gone(facts["pid"])


def test_it_sees_no_secrets_and_keeps_its_files_in_its_folder(run, monkeypatch, tmp_path):
    for name in ("AUDITOR_DATABASE", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "REDIS_URL"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    process = run("""
        import tempfile
        pipe.send({"environment": dict(os.environ), "folder": os.getcwd(), "temporary": tempfile.gettempdir()})
    """)
    facts, _ = process.pipe.receive()
    assert "secret" not in facts["environment"].values()
    assert facts["environment"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert facts["environment"]["OPENBLAS_NUM_THREADS"] == "1"
    assert facts["folder"] == facts["temporary"] == str(tmp_path)


def test_it_dies_with_the_process_that_started_it(tmp_path):
    code = """
import os, sys, time
from pathlib import Path
from auditor.processes.process import Process
process = Process("auditor.workers.child", Path(sys.argv[1]), 1000, "best-effort", "cpu")
process.pipe.receive()
print(process._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    worker = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert worker.returncode == -signal.SIGKILL, worker.stderr
    assert gone(int(worker.stdout))
