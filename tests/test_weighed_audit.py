"""An audit of examples that have weights and come in groups, from the data to every way in which it can be read."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from auditor.audits.design import design_of
from auditor.report.checker import checker
from auditor.report.command import command as said_again
from tests import finished
from tests.conftest import DEMO

WORDS = {"examples": 60, "norm": ["Linf"], "eps": ["0.05,0.1"], "attack": ["pgd"], "batch_size": 8}
COLUMNS = {"weights": "worth", "groups": "writer"}


@dataclass(frozen=True)
class Weighed:
    data: Path
    ran: finished.Ran
    worth: np.ndarray
    writer: np.ndarray


@pytest.fixture(scope="module")
def weighed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weighed")
    with np.load(DEMO / "digits.npz") as stored:
        arrays = dict(stored)
    rng = np.random.default_rng(0)
    worth, writer = rng.integers(0, 4, len(arrays["x"])).astype(float), rng.integers(0, 25, len(arrays["x"]))
    np.savez(folder / "data.npz", **arrays, worth=worth, writer=writer)
    ran = finished.run(folder / "out", data=folder / "data.npz", fail_under=["Linf:0.1=0.4"], **WORDS, **COLUMNS)
    return Weighed(folder / "data.npz", ran, worth, writer)


def test_every_share_is_weighted_and_every_limit_by_group(weighed):
    report = weighed.ran.report
    index = np.array(report.dataset.index)
    assert report.dataset.weight == weighed.worth[index].tolist()
    assert report.dataset.group == weighed.writer[index].astype(str).tolist()
    design = design_of(weighed.worth[index], weighed.writer[index], 60)
    right = np.array(report.dataset.label) == report.dataset.predicted
    assert report.clean.accuracy == pytest.approx(weighed.worth[index][right].sum() / weighed.worth[index].sum())
    for point in report.curves[0].points:
        distance = np.array([np.inf if d is None else d for d in report.curves[0].examples.distance])
        stands = distance > point.value
        assert point.robust_accuracy == pytest.approx(np.average(stands, weights=weighed.worth[index]))
        assert point.interval == (design.lower(stands), design.upper(stands))
        assert point.effective_size == design.effective(stands.astype(float)) < 60
    gate = report.gates[0]
    assert "(about 97.5 %, as of" in gate.message or "the interval holds" in gate.message
    assert (gate.observed, gate.interval) == (
        report.curves[0].points[1].robust_accuracy,
        report.curves[0].points[1].interval,
    )


def test_examples_of_no_weight_are_left_out(weighed):
    assert 0 not in weighed.ran.report.dataset.weight
    assert len(weighed.ran.report.dataset.index) == 60


def test_the_files_say_so(weighed, tmp_path):
    folder, report = weighed.ran.folder, weighed.ran.report
    rows = pq.read_table(folder / "outcomes.parquet").to_pydict()
    assert (rows["weight"], rows["group"]) == (report.dataset.weight, report.dataset.group)
    page = (folder / "report.html").read_text()
    for words in (
        "every share is weighted",
        "whose members are not taken for independent",
        "groups of which the least",
    ):
        assert words in page
    assert "--weights worth --groups writer" in said_again(report)
    (tmp_path / "check.py").write_bytes(checker(report))
    assert "rows confirmed" in checked(folder / "report.json", folder, tmp_path).stdout
    changed = json.loads((folder / "report.json").read_text())
    changed["dataset"]["weight"][0] += 1
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    assert "the examples give" in checked(tmp_path / "changed.json", folder, tmp_path).stderr


def checked(report, folder, tmp_path):
    """What the script that comes with an audit says of its points."""
    words = [sys.executable, tmp_path / "check.py", DEMO / "digits.onnx", report, folder / "adversarial.npz"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_what_an_example_finds_does_not_depend_on_its_weight(weighed, tmp_path):
    report, words = weighed.ran.report, WORDS | {"examples": 90}
    plain = finished.run(tmp_path / "out", data=weighed.data, **words).report
    assert not {"weight", "group"} & plain.model_dump()["dataset"].keys()
    assert "effective_size" not in plain.model_dump_json()
    known = dict(zip(plain.dataset.index, plain.curves[0].examples.distance, strict=True))
    found = dict(zip(report.dataset.index, report.curves[0].examples.distance, strict=True))
    assert len(known.keys() & found) > 40
    assert all(known[index] == found[index] for index in known.keys() & found)


def test_a_baseline_is_compared_by_group(weighed, tmp_path):
    words = {**WORDS, "baseline": weighed.ran.folder / "report.json", "margin": 0.5}
    model = finished.changed_model(tmp_path / "changed.onnx")
    given = {"model": model, "data": weighed.data}
    alike = finished.run(tmp_path / "alike", **given, **words, **COLUMNS)
    gate = next(gate for gate in alike.report.gates if gate.kind == "regression")
    assert gate.interval[0] < gate.observed < gate.interval[1]
    weights = np.array(alike.report.dataset.weight)
    before, after = (
        np.array([np.inf if d is None else d for d in r.curves[0].examples.distance]) > r.curves[0].points[0].value
        for r in (weighed.ran.report, alike.report)
    )
    assert gate.observed == pytest.approx(np.average(before.astype(float) - after, weights=weights))


def test_a_dataset_in_one_group_is_doubted(weighed, tmp_path):
    with np.load(weighed.data) as stored:
        np.savez(tmp_path / "data.npz", **{**stored, "writer": np.zeros(len(stored["x"]), int)})
    report = finished.run(tmp_path / "out", data=tmp_path / "data.npz", groups="writer", **WORDS).report
    assert report.clean.interval == (0.0, 1.0)
    assert any("estimated over 1 of them are rough" in said for said in report.not_tested)


def test_the_command_line_says_what_counts_and_what_is_wrong(weighed, command, tmp_path):
    few = ("--examples", 20, "--norm", "Linf", "--eps", "0.1", "--attack", "fgsm", "--out", tmp_path / "out")
    answer = command(
        "audit",
        DEMO / "digits.onnx",
        weighed.data,
        *few,
        "--weights",
        "worth",
        "--groups",
        "writer",
        "--allow-chance",
    )
    assert answer.code == 0, answer.err
    assert "every share by the weights in 'worth'" in answer.err
    assert "independent examples" in answer.out
    answer = command("audit", DEMO / "digits.onnx", weighed.data, *few, "--weights", "labels")
    assert answer.code == 64
    assert "has no array 'labels'; its arrays are x, y, worth, writer" in answer.err
