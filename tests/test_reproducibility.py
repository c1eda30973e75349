"""However the work is cut, killed, repeated or spread over processes, the same bits come out."""

import json
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from auditor import local, options
from auditor.report.document import read_report
from auditor.request import settle
from tests.conftest import DEMO

FILES = ("adversarial.npz", "outcomes.parquet")


ASKED = {
    "model": DEMO / "digits.onnx",
    "data": DEMO / "digits.npz",
    "examples": 24,
    "batch_size": 4,
    "threads": 1,
    "norm": ["Linf", "L2"],
    "eps": ["0.02,0.05,0.1,0.2", "0.25,0.5,1"],
    "attack": ["minimal-apgd", "pgd", "ddn", "fgsm"],
}


@pytest.fixture
def arguments():
    """A small audit of the demo in several slices, as the command line's words."""
    words = [ASKED["model"], ASKED["data"]]
    for name in ("examples", "batch_size", "threads"):
        words += [f"--{name.replace('_', '-')}", ASKED[name]]
    for name in ("norm", "eps", "attack"):
        words += [word for value in ASKED[name] for word in (f"--{name}", value)]
    return ("audit", *words)


def results(folder):
    """The digest of all results, and of the two files beside the report."""
    files = [sha256((folder / name).read_bytes()).hexdigest() for name in FILES]
    return read_report(folder / "report.json").results_sha256, *files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of the audit, run in one go."""
    folder = tmp_path_factory.mktemp("reproducibility") / "whole"
    asked = options.request(ASKED | {"out": folder})
    local.audit(asked, settle(asked), lambda step: None)
    return folder


@pytest.fixture
def in_one_go(whole):
    return results(whole)


def test_the_same_command_gives_the_same_bits(command, arguments, tmp_path, in_one_go):
    command(*arguments, "--out", tmp_path / "again")
    assert results(tmp_path / "again") == in_one_go


def test_another_seed_gives_other_results(command, arguments, tmp_path, in_one_go):
    command(*arguments, "--seed", 1, "--out", tmp_path / "other")
    assert set(results(tmp_path / "other")).isdisjoint(in_one_go)


def saves(process, folder, count):
    """Waits until the folder's checkpoints have changed `count` times or the process has ended."""
    seen, found = 0, None
    while process.poll() is None and seen < count:
        before, found = found, sorted((path.name, path.stat().st_mtime_ns) for path in folder.rglob("*.frame"))
        seen += before is not None and before != found
        time.sleep(0.001)


def test_kills_between_and_inside_stages_change_no_bit(start, arguments, tmp_path, in_one_go):
    folder, chance = tmp_path / "killed", random.Random(0)
    for _ in range(3):
        process = start(*arguments, "--out", folder)
        saves(process, folder, chance.randint(1, 4))
        time.sleep(chance.random() * 0.05)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (folder / "report.json").exists()
    process = start(*arguments, "--out", folder)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert results(folder) == in_one_go


WORKER = """
import json, sys
from auditor import local, options
from auditor.request import settle
from auditor.audits.checkpoints import Folder
from auditor.audits.layout import checkpoints_of
from auditor.audits.prepare import prepare_once
from auditor.audits.run import Engine, alone, run_stages, slices
from pathlib import Path

asked, out, number, workers = json.loads(sys.argv[1]), *sys.argv[2:]
asked = settle(options.request(asked | {"out": out}))
checkpoints = checkpoints_of(asked.subject.spec, Folder(Path(out) / ".auditor" / asked.subject.sha256))
prepared = prepare_once(asked.subject, checkpoints)
engine = Engine(asked.subject, prepared)
for items in (alone(prepared, asked.subject.spec.seed), slices(prepared)):
    mine = items[::-1][int(number) :: int(workers)]
    for _ in run_stages(engine, mine, checkpoints):
        pass
print(len(mine))
"""


def test_slices_in_reverse_order_by_two_processes_change_no_bit(command, arguments, tmp_path, in_one_go, python):
    folder = tmp_path / "spread"
    asked = json.dumps(ASKED, default=str)
    with ThreadPoolExecutor(2) as pool:
        taken = [int(mine) for mine in pool.map(lambda number: python(WORKER, asked, folder, number, 2), (0, 1))]
    assert min(taken) >= 1
    kept = {file: file.stat().st_mtime_ns for file in folder.rglob("slice-*.frame")}
    assert command(*arguments, "--out", folder).code == 0
    assert kept == {file: file.stat().st_mtime_ns for file in folder.rglob("slice-*.frame")}
    assert results(folder) == in_one_go


def test_an_interrupt_writes_what_is_known_and_the_same_command_goes_on(
    start, command, arguments, tmp_path, in_one_go
):
    folder = tmp_path / "interrupted"
    process = start(*arguments, "--out", folder)
    while not list(folder.rglob("slice-*.frame")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    partial = read_report(folder / "report.json")
    assert "interrupted" in partial.not_tested[0]
    assert any(point.unfinished for curve in partial.curves for point in curve.points)
    assert str(folder / "report.json") in out
    assert command(*arguments, "--out", folder).code == 0
    assert results(folder) == in_one_go


def test_a_budget_of_passes_gives_bounds_and_a_larger_one_goes_on_to_the_same_bits(
    command, arguments, tmp_path, in_one_go
):
    folder = tmp_path / "budget"
    for budget in ("1passes", "60passes"):
        assert command(*arguments, "--out", folder, "--budget", budget).code == 0
        cut = read_report(folder / "report.json")
        assert cut.results_sha256 != in_one_go[0]
        assert any("not every planned stage ran on" in sentence for sentence in cut.not_tested)
    assert command(*arguments, "--out", folder, "--budget", "100000passes").code == 0
    assert results(folder) == in_one_go


def test_a_cut_audit_never_claims_less_robustness_than_the_whole_one_nor_hides_what_is_open(
    command, arguments, tmp_path, whole
):
    command(*arguments, "--out", tmp_path, "--budget", "1passes")
    full, cut = (read_report(folder / "report.json") for folder in (whole, tmp_path))
    for all_known, part in zip(full.curves, cut.curves, strict=True):
        for known, bound in zip(all_known.points, part.points, strict=True):
            broken_later = round((bound.robust_accuracy - known.robust_accuracy) * full.clean.total)
            assert 0 <= broken_later <= bound.unfinished


def test_a_budget_of_time_ends_early_and_the_same_command_without_it_goes_on(command, arguments, tmp_path, in_one_go):
    folder = tmp_path / "timed"
    assert command(*arguments, "--out", folder, "--budget", "0.000001s").code == 0
    cut = read_report(folder / "report.json")
    assert "the time budget is used up" in cut.not_tested[0]
    assert all(point.unfinished for curve in cut.curves for point in curve.points)
    assert command(*arguments, "--out", folder).code == 0
    assert results(folder) == in_one_go


def test_the_digest_does_not_see_where_the_files_are(command, arguments, tmp_path, in_one_go):
    moved = [tmp_path / f"renamed{word.suffix}" if isinstance(word, Path) else word for word in arguments]
    for before, after in zip(arguments, moved, strict=True):
        if isinstance(before, Path):
            after.write_bytes(before.read_bytes())
    assert command(*moved, "--out", tmp_path / "moved").code == 0
    assert results(tmp_path / "moved") == in_one_go
