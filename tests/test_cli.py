"""The command line's promises: what it says, what it writes, how it exits."""

import json
import sys
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import onnxruntime
import pytest
from rich.console import Console
from typer.main import get_command

import auditor
from auditor import inspection, local, options, terminal
from auditor.cli import app
from auditor.request import settle
from tests.graph.models import text

SMALL = ("--examples", 60, "--threads", 1, "--norm", "Linf", "--eps", "0.02,0.2", "--preset", "quick")


@pytest.fixture
def audit(command, demo_model, demo_data, tmp_path):
    return lambda *words: command("audit", demo_model, demo_data, "--out", tmp_path / "out", *words)


def test_the_exit_code_follows_the_gates_and_gates_cost_no_new_attack(audit, tmp_path):
    assert audit(*SMALL).code == 0
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("slice-*.frame")}
    for gate, code, verdict in (
        ("Linf:0.02=0.5", 0, "passed"),
        ("Linf:0.2=0.5", 2, "failed"),
        ("Linf:0.02=0.95", 3, "inconclusive"),
    ):
        answer = audit(*SMALL, "--fail-under", gate)
        assert (answer.code, f"verdict: {verdict}" in answer.out) == (code, True), answer
        assert f"gate {gate}: {verdict}" in answer.out
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("slice-*.frame")}


