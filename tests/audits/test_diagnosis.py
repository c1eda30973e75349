"""The diagnosis of whole audits, on small uploads with known defects."""

import numpy as np
import pytest

from auditor import local
from auditor.audits import run
from auditor.request import Request, settle
from auditor.spec import Gate
from tests.graph.models import text

RNG = np.random.default_rng(0)
W = RNG.normal(size=(16, 4)).astype(np.float32)
R = RNG.normal(size=(16, 4)).astype(np.float32)
B = (-W.sum(axis=0) / 2).astype(np.float32)  # no class wins everywhere in [0, 1]
X = RNG.random((120, 16)).astype(np.float32)
AFFINE = "z = MatMul(x, W) a = Add(z, b)"


def upload(body, **constants):
    return text(
        f"f (float[N,16] x) => (float[N,4] y) {{ {body} }}",
        W=W,
        b=B,
        **{name: np.asarray(value, np.float32) for name, value in constants.items()},
    )


def audited(folder, data, *, norm="Linf", eps="0.02,0.05,0.1,0.2", attacks=(), gates=(), **settings):
    """The report of a quick audit of X under the upload's own answers, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(data)
    np.save(folder / "data.npy", X)
    request = Request(
        model=folder / "model.onnx",
        data=folder / "data.npy",
        out=folder / "out",
        norms=(norm,),
        eps=(eps,),
        domain=settings.pop("domain", (0.0, 1.0)),
        gates=gates,
        settings={"preset": "quick", "threads": 1, "attacks": attacks, **settings},
    )
    return local.audit(request, settle(request), lambda step: None).report


def severities(report):
    """The worst severity of each check."""
    order = ("info", "warning", "error")
    found = {}
    for check in report.diagnosis.checks:
        found[check.check] = max(found.get(check.check, "info"), check.severity, key=order.index)
    return found


def unclean(report):
    return {name for name, severity in severities(report).items() if severity != "info"}


def said(report, name):
    return " ".join(check.message for check in report.diagnosis.checks if check.check == name)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return audited(tmp_path_factory.mktemp("honest"), upload(f"{AFFINE} y = Identity(a)"))


def test_an_honest_model_has_a_clean_diagnosis_in_which_every_check_was_made(honest):
    assert unclean(honest) == set()
    left_out = {c.check for c in honest.diagnosis.checks if c.message.startswith("not made")}
    assert left_out == {"doubling-restarts", "transfer-failure", "planted-examples"}
    assert len(honest.diagnosis.subsample) == 100


def test_probes_are_reported_apart_from_the_attacks_with_their_cost(honest):
    probes = {row["attack"]: row for row in honest.diagnosis.probes}
    assert list(probes) == ["fgsm", "pgd-20", "pgd-40", "noise", "pgd-half-domain"]
    assert {row["attack"] for row in honest.diagnosis.attacks} == {"minimal-apgd", "square"}
    assert probes["pgd-half-domain"]["eps"] == ["1/2"]
    assert probes["fgsm"]["backwards"] == 100
    # what is linear is broken by one step as often as by forty
    assert probes["fgsm"]["accuracy"] == probes["pgd-40"]["accuracy"]


def test_probes_look_where_white_box_attacks_leave_nearest_to_half(honest):
    (white,) = (row for row in honest.diagnosis.attacks if row["access"] == "white-box")
    left = dict(zip(white["eps"], white["accuracy"], strict=True))
    (eps,) = honest.diagnosis.probes[0]["eps"]
    assert abs(left[eps] - 0.5) == min(abs(value - 0.5) for value in left.values())


def test_more_starts_are_tried_above_quick(tmp_path):
    report = audited(
        tmp_path, upload(f"{AFFINE} y = Identity(a)"), attacks=("fgsm", "minimal-apgd"), preset="standard"
    )
    assert "pgd-restarts" in [row["attack"] for row in report.diagnosis.probes]
    assert "doubling PGD's starts" in said(report, "doubling-restarts")
    assert report.diagnosis.probes[3]["forwards"] > 10 * 100  # noise


HIDDEN = "h = Relu(a) z2 = MatMul(h, V) y = Identity(z2)"


def two_layers(body=HIDDEN):
    wide = np.random.default_rng(7).normal(size=(16, 48)).astype(np.float32)
    top = np.random.default_rng(8).normal(size=(48, 4)).astype(np.float32)
    return text(
        f"f (float[N,16] x) => (float[N,4] y) {{ z = MatMul(x, U) a = Add(z, b) {body} }}",
        U=wide,
        b=-wide.sum(axis=0) / 2,
        V=top,
        k=np.float32(1e4),
    )


def planted(report):
    (check,) = (c for c in report.diagnosis.checks if c.check == "planted-examples")
    return check


def test_attacks_find_what_was_planted_and_noise_does_not(tmp_path):
    report = audited(tmp_path, two_layers(), attacks=("apgd-ce",), preset="standard", examples=16)
    check = planted(report)
    assert check.severity == "info"
    assert check.evidence["planted"] >= 12
    assert check.evidence["found"] >= 0.95 * check.evidence["planted"]
    assert check.evidence["by_noise"] < 0.5 * check.evidence["planted"]
    assert check.evidence["eps"] == "0.1"


def test_an_attack_that_misses_what_was_planted_is_told(tmp_path):
    report = audited(tmp_path, two_layers(), attacks=("noise",), preset="standard", examples=12)
    assert planted(report).severity == "error"


def test_without_a_last_linear_layer_nothing_can_be_planted(tmp_path):
    report = audited(
        tmp_path, two_layers("y0 = MatMul(a, V) y = Elu(y0)"), attacks=("fgsm",), preset="standard", examples=12
    )
    assert planted(report).message.startswith("not made")
    assert planted(report).evidence["planted"] == 0


def test_a_test_that_is_stopped_resumes_to_the_same_results(tmp_path, monkeypatch):
    asked = {"attacks": ("fgsm", "apgd-ce"), "preset": "standard", "examples": 8}
    whole = audited(tmp_path / "whole", two_layers(), **asked)
    saved = run.Checkpoints.save

    def save_then_stop(self, name, *rest):
        saved(self, name, *rest)
        if name == "planted-Linf":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run.Checkpoints, "save", save_then_stop)
        partial = audited(tmp_path / "stopped", two_layers(), **asked)
    assert unclean(partial) == {"unfinished-diagnosis"}
    assert planted(partial).message == "not made: the audit ended before it"
    resumed = audited(tmp_path / "stopped", two_layers(), **asked)
    assert resumed.results_sha256 == whole.results_sha256
    assert planted(resumed) == planted(whole)


def test_a_loss_full_of_steps_is_unstable(tmp_path):
    # A true gradient beside a staircase whose steps nobody sees, and which has none.
    stairs = f"u = Mul(x, w) f = Floor(u) s = Mul(f, h) e = Mul(u, h) t = Sub(s, e) r = MatMul(t, R) {AFFINE} y = Add(a, r)"
    report = audited(tmp_path, upload(stairs, w=2000.0, h=0.3, R=R))
    assert {"unstable-loss", "gradient"} & unclean(report)


SATURATED = f"{AFFINE} s = Mul(a, k) q = Sigmoid(s) y = MatMul(q, I)"


def test_saturated_activations_are_followed_by_surrogates(tmp_path):
    report = audited(tmp_path, upload(SATURATED, k=1e3, I=np.diag([1, 1, 1, 1.0001])))
    gradient = report.model.gradient
    assert (gradient["access"], gradient["policy"]) == ("surrogate-gradient", "unsaturated")
    assert [node["operator"] for node in gradient["substitutes"]] == ["Sigmoid"]
    assert severities(report)["vanishing-gradient"] == "info"
    assert "half-domain-accuracy" not in unclean(report)
    alone = next(row for row in report.diagnosis.attacks if row["attack"] == "minimal-apgd")
    assert alone["accuracy"][-1] < 0.9  # the true gradient leaves 0.99


@pytest.mark.parametrize(("attack", "severity"), [("fgsm", "warning"), ("apgd-ce", "info")])
def test_few_steps_along_surrogates_are_too_few(attack, severity, tmp_path):
    report = audited(tmp_path, two_layers("h = Relu(a) r = Round(h) y = MatMul(r, V)"), attacks=(attack,))
    assert report.model.gradient["access"] == "surrogate-gradient"
    assert severities(report)["surrogate-steps"] == severity
    assert not any("pursuit" in probe["attack"] for probe in report.diagnosis.probes)


def test_an_end_that_saturates_is_left_out(tmp_path):
    report = audited(tmp_path, upload(SATURATED, k=20, I=np.eye(4)))
    assert report.model.gradient["access"] == "white-box"
    assert severities(report)["vanishing-gradient"] == "info"
    alone = next(row for row in report.diagnosis.attacks if row["attack"] == "minimal-apgd")
    assert alone["accuracy"][-1] < 0.5


def accuracies(report):
    return np.array([point.robust_accuracy for point in report.curves[0].points])


def test_a_softmax_that_is_too_sure_is_a_warning_where_only_the_cross_entropy_is_ascended(tmp_path):
    sure = upload(f"{AFFINE} s = Mul(a, k) y = Softmax<axis=-1>(s)", k=1e4)
    deaf = audited(tmp_path / "one", sure, norm="L2", eps="0.1,0.3", attacks=("pgd",))
    assert severities(deaf)["saturated-softmax"] == "warning"
    assert "traced back" in said(deaf, "probabilities")
    both = audited(tmp_path / "two", sure, norm="L2", eps="0.1,0.3", attacks=("pgd", "minimal-apgd"))
    assert severities(both)["saturated-softmax"] == "info"


def test_probabilities_inside_the_model_are_not_traced_back(tmp_path):
    report = audited(
        tmp_path, upload(f"{AFFINE} q = Softmax<axis=-1>(a) y = MatMul(q, I)", I=np.eye(4)[[1, 0, 2, 3]])
    )
    assert "no logits were found" in said(report, "probabilities")


def test_a_quantised_input_is_followed_by_surrogates_and_called_so(tmp_path, honest):
    rounded = upload("s = Mul(x, k) r = Round(s) d = Div(r, k) z = MatMul(d, W) y = Add(z, b)", k=64.0)
    report = audited(tmp_path, rounded)
    assert report.model.gradient["access"] == "surrogate-gradient"
    assert report.model.gradient["substitutes"][0]["instead"] == "the identity"
    assert {row["access"] for row in report.diagnosis.attacks} == {"surrogate-gradient", "score"}
    assert {stage.access for stage in report.stages} == {"surrogate-gradient", "score"}
    assert any(said.startswith("white-box attacks: the true gradient cannot") for said in report.not_tested)
    assert "gradient" not in unclean(report)
    assert np.abs(accuracies(report) - accuracies(honest)).max() < 0.1


def test_without_any_gradient_the_checks_that_need_one_say_so(tmp_path):
    table = (
        "c = Clip(x, low, high) s = Mul(c, k) i = Cast<to=7>(s) d = Gather(levels, i) z = MatMul(d, W) y = Add(z, b)"
    )
    looked_up = upload(table, low=0.0, high=1.0, k=8.0, levels=np.arange(9) / 8)
    report = audited(tmp_path, looked_up, gates=(Gate.parse("Linf:0.02=0.1"),))
    assert unclean(report) == {"gradient"}
    for name in ("vanishing-gradient", "half-domain-accuracy", "pgd-weaker-than-fgsm", "doubling-steps"):
        assert said(report, name).startswith("not made: there is no gradient")
    assert report.diagnosis.probes == []
    assert report.verdict == "inconclusive"


def test_square_that_beats_misleading_gradients_makes_a_passing_gate_inconclusive(tmp_path):
    # A ripple of high frequency: its gradient is true, drowns that of the scores, and leads nowhere.
    ripple = f"u = Mul(x, w) s = Sin(u) t = Mul(s, k) r = MatMul(t, R) {AFFINE} y = Add(a, r)"
    gates = (Gate.parse("Linf:0.001=0.5"),)
    misled = audited(
        tmp_path / "ripple", upload(ripple, w=1000.0, k=0.025, R=R), eps="0.001,0.05,0.1,0.2", gates=gates
    )
    assert "black-box-beats-white-box" in unclean(misled)
    assert misled.verdict == "inconclusive"
    smooth = audited(tmp_path / "smooth", upload(ripple, w=1000.0, k=0.0, R=R), eps="0.001,0.05,0.1,0.2", gates=gates)
    assert smooth.verdict == "passed"


def test_a_random_model_is_judged_by_fresh_draws_and_may_pass_a_gate(tmp_path):
    noisy = upload("n = RandomNormalLike<scale=0.01>(x) d = Add(x, n) z = MatMul(d, W) y = Add(z, b)")
    report = audited(tmp_path, noisy, eps="0.001,0.5", gates=(Gate.parse("Linf:0.001=0.3"),), examples=20, draws=5)
    assert "fresh draws decided" in said(report, "randomised-output")
    assert "single draws" in said(report, "unstable-loss")
    assert report.model.randomness["averaged"] == 5
    assert 0.9 < report.model.randomness["expected_accuracy"] <= 1
    assert not any("scores are random" in sentence for sentence in report.not_tested)
    assert report.verdict == "passed"
    assert report.curves[0].points[1].robust_accuracy == 0


def test_without_a_domain_there_is_no_half_of_it(tmp_path):
    report = audited(tmp_path, upload(f"{AFFINE} y = Identity(a)"), domain=None)
    assert said(report, "half-domain-accuracy").startswith("not made: the inputs have no domain")
    assert [row["attack"] for row in report.diagnosis.probes] == ["fgsm", "pgd-20", "pgd-40", "noise"]


def test_without_a_black_box_attack_the_comparison_says_that_it_was_not_made(tmp_path):
    report = audited(tmp_path, upload(f"{AFFINE} y = Identity(a)"), attacks=("fgsm",))
    assert "not made: no attack that needs no gradient" in said(report, "black-box-beats-white-box")


def test_an_audit_that_is_stopped_between_probes_resumes_to_the_same_results(tmp_path, monkeypatch):
    data = upload(f"{AFFINE} y = Identity(a)")
    whole = audited(tmp_path / "whole", data)
    saved = run.Checkpoints.save

    def save_then_stop(self, name, *rest):
        saved(self, name, *rest)
        if name.endswith("pgd-20"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run.Checkpoints, "save", save_then_stop)
        partial = audited(tmp_path / "stopped", data)
    assert unclean(partial) == {"unfinished-diagnosis"}
    assert [row["attack"] for row in partial.diagnosis.probes] == ["fgsm", "pgd-20"]
    resumed = audited(tmp_path / "stopped", data)
    assert resumed.results_sha256 == whole.results_sha256
    assert resumed.diagnosis == whole.diagnosis
