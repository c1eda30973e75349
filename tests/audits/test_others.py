"""Threats beside the norms in an audit: what is run, kept, resumed, counted and said."""

import numpy as np
import pytest

from auditor import local
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.other_figures import against_curves, other_figures
from auditor.audits.others import OtherItem, OtherResult, load_results, other_items, run_others
from auditor.audits.outcomes import Outcomes
from auditor.audits.prepare import prepare_once
from auditor.audits.run import Engine
from auditor.audits.statistics import clopper_pearson
from auditor.errors import SpecError
from auditor.request import settle
from auditor.threats.catalogue import chosen_others
from auditor.threats.corruptions import CORRUPTIONS
from auditor.threats.judge import Judged
from auditor.threats.threat import OtherThreat
from tests.graph.models import text

ALSO = ["contrast", "fog"]
SMALL = {"norm": ["Linf"], "eps": ["0.05"], "attack": ["fgsm"], "examples": 12}


@pytest.fixture
def audited(requested):
    def run(out="out", **options):
        request = requested(out, **(SMALL | {"also": ALSO} | options))
        steps = []
        return local.audit(request, settle(request), steps.append).report, steps

    return run


def test_the_report_has_every_threat_and_what_it_left(audited):
    report, steps = audited()
    fog, contrast, together = report.other_threats
    assert [t.threat["name"] for t in report.other_threats] == ["fog", "contrast", "common-corruptions"]
    assert [s.setting["severity"] for s in fog.settings] == [1, 2, 3, 4, 5]
    assert fog.settings[0].accuracy > fog.settings[4].accuracy
    assert fog.mean_accuracy == pytest.approx(np.mean([s.accuracy for s in fog.settings]))
    for figures in (contrast, fog):
        standing = round(12 * figures.accuracy)
        assert figures.interval == pytest.approx(clopper_pearson(standing, 12))
        assert figures.accuracy <= min(s.accuracy for s in figures.settings)
        assert len(figures.broken) == report.clean.correct - standing
        assert set(figures.broken) <= set(report.dataset.index)
        assert sum(row.examples for row in figures.by_class) == 12
    assert set(together.broken) == {*contrast.broken, *fog.broken}
    assert together.mean_error == pytest.approx(1 - (contrast.mean_accuracy + fog.mean_accuracy) / 2)
    assert not any("corruptions" in sentence for sentence in report.not_tested)
    assert sum(step.title == "fog" for step in steps) == 1  # one slice
    assert "pillow" in report.audit.versions


def test_without_them_the_report_says_so(audited):
    report, _ = audited(also=None)
    assert report.other_threats == []
    assert any("--also corruptions" in sentence for sentence in report.not_tested)


def test_what_is_kept_is_not_done_again(audited, tmp_path):
    first, _ = audited()
    frames = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("other-*.frame")}
    assert len(frames) == 2
    again, _ = audited()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("other-*.frame")} == frames
    next(iter(frames)).unlink()
    resumed, _ = audited()
    assert first.results_sha256 == again.results_sha256 == resumed.results_sha256


def test_how_the_work_is_cut_changes_nothing(audited):
    whole, _ = audited()
    cut, _ = audited("cut", batch_size=1)
    assert [t.model_dump(exclude={"seconds"}) for t in whole.other_threats] == [
        t.model_dump(exclude={"seconds"}) for t in cut.other_threats
    ]


def test_slices_may_run_in_any_order(requested, tmp_path):
    subject = settle(requested(**(SMALL | {"also": ALSO, "batch_size": 1}))).subject
    found = []
    for name, order in (("forth", slice(None)), ("back", slice(None, None, -1))):
        checkpoints = Checkpoints(Folder(tmp_path / name))
        prepared = prepare_once(subject, checkpoints)
        items = other_items(prepared)
        assert len(items) == 3
        for _ in run_others(Engine(subject, prepared), items[order], checkpoints):
            pass
        figures = other_figures(prepared, subject.others, items, load_results(checkpoints, items))
        found.append([f.model_dump(exclude={"seconds"}) for f in figures])
    assert found[0] == found[1]


def test_names_are_checked_and_groups_taken_apart(subject):
    def names(*also, shape=(1, 8, 8), left=400):
        spec = subject.spec.model_copy(update={"also": also})
        return [t.name for t in chosen_others(spec, subject.space, shape, left=left)]

    assert names("fog", "contrast", "fog") == ["fog", "contrast"]
    assert names("corruptions") == list(CORRUPTIONS)
    assert set(names("all")) >= set(CORRUPTIONS)
    assert not set(names("all", shape=(64,))) & set(CORRUPTIONS)
    with pytest.raises(SpecError, match="fogg"):
        names("fogg")
    with pytest.raises(SpecError, match="no image"):
        names("fog", shape=(64,))


def test_a_threat_that_is_not_asked_for_leaves_the_digest_of_a_specification_alone(subject):
    fields = subject.spec.model_dump(mode="json")
    del fields["also"]
    assert type(subject.spec).model_validate(fields).sha256 == subject.spec.sha256
    other = subject.spec.model_copy(update={"also": ("fog",)})
    assert other.sha256 != subject.spec.sha256


