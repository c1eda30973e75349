"""The page of a large finished audit, and those that lead on from it: milliseconds of a request, from the database.

    python benchmarks/page.py [--examples 10000] [--norms 3] [--epsilons 12] [--attacks 12] [--rounds 20]

The audits are made up as by benchmarks/report.py, and stored as a worker stores them, on SQLite in a temporary folder. Requests
go through the application without a socket. `first` is the first view of an audit in a process that has shown another
one, so that nothing of it is in memory; `again` the views after it. A browser fetches each figure by itself, with scripts as a
chart, without as a drawing. Beside each, how long the process worked: on a shared machine the fair figure.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from report import made_up
from serving.table import show, spread, timed

from auditor.operations import blobs, keys, projects
from auditor.operations.service import Service, open_service
from auditor.report.schema import Report
from auditor.server import site
from auditor.settings import Settings
from auditor.store import migrate
from auditor.store.database import now
from auditor.store.tables import Artifact, Audit, Dataset, Model, Outcome, Point, Stage, Version

_FILES = {"report": "application/json", "html": "text/html"}


def store(service: Service, project_id: str, report: Report, places: tuple[str, str]) -> str:
    """A finished audit that found what the report says, as the page finds it. places: of its version and dataset."""
    with service.database.transaction() as session:
        audit = Audit(
            project_id=project_id,
            version_id=places[0],
            dataset_id=places[1],
            words={"preset": "standard"},
            state="done",
            spec=report.audit.spec,
            chosen=["preset 'standard'"],
            facts={"plan": report.audit.plan, "clean": report.clean.model_dump(mode="json")},
            verdict=report.verdict,
            seconds=3600.0,
            created_at=now(),
            finished_at=now(),
        )
        session.add(audit)
        session.flush()
        session.add_all(_points(audit.id, report))
        session.add_all(_outcomes(audit.id, report))
        session.add_all(_stages(audit.id, report))
        audit_id = audit.id
    data = report.model_dump_json(indent=2).encode()
    for kind, media_type in _FILES.items():
        sha256, size = blobs.keep(service, [data if kind == "report" else kind.encode()])
        file = {"filename": f"{kind}.file", "media_type": media_type, "sha256": sha256, "size": size}
        with service.database.transaction() as session:
            session.add(Artifact(audit_id=audit_id, kind=kind, created_at=now(), **file))
    return audit_id


def _points(audit_id: str, report: Report) -> list[Point]:
    same = ("eps", "value", "robust_accuracy", "certified_accuracy", "broken_by", "unfinished")
    return [
        Point(
            audit_id=audit_id,
            norm=curve.norm,
            position=position,
            lower=point.interval[0],
            upper=point.interval[1],
            true_lower=point.true_interval[0],
            true_upper=point.true_interval[1],
            **{name: getattr(point, name) for name in same},
        )
        for curve in report.curves
        for position, point in enumerate(curve.points)
    ]


def _outcomes(audit_id: str, report: Report) -> list[Outcome]:
    return [
        Outcome(
            audit_id=audit_id,
            norm=curve.norm,
            position=position,
            example=report.dataset.index[position],
            label=report.dataset.label[position],
            predicted=report.dataset.predicted[position],
            status=str(status),
            distance=curve.examples.distance[position],
            attack=curve.examples.attack[position],
            margin=None,
            certified_radius=None,
            complete=True,
            forwards=1000,
            backwards=1000,
        )
        for curve in report.curves
        for position, status in enumerate(curve.examples.status)
    ]


def _stages(audit_id: str, report: Report) -> list[Stage]:
    """One row per slice and stage, as workers write them."""
    slices = len(report.audit.plan["slices"])
    kept = set(Stage.__table__.columns.keys())
    return [
        Stage(audit_id=audit_id, item=f"slice-{number:05}", position=position, **stage.model_dump(include=kept))
        for number in range(slices)
        for position, stage in enumerate(report.stages)
    ]


def visitor(service: Service, key: str) -> TestClient:
    """A browser without scripts that has signed in."""
    browser = TestClient(site(service), base_url="http://localhost")
    token = re.search(r'name="csrf" value="(\w+)"', browser.get("/sign-in").text)
    assert token is not None
    browser.post("/sign-in", data={"csrf": token[1], "key": key, "next": "/"})
    return browser


def see(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 200, f"{path}: {answer.status_code}"


def spent(browser: TestClient, path: str) -> tuple[float, float]:
    """Milliseconds of one view, and how many of them the process worked."""
    began = time.process_time()
    seconds = timed(lambda: see(browser, path))
    return 1e3 * seconds, 1e3 * (time.process_time() - began)


def filled(service: Service, report: Report) -> tuple[str, list[str]]:
    """An API key of a project, and the ids of its audits: a small one and three of the report's size."""
    with service.database.transaction() as session:
        project = projects.ensure(session, "default")
        _, key = keys.create_key(session, project.id, "page", "admin")
        project_id = project.id
    sha256, size = blobs.keep(service, [b"file"])
    file: dict[str, Any] = {"sha256": sha256, "size": size, "state": "ready", "created_at": now()}
    with service.database.transaction() as session:
        model = Model(name="classifier", numbers=1, project_id=project_id, created_at=now())
        session.add(model)
        session.flush()
        version = Version(model_id=model.id, number=1, filename="classifier.onnx", **file)
        dataset = Dataset(project_id=project_id, name="data", filename="data.npz", **file)
        session.add_all([version, dataset])
        session.flush()
        places = (version.id, dataset.id)
    others = [
        report.model_copy(update={"audit": report.audit.model_copy(update={"id": f"made-up-{n}"})}) for n in range(3)
    ]
    reports = [made_up(100, 1, 4, 2, 10), *others]
    return key, [store(service, project_id, one, places) for one in reports]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("examples", 10_000), ("norms", 3), ("epsilons", 12), ("attacks", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("examples", "norms", "epsilons", "attacks")}
    with tempfile.TemporaryDirectory() as temporary:
        settings = Settings.read(data=Path(temporary))
        service = open_service(settings)
        migrate.upgrade(service.database)
        key, (small, first, second, third) = filled(service, made_up(**sizes, classes=10))
        browser = visitor(service, key)
        kinds = [f"/audits/{small}/figures/{file}" for file in ("curve-Linf.json", "curve-Linf.svg")]
        for path in (f"/audits/{small}", f"/compare?audit={small}&audit={small}", *kinds):
            see(browser, path)
        paths = {
            "audit": f"/audits/{first}",
            "its curve, as a chart": f"/audits/{first}/figures/curve-Linf.json",
            "its heat map, as a drawing": f"/audits/{first}/figures/attacks-Linf.svg",
            "two compared": f"/compare?audit={first}&audit={second}",
            "three compared": f"/compare?audit={first}&audit={second}&audit={third}",
        }
        rows = []
        for what, path in paths.items():
            cold, worked = spent(browser, path)
            warm = [spent(browser, path) for _ in range(options.rounds)]
            rows.append(
                {
                    "page": what,
                    "first": f"{cold:.0f}",
                    "its processor": f"{worked:.0f}",
                    "again": spread([wall for wall, _ in warm], digits=0),
                    "their processor": spread([cpu for _, cpu in warm], digits=0),
                    "kB": f"{len(browser.get(path).content) / 1000:.0f}",
                }
            )
        show("Milliseconds, " + ", ".join(f"{value:,} {name}" for name, value in sizes.items()), rows)


if __name__ == "__main__":
    main()
