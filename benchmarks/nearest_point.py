"""Minimal-norm attacks of three libraries, as contenders (see peers.py): run as a script with one of ATTACKS' names.

They attack what onnx2torch makes of an ONNX file, the normalisation before it, and may take `steps` forwards and as many
backwards per example. As in AttackBench (Cinà et al. 2025) an attack is credited with the nearest broken point that it
asked about, or gave. Runs in the peers' environment; the table of attacks is read without it.
"""

import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers import serve

ORDER = {"Linf": float("inf"), "L2": 2.0, "L1": 1.0, "L0": 0.0}
SEARCHES, TARGETS = 10, 5  # AttackBench's, of adv_lib's APGD
RUNS = 9  # AutoAttack's, of FAB
_PREPARED: dict[str, Any] = {}


@dataclass(frozen=True)
class Task:
    """What an attack is given. far: no example's nearest point is thought to lie beyond, where APGD's search begins."""

    module: Any
    x: Any
    y: Any
    norm: str
    steps: int
    far: float


class Watched:
    """A module that counts what it is asked, and notes each example's nearest broken point in [0, 1].

    Only batches of all examples tell whose rows they are. Refers to torch, and is called like a module by the libraries.
    """

    def __init__(self, module: Any, x: Any, y: Any, norm: str) -> None:
        self._module, self._x, self._y, self._norm = module, x, y, norm
        self.forwards = self.backwards = 0
        self.nearest = x.clone()
        self.distance = x.new_full((len(x),), float("inf"))

    def __call__(self, x: Any) -> Any:
        logits = self._module(x)
        self.forwards += len(x)
        if logits.requires_grad:
            logits.register_hook(self._count)
        if len(x) == len(self._x):
            self.see(x.detach(), logits.detach())
        return logits

    def see(self, x: Any, logits: Any) -> None:
        import torch

        apart = torch.linalg.vector_norm((x - self._x).flatten(1), ord=ORDER[self._norm], dim=1)
        inside = (x >= 0).flatten(1).all(1) & (x <= 1).flatten(1).all(1)
        nearer = (logits.argmax(1) != self._y) & inside & (apart < self.distance)
        self.distance[nearer] = apart[nearer]
        self.nearest[nearer] = x[nearer]

    def _count(self, gradient: Any) -> None:
        self.backwards += len(gradient)


def answer_of(attacks: dict[str, "Attack"]) -> Callable[..., dict[str, Any]]:
    """Prepare with {model, examples, mean, std}, then run with {attack, norm, steps, far, points}: the points are written
    to the file `points`, x itself where nothing was found."""

    def answer(**request: Any) -> dict[str, Any]:
        import torch

        if "model" in request:
            _PREPARED.update(prepared(**request))
            return {}
        torch.manual_seed(0)
        module, x, y = (_PREPARED[name] for name in ("module", "x", "y"))
        watched = Watched(module, x, y, request["norm"])
        began = time.process_time()
        attack = attacks[request["attack"]].run
        given = attack(Task(as_module(watched), x, y, request["norm"], request["steps"], request["far"]))
        seconds = time.process_time() - began
        cost = {"forwards": watched.forwards / len(x), "backwards": watched.backwards / len(x)}
        given = given.detach().float().reshape(x.shape)
        with torch.no_grad():
            watched.see(given, module(given))
        np.save(request["points"], watched.nearest.numpy())
        return {"seconds": seconds, **cost}

    return answer


def prepared(model: str, examples: str, mean: list[float], std: list[float]) -> dict[str, Any]:
    import torch
    from theirs import onnx2torch_module

    bare = onnx2torch_module(Path(model), 1)
    shift, scale = (torch.tensor(values).reshape(-1, 1, 1) for values in (mean, std))
    with np.load(examples) as stored:
        x, y = torch.from_numpy(stored["x"]), torch.from_numpy(stored["y"])
    return {"module": lambda x: bare((x - shift) / scale), "x": x, "y": y}


