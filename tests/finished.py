"""Finished audits put into a service by hand, with the files of real ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from auditor import local, options
from auditor.operations.work.finishing import KINDS
from auditor.report.focus import summary
from auditor.report.schema import Report
from auditor.request import settle
from auditor.store.database import now
from auditor.store.queries import blobs
from auditor.store.tables import Artifact, Audit, Event, Outcome, Point, Stage
from tests.conftest import DEMO

WORDS = {
    "examples": 24,
    "batch_size": 4,
    "threads": 1,
    "norm": ["Linf", "L2"],
    "eps": ["0.02,0.05,8/255,0.1", "0.25,0.5"],
    "attack": ["fgsm", "pgd", "ddn"],
}


@dataclass(frozen=True)
class Ran:
    """An audit that was run in a folder."""

    folder: Path
    report: Report

    def rows(self, norm):
        """Columns of outcomes.parquet by name, of one norm."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.folder / "outcomes.parquet").to_pylist()
        return [row for row in table if row["norm"] == norm]

    @property
    def adversarial(self):
        with np.load(self.folder / "adversarial.npz") as stored:
            return dict(stored)


def run(folder, model=DEMO / "digits.onnx", data=DEMO / "digits.npz", **words) -> Ran:
    paths = {"model": model, "data": data, "out": folder}
    request = options.request({**WORDS, **words, **paths})
    finished = local.audit(request, settle(request), lambda step: None)
    return Ran(folder, finished.report)


def changed_model(path):
    """The demo's model with other weights in its last layer, so that it is right on fewer examples."""
    model = onnx.load(DEMO / "digits.onnx")
    weights = [w for w in model.graph.initializer if len(w.dims) == 2][-1]
    values = onnx.numpy_helper.to_array(weights)
    noisy = values + np.random.default_rng(3).normal(0, 2 * values.std(), values.shape).astype(values.dtype)
    weights.CopyFrom(onnx.numpy_helper.from_array(noisy.astype(values.dtype), weights.name))
    onnx.save(model, path)
    return path


def put(service, project, inputs, ran: Ran, **columns) -> str:
    """The id of an audit that is done and found what the other one found. columns: of its row, instead."""
    report, (version_id, dataset_id) = ran.report, inputs
    row = {
        "words": WORDS,
        "state": "done",
        "spec": report.audit.spec,
        "subject_sha256": "0" * 64,
        "chosen": ["preset 'standard'"],
        "estimate": {"passes_at_most": 1000},
        "facts": {
            "plan": report.audit.plan,
            "clean": report.clean.model_dump(mode="json"),
            "summary": summary(report),
        },
        "verdict": report.verdict,
        "results_sha256": report.results_sha256,
        "events": 1,
        "seconds": 1.5,
        "created_at": now(),
        "started_at": now(),
        "finished_at": now(),
    }
    about = {"project_id": project.id, "version_id": version_id, "dataset_id": dataset_id}
    with service.database.transaction() as session:
        audit = Audit(**about, **row | columns)
        session.add(audit)
        session.flush()
        for path in sorted(ran.folder.iterdir()):
            if path.name in KINDS:
                kind, media_type = KINDS[path.name]
                sha256, size = service.artifacts.put([path.read_bytes()])
                blobs.refer(session, sha256, size)
                file = {"filename": path.name, "media_type": media_type, "sha256": sha256, "size": size}
                session.add(Artifact(audit_id=audit.id, kind=kind, created_at=now(), **file))
        session.add_all(_results(audit.id, ran))
        session.add(Event(audit_id=audit.id, number=1, type="audit.done", data={"verdict": "none"}, at=now()))
        return audit.id


def _results(audit_id, ran: Ran):
    for curve in ran.report.curves:
        for position, point in enumerate(curve.points):
            columns = {"lower": point.interval[0], "upper": point.interval[1]}
            columns |= {"true_lower": point.true_interval[0], "true_upper": point.true_interval[1]}
            same = ("eps", "value", "robust_accuracy", "certified_accuracy", "broken_by", "unfinished")
            columns |= {name: getattr(point, name) for name in same}
            yield Point(audit_id=audit_id, norm=curve.norm, position=position, **columns)
        for position, row in enumerate(ran.rows(curve.norm)):
            row["example"] = row.pop("index")
            kept = {name: value for name, value in row.items() if name in Outcome.__table__.columns}
            yield Outcome(audit_id=audit_id, position=position, **kept)
    slices, stages = len(ran.report.audit.plan["slices"]), ran.report.stages
    for item in [f"slice-{number:05}" for number in range(slices)]:
        for position, stage in enumerate(stages):
            yield Stage(audit_id=audit_id, item=item, position=position, **stored(stage))
    for stage in stages:
        yield Stage(audit_id=audit_id, item=f"alone-{stage.norm}-{stage.attack}", position=0, **stored(stage))


def stored(stage):
    """What the database keeps of a report's stage."""
    return stage.model_dump(include=set(Stage.__table__.columns.keys()))
