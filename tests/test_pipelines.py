"""Pipelines: the Action's script, the Action's file, and the pytest plugin, on models that pass, fail and leave it open."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema
import yaml

from auditor.errors import AuditorWarning, SpecError
from auditor.testing import assert_robust
from tests.conftest import DEMO, ROOT
from tests.report.test_formats import SCHEMAS

SMALL = ("--examples", "20", "--threads", "1", "--norm", "Linf", "--eps", "0.02,0.2", "--attack", "pgd")
WORDS = {"examples": 20, "threads": 1, "attack": ["pgd"]}


@pytest.fixture
def runner(tmp_path):
    """The environment of a step of GitHub's, in which `auditor` is this one."""
    shim = tmp_path / "bin" / "auditor"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m auditor "$@"\n')
    shim.chmod(0o755)
    said = {"GITHUB_OUTPUT": str(tmp_path / "outputs"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    return os.environ | said | {"PATH": f"{shim.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "CI": "true"}


def outputs_of(runner):
    with open(runner["GITHUB_OUTPUT"]) as file:
        return dict(line.rstrip("\n").split("=", 1) for line in file)


@pytest.fixture
def script(runner, tmp_path):
    """Runs ci/audit.sh; gives the exit code, the outputs and the folder."""

    def run(*options, model=DEMO / "digits.onnx"):
        words = [ROOT / "ci" / "audit.sh", model, DEMO / "digits.npz", tmp_path / "out", *options]
        done = subprocess.run(words, env=runner, capture_output=True, text=True, check=False)
        return done.returncode, outputs_of(runner), tmp_path / "out"

    return run


def test_the_script_writes_everything_and_then_exits_by_the_verdict(script, tmp_path):
    for gate, code, verdict in (
        ("Linf:0.02=0.5", 0, "passed"),
        ("Linf:0.2=0.5", 2, "failed"),
        ("Linf:0.02=0.95", 3, "inconclusive"),
    ):
        ended, outputs, out = script(*SMALL, "--fail-under", gate)
        assert ended == code
        assert outputs == {"verdict": verdict, "exit-code": str(code), "report": str(out)}
        xmlschema.validate(out / "report.junit.xml", str(SCHEMAS / "junit-10.xsd"))
        suite = ET.parse(out / "report.junit.xml").find("testsuite")
        assert (suite.get("failures"), suite.get("errors")) == (str(int(code == 2)), str(int(code == 3)))
        log = json.loads((out / "report.sarif").read_text())
        jsonschema.Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())).validate(log)
        assert len(log["runs"][0]["results"]) == int(code == 2)
        assert (tmp_path / "summary.md").read_text().endswith((out / "report.md").read_text())
        assert "<img" not in (out / "report.html").read_text()
    ended, outputs, out = script(model=tmp_path / "missing.onnx")
    assert (ended, outputs["verdict"], outputs["exit-code"]) == (64, "none", "64")
    assert not list(out.glob("report.*"))  # nothing of an earlier run stands in for it


def test_the_action_uploads_before_it_decides_and_runs_no_input_as_a_command():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = action["runs"]["steps"]
    names = [step.get("name") for step in steps]
    assert names.index("Audit") < names.index("Upload the report") < names.index("Decide") == len(names) - 1
    assert all("${{" not in step.get("run", "") for step in steps)
    assert {value["value"] for value in action["outputs"].values()} == {
        f"${{{{ steps.audit.outputs.{name} }}}}" for name in ("verdict", "exit-code", "report")
    }
    assert yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text())[".audit"]["artifacts"]["when"] == "always"


@pytest.mark.parametrize(("gate", "code"), [("Linf:0.2=0.5", 2), ("Linf:0.2=0.5;exit", 64)])
def test_the_actions_steps_end_as_the_audit_did(runner, tmp_path, gate, code):
    """The steps that run something, as GitHub's shell runs them, the second after whatever comes between."""
    steps = {
        step.get("name"): step["run"]
        for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
        if "run" in step
    }

    def run(name, **variables):
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[name]]
        return subprocess.run(
            words, env=runner | variables, cwd=tmp_path, capture_output=True, check=False
        ).returncode

    inputs = {"MODEL": str(DEMO / "digits.onnx"), "DATA": str(DEMO / "digits.npz"), "OUT": "a folder"}
    options = " ".join([*SMALL, "--fail-under", gate])
    assert run("Audit", ACTION=str(ROOT), OPTIONS=options, **inputs) == 0
    outputs = outputs_of(runner)
    assert outputs == {"verdict": "failed" if code == 2 else "none", "exit-code": str(code), "report": "a folder"}
    assert (tmp_path / "a folder" / "report.sarif").exists() is (code == 2)
    assert run("Decide", CODE=outputs["exit-code"]) == code
    assert run("Decide", CODE="") == 1


def test_a_model_is_asserted_to_be_robust(demo_model, demo_data, tmp_path):
    about = {"norm": "Linf", "out": tmp_path, **WORDS}
    assert assert_robust(demo_model, demo_data, eps="0.02", min_accuracy=0.5, **about).verdict == "passed"
    with pytest.raises(AssertionError, match=r"inconclusive: Linf:0.02=0.95: the interval holds 95.0%"):
        assert_robust(demo_model, demo_data, eps="0.02", min_accuracy=0.95, **about)
    with pytest.warns(AuditorWarning, match="inconclusive"):
        assert_robust(demo_model, demo_data, eps="0.02", min_accuracy=0.95, on_inconclusive="warn", **about)
    with pytest.raises(SpecError, match="allows no perturbation"):
        assert_robust(demo_model, demo_data, eps="0", min_accuracy=0.5, **about)


SUITE = """
def test_robust(assert_robust):
    report = assert_robust({model!r}, {data!r}, norm="Linf", eps=0.2, min_accuracy=0.5, **{words!r})
"""


def test_the_plugin_lends_the_fixture(tmp_path, demo_model, demo_data):
    (tmp_path / "test_model.py").write_text(SUITE.format(model=str(demo_model), data=str(demo_data), words=WORDS))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "auditor.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "-q",
        tmp_path,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "AssertionError: failed: Linf:0.2=0.5: too weak" in done.stdout
