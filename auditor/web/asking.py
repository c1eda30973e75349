"""A new audit: a form with the words of `auditor submit`, and the command that asks for the same."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import ValidationError

from auditor import resources
from auditor.errors import InputError, SpecError
from auditor.operations import create, datasets, models
from auditor.operations.errors import Refused
from auditor.options import spelled_normalisation, surrogate_of
from auditor.spec import NORMS
from auditor.web.pages import go, pages, render
from auditor.web.session import Visitor, needs
from auditor.web.words import number

router = pages()
Writer = Annotated[Visitor, needs("audits:write")]

_CHOICES = 200  # models and datasets offered
_TEXTS = (
    "model",
    "data",
    "preset",
    "threat",
    "domain",
    "mean",
    "std",
    "layout",
    "input",
    "output",
    "label_column",
    "weights",
    "groups",
    "resize",
    "crop",
    "interpolation",
    "channel_order",
    "scale",
    "label",
    "target",
    "detector",
    "budget",
    "device",
    "on_inconclusive",
    "baseline",
)
_NUMBERS = (
    "examples",
    "seed",
    "quantize",
    "abstain",
    "draws",
    "batch_size",
    "threads",
    "priority",
    "margin",
    "threshold",
)
_LONGEST, _BRACKETS = 50_000, 1000
_FILES = ("constraints", "policy")  # what would be a YAML file on the command line
_LISTS = ("attack", "also", "fail_under")
_WITH_COMMAS = ("eot", "fix")  # one of several may hold commas itself
_TICKS = ("unbatched", "multilabel", "allow_chance", "no_examples")


@router.get("/audits/new")
def form(request: Request, visitor: Writer) -> Response:
    return _form(request, visitor, dict(request.query_params))


@router.post("/audits")
def ask(request: Request, visitor: Writer) -> Response:
    said = {name: value for name, value in visitor.form.items() if isinstance(value, str)}
    try:
        audit_id = create.create(visitor.service, visitor.project_id, _asked(visitor))
    except ValidationError as error:
        first = error.errors()[0]
        return _form(request, visitor, said, f"{first['loc'][0]}: {first['msg']}")
    except (Refused, InputError) as error:
        return _form(request, visitor, said, str(error))
    return go(f"/audits/{audit_id}")


def _asked(visitor: Visitor) -> resources.NewAudit:
    """The form's words; a field that was left empty says nothing. Raises pydantic's ValidationError."""
    words: dict[str, Any] = {name: visitor.said(name) for name in _TEXTS if visitor.said(name)}
    words |= {name: number(visitor.said(name)) for name in _NUMBERS if visitor.said(name)}
    words |= {name: visitor.said(name).replace(",", " ").split() for name in _LISTS}
    words |= {name: visitor.said(name).split() for name in _WITH_COMMAS}
    words |= {name: bool(visitor.said(name)) for name in _TICKS}
    words |= {name: _yaml(name, visitor.said(name)) for name in _FILES if visitor.said(name)}
    words["surrogates"] = [_surrogate(one) for one in visitor.said("surrogates").split()]
    grids = {norm: visitor.said(f"eps_{norm}") for norm in NORMS if visitor.said(f"eps_{norm}")}
    return resources.NewAudit(**words, norm=list(grids), eps=list(grids.values()))


def _yaml(name: str, text: str) -> dict[str, Any]:
    """NAME: VALUE lines. References are refused: a few lines of them can stand for more than fits a machine; and so are
    texts whose brackets would keep the parser busy."""
    import yaml

    if len(text) > _LONGEST or text.count("[") + text.count("{") > _BRACKETS:
        raise SpecError(f"{name} is longer than {_LONGEST} characters, or has more than {_BRACKETS} brackets")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise SpecError(f"{name}: write everything out, without references (*)")
        said = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError(f"{name} is not YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(said, dict):
        raise SpecError(f"{name} must be a list of NAME: VALUE lines")
    return {str(key): value for key, value in said.items()}


def _surrogate(text: str) -> resources.NamedSurrogate:
    """NAME[@ALIAS][:mean=0.5:std=0.25]."""
    choice = surrogate_of(text)
    return resources.NamedSurrogate(model=str(choice.path), **spelled_normalisation(choice.normalisation))


def _form(request: Request, visitor: Visitor, said: Mapping[str, str], wrong: str = "") -> Response:
    service, project_id = visitor.service, visitor.project_id
    ready = [
        model
        for model in models.list_models(service, project_id, None, None, _CHOICES)
        if model.latest is not None and model.latest.state == "ready"
    ]
    data = [
        dataset
        for dataset in datasets.list_datasets(service, project_id, None, None, _CHOICES)
        if dataset.state == "ready"
    ]
    values = {"models": ready, "datasets": data, "said": said, "wrong": wrong, "norms": NORMS}
    values["stand_ins"] = [model.name for model in ready if model.surrogate]
    return render(request, visitor, "new_audit.html", 422 if wrong else 200, **values)
