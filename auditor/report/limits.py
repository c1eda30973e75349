"""What was not tested, a sentence for each."""

from collections.abc import Mapping, Sequence

import numpy as np

from auditor.attacks.progress import Progress
from auditor.audits.design import FEW_GROUPS, Surveyed
from auditor.audits.goal import goal_of
from auditor.audits.other_sections import OtherFigures
from auditor.audits.outcomes import Outcomes
from auditor.audits.prepare import Prepared
from auditor.audits.subject import Subject
from auditor.threats.catalogue import KINDS


def not_tested(
    subject: Subject,
    prepared: Prepared,
    outcomes: Sequence[Outcomes],
    finished: Mapping[str, Progress],
    *,
    stopped: str | None,
) -> list[str]:
    """Under the norms: what the audit left out, cut short, or cannot see. stopped: why it ended early, if it did."""
    said = []
    if stopped:
        said.append(f"the audit ended early: {stopped}; unfinished examples enter as bounds")
    for found in outcomes:
        unfinished = int(np.sum(~found.complete))
        if unfinished:
            said.append(f"{found.threat.norm}: not every planned stage ran on {unfinished} of {len(found)} examples")
    if subject.spec.target is not None:
        said.append(f"any class but the target, which is easier to reach: {goal_of(subject.spec.target)}")
    searched = any(stage.access == "structure" for stage in prepared.plan.stages)
    if prepared.gradient.access != "white-box" and not searched:
        said.append(f"white-box attacks: {prepared.gradient.why}")
    if subject.upload.has_trees and not searched:
        said.append(f"a search of the trees that the model is made of: {subject.trees_left_out}")
    halvings = prepared.halvings + max((row.halvings for p in finished.values() for row in p.rows), default=0)
    if halvings:
        said.append(
            f"memory ran out and the batch was halved {halvings} times: this run is not bit-reproducible by another"
        )
    if prepared.randomised and not subject.upload.random:
        said.append("repetition: the model's scores are random, so that another run finds other points")
    if all(found.certified_radius is None for found in outcomes):
        said.append("no lower bound was proved: certificates are not part of this audit")
    accesses = {stage.access for stage in prepared.plan.stages}
    said += [f"{access}-based attacks" for access in ("score", "decision") if access not in accesses]
    if "transfer" not in accesses:
        said.append("transfer attacks, which follow another model (--surrogate, --attack transfer)")
    if subject.spec.quantize is None and subject.dataset.implied_domain is not None:
        said.append("inputs in whole grey levels: points found may lie between them (--quantize 8)")
    if subject.upload.label is not None:
        said.append(f"the other labels: the decision about label {subject.upload.label} was audited alone")
    elif subject.upload.independent and not subject.upload.multilabel:
        said.append(
            "each label by itself: every class has a Sigmoid of its own, and the largest was taken for the answer (labels of "
            "shape (N, labels), --label)"
        )
    if subject.upload.embedding is not None:
        said.append(
            f"the tokens themselves: the embedding output '{subject.upload.input}' was attacked and points judged by the model cut "
            "there, so that they are no words"
        )
    design = subject.design(prepared.index)
    if isinstance(design, Surveyed) and design.groups < FEW_GROUPS:
        said.append(f"enough groups: limits that are estimated over {design.groups} of them are rough")
    if fixed := [held for held in subject.spec.fix if held.column is None]:
        said.append(f"other values of the inputs that are held: {', '.join(map(str, fixed))}")
    if along := subject.upload.given.kept:
        said.append(f"other values of the inputs that come with each example: {', '.join(along)}")
    if len(subject.dataset.attacked or subject.dataset.shape) == 1 and subject.spec.constraints is None:
        said.append("what features may be: points found may be impossible as rows of a table (--constraints)")
    return said


def not_tested_beside(
    subject: Subject, prepared: Prepared, others: Sequence[OtherFigures], halvings: int
) -> list[str]:
    """The same of threats beside the norms."""
    said = []
    for threat in subject.others:
        if threat.name not in (*prepared.plan.others, *prepared.plan.whole):
            said.append(f"{threat.name}, which follows gradients: {prepared.gradient.why}")
        elif threat.name not in (figures.threat["name"] for figures in others):
            said.append(f"{threat.name}: the audit ended before it")
    for figures in others:
        if figures.unfinished:
            said.append(f"{figures.threat['name']}: {figures.unfinished} of {len(prepared.index)} examples")
    if halvings:
        said.append(
            f"memory ran out {halvings} times under threats beside the norms: this run is not bit-reproducible by another"
        )
    tested = {threat.kind for threat in subject.others}
    left_out = [f"{what} (--also {word})" for kind, (what, word) in KINDS.items() if kind not in tested]
    said += ["beside the norms: " + ", ".join(left_out)] if left_out else []
    said.append("patches")
    said.append("poisoning, model extraction and privacy attacks")
    return said
