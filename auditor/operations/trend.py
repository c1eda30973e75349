"""How robust the versions of a model were found, one after another."""

from collections import Counter
from dataclasses import dataclass

from auditor.operations.service import Service
from auditor.spec import exact
from auditor.store.queries import audits, results
from auditor.store.tables import Point

_AUDITS = 200  # looked through, newest first
_VERSIONS = 20


@dataclass(frozen=True)
class Step:
    """A version's newest finished audit. points: of its curves, by norm and eps."""

    version: int
    audit_id: str
    points: dict[tuple[str, str], Point]


def trend(service: Service, project_id: str, model: str) -> list[Step]:
    """The versions of a model (by its name) that have a finished audit, oldest first."""
    with service.database.reading() as session:
        done = audits.page(session, project_id, state="done", model=model, dataset=None, before=None, limit=_AUDITS)
        newest = {listed.version: listed.audit.id for listed in reversed(done)}
        kept = sorted(newest)[-_VERSIONS:]
        found = {version: results.points(session, newest[version]) for version in kept}
    return [
        Step(version, newest[version], {(point.norm, point.eps): point for point in found[version]})
        for version in kept
    ]


def shared(steps: list[Step], most: int) -> list[tuple[str, str]]:
    """The points by which the versions are best told: those that most of them have, and of these, in each norm, those where
    the accuracies are nearest to the middle; at most so many, by norm and rising eps."""
    counts = Counter(key for step in steps for key in step.points)
    widest = max(counts.values(), default=0)

    def away(key: tuple[str, str]) -> float:
        return sum(abs(step.points[key].robust_accuracy - 0.5) for step in steps if key in step.points)

    norms = list(dict.fromkeys(norm for norm, _ in counts))
    each = max(1, most // max(1, len(norms)))
    chosen = [
        key
        for norm in norms
        for key in sorted((key for key, n in counts.items() if n == widest and key[0] == norm), key=away)[:each]
    ]
    return sorted(chosen, key=lambda key: (norms.index(key[0]), exact(key[1])))[:most]
