"""What the attacker may do and see, and how a model is judged that refuses, draws at random, or has no labels."""

from auditor.report.numbers import count, percent
from auditor.report.schema import Report


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """Rows of name and value."""
    spec = report.audit.spec
    gradients = report.model.gradient.get("access", "white-box")
    accesses = sorted({stage.access for stage in report.stages})
    grids = tuple((f"{curve.norm} eps", ", ".join(point.eps for point in curve.points)) for curve in report.curves)
    chosen = ", ".join(spec.get("attacks") or ()) or f"preset {report.audit.preset}"
    stages = len(report.stages)
    return (
        ("attacker may", _may(report)),
        *_goal(report),
        *grids,
        ("attacker sees", ", ".join(accesses) + ("" if gradients in accesses else f" (gradients: {gradients})")),
        *_randomness(report),
        *_refusal(report),
        ("attacks", f"{chosen}: {stages} stage{'' if stages == 1 else 's'}"),
        ("examples", f"{count(report.clean.total)} of {count(report.dataset.examples)}, seed {report.audit.seed}"),
        *_weighing(report),
        *_labels(report),
    )


def _may(report: Report) -> str:
    norms = {curve.norm for curve in report.curves}
    unit = "in widths of the domain" if report.dataset.domain else "in the features' own units"
    counted = "in L0 as the number of features" if "L0" in norms else ""
    measured = f"measured {unit}" if norms != {"L0"} else ""
    return f"change an input by at most eps, {', '.join(filter(None, (measured, counted)))}"


def _goal(report: Report) -> tuple[tuple[str, str], ...]:
    target = report.audit.spec.get("target")
    if target is None:
        return ()
    said = "one class, drawn at random for each example" if target == "random" else f"class {target}"
    return (("attacker has to reach", said),)


def _randomness(report: Report) -> tuple[tuple[str, str], ...]:
    facts = report.model.randomness
    if facts is None:
        return ()
    done = ", ".join(facts["transformations"])
    where = f"{done} before the model" if done else "in the model"
    said = f"a point counts when {facts['needed']} of {facts['draws']} fresh draws give another class"
    return (("random", f"{where}; {said}; on {percent(facts['expected_accuracy'])} of clean draws it is right"),)


def _refusal(report: Report) -> tuple[tuple[str, str], ...]:
    facts = report.model.refusal
    if facts is None:
        return ()
    ways = [] if facts["abstain"] is None else [f"class {facts['abstain']}"]
    if facts["detector"] is not None:
        ways.append(f"{facts['detector']['output']} above {facts['detector']['threshold']:g}")
    share, total = facts["refused"] / max(report.clean.total, 1), count(report.clean.total)
    said = f"{' or '.join(ways)}; {percent(share)} of {total} clean examples, which count as wrong"
    if facts["accuracy_of_accepted"] is not None:
        said += f"; {percent(facts['accuracy_of_accepted'])} of the others are right"
    return (("the model refuses by", said),)


def _weighing(report: Report) -> tuple[tuple[str, str], ...]:
    """What examples count for and which belong together, where the data say so."""
    dataset, said = report.dataset, []
    if dataset.weight is not None:
        said.append("every share is weighted")
    if dataset.group is not None:
        said.append(
            f"they come from {count(len(set(dataset.group)))} groups, whose members are not taken for independent"
        )
    if report.clean.effective_size is not None:
        size = f"{report.clean.effective_size:,.0f}"
        said.append(f"of clean accuracy they tell as much as {size} independent ones")
    return (("which count", "; ".join(said)),) if said else ()


def _labels(report: Report) -> tuple[tuple[str, str], ...]:
    labels = report.dataset.sampling.get("labels", "dataset")
    if labels == "dataset":
        return ()
    return (("labels", f"{labels}: figures say whether answers stay the same, not whether they are right"),)
