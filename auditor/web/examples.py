"""Broken examples: a browser, and a page for each, with pictures where inputs are images."""

import io
from functools import partial
from typing import Annotated, Literal

import numpy as np
from fastapi import Query, Request, Response

from auditor.api.audits import shown
from auditor.audits.outcomes import at_most
from auditor.operations import audits, originals, results
from auditor.operations.errors import NotFound
from auditor.report.exhibits import pixels, png, ssim
from auditor.report.naming import called
from auditor.report.schema import Report
from auditor.spec import Norm
from auditor.web import reading
from auditor.web.pages import pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("reports:read")]
Which = Literal["original", "perturbation", "adversarial"]

_PAGE = 24
_LARGEST = 8  # changes named of an example that is no image


@router.get("/audits/{audit_id}/examples")
def index(
    request: Request,
    visitor: Reader,
    audit_id: str,
    norm: str = "",
    attack: Annotated[str, Query(max_length=200)] = "",
    label: Annotated[str, Query(max_length=20)] = "",
    cursor: str | None = None,
) -> Response:
    """Nearest first. norm, attack, label: empty for any."""
    service, project_id = visitor.service, visitor.project_id
    report = reading.of(service, project_id, audit_id).report
    found, following = results.examples(
        service,
        project_id,
        audit_id,
        norm=norm or None,
        attack=attack or None,
        label=int(label) if label.isdecimal() else None,
        cursor=cursor,
        limit=_PAGE,
    )
    attacks = {name for curve in report.curves for point in curve.points for name in point.broken_by}
    return render(
        request,
        visitor,
        "examples.html",
        audit=shown(audits.show(service, project_id, audit_id)),
        found=found,
        following=following,
        chosen={"norm": norm, "attack": attack, "label": label},
        norms=[curve.norm for curve in report.curves],
        attacks=sorted(attacks),
        labels=sorted(set(report.dataset.label)),
        called=partial(called, report.model),
        drawn=_drawn(report),
    )


@router.get("/audits/{audit_id}/examples/{norm}/{example}")
def show(request: Request, visitor: Reader, audit_id: str, norm: Norm, example: int) -> Response:
    """A page that stays where it is: its address names the audit, the norm and the example's number in the dataset."""
    service, project_id = visitor.service, visitor.project_id
    report = reading.of(service, project_id, audit_id).report
    x_adv = _adversarial(visitor, audit_id, norm, example)
    x = originals.original(service, project_id, audit_id, norm, example)
    position = report.dataset.index.index(example)
    (curve,) = (curve for curve in report.curves if curve.norm == norm)
    found = results.example(service, project_id, audit_id, norm, example)
    distance = found.outcome.distance or 0.0
    drawn = _drawn(report)
    similar = None
    if drawn and x is not None:
        similar = ssim(*(_shares(report, array) for array in (x, x_adv)))
    return render(
        request,
        visitor,
        "example.html",
        audit=shown(audits.show(service, project_id, audit_id)),
        norm=norm,
        example=example,
        label=report.dataset.label[position],
        predicted=report.dataset.predicted[position],
        outcome=found,
        called=partial(called, report.model),
        broken_at=next((point.eps for point in curve.points if distance <= at_most(point.eps)), None),
        drawn=drawn,
        known=x is not None,
        similar=similar,
        changes=[] if drawn or x is None else _changes(x, x_adv),
    )


@router.get("/audits/{audit_id}/examples/{norm}/{example}/{which}.png")
def picture(visitor: Reader, audit_id: str, norm: Norm, example: int, which: Which) -> Response:
    """One of the three pictures; the perturbation is made as strong as can be shown."""
    service, project_id = visitor.service, visitor.project_id
    report = reading.of(service, project_id, audit_id).report
    if not _drawn(report):
        raise NotFound("inputs of this audit are no images")
    x_adv = _adversarial(visitor, audit_id, norm, example)
    image = _shares(report, x_adv)
    if which != "adversarial":
        x = originals.original(service, project_id, audit_id, norm, example)
        if x is None:
            raise NotFound("the example before its change was not kept by this audit")
        before = _shares(report, x)
        delta = image - before
        image = before if which == "original" else 0.5 + delta * 0.5 / max(float(np.abs(delta).max()), 1e-12)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(png(image), media_type="image/png", headers=headers)


def _adversarial(visitor: Visitor, audit_id: str, norm: str, example: int) -> np.ndarray:
    npy = results.adversarial(visitor.service, visitor.project_id, audit_id, norm, example)
    array: np.ndarray = np.load(io.BytesIO(npy), allow_pickle=False)
    return array


def _drawn(report: Report) -> bool:
    """Whether inputs are images whose greys have ends."""
    return report.model.input.get("layout") is not None and report.dataset.domain is not None


def _shares(report: Report, array: np.ndarray) -> np.ndarray:
    domain = report.dataset.domain
    assert domain is not None
    return pixels(array, report.model.input["layout"], domain)


def _changes(x: np.ndarray, x_adv: np.ndarray) -> list[tuple[int, float, float]]:
    """The features that change most: number, before, after."""
    before, after = x.ravel().astype(np.float64), x_adv.ravel().astype(np.float64)
    most = np.argsort(-np.abs(after - before), kind="stable")[:_LARGEST]
    return [(int(i), float(before[i]), float(after[i])) for i in most if before[i] != after[i]]
