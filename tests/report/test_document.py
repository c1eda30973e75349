"""report.json: its schema, its digest, and reading it back."""

import json
import math

import jsonschema
import numpy as np
import pytest

from auditor.audits.gates import regression_gates, robust_gate
from auditor.audits.outcomes import Outcomes, example_digests
from auditor.audits.summary import clean, curve
from auditor.errors import SpecError
from auditor.report.document import baseline_of, build_report, read_report, results_sha256
from auditor.report.files import write_report
from auditor.report.schema import Report, json_schema
from auditor.spec import AuditSpec, Budget, Gate, Threat

SPEC = AuditSpec(threats=(Threat(norm="Linf", eps=("1/255", "8/255")),))


def outcomes(distance=(0.0, 0.01, np.inf, np.inf)):
    distance = np.array(distance)
    return Outcomes(
        threat=SPEC.threats[0],
        index=np.array([3, 5, 8, 9]),
        right=distance > 0,
        distance=distance,
        attack=np.where(np.isfinite(distance) & (distance > 0), "apgd", ""),
        complete=np.array([True, True, True, False]),
        certified_radius=np.array([0, 0.001, 0.5, 0]),
    )


def parts(**changes):
    found = outcomes()
    curves = [curve(found, grey_levels=255)]
    return {
        "audit": {
            "id": "1",
            "seed": 0,
            "preset": "standard",
            "spec_sha256": SPEC.sha256,
            "spec": SPEC.model_dump(mode="json"),
            "plan": {"slices": [(0, 4)], "batch": 8},
            "fingerprint": {"numpy": "2"},
            "started_at": "2026-01-01T00:00:00Z",
            "finished_at": "2026-01-01T00:01:00Z",
            "device": "cpu",
            "versions": {"onnx": "1"},
        },
        "model": {
            "name": "model.onnx",
            "sha256": "0" * 64,
            "opset": 17,
            "operators": {"Gemm": 2},
            "parameters": 1000,
            "classes": 2,
            "input": {"name": "x", "shape": [None, 2]},
            "gradient": {"access": "white-box", "error": np.float64("nan")},
        },
        "dataset": {
            "name": "data.npz",
            "sha256": "1" * 64,
            "examples": 10,
            "domain": (0.0, 1.0),
            "sampling": {"seed": 0},
            "index": [3, 5, 8, 9],
            "label": [0, 1, 0, 1],
            "predicted": [1, 1, 0, 1],
            "digest": example_digests(np.eye(4), np.array([0, 1, 0, 1])),
        },
        "clean": clean(found.right),
        "curves": curves,
        "stages": [
            {
                "attack": "apgd",
                "norm": "Linf",
                "access": "white-box",
                "tried": 3,
                "broken": 1,
                "forwards": 300,
                "backwards": 300,
                "seconds": 1.5,
            }
        ],
        "diagnosis": {
            "subsample": [5, 8],
            "attacks": [{"attack": "apgd", "norm": "Linf", "accuracy": np.array([1.0, 0.5])}],
            "checks": [
                {
                    "check": "gradient",
                    "severity": "info",
                    "message": "fine",
                    "evidence": {"loss": np.float32(1.5), "worst": math.inf, "rows": np.arange(2)},
                }
            ],
        },
        "gates": [robust_gate(Gate(norm="Linf", eps="8/255", threshold=0.4), curves, ())],
        "not_tested": ["poisoning"],
    } | changes


def test_a_report_fits_its_published_schema():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    written = json.loads(build_report(**parts()).model_dump_json())
    jsonschema.validate(written, schema)
    written["curves"][0]["points"][0]["robust_accuracy"] = "high"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, schema)


