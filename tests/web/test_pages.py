"""Every page: it answers, and what users name is shown as text."""

import hashlib
import io
import re
import zipfile
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import vl_convert
from PIL import Image
from sqlalchemy import update

from auditor import resources
from auditor.operations import models
from auditor.operations.results import files
from auditor.report.focus import focuses, headline
from auditor.report.formats import FORMATS
from auditor.store.tables import Artifact, Audit, Dataset, Key, Model, Project, Surrogate, Version, Webhook
from auditor.web import static
from tests import finished
from tests.conftest import DEMO
from tests.work import put_blob_in, rows

HOSTILE = '"><script>alert(1)</script>{{ 7 * 7 }}\u202egpj.exe\u0007'
VENDORED = {
    "htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",  # htmx.org 2.0.11, dist
    "vega.min.js": "ea6a5936381d06f912466354e2b6a20eb66c4d41f1ca9dff1e0236dfee6ee392",  # vega 6.2.0, build
    "vega-embed.min.js": "c7111a41190080938b14c1de00074d9bda16ef2199e2919dd038cddf97d87354",  # vega-embed 7.0.2, build
}


@pytest.fixture
def pages(service, project, audit):
    """The addresses of all pages of a project that has one of everything."""
    with service.database.transaction() as session:
        session.add(
            Webhook(
                project_id=project.id, url="https://a.example/", secret="s", events=["audit.done"], created_at=1.0
            )
        )
    (model,), (dataset,) = rows(service, Model), rows(service, Dataset)
    return [
        "/",
        "/running",
        "/models",
        f"/models/{model.id}",
        "/datasets",
        f"/datasets/{dataset.id}",
        "/audits",
        "/audits/new",
        f"/audits/{audit}",
        f"/audits/{audit}/live",
        f"/audits/{audit}/examples",
        "/compare",
        f"/compare?audit={audit}&audit={audit}",
        "/keys",
        "/webhooks",
    ]


def test_every_page_answers_under_a_strict_policy(visitor, pages):
    for path in pages:
        page = visitor.browser.get(path)
        assert page.status_code == 200, f"{path}: {page.text}"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"


def test_no_page_needs_what_the_policy_forbids(visitor, pages):
    for path in pages:
        html = visitor.see(path)
        assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style|javascript:", html), path


def test_hostile_names_are_text(visitor, pages, service, project):
    with service.database.transaction() as session:
        for table in (Model, Dataset, Key, Project):
            session.execute(update(table).values(name=HOSTILE))
        for table in (Version, Dataset):
            session.execute(update(table).values(filename=HOSTILE, reason=HOSTILE))
        session.execute(update(Webhook).values(url=HOSTILE, reason=HOSTILE, disabled_at=1.0))
        session.execute(update(Audit).values(chosen=[HOSTILE], words={"preset": HOSTILE}))
    shown = 0
    for path in pages:
        html = visitor.see(path)
        assert "<script>" not in html, path
        assert "\u202e" not in html, path
        assert "49\u202e" not in html, path
        shown += "&lt;script&gt;" in html
    assert shown >= 9  # all but the form's parts that hold no name


def test_other_projects_things_are_not_found(visit, pages, audit):
    stranger = visit(project_name="others")
    own = [path for path in pages if path.count("/") > 1 and not path.endswith("/new")]
    assert own
    for path in [*own, f"/audits/{audit}/files/report.html"]:
        assert stranger.browser.get(path).status_code == 404, path
    for path in ("/models", "/datasets", "/audits", "/webhooks"):
        assert "digits" not in stranger.see(path)


def test_the_page_is_small():
    assert sum(len(static.content(name)) for name in ("page.css", "htmx.min.js", "icon.svg")) < 150_000


def test_scripts_of_others_are_theirs():
    assert {name: hashlib.sha256(static.content(name)).hexdigest() for name in VENDORED} == VENDORED
    drawn_with = vl_convert.get_vega_version()
    assert f'"{drawn_with}"'.encode() in static.content("vega.min.js")  # else both ways could draw differently


