"""Files as PyTorch's two exporters and tf2onnx write them, through the command line: `models/` holds them, with the
scripts that made them."""

import json
from pathlib import Path

import numpy as np
import pytest

from auditor.report.schema import Report
from auditor.request import read_model

FILES = sorted((Path(__file__).parent / "models").glob("*.onnx"))
NETWORKS = sorted({path.name.split(".")[0] for path in FILES})
EXAMPLES, BATCH = 4, 4


def network_of(path):
    return path.name.split(".")[0]


def test_there_are_files_from_every_exporter_and_opset():
    written = {path.name.split(".")[1].removesuffix("-fixed") for path in FILES}
    assert {way.split("-")[0] for way in written} == {"old", "new", "tf2onnx"}
    assert {int(way.split("-")[1]) for way in written} >= {7, 8, 9, 11, 13, 15, 17, 18, 20, 21, 23, 24, 26}
    assert len(NETWORKS) == 28


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_is_covered_at_the_batch_asked_for(path, command):
    answer = command("inspect", path, "--json", "--batch-size", BATCH)
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    assert facts["cost"]["batch"] == BATCH
    assert facts["obstacles"] == []
    assert facts["fixed_batch"] == (1 if path.stem.endswith("-fixed") else None)
    if len(read_model(path).input_shape) == 4:
        assert facts["layout"] == ("NHWC" if network_of(path).startswith("keras") else "NCHW")


@pytest.mark.parametrize("network", NETWORKS)
def test_an_audit_of_each_network_ends_with_a_gradient_that_stood_the_check(network, command, tmp_path):
    path = next(path for path in FILES if network_of(path) == network)
    shape = read_model(path).input_shape[1:]
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((EXAMPLES, *shape), np.float32))
    threat = ["--domain", "0,1", "--norm", "Linf", "--eps", "0.1,0.9"]
    little = ["--preset", "quick", "--budget", "8passes", "--batch-size", EXAMPLES, "--threads", 1]
    answer = command("audit", path, tmp_path / "x.npy", "--out", tmp_path / "out", *threat, *little)
    assert answer.code == 0, answer.err
    report = Report.model_validate_json((tmp_path / "out" / "report.json").read_text())
    gradient = report.model.gradient
    assert report.clean.total == EXAMPLES
    assert gradient["access"] == "white-box", gradient["why"]
    assert 0 < gradient["error"] < 1e-2  # 0: nothing could be compared
    assert report.curves[0].points[-1].broken_by