def test_an_audit_that_ended_before_a_threat_says_so_and_bounds_the_rest(requested, tmp_path):
    subject = settle(requested(**(SMALL | {"batch_size": 1}))).subject
    prepared = prepare_once(subject, Checkpoints(Folder(tmp_path / "p")))
    threat = OtherThreat("half", "noise", ({"way": 1}, {"way": 2}), None)
    items = [OtherItem("a", np.arange(4), ("half",)), OtherItem("b", np.arange(4, 12), ("half",))]
    zeros = np.zeros(4, np.int64)
    right = np.array([[1, 1], [1, 0.5], [1, 0], [0, 0]])
    result = OtherResult(Judged(right, right == 1, zeros, zeros, 3, 0), 0.1, 0)
    (figures,) = other_figures(prepared, [threat], items, {("a", "half"): result})
    assert figures.unfinished == 8
    left = prepared.right.copy()
    left[1:4] = False
    assert figures.accuracy == left.sum() / 12
    assert figures.interval == pytest.approx((clopper_pearson(1, 12)[0], clopper_pearson(int(left.sum()), 12)[1]))
    assert figures.settings[0].accuracy == 11 / 12
    assert figures.settings[1].accuracy == (8 + 1.5) / 12
    assert figures.settings[1].interval[0] < 1.5 / 12
    assert other_figures(prepared, [threat], items, {}) == []


BALLS = {"also": ["noise", "universal"], "norm": ["Linf", "L2"], "eps": ["0.05,0.3", "1"]}


def test_what_looks_at_all_slices_at_once_is_an_item_of_its_own(audited, tmp_path):
    report, steps = audited(**BALLS, batch_size=1)
    names = [step.title for step in steps if step.title.startswith(("noise", "universal"))]
    assert names == ["noise", "noise", "noise", "universal-Linf", "universal-L2"]
    noise, linf, l2 = report.other_threats
    assert [s.setting["eps"] for s in linf.settings] == ["0.05", "0.3"]
    assert linf.settings[1].accuracy < linf.settings[0].accuracy
    assert linf.backwards == 8 * 2 * 488  # eight epochs, two eps, all that is not audited
    assert l2.mean_accuracy is None
    assert noise.settings[0].accuracy >= noise.accuracy
    kept = sorted(path.name for path in tmp_path.rglob("whole-*.frame"))
    assert kept == ["whole-universal-L2-universal-L2.frame", "whole-universal-Linf-universal-Linf.frame"]
    again, _ = audited("again", **BALLS)
    assert [f.model_dump(exclude={"seconds"}) for f in report.other_threats[1:]] == [
        f.model_dump(exclude={"seconds"}) for f in again.other_threats[1:]
    ]


def test_what_breaks_inside_a_ball_is_held_against_the_curve(requested, tmp_path):
    subject = settle(requested(**(SMALL | {"eps": ["0.05,0.1"]}))).subject
    prepared = prepare_once(subject, Checkpoints(Folder(tmp_path / "p")))
    settings = tuple({"norm": "Linf", "eps": eps} for eps in ("0.05", "0.1"))
    threat, item = OtherThreat("noise", "noise", settings, None), OtherItem("a", np.arange(12), ("noise",))
    standing = np.ones((12, 2), bool)
    standing[:, 1] = False
    zeros = np.zeros(12, np.int64)
    results = {("a", "noise"): OtherResult(Judged(1.0 * standing, standing, zeros, zeros, 12, 0), 0.1, 0)}
    outcomes = [
        Outcomes(
            threat=subject.spec.threats[0],
            index=prepared.index,
            right=prepared.right,
            distance=np.where(prepared.right, np.inf, 0.0),
            attack=np.full(12, ""),
            complete=np.ones(12, bool),
        )
    ]
    (check,) = against_curves(prepared, [threat], [item], results, outcomes, subject.space)
    assert (check.severity, check.evidence["eps"]) == ("error", "0.1")
    assert check.evidence["only_it"] == prepared.right.sum()
    assert list(against_curves(prepared, [threat], [item], {}, outcomes, subject.space)) == []


def test_rows_of_a_table_stay_rows_of_that_table(requested, tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 2)).astype(np.float32)
    x = rng.integers(0, 10, (60, 4)).astype(np.float32)
    (tmp_path / "table.onnx").write_bytes(text("f (float[N,4] x) => (float[N,2] y) { y = MatMul(x, W) }", W=weight))
    np.savez(tmp_path / "table.npz", x=x, y=np.argmax(x @ weight, axis=1))
    (tmp_path / "rules.yaml").write_text("features:\n  '0': {immutable: true}\n  '1': {step: 1}\n")
    request = requested(
        model=tmp_path / "table.onnx",
        data=tmp_path / "table.npz",
        domain="0,10",
        constraints=str(tmp_path / "rules.yaml"),
        also=["all"],
        norm=["Linf"],
        eps=["1,4"],
        attack=["pgd"],
    )
    report = local.audit(request, settle(request), lambda step: None).report
    assert [f.threat["name"] for f in report.other_threats] == ["noise", "universal-Linf"]
    assert all(f.settings[1].accuracy < 1 for f in report.other_threats)
