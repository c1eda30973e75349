"""How much attacks make of a detector beside the class scores: both as large, on clean examples, as the other.

Attacks see a rejection as one more score (`auditor.attacks.evading`). Where the detector's numbers are far smaller than
the class scores, what they add to these is lost in rounding, and no point is surely past the threshold.
"""

import numpy as np

from auditor import runtime
from auditor.audits.subject import Subject
from auditor.classifier import OnnxClassifier
from auditor.graph.plain import ClassifierGraph
from auditor.graph.readout import ending_at
from auditor.graph.refusal import excess


def balanced(subject: Subject, graph: ClassifierGraph, x: np.ndarray) -> float:
    """The weight of a rejection: the median lead of the largest class score over that of the median distance from the detector's
    threshold, to the nearest power of two, which rounds nothing. x: (n, *shape) clean examples; 1 where there is no detector,
    or one of the two is zero."""
    if subject.upload.detector is None or not len(x):
        return 1.0

    def given(part: ClassifierGraph) -> np.ndarray:
        classifier = OnnxClassifier(part, domain=subject.spec.domain, device=subject.spec.device)
        return runtime.to_host(classifier.logits(classifier.xp.asarray(x))).astype(np.float64)

    scores = np.sort(given(graph)[:, : subject.upload.classes], axis=1)
    lead = np.median(scores[:, -1] - scores[:, -2])
    distance = np.median(np.abs(given(ending_at(graph, excess(graph.logits)))))
    if not (np.isfinite([lead, distance]).all() and lead > 0 and distance > 0):
        return 1.0
    return float(2.0 ** np.clip(np.round(np.log2(lead) - np.log2(distance)), -100, 100))
