"""Noise spelt out as uniform draws: the same distribution, and stilled alike in every graph."""

import numpy as np
import onnx
import pytest

from auditor.autodiff.coverage import substitutes
from auditor.graph.plain import make_plain
from auditor.graph.randomness import is_random, spelled_out, stilled
from auditor.graph.upload import read_upload
from auditor.runtime import Session
from tests.graph.models import linear, text

X = np.full((4000, 4), 0.3, np.float32)
NOISE = {
    "Bernoulli": "h = Bernoulli(x) y = Add(h, x)",
    "Bernoulli of a type": "h = Bernoulli<dtype=6>(x) i = Cast<to=1>(h) y = Add(i, x)",
    "Dropout": "y = Dropout(x, ratio, mode)",
    "Dropout by default": "y, m = Dropout(x, , mode)",
    "Dropout's mask": "d, m = Dropout(x, ratio, mode) i = Cast<to=1>(m) y = Add(i, d)",
    "Multinomial": "h = Multinomial<sample_size=4>(x) i = Cast<to=1>(h) y = Add(i, x)",
    "Multinomial of a type": "h = Multinomial<sample_size=4, dtype=7>(x) i = Cast<to=1>(h) y = Add(i, x)",
}


def model(body):
    constants = {"ratio": np.array(0.2, np.float32), "mode": np.array(True)}
    used = {name: value for name, value in constants.items() if name in body}
    return text(f"f (float[N,4] x) => (float[N,4] y) {{ {body} }}", **used)


def run(data):
    return Session(data).run({"x": X})[0]


@pytest.mark.parametrize("name", NOISE)
def test_what_is_spelt_out_has_the_same_distribution(name):
    data = model(NOISE[name])
    spelt = spelled_out(onnx.load_from_string(data))
    onnx.checker.check_model(spelt, full_check=True)
    assert not {"Bernoulli", "Dropout", "Multinomial"} & {node.op_type for node in spelt.graph.node}
    values, counts = np.unique(run(data), return_counts=True)
    others, again = np.unique(run(spelt.SerializeToString()), return_counts=True)
    np.testing.assert_allclose(values, others, rtol=1e-6)
    assert np.abs(counts - again).max() < 400  # of 16,000; about five standard deviations


@pytest.mark.parametrize("name", NOISE)
def test_a_randomised_upload_is_made_plain(name):
    upload = read_upload(model(NOISE[name]))
    assert upload.random
    graph = make_plain(upload, batch=4)
    assert "RandomUniformLike" in {node.op_type for node in graph.model.graph}


def test_a_draw_by_log_probabilities_is_as_likely_as_they_say():
    shares = np.float32([0.5, 0.3, 0.15, 0.05])
    x = np.tile(np.log(shares) + 2, (4000, 1))
    data = text("f (float[N,4] x) => (int32[N,6] y) { y = Multinomial<sample_size=6>(x) }")
    for drawn in (data, spelled_out(onnx.load_from_string(data)).SerializeToString()):
        (places,) = Session(drawn, seed=0).run({"x": x})
        np.testing.assert_allclose(np.bincount(places.ravel()) / places.size, shares, atol=0.02)


def test_a_draw_that_is_spread_out_again_has_the_surrogate_of_a_largest_score():
    body = "s = Multinomial<sample_size=1>(x) i = Cast<to=7>(s) h = OneHot(i, depth, values) f = Flatten(h) y = Mul(f, x)"
    constants = {"depth": np.array([4]), "values": np.array([0, 1], np.float32)}
    upload = read_upload(text(f"f (float[N,4] x) => (float[N,4] y) {{ {body} }}", **constants))
    graph = make_plain(upload, batch=4)
    assert [node.operator for node in substitutes(graph, "straight-through")] == ["Hardmax"]


def test_stilled_noise_is_the_same_at_every_run():
    session = Session(stilled(model(NOISE["Dropout"])))
    assert np.array_equal(session.run({"x": X})[0], session.run({"x": X})[0])


def test_a_model_without_noise_is_none():
    assert not is_random(onnx.load_from_string(linear()))
    assert not read_upload(linear()).random
