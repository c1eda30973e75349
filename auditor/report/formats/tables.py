"""The outcomes of a report as a table, with the columns of outcomes.parquet as far as report.json holds them.

margin, forwards and backwards are null: only outcomes.parquet itself has them.
"""

import dataclasses
import io
import math
from typing import Any

import numpy as np

from auditor.audits.outcomes import Outcomes
from auditor.audits.summary import Curve, outcomes_of
from auditor.report.files import outcomes_table
from auditor.report.schema import Report


def as_csv(report: Report) -> bytes:
    """One row per example and norm, with a head; an empty field where there is no value."""
    import pyarrow.csv

    text = io.BytesIO()
    pyarrow.csv.write_csv(_table(report), text)
    return text.getvalue()


def as_parquet(report: Report) -> bytes:
    """The same as Parquet."""
    import pyarrow.parquet

    data = io.BytesIO()
    pyarrow.parquet.write_table(_table(report), data, compression="zstd")
    return data.getvalue()


def _table(report: Report) -> Any:
    dataset = report.dataset
    target = None if dataset.target is None else np.array(dataset.target, np.int64)
    label, predicted = np.array(dataset.label, np.int64), np.array(dataset.predicted, np.int64)
    outcomes = [_outcomes(curve) for curve in report.curves]
    return outcomes_table(label, predicted, outcomes, target=target, weight=dataset.weight, group=dataset.group)


def _outcomes(curve: Curve) -> Outcomes:
    rows, found = curve.examples, outcomes_of(curve)
    adversarial = None if rows.adversarial is None else np.array([-1 if c is None else c for c in rows.adversarial])
    confidence = (
        None if rows.confidence is None else np.array([-math.inf if c is None else c for c in rows.confidence])
    )
    return dataclasses.replace(found, adversarial=adversarial, confidence=confidence)
