"""Audits in which other inputs, or columns of text, come with each example."""

import numpy as np
import pytest

from auditor import options
from auditor.errors import DatasetError, SpecError
from auditor.request import settle
from tests import finished
from tests.graph.models import text

RNG = np.random.default_rng(0)
W = RNG.normal(size=(16, 3)).astype(np.float32)
V = 3 * RNG.normal(size=(4, 3)).astype(np.float32)
GATED = "f (float[N,1,4,4] x, int64[N,4] gate) => (float[N,3] y) { c = Cast<to=1>(gate) u = Flatten(x) a = MatMul(u, W) b = MatMul(c, V) y = Add(a, b) }"
NAMED = """f (float[N,1] age, string[N,1] city, float[N] income) => (float[N,2] y) {
    k = ai.onnx.ml.LabelEncoder<keys_strings=["Basel","Bern","Zug"], values_floats=[-2.0,0.0,2.0]>(city)
    i = Unsqueeze(income, one) s = Add(age, i) p = Add(s, k) n = Neg(p) y = Concat<axis=1>(p, n) }"""
OF_CITY = {"Basel": -2.0, "Bern": 0.0, "Zug": 2.0}
WORDS = {"examples": 40, "batch_size": 8, "norm": ["L2"], "eps": ["0.05,0.2,0.8"], "preset": "quick", "attack": None}


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A model that adds what a second input says, and data with it: the label is right with each example's own alone."""
    folder = tmp_path_factory.mktemp("gated")
    (folder / "model.onnx").write_bytes(text(GATED, W=W, V=V))
    x, gate = RNG.random((60, 1, 4, 4), np.float32), RNG.integers(0, 2, (60, 4))
    y = (x.reshape(60, -1) @ W + gate @ V).argmax(axis=1)
    np.savez(folder / "data.npz", x=x, y=y, gate=gate)
    return folder


def run(folder, model, data, **words):
    given = {**WORDS, **words}
    return finished.run(folder, model=model, data=data, **{name: given[name] for name in given})


def test_each_example_is_attacked_and_judged_with_its_own_values(gated, tmp_path):
    words = {"input": "x", "fix": ["gate=@gate"], "domain": "0,1"}
    ran = run(tmp_path / "out", gated / "model.onnx", gated / "data.npz", **words)
    report, found = ran.report, ran.adversarial
    assert report.clean.accuracy == 1
    assert report.model.input["carried"] == {"gate": "gate"}
    assert any("come with each example: gate" in said for said in report.not_tested)
    with np.load(gated / "data.npz") as stored:
        x, gate, y = stored["x"].reshape(60, -1), stored["gate"], stored["y"]
    index = found["index"]
    assert len(index) == 40
    assert np.array_equal(found["x_adv"][:, 16:], gate[index])
    assert np.array_equal(found["x"], np.concatenate([x, gate], axis=1)[index].astype(np.float32))
    own = found["x_adv"][:, :16]
    assert own.min() >= 0
    assert own.max() <= 1
    assert (((own @ W + gate[index] @ V).argmax(axis=1)) != y[index]).all()
    moved = np.sqrt(((own.astype(np.float64) - x[index]) ** 2).sum(axis=1))
    assert found["distance"] == pytest.approx(moved)
    z = x[index] @ W + gate[index] @ V
    rows = np.arange(len(index))
    lead = z[rows, y[index]][:, None] - z
    apart = np.linalg.norm(W[:, y[index]].T[:, None] - W.T[None], axis=2)
    nearest = np.where(apart > 0, lead / np.where(apart > 0, apart, 1), np.inf).min(axis=1)
    assert (moved >= nearest - 1e-5).all()
    assert np.median(moved / nearest) < 1.1  # what the domain leaves


