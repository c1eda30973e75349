"""Which gradient an audit follows: the true one where it is one, a surrogate where that leads further, or none.

The true gradient must agree with differences of the scores. A surrogate has nothing to agree with; it is taken when the
true gradient cannot be had, or is beaten by it on the clean examples that are probed (a walk of a few steps each, sign
test), and it must not climb less far than random points do.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor import runtime
from auditor.attacks.catalogue import CATALOGUE, Access
from auditor.attacks.probe import GradientCheck, check_gradient
from auditor.attacks.shown import shown
from auditor.attacks.stage import Stage
from auditor.attacks.trial import by_chance, climbed
from auditor.audits.plan import default_threads
from auditor.audits.statistics import ALPHA, sign_test
from auditor.audits.subject import Subject
from auditor.autodiff.coverage import Obstacle, Substitute, obstacles, substitutes
from auditor.autodiff.rules import SATURATING, Policy
from auditor.classifier import Classifier, OnnxClassifier
from auditor.errors import NoGradient
from auditor.graph.plain import ClassifierGraph
from auditor.spec import Loss, exact
from auditor.threats.threat import OtherThreat

_POLICIES: tuple[Policy, ...] = ("straight-through", "choices", "unsaturated")
_USUAL = "0.1"  # Linf, where no norm with gradient steps was asked for


@dataclass(frozen=True)
class Gradient:
    """access: "white-box" when the compiled gradient stood the check, "surrogate-gradient" where surrogates stand in for
    slopes that lead nowhere, else "score", or "decision" where the upload gives labels only; why says so in a sentence.

    policy: see `auditor.autodiff.rules`; substitutes: each node whose slope it replaces, and by what.
    """

    access: Access
    why: str
    error: float | None = None
    nonzero: float | None = None
    obstacles: tuple[Obstacle, ...] = ()
    policy: Policy = "true"
    substitutes: tuple[Substitute, ...] = ()

    @property
    def followed(self) -> bool:
        """Whether attacks follow a gradient."""
        return self.access in ("white-box", "surrogate-gradient")

    def seen_by(self, stage: Stage) -> Access:
        """What a stage sees of this model: its own access, but no white box where the slopes are not the model's."""
        return self.access if stage.access == "white-box" else stage.access

    def seen_beside(self, threat: OtherThreat) -> str:
        """The same of a threat beside the norms."""
        return self.access if threat.access == "white-box" else threat.access

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "Gradient":
        listed: dict[str, Any] = {"obstacles": Obstacle, "substitutes": Substitute}
        made = {name: tuple(kind(**row) for row in facts[name]) for name, kind in listed.items()}
        return cls(**facts | made)


def choose(
    subject: Subject, graph: ClassifierGraph, index: np.ndarray, label: np.ndarray, *, randomised: bool
) -> Gradient:
    """The gradient of the plain graph, judged on the examples at `index` (dataset positions) with their labels."""
    trial = _Trial(subject, graph, index, label)
    true = trial.true(randomised)
    if not len(index):
        return true
    return trial.best(true, [policy for policy in _POLICIES if trial.offers(policy)])


