"""The surrogates of an audit: checked before it begins, run where a transfer attack asks for them."""

import numpy as np

from auditor import runtime
from auditor.attacks.transfer import Ensemble, Pool, Surrogate
from auditor.audits.subject import Subject
from auditor.autodiff.coverage import obstacles
from auditor.classifier import OnnxClassifier
from auditor.data.dataset import Dataset
from auditor.data.sampling import sample
from auditor.errors import SpecError
from auditor.spec import AuditSpec

POOL = 64  # examples beside the audited ones that a transfer attack may use


def check_surrogates(subject: Subject) -> None:
    """Raises SpecError for a surrogate that tells other classes apart or has no gradient, ModelError for one that does
    not take the dataset's examples."""
    for upload, graph in zip(subject.surrogates, subject.surrogate_graphs(1), strict=True):
        if upload.classes != subject.upload.classes:
            raise SpecError(
                f"a surrogate tells {upload.classes} classes apart, the model {subject.upload.classes}; only a model "
                "of the same task can stand in for it"
            )
        for obstacle in obstacles(graph):
            raise SpecError(f"a surrogate needs a gradient, and this one has none: {obstacle}")


def build_surrogate(subject: Subject, *, batch: int, threads: int) -> Surrogate:
    """The mean of the audit's surrogates at one batch shape, and the pool."""
    spec = subject.spec
    members = [
        OnnxClassifier(graph, domain=None, device=spec.device, threads=threads)
        for graph in subject.surrogate_graphs(batch)
    ]
    return Surrogate(Ensemble(members), _pool(subject.dataset, spec))


def spare(dataset: Dataset, spec: AuditSpec, count: int) -> np.ndarray:
    """Positions of at most `count` examples that are not audited, in the order in which they would be next."""
    return sample(dataset.size, spec.examples + count, spec.seed)[spec.examples :]


def _pool(dataset: Dataset, spec: AuditSpec) -> Pool | None:
    index = spare(dataset, spec, POOL)
    if not len(index):
        return None
    xp = runtime.array_namespace(spec.device)
    label = np.full(len(index), -1, dtype=np.int64) if dataset.y is None else dataset.y[index]
    return Pool(xp.asarray(dataset.fetch(index)), xp.asarray(label))
