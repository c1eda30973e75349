"""Every attack by name: its function, the norms it works in, what it sees, what it is given, and what it may cost.

A "fixed" budget attack is given an eps per example and looks for any adversarial example inside it; a "minimal" one
is given the best distance known and looks for a nearer point. What it sees: gradients ("white-box", of a model whose
slopes were replaced "surrogate-gradient"), the trees that the model is made of ("structure"), class scores ("score"), or only which of them is the largest ("decision").
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from auditor.attacks.apgd import apgd, apgd_targeted
from auditor.attacks.attempt import Attempt
from auditor.attacks.boundary import boundary
from auditor.attacks.cw import cw, cw_linf
from auditor.attacks.ddn import ddn
from auditor.attacks.deepfool import deepfool, superdeepfool
from auditor.attacks.ead import ead
from auditor.attacks.fab import fab, fab_targeted
from auditor.attacks.feature_search import feature_search
from auditor.attacks.fgsm import fgsm
from auditor.attacks.fmn import fmn
from auditor.attacks.hop_skip_jump import hop_skip_jump
from auditor.attacks.minimal_apgd import minimal_apgd
from auditor.attacks.minimal_runs import minimal_apgd_restarts, minimal_apgd_targeted
from auditor.attacks.momentum import mi_fgsm, ni_fgsm
from auditor.attacks.nes import nes
from auditor.attacks.noise import noise
from auditor.attacks.pdpgd import pdpgd
from auditor.attacks.pgd import pgd
from auditor.attacks.pointwise import pointwise
from auditor.attacks.rays import rays
from auditor.attacks.segment import POINTS
from auditor.attacks.sigma_zero import sigma_zero
from auditor.attacks.sign_hunter import sign_hunter
from auditor.attacks.sign_opt import sign_opt
from auditor.attacks.simba import simba
from auditor.attacks.sparse_pgd import sparse_pgd
from auditor.attacks.sparse_rs import sparse_rs
from auditor.attacks.spsa import spsa
from auditor.attacks.square import square
from auditor.attacks.surfree import surfree
from auditor.attacks.transfer import METHODS, Method, transfer
from auditor.attacks.trees.attack import ASKED, leaf_tuples, tree_search
from auditor.spec import Norm

Access = Literal["white-box", "surrogate-gradient", "structure", "score", "decision", "transfer"]


@dataclass(frozen=True)
class Passes:
    """What is run for one example; every backward pass comes with a forward pass of its own."""

    forwards: int = 0
    backwards: int = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.forwards + other.forwards, self.backwards + other.backwards)

    def __mul__(self, times: int) -> "Passes":
        return Passes(self.forwards * times, self.backwards * times)

    @property
    def total(self) -> int:
        return self.forwards + self.backwards


_Cost = Callable[[Mapping[str, Any], int], Passes]


@dataclass(frozen=True)
class Entry:
    """One attack of the catalogue. cost: what its parameters, defaults included, and the number of classes allow it at
    most per example and call; of a transfer attack, which is given a `surrogate`, a `pool` and a `layer`, with one surrogate.
    spatial: it wants to know where the channels are, as `layout`. views: it is given the `view` that it sees through.
    proves: it gives a radius within which nothing is. Each can be aimed at a class, see `Targeted`."""

    function: Callable[..., Attempt]
    norms: tuple[Norm, ...]
    budget: Literal["fixed", "minimal"]
    cost: _Cost
    access: Access = "white-box"
    spatial: bool = False
    views: bool = False
    proves: bool = False

    def at_most(self, parameters: Mapping[str, Any], classes: int) -> Passes:
        """What one call may cost per example with these parameters, the attack's own defaults for the rest."""
        defaults = {name: p.default for name, p in inspect.signature(self.function).parameters.items()}
        return self.cost({**defaults, **parameters}, classes)


def _gradients(n: int) -> Passes:
    return Passes(n, n)


def _pgd(p: Mapping[str, Any], classes: int) -> Passes:
    return (_gradients(p["steps"]) + Passes(1)) * p["restarts"]


def _queries(p: Mapping[str, Any], classes: int) -> Passes:
    return Passes(p["queries"])


def _apgd_targeted(p: Mapping[str, Any], classes: int) -> Passes:
    targets = min(p["targets"], classes - 1)
    ranking = Passes(1) + _gradients(min(p["candidates"], classes - 1) * (p["candidates"] > p["targets"]))
    if p["trial"] and targets > p["kept"]:
        return ranking + _gradients(targets * p["trial"] + p["kept"] * p["steps"])
    return ranking + _gradients(targets * p["steps"])


def _minimal_apgd_targeted(p: Mapping[str, Any], classes: int) -> Passes:
    return Passes(1) + _gradients(p["steps"] + 2) * min(p["targets"], classes - 1)


def _momentum(p: Mapping[str, Any], classes: int) -> Passes:
    return _gradients(p["steps"]) + Passes(1)


def _searches(p: Mapping[str, Any], classes: int) -> Passes:
    return _gradients(1 + p["searches"] * p["steps"])


def _aims(p: Mapping[str, Any], classes: int) -> int:
    return min(p["targets"], classes - 1)


