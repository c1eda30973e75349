"""Several audits against the first of them: counts, tests and what cannot be compared."""

import json
import re

import numpy as np
import pytest

from auditor.audits.gates import regression_gates
from auditor.audits.outcomes import at_most
from auditor.audits.statistics import holm_adjusted, mcnemar, net_loss_limits
from auditor.audits.summary import outcomes_of
from auditor.errors import SpecError
from auditor.report.comparison.compose import compose
from auditor.report.comparison.pair import Named, compare, distinct
from auditor.report.comparison.schema import ComparisonReport, LeftOut
from auditor.report.comparison.write import write
from auditor.report.document import baseline_of
from tests import finished


@pytest.fixture(scope="session")
def weaker(tmp_path_factory):
    """The same audit of the same model with other weights in its last layer."""
    folder = tmp_path_factory.mktemp("weaker")
    words = {"attack": ["fgsm", "pgd"], "fail_under": ["Linf:0.05=0.4"], "examples": 40}
    return finished.run(folder, model=finished.changed_model(folder / "changed.onnx"), **words)


@pytest.fixture(scope="session")
def three(ran, weaker):
    reports = [Named("old", ran.report), Named("new", weaker.report), Named("old again", ran.report)]
    return compare(reports, margin=0.1)


def standing(ran, norm, eps):
    return np.array(
        [
            row["status"] != "wrong" and (row["distance"] is None or row["distance"] > at_most(eps))
            for row in ran.rows(norm)
        ]
    )


def test_each_audit_is_counted_against_the_first(three, ran, weaker):
    assert [(audit.name, audit.paired) for audit in three.audits] == [("old", 40), ("new", 40), ("old again", 40)]
    p = holm_adjusted(np.array([point.mcnemar_p for point in three.points]))
    assert [point.holm_p for point in three.points] == p.tolist()
    for point in three.points:
        stood = standing(ran, point.norm, point.eps)
        stands = standing(weaker if point.audit == "new" else ran, point.norm, point.eps)
        lost, gained = int(np.sum(stood & ~stands)), int(np.sum(stands & ~stood))
        assert (point.paired, point.lost, point.gained) == (40, lost, gained)
        assert point.net_loss == (lost - gained) / 40
        assert point.interval == pytest.approx(net_loss_limits(lost, gained, 40))
        assert point.mcnemar_p == mcnemar(lost, gained)
        assert point.mcnemar_p <= point.holm_p
    assert any(point.lost for point in three.points if point.audit == "new")
    assert not any(point.lost or point.gained for point in three.points if point.audit == "old again")


def test_a_margin_is_judged_as_by_a_regression_gate(ran, weaker):
    both = [Named("old", ran.report), Named("new", weaker.report)]
    doubts = [check.check for check in weaker.report.diagnosis.checks if check.severity != "info"]
    found = [point.gate for point in compare(both, margin=0.1).points]
    assert found == regression_gates(
        baseline_of(ran.report),
        weaker.report.audit.spec_sha256,
        weaker.report.dataset.digest,
        [outcomes_of(curve) for curve in weaker.report.curves],
        margin=0.1,
        findings=doubts,
    )
    assert {point.gate for point in compare(both).points} == {None}


def test_more_audits_share_the_error_of_all_tests(ran, weaker, three):
    alone = compare([Named("old", ran.report), Named("new", weaker.report)], margin=0.1)
    wider = [point for point in three.points if point.audit == "new"]
    for one, among in zip(alone.points, wider, strict=True):
        assert one.interval == among.interval  # of this point alone
        assert one.holm_p <= among.holm_p
        assert among.gate.interval[1] >= one.gate.interval[1]
    assert any(among.gate.interval[1] > one.gate.interval[1] for one, among in zip(alone.points, wider, strict=True))


def test_what_cannot_be_paired_is_left_out_and_said(ran, weaker):
    other_seed = ran.report.model_copy(deep=True)
    other_seed.audit.spec["seed"] = 7
    audit = other_seed.audit.model_copy(update={"spec_sha256": "0" * 64})
    other_spec = other_seed.model_copy(update={"audit": audit})
    renamed = [f"{number:064x}" for number in range(40)]
    dataset = ran.report.dataset.model_copy(update={"digest": renamed})
    other_data = ran.report.model_copy(update={"dataset": dataset})
    failed = LeftOut(name="int8", why="it has no gradient")
    found = compare(
        [Named("old", ran.report), Named("new", weaker.report), Named("spec", other_spec), Named("data", other_data)],
        left_out=[failed],
    )
    assert [audit.name for audit in found.audits] == ["old", "new"]
    assert [entry.name for entry in found.left_out] == ["int8", "spec", "data"]
    assert "another specification than old (seed)" in found.left_out[1].why
    assert "shares no example with old" in found.left_out[2].why
    said = json.dumps([block.text for block in compose(found).sections[0].blocks if hasattr(block, "text")])
    assert all(f"{name} is left out" in said for name in ("int8", "spec", "data"))
    with pytest.raises(SpecError, match="spec cannot be compared: it was asked for with another specification"):
        compare([Named("old", ran.report), Named("spec", other_spec)])


def test_examples_that_only_one_holds_are_not_counted(ran):
    half = ran.report.dataset.digest[:20] + [f"{number:064x}" for number in range(20)]
    fewer = ran.report.model_copy(update={"dataset": ran.report.dataset.model_copy(update={"digest": half})})
    found = compare([Named("all", ran.report), Named("half", fewer)])
    assert {point.paired for point in found.points} == {20}
    assert "share 20 examples of 40 and 40" in str(compose(found))


def test_the_number_of_audits_is_bounded(ran):
    with pytest.raises(SpecError, match="two to 5"):
        compare([Named("old", ran.report)])
    with pytest.raises(SpecError, match="two to 5"):
        compare([Named(str(number), ran.report) for number in range(6)])
    with pytest.raises(SpecError, match="same name"):
        compare([Named("old", ran.report)] * 2)


def test_names_are_distinct_and_legible():
    assert distinct(["a", "b", "a"]) == ["1: a", "b", "3: a"]
    assert distinct(["a\u202eb"]) == ["a[U+202E]b"]


def test_files_say_the_same(three, tmp_path):
    written = write(three, tmp_path / "out")
    assert [path.name for path in written] == ["compare.json", "compare.html", "compare.pdf"]
    assert ComparisonReport.model_validate_json(written[0].read_bytes()) == three
    page = written[1].read_text()
    assert page.count("<svg") == 3
    for point in three.points:
        assert f"{100 * point.net_loss:.1f} %" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="http', page)
    assert written[2].read_bytes().startswith(b"%PDF")
    assert write(three, tmp_path / "one.html") == [tmp_path / "one.html"]
    assert (tmp_path / "one.html").read_text() == page
