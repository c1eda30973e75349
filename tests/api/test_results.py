"""Reports, curves, outcomes, examples, files and comparisons over HTTP, against the files of real audits."""

import csv
import io
from itertools import pairwise

import numpy as np
import pypdf
import pytest
from sqlalchemy import delete, update

from auditor import resources
from auditor.audits.outcomes import at_most
from auditor.audits.statistics import mcnemar
from auditor.report.formats import FORMATS
from auditor.store.tables import Artifact, Audit, Outcome
from tests import finished
from tests.work import put_inputs


@pytest.fixture(scope="session")
def weaker(tmp_path_factory):
    """The same audit of a model that is right on fewer examples."""
    folder = tmp_path_factory.mktemp("weaker")
    return finished.run(folder / "out", finished.changed_model(folder / "weaker.onnx"), allow_chance=True)


@pytest.fixture(scope="session")
def of_another_seed(tmp_path_factory):
    return finished.run(tmp_path_factory.mktemp("seed"), seed=1, attack=["fgsm"], norm=["Linf"], eps=["0.1"])


@pytest.fixture
def inputs(service, project):
    return put_inputs(service, project)


@pytest.fixture
def audit(service, project, inputs, ran):
    """The path of a finished audit."""
    return f"/api/v1/audits/{finished.put(service, project, inputs, ran)}"


@pytest.fixture
def change(service):
    def change(path, **columns):
        with service.database.transaction() as session:
            session.execute(update(Audit).where(Audit.id == path.rpartition("/")[2]).values(**columns))

    return change


def remove(service, table, **values):
    """What retention leaves of an audit's file; or no row at all."""
    with service.database.transaction() as session:
        session.execute(update(table).values(**values) if values else delete(table))


def test_the_report_is_the_stored_bytes(client, audit, ran):
    answer = client.get(f"{audit}/report.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == (ran.folder / "report.json").read_bytes()
    again = client.get(f"{audit}/report.json", headers={"If-None-Match": f'"other", {answer.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])


def test_a_report_too_early_is_the_audit_with_what_is_known(client, audit, service, change):
    change(audit, state="running")
    remove(service, Artifact)
    answer = client.get(f"{audit}/report.json")
    assert answer.status_code == 202
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json() == client.get(audit).json()
    assert answer.json()["bounds"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"state": "failed", "problem": {"type": "given-up", "detail": "it died"}}, "failed: it died"),
        ({"state": "cancelled"}, "was cancelled"),
    ],
)
def test_an_audit_without_a_report_says_why_and_what_was_known(client, audit, service, change, columns, said):
    change(audit, **columns)
    remove(service, Artifact)
    answer = client.get(f"{audit}/report.json")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    body = resources.NoReport.model_validate_json(answer.content)
    assert (body.type, body.state) == ("/problems/no-report", columns["state"])
    assert said in body.detail
    assert len(body.bounds) == 6


def test_removed_files_are_gone_and_listed(client, audit, service):
    remove(service, Artifact, removed_at=1.0, sha256=None)
    for path in ("report.json", "artifacts/adversarial", "examples", "examples/Linf/0.npy", "compare/" + audit[-36:]):
        answer = client.get(f"{audit}/{path}")
        assert (answer.status_code, answer.json()["type"]) == (410, "/problems/gone"), path
    assert {file["removed_at"] for file in client.get(f"{audit}/artifacts").json()["items"]} == {
        "1970-01-01T00:00:01Z"
    }
    assert client.get(f"{audit}/curves").status_code == 200


def test_the_report_is_there_for_people_too(client, audit, ran):
    for name, media_type in (("report.html", "text/html; charset=utf-8"), ("report.pdf", "application/pdf")):
        answer = client.get(f"{audit}/{name}")
        assert answer.headers["content-type"] == media_type
        assert answer.content == (ran.folder / name).read_bytes()
    policy = client.get(f"{audit}/report.html").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"html", "pdf", "in-toto"}))
