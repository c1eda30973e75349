"""Every format of a report: accepted by its published schema, true to the report, harmless whatever names say."""

import csv
import io
import json
import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import jsonschema
import pyarrow.parquet as pq
import pypdf
import pytest
import xmlschema
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from huggingface_hub.repocard_data import model_index_to_eval_results
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from auditor.cli import export as command_module
from auditor.errors import SpecError
from auditor.report.formats import FORMATS, format_named
from auditor.report.numbers import percent
from auditor.report.schema import Surrogate
from auditor.spec import Waiver
from auditor.terminal import exit_code
from auditor.tracking import TrackingError, log_run
from tests.report.test_pages import HOSTILE, renamed

SCHEMAS = Path(__file__).parent / "schemas"
LIGHT = [name for name in FORMATS if name not in ("html", "pdf")]


def judged(report, *outcomes):
    """The report as if its gate had ended in each of these ways."""
    (gate,) = report.gates
    gates = [
        gate.model_copy(update={"rule": f"Linf:0.0{i}=0.4", "outcome": how}) for i, how in enumerate(outcomes, 1)
    ]
    worst = next(how for how in ("failed", "inconclusive", "passed") if how in outcomes)
    return report.model_copy(update={"gates": gates, "verdict": worst})


@pytest.fixture(scope="module", params=["real", "mixed", "hostile"])
def report(request, ran):
    if request.param == "real":
        return ran.report
    mixed = judged(ran.report, "failed", "passed", "inconclusive", "failed")
    return mixed if request.param == "mixed" else renamed(mixed, *HOSTILE)


def written(name, report):
    return format_named(name).write(report)


def test_junit_is_accepted_by_jenkins_schema_and_counts_the_gates(report):
    suite = ET.fromstring(written("junit", report)).find("testsuite")
    xmlschema.validate(written("junit", report).decode(), str(SCHEMAS / "junit-10.xsd"))
    outcomes = [gate.outcome for gate in report.gates]
    assert len(suite.findall("testcase")) == len(outcomes) == int(suite.get("tests"))
    assert len(suite.findall("testcase/failure")) == outcomes.count("failed") == int(suite.get("failures"))
    assert len(suite.findall("testcase/error")) == outcomes.count("inconclusive") == int(suite.get("errors"))
    assert report.model.sha256 in suite.find("properties/property[@name='model']").get("value")


def test_sarif_is_accepted_by_its_schema_and_has_a_result_per_failed_gate(report):
    log = json.loads(written("sarif", report))
    jsonschema.Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())).validate(log)
    (run,) = log["runs"]
    failed = [gate.rule for gate in report.gates if gate.outcome == "failed"]
    assert [result["properties"]["rule"] for result in run["results"]] == failed
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert len({result["partialFingerprints"]["gate/v1"] for result in run["results"]}) == len(failed)
    undecided = [gate for gate in report.gates if gate.outcome == "inconclusive"]
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == len(undecided)


