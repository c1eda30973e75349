"""One attack in an audit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from auditor.attacks.catalogue import CATALOGUE, Access
from auditor.spec import Norm


@dataclass(frozen=True)
class Stage:
    """One attack in an audit. `name` keys its random numbers and its stored results; `attack` is in CATALOGUE.

    warm: the attack begins at each example's nearest known point, a fixed-budget one at its projection, where there
    is one: where gradients mislead near x, what an earlier stage found outside the ball is the best lead.
    each_eps: a fixed-budget attack is made at every eps of the grid, the smallest first, on what is not known to be
    broken there, and not at the critical eps alone: with what it finds at one eps nothing depends on the others.
    draws: how many passes each pass of the attack averages, where the model or what is before it draws at random.
    """

    name: str
    attack: str
    norm: Norm
    parameters: Mapping[str, Any] = field(default_factory=dict)
    warm: bool = False
    each_eps: bool = False
    draws: int = 1

    @property
    def access(self) -> Access:
        return CATALOGUE[self.attack].access

    def as_json(self) -> dict[str, Any]:
        facts = {**vars(self), "parameters": dict(self.parameters)}
        if self.draws == 1:
            del facts["draws"]  # so that the digests of stored audits stay
        return facts
