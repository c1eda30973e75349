"""What survives a kill: whole files or none, and what a budget cut short apart from the rest."""

from pathlib import Path

import numpy as np
import pytest

from auditor.attacks.progress import Examples, Progress, StageRow
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.errors import AuditorError


def kept(path, **named):
    return Checkpoints(Folder(path), **named)


def progress(stages=1, *, skipped=False, seed=0):
    rng = np.random.default_rng(seed)
    examples = Examples(np.arange(3), rng.random((3, 2), dtype=np.float32), np.zeros(3, np.int64), np.ones(3, bool))
    start = Progress.start(examples, ["Linf", "L2"])
    start.best["Linf"].distance[1] = 0.1
    start.best["Linf"].attack[1] = "pgd"
    rows = tuple(StageRow(f"stage {n}", 3, 1, 2, 1, 40, 40) for n in range(stages))
    return Progress(
        start.best, rng.integers(0, 9, 3), rng.integers(0, 9, 3), start.skipped | {"L2": np.full(3, skipped)}, rows
    )


def assert_same(one, other):
    assert one.rows == other.rows
    for norm, best in one.best.items():
        for name, column in vars(best).items():
            assert np.array_equal(column, getattr(other.best[norm], name))
            assert column.dtype == getattr(other.best[norm], name).dtype
        assert np.array_equal(one.skipped[norm], other.skipped[norm])
    assert np.array_equal(one.forwards, other.forwards)
    assert np.array_equal(one.backwards, other.backwards)


def test_what_is_loaded_is_what_was_saved(tmp_path):
    checkpoints, saved = kept(tmp_path), progress()
    checkpoints.save("slice", saved, [1.5])
    loaded, seconds = checkpoints.load("slice")
    assert_same(loaded, saved)
    assert seconds == [1.5]


def test_what_was_not_saved_is_none(tmp_path):
    assert kept(tmp_path / "never").load("slice") is None
    assert kept(tmp_path / "never").load_facts("prepared") is None


def test_nothing_is_made_before_something_is_saved(tmp_path):
    kept(tmp_path / "deep" / "folder").load("slice")
    assert list(tmp_path.iterdir()) == []


def test_a_save_takes_the_place_of_the_one_before(tmp_path):
    checkpoints = kept(tmp_path)
    checkpoints.save("slice", progress(1), [1])
    checkpoints.save("slice", progress(2, seed=1), [1, 2])
    assert_same(checkpoints.load("slice")[0], progress(2, seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["slice.frame"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_one_before_and_nothing_else(tmp_path, monkeypatch, failure):
    checkpoints = kept(tmp_path)
    checkpoints.save("slice", progress(1), [1])

    def fail(*arguments):
        raise failure

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises((AuditorError, KeyboardInterrupt)):
        checkpoints.save("slice", progress(2), [1, 2])
    assert_same(checkpoints.load("slice")[0], progress(1))
    assert [path.name for path in tmp_path.iterdir()] == ["slice.frame"]


def test_a_disk_that_does_not_take_it_is_said(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AuditorError, match="cannot be written"):
        kept(tmp_path / "file" / "deep").save("slice", progress(), [1])


def test_what_a_budget_cut_short_is_not_taken_for_whole(tmp_path):
    cut = kept(tmp_path, passes=50)
    cut.save("slice", progress(1), [1])
    cut.save("slice", progress(2, skipped=True), [1, 2])
    assert_same(cut.load("slice")[0], progress(2, skipped=True))
    for other in (kept(tmp_path), kept(tmp_path, passes=90)):
        assert_same(other.load("slice")[0], progress(1))


def test_what_went_on_without_the_budget_is_preferred_to_what_it_cut(tmp_path):
    kept(tmp_path, passes=50).save("slice", progress(2, skipped=True), [1, 2])
    kept(tmp_path).save("slice", progress(2), [1, 2])
    assert_same(kept(tmp_path, passes=50).load("slice")[0], progress(2))


def test_facts_and_arrays_are_kept(tmp_path):
    checkpoints = kept(tmp_path)
    checkpoints.save_facts("prepared", {"a": [1, "b", None]}, index=np.arange(3))
    arrays, facts = checkpoints.load_facts("prepared")
    assert facts == {"a": [1, "b", None]}
    assert np.array_equal(arrays["index"], np.arange(3))


def test_the_same_progress_is_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        kept(tmp_path).save(name, progress(seed=3), [1])
    assert (tmp_path / "one.frame").read_bytes() == (tmp_path / "other.frame").read_bytes()


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:90] + b"!" + data[91:]]
)
def test_what_cannot_be_read_counts_as_missing(tmp_path, damage):
    kept(tmp_path).save("slice", progress(), [1])
    file = tmp_path / "slice.frame"
    file.write_bytes(damage(file.read_bytes()))
    assert kept(tmp_path).load("slice") is None
    assert kept(tmp_path).load_facts("slice") is None
