"""How far the nearest adversarial examples are, and how sure the model is of its wrong answers."""

from functools import partial

import numpy as np

from auditor.audits.summary import Curve
from auditor.report.blocks import Block, Figure, Paragraph, Section
from auditor.report.figures import confidence_histogram, distance_histogram
from auditor.report.numbers import percent, size
from auditor.report.schema import Report

_BINS = 20
_NEAREST = (
    "These wrong answers are at the nearest points, just beyond the boundary: an attacker with budget left can make the model "
    "surer."
)


def section(report: Report) -> Section | None:
    """None where nothing was broken."""
    blocks: list[Block] = []
    for curve in report.curves:
        rows = zip(curve.examples.distance, curve.examples.status, strict=True)
        distances = [distance for distance, status in rows if status == "broken" and distance is not None]
        if distances:
            blocks += [_histogram(curve, distances), *_confidence(report, curve)]
    if any(isinstance(block, Figure) and block.name.startswith("confidence") for block in blocks):
        blocks.append(Paragraph(_NEAREST))
    return Section("distances", "Distances and confidence", tuple(blocks)) if blocks else None


def _histogram(curve: Curve, distances: list[float]) -> Figure:
    median = curve.median_distance
    low, high = median.interval
    said = f"median over all examples {size(median.value)} (95 %: {size(low)} to {size(high)})"
    caption = f"{curve.norm}: smallest distances of {len(distances)} broken examples; {said}"
    chart = partial(distance_histogram, distances, median.value, curve.norm)
    return Figure(f"distances-{curve.norm}", chart, f"Histogram of distances in {curve.norm}; {said}.", caption)


def _confidence(report: Report, curve: Curve) -> list[Figure]:
    wrong = np.array([share for share in curve.examples.confidence or () if share is not None])
    if not len(wrong) or report.dataset.confidence is None:
        return []
    dataset = report.dataset
    known = zip(report.dataset.confidence, dataset.label, dataset.predicted, strict=True)
    clean = np.array([share for share, label, answer in known if share is not None and label == answer])
    rows = [
        {"kind": kind, "from": float(low), "to": float(high), "share": n / len(values)}
        for kind, values in (("clean and right", clean), ("nearest adversarial example", wrong))
        for n, low, high in _binned(values)
    ]
    sure = float(np.mean(wrong > 0.9))
    said = (
        f"in {curve.norm} the model is more than 90 % sure of {percent(sure)} of these wrong answers; the median is "
        f"{percent(float(np.median(wrong)))}"
    )
    name, alt = f"confidence-{curve.norm}", f"Histograms of confidence: {said}."
    return [Figure(name, partial(confidence_histogram, rows), alt, f"Confidence: {said}")]


def _binned(values: np.ndarray) -> list[tuple[int, float, float]]:
    counts, edges = np.histogram(values, bins=_BINS, range=(0, 1))
    return list(zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True))
