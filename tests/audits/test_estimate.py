"""What an audit can cost at most, held against what audits do cost."""

import pytest

from auditor import local, options
from auditor.attacks.catalogue import CATALOGUE, Passes
from auditor.attacks.diagnosis import DRAWS
from auditor.attacks.diagnosis import PASSES as SLOPES
from auditor.attacks.space import Space
from auditor.audits.estimate import Speed, estimate
from auditor.audits.presets import PRESETS
from auditor.request import settle
from auditor.spec import AuditSpec, Budget, Threat, Transformation
from auditor.threats.catalogue import chosen_others

SPEC = AuditSpec(threats=(Threat(norm="Linf", eps=("0.05", "0.1")), Threat(norm="L2", eps=("1",))), preset="quick")


def passes(**fields):
    named = {name: fields.pop(name) for name in ("examples", "classes", "gradient", "label_only") if name in fields}
    return estimate(SPEC.model_copy(update=fields), **{"examples": 200, "classes": 10} | named)["passes_at_most"]


@pytest.mark.parametrize(
    ("attack", "parameters", "classes", "most"),
    [
        ("fgsm", {}, 10, Passes(2, 1)),
        ("pgd", {"steps": 20, "restarts": 3}, 10, Passes(63, 60)),
        ("pgd", {}, 10, Passes(41, 40)),
        ("apgd", {"steps": 50}, 10, Passes(50, 50)),
        ("apgd-targeted", {"steps": 50, "targets": 9, "trial": 10, "kept": 2}, 10, Passes(191, 190)),
        ("apgd-targeted", {"steps": 50, "targets": 9, "trial": 10, "kept": 2}, 3, Passes(101, 100)),
        ("apgd-targeted", {"steps": 50, "targets": 3, "trial": 0, "candidates": 20}, 100, Passes(171, 170)),
        ("minimal-apgd-targeted", {"steps": 60}, 3, Passes(125, 124)),
        ("minimal-apgd-restarts", {"restarts": 8, "steps": 100}, 10, Passes(816, 816)),
        ("ddn", {"steps": 40}, 10, Passes(41, 41)),
        ("fab", {"steps": 20}, 10, Passes(205, 180)),
        ("fab", {"steps": 20, "restarts": 2, "targets": 4}, 10, Passes(210, 161)),
        ("fab-targeted", {"steps": 20}, 10, Passes(397, 180)),
        ("fab-targeted", {"steps": 20}, 2, Passes(45, 20)),
        ("fab-targeted", {"steps": 20, "final_search": False}, 10, Passes(361, 180)),
        ("fmn", {"steps": 40}, 10, Passes(41, 41)),
        ("deepfool", {"steps": 5}, 10, Passes(51, 45)),
        ("superdeepfool", {"steps": 5}, 10, Passes(55, 45)),
        ("cw", {"searches": 3, "steps": 20}, 10, Passes(61, 61)),
        ("mi-fgsm", {"steps": 10}, 10, Passes(11, 10)),
        ("hop-skip-jump", {"queries": 300}, 10, Passes(300, 0)),
        ("noise", {}, 10, Passes(1000, 0)),
        ("square", {"queries": 100, "layout": "NCHW"}, 10, Passes(100, 0)),
        ("transfer-mi-fgsm", {}, 10, Passes(12, 10)),
        ("transfer-vmi-fgsm", {"steps": 3}, 10, Passes(45, 43)),
        ("transfer-ila", {"steps": 5}, 10, Passes(19, 17)),
        ("transfer-pgn", {"steps": 5}, 2, Passes(202, 200)),
    ],
)
def test_an_attack_costs_what_its_parameters_allow(attack, parameters, classes, most):
    assert CATALOGUE[attack].at_most(parameters, classes) == most


_AT_RANDOM = {"eot": ["noise:0.05"], "draws": 3, "norm": ["Linf"], "eps": ["0.02,0.1"]}


