"""The script that re-checks adversarial.npz: it confirms what audits wrote, and finds what was changed since."""

import subprocess
import sys

import numpy as np
import pytest

from auditor.report.checker import checker
from tests import finished
from tests.conftest import DEMO


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "check_adversarial.py"
    path.write_bytes(checker())
    return path


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Two more audits: towards a class, and in whole grey levels."""
    folder = tmp_path_factory.mktemp("others")
    small = {"examples": 8, "attack": ["pgd"], "norm": ["L1"], "eps": ["4,8"]}
    return [
        finished.run(folder / "target", target=3, **small),
        finished.run(folder / "levels", quantize=8, **small),
    ]


def checked(script, folder, adversarial=None, report=None, model=DEMO / "digits.onnx"):
    paths = (model, DEMO / "digits.npz", report or folder / "report.json", adversarial or folder / "adversarial.npz")
    done = subprocess.run([sys.executable, "-I", script, *paths], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_row_of_three_audits_is_confirmed(script, ran, others):
    for one in (ran, *others):
        rows = len(one.adversarial["index"])
        assert rows > 0
        assert checked(script, one.folder) == (0, f"{rows} rows, 0 faults\n")


def moved(found):
    found["x_adv"][0] += (found["x_adv"][0] < 0.5) * np.float32(0.01)


def restored(found):
    with np.load(DEMO / "digits.npz") as stored:
        found["x_adv"][0] = stored["x"][found["index"][0]] / np.float32(255)


def shortened(found):
    for name in found:
        found[name] = found[name][1:]


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (moved, "its distance is"),
        (restored, "the model gives it class"),
        (lambda found: found["x_adv"].__setitem__(0, 2.0), "it lies outside the domain"),
        (lambda found: found["distance"].__imul__(0.5), "its distance is"),
        (lambda found: found["predicted"].__iadd__(1), "its label or predicted class is another"),
        (shortened, "broken examples, the file"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(script, ran, tmp_path, tamper, said):
    found = ran.adversarial
    tamper(found)
    np.savez(tmp_path / "adversarial.npz", **found)
    code, text = checked(script, ran.folder, tmp_path / "adversarial.npz")
    assert (code, said in text) == (1, True), text


def test_another_model_is_refused(script, ran, tmp_path):
    other = finished.changed_model(tmp_path / "other.onnx")
    assert checked(script, ran.folder, model=other) == (1, "this is not the model of the report\n")


def test_the_command_prints_it(command):
    assert command("export", "checker").out.encode() == checker()
