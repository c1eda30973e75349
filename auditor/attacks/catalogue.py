"""Every attack by name: its function, the norms it works in, what it sees, and what it is given.

A "fixed" budget attack is given an eps per example and looks for any adversarial example inside it; a "minimal" one
is given the best distance known and looks for a nearer point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from auditor.attacks.apgd import apgd, apgd_targeted
from auditor.attacks.attempt import Attempt
from auditor.attacks.ddn import ddn
from auditor.attacks.fgsm import fgsm
from auditor.attacks.minimal_apgd import minimal_apgd
from auditor.attacks.minimal_runs import minimal_apgd_restarts, minimal_apgd_targeted
from auditor.attacks.pgd import pgd
from auditor.attacks.square import square
from auditor.spec import Norm


@dataclass(frozen=True)
class Entry:
    """One attack of the catalogue. spatial: it wants to know where the channels are, as `layout`."""

    function: Callable[..., Attempt]
    norms: tuple[Norm, ...]
    budget: Literal["fixed", "minimal"]
    access: Literal["white-box", "score"] = "white-box"
    spatial: bool = False


CATALOGUE: dict[str, Entry] = {
    "fgsm": Entry(fgsm, ("Linf", "L2", "L1"), "fixed"),
    "pgd": Entry(pgd, ("Linf", "L2", "L1"), "fixed"),
    "apgd": Entry(apgd, ("Linf", "L2", "L1"), "fixed"),
    "apgd-targeted": Entry(apgd_targeted, ("Linf", "L2", "L1"), "fixed"),
    "minimal-apgd": Entry(minimal_apgd, ("Linf", "L2", "L1"), "minimal"),
    "minimal-apgd-targeted": Entry(minimal_apgd_targeted, ("Linf", "L2", "L1"), "minimal"),
    "minimal-apgd-restarts": Entry(minimal_apgd_restarts, ("Linf", "L2", "L1"), "minimal"),
    "ddn": Entry(ddn, ("L2",), "minimal"),
    "square": Entry(square, ("Linf", "L2", "L1"), "fixed", "score", spatial=True),
}
