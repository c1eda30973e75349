"""compare.json as types: several audits of the same examples against the first of them.

Fields may be added in a schema version, never changed; a reader skips those that it does not know.
"""

from typing import Literal

from auditor.audits.gates import GateResult, Verdict
from auditor.audits.statistics import Interval
from auditor.audits.summary import Clean, Section
from auditor.spec import Norm

SCHEMA_VERSION: Literal["1"] = "1"
MOST = 5  # audits in one comparison


class ComparedAudit(Section):
    """One audit, under the name by which the comparison speaks of it. access: what its attacks saw of the model, such as
    "white-box" or "score"; paired: how many of its examples the first audit holds too; doubts: the checks of its
    diagnosis that found something above "info"; verdict: of its own gates."""

    name: str
    audit: str
    model: str
    model_sha256: str
    dataset: str
    finished_at: str
    access: list[str]
    examples: int
    paired: int
    clean: Clean
    doubts: list[str] = []
    verdict: Verdict = "none"


class AuditPoint(Section):
    """One audit's curve at one eps, over all of its own examples, with the 95 % interval of this point."""

    audit: str
    norm: Norm
    eps: str
    value: float
    robust_accuracy: float
    interval: Interval


class PairedPoint(Section):
    """What an audit lost against the first one at one eps, on the examples that both hold.

    paired: so many examples; lost, gained: of these, how many stand in only the first or only in this one; net_loss:
    (lost - gained) / paired, by weight where examples have weights, with the 95 % interval of this point alone (Tango's; at
    the effective size where they have weights or groups); mcnemar_p: of this point alone, exact but where they have these;
    holm_p: the same, adjusted for all points of all audits of the comparison; gate: judged against the margin, all points
    of all audits together under Holm's correction, null where no margin was named.
    """

    audit: str
    norm: Norm
    eps: str
    value: float
    paired: int
    lost: int
    gained: int
    net_loss: float
    interval: Interval
    mcnemar_p: float
    holm_p: float
    gate: GateResult | None = None


class TransferPoint(Section):
    """At one eps. tried: the source's adversarial examples within eps whose clean example the target gets right; broken:
    how many of them the target's own file confirms; robust_accuracy: of the target under its own attacks; with_transferred:
    the same once the source's points count too."""

    eps: str
    value: float
    tried: int
    broken: int
    robust_accuracy: float
    with_transferred: float


class Transfer(Section):
    """The source's adversarial examples, the nearest that was found for each example, given to the target."""

    source: str
    target: str
    norm: Norm
    points: list[TransferPoint]


class LeftOut(Section):
    """What was to be compared and is not, and why, in a sentence."""

    name: str
    why: str


class ComparisonReport(Section):
    """audits: the first is the one that the others are compared with; margin: the net loss that is tolerated, null where
    none was named; made_at: when the newest of the audits was finished."""

    schema_version: Literal["1"] = SCHEMA_VERSION
    made_at: str
    margin: float | None
    audits: list[ComparedAudit]
    left_out: list[LeftOut] = []
    curves: list[AuditPoint]
    points: list[PairedPoint]
    transfer: list[Transfer] = []

    @property
    def first(self) -> ComparedAudit:
        return self.audits[0]