def test_the_report_is_made_in_every_format(client, audit, ran, name):
    answer = client.get(f"{audit}/report.{FORMATS[name].suffix}")
    assert answer.headers["content-type"] == FORMATS[name].media_type
    assert answer.content == FORMATS[name].write(ran.report)


def test_a_statement_about_no_gates_is_refused(client, audit):
    answer = client.get(f"{audit}/report.intoto.json")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/spec-refused")


def test_other_formats_of_the_report_do_not_exist(client, audit):
    answer = client.get(f"{audit}/report.docx")
    assert answer.status_code == 404
    assert "report.json" in answer.json()["detail"]


def test_bounds_of_a_running_audit_are_counted_from_its_outcomes(client, audit, ran, service, change):
    change(audit, state="running")
    with service.database.transaction() as session:
        session.execute(
            update(Outcome).where(Outcome.position >= 20, Outcome.status != "wrong").values(complete=False)
        )
        session.execute(
            update(Outcome)
            .where(Outcome.position >= 20, Outcome.status != "wrong")
            .values(status="not_tried", distance=None)
        )
    found = {(bound["norm"], bound["eps"]): bound for bound in client.get(audit).json()["bounds"]}
    assert list(found) == [(curve.norm, point.eps) for curve in ran.report.curves for point in curve.points]
    for (norm, eps), bound in found.items():
        rows = [row for row in ran.rows(norm) if row["status"] != "wrong"]
        broken = [row["distance"] is not None and row["distance"] <= at_most(eps) for row in rows]
        late = [ran.report.dataset.index.index(row["index"]) >= 20 for row in rows]
        upper = sum(later or not was for was, later in zip(broken, late, strict=True))
        lower = sum(not later and not was for was, later in zip(broken, late, strict=True))
        assert (bound["lower"], bound["upper"]) == (lower / 24, upper / 24), (norm, eps)


def test_curves_are_the_report_s(client, audit, ran):
    curves = client.get(f"{audit}/curves").json()
    assert [curve["norm"] for curve in curves] == ["Linf", "L2"]
    for curve, expected in zip(curves, ran.report.curves, strict=True):
        for point, known in zip(curve["points"], expected.points, strict=True):
            assert point == known.model_dump(mode="json", exclude={"band"})


def test_curves_too_early_conflict(client, audit, change):
    change(audit, state="running")
    assert client.get(f"{audit}/curves").status_code == 409


def test_outcomes_come_in_pages_without_gaps(client, audit, ran):
    seen, cursor, pages = [], None, 0
    while True:
        page = client.get(f"{audit}/outcomes", params={"limit": 7, **({"cursor": cursor} if cursor else {})}).json()
        seen, cursor, pages = seen + page["items"], page["next"], pages + 1
        if cursor is None:
            break
    assert pages == 7
    told = {row["norm"]: [] for row in seen}
    for row in seen:
        told[row["norm"]].append(row)
    assert set(told) == {"L2", "Linf"}
    for norm, rows in told.items():
        expected = ran.rows(norm)
        for row in expected:
            row["example"] = row["index"]
        assert rows == [{name: row[name] for name in resources.Outcome.model_fields} for row in expected]


def test_outcomes_are_filtered(client, audit, ran):
    attack = next(row["attack"] for row in ran.rows("L2") if row["attack"])
    found = client.get(f"{audit}/outcomes", params={"norm": "L2", "status": "broken", "attack": attack}).json()[
        "items"
    ]
    expected = [row["index"] for row in ran.rows("L2") if (row["status"], row["attack"]) == ("broken", attack)]
    assert [row["example"] for row in found] == expected
    assert expected


def test_outcomes_come_as_csv_where_that_is_wanted(client, audit):
    headers = {"Accept": "text/csv"}
    answer = client.get(f"{audit}/outcomes?norm=L2&limit=5", headers=headers)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    told = client.get(f"{audit}/outcomes?norm=L2").json()["items"]
    assert [int(row["example"]) for row in rows] == [row["example"] for row in told[:5]]
    following = client.get(answer.links["next"]["url"], headers=headers).text
    assert next(csv.DictReader(io.StringIO(following)))["example"] == str(told[5]["example"])


