"""Of how many files does each library give the right input gradient?

    python benchmarks/differentiable.py --peers PYTHON [FOLDER …] [--only TEXT] [--without TEXT …] [--lines]

FOLDER: every .onnx file in it and below; without one, tests/models and the models of AUDITOR_TESTDATA. Each library gets
the file at the shape of one random input and gives the gradient of the cross-entropy at the second-likeliest class. Right
is a gradient whose slopes are those of central differences of the file itself, run by ONNX Runtime: along eight random
directions, the median relative error is at most 5 %. Differences are taken at three widths, and the nearest counts: wide
ones meet kinks, narrow ones rounding. Where the two wider ones contradict each other (quantised inputs, trees) nothing
can be compared, and the file is left out; so are files that are no single-input classifiers.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from known import DATA, OWN
from peers import Contender, Refused
from zoo import files

from auditor.classifier import OnnxClassifier
from auditor.errors import AuditorError
from auditor.graph.plain import make_plain
from auditor.graph.upload import Upload
from auditor.request import read_model
from auditor.runtime import Session
from auditor.spec import Loss

PEERS = ("onnx_ad", "onnx2torch", "jaxonnxruntime")
DIRECTIONS, WIDTHS, RIGHT = 8, (1e-2, 1e-3, 1e-4), 0.05


class Problem:
    """One file at one input: its loss, the cotangent of its raw scores, and the slopes that differences find."""

    def __init__(self, path: Path, upload: Upload) -> None:
        rng = np.random.default_rng(0)
        self.path, self.upload = path, upload
        shape = (upload.fixed_batch or 1, *(d or 32 for d in upload.input_shape[1:]))
        one = rng.random((1, *shape[1:]))
        self.x = np.repeat(one, shape[0], axis=0).astype(upload.input_dtype)
        self._session = Session(upload.data, optimise="none")
        self.y = int(np.argsort(self._scores(self.x)[0])[-2])
        self.directions = [
            np.repeat(rng.standard_normal((1, *shape[1:])), shape[0], axis=0) for _ in range(DIRECTIONS)
        ]
        self.slopes = np.array([[self._slope(v, h) for h in WIDTHS] for v in self.directions])

    def raw(self, x: np.ndarray) -> np.ndarray:
        return self._session.run({self.upload.input: x}, [self.upload.output])[0]

    def _scores(self, x: np.ndarray) -> np.ndarray:
        return self.upload.class_scores(self.raw(x)).astype(np.float64)

    def loss(self, x: np.ndarray) -> float:
        return float(_cross_entropy(self._scores(x)[:1], self.y, self.upload.scores == "probabilities"))

    def _slope(self, v: np.ndarray, width: float) -> float:
        up, down = (self.loss((self.x + s * width * v).astype(self.x.dtype)) for s in (1, -1))
        return (up - down) / (2 * width)

    def cotangent(self) -> np.ndarray:
        """Of the raw scores, for the first row: by differences of the loss in each of them, which cost nothing."""
        raw = self.raw(self.x).astype(np.float64)
        g = np.zeros_like(raw)
        for place in np.ndindex(raw[:1].shape):
            step = 1e-4 * max(1e-3, abs(raw[place]))
            ends = []
            for sign in (1, -1):
                moved = raw.copy()
                moved[place] += sign * step
                scores = self.upload.class_scores(moved)[:1]
                ends.append(_cross_entropy(scores, self.y, self.upload.scores == "probabilities"))
            g[place] = (ends[0] - ends[1]) / (2 * step)
        return g.astype(np.float32)

    @property
    def comparable(self) -> bool:
        """Whether differences agree with each other, and are not all lost in rounding."""
        wide, narrow = self.slopes.T[:2]
        gap = np.abs(wide - narrow) / np.maximum(np.abs(wide), 1e-6)
        return bool(np.isfinite(self.slopes).all() and np.median(gap) < 0.1 and np.median(np.abs(wide)) > 1e-4)

    def verdict(self, g: np.ndarray) -> str:
        """g: of the input; only the first row's loss was asked for, and every row is the same example."""
        found = np.array([np.sum(g[0].astype(np.float64) * v[0]) for v in self.directions])
        errors = np.abs(found[:, None] - self.slopes).min(axis=1) / np.maximum(np.abs(self.slopes).max(axis=1), 1e-6)
        return "right" if np.median(errors) <= RIGHT else "wrong"


