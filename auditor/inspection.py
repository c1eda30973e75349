"""What a model is, before anything attacks it: `auditor inspect`."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor.audits.estimate import Speed
from auditor.audits.plan import default_batch, default_threads
from auditor.autodiff.coverage import Obstacle, Substitute, obstacles, substitutes
from auditor.classifier import OnnxClassifier
from auditor.errors import ModelError
from auditor.graph.located import find_trees
from auditor.graph.plain import ClassifierGraph, make_plain
from auditor.graph.upload import Upload
from auditor.runtime import Device
from auditor.spec import Loss

STATM = Path("/proc/self/statm")  # Linux: pages held by this process

_SCORES = {
    "logits": "logits",
    "probabilities": "probabilities (the attack works on the logits before them)",
    "label": "labels only (gradients are those of the scores that they are the largest of; without gradients only labels are asked)",
}


@dataclass(frozen=True)
class Cost:
    """One pass over a batch. seconds: the least of several runs; bytes: by how much the process grew: weights and activations."""

    batch: int
    forward_seconds: float
    gradient_seconds: float
    forward_bytes: int
    gradient_bytes: int

    @property
    def speed(self) -> Speed:
        """The same per example."""
        return Speed(self.forward_seconds / self.batch, self.gradient_seconds / self.batch)


@dataclass(frozen=True)
class Inspection:
    """The facts. obstacles: every node that no gradient passes; empty when the gradient is covered. substitutes: the nodes
    whose slope a surrogate can stand in for, where that covers the gradient. trees: how many trees and leaves the model is the
    sum of, where it is one that attacks can search."""

    inputs: list[str]
    outputs: list[str]
    opset: int
    attacked: str
    layout: str | None
    fixed_batch: int | None
    classes: int
    scores: str
    parameters: int
    operators: dict[str, int]
    obstacles: list[Obstacle]
    substitutes: list[Substitute]
    cost: Cost | None
    remark: str | None
    trees: dict[str, int] | None = None
    multilabel: bool = False

    def as_json(self) -> dict[str, Any]:
        """The facts in JSON's types; gradient: whether it is covered, and what is in its way or was not looked at."""
        facts = {
            name: value
            for name, value in vars(self).items()
            if name not in ("obstacles", "substitutes", "cost", "remark")
        }
        gradient = {
            "covered": self.cost is not None and not self.obstacles,
            "obstacles": list(map(str, self.obstacles)),
            "substitutes": list(map(str, self.substitutes)),
            "remark": self.remark,
        }
        return {**facts, "gradient": gradient, "cost": None if self.cost is None else asdict(self.cost)}

    def lines(self) -> Iterator[tuple[str, str]]:
        """(name, value) as a person reads them."""
        yield "inputs", "\n".join(self.inputs)
        yield "outputs", "\n".join(self.outputs)
        yield "attacked", self.attacked + (f", {self.layout}" if self.layout else "")
        yield "batch", "dynamic" if self.fixed_batch is None else f"fixed to {self.fixed_batch}"
        yield "labels" if self.multilabel else "classes", f"{self.classes}, as {_SCORES[self.scores]}"
        yield "opset", str(self.opset)
        yield "parameters", f"{self.parameters:,}"
        yield "operators", ", ".join(f"{name} {count}" for name, count in self.operators.items())
        if self.cost is None:
            yield "gradient", self.remark or "not measured"
            return
        if self.trees is not None:
            yield (
                "trees",
                f"a sum of {self.trees['trees']} with {self.trees['leaves']:,} leaves, which attacks search",
            )
        if self.obstacles:
            yield "gradient", self._stand_ins() + "\n".join(map(str, self.obstacles))
        else:
            ratio = self.cost.gradient_seconds / self.cost.forward_seconds
            yield "gradient", f"covered; forward + backward costs {ratio:.1f} forwards"
        for name in ("forward", "gradient"):
            seconds, size = getattr(self.cost, f"{name}_seconds"), getattr(self.cost, f"{name}_bytes")
            if seconds:
                each = seconds / self.cost.batch
                yield (
                    f"one {name}",
                    f"{1e3 * each:.2f} ms per example at batch {self.cost.batch}, {size / 2**20:.0f} MiB",
                )

    def _stand_ins(self) -> str:
        if not self.substitutes:
            return "not covered (attacked by its scores alone):\n"
        listed = "\n".join(map(str, self.substitutes))
        return (
            f"covered by surrogates, if these prove to lead anywhere:\n{listed}\nin the way of the true gradient:\n"
        )