def test_figures_are_fetched_as_charts_or_drawings(visitor, visit, service, project, inputs, audit, ran):
    other = finished.put(service, project, inputs, ran)
    for page, name in ((f"/audits/{audit}", "curve-L2"), (f"/compare?audit={audit}&audit={other}", "compared-L2")):
        html = visitor.see(page)
        charts = [unescape(address) for address in re.findall(r'data-chart="([^"]*)"', html)]
        assert len(charts) == html.count('role="img"') == html.count("<noscript><picture>")
        (address,) = [one for one in charts if name in one]
        chart = visitor.browser.get(address).json()
        assert chart["$schema"] == "https://vega.github.io/schema/vega/v6.json"
        (curve,) = [one for one in ran.report.curves if one.norm == "L2"]
        rows = [row for data in chart["data"] for row in data.get("values", []) if "robust" in row]
        expected = [ran.report.clean.accuracy, *(point.robust_accuracy for point in curve.points)]
        assert sorted({row["robust"] for row in rows}) == sorted(set(expected))
        for kind, ink in (("svg", "#1b1f24"), ("dark.svg", "#e8ebee")):
            drawing = visitor.browser.get(address.replace(".json", f".{kind}"))
            assert (drawing.headers["content-type"], ink in drawing.text) == ("image/svg+xml", True)
        for none in (address.replace(".json", ".png"), address.replace(name, "none")):
            assert visitor.browser.get(none).status_code == 404
        assert visit(project_name="elsewhere").browser.get(address).status_code == 404


def test_files_are_kept_until_they_change(visitor):
    address = static.address_of("page.css")
    answer = visitor.browser.get(address)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert visitor.browser.get("/static/other.css").status_code == 404


def test_lists_of_audits_say_what_was_found(visitor, service, audit, ran):
    points = [focus.point for focus in focuses(ran.report)]
    assert len(points) == 2
    for path in ("/", "/audits"):
        html = visitor.see(path)
        for accuracy in (ran.report.clean.accuracy, *(point.robust_accuracy for point in points)):
            assert f"{100 * accuracy:.1f} %" in html
        assert all(f"at {focus.name}" in html for focus in focuses(ran.report))
    with service.database.transaction() as session:
        session.execute(update(Audit).values(facts=None))  # of an audit that failed before its plan
    assert "at Linf" not in visitor.see("/audits")


def test_a_refusal_is_a_page(visitor):
    answer = visitor.browser.get("/audits/00000000-0000-7000-8000-000000000000")
    assert answer.status_code == 404
    assert "there is no audit" in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert visitor.browser.get("/audits?state=odd").status_code == 422


def test_a_finished_audit_is_read(visitor, audit, ran):
    html = visitor.see(f"/audits/{audit}")
    assert html.count("data-chart=") >= len(ran.report.curves)
    assert headline(ran.report)[0] in html
    assert "auditor submit" in html
    for check in ran.report.diagnosis.checks:
        assert check.check in html


@pytest.mark.parametrize("name", ["report.html", "report.pdf", "report.json", "outcomes", "adversarial"])
def test_files_of_an_audit_come_as_they_are_stored(visitor, service, project, audit, name):
    answer = visitor.browser.get(f"/audits/{audit}/files/{name}")
    assert answer.status_code == 200
    stored = {file.sha256 for file in files(service, project.id, audit)}
    assert hashlib.sha256(answer.content).hexdigest() in stored
    if name == "report.html":
        assert "sandbox" in answer.headers["content-security-policy"]


def test_an_audits_page_offers_its_report_in_every_format(visitor, audit, ran):
    html = visitor.see(f"/audits/{audit}")
    for format in (format for name, format in FORMATS.items() if name not in ("html", "pdf")):
        address = f"/audits/{audit}/exports/report.{format.suffix}"
        assert f'href="{address}"' in html
        answer = visitor.browser.get(address)
        assert answer.content == format.write(ran.report)
        assert answer.headers["content-disposition"] == f'attachment; filename="report.{format.suffix}"'
    assert visitor.browser.get(f"/audits/{audit}/exports/report.docx").status_code == 404


def test_an_audit_whose_report_is_gone_shows_its_points(visitor, service, audit, ran):
    with service.database.transaction() as session:
        session.execute(update(Artifact).values(removed_at=1.0))
    html = visitor.see(f"/audits/{audit}")
    assert "retention has ended" in html
    assert all(point.eps in html for curve in ran.report.curves for point in curve.points)