def _cross_entropy(scores: np.ndarray, y: int, probabilities: bool) -> float:
    if probabilities:
        return -float(np.log(max(scores[0, y], 1e-30)))
    shifted = scores[0] - scores[0].max()
    return float(np.log(np.exp(shifted).sum()) - shifted[y])


def ours(problem: Problem) -> np.ndarray:
    upload = problem.upload
    graph = make_plain(upload, batch=upload.fixed_batch or 1, shape=problem.x.shape[1:])
    classifier = OnnxClassifier(graph, domain=None)
    return classifier.gradient(problem.x[:1].astype(np.float32), np.array([problem.y]), Loss.CROSS_ENTROPY).g


def asked(contender: Contender) -> Callable[[Problem], np.ndarray]:
    def gradient(problem: Problem) -> np.ndarray:
        if not isinstance(problem.raw(problem.x), np.ndarray):
            raise Refused("its scores come as dictionaries")
        with tempfile.TemporaryDirectory() as folder:
            arrays = Path(folder) / "asked.npz"
            np.savez(arrays, x=problem.x, seed=problem.cotangent())
            names = {"input": problem.upload.input, "output": problem.upload.output}
            contender.ask(path=str(problem.path), arrays=str(arrays), given=str(Path(folder) / "g.npy"), **names)
            return np.load(Path(folder) / "g.npy")

    return gradient


def problems(folders: list[Path], only: str, without: list[str]) -> Iterator[Problem | None]:
    """None for a file of which nothing can be compared."""
    for path in files(folders, only):
        if any(part in path.name for part in without):
            continue
        try:
            upload = read_model(path)
            found = None if upload.label_only else Problem(path, upload)
        except (AuditorError, TypeError, ValueError):
            found = None
        yield found if found is not None and found.comparable else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="*", type=Path, default=[OWN, DATA])
    parser.add_argument("--peers", required=True)
    parser.add_argument("--only", default="", help="a part of the file's name")
    parser.add_argument("--without", nargs="*", default=["light_"], help="parts of names of files to leave out")
    parser.add_argument("--lines", action="store_true", help="a line per file")
    options = parser.parse_args()
    contenders = {name: Contender(name, options.peers, "differentiated.py", name, threads=1) for name in PEERS}
    libraries: dict[str, Callable[[Problem], np.ndarray]] = {"auditor": ours}
    libraries |= {name: asked(contender) for name, contender in contenders.items()}
    counts: dict[str, Counter[str]] = {name: Counter() for name in libraries}
    reasons: dict[str, Counter[str]] = {name: Counter() for name in libraries}
    compared = left_out = 0
    for problem in problems(options.folder, options.only, options.without):
        if problem is None:
            left_out += 1
            continue
        compared += 1
        words = []
        for name, library in libraries.items():
            try:
                word = problem.verdict(library(problem))
            except (Refused, AuditorError) as error:
                word = "refused"
                reasons[name][" ".join(str(error).split())[:90]] += 1
            counts[name][word] += 1
            words.append(word)
        if options.lines:
            print(f"{problem.path.name:44} " + " ".join(f"{w:14}" for w in words), flush=True)
    print(f"{compared} files compared, {left_out} left out")
    for name, count in counts.items():
        print(f"{name:16} right {count['right']:3}  wrong {count['wrong']:3}  refused {count['refused']:3}")
        for reason, times in reasons[name].most_common(5):
            print(f"    {times:3} x {reason}")
    for contender in contenders.values():
        contender.close()


if __name__ == "__main__":
    main()
