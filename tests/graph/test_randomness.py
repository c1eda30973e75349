"""Noise spelt out as uniform draws: the same distribution, and stilled alike in every graph."""

import numpy as np
import onnx
import pytest

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
    assert not {"Bernoulli", "Dropout"} & {node.op_type for node in spelt.graph.node}
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


def test_stilled_noise_is_the_same_at_every_run():
    session = Session(stilled(model(NOISE["Dropout"])))
    assert np.array_equal(session.run({"x": X})[0], session.run({"x": X})[0])


def test_a_model_without_noise_is_none():
    assert not is_random(onnx.load_from_string(linear()))
    assert not read_upload(linear()).random