def test_a_running_audit_is_followed(visitor, service, audit):
    with service.database.transaction() as session:
        session.execute(update(Audit).values(state="running"))
    html = visitor.see(f"/audits/{audit}")
    assert f'hx-get="/audits/{audit}/live?seen=running:1"' in html
    assert visitor.browser.get(f"/audits/{audit}/live?seen=settling:0").headers["hx-refresh"] == "true"
    part = visitor.browser.get(f"/audits/{audit}/live?seen=queued:0")
    assert "stages" in part.text
    assert "hx-refresh" not in part.headers
    assert part.text.count("<rect") == 2 * 6  # the bounds of six points
    with service.database.transaction() as session:
        session.execute(update(Audit).values(state="done"))
    assert visitor.browser.get(f"/audits/{audit}/live?seen=running:1").headers["hx-refresh"] == "true"


def test_examples_are_chosen_by_norm_attack_and_class(visitor, audit, ran):
    broken = {norm: [row for row in ran.rows(norm) if row["status"] == "broken"] for norm in ("Linf", "L2")}
    path = f"/audits/{audit}/examples"

    def shown(query):
        return set(re.findall(rf'href="{path}/(\w+)/(\d+)"', visitor.see(f"{path}?{query}")))

    assert shown("") == {(norm, str(row["index"])) for norm, rows in broken.items() for row in rows}
    assert shown("norm=L2") == {("L2", str(row["index"])) for row in broken["L2"]}
    one = broken["Linf"][0]
    chosen = shown(f"norm=Linf&attack={one['attack']}&label={one['label']}")
    same = [row for row in broken["Linf"] if (row["attack"], row["label"]) == (one["attack"], one["label"])]
    assert chosen == {("Linf", str(row["index"])) for row in same}
    assert shown("attack=no-such") == set()


def test_an_example_is_shown_before_and_after_its_change(visitor, audit, ran, digits):
    found = ran.adversarial
    row = int(np.flatnonzero(found["norm"] == "Linf")[0])
    index, x_adv = int(found["index"][row]), found["x_adv"][row, 0]
    path = f"/audits/{audit}/examples/Linf/{index}"
    html = visitor.see(path)
    assert f"<dd>{found['predicted'][row]}</dd>" in html
    assert html.count("<img") == 3
    x = digits[0][index, 0]
    delta = x_adv - x
    expected = {"original": x, "adversarial": x_adv, "perturbation": 0.5 + 0.5 * delta / np.abs(delta).max()}
    for which, shares in expected.items():
        assert np.abs(grey(visitor, f"{path}/{which}.png") - 255 * shares).max() <= 1, which
    assert visitor.browser.get(f"/audits/{audit}/examples/L1/{index}").status_code == 404
    assert visitor.browser.get(f"/audits/{audit}/examples/Linf/{index}/other.png").status_code == 422


def test_an_audit_from_before_originals_were_kept_shows_what_it_has(visitor, service, audit, ran, tmp_path):
    found = ran.adversarial
    del found["x"]
    np.savez(tmp_path / "adversarial.npz", **found)
    with service.database.transaction() as session:
        older = {"sha256": put_blob_in(service, session, tmp_path / "adversarial.npz")}
        size = (tmp_path / "adversarial.npz").stat().st_size
        session.execute(update(Artifact).where(Artifact.kind == "adversarial").values(size=size, **older))
    path = f"/audits/{audit}/examples/{found['norm'][0]}/{found['index'][0]}"
    html = visitor.see(path)
    assert html.count("<img") == 1
    assert "cannot be shown" in html
    assert visitor.browser.get(f"{path}/original.png").status_code == 404


