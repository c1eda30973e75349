"""The `model-index` of a Hugging Face model card: what goes between the --- lines of its README.md."""

from collections.abc import Iterator
from typing import Any

from auditor.report.legible import legible_text
from auditor.report.schema import Report

_TASKS = {2: "tabular-classification", 4: "image-classification"}  # by the axes of the input, batch included


def model_index(report: Report) -> bytes:
    """YAML, UTF-8."""
    import yaml

    task = _TASKS.get(len(report.model.input["shape"]), "other")
    dataset = legible_text(report.dataset.name)
    result = {
        "task": {"type": task, "name": "Adversarial robustness"},
        "dataset": {"type": dataset, "name": dataset, "revision": report.dataset.sha256},
        "metrics": list(_metrics(report)),
    }
    card = {"model-index": [{"name": legible_text(report.model.name), "results": [result]}]}
    return bytes(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120, encoding="utf-8"))


def _metrics(report: Report) -> Iterator[dict[str, Any]]:
    yield {"type": "accuracy", "value": report.clean.accuracy, "name": "Clean accuracy"}
    for curve in report.curves:
        for point in curve.points:
            yield {
                "type": "robust_accuracy",
                "value": point.robust_accuracy,
                "name": f"Robust accuracy, {curve.norm} eps {point.eps} (upper bound)",
                "args": {"norm": curve.norm, "eps": point.eps, "interval": list(point.interval)},
            }