def inspect(upload: Upload, *, shape: tuple[int, ...] | None = None, batch: int | None = None) -> Inspection:
    """Look at an upload. shape: of one example, where the file leaves axes open; batch: rows per pass."""
    found: list[Obstacle] = []
    stand_ins: list[Substitute] = []
    cost, remark, trees = None, None, None
    wanted = shape or upload.input_shape[1:]
    if None in wanted:
        remark = "not measured: the model leaves its input's shape open; give one example's with --shape"
    else:
        try:
            example = tuple(int(d) for d in wanted)  # type: ignore[arg-type]
            found, cost = measure(upload, example, batch)
            stand_ins = _covering(make_plain(upload, batch=1, shape=example)) if found else []
            trees = (
                _trees(make_plain(upload, batch=1, shape=example))
                if upload.has_trees and not upload.multilabel
                else None
            )
        except ModelError as error:
            remark = f"not covered: {error}"
    return Inspection(
        inputs=[_tensor(t) for t in upload.inputs],
        outputs=[_tensor(t) for t in upload.outputs],
        opset=upload.opset,
        attacked=f"{', '.join(upload.given.names) or upload.input} (output '{upload.output}')",
        layout=upload.layout,
        fixed_batch=upload.fixed_batch,
        classes=upload.classes,
        scores=upload.scores,
        parameters=upload.parameters,
        operators=upload.operators,
        obstacles=found,
        substitutes=stand_ins,
        cost=cost,
        remark=remark,
        trees=trees,
        multilabel=upload.multilabel,
    )


def measure(
    upload: Upload,
    shape: tuple[int, ...],
    batch: int | None = None,
    threads: int | None = None,
    device: Device = "cpu",
) -> tuple[list[Obstacle], Cost]:
    """What is in the gradient's way, and what a pass over a batch costs where nothing is; shape: of one example."""
    graph = make_plain(upload, batch=batch or default_batch(shape), shape=shape)
    found = obstacles(graph)
    classifier = OnnxClassifier(graph, domain=None, device=device, threads=threads or default_threads())
    x = classifier.xp.asarray(np.random.default_rng(0).random((graph.batch, *shape), dtype=np.float32))
    y = classifier.xp.zeros(graph.batch, dtype=np.int64)
    forward_seconds, forward_bytes = _timed(lambda: classifier.logits(x))
    gradient_seconds, gradient_bytes = (0.0, 0) if found else _timed(lambda: classifier.gradient(x, y, Loss.MARGIN))
    return found, Cost(graph.batch, forward_seconds, gradient_seconds, forward_bytes, gradient_bytes)


def _covering(graph: ClassifierGraph) -> list[Substitute]:
    """What the surrogates of steps replace; nothing where they do not cover the gradient."""
    return [] if obstacles(graph, "straight-through") else substitutes(graph, "straight-through")


def _trees(graph: ClassifierGraph) -> dict[str, int] | None:
    found = find_trees(graph)
    return None if found is None else {"trees": found.count, "leaves": len(found.tree)}


def _timed(run: Callable[[], Any], repeats: int = 5) -> tuple[float, int]:
    """The least seconds of several runs after the first, and by how many bytes the process has grown."""
    before = _resident_bytes()
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds), max(_resident_bytes() - before, 0)


def _resident_bytes() -> int:
    """The memory that this process holds; its peak where the system tells only that, 0 where it tells nothing."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS


def _tensor(tensor: Any) -> str:
    shape = " x ".join("?" if not isinstance(d, int) else str(d) for d in tensor.shape)
    return f"{tensor.name}: {tensor.type}" + (f" [{shape}]" if shape else "")
