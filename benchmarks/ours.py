"""Our side of a benchmark: an exported file made plain, differentiated and bound to buffers.

Run as a script with `forward`, `auditor` or `pgd`, it is a contender (see peers.py).
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers import clocked, serve

from auditor import runtime
from auditor.attacks import Random, pgd
from auditor.autodiff import compile as compiler
from auditor.classifier import OnnxClassifier
from auditor.graph.plain import ClassifierGraph, make_plain, serialise
from auditor.graph.upload import read_upload
from auditor.spec import Loss


@dataclass(frozen=True)
class Compiled:
    """The gradient session of one file at one batch shape, and the graph it came from."""

    graph: ClassifierGraph
    bound: runtime.Bound


def plain(path: Path, x: np.ndarray) -> ClassifierGraph:
    return make_plain(read_upload(path.read_bytes()), batch=len(x), shape=x.shape[1:])


def compiled(path: Path, x: np.ndarray, *, threads: int = 2) -> Compiled:
    graph = plain(path, x)
    session = runtime.Session(compiler.gradient_model(graph), threads=threads)
    inputs = {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in session.inputs.items()}
    outputs = {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in session.outputs.items()}
    return Compiled(graph, session.bind(inputs, outputs))


def forward(path: Path, x: np.ndarray, *, threads: int = 2) -> runtime.Bound:
    """The scores alone, as fast as ONNX Runtime makes them: the yardstick of a gradient's cost."""
    graph = plain(path, x)
    session = runtime.Session(serialise(graph.model), threads=threads)
    scores = np.zeros((graph.batch, graph.classes), np.float32)
    return session.bind({graph.x.name: x.copy()}, {graph.logits.name: scores})


def fill(compiled: Compiled, x: np.ndarray, y: np.ndarray) -> None:
    """Set the inputs: the loss is the cross-entropy in every row."""
    given = {
        compiled.graph.x.name: x,
        compiler.LABEL: y,
        compiler.TARGET: y,
        compiler.CHOICE: np.full(len(y), Loss.CROSS_ENTROPY),
    }
    for name, buffer in compiled.bound.inputs.items():
        buffer[...] = given[name]


def gradient_of(compiled: Compiled, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    fill(compiled, x, y)
    compiled.bound.run()
    return compiled.bound.outputs[compiler.GRADIENT].copy()


def error_of(found: np.ndarray, wanted: np.ndarray) -> float:
    """Relative, in L2."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def files(folder: str, name: str, exporter: str) -> tuple[Path, Any]:
    return Path(folder) / f"{name}.{exporter}.onnx", np.load(Path(folder) / f"{name}.npz")


def prepare_forward(folder: str, name: str, exporter: str, threads: int) -> tuple[float, Callable[[], Any]]:
    path, data = files(folder, name, exporter)
    bound = forward(path, data["x"], threads=threads)
    bound.run()
    (scores,) = bound.outputs.values()
    return error_of(scores, data["logits"]), bound.run


def prepare_gradient(folder: str, name: str, exporter: str, threads: int) -> tuple[float, Callable[[], Any]]:
    path, data = files(folder, name, exporter)
    ready = compiled(path, data["x"], threads=threads)
    return error_of(gradient_of(ready, data["x"], data["y"]), data["g"]), ready.bound.run


class Stopwatch:
    """Seconds spent inside ONNX Runtime, and in all."""

    inside = total = 0.0

    def watch(self, run: Callable[[], None]) -> Callable[[], None]:
        def watched() -> None:
            start = time.perf_counter()
            run()
            self.inside += time.perf_counter() - start

        return watched


def pgd_answer(**request: Any) -> dict[str, Any]:
    """Prepare with {folder, name, exporter, threads}, then run with {eps, steps}."""
    if "folder" in request:
        path, data = files(request["folder"], request["name"], request["exporter"])
        classifier = OnnxClassifier(plain(path, data["x"]), domain=(0.0, 1.0), threads=request["threads"])
        watch = Stopwatch()
        for bound in (classifier._forward, classifier._backward):
            bound.run = watch.watch(bound.run)
        _PREPARED.update(classifier=classifier, x=data["x"], y=data["logits"].argmax(1), watch=watch)
        return {}
    classifier, x, y, watch = (_PREPARED[name] for name in ("classifier", "x", "y", "watch"))
    rng = Random.keyed(np, 0, "pgd", np.arange(len(x)))
    watch.inside, start = 0.0, time.perf_counter()
    steps = request["steps"]
    eps = np.full(len(x), request["eps"])
    attempt = pgd(classifier, x, y, eps=eps, norm="Linf", rng=rng, steps=steps, step_size=2.5 / steps)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "inside": watch.inside, "broken": int(attempt.found.sum())}


_PREPARED: dict[str, Any] = {}

CONTENDERS = {"forward": clocked(prepare_forward), "auditor": clocked(prepare_gradient), "pgd": pgd_answer}

if __name__ == "__main__":
    serve(CONTENDERS[sys.argv[1]])
