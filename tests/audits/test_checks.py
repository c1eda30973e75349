"""Each check both ways: silent where nothing is wrong, loud where something is."""

import numpy as np
import pytest

from auditor.attacks.diagnosis import Slopes
from auditor.audits import checks
from auditor.audits.gates import findings

EPS = ("1/255", "2/255", "4/255", "8/255")


def rows(n, *, of=100):
    """(of,) bool with n True."""
    return np.arange(of) < n


def slopes(*, zero=0, saturated=0, masked=0, undefined=0, probabilities=0):
    return Slopes(
        zero=rows(zero),
        zero_cross_entropy=rows(zero + saturated),
        zero_label=rows(zero + masked),
        finite=~rows(undefined),
        probabilities=rows(probabilities),
    )


def standing(n, level, *, of=100):
    """Positions in the grid: n examples stand up to `level`, the others nothing."""
    return np.where(rows(n, of=of), level, -1)


def test_a_count_is_surely_above_a_share_only_when_its_lower_limit_is():
    assert checks.surely_above(2, 100, 0.002)
    assert not checks.surely_above(2, 100, 0.002, looks=10)
    assert checks.surely_above(3, 100, 0.002, looks=10)
    assert not checks.surely_above(2, 100, 0.003)


def test_a_single_example_is_never_sure():
    assert not checks.surely_above(1, 1, 0.002)


def test_random_outputs_are_an_error():
    assert checks.randomised_output(True).severity == "error"
    assert checks.randomised_output(False).severity == "info"


def test_a_gradient_that_was_not_trusted_is_a_warning_with_its_reason():
    found = checks.gradient_agrees("score", "Round (node 'r'): its slope is zero", None, None)
    assert found.severity == "warning"
    assert "Round" in found.message
    assert checks.gradient_agrees("white-box", "it agrees", 0.01, 0.9).severity == "info"


@pytest.mark.parametrize(
    ("zero", "severity"), [(0, "info"), (1, "info"), (2, "warning"), (49, "warning"), (50, "error")]
)
def test_gradients_that_vanish_are_worse_the_more_there_are(zero, severity):
    assert checks.gradient_vanishes(slopes(zero=zero)).severity == severity


@pytest.mark.parametrize(("masked", "severity"), [(0, "info"), (1, "info"), (2, "warning"), (100, "warning")])
def test_a_label_whose_own_score_has_no_gradient_hides_half_of_the_way(masked, severity):
    assert checks.gradient_vanishes(slopes(masked=masked)).severity == severity


@pytest.mark.parametrize(("undefined", "severity"), [(0, "info"), (1, "warning"), (60, "error")])
def test_every_gradient_that_is_not_finite_counts(undefined, severity):
    assert checks.gradient_vanishes(slopes(undefined=undefined)).severity == severity


def test_a_saturated_softmax_matters_only_where_no_attack_ascends_another_loss():
    assert checks.softmax_saturates(slopes(saturated=30), ["L2"]).severity == "warning"
    assert checks.softmax_saturates(slopes(saturated=30), []).severity == "info"
    assert checks.softmax_saturates(slopes(saturated=0), ["L2"]).severity == "info"


def test_examples_without_any_gradient_are_not_blamed_on_the_softmax():
    assert checks.softmax_saturates(slopes(zero=30), ["L2"]).severity == "info"


def test_probabilities_are_said_to_be_traced_back_or_not():
    assert "no logits were found" in checks.gives_probabilities("logits", slopes(probabilities=100)).message
    assert "traced back" in checks.gives_probabilities("probabilities", slopes()).message
    assert "gives logits" in checks.gives_probabilities("logits", slopes()).message
    assert "follow the scores" in checks.gives_probabilities("label", slopes()).message
    assert "scores" not in checks.gives_probabilities("label", None).message
    assert "only scores" in checks.gives_probabilities("probabilities", None).message