class _Trial:
    """One graph under every policy, on the probed examples."""

    def __init__(self, subject: Subject, graph: ClassifierGraph, index: np.ndarray, label: np.ndarray) -> None:
        self.spec, self.graph = subject.spec, graph
        self.x = subject.dataset.fetch(index)
        self._label = label
        self.label = graph.reading.labels(label, graph.classes)  # as attacks are shown it

    def classifier(self, policy: Policy = "true") -> Classifier:
        spec = self.spec
        threads = spec.threads or default_threads()
        whole = OnnxClassifier(self.graph, domain=spec.domain, device=spec.device, threads=threads, policy=policy)
        seen, _ = shown(whole, whole.xp.asarray(self._label), self.graph.reading)
        return seen

    def true(self, randomised: bool) -> Gradient:
        """The gradient without surrogates."""
        in_the_way = tuple(obstacles(self.graph))
        if in_the_way:
            return Gradient("score", str(in_the_way[0]), obstacles=in_the_way)
        if not len(self.x):
            return Gradient("white-box", "no example is right when clean, so that the gradient was not checked")
        if randomised:
            why = "the scores are random, so that the gradient of one draw cannot be checked against differences of others"
            return Gradient("white-box", why)
        try:
            check = check_gradient(self.classifier(), self.x, self.label, seed=self.spec.seed, width=self.spec.width)
        except NoGradient as error:
            return Gradient("score", str(error))
        return _judged(check)

    def offers(self, policy: Policy) -> bool:
        """Whether the policy replaces what no policy before it does, and covers the graph."""
        replaced = substitutes(self.graph, policy)
        if policy == "unsaturated" and not any(s.operator in SATURATING for s in replaced):
            return False
        if policy == "choices" and len(replaced) == len(substitutes(self.graph, "straight-through")):
            return False
        return bool(replaced) and not obstacles(self.graph, policy)

    def best(self, true: Gradient, offered: Sequence[Policy]) -> Gradient:
        """The true gradient, unless one of the policies leads surely further, or anywhere at all where it cannot."""
        if not offered:
            return true
        chosen: Policy = "true"
        furthest = self._climbed("true") if true.followed else None
        for policy in offered:
            reached = self._climbed(policy)
            doubted = chosen == "true" and true.error is None  # nothing says that it is one
            if reached is not None and (furthest is None or _further(reached, furthest, surely=not doubted)):
                chosen, furthest = policy, reached
        if chosen == "true" or furthest is None:
            return true
        chance = by_chance(self.classifier(), self.x, self.label, **self._budget())
        further, behind = int(np.sum(furthest > chance)), int(np.sum(furthest < chance))
        nonzero = self._nonzero(chosen)
        if further < behind or nonzero == 0:
            return true
        replaced = tuple(substitutes(self.graph, chosen))
        why = _why(
            true, replaced, f"further than random points on {further} and less far on {behind} of {len(chance)}"
        )
        return Gradient("surrogate-gradient", why, true.error, nonzero, true.obstacles, chosen, replaced)

    def _climbed(self, policy: Policy) -> np.ndarray | None:
        try:
            return climbed(self.classifier(policy), self.x, self.label, **self._budget())
        except NoGradient:
            return None

    def _budget(self) -> dict[str, Any]:
        """The widest ball that the audit asks about in a norm with gradient steps, the norm, and the seed."""
        asked = [threat for threat in self.spec.threats if threat.norm in CATALOGUE["pgd"].norms]
        norm, eps = (asked[0].norm, asked[0].eps[-1]) if asked else ("Linf", _USUAL)
        return {"eps": float(exact(eps)) * self.spec.width, "norm": norm, "seed": self.spec.seed}

    def _nonzero(self, policy: Policy) -> float:
        """The share of gradient entries that are not zero."""
        classifier = self.classifier(policy)
        found = classifier.gradient(classifier.xp.asarray(self.x), classifier.xp.asarray(self.label), Loss.MARGIN)
        return float(np.mean(runtime.to_host(found.g) != 0))


def _why(true: Gradient, replaced: Sequence[Substitute], compared: str) -> str:
    beaten = "leads less far" if true.followed else f"cannot be followed ({true.why})"
    operators = ", ".join(sorted({node.operator for node in replaced}))
    return f"the true gradient {beaten}; surrogates stand in for the slopes of {operators}, and climb {compared} clean examples"


def _further(one: np.ndarray, other: np.ndarray, *, surely: bool) -> bool:
    """Whether one climbs further than the other more often, or surely more often."""
    wins, losses = int(np.sum(one > other)), int(np.sum(one < other))
    return sign_test(wins, losses) <= ALPHA / 2 if surely else wins > losses


def _judged(check: GradientCheck) -> Gradient:
    if not check.finite:
        return Gradient("score", "the gradient is not finite on clean examples", None, check.nonzero)
    if check.nonzero == 0:
        return Gradient("score", "the gradient is zero on every clean example that was probed", check.error, 0.0)
    if not check.agrees:
        why = f"the gradient disagrees with differences of the scores (relative error {check.error:.2g})"
        return Gradient("score", why, check.error, check.nonzero)
    if check.error is None:
        why = "the gradient is too flat to be told from rounding on every clean example probed, and was not checked"
    else:
        why = f"the gradient agrees with differences of the scores on {check.compared} clean examples"
    return Gradient("white-box", why, check.error, check.nonzero)
