"""The script that re-checks adversarial.npz: it confirms what audits wrote, and finds what was changed since."""

import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.report.checker import checker
from tests import finished
from tests.conftest import DEMO, ROOT
from tests.finished import Ran
from tests.graph.models import text

SMALL = {"examples": 8, "attack": ["pgd"], "norm": ["L1"], "eps": ["4,8"]}
NHWC = ROOT / "tests" / "models" / "keras_cnn.tf2onnx-15-fixed.onnx"  # its batch is fixed


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "check_adversarial.py"
    path.write_bytes(checker())
    return path


@dataclass(frozen=True)
class Audited:
    model: Path
    ran: Ran


def towards_a_class(folder):
    return Audited(DEMO / "digits.onnx", finished.run(folder, target=3, **SMALL))


def in_grey_levels(folder):
    return Audited(DEMO / "digits.onnx", finished.run(folder, quantize=8, **SMALL))


def images_in_a_folder(folder):
    """Resized, channels last, normalised by channel, a fixed batch, and the model's own answers as labels."""
    rng = np.random.default_rng(0)
    for name in "abcdef":
        pixels = Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
        (folder / "images").mkdir(exist_ok=True)
        pixels.save(folder / "images" / f"{name}.png")
    words = {"mean": "0.5,0.4,0.3", "std": "0.2,0.3,0.4", "norm": ["Linf", "L0"], "eps": ["0.5", "200"]}
    words |= {"attack": ["fgsm", "pgd", "sparse-pgd"], "examples": 6, "allow_chance": True, "batch_size": None}
    return Audited(NHWC, finished.run(folder / "out", model=NHWC, data=folder / "images", **words))


def of_a_table(folder, body, weight, decide, **words):
    """A table without limits, labelled by what decides on its products with the weights."""
    x = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    model, data = folder / "table.onnx", folder / "data.npz"
    model.write_bytes(text(body, W=weight.astype(np.float32)))
    np.savez(data, x=x, y=decide(x @ weight))
    words |= {"domain": "none", "attack": ["minimal-apgd"], "norm": ["L2"], "eps": ["3"], "examples": 12}
    return Audited(model, finished.run(folder / "out", model=model, data=data, **words))


def labels_alone(folder):
    """A model that gives the class alone."""
    body = "f (float[N,6] x) => (int64[N] y) { z = MatMul(x, W) y = ArgMax<axis=1,keepdims=0>(z) }"
    weight = np.random.default_rng(1).normal(size=(6, 3))
    return of_a_table(folder, body, weight, lambda scores: np.argmax(scores, axis=1))


def one_number_and_a_threshold(folder):
    """In float64."""
    body = "f (float[N,6] x) => (double[N,1] y) { z = MatMul(x, W) y = Cast<to=11>(z) }"
    weight = np.random.default_rng(1).normal(size=(6, 1))
    return of_a_table(folder, body, weight, lambda numbers: (numbers[:, 0] > 0.25).astype(int), threshold=0.25)


@pytest.fixture
def checked(script, monkeypatch, capsys):
    """Runs the script inside this process; gives what it printed, or what it complained of."""

    def run(folder, adversarial=None, report=None, model=DEMO / "digits.onnx"):
        paths = (model, report or folder / "report.json", adversarial or folder / "adversarial.npz")
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, paths)])
        try:
            runpy.run_path(str(script))
        except SystemExit as ended:
            return ended.code
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "audited", [towards_a_class, in_grey_levels, images_in_a_folder, labels_alone, one_number_and_a_threshold]
)
def test_every_row_of_an_audit_is_confirmed(checked, tmp_path, audited):
    one = audited(tmp_path)
    rows = len(one.ran.adversarial["index"])
    assert rows > 0
    assert checked(one.ran.folder, model=one.model) == f"{rows} rows confirmed\n"


def test_it_runs_without_this_tool_and_ends_with_an_exit_code(script, ran, tmp_path):
    words = [sys.executable, "-I", script, DEMO / "digits.onnx", ran.folder / "report.json"]
    done = subprocess.run([*words, ran.folder / "adversarial.npz"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{len(ran.adversarial['index'])} rows confirmed\n")
    np.savez(tmp_path / "adversarial.npz", **ran.adversarial | {"x_adv": ran.adversarial["x"]})
    done = subprocess.run([*words, tmp_path / "adversarial.npz"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the model gives it class" in done.stderr


def shortened(found):
    for name in found:
        found[name] = found[name][1:]


def doubled(found):
    for name in found:
        found[name] = np.concatenate([found[name][:1], found[name]])


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda found: found["x"].__setitem__(0, found["x_adv"][0]), "its x or label is not the report's"),
        (lambda found: found["x_adv"].__setitem__(0, 2.0), "outside the domain"),
        (lambda found: found["x_adv"].__setitem__(0, found["x_adv"][0][..., ::-1]), " away"),
        (lambda found: found["x_adv"].__setitem__(0, found["x"][0]), "the model gives it class"),
        (lambda found: found["distance"].__imul__(0.5), "is not the report's"),
        (lambda found: found["label"].__iadd__(1), "its x or label is not the report's"),
        (lambda found: found["predicted"].__iadd__(1), "is not the report's"),
        (lambda found: found["attack"].__setitem__(0, "none"), "is not the report's"),
        (lambda found: found["norm"].__setitem__(0, "L2"), "is not the report's"),
        (lambda found: found["index"].__setitem__(0, 499), "is not the report's"),
        (shortened, "the file lacks 1 rows"),
        (doubled, "is not the report's"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(checked, ran, tmp_path, tamper, said):
    found = ran.adversarial
    tamper(found)
    np.savez(tmp_path / "adversarial.npz", **found)
    assert said in checked(ran.folder, tmp_path / "adversarial.npz")


def test_a_report_whose_figures_do_not_follow_from_its_rows_is_refused(checked, ran, tmp_path):
    (curve, *others), path = ran.report.curves, tmp_path / "report.json"
    better = curve.points[0].model_copy(update={"robust_accuracy": 1.0})
    changed = curve.model_copy(update={"points": [better, *curve.points[1:]]})
    path.write_text(ran.report.model_copy(update={"curves": [changed, *others]}).model_dump_json())
    assert "the examples give" in checked(ran.folder, report=path)


@pytest.mark.parametrize(
    "changes", [{"randomness": {"draws": 2}}, {"refusal": {"abstain": 3}}, {"input": {"held": {"a": 1}}}]
)
def test_what_it_does_not_check_is_said(checked, ran, tmp_path, changes):
    path = tmp_path / "report.json"
    model = ran.report.model.model_copy(update=changes)
    path.write_text(ran.report.model_copy(update={"model": model}).model_dump_json())
    assert "more than this script checks" in checked(ran.folder, report=path)


def test_another_model_is_refused(checked, ran, tmp_path):
    other = finished.changed_model(tmp_path / "other.onnx")
    assert checked(ran.folder, model=other) == "this is not the model of the report"


def test_the_command_prints_it(command):
    assert command("export", "checker").out.encode() == checker()
