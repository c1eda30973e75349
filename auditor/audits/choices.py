"""What is chosen where the caller says nothing: a threat preset by the kind of input."""

from auditor.errors import SpecError
from auditor.spec import NORMS, THREAT_PRESETS, Gate, Threat, build, exact


def threat_preset(shape: tuple[int, ...], domain: tuple[float, float] | None) -> str:
    """The name of the preset that fits one example of this shape: tabular unless it is an image with a domain."""
    if domain is None or len(shape) != 3:
        return "tabular"
    channels, *sides = sorted(shape)  # channels are few, wherever they stand
    if channels == 1 and max(sides) <= 32:
        return "mnist"
    return "imagenet" if min(sides) >= 96 else "image-8bit"


def chosen_threats(
    preset: str, norms: tuple[str, ...], eps: tuple[str, ...], gates: tuple[Gate, ...]
) -> tuple[Threat, ...]:
    """The threats named by (norm, comma-separated eps) pairs, else the preset's; gates add their eps to the grid.

    A norm without eps takes the preset's grid for that norm.
    """
    if preset not in THREAT_PRESETS:
        raise SpecError(f"there is no threat preset '{preset}'; choose from {', '.join(THREAT_PRESETS)}")
    if eps and len(eps) != len(norms):
        raise SpecError(
            f"{len(norms)} --norm and {len(eps)} --eps were given; pair them: --norm Linf --eps 2/255,8/255"
        )
    usual = {threat.norm: threat.eps for threat in THREAT_PRESETS[preset]}
    named = {}
    for position, norm in enumerate(norms or tuple(usual)):
        if norm not in NORMS:
            raise SpecError(f"there is no norm '{norm}'; choose from {', '.join(NORMS)}")
        if norm in named:
            raise SpecError(f"the norm {norm} is given twice; list all of its eps in one --eps")
        if not eps and norm not in usual:
            raise SpecError(f"the preset '{preset}' has no eps for {norm}; name them: --norm {norm} --eps 1,2,4")
        named[norm] = tuple(e.strip() for e in eps[position].split(",")) if eps else usual[norm]
    for gate in gates:
        if exact(gate.eps) not in map(exact, named.get(gate.norm, ())):
            named[gate.norm] = (*named.get(gate.norm, ()), gate.eps)
    return tuple(build(Threat, norm=norm, eps=grid) for norm, grid in named.items())