def test_linear_algebra_takes_one_thread(python, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    code = """
import sys
from contextlib import suppress
from auditor.cli import main
sys.argv = ["auditor", "--version"]
with suppress(SystemExit):
    main()
import numpy
from threadpoolctl import threadpool_info
print({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
"""
    assert python(code).splitlines()[-1] == "{1}"


def test_one_failed_gate_decides(audit):
    assert audit(*SMALL, "--fail-under", "Linf:0.02=0.5", "--fail-under", "Linf:0.2=0.5").code == 2


def test_a_model_is_no_worse_than_itself(audit, tmp_path):
    audit(*SMALL)
    answer = audit(*SMALL, "--baseline", tmp_path / "out" / "report.json", "--margin", "0.5")
    assert answer.code in (0, 3)
    assert "gate" in answer.out


POLICY = """
robust: Linf:0.02=0.5
clean: 0.5
on-inconclusive: fail
waivers:
  - {rule: "Linf:0.2=0.5", approver: J. Doe, until: 2999-12-31, reason: retrained soon}
"""


def test_a_policy_decides_with_its_waivers_and_costs_no_new_attack(audit, tmp_path):
    policy = tmp_path / "policy.yaml"
    waived = ("--fail-under", "Linf:0.2=0.5", "--policy", policy)
    policy.write_text(POLICY)
    answer = audit(*SMALL, *waived)
    assert answer.code == 0, answer
    assert "gate Linf:0.2=0.5: failed" in answer.out
    assert "waived by J. Doe until 2999-12-31" in answer.out
    gates = json.loads((tmp_path / "out" / "report.json").read_text())["gates"]
    assert [gate["rule"] for gate in gates] == ["Linf:0.2=0.5", "Linf:0.02=0.5", "clean=0.5"]
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("slice-*.frame")}
    policy.write_text(POLICY.replace("2999", "2020"))
    expired = audit(*SMALL, *waived)
    assert expired.code == 64
    assert "waiver of 'Linf:0.2=0.5' by J. Doe ended on 2020-12-31" in expired.err
    policy.write_text(POLICY.split("waivers", maxsplit=1)[0] + "certified: Linf:0.02=0.9")
    assert audit(*SMALL, "--policy", policy).code == 3
    answer = audit(*SMALL, "--policy", policy, "--on-inconclusive", "warn")
    assert answer.code == 0
    assert "verdict: inconclusive, put up with" in answer.out
    assert audit(*SMALL, "--policy", policy, "--on-inconclusive", "warn", "--fail-under", "Linf:0.2=0.5").code == 2
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("slice-*.frame")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clean: 2", "clean: input should be less than or equal to 1"),
        ("sturdy: 1", "sturdy: extra inputs are not permitted"),
        ("robust: [L9:1=1]", "gate 'L9:1=1' is not understood"),
        ("regression: 0.1", "the policy's regression is not understood"),
        ("[1, 2]", "must be a list of NAME: VALUE lines"),
        ("waivers: [{rule: clean=0.5, until: 2999-01-01}]", "waivers.0.approver: field required"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(audit, tmp_path, text, said):
    (tmp_path / "policy.yaml").write_text(text)
    answer = audit(*SMALL, "--policy", tmp_path / "policy.yaml")
    assert (answer.code, said in answer.err) == (64, True), answer


def test_a_policys_regression_stands_in_for_the_baseline_that_was_not_named(tmp_path):
    (tmp_path / "policy.yaml").write_text("regression: {baseline: prod.json, margin: 0.1}")
    words = {"model": "m.onnx", "data": "d.npz", "policy": tmp_path / "policy.yaml"}
    named = options.request(words)
    assert (named.baseline, named.margin, named.policy) == (Path("prod.json"), 0.1, None)
    assert options.request(words | {"baseline": "own.json", "margin": 0.3}).baseline == Path("own.json")


def test_the_three_files_are_written_and_json_prints_the_report_alone(audit, tmp_path):
    answer = audit(*SMALL, "--json")
    report = json.loads(answer.out)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert "chosen" in answer.err
    with np.load(tmp_path / "out" / "adversarial.npz") as found:
        assert set(found.files) == {"index", "norm", "x", "x_adv", "distance", "label", "predicted", "attack"}
    assert (tmp_path / "out" / "outcomes.parquet").exists()


def test_the_report_fits_the_exported_schema(audit, command):
    schema = json.loads(command("export", "schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(audit(*SMALL, "--json").out), schema)


def test_every_point_in_the_file_is_adversarial_for_the_upload_within_its_distance(
    audit, tmp_path, demo_model, digits
):
    audit(*SMALL)
    session = onnxruntime.InferenceSession(demo_model.read_bytes(), providers=["CPUExecutionProvider"])
    x, y = digits
    with np.load(tmp_path / "out" / "adversarial.npz") as found:
        assert len(found["index"]) > 40
        for row, index in enumerate(found["index"]):
            (scores,) = session.run(None, {"image": found["x_adv"][row][None]})
            assert scores.argmax() == found["predicted"][row] != y[index]
            assert np.abs(found["x_adv"][row].astype(float) - x[index]).max() == found["distance"][row]


def test_what_was_chosen_is_said(command, demo_model, demo_data, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(terminal.local, "audit", lambda request, asked, watch: said.extend(asked.chosen))
    command("audit", demo_model, demo_data, "--out", tmp_path / "out")
    text = "\n".join(said)
    for words in (
        "threat preset 'mnist'",
        "Linf eps",
        "L2 eps",
        "500 of 500 examples",
        "seed 0",
        "preset 'standard'",
    ):
        assert words in text


def test_names_in_brackets_are_printed_as_they_are(command, tmp_path):
    body = "f (float[N,4] x) => (float[N,4] y) { y = Hardmax<axis=1>(x) }"
    model = onnx.load_from_string(text(body))
    model.graph.node[0].name = "[bold]layer[/bold]"
    onnx.save(model, tmp_path / "model.onnx")
    assert "[bold]layer[/bold]" in command("inspect", tmp_path / "model.onnx").out


# --- a specification file


SPEC = """
preset: quick
examples: 60
threads: 1
norm: Linf
eps: 0.02,0.2
fail-under: Linf:0.2=0.5
seed: 3
"""


def test_a_specification_file_says_what_options_say(audit, tmp_path):
    (tmp_path / "audit.yaml").write_text(SPEC)
    by_file = json.loads(audit("--spec", tmp_path / "audit.yaml", "--json").out)
    by_words = json.loads(audit(*SMALL, "--seed", 3, "--fail-under", "Linf:0.2=0.5", "--json").out)
    assert by_file["results_sha256"] == by_words["results_sha256"]
    assert by_file["verdict"] == "failed"


def test_an_option_wins_over_the_file(tmp_path, demo_model, demo_data):
    (tmp_path / "audit.yaml").write_text(SPEC)
    given = dict.fromkeys(parameters("audit"))
    request = options.request(
        given | {"model": demo_model, "data": demo_data, "seed": 0, "margin": 0.0}, tmp_path / "audit.yaml"
    )
    assert request.settings["seed"] == 0
    assert request.margin == 0.0
    assert request.settings["examples"] == 60
    assert request.norms == ("Linf",)


def parameters(name):
    return [parameter.name for parameter in get_command(app).commands[name].params]


OPTIONS = {
    "threat": "mnist",
    "norm": ["L2"],
    "eps": ["0.5"],
    "preset": "quick",
    "attack": ["pgd"],
    "also": ["fog"],
    "domain": "0,2",
    "quantize": 8,
    "constraints": {"features": {"0": {"immutable": True}}},
    "draws": 0,
    "eot": ["noise:0.05"],
    "abstain": 2,
    "detector": "reject:0.9",
    "mean": "0.5",
    "std": "0.5",
    "layout": "NCHW",
    "input": "image",
    "fix": ["mask=1"],
    "threshold": 0.0,
    "unbatched": True,
    "multilabel": True,
    "label": 0,
    "output": "scores",
    "labels": "y.npy",
    "label_column": "class",
    "weights": "worth",
    "groups": "patient",
    "resize": "8",
    "crop": "8,8",
    "interpolation": "nearest",
    "channel_order": "BGR",
    "scale": "1/255",
    "examples": 0,
    "seed": 0,
    "target": 0,
    "no_examples": True,
    "budget": "5passes",
    "device": "cuda",
    "batch_size": 0,
    "threads": 0,
    "fail_under": ["Linf:0.1=0.5"],
    "policy": {"clean": 0.9},
    "on_inconclusive": "warn",
    "baseline": "report.json",
    "margin": 0.0,
    "allow_chance": True,
    "out": "elsewhere",
    "surrogate": ["other.onnx"],
}


def test_every_option_is_tried_here():
    assert set(OPTIONS) | {"model", "data", "spec", "json", "preprocessor", "show_examples"} == set(
        parameters("audit")
    )


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_is_dropped_in_silence_not_even_a_zero(name):
    paths = {"model": "m.onnx", "data": "d.npz"}
    assert options.request(paths | {name: OPTIONS[name]}) != options.request(paths | {name: None})


# --- inspect


def test_inspect_says_what_a_model_is(command, demo_model):
    answer = command("inspect", demo_model)
    assert answer.code == 0
    for words in ("image: tensor(float)", "dynamic", "10, as probabilities", "Conv 1", "covered", "ms per example"):
        assert words in answer.out


def test_inspect_as_json(command, demo_model):
    facts = json.loads(command("inspect", demo_model, "--json").out)
    assert facts["obstacles"] == []
    assert facts["cost"]["gradient_seconds"] > 0
    assert facts["parameters"] == 49_974


def test_inspect_names_the_node_in_the_way_and_why(command, tmp_path):
    body = "f (float[N,4] x) => (float[N,3] y) { z = MatMul(x, W) y = Hardmax<axis=1>(z) }"
    (tmp_path / "model.onnx").write_bytes(text(body, W=np.eye(4, 3, dtype=np.float32)))
    facts = json.loads(command("inspect", tmp_path / "model.onnx", "--json").out)
    assert [obstacle["operator"] for obstacle in facts["obstacles"]] == ["Hardmax"]
    assert facts["cost"]["gradient_seconds"] == 0


def test_inspect_tells_labels_from_scores(command, tmp_path):
    body = "f (float[N,4] x) => (int64[N] y) { z = MatMul(x, W) y = ArgMax<axis=1, keepdims=0>(z) }"
    (tmp_path / "model.onnx").write_bytes(text(body, W=np.eye(4, 3, dtype=np.float32)))
    answer = command("inspect", tmp_path / "model.onnx")
    assert answer.code == 0
    assert "labels only" in answer.out
    assert "covered" in answer.out


def test_inspect_asks_for_the_shape_that_a_model_leaves_open(command, tmp_path):
    body = """f (float[N,3,H,V] x) => (float[N,3] y) { p = GlobalAveragePool(x) f = Flatten(p) y = MatMul(f, W) }"""
    (tmp_path / "model.onnx").write_bytes(text(body, W=np.eye(3, dtype=np.float32)))
    assert "--shape" in command("inspect", tmp_path / "model.onnx").out
    assert "covered" in command("inspect", tmp_path / "model.onnx", "--shape", "3,8,8").out
    wrong = command("inspect", tmp_path / "model.onnx", "--shape", "3,8")
    assert "3 x ? x ?" in wrong.out + wrong.err
    assert command("inspect", tmp_path / "model.onnx", "--shape", "3,-8,x").code == 64


def test_inspect_works_where_the_system_does_not_tell_memory(command, demo_model, monkeypatch):
    monkeypatch.setattr(inspection, "STATM", Path("/nowhere"))
    monkeypatch.setitem(sys.modules, "resource", None)
    assert json.loads(command("inspect", demo_model, "--json").out)["cost"]["gradient_bytes"] == 0


# --- the program itself


def test_help_comes_before_anything_heavy_is_loaded(python):
    code = """
import sys
from pathlib import Path
from auditor import cli
sys.argv = ["auditor", "--help"]
try:
    cli.main()
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = {"numpy", "onnx", "onnxruntime", "pydantic", "scipy", "pyarrow", "rich.progress"} & set(sys.modules)
print("loaded:", sorted(heavy))
"""
    said = python(code)
    assert said.endswith("loaded: []")
    for name in ("audit", "inspect", "demo", "export"):
        assert name in said


def test_the_version_is_printed(command):
    assert command("--version").out.strip() == f"auditor {auditor.__version__}"


def test_nothing_asked_is_help_and_wrong_usage(command):
    answer = command()
    assert "audit" in answer.out + answer.err


def test_an_interrupt_before_anything_is_known_is_said_and_leaves_nothing(audit, monkeypatch, tmp_path):
    def interrupt(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "prepare_once", interrupt)
    answer = audit(*SMALL)
    assert answer.code == 130
    assert answer.err.splitlines()[-1].startswith("auditor: interrupted before")
    assert not (tmp_path / "out").exists()


def test_the_demo_is_an_audit_of_what_comes_with_the_package(tmp_path):
    request = options.demo(tmp_path)
    asked = settle(request)
    assert asked.subject.upload.classes == 10
    assert asked.subject.spec.gates
    assert not list(tmp_path.iterdir())


def test_a_closed_pipe_is_met_in_silence(start, demo_model):
    process = start("inspect", demo_model, "--json")
    process.stdout.close()
    assert process.wait() == 1
    assert process.stderr.read() == ""


def test_progress_is_shown_on_a_terminal_and_only_there(monkeypatch, capsys, demo_model, demo_data, tmp_path):
    words = {"model": demo_model, "data": demo_data, "out": tmp_path, "examples": 8, "attack": ["fgsm"]}
    for is_terminal in (False, True):
        console = Console(stderr=True, force_terminal=is_terminal, width=120)
        monkeypatch.setattr(terminal, "_errors", console)
        terminal.audit_in_terminal(options.request(words))
        out, err = capsys.readouterr()
        assert ("stages" in err) is is_terminal
        assert "L2 fgsm" not in out