def test_cyclonedx_is_accepted_by_its_strict_schema_and_holds_every_point(report):
    text = written("cyclonedx", report).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    metrics = json.loads(text)["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    values = {m["slice"]: float(m["value"]) for m in metrics if m["type"] == "robust_accuracy"}
    assert values == {f"{c.norm} eps={p.eps}": p.robust_accuracy for c in report.curves for p in c.points}


def test_an_in_toto_statement_is_read_by_its_library_and_sorts_the_gates(report):
    text = written("in-toto", report).decode()
    statement = json_format.Parse(text, statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    predicate = json_format.ParseDict(json.loads(text)["predicate"], test_result_pb2.TestResult())
    assert statement.subject[0].digest["sha256"] == report.model.sha256
    assert predicate.result == ("PASSED" if report.verdict == "passed" else "FAILED")
    assert len(predicate.passed_tests) == sum(gate.outcome == "passed" for gate in report.gates)
    assert len(predicate.failed_tests) == sum(gate.outcome != "passed" for gate in report.gates)


def test_what_is_put_up_with_fails_no_pipeline_and_is_still_said(ran):
    report = judged(ran.report, "failed", "inconclusive", "passed")
    waiver = Waiver(rule=report.gates[0].rule, approver="J. Doe", until="2999-01-01", reason="retrained soon")
    gates = [report.gates[0].model_copy(update={"waiver": waiver}), *report.gates[1:]]
    spec = report.audit.spec | {"policy": {"on_inconclusive": "warn"}}
    audit = report.audit.model_copy(update={"spec": spec})
    report = report.model_copy(update={"gates": gates, "verdict": "inconclusive", "audit": audit})
    suite = ET.fromstring(written("junit", report)).find("testsuite")
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "2")
    (result,) = json.loads(written("sarif", report))["runs"][0]["results"]
    assert "waived by J. Doe" in result["suppressions"][0]["justification"]
    predicate = json.loads(written("in-toto", report))["predicate"]
    assert (predicate["result"], predicate["warnedTests"]) == ("WARNED", [gate.rule for gate in gates[:2]])
    assert exit_code(report) == 0


def test_nothing_is_stated_of_an_audit_without_gates(ran):
    with pytest.raises(SpecError, match="no gate"):
        written("in-toto", ran.report.model_copy(update={"gates": [], "verdict": "none"}))


def test_a_model_index_is_read_by_the_hub_and_has_every_point(report):
    _, results = model_index_to_eval_results(yaml.safe_load(written("model-index", report))["model-index"])
    robust = {(r.metric_args["norm"], r.metric_args["eps"]): r.metric_value for r in results if r.metric_args}
    assert robust == {(c.norm, p.eps): p.robust_accuracy for c in report.curves for p in c.points}
    assert {r.task_type for r in results} == {"image-classification"}


def test_markdown_has_the_figures_and_no_markup_of_users(report):
    text = written("markdown", report).decode()
    assert f"| clean | {percent(report.clean.accuracy)}" in text
    assert text.count("\n| ---") == 2
    assert not re.search(r"(?<!\\)[<`]", text)


def test_tables_hold_the_rows_of_the_outcomes_file(ran):
    table = pq.read_table(io.BytesIO(written("parquet", ran.report)))
    stored = pq.read_table(ran.folder / "outcomes.parquet")
    unknown = {"margin", "forwards", "backwards"}
    assert table.schema == stored.schema
    assert table.drop_columns(list(unknown)).equals(stored.drop_columns(list(unknown)))
    rows = list(csv.DictReader(io.StringIO(written("csv", ran.report).decode())))
    assert [row["status"] for row in rows] == stored.column("status").to_pylist()
    assert [float(row["distance"]) if row["distance"] else None for row in rows] == table.column(
        "distance"
    ).to_pylist()


def test_the_page_and_the_paper_are_made_anew_without_pictures(ran):
    page = written("html", ran.report).decode()
    assert ran.report.results_sha256 in page
    assert "<img" not in page
    assert written("pdf", ran.report).startswith(b"%PDF")


def texts(name, data):
    """Every piece of text that a reader of the format is given."""
    if name == "junit":
        for element in ET.fromstring(data).iter():
            yield from (element.text or "", *element.attrib.values())
    elif name == "parquet":
        for column in pq.read_table(io.BytesIO(data)).to_pydict().values():
            yield from (value for value in column if isinstance(value, str))
    elif name in ("csv", "markdown", "checker"):
        yield data.decode()
    else:
        yield from pieces(yaml.safe_load(data) if name == "model-index" else json.loads(data))


def pieces(value):
    if isinstance(value, str):
        yield value
    for part in value.items() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from pieces(part)


def hostile_everywhere(report):
    """Every text that a user can put into a report."""
    report = renamed(judged(report, "failed", "passed", "inconclusive"), *HOSTILE)
    waiver = Waiver(rule=report.gates[0].rule, approver=HOSTILE[3][:200], until="2999-01-01", reason=HOSTILE[0])
    surrogate = Surrogate(name=HOSTILE[3], sha256="0" * 64)
    gates = [report.gates[0].model_copy(update={"waiver": waiver}), *report.gates[1:]]
    return report.model_copy(update={"gates": gates, "surrogates": [surrogate]})


@pytest.mark.parametrize("name", FORMATS)
def test_no_text_of_users_hides_or_reorders_what_stands_beside_it(ran, name):
    data = written(name, hostile_everywhere(ran.report))
    if name == "pdf":
        shown = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages]
    else:
        shown = [data.decode()] if name == "html" else list(texts(name, data))
    hidden = {c for text in shown for c in text if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")}
    # in a paper typst breaks lines at U+200B, and a character that the fonts lack is extracted as U+0000
    assert hidden <= ({"\n", "\u200b", "\x00"} if name == "pdf" else {"\n"})


def test_no_cell_of_a_table_begins_a_formula(ran):
    rows = csv.reader(io.StringIO(written("csv", hostile_everywhere(ran.report)).decode()))
    assert not [cell for row in rows for cell in row if cell[:1] in "=+@\t\r" and cell]


@pytest.mark.parametrize("name", LIGHT)
def test_a_name_of_a_megabyte_stays_short(ran, name):
    long = renamed(ran.report, "\u202e語" * 300_000, "digits")
    assert len(written(name, long)) < len(written(name, ran.report)) + 50_000


@pytest.mark.parametrize("name", LIGHT)
def test_equal_reports_give_equal_bytes(ran, name):
    assert written(name, ran.report) == written(name, ran.report.model_copy(deep=True))


def test_a_format_that_is_none_is_named_with_those_that_are(ran):
    with pytest.raises(SpecError, match="there is no format 'docx'; choose from html, pdf"):
        format_named("docx")


def test_the_command_knows_every_format():
    assert list(FORMATS) == list(command_module.FORMATS)


def test_export_writes_a_file_or_stdout(ran, command, tmp_path):
    path = ran.folder / "report.json"
    assert command("export", "junit", path).out.encode() == written("junit", ran.report)
    assert command("export", "parquet", path, "--out", tmp_path / "o.parquet").code == 0
    assert (tmp_path / "o.parquet").read_bytes() == written("parquet", ran.report)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("docx", "report.json"), "there is no format 'docx'"),
        (("junit",), "needs a report"),
        (("junit", "missing.json"), "cannot be read"),
        (("junit", "report.json", "--tracking-uri", "http://x"), "--tracking-uri is for the format mlflow"),
    ],
)
def test_export_refuses_with_a_sentence(command, words, said):
    answer = command("export", *words)
    assert answer.code == 64
    assert said in answer.err