def test_a_report_has_the_fields_that_tools_rely_on():
    report = json.loads(build_report(**parts()).model_dump_json())
    assert list(report) == [
        *("schema_version", "results_sha256", "audit", "model", "dataset", "clean", "curves", "other_threats"),
        *("surrogates", "stages", "diagnosis", "gates", "verdict", "not_tested"),
    ]
    assert report["schema_version"] == "1"
    assert report["verdict"] == "inconclusive"
    assert report["curves"][0]["points"][1]["eps"] == "8/255"
    assert report["curves"][0]["examples"] == {
        "id": [3, 5, 8, 9],
        "status": ["wrong", "broken", "certified", "not_tried"],
        "distance": [0.0, 0.01, None, None],
        "attack": [None, "apgd", None, None],
        "complete": [True, True, True, False],
        "certified_radius": [0.0, 0.001, 0.5, 0.0],
        "adversarial": None,
        "confidence": None,
    }


def test_numbers_that_json_cannot_write_become_null():
    text = build_report(**parts()).model_dump_json()
    report = json.loads(text, parse_constant=pytest.fail)
    assert report["model"]["gradient"]["error"] is None
    assert report["diagnosis"]["checks"][0]["evidence"] == {"loss": 1.5, "worst": None, "rows": [0, 1]}


def test_a_figure_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        build_report(**parts(other_threats=[{"threat": {}, "accuracy": math.nan, "interval": (0, 1)}]))


def test_times_names_budget_and_the_machine_leave_the_digest_alone():
    first = parts()
    second = parts()
    second["audit"] |= {
        "id": "2",
        "started_at": "2027-01-01T00:00:00Z",
        "finished_at": "2027-01-02T00:00:00Z",
        "device": "another",
        "versions": {"onnx": "2"},
        "fingerprint": {},
        "plan": {"batch": 4},
        "spec": SPEC.model_copy(update={"budget": Budget(seconds=60)}).model_dump(mode="json"),
    }
    second["model"] |= {"name": "renamed.onnx"}
    second["dataset"] |= {"name": "renamed.npz"}
    second["stages"][0]["seconds"] = 99.0
    assert build_report(**first).results_sha256 == build_report(**second).results_sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"curves": [curve(outcomes((0.0, np.nextafter(0.01, 1), np.inf, np.inf)))]},
        {"clean": clean(np.ones(4, bool))},
        {"gates": []},
        {"not_tested": []},
        {"model": parts()["model"] | {"sha256": "2" * 64}},
        {"stages": [parts()["stages"][0] | {"forwards": 301}]},
    ],
    ids=["distance", "clean", "gates", "not_tested", "model", "stages"],
)
def test_every_result_enters_the_digest(changes):
    assert build_report(**parts(**changes)).results_sha256 != build_report(**parts()).results_sha256


def test_the_digest_is_the_same_after_writing_and_reading(tmp_path):
    report = build_report(**parts())
    write_report(tmp_path / "report.json", report)
    again = read_report(tmp_path / "report.json")
    assert again == report
    assert results_sha256(again) == report.results_sha256


def test_fields_of_a_later_version_are_skipped():
    written = json.loads(build_report(**parts()).model_dump_json())
    written["new"] = written["curves"][0]["points"][0]["new"] = 1
    assert Report.model_validate(written) == build_report(**parts())


def test_a_file_that_is_no_report_is_named(tmp_path):
    path = tmp_path / "report.json"
    with pytest.raises(SpecError, match="cannot be read"):
        read_report(path)
    path.write_text("{}")
    with pytest.raises(SpecError, match="is not a report of this tool: audit"):
        read_report(path)
    path.write_text("no json")
    with pytest.raises(SpecError, match="is not a report"):
        read_report(path)


def test_an_audit_compared_with_its_own_report_has_lost_nothing():
    report = build_report(**parts())
    results = regression_gates(baseline_of(report), SPEC.sha256, report.dataset.digest, [outcomes()], margin=0.02)
    assert [result.observed for result in results] == [0.0, 0.0]
    assert "of 4 paired" in results[0].message


def test_a_baseline_whose_columns_were_cut_is_refused():
    written = json.loads(build_report(**parts()).model_dump_json())
    written["dataset"]["digest"].pop()
    with pytest.raises(SpecError, match="not as many digests"):
        baseline_of(Report.model_validate(written))
    written["curves"][0]["examples"]["complete"].pop()
    with pytest.raises(SpecError, match="do not fit together"):
        baseline_of(Report.model_validate(written))
