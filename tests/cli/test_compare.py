"""The command compare: which reports it finds, what it writes, how it exits."""

import json

import httpx
import pytest

from auditor.cli import comparing
from auditor.client import Client
from auditor.report.comparison.schema import ComparisonReport
from tests import finished
from tests.client.conftest import Script, audit

WORDS = {"examples": 20, "attack": ["fgsm"], "norm": ["Linf"], "eps": ["0.02,0.1"], "no_examples": True}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of two audits; the second model is right on fewer examples."""
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    finished.run(one, **WORDS)
    finished.run(other, finished.changed_model(other / "weaker.onnx"), allow_chance=True, **WORDS)
    return one, other


def test_reports_are_compared_shown_and_written(command, folders, tmp_path):
    one, other = folders
    answer = command("compare", one, other / "report.json", one, "--out", tmp_path / "compare.html")
    assert answer.code == 0, answer
    assert "weaker.onnx against 1: digits.onnx, Linf, 20 paired examples" in answer.out
    assert "3: digits.onnx nowhere lost more than it gained" in answer.out
    assert (tmp_path / "compare.html").read_text().count("<svg") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["compare.html"]


def test_a_margin_makes_the_exit_code_follow(command, folders):
    one, other = folders
    said = {margin: command("compare", one, other, "--margin", margin, "--json") for margin in ("0.02", "0.99")}
    assert {margin: answer.code for margin, answer in said.items()} == {"0.02": 2, "0.99": 0}
    found = ComparisonReport.model_validate(json.loads(said["0.02"].out))
    assert "failed" in [point.gate.outcome for point in found.points]


def test_audits_of_a_service_are_named_by_their_id(command, folders, monkeypatch):
    script = Script()
    script.on("GET", "/audits/a", audit("done"))
    script.on("GET", "/audits/a/report.json", httpx.Response(200, content=(folders[1] / "report.json").read_bytes()))
    monkeypatch.setattr(
        comparing, "Client", lambda *_: Client("http://a", "k", transport=httpx.MockTransport(script))
    )
    answer = command("compare", folders[0], "a")
    assert (answer.code, "digits@1 against digits.onnx" in answer.out) == (0, True), answer


def test_what_is_no_report_is_said_so(command, folders, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    for text, word in (
        (tmp_path, "is not a report"),
        ("no/such", "there is no report"),
        ("none.json", "cannot be read"),
    ):
        answer = command("compare", folders[0], text)
        assert (answer.code, word in answer.err) == (64, True), answer
