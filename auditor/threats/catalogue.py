"""Every threat beside the norms by its name, the names of groups, and which of them apply to what."""

from collections.abc import Callable
from functools import partial

from auditor.attacks.space import Space
from auditor.errors import SpecError
from auditor.spec import AuditSpec
from auditor.threats.colour import colour
from auditor.threats.corruptions import CORRUPTIONS, corruption
from auditor.threats.noise import noise
from auditor.threats.pixels import Pixels
from auditor.threats.spatial import rotation, rotation_translation, rotation_translation_gradient, translation
from auditor.threats.sweeps import brightness_shift, gaussian_blur, jpeg_quality
from auditor.threats.threat import OtherThreat
from auditor.threats.universal import universal

ALL = "all"
_OF_IMAGES: dict[str, Callable[[Pixels], OtherThreat]] = {
    **{name: partial(corruption, name) for name in CORRUPTIONS},
    "rotation": rotation,
    "translation": translation,
    "gaussian-blur": gaussian_blur,
    "jpeg-quality": jpeg_quality,
    "brightness-shift": brightness_shift,
    "rotation-translation-grid": rotation_translation,
    "rotation-translation-gradient": rotation_translation_gradient,
    "colour": colour,
}
# Of any inputs: by the specification, which inputs there are, and how many examples are not audited.
_OF_ANY: dict[str, Callable[[AuditSpec, Space, int], OtherThreat]] = {
    "noise": lambda spec, space, _left: noise(spec, space),
    "universal-Linf": lambda spec, space, left: universal(spec, space, "Linf", left),
    "universal-L2": lambda spec, space, left: universal(spec, space, "L2", left),
}
NAMES = (*_OF_IMAGES, *_OF_ANY)
GROUPS: dict[str, tuple[str, ...]] = {
    "corruptions": tuple(CORRUPTIONS),
    "sweeps": ("rotation", "translation", "gaussian-blur", "jpeg-quality", "brightness-shift"),
    "rotation-translation": ("rotation-translation-grid", "rotation-translation-gradient"),
    "universal": ("universal-Linf", "universal-L2"),
}
KINDS: dict[
    str, tuple[str, str]
] = {  # what is not tested where no threat of a kind was asked for, and the word for it
    "corruption": ("natural corruptions", "corruptions"),
    "sweep": ("sweeps of rotation, translation, blur, compression and brightness", "sweeps"),
    "spatial": ("an attacker who turns and moves images", "rotation-translation"),
    "colour": ("an attacker who changes colours", "colour"),
    "universal": ("one perturbation for all inputs", "universal"),
    "noise": ("random noise", "noise"),
}


def check_names(names: tuple[str, ...]) -> None:
    """SpecError for a threat that does not exist."""
    known = (ALL, *GROUPS, *NAMES)
    for name in names:
        if name not in known:
            raise SpecError(f"there is no threat '{name}' beside the norms; choose from {', '.join(known)}")


def chosen_others(spec: AuditSpec, space: Space, shape: tuple[int, ...], *, left: int) -> tuple[OtherThreat, ...]:
    """The threats that are asked for, groups taken apart, in the order of the catalogue. shape: of one example; left: how
    many examples are not audited.

    Raises SpecError for one that does not exist or does not apply to such examples. Of a group at least one must apply;
    `all` means whatever does.
    """
    check_names(spec.also)
    found: dict[str, OtherThreat] = {}
    for word in spec.also:
        names = NAMES if word == ALL else GROUPS.get(word, (word,))
        refused: list[SpecError] = []
        for name in names:
            try:
                found[name] = _built(name, spec, space, shape, left)
            except SpecError as error:
                refused.append(error)
        if len(refused) == len(names) and word != ALL:
            raise refused[0]
    return tuple(found[name] for name in NAMES if name in found)


def _built(name: str, spec: AuditSpec, space: Space, shape: tuple[int, ...], left: int) -> OtherThreat:
    if name in _OF_ANY:
        return _OF_ANY[name](spec, space, left)
    if spec.tabular:
        raise SpecError(
            f"{name} moves pixels, and does not know what the rows of a table may be (--constraints, --fix with @)"
        )
    return _OF_IMAGES[name](Pixels.of(shape, spec.layout, spec.domain))
