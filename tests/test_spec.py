"""The request as values: exact numbers, one digest over all that can change a result."""

from fractions import Fraction

import pytest

from auditor.constraints import Constraints
from auditor.errors import SpecError
from auditor.spec import (
    AuditSpec,
    Budget,
    Detector,
    Gate,
    Held,
    Normalisation,
    Policy,
    SurrogateFile,
    Threat,
    Transformation,
    build,
    digest,
    exact,
    spec_sha256,
)

THREAT = Threat(norm="Linf", eps=("8/255",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", Fraction(8, 255)),
        ("0.03", Fraction(3, 100)),
        ("0.5/255", Fraction(1, 510)),
        ("1e-3", Fraction(1, 1000)),
        ("3", Fraction(3)),
        ("0", Fraction(0)),
    ],
)
def test_a_number_is_kept_as_it_was_written(text, value):
    assert exact(text) == value


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1/0", "1/0.0", "nan", "inf", "0x10", "1_000", " 1", "1,5", "1e9999", "9" * 99, "½"]
)
def test_what_is_no_number_is_refused(text):
    with pytest.raises(SpecError):
        exact(text)


def test_a_grid_of_eps_is_sorted_and_without_repetition():
    assert Threat(norm="Linf", eps=("0.5", "1/255", "1/2", "2/510")).eps == ("1/255", "0.5")


@pytest.mark.parametrize("eps", ["0", "0/255", "1e-40", "1e40"])
def test_an_eps_that_is_no_size_is_refused(eps):
    with pytest.raises(SpecError, match=f"eps of {eps}"):
        Threat(norm="Linf", eps=(eps,))


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("500passes", Budget(passes=500)),
        ("500 passes", Budget(passes=500)),
        ("90s", Budget(seconds=90)),
        ("10m", Budget(seconds=600)),
        ("1.5h", Budget(seconds=5400)),
    ],
)
def test_a_budget_is_passes_or_time(text, budget):
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "500", "0s", "0passes", "-5m", "1.5passes", "5d", "infh", "1e9h"])
def test_a_budget_that_is_neither_is_refused(text):
    with pytest.raises(SpecError, match="budget"):
        Budget.parse(text)


def test_a_gate_says_its_rule():
    gate = Gate.parse("Linf:8/255=0.40")
    assert (gate.norm, gate.eps, gate.threshold, gate.rule) == ("Linf", "8/255", 0.4, "Linf:8/255=0.4")


@pytest.mark.parametrize("text", ["Linf", "Linf:8/255", "Linf=0.4", "L3:1=0.4", "Linf:8/255=1.1", "Linf:8/255=nan"])
def test_a_gate_that_makes_no_sense_is_refused(text):
    with pytest.raises(SpecError):
        Gate.parse(text)


OTHER = {
    "also": ("fog",),
    "threats": (Threat(norm="Linf", eps=("9/255",)),),
    "preset": "quick",
    "attacks": ("pgd",),
    "domain": (0.0, 2.0),
    "normalisation": Normalisation(mean=(0.5,), std=(1.0,)),
    "layout": "NCHW",
    "input": "a",
    "output": "b",
    "examples": 7,
    "seed": 7,
    "device": "cuda",
    "batch_size": 7,
    "threads": 7,
    "surrogates": (SurrogateFile(sha256="0" * 64),),
    "quantize": 8,
    "constraints": Constraints(features={"age": {"immutable": True}}),
    "target": 0,
    "draws": 7,
    "abstain": 0,
    "detector": Detector(output="reject"),
    "eot": (Transformation.parse("noise:0.05"),),
    "threshold": 0.0,
    "unbatched": True,
    "multilabel": True,
    "label": 0,
    "fix": (Held.parse("mask=1"),),
}
NEEDS = {"quantize": {"domain": (0.0, 1.0)}}
UNDIGESTED = {
    "budget": Budget(passes=7),
    "gates": (Gate.parse("Linf:8/255=0.4"),),
    "policy": Policy(clean=0.5),
}


def test_every_field_is_told_apart_or_known_not_to_change_a_result():
    assert set(OTHER) | set(UNDIGESTED) == set(AuditSpec.model_fields)


@pytest.mark.parametrize("field", OTHER)
def test_the_digest_covers_what_can_change_a_result(field):
    without = {"threats": (THREAT,), **NEEDS.get(field, {})}
    assert AuditSpec(**{**without, field: OTHER[field]}).sha256 != AuditSpec(**without).sha256


@pytest.mark.parametrize("field", UNDIGESTED)
def test_the_digest_leaves_out_what_only_cuts_short_or_judges(field):
    assert AuditSpec(threats=(THREAT,), **{field: UNDIGESTED[field]}).sha256 == AuditSpec(threats=(THREAT,)).sha256


def test_an_audit_without_a_target_has_the_digest_that_it_had_before_there_were_targets():
    fields = AuditSpec(threats=(THREAT,)).model_dump(mode="json")
    assert spec_sha256({name: value for name, value in fields.items() if name != "target"}) == spec_sha256(fields)


@pytest.mark.parametrize("target", [-1, 2**31, "any", 1.5])
def test_a_target_that_is_no_class_is_refused(target):
    with pytest.raises(SpecError, match="target"):
        build(AuditSpec, threats=(THREAT,), target=target)


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})


def test_eps_is_measured_in_widths_of_the_domain():
    assert AuditSpec(threats=(THREAT,), domain=(-1.0, 3.0)).width == 4
    assert AuditSpec(threats=(THREAT,)).width == 1


def test_an_attack_that_is_named_twice_runs_once():
    assert AuditSpec(threats=(THREAT,), attacks=("pgd", "apgd", "pgd")).attacks == ("pgd", "apgd")


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_the_generator_cannot_take_is_refused(seed):
    with pytest.raises(SpecError, match="seed"):
        build(AuditSpec, threats=(THREAT,), seed=seed)


def test_levels_need_a_domain_to_lie_in():
    with pytest.raises(SpecError, match="quantize needs one"):
        build(AuditSpec, threats=(THREAT,), quantize=8)


def test_levels_and_constraints_are_not_asked_for_at_once():
    with pytest.raises(SpecError, match="say a step there instead"):
        build(AuditSpec, threats=(THREAT,), domain=(0.0, 1.0), quantize=8, constraints=OTHER["constraints"])


def test_constraints_keep_the_digest_through_json():
    spec = AuditSpec(threats=(THREAT,), constraints=OTHER["constraints"])
    assert AuditSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec_sha256(spec.model_dump(mode="json")) == spec.sha256


def test_a_wrong_field_is_named():
    with pytest.raises(SpecError, match=r"examples: .*greater than or equal to 1 \(got 0\)"):
        build(AuditSpec, threats=(THREAT,), examples=0)
    with pytest.raises(SpecError, match="speed"):
        build(AuditSpec, threats=(THREAT,), speed=1)


@pytest.mark.parametrize(
    ("written", "output", "threshold"), [("reject", "reject", 0.5), ("a:0.9", "a", 0.9), ("a:0:-2", "a:0", -2.0)]
)
def test_a_detector_is_an_output_and_a_threshold(written, output, threshold):
    assert Detector.parse(written) == Detector(output=output, threshold=threshold)
    assert Detector.parse(str(Detector.parse(written))) == Detector.parse(written)


@pytest.mark.parametrize(
    ("written", "why"), [("", "output"), (":0.5", "output"), ("a:high", "OUTPUT:THRESHOLD"), ("a:nan", "threshold")]
)
def test_what_is_no_detector_is_said(written, why):
    with pytest.raises(SpecError, match=why):
        Detector.parse(written)
