"""What an audit found, fetched."""

import hashlib
import io
import sys

import httpx
import numpy as np
import pytest

from auditor import local, options
from auditor.client import Conflict, NotFinished
from auditor.errors import AuditorError, Damaged, SpecError
from auditor.report.comparison import pair
from auditor.report.document import read_report
from auditor.request import settle
from tests.client.conftest import MOMENT, audit, refusal
from tests.conftest import DEMO

OUTCOME = {
    "example": 3,
    "norm": "Linf",
    "label": 1,
    "predicted": 1,
    "status": "broken",
    "distance": 0.1,
    "attack": "pgd",
    "margin": 0.2,
    "certified_radius": None,
    "complete": True,
    "forwards": 4,
    "backwards": 2,
    "adversarial": 7,
    "confidence": 0.6,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small real audit."""
    folder = tmp_path_factory.mktemp("audit")
    words = {"model": DEMO / "digits.onnx", "data": DEMO / "digits.npz", "out": folder}
    request = options.request({**words, "examples": 20, "attack": ["fgsm"], "norm": ["Linf"], "eps": ["0.1,0.2"]})
    local.audit(request, settle(request), lambda step: None)
    return folder


@pytest.fixture
def report(finished):
    return httpx.Response(200, content=(finished / "report.json").read_bytes())


def early():
    return httpx.Response(202, json=audit("running"), headers={"Retry-After": "5"})


def test_a_report_is_waited_for(client, script, report):
    script.on("GET", "/audits/a/report.json", early(), report)
    script.on("GET", "/audits/a", audit("running"), audit("done"))
    found = client.report("a")
    assert [point.eps for point in found.curves[0].points] == ["0.1", "0.2"]


def test_a_report_that_is_not_there_yet_is_said_so(client, script):
    script.on("GET", "/audits/a/report.json", early())
    script.on("GET", "/audits/a", audit("running"))
    with pytest.raises(NotFinished):
        client.report("a", wait_for_it=False)


def test_an_audit_without_a_report_says_why(client, script):
    script.on("GET", "/audits/a/report.json", refusal(409, "audit a was cancelled"))
    with pytest.raises(Conflict, match="cancelled"):
        client.report("a")


def test_a_result_becomes_frames(client, script, report):
    script.on("GET", "/audits/a/report.json", report)
    script.on("GET", "/audits/a", audit("done"))
    script.on(
        "GET",
        "/audits/a/outcomes",
        {"items": [OUTCOME] * 3, "next": "more"},
        {"items": [{**OUTCOME, "distance": None}], "next": None},
    )
    result = client.result("a")
    frame, curves = result.frame(), result.curve_frame()
    assert frame.shape == (4, len(OUTCOME))
    assert frame["distance"].isna().sum() == 1
    assert list(curves["eps"]) == ["0.1", "0.2"]
    assert (curves["lower"] <= curves["robust_accuracy"]).all()
    assert (curves["robust_accuracy"] <= curves["upper"]).all()


def test_frames_without_pandas_say_what_to_install(client, script, report, monkeypatch):
    script.on("GET", "/audits/a/report.json", report)
    script.on("GET", "/audits/a", audit("done"))
    script.on("GET", "/audits/a/outcomes", {"items": [], "next": None})
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(AuditorError, match="pip install"):
        client.result("a").frame()


def test_an_adversarial_example_comes_as_an_array(client, script):
    x_adv, file = np.arange(6, dtype=np.float32).reshape(2, 3), io.BytesIO()
    np.save(file, x_adv)
    script.on("GET", "/audits/a/examples/Linf/7.npy", httpx.Response(200, content=file.getvalue()))
    assert np.array_equal(client.example("a", "Linf", 7), x_adv)


def test_audits_are_compared(client, script, finished):
    read = [pair.Named(name, read_report(finished / "report.json")) for name in ("a", "b")]
    made = pair.compare(read, margin=0.5)
    script.on("GET", "/compare", httpx.Response(200, content=made.model_dump_json()))
    assert client.comparison(["a", "b"], margin=0.5) == made
    (request,) = script.sent("GET", "/compare")
    assert str(request.url.query, "ascii") == "audits=a&audits=b&margin=0.5"


def test_a_comparison_is_written_as_its_ending_says(client, script, tmp_path):
    script.on("GET", "/compare.pdf", httpx.Response(200, content=b"%PDF"))
    assert client.download_comparison(["a", "b"], tmp_path / "c.pdf", margin=0.5).read_bytes() == b"%PDF"
    (request,) = script.sent("GET", "/compare.pdf")
    assert str(request.url.query, "ascii") == "audits=a&audits=b&margin=0.5"
    with pytest.raises(SpecError, match=r"written as \.html, \.pdf or \.json"):
        client.download_comparison(["a", "b"], tmp_path / "c.docx")


def artifact(content):
    return {
        "kind": "report",
        "filename": "report.json",
        "media_type": "application/json",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "url": "/api/v1/audits/a/artifacts/report",
        "created_at": MOMENT,
    }


def test_a_file_is_downloaded_whole_over_a_broken_line(client, script, tmp_path):
    script.on("GET", "/audits/a/artifacts", {"items": [artifact(b"content")], "next": None})
    script.on("GET", "/audits/a/artifacts/report", httpx.ReadError("reset"), httpx.Response(200, content=b"content"))
    assert client.download("a", "report", tmp_path / "deep" / "report.json").read_bytes() == b"content"


def test_what_is_not_what_the_service_holds_is_not_kept(client, script, tmp_path):
    (tmp_path / "report.json").write_bytes(b"before")
    script.on("GET", "/audits/a/artifacts", {"items": [artifact(b"content")], "next": None})
    script.on("GET", "/audits/a/artifacts/report", httpx.Response(200, content=b"changed"))
    with pytest.raises(Damaged, match="fetch it again"):
        client.download("a", "report", tmp_path / "report.json")
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_bytes() == b"before"
