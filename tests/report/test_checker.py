"""The scripts that re-check adversarial.npz: each confirms what its audit wrote, and finds what was changed since."""

import ast
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.errors import SpecError
from auditor.report.checker import checker
from tests import finished
from tests.conftest import DEMO, ROOT
from tests.finished import Ran
from tests.graph.models import text

SMALL = {"examples": 8, "attack": ["pgd"], "norm": ["L1"], "eps": ["4,8"]}
NHWC = ROOT / "tests" / "models" / "keras_cnn.tf2onnx-15-fixed.onnx"  # its batch is fixed


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


def of_a_table(folder, body, decide, width=3, domains="", **words):
    """A table of six features without limits, labelled by what decides on its products with random weights."""
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(12, 6)).astype(np.float32), rng.normal(size=(6, width)).astype(np.float32)
    model, data = folder / "table.onnx", folder / "data.npz"
    model.write_bytes(text(body, W=weight, domains=domains))
    np.savez(data, x=x, y=decide(x @ weight))
    words = {"domain": "none", "attack": ["minimal-apgd"], "norm": ["L2"], "eps": ["3"], "examples": 12} | words
    return Audited(model, finished.run(folder / "out", model=model, data=data, **words))


def largest(scores):
    return np.argmax(scores, axis=1)


def labels_alone(folder):
    """A model that gives the class alone."""
    body = "f (float[N,6] x) => (int64[N] y) { z = MatMul(x, W) y = ArgMax<axis=1,keepdims=0>(z) }"
    return of_a_table(folder, body, largest)


def scores_by_name(folder):
    """As scikit-learn's converter writes them."""
    body = """f (float[N,6] x) => (seq(map(string, float)) y) { z = MatMul(x, W) p = Softmax<axis=1>(z)
        y = ai.onnx.ml.ZipMap<classlabels_strings=["a","b","c"]>(p) }"""
    return of_a_table(folder, body, largest, domains=',"ai.onnx.ml":3')


def one_number_and_a_threshold(folder):
    """In float64."""
    body = "f (float[N,6] x) => (double[N,1] y) { z = MatMul(x, W) y = Cast<to=11>(z) }"
    return of_a_table(folder, body, lambda number: (number[:, 0] > 0.25).astype(int), width=1, threshold=0.25)


def one_probability(folder):
    """In a domain of another width, and an eps that is a quotient of decimals."""
    body = "f (float[N,6] x) => (float[N,1] y) { z = MatMul(x, W) y = Sigmoid(z) }"
    words = {"domain": "-4,4.5", "norm": ["Linf", "L2", "L0"], "eps": ["0.5/2", "0.4", "2"]}
    words["attack"] = ["minimal-apgd", "sigma-zero"]
    return of_a_table(folder, body, lambda number: (number[:, 0] > 0).astype(int), width=1, **words)


def in_float16(folder):
    body = "f (float16[N,6] x) => (float16[N,3] y) { h = Cast<to=10>(W) y = MatMul(x, h) }"
    return of_a_table(folder, body, largest)


def an_example_without_a_batch(folder):
    body = "f (float[6] x) => (float[3] y) { y = MatMul(x, W) }"
    return of_a_table(folder, body, largest, unbatched=True)


def beside_an_input_that_is_held(folder):
    body = "f (float[N,6] x, double[N,3] m) => (float[N,3] y) { z = MatMul(x, W) f = Cast<to=1>(m) y = Mul(z, f) }"
    return of_a_table(folder, body, largest, input="x", fix=["m=1,2,3"])


def columns_that_are_inputs(folder):
    names = "abcdef"
    body = f"""f ({", ".join(f"float[N,1] {name}" for name in names)}) => (float[N,3] y)
        {{ x = Concat<axis=1>({", ".join(names)}) y = MatMul(x, W) }}"""
    return of_a_table(folder, body, largest)


def a_class_to_abstain_by(folder):
    body = "f (float[N,6] x) => (float[N,4] y) { y = MatMul(x, W) }"
    return of_a_table(folder, body, lambda scores: largest(scores[:, :3]), width=4, abstain=3)


SEVERAL = "f (float[N,6] x) => (float[N,3] y) { z = MatMul(x, W) y = Sigmoid(z) }"


def several_labels_at_once(folder):
    return of_a_table(folder, SEVERAL, lambda scores: scores > 0)


def one_label_of_several(folder):
    return of_a_table(folder, SEVERAL, lambda scores: scores > 0.5, label=2, threshold=float(1 / (1 + np.exp(-0.5))))


def a_detector(folder):
    body = (
        "f (float[N,6] x) => (float[N,3] y, float[N,1] r) { y = MatMul(x, W) n = ReduceL2<axes=[1]>(x) r = Neg(n) }"
    )
    return of_a_table(folder, body, largest, detector="r:-0.5")


