"""Audits of tables with declared constraints, from the file to the report."""

from typing import get_args

import numpy as np
import pytest

from auditor import local, options
from auditor.audits.presets import chosen_stages
from auditor.constraints import Constraints
from auditor.errors import DatasetError, SpecError
from auditor.request import settle
from auditor.spec import AuditSpec, Preset, Threat
from tests.graph.models import text

DECLARED = """
features:
  age: {integer: true, range: [18, 80], direction: up, scale: 10}
  income: {range: [0, 10], scale: 2}
  sex: {immutable: true}
groups:
  job: {columns: [job_a, job_b, job_c], cost: 0.4}
"""


@pytest.fixture
def folder(tmp_path):
    """A table of six columns, and a net of one hidden layer."""
    rng = np.random.default_rng(0)
    weights = {"W": rng.standard_normal((6, 16)), "V": rng.standard_normal((16, 2)), "m": [50, 5, 0.5, 0, 0, 0]}
    weights |= {"s": [20, 3, 1, 1, 1, 1]}
    body = """f (float[N,6] x) => (float[N,2] y) {
        c = Sub(x, m) d = Div(c, s) h = MatMul(d, W) r = Relu(h) y = MatMul(r, V) }"""
    data = text(body, **{name: np.array(values, np.float32) for name, values in weights.items()})
    (tmp_path / "m.onnx").write_bytes(data)
    rows = [
        f"{rng.integers(18, 80)},{rng.random() * 10:.3f},{rng.integers(2)},"
        + ",".join(map(str, np.eye(3, dtype=int)[k]))
        for k in rng.integers(0, 3, 40)
    ]
    (tmp_path / "d.csv").write_text("age,income,sex,job_a,job_b,job_c\n" + "\n".join(rows) + "\n")
    (tmp_path / "c.yaml").write_text(DECLARED)
    return tmp_path


def asked(folder, **given):
    words = {"model": folder / "m.onnx", "data": folder / "d.csv", "out": folder / "out", "domain": "none"}
    words |= {"constraints": folder / "c.yaml", "preset": "quick", "batch_size": 16, "threads": 1}
    return options.request(words | {"norm": ["Linf"], "eps": ["0.2,0.5"], "examples": 16} | given)


def audited(folder, **given):
    request = asked(folder, **given)
    return local.audit(request, settle(request), lambda step: None).report


def test_every_adversarial_row_keeps_the_constraints(folder):
    subject = settle(asked(folder)).subject
    report = audited(folder)
    found = np.load(folder / "out" / "adversarial.npz")
    assert len(found["index"]) > 5
    clean = subject.dataset.fetch(found["index"])
    for x, x_adv in zip(clean, found["x_adv"], strict=True):
        age, income, sex, *job = x_adv.tolist()
        assert age == round(age)
        assert x[0] <= age <= 80
        assert 0 <= income <= 10
        assert sex == x[2]
        assert sorted(job) == [0, 0, 1]
    apart = subject.space.distances(clean, found["x_adv"])
    own = np.array([apart[norm][row] for row, norm in enumerate(found["norm"])])
    assert np.array_equal(own, found["distance"])
    assert report.audit.spec["constraints"]["groups"]["job"]["cost"] == "0.4"
    assert "feature-search" in {stage.attack for stage in report.stages}
    assert any(point.robust_accuracy < 0.9 for point in report.curves[0].points)
    assert not any("--constraints" in said for said in report.not_tested)


def test_without_constraints_the_report_says_that_rows_may_be_impossible(folder):
    report = audited(folder, constraints=None, attack=["fgsm"], norm=["Linf"], eps=["1"])
    assert any("--constraints" in said for said in report.not_tested)


def test_what_was_declared_is_said(folder):
    chosen = settle(asked(folder)).chosen
    assert (
        "constraints: 1 immutable, 1 in one direction, 2 with a range, 1 in steps, 2 with a scale, 1 categories"
        in chosen
    )


@pytest.mark.parametrize(
    ("declared", "error", "words"),
    [
        ("features: {height: {}}", SpecError, "'height'; the data have 6: age"),
        ("features: {age: {step: none}}", SpecError, "features.age.step"),
        ("features: {age: {range: [30, 40]}}", DatasetError, "outside 30 to 40"),
        ("- age", SpecError, "list of NAME: VALUE"),
        ("column: {}", SpecError, "column"),
        ("features: {}", SpecError, "no constraint"),
    ],
)
def test_constraints_that_do_not_fit_are_refused(folder, declared, error, words):
    (folder / "c.yaml").write_text(declared)
    with pytest.raises(error, match=words):
        audited(folder)


@pytest.mark.parametrize("preset", get_args(Preset))
def test_every_preset_but_autoattacks_own_ends_with_a_search_of_features(preset):
    spec = AuditSpec(
        threats=(Threat(norm="L2", eps=("1",)),), preset=preset, constraints=Constraints(features={"0": {}})
    )
    assert (chosen_stages(spec)[-1].name == "feature-search") is (preset != "autoattack")


def test_transfer_attacks_know_nothing_of_constraints(folder):
    with pytest.raises(SpecError, match="transfer attacks know nothing"):
        settle(asked(folder, attack=["transfer-mi-fgsm"], norm=["Linf"], eps=["1"]))
