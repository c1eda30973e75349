"""What an answer is called: a class by its number, several labels at once by those that are given."""

from auditor.graph.labelset import members
from auditor.report.legible import legible_text
from auditor.report.schema import Model


def called(model: Model, answer: int) -> str:
    """A class, or a set of labels as {cat, dog}; {} where no label is given."""
    if model.labels is None:
        return str(answer)
    names = model.labels["names"]
    return legible_text("{" + ", ".join(names[k] if names else str(k) for k in members(answer)) + "}")
