"""How near attacks come to the nearest points known, as AttackBench measures it (Cinà et al. 2025).

    python benchmarks/optimality.py                                    the table of what optimality.csv holds
    python benchmarks/optimality.py --run quick standard               those anew, beside what the file holds
    python benchmarks/optimality.py --run adv_lib --peers PYTHON --keep       into the file
                                    [--steps 1000] [--only resnet_2b:Linf] [--attack pdpgd]

Per model and norm the first 24 test images that the model gets right. With d the distances that an attack found,
cut off at the largest of the best ones known, `optimality` is 1 - (mean d - mean best) / (largest best - mean best):
1 is as near as anything known, 0 is no better than giving every example the largest. The best are the rows `pool` of
the file: the minimum over all runs that were ever kept, at any budget, of any tool. Every point of every tool is judged
on the ONNX file by `Verifier`; one that it refutes, as rounding does with points on the boundary, may move out by up to
one per cent. `auditor`: attacks alone, each with `--steps` gradients; the others are presets with their ten eps, the
libraries' attacks have `--steps` gradients too. `passes`: forwards and backwards per example.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from audits import ROOT, attack, cost, families, normalisation
from nearest_point import ATTACKS
from peers import Contender, Refused

from auditor import load_classifier
from auditor.attacks.cascade import run_stage
from auditor.attacks.grid import Grid
from auditor.attacks.progress import Examples, Progress
from auditor.attacks.space import Space
from auditor.attacks.stage import Stage
from auditor.attacks.verify import Verifier
from auditor.graph.file import read_file
from auditor.graph.upload import read_upload
from auditor.spec import NORMS, THREAT_PRESETS, Norm, Threat

KEPT = Path(__file__).with_suffix(".csv")
MODELS = {
    "mnist_fastadv_fgsm": "trained/mnist_fastadv_fgsm",
    "cifar_base_kw": "oval21/cifar_base_kw",
    "resnet_2b": "cifar10_resnet/resnet_2b",
}
EXAMPLES = 24
SPACE = Space((0.0, 1.0))
OUTWARD = (1.0, 1.0001, 1.001, 1.01)  # times a refuted point's perturbation
SPARSE = {"L1": "1,2,4,6,8,12,16,20,24,32", "L0": "1,2,3,5,8,12,18,26,40,60"}
PRESETS = ("quick", "standard", "thorough")
AIMS = {"Linf": 0.98, "L2": 0.95, "L1": 0.93, "L0": 0.97}
POOL = ("pool", "", 0)


@dataclass(frozen=True)
class Run:
    """One attack on one model in one norm. forwards, backwards: per example; distance: (n,), inf where none counts."""

    model: str
    norm: Norm
    tool: str
    attack: str
    steps: int
    forwards: float
    backwards: float
    distance: np.ndarray

    @property
    def name(self) -> tuple[str, str, int]:
        return self.tool, self.attack, self.steps


Runs = dict[tuple[str, str, tuple[str, str, int]], Run]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", default=[], choices=[*PRESETS, "auditor", *ATTACKS])
    parser.add_argument("--peers", help="a Python with torch, onnx2torch, foolbox, adv_lib and autoattack")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", default="", help="MODEL:NORM, a part of it")
    parser.add_argument("--attack", help="this one of a tool's")
    parser.add_argument("--keep", action="store_true", help="write what was run into the file")
    options = parser.parse_args()
    families()
    runs = read(KEPT)
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            for run in anew(name, Path(folder), options):
                runs[run.model, run.norm, run.name] = run
                if options.keep:
                    extend_pool(runs, run)
                    write(KEPT, runs)
    for norm in NORMS:
        table(runs, norm)


def anew(name: str, folder: Path, options: argparse.Namespace) -> Iterator[Run]:
    """What `--run` asks for on one model."""
    norms = [norm for norm in NORMS if options.only in f"{name}:{norm}"]
    if not norms or not options.run:
        return
    subject = Subject(name)
    for tool in options.run:
        if tool in PRESETS:
            for norm in norms:
                yield subject.preset(tool, norm)
        elif tool == "auditor":
            for norm in norms:
                for attack_name, parameters in alone(norm, options.steps).items():
                    if options.attack in (None, attack_name):
                        yield subject.alone(attack_name, norm, options.steps, parameters)
        else:
            yield from subject.theirs(tool, norms, folder, options)


def alone(norm: Norm, steps: int) -> dict[str, dict[str, Any]]:
    """Our attacks on the nearest point in a norm, with parameters that come to so many gradients at most."""
    if norm == "L0":
        return {"sigma-zero": {"steps": steps - 1}, "fmn": {"steps": steps - 1}}
    first: dict[str, dict[str, Any]] = {"ddn": {"steps": steps - 1}} if norm == "L2" else {}
    return first | {
        "minimal-apgd": {"steps": steps - 2},
        "minimal-apgd-targeted": {"steps": steps // 9 - 2},
        "minimal-apgd-restarts": {"steps": 48, "restarts": steps // 50, "misses": steps // 50},
        "pdpgd": {"steps": steps - 1},
        "fmn": {"steps": steps - 1},
        "fab-targeted": {"steps": 2 * steps // 27 - 3},
    }


class Subject:
    """A model and its examples."""

    def __init__(self, name: str) -> None:
        self.name, self.path = name, ROOT / "models" / f"{MODELS[name]}.onnx"
        self.dataset = "mnist" if "mnist" in name else "cifar10"
        declared = normalisation(self.path.parent.name)
        self._normalisation = declared and declared.normalisation
        with np.load(ROOT / "images" / f"{self.dataset}_test_1000.npz") as stored:
            images, labels = stored["x"][:200], stored["y"][:200].astype(np.int64)
        x = (images / np.float32(255)).astype(np.float32)
        right = np.flatnonzero(self._classifier.logits(x).argmax(axis=1) == labels)[:EXAMPLES]
        self.images, self.x, self.y = images[right], x[right], labels[right]

    @cached_property
    def _classifier(self) -> Any:
        return load_classifier(self.path, domain=(0, 1), batch=EXAMPLES, normalisation=self._normalisation, threads=1)

    @cached_property
    def _verifier(self) -> Verifier:
        upload = read_upload(read_file(self.path))
        return Verifier(upload, domain=(0.0, 1.0), normalisation=self._normalisation)

    def eps(self, norm: Norm) -> tuple[str, ...]:
        """Ten, as somebody would ask for."""
        if norm in SPARSE:
            return tuple(SPARSE[norm].split(","))
        preset = THREAT_PRESETS["mnist" if self.dataset == "mnist" else "image-8bit"]
        return next(threat.eps for threat in preset if threat.norm == norm)

    def preset(self, preset: str, norm: Norm) -> Run:
        outcomes, finished = attack(self.path, self.images, self.y, norm, self.eps(norm), preset, threads=1)
        forwards, backwards = (total / EXAMPLES for total in cost(finished))
        return self._run(norm, (preset, "", 0), forwards, backwards, outcomes.distance)

    def alone(self, name: str, norm: Norm, steps: int, parameters: dict[str, Any]) -> Run:
        """One attack of the catalogue, down to any distance."""
        examples = Examples(np.arange(EXAMPLES), self.x, self.y, np.ones(EXAMPLES, dtype=bool))
        progress = run_stage(
            Stage(name, name, norm, parameters),
            examples,
            Progress.start(examples, [norm]),
            classifier=self._classifier,
            verifier=self._verifier,
            grid=Grid(Threat(norm=norm, eps=("0.000001",)), SPACE),
            space=SPACE,
            seed=0,
        )
        forwards, backwards = progress.forwards.mean(), progress.backwards.mean()
        return self._run(norm, ("auditor", name, steps), forwards, backwards, progress.best[norm].distance)

    def theirs(self, tool: str, norms: list[Norm], folder: Path, options: argparse.Namespace) -> Iterator[Run]:
        if not options.peers:
            sys.exit(f"{tool} needs --peers PYTHON")
        examples, points = folder / f"{self.name}.npz", folder / "points.npy"
        np.savez(examples, x=self.x, y=self.y)
        declared = self._normalisation
        mean, std = ([0.0], [1.0]) if declared is None else (list(declared.mean), list(declared.std))
        contender = Contender(tool, options.peers, "nearest_point.py", tool, threads=1)
        try:
            contender.ask(model=str(self.path), examples=str(examples), mean=mean, std=std)
            for norm in norms:
                for name, entry in ATTACKS[tool].items():
                    if norm in entry.norms and options.attack in (None, name):
                        asked = {"norm": norm, "steps": options.steps, "far": float(self._far(norm))}
                        cost = contender.ask(attack=name, points=str(points), **asked)
                        distance = self._judged(np.load(points), norm)
                        key = (tool, name, options.steps)
                        yield self._run(norm, key, cost["forwards"], cost["backwards"], distance)
        except Refused as refusal:
            print(f"{self.name} {tool}: {refusal}", flush=True)
        finally:
            contender.close()

    def _far(self, norm: Norm) -> float:
        return Grid(Threat(norm=norm, eps=self.eps(norm)), SPACE).units(np.array([9]))[0]

    def _judged(self, points: np.ndarray, norm: Norm) -> np.ndarray:
        """How far each claimed point (n, *shape) lies once it counts."""
        distance = np.full(len(points), np.inf)
        for row, point in enumerate(points):
            for outward in OUTWARD:
                moved = np.clip(self.x[row] + np.float32(outward) * (point - self.x[row]), 0, 1)
                if self._verifier.check(moved, int(self.y[row])).counts:
                    distance[row] = SPACE.distances(self.x[row : row + 1], moved[None])[norm][0]
                    break
        return distance

    def _run(
        self, norm: Norm, name: tuple[str, str, int], forwards: float, backwards: float, distance: np.ndarray
    ) -> Run:
        run = Run(self.name, norm, *name, float(forwards), float(backwards), distance)
        missing = np.isinf(distance).sum()
        print(
            f"{self.name} {norm} {label(name)}: median {np.median(distance):.4g}, none found {missing}, "
            f"forwards {forwards:.0f}, backwards {backwards:.0f}",
            file=sys.stderr,
            flush=True,
        )
        return run


def optimality(distance: np.ndarray, best: np.ndarray) -> float:
    """AttackBench's local optimality where every example is right when clean, so that areas are means. (n,), twice"""
    farthest = best.max()
    return float(1 - (np.minimum(distance, farthest).mean() - best.mean()) / (farthest - best.mean()))


