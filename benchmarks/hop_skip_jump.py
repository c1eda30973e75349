"""HopSkipJump by three libraries, as contenders (see peers.py): run as a script with one of CONTENDERS' names.

All attack the same ONNX file (the peers what onnx2torch makes of it) from the same starting points, and are judged by
what they ask about: the nearest point of the wrong class among an example's first q queries. `auditor` is told q;
the peers, which cannot be told, are stopped at the largest q and looked at on the way. Seconds are the processor's, so
that other work on the machine does not count.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from peers import serve

Answer = dict[str, Any]
_PREPARED: dict[str, Any] = {}
ENDLESS = 10_000  # steps that no budget lasts for


class Spent(Exception):
    """The largest budget is used up."""


class Watched:
    """What a peer asks about: counts an example's queries, and notes the nearest wrong answer at every budget."""

    def __init__(self, module: Any, x: np.ndarray, y: np.ndarray, norm: str, budgets: list[int]) -> None:
        import torch

        self._module, self._norm, self._budgets = module, norm, budgets
        self._x, self._y = torch.from_numpy(x), torch.from_numpy(y)
        self.asked = 0  # of every example; of the one at hand where they are attacked one by one
        self.only: int | None = None
        self.total = 0
        self._best = torch.full((len(x),), torch.inf)
        self.noted = {q: np.full(len(x), np.inf) for q in budgets}

    def __call__(self, x: Any) -> Any:
        import torch

        with torch.no_grad():
            logits = self._module(x)
        if self.only is None:
            self._see(x, logits, slice(None), 1)
        else:
            self._see(x, logits, slice(self.only, self.only + 1), len(x))
        return logits

    def _see(self, x: Any, logits: Any, rows: slice, queries: int) -> None:
        import torch

        order = torch.inf if self._norm == "Linf" else 2
        apart = torch.linalg.vector_norm((x - self._x[rows]).flatten(1), ord=order, dim=1)
        apart = torch.where(logits.argmax(1) != self._y[rows], apart, torch.inf)
        before, self.asked = self.asked, self.asked + queries
        self.total += len(x)
        for q in self._budgets:
            if before < q <= self.asked:  # a batch of probes that begins inside the budget counts to its end
                self.noted[q][rows] = self._nearer(apart, rows)
        self._best[rows] = self._nearer(apart, rows)
        if self.asked >= self._budgets[-1]:
            raise Spent

    def _nearer(self, apart: Any, rows: slice) -> Any:
        import torch

        found = apart if self.only is None else apart.min(0, keepdim=True).values
        return torch.minimum(self._best[rows], found)

    def close(self) -> None:
        """Who ended by himself has found nothing nearer in the budgets that he left."""
        for q in self._budgets:
            rows = slice(None) if self.only is None else slice(self.only, self.only + 1)
            if q > self.asked:
                self.noted[q][rows] = self._best[rows]


def theirs(attack: Callable[..., None]) -> Callable[..., Answer]:
    """Prepare with {model, examples, threads}, then run with {norm, budgets}."""

    def answer(**request: Any) -> Answer:
        if "model" in request:
            from theirs import onnx2torch_module

            _PREPARED.update(stored(request["examples"]))
            _PREPARED["module"] = onnx2torch_module(Path(request["model"]), request["threads"])
            return {}
        x, y, start = (_PREPARED[name] for name in ("x", "y", "start"))
        watched = Watched(_PREPARED["module"], x, y, request["norm"], request["budgets"])
        began = time.process_time()
        attack(watched, x, y, start, request["norm"])
        seconds = time.process_time() - began
        return {"seconds": seconds, "queries": watched.total, "nearest": [d.tolist() for d in watched.noted.values()]}

    return answer


def foolbox_attack(watched: Watched, x: np.ndarray, y: np.ndarray, start: np.ndarray, norm: str) -> None:
    import foolbox
    import torch

    model = foolbox.PyTorchModel(as_module(watched), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.HopSkipJumpAttack(steps=ENDLESS, constraint=norm.lower())
    with suppress(Spent):
        attack.run(model, torch.from_numpy(x), torch.from_numpy(y), starting_points=torch.from_numpy(start))
    watched.close()


def art_attack(watched: Watched, x: np.ndarray, y: np.ndarray, start: np.ndarray, norm: str) -> None:
    import torch
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import PyTorchClassifier

    estimator = PyTorchClassifier(
        as_module(watched), torch.nn.CrossEntropyLoss(), x.shape[1:], 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = HopSkipJump(estimator, norm=np.inf if norm == "Linf" else 2, max_iter=ENDLESS, verbose=False)
    for row in range(len(x)):
        watched.only, watched.asked = row, 0
        one = slice(row, row + 1)
        with suppress(Spent):
            attack.generate(x[one], y=y[one], x_adv_init=start[one])
        watched.close()


def as_module(watched: Watched) -> Any:
    """What both libraries take."""
    import torch

    class Module(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return watched(x.float())

    return Module().eval()


def ours(**request: Any) -> Answer:
    """See `theirs`."""
    from auditor.attacks import Random, hop_skip_jump
    from auditor.attacks.norms import distance
    from auditor.classifier import Counted

    if "model" in request:
        return _load(**request)
    x, y, start, classifier = (_PREPARED[name] for name in ("x", "y", "start", "classifier"))
    norm, ceiling, nearest = request["norm"], np.full(len(x), np.inf), []
    for queries in request["budgets"]:
        counted = Counted(classifier, len(x))
        rng = Random.keyed(np, 0, "benchmark", np.arange(len(x)))
        began = time.process_time()
        found = hop_skip_jump(counted, x, y, ceiling=ceiling, norm=norm, rng=rng, queries=queries, start=start)
        seconds = time.process_time() - began
        nearest.append(np.where(found.found, distance(np, found.x_adv, x, norm), np.inf).tolist())
    return {"seconds": seconds, "queries": int(counted.forwards.sum()), "nearest": nearest}


def forward(**request: Any) -> Answer:
    """See `theirs`: our scores at x and nothing else, as often as the smallest budget says."""
    if "model" in request:
        return _load(**request)
    x, classifier = _PREPARED["x"], _PREPARED["classifier"]
    turns = request["budgets"][0]
    began = time.process_time()
    for _ in range(turns):
        classifier.logits(x)
    return {"seconds": time.process_time() - began, "queries": turns * len(x), "nearest": []}


def _load(model: str, examples: str, threads: int) -> Answer:
    from auditor import load_classifier

    _PREPARED.update(stored(examples))
    _PREPARED["classifier"] = load_classifier(model, domain=(0, 1), batch=len(_PREPARED["x"]), threads=threads)
    return {}


def stored(path: str) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in ("x", "y", "start")}


CONTENDERS = {"auditor": ours, "foolbox": theirs(foolbox_attack), "art": theirs(art_attack), "forward": forward}

if __name__ == "__main__":
    serve(CONTENDERS[sys.argv[1]])
