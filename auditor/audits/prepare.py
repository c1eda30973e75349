"""The first work item of an audit: sample, clean pass on the upload, probes, plan."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from auditor.attacks.progress import Examples
from auditor.attacks.transfer.train import Trained
from auditor.attacks.verify import Verifier
from auditor.audits.balance import balanced
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.goal import answer, attackable, audited, check_answerable, starting_points, targets
from auditor.audits.gradients import Gradient, choose
from auditor.audits.outcomes import example_digests
from auditor.audits.plan import Plan, default_batch, make_plan
from auditor.audits.statistics import clopper_pearson
from auditor.audits.subject import Subject
from auditor.audits.surrogates import needs_training, train
from auditor.data.dataset import Dataset
from auditor.data.labels import check_labels
from auditor.errors import DatasetError, ModelError, OutOfMemory
from auditor.graph.plain import ClassifierGraph

_COLUMNS = ("index", "label", "predicted", "confidence")
_PROBED = 16  # examples that the probes look at
_AIMS = ("target", "start")


@dataclass(frozen=True)
class Prepared:
    """What an audit knows before its first attack. All arrays have one row per sampled example.

    index: positions in the dataset; label; predicted: the upload's class, of which it is `confidence` sure (see
    `Verifier.confidence`); digests pair audits of the same examples.
    randomised: whether the upload gives other scores for the same input; expected_accuracy: where it draws by nodes that
    are known, or inputs are transformed at random, the mean share of draws that are right. halvings: how often the usual batch was
    halved to fit into memory. trained: the surrogate of transfer attacks where none was named. target: the class that
    has to be reached, None where any other will do; start: position of an example of that class, -1 where none is
    known, None where no attack begins there. weight: what attacks make of a detector, see `Upload`.
    """

    index: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    digests: tuple[str, ...]
    plan: Plan
    gradient: Gradient
    randomised: bool
    labelled: bool
    halvings: int = 0
    trained: Trained | None = None
    target: np.ndarray | None = None
    start: np.ndarray | None = None
    expected_accuracy: float | None = None
    weight: float = 1.0

    @property
    def right(self) -> np.ndarray:
        return self.predicted == self.label

    def save(self, checkpoints: Checkpoints) -> None:
        """Keep everything under the name "prepared"."""
        facts = {
            "digests": self.digests,
            "plan": self.plan.as_json(),
            "gradient": self.gradient.as_json(),
            "randomised": self.randomised,
            "labelled": self.labelled,
            "halvings": self.halvings,
            "expected_accuracy": self.expected_accuracy,
            "weight": self.weight,
        }
        arrays = {name: getattr(self, name) for name in _COLUMNS}
        arrays |= {name: column for name in _AIMS if (column := getattr(self, name)) is not None}
        if self.trained is not None:
            facts["trained"] = {"queries": self.trained.queries, "agreement": self.trained.agreement}
            arrays["surrogate"] = np.frombuffer(self.trained.model, dtype=np.uint8)
        checkpoints.save_facts("prepared", facts, **arrays)

    @classmethod
    def load(cls, checkpoints: Checkpoints) -> "Prepared | None":
        """What was kept, or None."""
        stored = checkpoints.load_facts("prepared")
        if stored is None:
            return None
        arrays, facts = stored
        trained = None
        if "trained" in facts:
            trained = Trained(arrays["surrogate"].tobytes(), **facts["trained"])
        return cls(
            **{name: arrays[name] for name in _COLUMNS},
            digests=tuple(facts["digests"]),
            plan=Plan.from_json(facts["plan"]),
            gradient=Gradient.from_json(facts["gradient"]),
            randomised=facts["randomised"],
            labelled=facts["labelled"],
            halvings=facts["halvings"],
            trained=trained,
            **{name: arrays[name] for name in _AIMS if name in arrays},
            expected_accuracy=facts["expected_accuracy"],
            weight=facts["weight"],
        )

    def examples(self, dataset: Dataset, rows: np.ndarray) -> Examples:
        """The sampled examples at `rows`, decoded."""
        index, start = self.index[rows], None
        if self.start is not None:
            start = dataset.fetch(np.where(self.start[rows] >= 0, self.start[rows], index))
        target = None if self.target is None else self.target[rows]
        return Examples(index, dataset.fetch(index), self.label[rows], self.right[rows], target, start)


def prepare_once(subject: Subject, checkpoints: Checkpoints, *, allow_chance: bool = False) -> Prepared:
    """What was kept, else what is prepared now and kept; see `prepare`."""
    prepared = Prepared.load(checkpoints)
    if prepared is None:
        prepared = prepare(subject, allow_chance=allow_chance)
        prepared.save(checkpoints)
    return prepared


def prepare(subject: Subject, *, allow_chance: bool = False) -> Prepared:
    """Sample, judge the clean examples on the upload, probe the gradient, plan, train a surrogate if one is needed.

    Raises DatasetError for labels that do not fit and for accuracy at chance, ModelError for scores that are not
    finite on clean inputs.
    """
    dataset, spec = subject.dataset, subject.spec
    if dataset.y is not None:
        check_labels(dataset.y, subject.upload.decisions)
    check_answerable(dataset, spec.abstain)
    index = audited(dataset, spec)
    verifier = subject.verifier()
    seen = _clean_pass(subject, verifier, index)
    randomised = seen.randomised
    rows = np.flatnonzero(attackable(seen.label, dataset, spec.target))
    index, label, predicted = index[rows], seen.label[rows], seen.predicted[rows]
    if dataset.y is not None and not allow_chance:
        _question_chance(label, predicted, subject.upload.decisions, dataset.name)
    probed = np.flatnonzero(predicted == label)[:_PROBED]
    try:
        graph, gradient, halvings, subject = _fitting(subject, index[probed], label[probed], randomised)
    except ModelError as error:
        if not randomised:
            raise
        raise ModelError(
            "the model gives different scores for the same input, so that no graph can be shown to be its own; export "
            f"it without its random nodes, such as dropout in training mode ({error})"
        ) from error
    if subject.upload.label_only and gradient.access == "score":
        gradient = dataclasses.replace(gradient, access="decision")
    plan = make_plan(
        spec,
        len(index),
        batch=graph.batch,
        gradient=gradient.followed,
        label_only=subject.upload.label_only,
        random=subject.upload.random,
        trees=subject.trees is not None,
        others=subject.others,
    )
    labelled = dataset.y is not None
    trained = train(subject, batch=plan.batch, threads=plan.threads) if needs_training(subject) else None
    target, start = targets(spec, subject.upload.classes, index, label), None
    if target is not None and any(stage.access == "decision" for stage in plan.stages):
        start = starting_points(subject, verifier, index, target)
    return Prepared(
        index,
        label,
        predicted,
        seen.confidence[rows],
        tuple(seen.digests[row] for row in rows),
        plan,
        gradient,
        randomised,
        labelled,
        halvings,
        trained,
        target,
        start,
        subject.design(index).mean(seen.own[rows]) if subject.drawn else None,
        subject.upload.weight,
    )


@dataclass(frozen=True)
class _Seen:
    """The upload's answers on clean examples, one row each; own: the score of the label."""

    label: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    own: np.ndarray
    digests: tuple[str, ...]
    randomised: bool