def test_a_zip_of_images_shows_the_files_as_they_were_uploaded(visitor, service, inputs, tmp_path):
    """In the order of labels.csv; what browsers do not read, and what is no member, is not there."""
    path = tmp_path / "pets.zip"
    files = {"a.png": b"\x89PNG, or what says so", "b.webp": b"a picture", "c.tiff": b"another"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.csv", "filename,label\nb.webp,1\na.png,0\nc.tiff,1\n")
        for name, content in files.items():
            archive.writestr(name, content)
    facts = {"format": "zip", "examples": 3, "shape": [3, 8, 8], "stored": "images", "classes": 2, "labels": [1, 2]}
    with service.database.transaction() as session:
        place = {"sha256": put_blob_in(service, session, path), "size": path.stat().st_size, "filename": path.name}
        session.execute(update(Dataset).values(facts=facts, **place))
    (dataset,) = rows(service, Dataset)
    html = visitor.see(f"/datasets/{dataset.id}")
    assert html.count("<img") == 3
    answers = [visitor.browser.get(f"/datasets/{dataset.id}/examples/{n}.png") for n in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404]
    assert [answer.content for answer in answers[:2]] == [files["b.webp"], files["a.png"]]
    assert [answer.headers["content-type"] for answer in answers[:2]] == ["image/webp", "image/png"]
    assert answers[0].headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("kind", ["tiff", "ppm"])
def test_an_image_that_browsers_do_not_read_is_sent_as_a_png(visitor, service, inputs, tmp_path, kind):
    pixels, large = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8), io.BytesIO()
    files = {f"{name}.{kind}": io.BytesIO() for name in "ab"}
    for (name, file), content in zip(files.items(), pixels, strict=True):
        Image.fromarray(content).save(file, Path(name).suffix[1:])
    Image.fromarray(pixels[0]).resize((1024, 600)).save(large, kind)
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in {**files, f"c.{kind}": large, f"d.{kind}": io.BytesIO(b"no image")}.items():
            archive.writestr(f"cats/{name}", file.getvalue())
    facts = {"format": "zip", "examples": 4, "shape": [3, 6, 8], "stored": "images", "classes": 1, "labels": [4]}
    with service.database.transaction() as session:
        place = {"sha256": put_blob_in(service, session, path), "size": path.stat().st_size, "filename": path.name}
        session.execute(update(Dataset).values(facts=facts, **place))
    (dataset,) = rows(service, Dataset)
    address = f"/datasets/{dataset.id}/examples"
    answers = [visitor.browser.get(f"{address}/{n}.png") for n in range(4)]
    assert [answer.headers["content-type"] for answer in answers[:3]] == ["image/png"] * 3
    shown = [np.asarray(Image.open(io.BytesIO(answer.content))) for answer in answers[:3]]
    assert np.array_equal(shown[:2], pixels)
    assert shown[2].shape == (150, 256, 3)
    assert answers[3].status_code == 404


def test_a_dataset_shows_its_first_images_and_classes(visitor, service, inputs, digits):
    (dataset,) = rows(service, Dataset)
    facts = {"format": "npz", "examples": 500, "shape": [1, 8, 8], "labels": [3, 9], "class_names": [HOSTILE, "b"]}
    with service.database.transaction() as session:
        session.execute(update(Dataset).values(facts=facts))
    html = visitor.see(f"/datasets/{dataset.id}")
    assert html.count("<img") == 10
    assert html.count("&lt;script&gt;") == 2  # the name of a class, in the table and among the facts
    for example in (0, 7):
        shown = grey(visitor, f"/datasets/{dataset.id}/examples/{example}.png")
        assert np.array_equal(shown, np.rint(255 * digits[0][example, 0]))
    assert visitor.browser.get(f"/datasets/{dataset.id}/examples/500.png").status_code == 404


def grey(visitor, path):
    """The grey levels of a picture, (8, 8) as of the digits."""
    answer = visitor.browser.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    picture = np.asarray(Image.open(io.BytesIO(answer.content)), dtype=float)
    step = len(picture) // 8
    return picture[::step, ::step]


def test_audits_are_compared_with_the_first(visitor, service, project, inputs, audit, ran):
    others = [finished.put(service, project, inputs, ran) for _ in range(3)]
    path = "/compare?" + "&".join(f"audit={audit_id}" for audit_id in (audit, *others))
    html = visitor.see(path)
    assert html.count("data-chart=") == 3  # two norms, and the audits as steps
    assert re.search(r"3: digits-\d+@1 nowhere lost more than it gained", html)
    assert visitor.see(f"/compare?audit={audit}").count("data-chart=") == 0
    for kind, type in (("html", "text/html; charset=utf-8"), ("pdf", "application/pdf")):
        kept = path.replace("/compare?", f"/compare.{kind}?")
        assert f'href="{kept.replace("&", "&amp;")}"' in html
        assert visitor.browser.get(kept).headers["content-type"] == type
    assert visitor.browser.get(f"{path}&audit={audit}&audit={audit}").status_code == 422
    refused = visitor.browser.get(f"/compare?audit={audit}&audit=00000000-0000-7000-8000-000000000000")
    assert refused.status_code == 404
    with service.database.transaction() as session:
        session.execute(update(Artifact).where(Artifact.audit_id == others[0]).values(removed_at=1.0))
    refused = visitor.browser.get(f"/compare?audit={audit}&audit={others[0]}")
    assert refused.status_code == 410
    assert "was removed" in refused.text


