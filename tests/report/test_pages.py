"""The report for people: HTML and PDF from one document."""

import io
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pypdf
import pytest

from auditor.options import words_of
from auditor.report import exhibits
from auditor.report.blocks import Figure, Gallery, Section, Table
from auditor.report.compose import compose
from auditor.report.drawing import drawings
from auditor.report.exhibits import Exhibit, Exhibits, is_image, ssim
from auditor.report.pages import write_pages
from auditor.report.schema import Check
from auditor.report.sections import classes, diagnosis, reproduce, threat_model

HOSTILE = (
    '<script>alert(1)</script><img src=x onerror="alert(2)">',
    '=HYPERLINK("http://evil.invalid","click")',
    '#read("/etc/passwd") $x$ *bold* `raw` \\ @cite <label> //',
    "\u202egnp.exe\u2066 \u0000\u0007 \ud7ff \U0001f600 ﷽ " + "ä" * 200,
    "{{ 7 * 7 }} {% raw %} ]]> --> &amp; &#x3c;",
    "x" * 3000,
)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.shown = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.shown.append(data)


@pytest.fixture(scope="module")
def page(ran):
    return (ran.folder / "report.html").read_text()


@pytest.fixture(scope="module")
def paper(ran):
    return pypdf.PdfReader(ran.folder / "report.pdf")


def text_of(reader):
    return " ".join(" ".join(page.extract_text().split()) for page in reader.pages)


def renamed(report, model, dataset, *others):
    return report.model_copy(
        update={
            "model": report.model.model_copy(update={"name": model}),
            "dataset": report.dataset.model_copy(update={"name": dataset}),
            "not_tested": [model, dataset, *others],
        }
    )


def test_page_and_paper_say_the_verdict_and_the_figures_of_the_report(ran, page, paper):
    point = next(point for point in ran.report.curves[0].points if point.eps == "0.05")
    for text in (" ".join(Tags(page).shown), text_of(paper)):
        assert {"passed": "Passed", "failed": "Do not ship", "inconclusive": "Inconclusive"}[
            ran.report.verdict
        ] in text
        assert f"{100 * point.robust_accuracy:.1f} %" in text
        assert ran.report.gates[0].rule in text
        for digest in (ran.report.model.sha256, ran.report.dataset.sha256, ran.report.results_sha256):
            assert digest in re.sub(r"[\s\u200b]", "", text)
        for missing in ran.report.not_tested:
            assert "".join(missing.split()) in "".join(text.split())


def test_a_page_runs_nothing_and_fetches_nothing(page):
    found = Tags(page)
    assert not found.tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert any(name == "content" and "default-src 'none'" in value for name, value in found.attributes)
    for name, value in found.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#")), value
    assert not re.search(r"url\((?!#)", page)


def test_a_paper_is_tagged_and_says_its_language_and_title(ran, paper):
    root = paper.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert ran.report.model.name in paper.metadata.title


def test_the_same_report_gives_the_same_bytes(ran, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_pages(tmp_path / name, ran.report, None)
    for file in ("report.html", "report.pdf"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_hostile_names_stay_text(ran, tmp_path):
    write_pages(tmp_path, renamed(ran.report, *HOSTILE), None)
    found = Tags((tmp_path / "report.html").read_text())
    plain = Tags((ran.folder / "report.html").read_text())
    assert found.tags <= plain.tags
    assert not any(key.startswith("on") for key, _ in found.attributes)
    reader = pypdf.PdfReader(io.BytesIO((tmp_path / "report.pdf").read_bytes()))
    assert "/JavaScript" not in str(reader.trailer["/Root"])
    assert "root:" not in text_of(reader)


def test_sentences_in_tables_keep_a_width_on_a_phone(page):
    cells = re.findall(r"<td([^>]*)>([^<]*)</td>", page)
    long = [text for how, text in cells if "long" in how]
    assert long == [text for how, text in cells if len(unescape(text)) > 30 and "n" not in how.split('"')]
    assert re.search(r"\.long \{ min-width", page)


def test_a_name_of_a_megabyte_is_shown_in_part(ran, tmp_path):
    write_pages(tmp_path, renamed(ran.report, "\u202e語" * 300_000, "digits"), None)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
    assert (tmp_path / "report.pdf").stat().st_size < 3_000_000


def test_examples_are_shown_only_where_they_may_be(ran, page, tmp_path):
    assert "<img" in page
    write_pages(tmp_path, ran.report, None)
    assert "<img" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("said", "ci", "left_out"),
    [({}, "true", True), ({}, "", False), ({"show_examples": True}, "1", False), ({"no_examples": True}, "", True)],
)
def test_in_a_pipeline_examples_are_left_out_unless_asked_for(monkeypatch, said, ci, left_out):
    monkeypatch.setenv("CI", ci)
    assert words_of(said) == ({"no_examples": True} if left_out else {})


def test_figures_have_names_of_their_own_and_say_what_they_show(ran):
    document = compose(ran.report)
    figures = [block for section in document.sections for block in section.blocks if isinstance(block, Figure)]
    assert len(drawings(document)) == len(figures) > 4
    assert all(len(figure.alt) > 20 for figure in figures)


def test_each_of_a_norms_epsilons_that_matter_has_its_own_figure(ran):
    gates = [ran.report.gates[0].model_copy(update={"rule": f"Linf:{eps}=0.4"}) for eps in ("0.02", "0.1")]
    report = ran.report.model_copy(update={"gates": gates})
    figures = [block for block in classes.section(report).blocks if isinstance(block, Figure)]
    bars = [figure for figure in figures if figure.name.startswith("classes")]
    assert [figure.caption.partition(" at ")[2][:10] for figure in bars] == ["Linf 0.02;", "Linf 0.1; "]
    assert len({figure.name for figure in figures}) == len(figures)
    assert bars[0].chart != bars[1].chart


def changed(report, model=None, dataset=None, spec=None):
    audit = report.audit.model_copy(update={"spec": report.audit.spec | (spec or {})})
    parts = {
        "model": report.model.model_copy(update=model or {}),
        "dataset": report.dataset.model_copy(update=dataset or {}),
    }
    return report.model_copy(update={"audit": audit, **parts})


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"spec": {"target": "random"}}, "attacker has to reach", "drawn at random for each example"),
        ({"spec": {"target": 3}}, "attacker has to reach", "class 3"),
        ({"spec": {"attacks": []}}, "attacks", "preset standard: 4 stages"),
        ({"dataset": {"domain": None}}, "attacker may", "in the features' own units"),
        ({"dataset": {"sampling": {"labels": "the model's own answers (stability)"}}}, "labels", "stay the same"),
        (
            {"model": {"randomness": {"transformations": [], "needed": 25, "draws": 32, "expected_accuracy": 0.9}}},
            "random",
            "in the model; a point counts when 25 of 32 fresh draws give another class; on 90.0 % of clean draws it is right",
        ),
    ],
)
def test_page_one_says_what_was_unusual(ran, changes, name, said):
    assert said in dict(threat_model.facts(changed(ran.report, **changes)))[name]
    usual = dict(threat_model.facts(ran.report))
    assert usual["attacks"] == "fgsm, pgd: 4 stages"
    assert not usual.keys() & {"attacker has to reach", "labels", "random"}


