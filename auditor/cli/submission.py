"""From files of this machine to an audit on a service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auditor import resources, terminal
from auditor.cli.packing import packed
from auditor.client import Client
from auditor.errors import InputError
from auditor.options import constraints_of, preprocessing_of, spelled, spelled_normalisation, surrogate_of
from auditor.report.document import read_report
from auditor.request import SurrogateChoice

_NAMING_FILES = ("labels", "preprocessor", "baseline", "surrogate")
_FORMS = (".onnx", ".npz", ".npy", ".zip", ".csv", ".tsv", ".parquet", ".pq")


def submit(
    client: Client,
    model: str,
    data: str,
    words: Mapping[str, Any],
    *,
    name: str | None,
    idempotency_key: str | None,
) -> resources.Audit:
    """Upload what are files, and ask for the audit. Raises InputError for what is neither a file nor a reference."""
    said = _without_paths(words)
    choices = {key: said[key] for key in resources.Declared.model_fields if key in said}
    version = _model(client, model, name=name, **choices)
    dataset = _dataset(client, data, words.get("labels"))
    surrogates = [_surrogate(client, surrogate_of(one)) for one in words.get("surrogate", ())]
    audit = client.audit(version, dataset, idempotency_key=idempotency_key, surrogates=surrogates, **said)
    terminal.say_chosen(audit.chosen)
    return audit


def _without_paths(words: Mapping[str, Any]) -> dict[str, Any]:
    """The words as the service takes them: the files that they name are read here."""
    said = {name: value for name, value in words.items() if name not in _NAMING_FILES}
    preprocessing = preprocessing_of(words)
    if preprocessing is not None:
        said |= spelled(preprocessing)
    if "constraints" in words:
        said["constraints"] = constraints_of(words["constraints"]).model_dump(mode="json", exclude_defaults=True)
    if "baseline" in words:
        said["baseline"] = _baseline(words["baseline"])
    return said


def _baseline(text: Path | str) -> str:
    """An audit's id: from its report.json, or as it was given."""
    path = Path(text)
    return read_report(path).audit.id if path.is_file() else str(text)


def _surrogate(client: Client, choice: SurrogateChoice) -> dict[str, Any]:
    """A model that is there already, or a file, which is uploaded to stand in for others."""
    model = _model(client, str(choice.path), surrogate=True)
    return {"model": model, **spelled_normalisation(choice.normalisation)}


def _model(client: Client, text: str, **said: Any) -> resources.Version | str:
    path = Path(text)
    if not _is_here(path):
        return text
    with terminal.bar("bytes", path.name) as move:
        return client.upload_model(path, **said, progress=lambda done, size: move(path.name, done, size))


def _dataset(client: Client, text: str, labels: Path | str | None) -> resources.Dataset | str:
    path = Path(text)
    if not _is_here(path):
        return text
    with packed(path, None if labels is None else Path(labels)) as file, terminal.bar("bytes", file.name) as move:
        return client.upload_dataset(file, name=path.stem, progress=lambda done, size: move(file.name, done, size))


def _is_here(path: Path) -> bool:
    """Whether a path is meant; InputError where it is meant and nothing is there."""
    if not path.exists() and (path.suffix.lower() in _FORMS or len(path.parts) > 1):
        raise InputError(f"there is no file or folder {path}; check the path")
    return path.exists()