def test_versions_are_drawn_one_after_another(visitor, service, project, inputs, audit, ran):
    (model,), (version,) = rows(service, Model), rows(service, Version)
    assert "Robustness over versions" not in visitor.see(f"/models/{model.id}")
    with service.database.transaction() as session:
        columns = {"model_id": model.id, "number": 2, "created_at": 1.0, "state": "ready", "filename": "a.onnx"}
        second = Version(sha256=version.sha256, size=version.size, **columns)
        session.add(second)
        session.flush()
        second_id = second.id
    finished.put(service, project, (second_id, inputs[1]), ran)
    html = visitor.see(f"/models/{model.id}")
    assert "Robustness over versions" in html
    compared = re.search(r'href="(/compare[^"]*)"[^>]*>The last ones', html)[1].replace("&amp;", "&")
    assert re.search(r"digits-\d+@2 nowhere lost more than it gained", visitor.see(compared))
    assert "version 2, Linf" in html


def test_models_and_datasets_are_uploaded(visitor, service):
    model = {"file": ("digits.onnx", (DEMO / "digits.onnx").read_bytes())}
    answer = visitor.send("/models", "/models/upload", files=model, name="numbers")
    assert (answer.status_code, answer.headers["location"]) == (303, "/models/numbers")
    assert "is being checked" in visitor.see("/models/numbers")
    data = {"file": ("digits.npz", (DEMO / "digits.npz").read_bytes())}
    answer = visitor.send("/datasets", "/datasets/upload", files=data)
    assert "digits" in visitor.see(answer.headers["location"])
    (version,) = rows(service, Version)
    assert version.sha256 == hashlib.sha256(model["file"][1]).hexdigest()


def test_an_upload_says_how_the_model_is_to_be_read(visitor, service):
    model = {"file": ("m.onnx", b"onnx")}
    said = {"fix": "a=1 b=2", "threshold": "0", "label": "dog", "unbatched": "yes", "input": "x"}
    assert visitor.send("/models", "/models/upload", files=model, **said).status_code == 303
    (version,) = rows(service, Version)
    assert version.input == "x"
    assert version.declared == {"fix": ["a=1", "b=2"], "threshold": 0.0, "label": "dog", "unbatched": True}


@pytest.mark.parametrize(
    ("files", "said", "word"),
    [
        (None, {}, "no file was chosen"),
        ({"file": ("a.onnx", b"")}, {}, "no bytes came"),
        ({"file": ("a.onnx", b"x")}, {"name": "a/b"}, "cannot hold"),
        ({"file": ("a.onnx", b"x")}, {"layout": "WXYZ"}, "there is no layout"),
        ({"file": ("a.onnx", b"x")}, {"threshold": "high"}, "threshold"),
        ({"file": ("a.onnx", b"x")}, {"fix": "mask"}, "mask"),
    ],
)
def test_an_upload_that_makes_no_sense_is_refused(visitor, service, files, said, word):
    answer = visitor.send("/models", "/models/upload", files=files, **said)
    assert answer.status_code == 422
    assert word in answer.text
    assert rows(service, Version) == []


def test_an_audit_is_asked_for_and_ended(visitor, service, inputs):
    (dataset,) = rows(service, Dataset)
    (model,) = rows(service, Model)
    said = {"model": f"{model.name}@1", "data": dataset.id, "preset": "quick", "examples": "30"}
    answer = visitor.send("/audits/new", "/audits", **said, eps_Linf="0.05,0.1", fail_under="Linf:0.1=0.5", seed="3")
    path = answer.headers["location"]
    (audit,) = rows(service, Audit)
    words = {"norm": ["Linf"], "eps": ["0.05,0.1"], "examples": 30, "seed": 3, "preset": "quick"}
    assert audit.words == {**words, "fail_under": ["Linf:0.1=0.5"]}
    html = visitor.see(path)
    assert "--norm Linf --eps 0.05,0.1 --preset quick --examples 30 --seed 3 --fail-under Linf:0.1=0.5" in html
    assert visitor.send(path, f"{path}/delete").status_code == 409
    visitor.send(path, f"{path}/cancel")
    assert rows(service, Audit)[0].state == "cancelled"
    assert visitor.send(path, f"{path}/delete").headers["location"] == "/audits"
    assert rows(service, Audit) == []


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"examples": "many"}, "examples"),
        ({"fail_under": "nonsense"}, "nonsense"),
        ({"attack": "no-such"}, "no-such"),
        ({"model": "absent"}, "there is no model"),
    ],
)
def test_a_refused_request_keeps_what_was_typed(visitor, service, inputs, said, word):
    (dataset,), (model,) = rows(service, Dataset), rows(service, Model)
    whole = {"model": f"{model.name}@1", "data": dataset.id, "seed": "77", **said}
    answer = visitor.send("/audits/new", "/audits", **whole)
    assert answer.status_code == 422
    assert word in answer.text
    assert 'value="77"' in answer.text
    assert rows(service, Audit) == []