def table(runs: Runs, norm: Norm) -> None:
    """One line per attack, the best first; those that were not run on every model have no mean, and come last."""
    pool = {model: runs[model, norm, POOL].distance for model in MODELS if (model, norm, POOL) in runs}
    lines = []
    for name in sorted({run.name for run in runs.values() if run.norm == norm} - {POOL}):
        of = {model: runs[model, norm, name] for model in pool if (model, norm, name) in runs}
        each = {model: optimality(run.distance, pool[model]) for model, run in of.items()}
        mean = np.mean(list(each.values())) if len(each) == len(MODELS) else np.nan
        spent = np.mean([run.forwards + run.backwards for run in of.values()])
        columns = "".join(f"{each.get(model, np.nan):20.3f}" for model in MODELS)
        text = f"{label(name):38}{columns}{mean:8.3f}{spent:9,.0f}".replace("nan", "  –")
        lines.append((np.nan_to_num(mean, nan=-np.inf), text))
    heading = "".join(f"{model:>20}" for model in MODELS)
    print(f"{f'{norm} (aim {AIMS[norm]})':38}{heading}{'mean':>8}{'passes':>9}")
    print("\n".join(text for _, text in sorted(lines, reverse=True)) + "\n", flush=True)


def label(name: tuple[str, str, int]) -> str:
    tool, attack_name, steps = name
    return f"{tool} {attack_name} {steps}" if attack_name else tool


def extend_pool(runs: Runs, run: Run) -> None:
    key = (run.model, run.norm, POOL)
    known = runs[key].distance if key in runs else np.inf
    runs[key] = Run(run.model, run.norm, *POOL, 0, 0, np.minimum(run.distance, known))


def read(path: Path) -> Runs:
    if not path.exists():
        return {}
    runs = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            distance = np.array([float(text) for text in row.pop("distance").split()])
            numbers = {"forwards": float(row.pop("forwards")), "backwards": float(row.pop("backwards"))}
            run = Run(**{**row, "steps": int(row["steps"])}, **numbers, distance=distance)  # type: ignore[arg-type]
            runs[run.model, run.norm, run.name] = run
    return runs


def write(path: Path, runs: Runs) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Run.__dataclass_fields__)
        for _, run in sorted(runs.items()):
            spent = (f"{run.forwards:.1f}", f"{run.backwards:.1f}")
            distance = " ".join(f"{d:.6g}" for d in run.distance)
            writer.writerow([run.model, run.norm, *run.name, *spent, distance])


if __name__ == "__main__":
    main()