@pytest.mark.parametrize("cursor", ["", "x", "L2:", "L2:9999999999999999999", "nan:L2:1", "\x00:1"])
@pytest.mark.parametrize("what", ["outcomes", "examples"])
def test_a_bad_cursor_is_named(client, audit, what, cursor):
    answer = client.get(f"{audit}/{what}", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unacceptable")


def test_examples_come_by_rising_distance_with_their_arrays(client, audit, ran):
    seen, cursor = [], None
    while True:
        page = client.get(f"{audit}/examples", params={"limit": 5} | ({"cursor": cursor} if cursor else {})).json()
        seen, cursor = seen + page["items"], page["next"]
        if cursor is None:
            break
    stored = ran.adversarial
    assert len(seen) == len(stored["index"]) > 5
    assert all(one["distance"] <= two["distance"] for one, two in pairwise(seen))
    place = {key: row for row, key in enumerate(zip(stored["norm"].tolist(), stored["index"].tolist(), strict=True))}
    sure = {(row["norm"], row["index"]): row["confidence"] for norm in ("Linf", "L2") for row in ran.rows(norm)}
    for example in seen:
        row = place[example["norm"], example["example"]]
        assert (example["adversarial"], example["distance"]) == (stored["predicted"][row], stored["distance"][row])
        assert example["adversarial"] != example["label"]
        assert example["confidence"] == sure[example["norm"], example["example"]]
        array = np.load(io.BytesIO(client.get(example["array"]).content))
        np.testing.assert_array_equal(array, stored["x_adv"][row])
    only = client.get(f"{audit}/examples?norm=L2&limit=200").json()["items"]
    assert only == [example for example in seen if example["norm"] == "L2"]


def test_an_example_that_was_not_broken_has_no_array(client, audit, ran):
    whole = next(row["index"] for row in ran.rows("Linf") if row["status"] == "wrong")
    assert client.get(f"{audit}/examples/Linf/{whole}.npy").status_code == 404
    assert client.get(f"{audit}/examples/L1/{whole}.npy").status_code == 404
    assert client.get(f"{audit}/examples/L7/{whole}.npy").status_code == 422


def test_files_are_listed_and_fetched_whole_or_in_part(client, audit, ran):
    files = client.get(f"{audit}/artifacts").json()["items"]
    assert [file["kind"] for file in files] == ["adversarial", "html", "outcomes", "pdf", "report"]
    for file in files:
        data = (ran.folder / file["filename"]).read_bytes()
        answer = client.get(file["url"])
        assert (answer.content, len(data)) == (data, file["size"])
        assert answer.headers["etag"] == f'"{file["sha256"]}"'
        assert file["filename"] in answer.headers["content-disposition"]
        for asked, part in (("bytes=10-19", data[10:20]), ("bytes=-7", data[-7:]), ("bytes=30-", data[30:])):
            answer = client.get(file["url"], headers={"Range": asked})
            assert (answer.status_code, answer.content) == (206, part)
            assert answer.headers["content-range"].endswith(f"/{len(data)}")
        assert client.get(file["url"], headers={"Range": f"bytes={len(data)}-"}).status_code == 416
        old = {"Range": "bytes=0-1", "If-Range": '"of another file"'}
        assert client.get(file["url"], headers=old).content == data


def test_a_file_that_does_not_exist_is_not_found(client, audit):
    assert client.get(f"{audit}/artifacts/secrets").status_code == 404


def test_comparing_counts_what_the_second_audit_lost(client, audit, service, project, inputs, ran, weaker):
    other = finished.put(service, project, inputs, weaker)
    found = client.get(f"{audit}/compare/{other}", params={"margin": 0.1}).json()
    assert (found["first"], found["second"], found["paired"], found["margin"]) == (audit[-36:], other, 24, 0.1)
    assert found["clean_accuracy"] == [ran.report.clean.accuracy, weaker.report.clean.accuracy]
    assert ran.report.clean.accuracy > weaker.report.clean.accuracy
    for point in found["points"]:
        stood, stands = (
            [
                r["status"] != "wrong" and (r["distance"] is None or r["distance"] > at_most(point["eps"]))
                for r in rows
            ]
            for rows in (ran.rows(point["norm"]), weaker.rows(point["norm"]))
        )
        lost = sum(was and not still for was, still in zip(stood, stands, strict=True))
        gained = sum(still and not was for was, still in zip(stood, stands, strict=True))
        assert point["robust_accuracy"] == [sum(stood) / 24, sum(stands) / 24]
        assert point["net_loss"] == pytest.approx((lost - gained) / 24)
        assert point["interval"][0] <= point["net_loss"] <= point["interval"][1]
        assert point["mcnemar_p"] == pytest.approx(mcnemar(lost, gained))
    assert any(point["net_loss"] > 0 for point in found["points"])


def test_many_audits_are_compared_with_the_first(client, audit, service, project, inputs, ran, weaker):
    ids = [audit[-36:], finished.put(service, project, inputs, weaker), finished.put(service, project, inputs, ran)]
    found = client.get("/api/v1/compare", params={"audits": ids, "margin": 0.1}).json()
    assert [one["audit"] for one in found["audits"]] == ids
    names = [one["name"] for one in found["audits"]]
    pair = client.get(f"{audit}/compare/{ids[1]}", params={"margin": 0.1}).json()
    points = [point for point in found["points"] if point["audit"] == names[1]]
    assert [point["net_loss"] for point in points] == [point["net_loss"] for point in pair["points"]]
    assert [point["gate"]["outcome"] for point in points if point["gate"]["outcome"] == "failed"]
    assert client.get("/api/v1/compare", params={"audits": ids[:1]}).status_code == 422
    assert client.get("/api/v1/compare", params={"audits": ids * 2}).status_code == 422
    assert client.get("/api/v1/compare", params={"audits": [ids[0], "0" * 36]}).status_code == 404


def test_comparisons_come_as_files_for_people(client, audit, service, project, inputs, weaker):
    other = finished.put(service, project, inputs, weaker)
    ids = {"audits": [audit[-36:], other], "margin": 0.1}
    page = client.get("/api/v1/compare.html", params=ids)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "sandbox" in page.headers["content-security-policy"]
    assert "Lost more than is tolerated" in page.text
    assert client.get(f"{audit}/compare/{other}.html", params={"margin": 0.1}).content == page.content
    paper = client.get("/api/v1/compare.pdf", params=ids)
    assert paper.headers["content-type"] == "application/pdf"
    assert "Lost more than is tolerated" in pypdf.PdfReader(io.BytesIO(paper.content)).pages[0].extract_text()
    assert client.get("/api/v1/compare.docx", params=ids).status_code == 404
    assert client.get("/api/v1/compare.pdf", params={"audits": ids["audits"][:1]}).status_code == 422
    assert client.get(f"{audit}/compare/{'0' * 36}.pdf").status_code == 404


def test_audits_of_other_specifications_are_not_compared(client, audit, service, project, inputs, of_another_seed):
    other = finished.put(service, project, inputs, of_another_seed)
    answer = client.get(f"{audit}/compare/{other}")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/spec-refused")
    assert "specification" in answer.json()["detail"]


def test_nothing_of_another_project_is_found(stranger, client, audit, service, project, inputs, ran):
    other = finished.put(service, project, inputs, ran)
    paths = ("report.json", "curves", "outcomes", "examples", "examples/Linf/0.npy", "artifacts", "artifacts/report")
    for path in (*paths, f"compare/{other}", "events"):
        assert stranger.get(f"{audit}/{path}").status_code == 404, path
        assert client.get(f"{audit}/{path}").status_code in (200, 404), path


def test_a_key_without_the_scope_reads_no_report(client_of, make_key, audit):
    client = client_of(make_key("reader", scopes=["audits:read"]))
    assert client.get(audit).status_code == 200
    assert client.get(f"{audit}/report.json").status_code == 403
