"""The files beside report.json: whole or absent, and equal for equal values."""

import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from auditor.audits.atomic import replacing
from auditor.audits.outcomes import Outcomes
from auditor.errors import AuditorError
from auditor.report.files import write_adversarial, write_outcomes
from auditor.spec import Threat


def found(m, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "index": np.arange(m) * 3,
        "x_adv": rng.random((m, 1, 4, 4), dtype=np.float32),
        "distance": rng.random(m),
        "label": np.zeros(m, np.int64),
        "predicted": np.ones(m, np.int64),
        "attack": np.array(["apgd", "square"] * m)[:m],
    }


def fetch(index):
    return np.broadcast_to(np.float32(index).reshape(-1, 1, 1, 1), (len(index), 1, 4, 4))


def outcomes(norm):
    return Outcomes(
        threat=Threat(norm=norm, eps=("0.1", "0.2")),
        index=np.array([4, 7, 9]),
        right=np.array([False, True, True]),
        distance=np.array([0.0, 0.15, np.inf]),
        attack=np.array(["", "apgd", ""]),
        complete=np.array([True, True, False]),
        margin=np.array([np.nan, 0.25, np.nan]),
        forwards=np.array([0, 10, 20]),
    )


def test_adversarial_examples_of_all_norms_lie_in_one_file(tmp_path):
    path = tmp_path / "adversarial.npz"
    write_adversarial(path, {"Linf": found(3), "L2": {}, "L1": found(2, seed=1)}, (1, 4, 4), fetch)
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {"index", "norm", "x", "x_adv", "distance", "label", "predicted", "attack"}
        assert file["norm"].tolist() == ["Linf"] * 3 + ["L1"] * 2
        assert file["attack"].tolist() == ["apgd", "square", "apgd", "apgd", "square"]
        assert file["x_adv"].dtype == np.float32
        np.testing.assert_array_equal(file["x_adv"][3:], found(2, seed=1)["x_adv"])
        np.testing.assert_array_equal(file["x"], fetch(file["index"]))


def test_originals_are_fetched_a_few_at_a_time(tmp_path):
    """More rows than are held at once, each with its own original."""
    path, asked = tmp_path / "adversarial.npz", []
    write_adversarial(path, {"Linf": found(70)}, (1, 4, 4), lambda index: asked.append(len(index)) or fetch(index))
    assert sum(asked) == 70
    assert max(asked) < 70
    with np.load(path) as file:
        np.testing.assert_array_equal(file["x"], fetch(file["index"]))


def test_a_model_that_nothing_broke_leaves_empty_columns(tmp_path):
    path = tmp_path / "adversarial.npz"
    write_adversarial(path, {"Linf": {}}, (1, 4, 4), fetch)
    with np.load(path, allow_pickle=False) as file:
        assert file["x_adv"].shape == (0, 1, 4, 4)
        assert all(len(file[name]) == 0 for name in file.files)


def test_outcomes_have_one_row_per_example_and_norm(tmp_path):
    path = tmp_path / "outcomes.parquet"
    write_outcomes(path, np.array([0, 1, 2]), np.array([1, 1, 2]), [outcomes("Linf"), outcomes("L2")])
    columns = pq.read_table(path).to_pydict()
    assert columns["norm"] == ["Linf"] * 3 + ["L2"] * 3
    assert columns["index"] == [4, 7, 9] * 2
    assert columns["status"] == ["wrong", "broken", "not_tried"] * 2
    assert columns["distance"] == [0.0, 0.15, None] * 2
    assert columns["attack"] == [None, "apgd", None] * 2
    assert columns["margin"] == [None, 0.25, None] * 2
    assert columns["forwards"] == [0, 10, 20] * 2
    assert columns["backwards"] == [None] * 6


def test_equal_values_give_equal_bytes_at_another_time(tmp_path, monkeypatch):
    def write(name):
        write_adversarial(tmp_path / f"{name}.npz", {"Linf": found(3)}, (1, 4, 4), fetch)
        write_outcomes(tmp_path / f"{name}.parquet", np.zeros(3, int), np.zeros(3, int), [outcomes("Linf")])
        return [(tmp_path / f"{name}.{kind}").read_bytes() for kind in ("npz", "parquet")]

    first = write("first")
    year = 366 * 24 * 3600
    later, local = time.time() + year, time.localtime
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(time, "localtime", lambda seconds=later: local(seconds))
    assert write("second") == first


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")

    def fail():
        with replacing(path) as file:
            file.write(b"half of the n")
            raise OSError(28, "No space left on device")

    with pytest.raises(AuditorError, match="No space left"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
