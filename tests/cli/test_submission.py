"""The words of a submission: what names files of this machine is read here."""

import json
from types import SimpleNamespace

import pytest

from auditor.cli import submission
from auditor.cli.submission import _without_paths
from auditor.client.calls.auditing import new_audit
from auditor.errors import InputError, SpecError
from auditor.options import preprocessing_of, words_of

CONFIG = {"do_resize": True, "size": 256, "crop_size": 224, "do_center_crop": True, "image_mean": [0.485, 0.456, 0.406],
          "image_std": [0.229, 0.224, 0.225], "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255}  # fmt: skip


def test_a_preprocessor_file_becomes_words_that_mean_the_same(tmp_path):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(CONFIG))
    said = _without_paths({"preprocessor": path, "crop": "200", "labels": "y.npy"})
    assert {"preprocessor", "labels"} & said.keys() == set()
    assert preprocessing_of(said) == preprocessing_of({"preprocessor": path, "crop": "200"})
    assert new_audit({**said, "model": "m", "data": "d"}).crop == "200,200"


def test_what_no_word_says_is_refused(tmp_path):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**CONFIG, "rescale_offset": True}))
    with pytest.raises(SpecError, match="offset cannot be said"):
        _without_paths({"preprocessor": path})


def test_a_baseline_is_an_audit_by_its_report_or_its_name(tmp_path, monkeypatch):
    class Report:
        class audit:  # noqa: N801
            id = "the-audit"

    monkeypatch.setattr(submission, "read_report", lambda path: Report)
    (tmp_path / "report.json").touch()
    assert _without_paths({"baseline": tmp_path / "report.json"}) == {"baseline": "the-audit"}
    assert _without_paths({"baseline": "digits@prod"}) == {"baseline": "digits@prod"}


def test_a_specification_file_travels_as_words_too(tmp_path):
    spec = tmp_path / "audit.yaml"
    spec.write_text("norm: Linf\neps: 0.1\nmean: [0.5]\nfail-under: Linf:0.1=0.5\nexamples: 10\n")
    options = dict.fromkeys(["norm", "eps", "mean", "fail_under", "examples", "seed"])
    audit = new_audit({**_without_paths(words_of(options, spec)), "model": "m", "data": "d"})
    assert (audit.norm, audit.eps, audit.mean, audit.fail_under) == (["Linf"], ["0.1"], "0.5", ["Linf:0.1=0.5"])
    assert audit.examples == 10


def test_transformations_travel_one_by_one_with_their_commas():
    said = _without_paths(words_of({"eot": ["noise:0.05", "resize:0.9,1.1"]}))
    assert new_audit({**said, "model": "m", "data": "d"}).eot == ["noise:0.05", "resize:0.9,1.1"]


def test_a_policy_is_read_here_and_its_baseline_named_as_any_other(tmp_path):
    (tmp_path / "policy.yaml").write_text("clean: 0.5\nregression: {baseline: digits@prod}\n")
    said = _without_paths(words_of({"policy": tmp_path / "policy.yaml"}))
    assert {"policy": {"clean": 0.5}, "baseline": "digits@prod"}.items() <= said.items()
    assert new_audit({**said, "model": "m", "data": "d"}).policy == {"clean": 0.5}


def test_a_file_of_constraints_is_read_here(tmp_path):
    (tmp_path / "c.yaml").write_text("features:\n  age: {integer: true, range: [18, 99]}\n  3: {scale: 0.1}\n")
    declared = {"features": {"age": {"integer": True, "range": [18.0, 99.0]}, "3": {"scale": "0.1"}}}
    said = _without_paths({"constraints": tmp_path / "c.yaml"})
    assert said == {"constraints": declared}
    assert _without_paths(said) == said


@pytest.mark.parametrize("text", ["gone.onnx", "folder/gone", "gone.npz"])
def test_a_path_that_is_not_there_is_not_taken_for_a_name(text):
    with pytest.raises(InputError, match="no file or folder"):
        submission._is_here(submission.Path(text))


@pytest.mark.parametrize("text", ["digits", "digits@prod", "digits@3", "01890000-0000-7000-8000-000000000000"])
def test_a_name_is_not_taken_for_a_path(text):
    assert submission._is_here(submission.Path(text)) is False


class Uploading:
    """A client that notes what it was told to upload and to audit."""

    def __init__(self):
        self.uploaded, self.asked = [], None

    def upload_model(self, path, *, progress, **said):
        self.uploaded.append((path.name, said))
        return f"id-of-{path.stem}"

    def audit(self, model, data, **said):
        self.asked = (model, data, said)
        return SimpleNamespace(chosen=())


@pytest.mark.parametrize(
    "other", ["{folder}/other.onnx:mean=0.1,0.2:std=1,2", {"model": "{folder}/other.onnx", "mean": [0.1, 0.2], "std": [1, 2]}]
)  # fmt: skip
def test_a_surrogate_is_uploaded_to_stand_in_or_is_there_already(tmp_path, other):
    (tmp_path / "other.onnx").touch()
    if isinstance(other, dict):
        other = {**other, "model": other["model"].format(folder=tmp_path)}
    else:
        other = other.format(folder=tmp_path)
    client = Uploading()
    words = {"surrogate": [other, "stored@prod"], "norm": ["Linf"]}
    submission.submit(client, "digits", "digits", words, name=None, idempotency_key=None)
    assert client.uploaded == [("other.onnx", {"surrogate": True})]
    model, data, said = client.asked
    assert (model, data, said["norm"], said.keys() & {"surrogate"}) == ("digits", "digits", ["Linf"], set())
    assert said["surrogates"] == [
        {"model": "id-of-other", "mean": "0.1,0.2", "std": "1.0,2.0"},
        {"model": "stored@prod"},
    ]


def test_what_is_said_of_a_models_reading_goes_with_its_upload(tmp_path):
    (tmp_path / "m.onnx").touch()
    client = Uploading()
    words = {"threshold": 0.0, "unbatched": True, "fix": ["a=1"], "label": "dog", "norm": ["Linf"], "layout": "NCHW"}
    submission.submit(client, str(tmp_path / "m.onnx"), "digits", words, name="m", idempotency_key=None)
    read = {name: said for name, said in words.items() if name != "norm"}
    assert client.uploaded == [("m.onnx", {"name": "m", **read})]
    assert client.asked[2].items() >= words.items()