def _deepfool(p: Mapping[str, Any], classes: int) -> Passes:
    return Passes(1) + (_gradients(_aims(p, classes)) + Passes(1)) * p["steps"] + Passes(1 + POINTS) * p["orthogonal"]


def _fab(p: Mapping[str, Any], classes: int) -> Passes:
    aims = _aims(p, classes)
    runs, planes = (aims, 1) if p["apart"] else (1, aims)
    one = (_gradients(planes) + Passes(1)) * p["steps"] + Passes(1 + POINTS) * int(p["final_search"])
    return Passes(1) + (one * p["restarts"] + _gradients(p["restarts"] - 1)) * runs


def _transfer(method: Method) -> Entry:
    """The upload is asked once; all else is the surrogate's."""
    return Entry(
        partial(transfer, method=method),
        ("Linf", "L2"),
        "fixed",
        lambda p, classes: Passes(2) + _gradients(method.gradients(p["steps"])),
        "transfer",
        spatial=True,
    )


_ALL: tuple[Norm, ...] = ("Linf", "L2", "L1")

CATALOGUE: dict[str, Entry] = {
    "fgsm": Entry(fgsm, _ALL, "fixed", lambda p, classes: Passes(2, 1)),
    "pgd": Entry(pgd, _ALL, "fixed", _pgd),
    "apgd": Entry(apgd, _ALL, "fixed", lambda p, classes: _gradients(p["restarts"] * p["steps"])),
    "apgd-targeted": Entry(apgd_targeted, _ALL, "fixed", _apgd_targeted),
    "minimal-apgd": Entry(minimal_apgd, _ALL, "minimal", lambda p, classes: _gradients(p["steps"] + 2)),
    "minimal-apgd-targeted": Entry(minimal_apgd_targeted, _ALL, "minimal", _minimal_apgd_targeted),
    "minimal-apgd-restarts": Entry(
        minimal_apgd_restarts, _ALL, "minimal", lambda p, classes: _gradients(p["steps"] + 2) * p["restarts"]
    ),
    "ddn": Entry(ddn, ("L2",), "minimal", lambda p, classes: _gradients(p["steps"] + 1)),
    "fab": Entry(fab, _ALL, "minimal", _fab),
    "fab-targeted": Entry(fab_targeted, _ALL, "minimal", _fab),
    "mi-fgsm": Entry(mi_fgsm, ("Linf", "L2"), "fixed", _momentum),
    "ni-fgsm": Entry(ni_fgsm, ("Linf", "L2"), "fixed", _momentum),
    "cw": Entry(cw, ("L2",), "minimal", _searches),
    "cw-linf": Entry(cw_linf, ("Linf",), "minimal", _searches),
    "ead": Entry(ead, ("L1",), "minimal", _searches),
    "pdpgd": Entry(pdpgd, _ALL, "minimal", lambda p, classes: _gradients(p["steps"] + 1)),
    "sigma-zero": Entry(sigma_zero, ("L0",), "minimal", lambda p, classes: _gradients(p["steps"] + 1)),
    "deepfool": Entry(deepfool, _ALL, "minimal", _deepfool),
    "superdeepfool": Entry(superdeepfool, ("L2",), "minimal", _deepfool),
    "fmn": Entry(fmn, (*_ALL, "L0"), "minimal", lambda p, classes: _gradients(p["steps"] + 1)),
    "sparse-pgd": Entry(sparse_pgd, ("L0",), "fixed", lambda p, classes: _gradients(p["steps"])),
    "square": Entry(square, _ALL, "fixed", _queries, "score", spatial=True),
    "sparse-rs": Entry(sparse_rs, ("L0",), "fixed", _queries, "score"),
    "feature-search": Entry(feature_search, (*_ALL, "L0"), "fixed", _queries, "score", views=True),
    "sign-hunter": Entry(sign_hunter, ("Linf", "L2"), "fixed", _queries, "score"),
    "nes": Entry(nes, ("Linf", "L2"), "fixed", _queries, "score"),
    "spsa": Entry(spsa, ("Linf",), "fixed", _queries, "score"),
    "noise": Entry(noise, _ALL, "fixed", _queries, "score"),
    "simba": Entry(simba, ("L2",), "fixed", _queries, "score"),
    "hop-skip-jump": Entry(hop_skip_jump, _ALL, "minimal", _queries, "decision"),
    "surfree": Entry(surfree, ("L2",), "minimal", _queries, "decision", spatial=True),
    "sign-opt": Entry(sign_opt, ("L2",), "minimal", _queries, "decision"),
    "boundary": Entry(boundary, ("L2",), "minimal", _queries, "decision"),
    "rays": Entry(rays, ("Linf",), "minimal", _queries, "decision"),
    "pointwise": Entry(pointwise, ("L0",), "minimal", _queries, "decision"),
    "leaf-tuples": Entry(leaf_tuples, (*_ALL, "L0"), "minimal", lambda p, classes: Passes(1), "structure"),
    "tree-search": Entry(
        tree_search, (*_ALL, "L0"), "minimal", lambda p, classes: Passes(1 + ASKED), "structure", proves=True
    ),
} | {f"transfer-{name}": _transfer(method) for name, method in METHODS.items()}
