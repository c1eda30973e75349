"""The plan is a function of the request, and of nothing around it."""

import json
from itertools import pairwise

import pytest

from auditor.attacks.catalogue import CATALOGUE, Passes
from auditor.audits.plan import BATCHES_PER_SLICE, Plan, default_batch, make_plan
from auditor.audits.presets import BY_LABELS, PRESETS, chosen_stages
from auditor.errors import SpecError
from auditor.spec import AuditSpec, Threat

LINF, L2, L1 = (Threat(norm=norm, eps=("0.1",)) for norm in ("Linf", "L2", "L1"))
L0 = Threat(norm="L0", eps=("3",))


def spec(*threats, **fields):
    return AuditSpec(threats=threats or (LINF,), threads=1, **fields)


@pytest.mark.parametrize("examples", [1, 31, 32, 33, 1000])
def test_slices_cover_every_example_once(examples):
    slices = make_plan(spec(), examples, batch=8, gradient=True).slices
    assert slices[0][0] == 0
    assert slices[-1][1] == examples
    assert all(before[1] == after[0] for before, after in pairwise(slices))
    assert all(stop - start <= 8 * BATCHES_PER_SLICE for start, stop in slices)


def test_a_plan_survives_json():
    plan = make_plan(spec(LINF, L2), 100, batch=8, gradient=True)
    assert Plan.from_json(json.loads(json.dumps(plan.as_json()))) == plan


def test_a_plan_does_not_depend_on_the_budget():
    budgets = [make_plan(spec(budget={"passes": passes}), 50, batch=4, gradient=True) for passes in (None, 10)]
    assert budgets[0] == budgets[1]


@pytest.mark.parametrize(
    ("preset", "threat"),
    [
        (preset, threat)
        for preset in PRESETS
        for threat in (LINF, L2, L1, L0)
        if (preset, threat) != ("autoattack", L0)
    ],
)
def test_every_preset_attacks_every_norm_with_and_without_gradients(preset, threat):
    stages = chosen_stages(spec(threat, preset=preset))
    accesses = {"white-box", "score"} | ({"decision"} if preset == "thorough" else set())
    assert {stage.access for stage in stages} == accesses
    assert all(threat.norm in CATALOGUE[stage.attack].norms for stage in stages)
    assert len({stage.name for stage in stages}) == len(stages)


def test_without_a_gradient_only_attacks_that_need_none_remain():
    plan = make_plan(spec(LINF, L2), 10, batch=4, gradient=False)
    assert {stage.access for stage in plan.stages} == {"score", "decision"}
    with pytest.raises(SpecError, match="add --attack square"):
        make_plan(spec(attacks=("pgd",)), 10, batch=4, gradient=False)


@pytest.mark.parametrize("preset", BY_LABELS)
@pytest.mark.parametrize("threat", [LINF, L2, L1, L0], ids=lambda threat: threat.norm)
def test_without_a_gradient_decisions_come_before_scores(preset, threat):
    accesses = [stage.access for stage in make_plan(spec(threat, preset=preset), 10, batch=4, gradient=False).stages]
    assert accesses == sorted(accesses)
    assert set(accesses) == {"decision", "score"}
    names = [stage.name for stage in make_plan(spec(threat, preset=preset), 10, batch=4, gradient=False).stages]
    assert len(set(names)) == len(names)
    of_trees = make_plan(spec(threat, preset=preset), 10, batch=4, gradient=False, trees=True)
    assert "feature-search" not in {stage.name for stage in of_trees.stages}


@pytest.mark.parametrize("preset", BY_LABELS)
@pytest.mark.parametrize("threat", [LINF, L2, L1, L0], ids=lambda threat: threat.norm)
def test_a_model_that_gives_only_labels_is_asked_for_no_scores(preset, threat):
    for gradient, accesses in ((True, {"white-box", "decision"}), (False, {"decision"})):
        plan = make_plan(spec(threat, preset=preset), 10, batch=4, gradient=gradient, label_only=True)
        assert {stage.access for stage in plan.stages} == accesses
        assert len({stage.name for stage in plan.stages}) == len(plan.stages)


def test_autoattack_is_refused_where_it_has_no_scores_and_in_a_norm_that_it_does_not_know():
    with pytest.raises(SpecError, match="'autoattack' asks for class scores"):
        chosen_stages(spec(preset="autoattack"), label_only=True)
    with pytest.raises(SpecError, match="works in L0"):
        chosen_stages(spec(Threat(norm="L0", eps=("3",)), preset="autoattack"))


@pytest.mark.parametrize("threat", [LINF, L2, L1], ids=lambda threat: threat.norm)
def test_autoattack_spends_what_the_original_may(threat):
    """Of one example that stands: forwards and backwards of Croce & Hein's four attacks, but for the steps' first points."""
    stages = chosen_stages(spec(threat, preset="autoattack"))
    assert [stage.attack for stage in stages] == ["apgd", "apgd-targeted", "fab-targeted", "square"]
    assert all(stage.each_eps and not stage.warm for stage in stages if stage.attack != "fab-targeted")
    spent = {stage.name: CATALOGUE[stage.attack].at_most(stage.parameters, 10) for stage in stages}
    restarts, targets = (5, 5) if threat.norm == "L1" else (1, 9)
    assert spent["apgd-ce"].backwards == 100 * restarts
    assert spent["apgd-targeted"].backwards == 100 * targets
    assert spent["fab-targeted"].backwards == 100 * 9
    assert spent["square"] == Passes(5000)


def test_an_attack_on_scores_that_is_named_runs_behind_the_labels_too():
    (stage,) = chosen_stages(spec(attacks=("square",)), label_only=True)
    assert stage.access == "score"


def test_named_attacks_run_where_they_can():
    stages = chosen_stages(spec(LINF, L2, attacks=("pgd", "ddn")))
    assert [(stage.norm, stage.name) for stage in stages] == [("Linf", "pgd"), ("L2", "pgd"), ("L2", "ddn")]


@pytest.mark.parametrize("step", PRESETS["standard"], ids=lambda step: step.name)
def test_a_step_of_the_standard_preset_can_be_named(step):
    norm = step.norms[0]
    (stage,) = chosen_stages(spec(Threat(norm=norm, eps=("0.1",)), attacks=(step.name,)))
    assert (stage.name, stage.attack, stage.warm) == (step.name, step.attack, step.warm)
    assert stage.parameters.items() >= step.parameters.items()


def test_an_attack_that_there_is_not_is_refused():
    with pytest.raises(SpecError, match=r"no attack 'magic'; choose from .*pgd"):
        chosen_stages(spec(attacks=("magic",)))
    with pytest.raises(SpecError, match="ddn works in Linf"):
        chosen_stages(spec(LINF, attacks=("ddn",)))


def test_larger_inputs_get_smaller_batches():
    batches = [
        default_batch(shape) for shape in ((10,), (1, 28, 28), (3, 32, 32), (3, 96, 96), (3, 224, 224), (3, 999, 999))
    ]
    assert batches == sorted(batches, reverse=True)
    assert min(batches) > 1
