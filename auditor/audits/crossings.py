"""How far a transfer attack came from the surrogate to the model, summed over slices, ready for JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from auditor.attacks.progress import StageRow
from auditor.attacks.stage import Stage
from auditor.spec import AuditSpec

_COLUMNS = ("tried", "fooled", "broken", "both")


def crossed(stage: Stage, rows: Sequence[StageRow], spec: AuditSpec) -> dict[str, Any]:
    """queries, and crossings per eps at which some example was tried; nothing for an attack of another kind."""
    if stage.access != "transfer":
        return {}
    grid = next(threat.eps for threat in spec.threats if threat.norm == stage.norm)
    counts = np.zeros((len(grid), len(_COLUMNS)), dtype=np.int64)
    for row in rows:
        counts += np.reshape(row.crossings or np.zeros_like(counts), counts.shape)
    told = [{"eps": eps, **dict(zip(_COLUMNS, c, strict=True))} for eps, c in zip(grid, counts.tolist(), strict=True)]
    return {"queries": sum(row.queries for row in rows), "crossings": [c for c in told if c["tried"]]}
