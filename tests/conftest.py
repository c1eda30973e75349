"""What many tests share: the demo's model and data, and the command line inside and outside this process."""

import os

# Before NumPy is imported, here and in every process that a test starts.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import auditor
from auditor import cli

pytest_plugins = ["tests.service"]

# In the background a shell has interrupts ignored, and whatever is started there inherits that: some tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.pop("CI", None)  # where it is set, reports leave examples out

ROOT = Path(auditor.__file__).parents[1]
DEMO = ROOT / "auditor" / "demo"


class Answer(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def demo_model():
    return DEMO / "digits.onnx"


@pytest.fixture
def demo_data():
    return DEMO / "digits.npz"


@pytest.fixture
def digits():
    """(x, y) of the demo: x (500, 1, 8, 8) float32 in [0, 1]."""
    with np.load(DEMO / "digits.npz") as stored:
        return (stored["x"] / np.float32(255)).astype(np.float32), stored["y"]


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `auditor ARGUMENTS` inside this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["auditor", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Answer(ended.value.code, out, err)

    return run


@pytest.fixture
def start():
    """Starts `auditor ARGUMENTS` as a process of its own; whatever still runs in the end is killed."""
    started = []

    def run(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "auditor", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def python():
    """Runs Python code in a process of its own and gives what it printed."""

    def run(code, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
