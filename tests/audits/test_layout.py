"""Checkpoints that another version laid out in another way: they are told from one's own, and their work is done again."""

from dataclasses import make_dataclass

from auditor.audits import layout
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.frames import encode
from tests import finished

SMALL = {"examples": 4, "norm": ["Linf"], "eps": ["0.05"], "attack": ["fgsm"]}


def test_every_field_and_every_name_counts():
    inner = make_dataclass("Inner", [("n", int)])
    outer = make_dataclass("Outer", [("parts", tuple[inner, ...])])
    known = layout.layout([outer], ["pgd(steps)"])
    assert known == layout.layout([outer], ["pgd(steps)"])
    others = [
        ([make_dataclass("Outer", [("pieces", tuple[inner, ...])])], ["pgd(steps)"]),
        ([make_dataclass("Outer", [("parts", list[inner])])], ["pgd(steps)"]),
        ([make_dataclass("Outer", [("parts", tuple[make_dataclass("Inner", [("m", int)]), ...])])], ["pgd(steps)"]),
        ([outer], ["pgd(steps, restarts)"]),
        ([outer, inner], ["pgd(steps)"]),
    ]
    assert len({known, *(layout.layout(*other) for other in others)}) == 1 + len(others)


def test_frames_of_another_layout_or_of_none_count_as_missing(tmp_path):
    Checkpoints(Folder(tmp_path), layout="one").save_facts("prepared", {"a": 1})
    assert Checkpoints(Folder(tmp_path), layout="other").load_facts("prepared") is None
    assert Checkpoints(Folder(tmp_path), layout="one").load_facts("prepared") == ({}, {"a": 1})
    Folder(tmp_path).write("prepared", encode({"rows": []}, {}))
    assert Checkpoints(Folder(tmp_path), layout="one").load_facts("prepared") is None


def test_an_audit_of_another_version_is_done_again_and_not_half_resumed(tmp_path, monkeypatch):
    def frames():
        return {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.frame")}

    here = finished.run(tmp_path, **SMALL).report.results_sha256
    kept = frames()
    finished.run(tmp_path, **SMALL)
    assert frames() == kept
    monkeypatch.setattr(layout, "_present", lambda: "a newer one")
    assert finished.run(tmp_path, **SMALL).report.results_sha256 == here
    assert not any(frames()[file] == moment for file, moment in kept.items())
