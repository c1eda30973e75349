"""A threat that is no norm ball: a list of settings, and for each the points that it makes of the examples."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from auditor import runtime
from auditor.attacks.catalogue import Passes
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import digest
from auditor.threats.pixels import Pixels

NOTHING = Passes()
Setting = Mapping[str, Any]
Access = Literal["none", "decision", "white-box"]
# Gives (n, *shape) points one after another, and is sent the rows (n,) bool that the next ones are for.
Points = Generator[Array, Array, None]


@dataclass(frozen=True)
class Scene:
    """What a threat sees. index: (n,) positions in the dataset; x: (n, *shape) float32 and y: (n,) on the classifier's
    device, as `Space.view` shows them; active: (n,) bool, the rows that the first points are for."""

    classifier: Classifier
    index: np.ndarray
    x: Array
    y: Array
    active: Array
    seed: int
    name: str
    pixels: Pixels | None = None

    @property
    def xp(self) -> Any:
        return self.classifier.xp

    def rng(self, xp: Any, setting: Setting) -> Random:
        """Random numbers of this threat in one of its settings: integers that do not depend on `xp`."""
        return Random.keyed(xp, self.seed, f"other/{self.name}/{digest(dict(setting))}", xp.asarray(self.index))

    @cached_property
    def image(self) -> Pixels:
        assert self.pixels is not None, f"{self.name} was chosen for inputs that are no images"
        return self.pixels

    @cached_property
    def device_planes(self) -> Array:
        """(n, channels, height, width) float32 on the classifier's device, black 0 and white 1."""
        return self.image.planes(self.xp, self.x)

    @cached_property
    def host_planes(self) -> np.ndarray:
        """The same on the host."""
        return runtime.to_host(self.device_planes)


@dataclass(frozen=True)
class Lesson:
    """Examples that are not audited, to learn on. index: (m,) positions in the dataset; x: (m, *shape) float32 and
    y: (m,), labels or, without them, the model's own answers."""

    classifier: Classifier
    index: np.ndarray
    x: Array
    y: Array
    seed: int


@dataclass(frozen=True)
class OtherThreat:
    """settings: what the report says of each. access: what it sees of the model.

    search: an attacker looks for one point that the model gets wrong, so that examples that are wrong when clean or
    already broken are left out; else every point of every setting is judged for every example. nested: a later setting
    allows all that an earlier one does. images: it applies to images only. cost: see `at_most`. about: what the report says of the threat.
    learn: gives the threat itself, which is of no use before; it is then run on all examples in one work item, and
    learning is what that has cost.
    """

    name: str
    kind: Literal["corruption", "sweep", "noise", "spatial", "colour", "universal"]
    settings: tuple[Setting, ...]
    points: Callable[[Scene, Setting], Points]
    access: Access = "none"
    search: bool = False
    nested: bool = False
    images: bool = True
    about: Mapping[str, Any] = field(default_factory=dict)
    cost: Passes | None = None
    learn: "Callable[[Lesson], OtherThreat] | None" = None
    learning: Passes = NOTHING

    @property
    def at_most(self) -> Passes:
        """What all settings may cost per example: one forward pass each where nothing else is said."""
        return self.cost or Passes(len(self.settings))

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, **self.about}