def test_a_black_box_attack_that_breaks_what_gradients_do_not_is_a_warning():
    found = checks.beats_gradients("square", "Linf", EPS, standing(50, 1), standing(55, 3))
    assert found.severity == "warning"
    assert found.evidence["only_it"] == 55
    assert found.evidence["eps"] == "4/255"


def test_a_black_box_attack_that_is_a_little_luckier_is_no_finding():
    found = checks.beats_gradients("square", "Linf", EPS, standing(50, 3), standing(52, 3))
    assert found.severity == "info"
    assert found.evidence["only_it"] == 2


def pursued(n, left):
    """Square breaks 55 that no white-box attack does, a longer one n of these; the cascade leaves `left`."""
    found = {"cascade": standing(left, 3), "pursued": rows(n)}
    return checks.beats_gradients("square", "Linf", EPS, standing(50, 1), standing(55, 3), **found)


def test_what_a_longer_gradient_attack_breaks_too_is_no_sign_of_gradients_that_mislead():
    found = [pursued(n, left=0) for n in (0, 52, 55)]
    assert [check.severity for check in found] == ["warning", "warning", "info"]
    assert [check.evidence["left_by_longer"] for check in found] == [55, 3, 0]


def test_a_longer_gradient_attack_must_not_break_many_more_than_the_cascade():
    assert [pursued(55, left).severity for left in (0, 2, 20)] == ["info", "info", "warning"]
    assert pursued(55, 20).evidence["more_by_longer"] == 20


def test_a_black_box_attack_that_is_weaker_everywhere_is_no_finding():
    found = checks.beats_gradients("square", "Linf", EPS, standing(80, 3), standing(20, 0))
    assert found.severity == "info"
    assert found.evidence["only_it"] == 0


def test_more_examples_than_one_class_has_cannot_stand_half_the_domain():
    labels = np.repeat(np.arange(10), 10)
    assert checks.stands_at_half_domain(~rows(30), labels).severity == "warning"
    assert checks.stands_at_half_domain(~rows(10), labels).severity == "info"
    assert checks.stands_at_half_domain(~rows(0), labels).severity == "info"


def test_pgd_that_loses_to_one_step_is_a_warning():
    assert checks.one_step_wins("8/255", "Linf", rows(30), rows(10)).severity == "warning"
    assert checks.one_step_wins("8/255", "Linf", rows(10), rows(30)).severity == "info"
    assert checks.one_step_wins("8/255", "Linf", rows(12), rows(10)).severity == "info"
    assert checks.one_step_wins("8/255", "Linf", rows(0), rows(0)).severity == "info"


def test_doubling_the_steps_may_change_little_but_not_much():
    assert checks.more_steps_help("8/255", "Linf", rows(40), rows(52)).severity == "warning"
    assert checks.more_steps_help("8/255", "Linf", rows(40), rows(42)).severity == "info"
    assert checks.more_steps_help("8/255", "Linf", rows(40), rows(30)).severity == "info"


def test_doubling_the_steps_is_read_net_of_what_it_lost():
    fewer = np.concatenate([rows(0, of=11), rows(4, of=4), rows(0, of=85)])
    assert checks.more_steps_help("8/255", "Linf", fewer, rows(11)).severity == "info"


def test_a_loss_that_still_rises_on_most_examples_is_a_warning():
    assert checks.loss_still_rises("8/255", "Linf", np.full(40, 0.2)).severity == "warning"
    assert checks.loss_still_rises("8/255", "Linf", np.full(40, 0.01)).severity == "info"
    assert checks.loss_still_rises("8/255", "Linf", np.full(40, np.nan)).severity == "info"


def test_refuted_claims_are_a_warning_when_they_are_no_accident():
    assert checks.claims_refuted(500, 40).severity == "warning"
    assert checks.claims_refuted(500, 3).severity == "info"
    assert checks.claims_refuted(0, 0).severity == "info"


