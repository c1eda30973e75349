"""Models: names for sequences of versions, each an uploaded ONNX file that a worker checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy.orm import Session

from auditor import resources
from auditor.operations.arrivals import arrived, check
from auditor.operations.errors import NotFound, Unacceptable
from auditor.operations.names import checked_alias, checked_filename, checked_name, is_id
from auditor.operations.service import Service
from auditor.operations.times import moment
from auditor.spec import Held
from auditor.store import tables
from auditor.store.queries import models as queries

COLUMNS = ("input", "output", "layout")  # of Declared, which have columns of their own


@dataclass(frozen=True)
class NewVersion:
    """What is said of an uploaded model. declared: how it is to be read, where the file leaves a choice. surrogate: whether the
    versions of this name may stand in for other models; None leaves that as it is."""

    name: str
    filename: str
    declared: resources.Declared = field(default_factory=resources.Declared)
    surrogate: bool | None = None

    @classmethod
    def checked(
        cls,
        name: str,
        filename: str | None,
        surrogate: bool | None,
        declared: resources.Declared,
    ) -> "NewVersion":
        """Raises Unacceptable, and SpecError for a value that no input can be held at. filename: NAME.onnx unless given."""
        name = checked_name(name, "model")
        for said in declared.fix:
            Held.parse(said)
        return cls(name, checked_filename(filename or f"{name}.onnx"), declared, surrogate)


def add(
    service: Service, project_id: str, new: NewVersion, sha256: str, size: int, upload: str | None = None
) -> resources.Version:
    """Make kept bytes the next version of a model, to be checked by a worker.

    upload: the id of the upload that they came by. Raises QuotaExceeded, or Conflict when the upload is gone.
    """
    with arrived(service, project_id, sha256, size, upload) as session:
        model_id, number = queries.next_number(session, project_id, new.name)
        version_id = queries.add_version(
            session,
            model_id=model_id,
            number=number,
            sha256=sha256,
            size=size,
            filename=new.filename,
            **{name: getattr(new.declared, name) for name in COLUMNS},
            declared={name: value for name, value in new.declared.said.items() if name not in COLUMNS},
        )
        if new.surrogate is not None:
            session.get_one(tables.Model, model_id).surrogate = new.surrogate
        check(session, project_id, version_id=version_id)
    return show_version(service, project_id, model_id, number)


def declared(version: tables.Version) -> dict[str, Any]:
    """What was said of how a model is to be read when it was uploaded, in the words of `resources.Declared`."""
    said = {name: getattr(version, name) for name in COLUMNS}
    return {name: value for name, value in said.items() if value is not None} | (version.declared or {})


def resolve(session: Session, project_id: str, text: str) -> tables.Model:
    """The model of a name or id. Raises NotFound."""
    find = queries.by_id if is_id(text) else queries.by_name
    found = find(session, project_id, text)
    if found is None:
        raise NotFound(f"there is no model '{text}'")
    return found


def resolve_version(session: Session, project_id: str, text: str) -> tables.Version:
    """The version that NAME (its newest), NAME@NUMBER, NAME@ALIAS or a version's id stands for. Raises NotFound."""
    if is_id(text):
        found = queries.version_by_id(session, project_id, text)
    else:
        name, _, which = text.partition("@")
        found = _version(session, resolve(session, project_id, name), which)
    if found is None:
        raise NotFound(f"there is no version '{text}'; write NAME, NAME@NUMBER, NAME@ALIAS or a version's id")
    return found


def list_models(
    service: Service, project_id: str, name: str | None, before: str | None, limit: int
) -> list[resources.Model]:
    with service.database.reading() as session:
        return _shown(session, queries.of_project(session, project_id, name, before, limit))


def show(service: Service, project_id: str, model: str) -> resources.Model:
    """Raises NotFound."""
    with service.database.reading() as session:
        return _shown(session, [resolve(session, project_id, model)])[0]


def change(service: Service, project_id: str, model: str, asked: resources.ModelChange) -> resources.Model:
    """Raises NotFound."""
    with service.database.transaction() as session:
        resolve(session, project_id, model).surrogate = asked.surrogate
    return show(service, project_id, model)


def list_versions(
    service: Service, project_id: str, model: str, before: str | None, limit: int
) -> list[resources.Version]:
    """Raises NotFound."""
    with service.database.reading() as session:
        row = resolve(session, project_id, model)
        pointers = queries.aliases(session, [row.id])
        return [_shown_version(row, found, pointers) for found in queries.versions(session, row.id, before, limit)]


def show_version(service: Service, project_id: str, model: str, number: int) -> resources.Version:
    """Raises NotFound."""
    with service.database.reading() as session:
        row = resolve(session, project_id, model)
        return _shown_version(row, _numbered(session, row, number), queries.aliases(session, [row.id]))


def set_alias(service: Service, project_id: str, model: str, alias: str, number: int) -> None:
    """Point an alias at a version that was not refused. Raises NotFound or Unacceptable."""
    checked_alias(alias)
    with service.database.transaction() as session:
        row = resolve(session, project_id, model)
        version = _numbered(session, row, number)
        if version.state == "refused":
            raise Unacceptable(
                f"version {number} was refused ({version.reason}); an alias points at one that can be audited"
            )
        queries.set_alias(session, row.id, alias, version.id)


def remove_alias(service: Service, project_id: str, model: str, alias: str) -> None:
    """Raises NotFound."""
    with service.database.transaction() as session:
        row = resolve(session, project_id, model)
        if not queries.remove_alias(session, row.id, alias):
            raise NotFound(f"'{row.name}' has no alias '{alias}'")


def _version(session: Session, model: tables.Model, which: str) -> tables.Version | None:
    if not which:
        return queries.newest_version(session, model.id)
    if which.isascii() and which.isdigit() and len(which) < 10:
        return queries.version_by_number(session, model.id, int(which))
    return queries.version_by_alias(session, model.id, which)


def _numbered(session: Session, model: tables.Model, number: int) -> tables.Version:
    found = queries.version_by_number(session, model.id, number)
    if found is None:
        raise NotFound(f"'{model.name}' has no version {number}")
    return found


def _shown(session: Session, models: Sequence[tables.Model]) -> list[resources.Model]:
    ids = [model.id for model in models]
    newest, counts, pointers = (
        queries.newest_of(session, ids),
        queries.counts(session, ids),
        queries.aliases(session, ids),
    )
    return [
        resources.Model(
            id=model.id,
            name=model.name,
            aliases={pointer.alias: pointer.number for pointer in pointers if pointer.model_id == model.id},
            versions=counts.get(model.id, 0),
            latest=_shown_version(model, newest[model.id], pointers) if model.id in newest else None,
            surrogate=model.surrogate,
            created_at=moment(model.created_at),
        )
        for model in models
    ]


def _shown_version(
    model: tables.Model, row: tables.Version, pointers: Sequence[queries.Pointer]
) -> resources.Version:
    return resources.Version(
        id=row.id,
        model=model.name,
        number=row.number,
        sha256=row.sha256,
        size=row.size,
        filename=row.filename,
        state=cast(resources.CheckState, row.state),
        reason=row.reason,
        facts=row.facts,
        aliases=[pointer.alias for pointer in pointers if pointer.version_id == row.id],
        created_at=moment(row.created_at),
    )