@pytest.mark.parametrize(
    "words",
    [
        {"preset": "quick"},
        {"attack": sorted(CATALOGUE)},
        {"norm": ["L0"], "eps": ["1,3"]},
        _AT_RANDOM | {"attack": ["fgsm", "square", "transfer-ila"]},
    ],
)
def test_no_audit_costs_more(words, demo_model, demo_data, tmp_path):
    counted = []
    request = options.request(
        {
            "model": demo_model,
            "data": demo_data,
            "out": tmp_path,
            "examples": 3,
            "batch_size": 3,
            "threads": 1,
            "norm": ["Linf", "L2", "L1", "L0"],
            "eps": ["0.02,0.1", "0.25,2", "1", "3"],
            "surrogate": [str(demo_model)] if "attack" in words else [],
        }
        | words
    )
    asked = settle(request)
    local.audit(request, asked, lambda step: counted.append(step.progress.rows[-1]))
    spent = sum(row.forwards + row.backwards for row in counted)
    most = estimate(asked.subject.spec, examples=3, classes=10)
    assert 0 < spent <= most["passes_at_most"]
    assert most["passes_at_most"] < 100 * spent


def test_more_of_anything_costs_more():
    assert passes(examples=201) > passes()
    assert passes(threats=(Threat(norm="Linf", eps=("0.05", "0.1", "0.2")), SPEC.threats[1])) > passes()
    assert passes(preset="standard") > passes()
    assert passes(preset="standard", classes=10) > passes(preset="standard", classes=3)


def test_without_a_gradient_queries_alone_are_paid_for():
    """Decisions once per norm, scores at each eps."""
    assert passes(gradient=False) == (200 + 100) * (2 * 400 + (2 + 1) * (100 + 300))


def test_labels_alone_are_paid_for_where_there_are_no_scores():
    assert passes(gradient=False, label_only=True) == 200 * 2 * 400 + 100 * 2 * 400


def test_a_budget_of_passes_bounds_the_cascade_and_not_the_diagnosis():
    unbounded, bounded = passes(), passes(budget=Budget(passes=50))
    stage = 2 * 100
    assert unbounded - bounded == 200 * ((2 * 42 + 2 * 41 + 3 * 100) - (49 + stage))
    assert passes(budget=Budget(passes=10**6)) == unbounded


def test_seconds_come_from_a_measured_pass_and_end_with_the_budget_of_time():
    assert estimate(SPEC, examples=10, classes=10)["pass_seconds_at_most"] is None
    free = estimate(SPEC, examples=10, classes=10, speed=Speed(forward=0.1, gradient=0.2))
    assert free["pass_seconds_at_most"] == pytest.approx(0.1 * free["passes_at_most"])
    assert free["seconds_per_pass"] == pytest.approx(0.1)
    timed = SPEC.model_copy(update={"budget": Budget(seconds=3.0)})
    assert estimate(timed, examples=10, classes=10, speed=Speed(0.1, 0.2))["pass_seconds_at_most"] == 3.0


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_estimated(preset):
    assert passes(preset=preset) > 0


def test_what_is_averaged_costs_its_draws_in_the_probes_too():
    spec = SPEC.model_copy(update={"eot": (Transformation.parse("noise:0.1"),), "attacks": ("fgsm",), "draws": 7})
    one, seven = (
        estimate(spec.model_copy(update={"draws": draws}), examples=100, classes=10)["passes_at_most"]
        for draws in (2, 7)
    )
    in_one_draw = 100 * (2 * SLOPES + DRAWS + 1)  # gradients and the loss around each example
    assert (seven - in_one_draw) * 2 == (one - in_one_draw) * 7


def test_threats_that_follow_gradients_cost_their_draws():
    spec = SPEC.model_copy(
        update={"also": ("colour", "fog"), "domain": (0.0, 1.0), "eot": (Transformation.parse("noise:0.1"),)}
    )
    others = chosen_others(spec, Space(spec.domain), (1, 8, 8), left=0)
    with_them, without = (
        estimate(spec, examples=200, classes=10, others=some)["passes_at_most"] for some in (others, ())
    )
    assert with_them - without == 200 * (20 * (5 * 31 + 5 * 30) + 5)


def test_threats_beside_the_norms_cost_their_points():
    spec = SPEC.model_copy(update={"also": ("corruptions",), "domain": (0.0, 1.0)})
    with_them, without = (
        estimate(spec, examples=200, classes=10, others=others)["passes_at_most"]
        for others in (chosen_others(spec, Space(spec.domain), (1, 8, 8), left=0), ())
    )
    assert with_them - without == 200 * 75