def test_no_script_is_named_where_none_can_be_written(ran):
    assert "auditor export checker" in reproduce.section(ran.report).blocks[-1].text
    without = reproduce.section(changed(ran.report, spec={"constraints": {"columns": {}}})).blocks
    assert not any("checker" in block.text for block in without)


def test_checks_that_say_the_same_share_a_row(ran):
    said = [
        ("steps", "info", "not made: no gradient"),
        ("restarts", "info", "not made: no gradient"),
        ("alone", "info", "whatever pgd (Linf) alone breaks, the cascade breaks"),
        ("alone", "info", "whatever pgd (L2) alone breaks, the cascade breaks"),
        ("alone", "info", "whatever fgsm (Linf) alone breaks, the cascade breaks"),
        ("alone", "warning", "ddn (L2) alone breaks 2 more"),
        ("alone", "warning", "ddn (L2) alone breaks 3 more"),
    ]
    checks = [Check(check=name, severity=severity, message=message) for name, severity, message in said]
    report = ran.report.model_copy(update={"diagnosis": ran.report.diagnosis.model_copy(update={"checks": checks})})
    assert diagnosis.section(report).blocks[1].rows == (
        ("warning", "alone", "ddn (L2) alone breaks 2 more"),
        ("warning", "alone", "ddn (L2) alone breaks 3 more"),
        ("info", "steps, restarts", "not made: no gradient"),
        ("info", "alone", "whatever pgd (Linf), pgd (L2), fgsm (Linf) alone breaks, the cascade breaks"),
    )


def test_the_classes_add_up_to_the_accuracy_at_the_gates_eps(ran):
    (bars, *_) = classes.section(ran.report).blocks
    rows = (
        bars.chart["layer"][0]["data"]["values"] if "data" in bars.chart["layer"][0] else bars.chart["data"]["values"]
    )
    point = next(point for point in ran.report.curves[0].points if point.eps == "0.05")
    kept = sum(row["robust"] * row["examples"] for row in rows)
    assert kept == pytest.approx(point.robust_accuracy * ran.report.clean.total)


def test_similarity_is_one_for_equal_images_and_falls_with_noise():
    rng = np.random.default_rng(0)
    x = rng.random((32, 32, 3))
    little, much = (np.clip(x + size * rng.normal(size=x.shape), 0, 1) for size in (0.02, 0.3))
    assert ssim(x, x) == pytest.approx(1)
    assert 1 > ssim(x, little) > ssim(x, much) > 0


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 8, 8), True), ((8, 8, 3), True), ((8, 8, 8), False), ((13,), False)]
)
def test_images_are_told_by_their_shape(shape, expected):
    assert is_image(shape) is expected


def test_pictures_are_drawn_in_either_layout_and_the_perturbation_is_amplified():
    x = np.full((1, 8, 8), 0.5, np.float32)
    x_adv = x.copy()
    x_adv[0, 2, 3] += 0.125
    one = Exhibit("Linf", 7, x, x_adv, 1, 2, 0.125, 0.9)
    shown = exhibits.section(Exhibits((one,), "NCHW", (0.0, 1.0)))
    (row,) = shown.blocks[0].rows
    assert isinstance(shown, Section)
    assert isinstance(shown.blocks[0], Gallery)
    assert [picture.png[:4] for picture in row] == [b"\x89PNG"] * 3
    assert row[1].lines == ("× 4", "distance 0.125")
    assert row[2].lines[0] == "taken for 2, 90.0 % sure"
    last = Exhibit("Linf", 7, np.moveaxis(x, 0, -1), np.moveaxis(x_adv, 0, -1), 1, 2, 0.125, 0.9)
    assert exhibits.section(Exhibits((last,), "NHWC", (0.0, 1.0))).blocks[0].rows == shown.blocks[0].rows


def test_of_examples_that_are_no_images_the_largest_changes_are_named():
    one = Exhibit("L2", 3, np.array([1, 2, 3], np.float32), np.array([1, 2.5, 2.9], np.float32), 0, 1, 0.51)
    (table,) = exhibits.section(Exhibits((one,), None, None)).blocks
    assert isinstance(table, Table)
    assert table.rows == (("3", "0 → 1", "0.51", "[1] 2 → 2.5, [2] 3 → 2.9"),)
