"""What a report says of the audit, its model, its data, its surrogates and its stages."""

import datetime
import hashlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from auditor import __version__, runtime
from auditor.attacks.progress import Progress
from auditor.attacks.transfer.train import Trained
from auditor.attacks.votes import DRAWS, NEEDED
from auditor.audits.crossings import crossed
from auditor.audits.design import Design
from auditor.audits.goal import left_out
from auditor.audits.prepare import Prepared
from auditor.audits.run import WorkItem
from auditor.audits.subject import Subject
from auditor.audits.summary import finite
from auditor.graph.upload import Upload
from auditor.spec import AuditSpec
from auditor.threats.corruptions import image_libraries


def audit(subject: Subject, prepared: Prepared, *, id: str, started_at: str) -> dict[str, Any]:
    """Who, when and by what; finished_at is now."""
    spec = subject.spec
    fingerprint = runtime.fingerprint(spec.device)
    return {
        "id": id,
        "seed": spec.seed,
        "preset": spec.preset,
        "spec_sha256": spec.sha256,
        "spec": spec.model_dump(mode="json"),
        "plan": prepared.plan.as_json(),
        "fingerprint": fingerprint,
        "started_at": started_at,
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": spec.device,
        "versions": {
            "auditor": __version__,
            "python": platform.python_version(),
            **_versions(fingerprint),
            **(image_libraries() if subject.others else {}),
        },
    }


def _versions(fingerprint: Mapping[str, str]) -> dict[str, str]:
    return {name: fingerprint[name] for name in ("onnxruntime", "numpy")}


def model(subject: Subject, prepared: Prepared) -> dict[str, Any]:
    upload = subject.upload
    return {
        "name": subject.name,
        "sha256": upload.sha256,
        "opset": upload.opset,
        "operators": upload.operators,
        "parameters": upload.parameters,
        "classes": upload.classes,
        "input": {
            "name": upload.input,
            "type": upload.input_type,
            "shape": list(upload.input_shape),
            "layout": upload.layout,
            "scores": upload.scores,
            **_beside(upload),
        },
        "output": {
            "name": upload.output,
            "single": upload.binary or upload.threshold is not None,
            "names": list(upload.names),
        },
        "gradient": prepared.gradient.as_json(),
        "randomness": _randomness(prepared, subject.spec) if subject.drawn else None,
        "refusal": _refusal(upload, prepared, subject.design(prepared.index)) if upload.refused else None,
        "labels": _labels(upload) if upload.multilabel else None,
    }


def _beside(upload: Upload) -> dict[str, Any]:
    """The columns of a table whose inputs they are, what inputs beside the attacked one are given, the input of tokens
    whose embedding is attacked, and which label is audited alone, of how many, where there are any."""
    tokens = None if upload.embedding is None else upload.embedding.tokens.name
    held = {value.input: value.value for _, value in upload.given.held if value.input != tokens}
    carried = {one.tensor.name: one.column for one in upload.given.carried}
    alone = None if upload.label is None else {"number": upload.label, "of": upload.width}
    facts = {"columns": list(upload.given.names), "held": held, "carried": carried, "tokens": tokens, "label": alone}
    return {name: told for name, told in facts.items() if told}


def _randomness(prepared: Prepared, spec: AuditSpec) -> dict[str, Any]:
    """How a model was attacked and judged where chance plays a part."""
    return {
        "transformations": [str(transformation) for transformation in spec.eot],
        "averaged": prepared.plan.stages[0].draws,
        "draws": DRAWS,
        "needed": NEEDED,
        "unanimous": int(np.sum(prepared.confidence == 1)),
        "expected_accuracy": prepared.expected_accuracy,
    }


def _labels(upload: Upload) -> dict[str, Any]:
    """What a model decides about that gives several labels at once."""
    return {"count": upload.classes, "names": list(upload.class_names), "threshold": upload.threshold}


def _refusal(upload: Upload, prepared: Prepared, design: Design) -> dict[str, Any]:
    """How a model refuses, and how often it does so when clean."""
    refused = np.isin(prepared.predicted, upload.refused)
    return {
        "abstain": upload.abstain,
        "detector": None if upload.detector is None else upload.detector.model_dump(mode="json"),
        "answers": list(upload.refused),
        "refused": int(np.sum(refused)),
        "accuracy_of_accepted": None if refused.all() else design.rows(~refused).share(prepared.right[~refused]),
    }


def dataset(subject: Subject, prepared: Prepared) -> dict[str, Any]:
    data, spec = subject.dataset, subject.spec
    fixed = spec.target if isinstance(spec.target, int) else None
    return {
        "name": data.name,
        "sha256": data.sha256,
        "examples": data.size,
        "domain": data.domain,
        "sampling": {
            "method": "simple random sample without replacement" if _is_sample(subject, prepared) else "all",
            "seed": spec.seed,
            "labels": "dataset" if prepared.labelled else "the model's own answers (stability)",
            "left_out": None if fixed is None else f"examples of class {fixed}, the target",
            "preprocessing": data.preprocessing,
        },
        "index": prepared.index.tolist(),
        "label": prepared.label.tolist(),
        "predicted": prepared.predicted.tolist(),
        "confidence": [finite(share) for share in prepared.confidence.tolist()],
        "target": None if prepared.target is None else prepared.target.tolist(),
        "digest": list(prepared.digests),
        "weight": None if data.weight is None else data.weight[prepared.index].tolist(),
        "group": None if data.group is None else data.group[prepared.index].tolist(),
    }


def _is_sample(subject: Subject, prepared: Prepared) -> bool:
    out = left_out(subject.dataset, subject.spec.target)
    could_be = subject.dataset.size if out is None else int(np.sum(~out))
    return len(prepared.index) < could_be


def surrogates(subject: Subject, trained: Trained | None) -> list[dict[str, Any]]:
    if trained is not None:
        digest = hashlib.sha256(trained.model).hexdigest()
        facts = {"queries": trained.queries, "agreement": trained.agreement}
        return [{"name": "trained for this audit", "sha256": digest, **facts}]
    return [
        {"name": name, **named.model_dump(mode="json")}
        for name, named in zip(subject.surrogate_names, subject.spec.surrogates, strict=True)
    ]


def stages(
    prepared: Prepared,
    items: Sequence[WorkItem],
    finished: Mapping[str, Progress],
    seconds: Mapping[str, list[float]],
    spec: AuditSpec,
) -> list[dict[str, Any]]:
    rows = []
    for position, stage in enumerate(prepared.plan.stages):
        done = [name for name in (i.name for i in items) if position < len(getattr(finished.get(name), "rows", ()))]
        on_slices = [finished[name].rows[position] for name in done]
        rows.append(
            {
                "attack": stage.name,
                "norm": stage.norm,
                "access": prepared.gradient.seen_by(stage),
                **{
                    count: sum(getattr(row, count) for row in on_slices)
                    for count in ("tried", "broken", "claims", "refuted", "forwards", "backwards")
                },
                "seconds": sum(seconds[name][position] for name in done),
                **crossed(stage, on_slices, spec),
            }
        )
    return rows
