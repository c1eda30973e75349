"""What the checkpoints of an audit hold, as a digest: those of another layout count as missing, and their work is redone.

The digest is made from the declarations themselves, so that no number has to be raised by hand when one of them changes.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from inspect import signature
from typing import Any, get_args

from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.diagnosis import Slopes
from auditor.attacks.progress import Progress
from auditor.audits.checkpoints import Checkpoints, Place
from auditor.audits.others import OtherResult
from auditor.audits.prepare import Prepared
from auditor.audits.probes import Probed
from auditor.spec import AuditSpec
from auditor.threats.catalogue import NAMES

_KEPT = (Prepared, Progress, OtherResult, Slopes, Probed)


def checkpoints_of(spec: AuditSpec, place: Place) -> Checkpoints:
    """An audit's checkpoints in a place."""
    return Checkpoints(place, passes=spec.budget.passes, layout=_present())


@cache
def _present() -> str:
    attacks = (f"{name}({', '.join(signature(entry.function).parameters)})" for name, entry in CATALOGUE.items())
    return layout(_KEPT, (*attacks, *NAMES))


def layout(kept: Iterable[type], names: Iterable[str]) -> str:
    """kept: dataclasses, of which every field counts, and those of the dataclasses that it names; names: of what a plan
    can ask for, with its parameters."""
    said = [*(line for kind in kept for line in _fields(kind)), *names]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _fields(kind: Any) -> Iterator[str]:
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            yield f"{field.name}: {field.type}"
            yield from _fields(field.type)
    for part in get_args(kind):
        yield from _fields(part)