def test_the_form_offers_every_norm_and_preset(visitor):
    html = visitor.see("/audits/new")
    asked = set(re.findall(r'name="(\w+)"', html)) - {"csrf", "viewport"}
    words = {name for name in asked if not name.startswith("eps_")} - {"color"}
    assert words == set(resources.NewAudit.model_fields) - {"norm", "eps"}


def test_words_of_every_kind_reach_the_audit(visitor, service, project, inputs):
    (dataset,), (model,) = rows(service, Dataset), rows(service, Model)
    models.change(service, project.id, model.name, resources.ModelChange(surrogate=True))
    said = {"model": f"{model.name}@1", "data": dataset.id, "eps_L2": "1", "detector": "z:0.9", "draws": "30"}
    said["eot"] = "noise:0.05 resize:0.9,1.1"
    said |= {"surrogates": f"{model.name}@1:mean=0.5:std=0.25 {model.name}", "attack": "transfer-mi-fgsm"}
    said |= {
        "policy": "clean: 0.9\nrobust: ['L2:1=0.5']",
        "on_inconclusive": "warn",
        "priority": "-3",
        "scale": "1/255",
    }
    path = visitor.send("/audits/new", "/audits", **said).headers["location"]
    (audit,) = rows(service, Audit)
    assert audit.priority == -3
    assert audit.words == {
        "norm": ["L2"], "eps": ["1"], "attack": ["transfer-mi-fgsm"], "detector": "z:0.9", "draws": 30, "scale": "1/255",
        "eot": ["noise:0.05", "resize:0.9,1.1"],
        "policy": {"clean": 0.9, "robust": [{"norm": "L2", "eps": "1", "threshold": 0.5}]}, "on_inconclusive": "warn",
    }  # fmt: skip
    named = sorted(rows(service, Surrogate), key=lambda row: row.position)
    assert [row.normalisation for row in named] == [{"mean": "0.5", "std": "0.25"}, {}]
    html = visitor.see(path)
    assert "--policy policy.yaml" in html
    assert f"--surrogate {model.name}@1:mean=0.5:std=0.25 --surrogate {model.name}@1<" in html


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("clean: [", "policy is not YAML"),
        ("clean", "NAME: VALUE"),
        ("a: &a [1]\nb: *a", "without references"),
        ("[" * 100_000, "more than 1000 brackets"),
        ("[" * 900, "policy is not YAML"),
        ("unclean: 1", "unclean"),
    ],
)
def test_yaml_that_makes_no_sense_is_refused_with_a_sentence(visitor, service, inputs, text, word):
    (dataset,), (model,) = rows(service, Dataset), rows(service, Model)
    answer = visitor.send("/audits/new", "/audits", model=f"{model.name}@1", data=dataset.id, policy=text)
    assert (answer.status_code, word in answer.text) == (422, True)
    assert rows(service, Audit) == []


def test_keys_are_made_and_revoked(visitor, app, service):
    answer = visitor.send("/keys", "/keys", name="pipeline", role="reader", days="30")
    (key,) = re.findall(r"aud_[0-9a-f]{12}_[\w-]+", answer.text)
    fetch = visitor.browser.get
    assert fetch("/api/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    (made,) = (row for row in rows(service, Key) if row.name == "pipeline")
    visitor.send("/keys", f"/keys/{made.id}/revoke")
    assert fetch("/api/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 401
    assert visitor.send("/keys", "/keys", name="", role="reader", days="30").status_code == 422


def test_webhooks_are_made_and_deleted(visitor, service):
    refused = visitor.send("/webhooks", "/webhooks", url="http://127.0.0.1/", events="audit.done")
    assert refused.status_code == 422
    with service.database.transaction() as session:
        (owner,) = (project.id for project in rows(service, Project))
        session.add(Webhook(project_id=owner, url="https://a.example/", secret="s", events=[], created_at=1.0))
    (hook,) = rows(service, Webhook)
    visitor.send("/webhooks", f"/webhooks/{hook.id}/test")
    assert "webhook.test" in visitor.see("/webhooks")
    visitor.send("/webhooks", f"/webhooks/{hook.id}/delete")
    assert rows(service, Webhook) == []