class Tracker:
    """An MLflow server as its documentation describes it."""

    def __init__(self, known=()):
        self.experiments, self.logged, self.ended = list(known), {}, None

    def __call__(self, request):
        path = request.url.path.removeprefix("/base/api/2.0/mlflow/")
        body = json.loads(request.content or b"{}")
        if path == "experiments/get-by-name":
            name = request.url.params["experiment_name"]
            if name not in self.experiments:
                return httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"})
            return httpx.Response(200, json={"experiment": {"experiment_id": str(self.experiments.index(name))}})
        if path == "experiments/create":
            self.experiments.append(body["name"])
            return httpx.Response(200, json={"experiment_id": str(len(self.experiments) - 1)})
        if path == "runs/create":
            return httpx.Response(200, json={"run": {"info": {"run_id": f"run-{body['experiment_id']}"}}})
        if path == "runs/log-batch":
            for kind in body.keys() - {"run_id"}:
                assert len(body[kind]) <= {"params": 100, "tags": 100, "metrics": 1000}[kind]
                self.logged.setdefault(kind, []).extend(body[kind])
            return httpx.Response(200, json={})
        if path == "runs/update":
            self.ended = body
            return httpx.Response(200, json={"run_info": {}})
        return httpx.Response(500, text="what?")


@pytest.mark.parametrize("known", [(), ("other", "auditor")])
def test_an_audit_becomes_a_finished_run_of_mlflow(report, known):
    tracker = Tracker(known)
    run_id = log_run(report, "http://tracker/base/", "auditor", httpx.MockTransport(tracker))
    assert run_id == f"run-{tracker.experiments.index('auditor')}"
    assert tracker.logged == json.loads(written("mlflow", report))
    assert tracker.ended["status"] == "FINISHED"
    assert tracker.ended["run_id"] == run_id
    steps = {(m["key"], m["step"]): m["value"] for m in tracker.logged["metrics"]}
    for curve in report.curves:
        for step, point in enumerate(curve.points):
            assert steps[f"robust_accuracy.{curve.norm}", step] == point.robust_accuracy


def test_a_tracker_that_refuses_is_quoted(ran):
    refusing = httpx.MockTransport(lambda request: httpx.Response(403, json={"message": "not you"}))
    with pytest.raises(TrackingError, match="403: not you"):
        log_run(ran.report, "http://tracker", "auditor", refusing)