def _clean_pass(subject: Subject, verifier: Verifier, index: np.ndarray) -> _Seen:
    """Each example alone on the upload. Raises ModelError for scores that are not finite."""
    dataset, n = subject.dataset, len(index)
    predicted, confidence, own = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n)
    label = np.empty(n, dtype=np.int64) if dataset.y is None else dataset.y[index]
    digests: list[str] = []
    randomised = subject.upload.random
    for row, position in enumerate(index):
        (x,) = dataset.fetch(index[row : row + 1])
        scores = verifier.scores(x)
        if not np.isfinite(scores).all():
            raise ModelError(
                f"the model gives scores that are not finite for the clean example {position} of {dataset.name}; "
                "check the declared domain, mean and std"
            )
        predicted[row], confidence[row] = verifier.answer(scores), verifier.confidence(scores)
        if dataset.y is None:
            label[row] = answer(scores, subject.upload.reading)
        own[row] = scores[label[row]] if subject.drawn else np.nan
        if row < _PROBED and not randomised:
            randomised = not np.array_equal(scores, verifier.scores(x))
        digests += example_digests(x[None], label[row : row + 1])
    return _Seen(label, predicted, confidence, own, tuple(digests), randomised)


def _fitting(
    subject: Subject, index: np.ndarray, label: np.ndarray, randomised: bool
) -> tuple[ClassifierGraph, Gradient, int, Subject]:
    """The plain graph at the largest batch that fits into memory, its gradient, how often the batch was halved, and the subject
    with its detector, if it has one, weighed against the class scores."""
    batch, halvings = subject.spec.batch_size or default_batch(subject.dataset.shape), 0
    while True:
        try:
            graph = subject.plain_graph(batch >> halvings)
            weighed = subject.weighing(balanced(subject, graph, subject.dataset.fetch(index)))
            if weighed is not subject:
                graph = weighed.plain_graph(graph.batch)
            return graph, choose(weighed, graph, index, label, randomised=randomised), halvings, weighed
        except (OutOfMemory, MemoryError) as error:
            halvings += 1
            if batch >> halvings < 1:
                raise OutOfMemory("not even one example fits into memory; free some") from error


def _question_chance(label: np.ndarray, predicted: np.ndarray, classes: int, name: str) -> None:
    """Hours of attack on mixed-up labels help nobody: ask first. Few examples can look like chance by accident."""
    n, correct = len(label), int(np.sum(label == predicted))
    lower, _ = clopper_pearson(correct, n)
    chance = 1 / classes
    if (n >= 10 and lower <= chance and correct / n < (1 + chance) / 2) or correct == 0:
        raise DatasetError(
            f"the model is right on {correct} of {n} examples of {name}, no better than chance for {classes} classes. "
            "Is the order of the labels the model's? Is the normalisation declared (--mean, --std)? "
            "Is the layout right (--layout)? Is the domain (--domain)? "
            "If the model really is that weak, repeat with --allow-chance."
        )
