"""The surrogates of an audit: checked before it begins, run where a transfer attack asks for them."""

from dataclasses import replace
from math import prod

import numpy as np

from auditor import runtime
from auditor.attacks.transfer import Ensemble, Pool, Surrogate, abreast
from auditor.attacks.transfer.train import Trained, Training, train_surrogate
from auditor.audits.goal import audited
from auditor.audits.presets import chosen_stages
from auditor.audits.subject import Subject
from auditor.autodiff.coverage import obstacles
from auditor.classifier import OnnxClassifier
from auditor.data.dataset import Dataset
from auditor.data.sampling import sample
from auditor.errors import DatasetError, SpecError
from auditor.graph.plain import make_plain
from auditor.graph.upload import read_upload
from auditor.spec import AuditSpec

POOL = 64  # examples beside the audited ones that a transfer attack may mix in
FEWEST = 20
_VALUES = 2**27  # numbers that the examples of a training may hold, half a gigabyte


def check_surrogates(subject: Subject) -> None:
    """Raises SpecError for a surrogate that tells other classes apart or has no gradient, ModelError for one that does
    not take the dataset's examples, DatasetError where one is to be trained and too few examples are left for it."""
    if needs_training(subject) and subject.upload.multilabel:
        raise SpecError(
            "a model of several labels at once has no surrogate trained for it; name one with --surrogate"
        )
    left = len(spare(subject.dataset, subject.spec, FEWEST))
    if needs_training(subject) and left < FEWEST:
        raise DatasetError(
            f"a model to stand in for this one is trained on at least {FEWEST} examples that are not audited, and "
            f"{left} are left; audit fewer (--examples), give more, or name a model with --surrogate"
        )
    for upload, graph in zip(subject.surrogates, subject.surrogate_graphs(1), strict=True):
        if upload.classes != subject.upload.classes:
            raise SpecError(
                f"a surrogate tells {upload.classes} classes apart, the model {subject.upload.classes}; only a model "
                "of the same task can stand in for it"
            )
        for obstacle in obstacles(graph):
            raise SpecError(f"a surrogate needs a gradient, and this one has none: {obstacle}")


def needs_training(subject: Subject) -> bool:
    """Whether some attack follows a surrogate, and none is named."""
    return not subject.surrogates and any(stage.access == "transfer" for stage in chosen_stages(subject.spec))


def train(subject: Subject, *, batch: int, threads: int) -> Trained:
    """A surrogate trained on examples that are not audited."""
    spec, dataset = subject.spec, subject.dataset
    training = Training()
    training = replace(training, queries=min(training.queries, max(_VALUES // prod(dataset.shape), FEWEST)))
    index = spare(dataset, spec, training.queries)
    classifier = OnnxClassifier(subject.plain_graph(batch), domain=spec.domain, device=spec.device, threads=threads)
    return train_surrogate(
        classifier,
        dataset.fetch(index),
        seed=spec.seed,
        layout=spec.layout or "NCHW",
        threads=threads,
        training=training,
    )


def build_surrogate(subject: Subject, trained: Trained | None, *, batch: int, threads: int) -> Surrogate:
    """The mean of the surrogates named, or what was trained in their stead, at one batch shape, and the pool."""
    spec = subject.spec
    graphs = subject.surrogate_graphs(batch)
    if trained is not None:
        graphs = [make_plain(read_upload(trained.model), batch=batch, shape=subject.dataset.shape)]
    refused = subject.reading.refused
    known = [
        replace(graph, reading=replace(graph.reading, refused=tuple(k for k in refused if k < graph.classes)))
        for graph in graphs
    ]
    members = [OnnxClassifier(graph, domain=None, device=spec.device, threads=threads) for graph in known]
    layer = abreast(members[0].xp, [member.layer for member in members])
    return Surrogate(Ensemble(members), _pool(subject.dataset, spec), layer)


def spare(dataset: Dataset, spec: AuditSpec, count: int) -> np.ndarray:
    """Positions of at most `count` examples that are not audited, in the order in which they would be next."""
    order = sample(dataset.size, dataset.size, spec.seed)
    return order[~np.isin(order, audited(dataset, spec))][:count]


def _pool(dataset: Dataset, spec: AuditSpec) -> Pool | None:
    index = spare(dataset, spec, POOL)
    if not len(index):
        return None
    xp = runtime.array_namespace(spec.device)
    label = np.full(len(index), -1, dtype=np.int64) if dataset.y is None else dataset.y[index]
    return Pool(xp.asarray(dataset.fetch(index)), xp.asarray(label))