@pytest.fixture
def checked(monkeypatch, tmp_path, capsys):
    """Runs the script of an audit inside this process; gives what it printed, or what it complained of."""

    def run(ran, adversarial=None, report=None, model=DEMO / "digits.onnx"):
        script = tmp_path / "check_adversarial.py"
        script.write_bytes(checker(ran.report))
        paths = (model, report or ran.folder / "report.json", adversarial or ran.folder / "adversarial.npz")
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, paths)])
        try:
            runpy.run_path(str(script))
        except SystemExit as ended:
            return ended.code
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "audited",
    [
        towards_a_class,
        in_grey_levels,
        images_in_a_folder,
        labels_alone,
        scores_by_name,
        one_number_and_a_threshold,
        one_probability,
        in_float16,
        an_example_without_a_batch,
        beside_an_input_that_is_held,
        columns_that_are_inputs,
        several_labels_at_once,
        one_label_of_several,
        a_class_to_abstain_by,
        a_detector,
    ],
)
def test_every_row_of_an_audit_is_confirmed_and_no_clean_example_in_its_place(checked, tmp_path, audited):
    one = audited(tmp_path)
    found = one.ran.adversarial
    rows = len(found["index"])
    assert rows > 0
    assert checked(one.ran, model=one.model) == f"{rows} rows confirmed\n"
    np.savez(tmp_path / "unchanged.npz", **found | {"x_adv": found["x"]})
    assert "the model gives it" in checked(one.ran, tmp_path / "unchanged.npz", model=one.model)


def test_it_runs_without_this_tool_and_ends_with_an_exit_code(ran, tmp_path):
    script = tmp_path / "check_adversarial.py"
    script.write_bytes(checker(ran.report))
    words = [sys.executable, "-I", script, DEMO / "digits.onnx", ran.folder / "report.json"]
    done = subprocess.run([*words, ran.folder / "adversarial.npz"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{len(ran.adversarial['index'])} rows confirmed\n")
    np.savez(tmp_path / "adversarial.npz", **ran.adversarial | {"x_adv": ran.adversarial["x"]})
    done = subprocess.run([*words, tmp_path / "adversarial.npz"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the model gives it class" in done.stderr


def test_it_can_be_read_in_a_minute(ran):
    source = checker(ran.report).decode()
    lines = [line for line in source[source.index("def require") :].splitlines() if line.strip()]
    assert len(lines) <= 40
    assert max(map(len, source.splitlines())) <= 120


@pytest.mark.parametrize("name", ['"); exit(0) #', "'\"; x", "\u202e\n", "\\"])
def test_no_name_becomes_code(ran, name):
    model = ran.report.model.model_copy(update={"output": ran.report.model.output | {"name": name}, "sha256": name})
    source = checker(ran.report.model_copy(update={"model": model, "results_sha256": name})).decode()
    assert source.isascii()
    constants = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    assert constants.count(name) == 3


def shortened(found):
    for name in found:
        found[name] = found[name][1:]


def doubled(found):
    for name in found:
        found[name] = np.concatenate([found[name][:1], found[name]])


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda found: found["x"].__setitem__(0, found["x_adv"][0]), "it is not the report's"),
        (lambda found: found["x_adv"].__setitem__(0, 2.0), "outside the domain"),
        (lambda found: found["x_adv"].__setitem__(0, found["x_adv"][0][..., ::-1]), " away"),
        (lambda found: found["x_adv"].__setitem__(0, found["x"][0]), "the model gives it class"),
        (lambda found: found["distance"].__imul__(0.5), "it is not the report's"),
        (lambda found: found["label"].__iadd__(1), "it is not the report's"),
        (lambda found: found["predicted"].__iadd__(1), "it is not the report's"),
        (lambda found: found["attack"].__setitem__(0, "none"), "it is not the report's"),
        (lambda found: found["norm"].__setitem__(0, "L2"), "it is not the report's"),
        (lambda found: found["index"].__setitem__(0, 499), "it is not the report's"),
        (shortened, "the file lacks 1 rows"),
        (doubled, "it is not the report's"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(checked, ran, tmp_path, tamper, said):
    found = ran.adversarial
    tamper(found)
    np.savez(tmp_path / "adversarial.npz", **found)
    assert said in checked(ran, tmp_path / "adversarial.npz")


def test_a_report_whose_figures_do_not_follow_from_its_rows_is_refused(checked, ran, tmp_path):
    (curve, *others), path = ran.report.curves, tmp_path / "report.json"
    better = curve.points[0].model_copy(update={"robust_accuracy": 1.0})
    changed = curve.model_copy(update={"points": [better, *curve.points[1:]]})
    path.write_text(ran.report.model_copy(update={"curves": [changed, *others]}).model_dump_json())
    assert "the examples give" in checked(ran, report=path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"randomness": {"draws": 2}}, "an audit with chance, in the model or before it"),
        ({"input": {"type": "tensor(float)", "tokens": "ids"}}, "an audit with tokens, whose embedding was attacked"),
        ({"output": None}, "does not say which output"),
    ],
)
def test_what_no_short_script_can_check_gets_none(ran, changes, said):
    model = ran.report.model.model_copy(update=changes)
    with pytest.raises(SpecError, match=said):
        checker(ran.report.model_copy(update={"model": model}))


def test_the_report_of_another_audit_is_refused(checked, ran, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(ran.report.model_copy(update={"results_sha256": "0" * 64}).model_dump_json())
    assert checked(ran, report=path) == "this script is for another report"


def test_another_model_is_refused(checked, ran, tmp_path):
    other = finished.changed_model(tmp_path / "other.onnx")
    assert checked(ran, model=other) == "this is not the model of the report"
