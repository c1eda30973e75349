"""Which attacks an audit runs, in which order and with what budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.stage import Stage
from auditor.errors import SpecError
from auditor.spec import NORMS, AuditSpec, Loss, Norm, Preset


@dataclass(frozen=True)
class Step:
    """One stage of a preset, for the norms it serves. See `Stage`."""

    name: str
    attack: str
    norms: tuple[Norm, ...] = ("Linf", "L2", "L1")
    parameters: Mapping[str, Any] = field(default_factory=dict)
    warm: bool = False
    each_eps: bool = False

    def stage(self, norm: Norm, spec: AuditSpec) -> Stage:
        spatial = {"layout": spec.layout or "NCHW"} if CATALOGUE[self.attack].spatial else {}
        return Stage(self.name, self.attack, norm, {**self.parameters, **spatial}, self.warm, self.each_eps)


# AutoAttack's
_TARGETED = {"steps": 100, "trial": 0, "bounded": False}
_OF_L1 = {"bounded": False, "larger_first": True}

# Minimal-norm attacks first: they settle most of the curve for little. Then fixed-budget attacks, only at the grid
# point next to each example's distance: from random points, then from the nearest point known, last without
# gradients. Budgets come from benchmarks/curve.py: what the next step would still find against what it costs.
PRESETS: dict[Preset, tuple[Step, ...]] = {
    "quick": (
        Step("ddn", "ddn", ("L2",), {"steps": 40}),
        Step("minimal-apgd", "minimal-apgd", ("Linf", "L1"), {"steps": 40}),
        Step("sigma-zero", "sigma-zero", ("L0",), {"steps": 100}),
        Step("square", "square", parameters={"queries": 100}),
        Step("sparse-rs", "sparse-rs", ("L0",), {"queries": 100}, warm=True),
    ),
    "standard": (
        Step("ddn", "ddn", ("L2",), {"steps": 100}),
        Step("minimal-apgd", "minimal-apgd", ("Linf", "L1"), {"steps": 100}),
        Step("sigma-zero", "sigma-zero", ("L0",), {"steps": 500}),
        Step("pdpgd", "pdpgd", ("L1",), {"steps": 200}),
        Step("minimal-apgd-restarts", "minimal-apgd-restarts", parameters={"restarts": 16, "steps": 50, "misses": 3}),
        Step("minimal-apgd-targeted", "minimal-apgd-targeted", parameters={"steps": 40, "patience": 5}),
        Step("apgd-ce", "apgd", parameters={"steps": 30}),
        Step("apgd-targeted", "apgd-targeted", parameters={"steps": 40, "targets": 9, "trial": 6, "kept": 2}),
        Step("apgd-ce-warm", "apgd", parameters={"steps": 50}, warm=True),
        Step("square", "square", parameters={"queries": 500}, warm=True),
        Step("sparse-pgd", "sparse-pgd", ("L0",), {"steps": 60, "loss": Loss.MARGIN}),
        Step("sparse-rs", "sparse-rs", ("L0",), {"queries": 2500}, warm=True),
    ),
    "thorough": (
        Step("ddn", "ddn", ("L2",), {"steps": 200}),
        Step("minimal-apgd", "minimal-apgd", ("Linf", "L1"), {"steps": 200}),
        Step("sigma-zero", "sigma-zero", ("L0",), {"steps": 1000}),
        Step("pdpgd", "pdpgd", parameters={"steps": 200}),
        Step("minimal-apgd-restarts", "minimal-apgd-restarts", parameters={"restarts": 40, "steps": 50, "misses": 8}),
        Step("minimal-apgd-targeted", "minimal-apgd-targeted", parameters={"steps": 60}),
        Step("fab-targeted", "fab-targeted", parameters={"steps": 100}),
        Step("apgd-ce", "apgd", parameters={"steps": 100, "restarts": 5}),
        Step("apgd-targeted", "apgd-targeted", parameters={"steps": 100, "targets": 9, "trial": 0}),
        Step("apgd-ce-warm", "apgd", parameters={"steps": 100}, warm=True),
        Step("apgd-dlr-warm", "apgd", parameters={"steps": 100, "loss": Loss.DLR}, warm=True),
        Step("square-warm", "square", parameters={"queries": 2000}, warm=True),
        Step("square", "square", parameters={"queries": 5000}),
        Step("sparse-pgd", "sparse-pgd", ("L0",), {"steps": 100, "loss": Loss.MARGIN}),
        Step("sparse-rs", "sparse-rs", ("L0",), {"queries": 5000}, warm=True),
        Step("rays", "rays", ("Linf",), {"queries": 2000}),
        Step("hop-skip-jump", "hop-skip-jump", ("L2", "L1"), {"queries": 2000}, warm=True),
        Step("pointwise", "pointwise", ("L0",), {"queries": 2000}, warm=True),
    ),
    # AutoAttack's standard version (Croce & Hein 2020; for L1, Croce & Hein 2021) at every eps of the grid, from its own
    # random starts, knowing nothing of the other epsilons. FAB asks for no eps, and serves all of them in one run. As in
    # the original it has no final search and goes to the boundary itself, APGD steps out of the domain and back, and Square shrinks its patches as if it had 10,000 queries.
    "autoattack": (
        Step("apgd-ce", "apgd", ("Linf", "L2"), {"steps": 100, "bounded": False}, each_eps=True),
        Step("apgd-ce", "apgd", ("L1",), {"steps": 100, "restarts": 5, **_OF_L1}, each_eps=True),
        Step("apgd-targeted", "apgd-targeted", ("Linf", "L2"), {**_TARGETED, "targets": 9}, each_eps=True),
        Step("apgd-targeted", "apgd-targeted", ("L1",), {**_TARGETED, **_OF_L1, "targets": 5}, each_eps=True),
        Step(
            "fab-targeted",
            "fab-targeted",
            parameters={"steps": 100, "targets": 9, "final_search": False, "safe": False},
        ),
        Step("square", "square", parameters={"queries": 5000, "horizon": 10_000}, each_eps=True),
    ),
}

# What takes the place of a preset's attacks on scores where the upload gives labels only, and comes before them where it has
# no gradient: a nearest point gives the whole curve, which the attacks on scores then bring down. docs/blackbox.md has the
# figures that led here: in Linf HopSkipJump finds nothing after RayS, in L2 it goes much further from where SurFree ends.
BY_LABELS: dict[Preset, tuple[Step, ...]] = {
    "quick": (
        Step("rays", "rays", ("Linf",), {"queries": 400}),
        Step("hop-skip-jump", "hop-skip-jump", ("L2", "L1"), {"queries": 400}, warm=True),
        Step("pointwise", "pointwise", ("L0",), {"queries": 400}, warm=True),
    ),
    "standard": (
        Step("rays", "rays", ("Linf",), {"queries": 3000}),
        Step("surfree", "surfree", ("L2",), {"queries": 1000}),
        Step("hop-skip-jump", "hop-skip-jump", ("L2", "L1"), {"queries": 2000}, warm=True),
        Step("pointwise", "pointwise", ("L0",), {"queries": 3000}, warm=True),
    ),
    "thorough": (
        Step("rays", "rays", ("Linf",), {"queries": 10_000}),
        Step("surfree", "surfree", ("L2",), {"queries": 3000}),
        Step("hop-skip-jump", "hop-skip-jump", ("L2", "L1"), {"queries": 10_000}, warm=True),
        Step("pointwise", "pointwise", ("L0",), {"queries": 10_000}, warm=True),
    ),
}

# What comes last where constraints are declared: categories and whole numbers are no matter of gradients. So too where there is
# no gradient, since what has none is often cut along single features. AutoAttack's composition stays what it is.
TABLES: dict[Preset, Step] = {
    "quick": Step("feature-search", "feature-search", NORMS, {"queries": 300}, warm=True),
    "standard": Step("feature-search", "feature-search", NORMS, {"queries": 1500}, warm=True),
    "thorough": Step("feature-search", "feature-search", NORMS, {"queries": 5000}, warm=True),
}

# What comes first where the model is a sum of trees: it leaves little to the others, and what it proves spares them. A
# short search proves all of a small ensemble; of what it leaves, the deep one begins at what the local search found.
TREES: dict[Preset, tuple[Step, ...]] = {
    "quick": (
        Step("tree-search", "tree-search", NORMS, {"visits": 500_000}),
        Step("leaf-tuples", "leaf-tuples", NORMS, {"draws": 32, "kept": 2}),
    ),
    "standard": (
        Step("tree-search", "tree-search", NORMS, {"visits": 500_000}),
        Step("leaf-tuples", "leaf-tuples", NORMS, {"draws": 64, "kept": 3}),
        Step("tree-search-deep", "tree-search", NORMS, {"visits": 5_000_000}),
    ),
    "thorough": (
        Step("tree-search", "tree-search", NORMS, {"visits": 1_000_000}),
        Step("leaf-tuples", "leaf-tuples", NORMS, {"draws": 256, "kept": 8}),
        Step("tree-search-deep", "tree-search", NORMS, {"visits": 50_000_000}),
    ),
}

# Where surrogates are named: ten gradients of theirs, and one query of the model per example and eps. Of the
# methods that cost no more, and the losses, this broke most, by little (benchmarks/transfer.py). Towards a target too:
# over three pairs of networks, two eps each, the margin reached 93 targets of 360, the logit (Zhao et al. 2021) 64.
TRANSFER = (Step("transfer", "transfer-ti-fgsm", ("Linf", "L2"), {"loss": Loss.MARGIN}),)


# Where chance plays a part each pass costs DRAWS passes, as many as AutoAttack's "rand" version averages; like it, a preset
# then keeps what finds most (the nearest point from x, and APGD with two losses), and asks for scores as `quick` does.
DRAWS = 20
AVERAGED = {"ddn", "minimal-apgd", "sigma-zero", "apgd-ce", "apgd-dlr-warm"}


def chosen_stages(
    spec: AuditSpec, *, gradient: bool = True, label_only: bool = False, random: bool = False, trees: bool = False
) -> list[Stage]:
    """The preset's stages for the norms asked for, or those of the attacks named, and where surrogates are named one that
    follows them; SpecError where there are none.

    gradient: there is one that attacks follow; where there is none and no trees are known, decisions come before scores.
    label_only: the upload tells no scores, so that a preset's attacks see no more than labels or gradients. random: it
    draws at random. Where it does, or inputs are transformed at random, every pass of an attack averages several, and a
    preset's stages are fewer. trees: it is a sum of trees that attacks may know.
    """
    random = random or bool(spec.eot)
    norms = [threat.norm for threat in spec.threats]
    steps = [_named(name) for name in spec.attacks] or _preset(spec, label_only, random)
    blind = not (gradient or label_only or random or trees or spec.attacks) and spec.preset in BY_LABELS
    if blind:
        decisions = BY_LABELS[spec.preset]
        steps = [
            *decisions,
            *(step for step in steps if step.attack not in {decision.attack for decision in decisions}),
        ]
    if trees and spec.preset in TREES and not spec.attacks:
        steps[:0] = TREES[spec.preset]
    if (blind or spec.constraints is not None) and spec.preset in TABLES and not (spec.attacks or label_only):
        steps.append(TABLES[spec.preset])
    if spec.target is not None and spec.also:
        raise SpecError("threats beside the norms know no target; leave --also or --target out")
    if spec.surrogates and not any(CATALOGUE[step.attack].access == "transfer" for step in steps):
        steps += TRANSFER
    if spec.tabular and any(CATALOGUE[step.attack].access == "transfer" for step in steps):
        raise SpecError(
            "transfer attacks know nothing of constraints, nor of inputs that come with each example; leave the surrogates or these out"
        )
    for norm in norms:
        if not any(norm in step.norms for step in steps):
            raise SpecError(f"none of the attacks {', '.join(step.name for step in steps)} works in {norm}")
    stages = [step.stage(norm, spec) for norm in norms for step in steps if norm in step.norms]
    return [replace(stage, draws=spec.draws or DRAWS) for stage in stages] if random else stages


def _preset(spec: AuditSpec, label_only: bool, random: bool) -> list[Step]:
    preset = spec.preset
    if spec.target is not None and preset == "autoattack":
        raise SpecError("AutoAttack looks for any other class; leave --target out, or take another preset")
    steps = PRESETS[preset]
    if random and preset == "autoattack":
        raise SpecError("the preset 'autoattack' knows nothing of chance in a model or before it; take another one")
    if random:
        by_scores = (step for step in PRESETS["quick"] if CATALOGUE[step.attack].access == "score")
        steps = (*(step for step in steps if step.name in AVERAGED), *by_scores)
    if label_only:
        if preset not in BY_LABELS:
            why = "asks for class scores, and this model gives labels; take another one"
            raise SpecError(f"the preset '{preset}' {why}")
        steps = (*(s for s in steps if CATALOGUE[s.attack].access == "white-box"), *BY_LABELS[preset])
    return list(steps)


def _named(name: str) -> Step:
    """A step of `standard`, or `transfer`, by its name; else an attack of the catalogue with its own defaults; else a
    step of `thorough`."""
    own = {attack: Step(attack, attack) for attack in CATALOGUE}
    known = (
        _by_name(PRESETS["thorough"])
        | own
        | _by_name(TREES["standard"])
        | _by_name(PRESETS["standard"])
        | _by_name(TRANSFER)
    )
    if name in known:
        return replace(known[name], norms=CATALOGUE[known[name].attack].norms)
    raise SpecError(f"there is no attack '{name}'; choose from {', '.join(sorted(known))}")


def _by_name(steps: Sequence[Step]) -> dict[str, Step]:
    return {step.name: step for step in steps}
