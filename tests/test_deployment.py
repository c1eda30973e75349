"""What is deployed fits the program: settings, commands, files and images named there exist and are pinned."""

import re
import shutil
import subprocess
from dataclasses import fields
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
import yaml

from auditor.cli import app
from auditor.operations.metrics import Metrics
from auditor.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE, COMPOSE, EXAMPLE, RUNBOOK = (
    (ROOT / name).read_text() for name in ("Dockerfile", "docker-compose.yml", ".env.example", "docs/operating.md")
)
SETTINGS = {f"AUDITOR_{field.name.upper()}" for field in fields(Settings)}
SERVICES = yaml.safe_load(COMPOSE)["services"]
OWN = [name for name, service in SERVICES.items() if service["image"].startswith("auditor")]


def example():
    """The variables of .env.example."""
    lines = [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def run(arguments):
    """How `auditor ARGUMENTS` would be understood: raises where a command or an option does not exist."""
    command, rest = typer.main.get_command(app), list(arguments)
    while hasattr(command, "commands"):
        assert rest, f"auditor {arguments} lacks a command"
        assert rest[0] in command.commands, f"auditor has no {' '.join(arguments)}"
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in rest:
        assert not word.startswith("--") or word in known, f"auditor {command.name} has no {word}"


@pytest.mark.parametrize(
    "text", [DOCKERFILE, COMPOSE, EXAMPLE, RUNBOOK], ids=["image", "compose", "example", "runbook"]
)
def test_every_setting_that_is_named_exists(text):
    assert set(re.findall(r"\bAUDITOR_[A-Z_]+\b", text)) <= SETTINGS


def test_the_example_shows_every_setting_and_its_default():
    given = example()
    assert {name for name in given if name.startswith("AUDITOR_")} == SETTINGS
    shown = Settings.read(given)
    assert shown == Settings(url=shown.url)


def test_every_variable_of_compose_is_in_the_example():
    assert set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE)) <= set(example())


@pytest.mark.parametrize("name", OWN)
def test_what_our_containers_run_exists(name):
    service = SERVICES[name]
    entry = service.get("entrypoint", ["auditor"])
    if entry[0] == "auditor":
        run(service["command"])
    elif entry[0] == "python":
        assert find_spec(entry[2]) is not None
    else:
        for words in re.findall(r"auditor ([a-z -]+)", service["command"][0]):
            run(words.split())
    test = service.get("healthcheck", {}).get("test", [])
    if test[:2] == ["CMD", "auditor"]:
        run(test[2:])


@pytest.mark.parametrize("name", SERVICES)
def test_containers_can_do_no_more_than_they_must(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name not in OWN:
        assert service.get("user", "root") != "root" or service["cap_add"]
        assert service["networks"] == ["inside"]
        assert "ports" not in service


def test_databases_are_not_reachable_from_outside():
    assert yaml.safe_load(COMPOSE)["networks"]["inside"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_container_needs_is_declared(name):
    document, service = yaml.safe_load(COMPOSE), SERVICES[name]
    for other, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert SERVICES[other]["healthcheck"]["test"]
        else:
            assert SERVICES[other]["restart"] == "no"
    assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= document["volumes"].keys()
    assert set(service["networks"]) <= document["networks"].keys()


def test_images_are_pinned():
    images = {service["image"] for service in SERVICES.values()}
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    (version,) = re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"3\.\d+\.\d+", version)
    assert all("${PYTHON}" in line for line in re.findall("^FROM .*", DOCKERFILE, re.MULTILINE))


def test_redis_keeps_what_it_is_given():
    command = " ".join(SERVICES["redis"]["command"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command
    assert "--requirepass" in command


def test_gpu_workers_are_one_per_gpu_and_on_request():
    gpu = SERVICES["worker-gpu-0"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["environment"]["AUDITOR_DEVICE"] == "cuda"
    assert gpu["environment"].keys() > SERVICES["worker-cpu"]["environment"].keys()
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["0"]


def test_the_image_is_built_of_files_that_are_there_and_runs_without_root():
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert any(fnmatch(source, pattern[1:]) for pattern in ignored if pattern.startswith("!"))
    assert re.findall("^USER (.+)", DOCKERFILE, re.MULTILINE) == ["auditor"]
    assert "HEALTHCHECK" in DOCKERFILE


def test_the_runbook_names_commands_that_exist():
    commands = re.findall(r"`auditor ([^`]+)`|^auditor (.+)$", RUNBOOK, re.MULTILINE)
    assert len(commands) > 5
    for words in commands:
        run((words[0] or words[1]).split())


def test_the_runbook_names_figures_that_exist(service):
    metrics = Metrics(service)
    metrics.answered("GET", "/healthz", 200, 0.1)
    known = set(re.findall(r"^# TYPE (\w+)", metrics.text().decode(), re.MULTILINE))
    known |= {f"{name}_bucket" for name in known}
    named = set(re.findall(r"\b(auditor_[a-z_]+)\b", RUNBOOK))
    assert len(named) > 10
    assert named <= known


def test_compose_understands_its_file(tmp_path):
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    (tmp_path / ".env").write_text("".join(f"{name}={value or 'x'}\n" for name, value in example().items()))
    asked = [docker, "compose", "--env-file", tmp_path / ".env", "--profile", "gpu", "config", "--quiet"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
