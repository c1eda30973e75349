"""Models with their versions and aliases, and datasets."""

from auditor import resources
from auditor.client.sending import every, fetch, path_of, send
from auditor.client.steps import Call, Request, Stream


def models(*, name: str | None = None) -> Stream[resources.Model]:
    """All models of the project, newest first. name: a part of the names that are wanted."""
    return every(resources.Model, path_of("models"), name=name)


def model(name: str) -> Call[resources.Model]:
    """A model by its name or id. Raises NotFound."""
    return fetch(resources.Model, Request("GET", path_of("models", name)))


def change_model(name: str, *, surrogate: bool) -> Call[resources.Model]:
    """Say whether a model's versions may stand in for others in transfer attacks, in audits asked for from now on."""
    body = resources.ModelChange(surrogate=surrogate).model_dump()
    return fetch(resources.Model, Request("PATCH", path_of("models", name), json=body))


def versions(model: str) -> Stream[resources.Version]:
    """All versions of a model."""
    return every(resources.Version, path_of("models", model, "versions"))


def version(model: str, number: int) -> Call[resources.Version]:
    """One version of a model. Raises NotFound."""
    return fetch(resources.Version, Request("GET", path_of("models", model, "versions", number)))


def set_alias(model: str, alias: str, version: int) -> Call[resources.Model]:
    """Let an alias such as `prod` stand for a version from now on."""
    body = resources.NewAlias(version=version).model_dump()
    return fetch(resources.Model, Request("PUT", path_of("models", model, "aliases", alias), json=body))


def delete_alias(model: str, alias: str) -> Call[None]:
    """Take an alias away; the version stays."""
    yield from send(Request("DELETE", path_of("models", model, "aliases", alias)))


def delete_version(model: str, number: int) -> Call[None]:
    """Delete a version with everything derived from it. Raises Conflict while an audit uses it."""
    yield from send(Request("DELETE", path_of("models", model, "versions", number)))


def delete_model(name: str) -> Call[None]:
    """Delete a model with everything derived from it. Raises Conflict while an audit uses it."""
    yield from send(Request("DELETE", path_of("models", name)))


def datasets(*, name: str | None = None) -> Stream[resources.Dataset]:
    """All datasets of the project, newest first. name: a part of the names that are wanted."""
    return every(resources.Dataset, path_of("datasets"), name=name)


def dataset(name: str) -> Call[resources.Dataset]:
    """A dataset by its id, or the newest of a name. Raises NotFound."""
    return fetch(resources.Dataset, Request("GET", path_of("datasets", name)))


def delete_dataset(name: str) -> Call[None]:
    """Delete a dataset with everything derived from it. Raises Conflict while an audit uses it."""
    yield from send(Request("DELETE", path_of("datasets", name)))