def test_neither_the_batch_nor_its_order_is_seen(gated, tmp_path):
    words = {
        "input": "x",
        "fix": ["gate=@gate"],
        "domain": "0,1",
        "norm": ["Linf"],
        "eps": ["0.02,0.1"],
        "attack": ["pgd"],
    }
    eight = run(tmp_path / "eight", gated / "model.onnx", gated / "data.npz", **words).report
    three = run(tmp_path / "three", gated / "model.onnx", gated / "data.npz", **words, **{"batch_size": 3}).report
    assert eight.curves[0].examples.status == three.curves[0].examples.status
    for one, other in zip(eight.curves[0].examples.distance, three.curves[0].examples.distance, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    model = text(NAMED, domains=', "ai.onnx.ml":3', one=np.array([1]))
    (folder / "model.onnx").write_bytes(model)
    city = RNG.choice(list(OF_CITY), 50)
    age, income = RNG.normal(size=(2, 50)).astype(np.float32)
    label = (age + income + [OF_CITY[name] for name in city] < 0).astype(int)
    lines = [",".join(map(str, row)) for row in zip(city, income, age, label, strict=True)]
    (folder / "rows.csv").write_text("\n".join(["city,income,age,label", *lines]))
    return folder


def test_columns_of_text_stay_as_they_are_of_each_row(named, tmp_path):
    ran = run(tmp_path / "out", named / "model.onnx", named / "rows.csv", domain="none", eps=["0.5,2,8"])
    report, found = ran.report, ran.adversarial
    assert report.clean.accuracy == 1
    assert report.model.input["columns"] == ["age", "income"]
    assert report.model.input["carried"] == {"city": "city"}
    assert report.audit.spec["fix"] == [{"input": "city", "value": "@city"}]
    rows = [line.split(",") for line in (named / "rows.csv").read_text().splitlines()[1:]]
    moved = found["x_adv"].astype(np.float64)
    of_city = np.array([OF_CITY[rows[i][0]] for i in found["index"]])
    assert ((moved[:, 0] + moved[:, 1] + of_city < 0) != found["label"]).all()
    exact = {i: abs(float(rows[i][1]) + float(rows[i][2]) + OF_CITY[rows[i][0]]) / 2**0.5 for i in range(50)}
    assert found["distance"] == pytest.approx([exact[i] for i in found["index"]], rel=0.02, abs=1e-3)


def test_a_text_whose_words_are_a_group_is_attacked_as_a_category(named, tmp_path):
    cities = {"columns": [f"city={name}" for name in ("Bern", "Basel", "Zug")], "cost": "0.5"}
    declared = {"groups": {"city": cities}, "features": {"age": {"immutable": True}, "income": {"immutable": True}}}
    words = {"domain": "none", "constraints": declared, "norm": ["L1"], "eps": ["0.4,0.6"], "preset": "quick"}
    ran = run(tmp_path / "out", named / "model.onnx", named / "rows.csv", **words)
    report, found = ran.report, ran.adversarial
    assert report.clean.accuracy == 1
    assert not any("come with each example" in said for said in report.not_tested)
    rows = [line.split(",") for line in (named / "rows.csv").read_text().splitlines()[1:]]
    breakable = {
        i
        for i in report.dataset.index
        for other in OF_CITY.values()
        if (float(rows[i][1]) + float(rows[i][2]) + other < 0) != (rows[i][3] == "1")
    }
    assert set(found["index"].tolist()) == breakable
    assert 0 < len(breakable) < 40
    assert set(found["distance"].tolist()) == {0.5}
    assert (found["x_adv"][:, 2:].sum(axis=1) == 1).all()
    assert np.array_equal(found["x_adv"][:, :2], found["x"][:, :2])
    assert (found["x_adv"] != found["x"]).any(axis=1).all()


def test_a_word_that_its_group_lacks_is_named(named):
    few = {"groups": {"city": {"columns": ["city=Bern", "city=Basel"]}}}
    with pytest.raises(DatasetError, match="is 'Zug', and no column of its group is 'city=Zug'"):
        asked(named, "rows.csv", domain="none", constraints=few)


def asked(folder, data="data.npz", **words):
    return settle(
        options.request({"model": folder / "model.onnx", "data": folder / data, "out": folder / "out", **words})
    )


REFUSED = {
    "levels": ({"quantize": 8}, SpecError, "quantize would change the inputs that come with each example"),
    "transformations": ({"eot": ["noise:0.1"]}, SpecError, "eot would change the inputs"),
    "a normalisation": ({"mean": "0.5", "std": "0.5"}, SpecError, "mean and std would change the inputs"),
    "other threats": ({"also": ["fog"]}, SpecError, "fog moves pixels"),
    "a transfer": ({"attack": ["transfer"]}, SpecError, "nor of inputs that come with each example"),
    "a column that is not there": (
        {"fix": ["gate=@other"]},
        DatasetError,
        "no array 'other'; its arrays are x, y, gate",
    ),
    "constraints of it": (
        {"constraints": {"features": {"gate[1]": {"immutable": True}}}},
        SpecError,
        r"speak of gate\[0\].*they come with each example and stay",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_it_is_refused(gated, name):
    words, kind, why = REFUSED[name]
    with pytest.raises(kind, match=why):
        asked(gated, **{"input": "x", "fix": ["gate=@gate"], "domain": "0,1", **words})


def test_a_text_that_the_model_refuses_is_named(named, tmp_path):
    (tmp_path / "model.onnx").write_bytes((named / "model.onnx").read_bytes())
    (tmp_path / "rows.csv").write_text("age,income,label\n1,2,0\n3,4,0\n")
    with pytest.raises(DatasetError, match="no column 'city'; its columns are age, income, label"):
        asked(tmp_path, "rows.csv", domain="none")
