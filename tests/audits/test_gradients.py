"""Which gradient is followed: the true one as long as it is one, a surrogate where that leads surely further."""

import numpy as np
import pytest

from auditor.audits.gradients import Gradient
from auditor.audits.prepare import prepare
from tests.audits.test_prepare import subject_of
from tests.graph.models import text

RNG = np.random.default_rng(0)
W = RNG.normal(size=(8, 3)).astype(np.float32)
X = RNG.random((40, 8), dtype=np.float32)
CENTRE = (-W.sum(axis=0) / 2).astype(np.float32)


def prepared(body, **constants):
    """Of a classifier around the affine one x W + b, judged on its own answers."""
    body = f"f (float[N,8] x) => (float[N,3] y) {{ {body} }}"
    constants = {name: np.asarray(value, np.float32) for name, value in constants.items()}
    return prepare(subject_of(text(body, W=W, b=CENTRE, **constants), X, None, domain=(0.0, 1.0)))


AFFINE = "z = MatMul(x, W) a = Add(z, b)"


@pytest.mark.parametrize(
    ("body", "operators"),
    [
        ("s = Mul(x, k) r = Round(s) d = Div(r, k) z = MatMul(d, W) y = Add(z, b)", ["Round"]),
        (f"{AFFINE} s = Mul(a, k) i = Cast<to=6>(s) y = Cast<to=1>(i)", ["Cast"]),
        (f"{AFFINE} s = Sign(a) t = MatMul(s, V) y = Add(t, t)", ["Sign"]),
    ],
    ids=["rounded", "whole", "binary"],
)
def test_steps_are_followed_by_surrogates(body, operators):
    found = prepared(body, k=8, V=RNG.normal(size=(3, 3)))
    assert (found.gradient.access, found.gradient.policy) == ("surrogate-gradient", "straight-through")
    assert [node.operator for node in found.gradient.substitutes] == operators
    assert found.gradient.nonzero > 0.5
    assert "climb further than random" in found.gradient.why
    assert {found.gradient.seen_by(stage) for stage in found.plan.stages} == {"surrogate-gradient", "score"}


def test_a_true_gradient_that_leads_as_far_stays_the_one_that_is_followed():
    # A leaky ReLU spelt out, and steps that the scores hardly depend on.
    body = f"{AFFINE} g = Greater(a, k) s = Sign(x) t = MatMul(s, W) u = Mul(t, tiny) l = Mul(a, tenth) w = Where(g, a, l) y = Add(w, u)"
    found = prepared(body, k=0, tiny=1e-6, tenth=0.1).gradient
    assert (found.access, found.policy, found.substitutes) == ("white-box", "true", ())


def test_a_true_gradient_of_a_small_part_gives_way_to_a_surrogate_of_the_large_one():
    body = "s = Mul(x, k) q = Round(s) r = Div(q, k) z = MatMul(r, W) c = Add(z, b) t = Mul(x, tiny) u = MatMul(t, V) y = Add(c, u)"
    found = prepared(body, k=16, tiny=0.01, V=RNG.normal(size=(8, 3))).gradient
    assert (found.access, found.policy) == ("surrogate-gradient", "straight-through")
    assert "leads less far" in found.why


def test_a_surrogate_that_leads_nowhere_is_not_followed():
    # What rounding cuts off has no slope under surrogates: as they have it, the whole is constant.
    body = "s = Mul(x, k) r = Round(s) d = Sub(s, r) q = Abs(d) e = Round(q) n = Sub(e, e) z = MatMul(n, W) o = Round(z) y = Add(o, b)"
    found = prepared(body, k=8).gradient
    assert found.access == "score"
    assert found.substitutes == ()


def test_a_smooth_model_has_nothing_to_replace():
    found = prepared(f"{AFFINE} y = Tanh(a)").gradient
    assert (found.access, found.policy) == ("white-box", "true")


def test_the_choice_survives_as_json():
    found = prepared("r = Round(x) z = MatMul(r, W) y = Add(z, b)").gradient
    assert Gradient.from_json(found.as_json()) == found
