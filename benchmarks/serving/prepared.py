"""An audit whose slices wait in the queue, with what a child would have said of it put in by hand."""

from collections.abc import Sequence

import numpy as np

from auditor.operations import create
from auditor.operations.work import attacking, checks, items, settling
from auditor.operations.work.tasks import task
from auditor.queue import Claim
from auditor.resources import NewAudit
from serving.installation import Installation

OWNER = "benchmark"


def put_prepared(
    installation: Installation, norms: Sequence[str], examples: int, per_slice: int
) -> tuple[str, Claim, dict, dict]:
    """The audit's id, the claim of its preparation, and what `attacking.prepared` is to be told."""
    service = installation.service
    installation.upload_demo()
    for _ in ("model", "data"):
        checks.checked(service, claimed(installation), {"classes": 10}, 0.0)
    audit_id = create.create(service, installation.project, NewAudit(model="digits", data="digits"))
    settling.settled(service, claimed(installation), _settled(norms), 0.0)
    claim = claimed(installation)
    task(service, claim)  # its clock starts
    starts = range(0, examples, per_slice)
    plan = {"batch": 1, "threads": 1, "stages": [{}], "slices": [[start, start + per_slice] for start in starts]}
    answer = {
        "items": [f"slice-{number:05}" for number in range(len(starts))],
        "facts": {"plan": plan, "clean": {"correct": examples}},
    }
    sample = {"index": np.arange(examples), "label": np.zeros(examples, int), "predicted": np.zeros(examples, int)}
    return audit_id, claim, answer, sample


def claimed(installation: Installation) -> Claim:
    kinds = ("check", "settle", "prepare", "attack")
    claim = items.claim(installation.service, OWNER, kinds=kinds, devices=("cpu",))
    assert claim is not None, "there is nothing in the queue"
    return claim


def prepare(installation: Installation, norms: Sequence[str], examples: int, per_slice: int) -> str:
    """The id of an audit that is prepared."""
    audit_id, *told = put_prepared(installation, norms, examples, per_slice)
    attacking.prepared(installation.service, *told, 0.0)
    return audit_id


def stage(examples: int) -> dict:
    """What a child says of a stage."""
    counts = dict.fromkeys(("tried", "broken", "claims", "refuted", "forwards", "backwards"), examples)
    return {"position": 0, "attack": "apgd-ce", "norm": "Linf", "access": "white-box", "seconds": 0.0, **counts}


def found(norms: Sequence[str], start: int, stop: int) -> dict[str, np.ndarray]:
    """What a child says of examples: every other one is broken."""
    n = stop - start
    broken = np.arange(n) % 2 == 0
    columns = {
        "position": np.arange(start, stop),
        "distance": np.where(broken, np.linspace(0.01, 0.1, n), np.inf),
        "attack": np.where(broken, "apgd-ce", ""),
        "margin": np.where(broken, 1e-4, -np.inf),
        "status": np.where(broken, "broken", "survived"),
        "adversarial": np.where(broken, 1, -1),
        "confidence": np.where(broken, 0.5, -np.inf),
        "complete": np.ones(n, bool),
        "forwards": np.full(n, 100),
        "backwards": np.full(n, 100),
    }
    return {f"{norm}/{name}": column for norm in norms for name, column in columns.items()}


def _settled(norms: Sequence[str]) -> dict:
    threats = [{"norm": norm, "eps": ["0.05", "0.1"]} for norm in norms]
    spec = {"threats": threats, "device": "cpu", "budget": {"passes": None, "seconds": None}, "gates": []}
    digests = {"spec_sha256": "5" * 64, "subject_sha256": "6" * 64}
    return {"spec": spec, **digests, "chosen": [], "estimate": {}, "device": "cpu"}
