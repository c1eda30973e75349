"""A forest and a boosted model of a table, through the command line: curves that are exact from both sides."""

import json

import numpy as np
import pytest

from auditor.report.schema import Report
from tests.graph.test_classical import FOLDER

EXAMPLES = 12


@pytest.fixture
def tables(tmp_path):
    datasets = pytest.importorskip("sklearn.datasets")
    paths = {}
    for name, load in (
        ("wine", datasets.load_wine),
        ("cancer", datasets.load_breast_cancer),
        ("iris", datasets.load_iris),
    ):
        data = load()
        paths[name] = tmp_path / f"{name}.npz"
        np.savez(paths[name], x=data.data.astype(np.float32), y=data.target)
    return paths


def audited(command, tmp_path, model, data, *options):
    """The report of a quick audit of a few examples."""
    little = ["--preset", "quick", "--examples", EXAMPLES, "--batch-size", 8, "--threads", 1, "--no-examples"]
    answer = command("audit", FOLDER / model, data, "--out", tmp_path / "out", *little, *options)
    assert answer.code == 0, answer.err
    return Report.model_validate_json((tmp_path / "out" / "report.json").read_text())


def test_inspect_says_that_the_trees_can_be_searched(command):
    answer = command("inspect", FOLDER / "forest.wine.onnx", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["trees"] == {"trees": 10, "leaves": 98}
    assert "a sum of 10 with 98 leaves" in " ".join(command("inspect", FOLDER / "forest.wine.onnx").out.split())


EVERY_NORM = [
    *("--norm", "Linf", "--eps", "0.1,0.5,1.5"),
    *("--norm", "L2", "--eps", "0.5,2"),
    *("--norm", "L1", "--eps", "0.5,3"),
    *("--norm", "L0", "--eps", "1,2,3"),
]


@pytest.mark.parametrize(
    ("model", "data", "exact"),
    [
        ("xgboost.wine.onnx", "wine", 1.0),
        ("forest.wine.onnx", "wine", 0.6),
        ("ada_boost_two.cancer.onnx", "cancer", 1.0),
    ],
    ids=["boosted", "forest", "votes"],
)
def test_the_curve_is_found_and_proved(model, data, exact, command, tmp_path, tables):
    report = audited(command, tmp_path, model, tables[data], "--domain", "none", *EVERY_NORM)
    assert report.clean.correct == EXAMPLES
    pairs = [(point.robust_accuracy, point.certified_accuracy) for curve in report.curves for point in curve.points]
    assert all(certified <= robust for robust, certified in pairs)
    assert np.mean([certified == robust for robust, certified in pairs]) >= exact
    for curve in report.curves:
        rows = curve.examples
        radius, distance = (
            np.array(rows.certified_radius),
            np.array([np.inf if d is None else d for d in rows.distance]),
        )
        assert (radius < distance).all()
        close = np.isclose(radius, distance - (curve.norm == "L0"), rtol=1e-5, atol=0)
        assert close[radius > 0].mean() >= 2 * exact - 1
    assert {stage.access for stage in report.stages} >= {"structure"}
    check = next(check for check in report.diagnosis.checks if check.check == "gradient")
    assert (check.severity, "sum of trees" in check.message) == ("info", True)
    assert not any("no lower bound" in said for said in report.not_tested)


def test_levels_and_a_target_are_kept(command, tmp_path, tables):
    data = np.load(tables["wine"])
    low, high = data["x"].min(axis=0), data["x"].max(axis=0)
    scaled = tmp_path / "scaled.npz"
    whole = np.round(255 * (data["x"] - low) / (high - low))
    np.savez(scaled, x=(whole / 255).astype(np.float32), y=data["y"])
    mean = [f"{-a / (b - a)!r}" for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    std = [f"{1 / (b - a)!r}" for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    options = ["--domain", "0,1", "--quantize", 8, "--mean", ",".join(mean), "--std", ",".join(std)]
    report = audited(
        command,
        tmp_path,
        "xgboost.wine.onnx",
        scaled,
        *options,
        "--norm",
        "Linf",
        "--eps",
        "0.1,0.3",
        "--target",
        "random",
    )
    (curve,) = report.curves
    found = np.load(tmp_path / "out" / "adversarial.npz")
    assert len(found["x_adv"])
    assert np.array_equal(np.round(found["x_adv"] * 255) / np.float32(255), found["x_adv"].astype(np.float32))
    assert all(point.certified_accuracy == point.robust_accuracy for point in curve.points)


def test_relations_between_columns_leave_the_trees_to_the_other_attacks(command, tmp_path, tables):
    rules = tmp_path / "rules.yaml"
    rules.write_text("relations:\n  - {terms: {'0': 1, '1': -1}, at_most: 100}\n")
    options = ["--domain", "none", "--constraints", rules, "--norm", "L0", "--eps", "1"]
    report = audited(command, tmp_path, "forest.wine.onnx", tables["wine"], *options)
    assert "structure" not in {stage.access for stage in report.stages}
    assert any("search of the trees" in said for said in report.not_tested)
    assert report.curves[0].points[0].certified_accuracy is None


def test_a_vote_of_forests_is_attacked_by_decisions_and_scores(command, tmp_path, tables):
    """It is no sum of trees and has no gradient: a curve in every norm all the same."""
    report = audited(command, tmp_path, "vote_forests.iris.onnx", tables["iris"], "--domain", "0,8", *EVERY_NORM)
    assert report.model.gradient["access"] == "score"
    assert {stage.access for stage in report.stages} == {"decision", "score"}
    for curve in report.curves:
        assert curve.points[-1].robust_accuracy < report.clean.correct / EXAMPLES
