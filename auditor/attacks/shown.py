"""What an attack is shown of a classifier, by the way its scores read as answers."""

from auditor.attacks.evading import Evading
from auditor.attacks.exact_match import ExactMatch
from auditor.classifier import Array, Classifier
from auditor.graph.reading import Reading

Shown = Evading | ExactMatch


def shown(classifier: Classifier, y: Array, reading: Reading) -> tuple[Classifier, Array]:
    """The classifier of these n examples and their labels as an attack has them; both as they are where one of the scores is
    the answer, or the classifier, a surrogate, does not have what stands for a refusal."""
    if reading.multilabel:
        joint = ExactMatch(classifier, y)
        return joint, joint.y
    if not any(k < classifier.classes for k in reading.refused):
        return classifier, y
    seen = Evading(classifier, y, reading.refused)
    return seen, seen.y