def as_module(watched: Watched) -> Any:
    """What the libraries take."""
    import torch

    class Module(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return watched(x.float())

    return Module().eval()


def _adv_lib(name: str) -> Any:
    # adv_lib imports plotting and a perceptual distance for other attacks than these.
    for missing in ("torchvision", "torchvision.models", "visdom"):
        sys.modules.setdefault(missing, types.ModuleType(missing))
    sys.modules["torchvision"].models = sys.modules["torchvision.models"]  # type: ignore[attr-defined]
    from adv_lib import attacks

    return getattr(attacks, name)


def adv_lib_attack(name: str, steps: str, **parameters: Any) -> Callable[[Task], Any]:
    """`steps`: what the library calls their number."""

    def run(task: Task) -> Any:
        return _adv_lib(name)(task.module, task.x, task.y, **{steps: task.steps}, **parameters)

    return run


def adv_lib_in_norm(name: str, steps: str) -> Callable[[Task], Any]:
    """One that is told its norm."""
    return lambda task: adv_lib_attack(name, steps, norm=ORDER[task.norm])(task)


def adv_lib_apgd(task: Task, targets: int | None = None) -> Any:
    """The nearest point by bisection over eps; towards so many classes each, if given."""
    _adv_lib("apgd")
    from adv_lib.attacks.auto_pgd import minimal_apgd

    each = task.steps // SEARCHES
    return minimal_apgd(
        task.module,
        task.x,
        task.y,
        norm=ORDER[task.norm],
        max_eps=task.far,
        binary_search_steps=SEARCHES,
        targeted_version=targets is not None,
        num_targets=targets,
        n_iter=each // targets if targets else each - 2,
    )


def autoattack_fab(task: Task) -> Any:
    """AutoAttack's FAB towards nine classes, each from x, which draws nothing at random. An eps of zero keeps it from ending
    at a find."""
    from autoattack.fab_pt import FABAttack_PT

    each = 2 * task.steps // (3 * RUNS)  # a step takes two forwards and a backward
    fab = FABAttack_PT(task.module, norm=task.norm, n_iter=each, eps=0.0, targeted=True, n_target_classes=RUNS)
    return fab.perturb(task.x, task.y)


def foolbox_attack(make: Callable[[Any, Task], Any]) -> Callable[[Task], Any]:
    def run(task: Task) -> Any:
        import foolbox

        model = foolbox.PyTorchModel(task.module, bounds=(0, 1), device="cpu")
        return make(foolbox.attacks, task)(model, task.x, task.y, epsilons=None)[0]

    return run


def foolbox_fmn(attacks: Any, task: Task) -> Any:
    kinds = {"Linf": attacks.LInfFMNAttack, "L2": attacks.L2FMNAttack, "L1": attacks.L1FMNAttack}
    return {**kinds, "L0": attacks.L0FMNAttack}[task.norm](steps=task.steps)


@dataclass(frozen=True)
class Attack:
    run: Callable[[Task], Any]
    norms: tuple[str, ...]


_BY_GRADIENT = ("Linf", "L2", "L1")

ATTACKS: dict[str, dict[str, Attack]] = {
    "adv_lib": {
        "apgd-t": Attack(lambda task: adv_lib_apgd(task, TARGETS), _BY_GRADIENT),
        "apgd": Attack(adv_lib_apgd, _BY_GRADIENT),
        "pdpgd": Attack(adv_lib_in_norm("pdpgd", "num_steps"), ("Linf", "L1")),
        "pdgd": Attack(adv_lib_attack("pdgd", "num_steps"), ("L2",)),
        "ddn": Attack(adv_lib_attack("ddn", "steps", levels=None), ("L2",)),
        "fmn": Attack(adv_lib_in_norm("fmn", "steps"), tuple(ORDER)),
        "sigma-zero": Attack(adv_lib_attack("sigma_zero", "num_steps"), ("L0",)),
    },
    "autoattack": {
        "fab-t": Attack(autoattack_fab, _BY_GRADIENT),
    },
    "foolbox": {
        "fmn": Attack(foolbox_attack(foolbox_fmn), tuple(ORDER)),
        "ddn": Attack(foolbox_attack(lambda attacks, task: attacks.DDNAttack(steps=task.steps)), ("L2",)),
    },
}

if __name__ == "__main__":
    serve(answer_of(ATTACKS[sys.argv[1]]))