def test_an_attack_alone_above_the_cascade_is_an_error():
    assert checks.beats_cascade("apgd-ce", "Linf", EPS, standing(40, 3), standing(50, 3)).severity == "error"
    assert checks.beats_cascade("apgd-ce", "Linf", EPS, standing(49, 3), standing(50, 3)).severity == "info"
    assert checks.beats_cascade("apgd-ce", "Linf", EPS, standing(50, 3), standing(40, 3)).severity == "info"


def test_an_attack_alone_that_breaks_other_examples_than_the_cascade_is_a_warning():
    alone, cascade = standing(50, 3), np.roll(standing(50, 3), 15)
    found = checks.beats_cascade("ddn", "L2", EPS, alone, cascade)
    assert found.severity == "warning"
    assert (found.evidence["only_it"], found.evidence["only_cascade"]) == (15, 15)


def test_where_the_cascade_ran_on_nothing_no_attack_is_above_it():
    nobody = np.zeros(0, np.int64)
    assert checks.beats_cascade("apgd-ce", "Linf", EPS, nobody, nobody).severity == "info"


def test_a_diagnosis_that_did_not_end_is_a_warning():
    assert checks.unfinished(["alone-Linf-square"]).severity == "warning"
    assert checks.unfinished([]).severity == "info"


def test_a_check_that_was_not_made_says_why_and_is_no_finding():
    check = checks.not_made("half-domain-accuracy", "the inputs have no domain")
    assert "no domain" in check.message
    assert findings([check.as_json()]) == []


def test_a_loss_that_jumps_on_many_examples_is_a_warning():
    assert checks.loss_jumps(np.where(rows(30), 0.5, 0.01)).severity == "warning"
    assert checks.loss_jumps(np.where(rows(30), np.nan, 0.01)).severity == "warning"
    assert checks.loss_jumps(np.where(rows(5), 0.5, 0.01)).severity == "info"


def test_adversarial_examples_that_were_met_and_lost_are_a_warning():
    assert checks.silent_success(rows(40), rows(37)).severity == "warning"
    assert checks.silent_success(rows(40), rows(40)).severity == "info"
    assert checks.silent_success(rows(40), rows(60)).evidence["silent"] == 0


def test_examples_that_no_unlimited_attack_breaks_are_an_error():
    assert checks.never_broken(["L2"], np.where(rows(2), np.inf, 0.3)).severity == "error"
    assert checks.never_broken(["L2"], np.where(rows(1), np.inf, 0.3)).severity == "info"


def test_starts_that_still_break_more_when_doubled_are_a_warning():
    assert checks.restarts_help("0.1", "Linf", rows(30), rows(40)).severity == "warning"
    assert checks.restarts_help("0.1", "Linf", rows(30), rows(34)).severity == "info"


def test_a_surrogate_whose_points_do_not_transfer_is_a_warning_where_nothing_else_follows_gradients():
    assert checks.transfers("t", "Linf", "0.1", 50, 2, alone=True).severity == "warning"
    assert checks.transfers("t", "Linf", "0.1", 50, 2, alone=False).severity == "info"
    assert checks.transfers("t", "Linf", "0.1", 50, 25, alone=True).severity == "info"
    assert checks.transfers("t", "Linf", "0.1", 0, 0, alone=True).severity == "info"


def test_noise_that_breaks_what_gradients_leave_is_a_warning_of_its_own():
    stood, followed = np.where(rows(3), -1, 0), np.zeros(100, np.int64)
    found = checks.beats_gradients("noise", "Linf", ("0.1",), stood, followed, check="noise-beats-white-box")
    assert (found.check, found.severity) == ("noise-beats-white-box", "warning")


def test_planted_examples_that_are_missed_are_a_finding():
    assert checks.planted_found("Linf", "0.1", 32, 32, 0).severity == "info"
    assert checks.planted_found("Linf", "0.1", 32, 28, 0).severity == "info"
    assert checks.planted_found("Linf", "0.1", 32, 24, None).severity == "warning"
    assert checks.planted_found("Linf", "0.1", 32, 2, 0).severity == "error"
    assert checks.planted_found("Linf", "0.1", 5, 0, 0).message.startswith("not made")
