"""What chance does to AutoAttack: the original and the preset `autoattack`, each with several seeds.

    python benchmarks/seeds.py MODEL NORM EPS --peers PYTHON [--examples 100] [--seeds 0 1 2 3]
    python benchmarks/seeds.py trained/mnist_fastadv_fgsm L2 1.5 --peers PYTHON

Per run, how many examples stand when clean, after the first and second attack, FAB and Square, which is the end; `refuted`: of
the original's finds, how many the ONNX file does not confirm (they count as broken, as they do for the original). Then how many
stand under every seed of one tool, under every seed of both, and broken by which one alone. The original attacks what
onnx2torch makes of the file.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from audits import ROOT, attack, families, normalisation
from peers import Contender

from auditor.attacks.verify import Verifier
from auditor.graph.file import read_file
from auditor.graph.upload import read_upload
from auditor.spec import exact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a file of AUDITOR_TESTDATA/models, without its ending")
    parser.add_argument("norm")
    parser.add_argument("eps")
    parser.add_argument("--peers", required=True, help="a Python with torch, onnx2torch and autoattack")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3])
    options = parser.parse_args()
    families()
    row = Row(options.model, options.norm, options.eps, options.examples, options.seeds)
    print(f"{row.model} {row.norm} {row.eps}, {row.examples} examples")
    with tempfile.TemporaryDirectory() as folder:
        theirs = row.original(options.peers, Path(folder))
    ours = row.ours()
    for name, standing in (("original", theirs), ("ours", ours)):
        print(f"{name}: {[int(run.sum()) for run in standing]} stand, under every seed {standing.all(0).sum()}")
    print(
        f"under every seed of both {np.sum(ours.all(0) & theirs.all(0))}; by the original alone are broken "
        f"{np.sum(ours.all(0) & ~theirs.all(0))}, by ours alone {np.sum(theirs.all(0) & ~ours.all(0))}"
    )


@dataclass(frozen=True)
class Row:
    """One model, norm and eps, and its first `examples` test images."""

    model: str
    norm: str
    eps: str
    examples: int
    seeds: list[int]

    @cached_property
    def path(self) -> Path:
        return ROOT / "models" / f"{self.model}.onnx"

    @cached_property
    def images(self) -> tuple[np.ndarray, np.ndarray]:
        dataset = "mnist" if "mnist" in self.model else "cifar10"
        with np.load(ROOT / "images" / f"{dataset}_test_1000.npz") as stored:
            return stored["x"][: self.examples], stored["y"][: self.examples].astype(np.int64)

    def ours(self) -> np.ndarray:
        """(seeds, examples) bool: which stand."""
        x, y = self.images
        standing = []
        for seed in self.seeds:
            outcomes, finished = attack(self.path, x, y, self.norm, [self.eps], "autoattack", threads=1, seed=seed)
            standing.append(outcomes.standing(self.eps))
            before = [
                sum(row.tried for row in rows) for rows in zip(*(p.rows for p in finished.values()), strict=True)
            ]
            _say("ours", seed, [*before, int(standing[-1].sum())])
        return np.array(standing)

    def original(self, peers: str, folder: Path) -> np.ndarray:
        """The same by the original."""
        x, y = self.images
        x = (x / np.float32(255)).astype(np.float32)
        examples, points = folder / "examples.npz", folder / "points.npy"
        np.savez(examples, x=x, y=y)
        confirmed = self._confirms()
        declared = normalisation(self.path.parent.name)
        mean, std = ([0.0], [1.0]) if declared is None else (list(declared.mean), list(declared.std))
        contender = Contender("original", peers, "original.py", threads=1)
        standing = []
        try:
            contender.ask(model=str(self.path), examples=str(examples), mean=mean, std=std)
            for seed in self.seeds:
                asked = {"norm": self.norm, "eps": float(exact(self.eps)), "seed": seed, "points": str(points)}
                after = np.array(contender.ask(**asked)["standing"])
                standing.append(after[-1])
                broken = np.flatnonzero(after[0] & ~after[-1])
                found = np.load(points)
                refuted = sum(not confirmed(found[row], int(y[row])) for row in broken)
                _say("original", seed, after.sum(1).tolist(), f", refuted {refuted}")
        finally:
            contender.close()
        return np.array(standing)

    def _confirms(self) -> Callable[[np.ndarray, int], bool]:
        declared = normalisation(self.path.parent.name)
        upload = read_upload(read_file(self.path))
        verifier = Verifier(upload, domain=(0.0, 1.0), normalisation=declared and declared.normalisation)
        return lambda point, label: verifier.check(point, label).counts


def _say(tool: str, seed: int, standing: list[int], more: str = "") -> None:
    print(f"{tool:9} seed {seed}: " + " > ".join(map(str, standing)) + more, flush=True)


if __name__ == "__main__":
    main()
