"""The goal of an audit with a target: which examples can be attacked at all, towards which class, and from where
attacks that begin in that class may start.

An example of the target class is there already. Papers draw targets among the other classes, and count success over
examples that have one (Carlini & Wagner 2017, "Towards evaluating the robustness of neural networks", the "average
case"): so these examples are never sampled. Everything is a function of the seed and of the example alone, not of how
many are audited.
"""

import numpy as np

from auditor.attacks.norms import length
from auditor.attacks.random import Random
from auditor.attacks.verify import Verifier
from auditor.audits.subject import Subject
from auditor.data.dataset import Dataset
from auditor.data.sampling import sample
from auditor.errors import DatasetError, SpecError
from auditor.graph.reading import Reading
from auditor.spec import AuditSpec, Target

KEPT = 16  # examples of a class among which the nearest one is chosen to start from, fewer of many classes
ASKED = 1000  # examples that are shown to the model to find these, of all classes together where none has a label


def check_target(subject: Subject) -> None:
    """Raises SpecError where the model does not tell the target from another class, DatasetError where every example is
    of that class."""
    spec, classes = subject.spec, subject.upload.classes  # two at least, or the upload is refused
    if spec.target is None:
        return
    if spec.target == spec.abstain:
        raise SpecError(f"class {spec.target} is the one to abstain by; an attack that has to reach it has no use")
    if spec.target != "random" and spec.target >= classes:
        raise SpecError(f"there is no class {spec.target} to aim at; the model's classes are 0 to {classes - 1}")
    audited(subject.dataset, spec)


def check_several_labels(subject: Subject) -> None:
    """SpecError for what cannot be asked of a model that decides about several labels at once."""
    if not subject.upload.multilabel:
        return
    if subject.spec.target is not None:
        raise SpecError("--target is one class out of several; a label can be audited alone with --label")
    if subject.drawn:
        raise SpecError(
            "where chance plays a part, several labels at once cannot be audited yet; audit one with --label"
        )


def goal_of(target: Target) -> str:
    """What counts, in words."""
    if target == "random":
        return "an attack must reach one class, drawn at random for each example among those beside its label"
    return f"an attack must reach class {target}; examples of that class are left out"


def refuses(spec: AuditSpec) -> str:
    """How the model refuses, and what of it, in words; "" where it does not."""
    ways = [] if spec.abstain is None else [f"class {spec.abstain} is a refusal"]
    ways += (
        [] if spec.detector is None else [f"{spec.detector.output} above {spec.detector.threshold:g} is a rejection"]
    )
    return f"{' and '.join(ways)}: attacks must evade it, clean examples must not meet it" if ways else ""


def audited(dataset: Dataset, spec: AuditSpec) -> np.ndarray:
    """Positions of the sampled examples, (n,) int64: see `sample`; none whose label is the target, and none that counts for
    nothing. Examples are drawn, not whole groups: spread over more groups, as many of them say more.

    DatasetError where that leaves none.
    """
    out = left_out(dataset, spec.target)
    if out is None:
        return sample(dataset.size, spec.examples, spec.seed)
    order = sample(dataset.size, dataset.size, spec.seed)
    return _some(order[~out[order]][: spec.examples], dataset, spec.target)


def left_out(dataset: Dataset, target: Target | None) -> np.ndarray | None:
    """(size,) bool: examples that are never sampled, None where all may be."""
    out = dataset.y == target if dataset.y is not None and isinstance(target, int) else None
    if dataset.weight is None or dataset.weight.all():
        return out
    return dataset.weight == 0 if out is None else out | (dataset.weight == 0)


def attackable(label: np.ndarray, dataset: Dataset, target: Target | None) -> np.ndarray:
    """(n,) bool: not of the target class. Only the model's own answers, known after the sample, can be. DatasetError
    where that leaves none."""
    rows = np.ones(len(label), dtype=bool) if target is None or target == "random" else label != target
    _some(np.flatnonzero(rows), dataset, target)
    return rows


def _some(index: np.ndarray, dataset: Dataset, target: Target | None) -> np.ndarray:
    if not len(index):
        raise DatasetError(
            f"every example of {dataset.name} is of the class {target}, which is the target; give another --target"
        )
    return index


def check_answerable(dataset: Dataset, abstain: int | None) -> None:
    """DatasetError where an example's label is the class to abstain by: refusing it would be right, and no robustness."""
    if abstain is not None and dataset.y is not None and (dataset.y == abstain).any():
        raise DatasetError(
            f"{int(np.sum(dataset.y == abstain))} examples of {dataset.name} have the label {abstain}, by which the model "
            "abstains; robust accuracy is about examples that have an answer: leave those out"
        )


def answer(scores: np.ndarray, reading: Reading) -> int:
    """The class that (answers,) scores give, or would give if they did not refuse."""
    own = scores.copy()
    own[list(reading.refused)] = -np.inf
    return int(reading.answers(np, own[None])[0])


def targets(spec: AuditSpec, classes: int, index: np.ndarray, label: np.ndarray) -> np.ndarray | None:
    """(n,) int64 the class that each example has to reach: the one asked for, or one of those beside its label, all
    alike likely, none to abstain by; None where any will do."""
    if spec.target is None:
        return None
    if spec.target != "random":
        return np.full(len(index), spec.target, dtype=np.int64)
    kept = np.array([k for k in range(classes) if k != spec.abstain])
    own = np.searchsorted(kept, label)
    drawn = Random.keyed(np, spec.seed, "target", index).integers(0, 1)[:, 0].astype(np.int64) % (len(kept) - 1)
    return kept[drawn + (drawn >= own)]


def starting_points(subject: Subject, verifier: Verifier, index: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n,) int64 positions in the dataset: for each example the nearest (L2) of a few others that the upload puts into
    its target class, -1 where none was found."""
    dataset, found = subject.dataset, np.full(len(index), -1, dtype=np.int64)
    known = _Known(subject, verifier)
    for aim in np.unique(target):
        pool = known.of_class(int(aim))
        if len(pool):
            x_pool = dataset.fetch(pool).astype(np.float64)
            for row in np.flatnonzero(target == aim):
                apart = length(np, x_pool - dataset.fetch(index[row : row + 1]), "L2")
                found[row] = pool[np.argmin(apart)]
    return found


class _Known:
    """Examples by the class that the upload gives them, in the order of the sample; none is asked for twice."""

    def __init__(self, subject: Subject, verifier: Verifier) -> None:
        self._dataset, self._verifier = subject.dataset, verifier
        self._order = sample(self._dataset.size, self._dataset.size, subject.spec.seed)
        self._kept = max(1, min(KEPT, ASKED // subject.upload.classes))
        self._predicted: dict[int, int] = {}

    def of_class(self, aim: int) -> np.ndarray:
        """At most so many positions as are kept. Where there are labels, only examples with that label are asked for,
        four at most for each that is wanted."""
        y = self._dataset.y
        kept: list[int] = []
        candidates = self._order[:ASKED] if y is None else self._order[y[self._order] == aim][: 4 * self._kept]
        for position in candidates.tolist():
            if len(kept) < self._kept and self._class_of(position) == aim:
                kept.append(position)
        return np.array(kept, dtype=np.int64)

    def _class_of(self, position: int) -> int:
        if position not in self._predicted:
            (x,) = self._dataset.fetch(np.array([position]))
            self._predicted[position] = int(np.argmax(self._verifier.scores(x)))
        return self._predicted[position]
