"""Several forms of one model, audited alike one after another, and compared with the first."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from auditor import local
from auditor.audits.atomic import replacing
from auditor.errors import AuditorError, SpecError
from auditor.report.comparison import pair
from auditor.report.comparison.pair import Named
from auditor.report.comparison.schema import MOST, ComparisonReport, LeftOut, Transfer
from auditor.request import Asked, Request, settle
from auditor.variants.exchange import Audited, exchange
from auditor.variants.make import CALIBRATED, KINDS, make

Move = Callable[[str, int, int], None]  # name of what is done, done, total
Bar = Callable[[str, str], AbstractContextManager[Move]]  # unit, task


@dataclass(frozen=True)
class Form:
    """A form of the model: its name in the comparison and the request to audit it; or the kind of variant to make of the
    first one, whose request then names where its file goes."""

    name: str
    request: Request
    kind: str | None = None


def forms(request: Request, models: Sequence[Path], kinds: Sequence[str]) -> list[Form]:
    """request: of the first model, its out the folder of the whole comparison. models: all files, the first one included;
    kinds: of `make`, each made of the first one. Each is audited in a folder of its own name.

    Raises SpecError for a kind that there is not, and for fewer than two or more than five forms.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise SpecError(f"--to {unknown[0]} is not known; choose from {', '.join(KINDS)}, or name the variant's file")
    if not 2 <= len(models) + len(kinds) <= MOST:
        raise SpecError(f"a comparison is of two to {MOST} models; name another ONNX file, or a variant with --to")
    out, first = request.out, models[0]
    made = [out / f"{first.stem}.{kind}.onnx" for kind in dict.fromkeys(kinds)]
    paths = [*models, *made]
    names = [name.replace(": ", "-") for name in pair.distinct([path.stem for path in paths])]
    given = [None] * len(models)
    return [
        Form(name, replace(request, model=path, out=out / name), kind)
        for name, path, kind in zip(names, paths, [*given, *dict.fromkeys(kinds)], strict=True)
    ]


def audit_all(
    forms: Sequence[Form], *, margin: float | None, say: Callable[[Form, Asked], None], bar: Bar
) -> ComparisonReport:
    """Audit each form, give each one's adversarial examples to the first and the first one's to it, and compare.

    A form that cannot be made or audited is left out, and the comparison says why. say: told before each audit. Raises
    what auditing the first one raises, AuditorError where no other could be audited, KeyboardInterrupt when
    interrupted; the same forms then go on from there.
    """
    first = _audited(forms[0], say, bar)
    others: list[Audited] = []
    left_out: list[LeftOut] = []
    for form in forms[1:]:
        try:
            _make(form, first)
            others.append(_audited(form, say, bar))
        except AuditorError as error:
            left_out.append(LeftOut(name=form.name, why=str(error)))
    if not others:
        raise AuditorError("; ".join(f"{entry.name} could not be audited: {entry.why}" for entry in left_out))
    transfer = [found for other in others for found in _exchanged(first, other, bar)]
    reports = [Named(audited.name, audited.report) for audited in (first, *others)]
    return pair.compare(reports, margin=margin, left_out=left_out, transfer=transfer)


def _make(form: Form, first: Audited) -> None:
    """Write the file of a variant that is to be made: with ranges from examples that are not audited, as far as there are."""
    if form.kind is None:
        return
    dataset, audited = first.subject.dataset, first.report.dataset.index
    others = np.setdiff1d(np.arange(dataset.size), audited)[:CALIBRATED]
    x = dataset.fetch(others if len(others) else np.array(audited[:CALIBRATED]))
    data = make(form.kind, first.subject.upload, x, first.subject.spec.normalisation)
    with replacing(form.request.model) as file:
        file.write(data)


def _audited(form: Form, say: Callable[[Form, Asked], None], bar: Bar) -> Audited:
    asked = settle(form.request)
    say(form, asked)
    with bar("stages", "reading and probing") as move:
        finished = local.audit(form.request, asked, lambda step: move(step.title, step.done, step.total))
    if finished.interrupted:
        raise KeyboardInterrupt
    return Audited(form.name, asked.subject, finished.report, finished.folder)


def _exchanged(first: Audited, other: Audited, bar: Bar) -> Iterator[Transfer]:
    for source, target in ((first, other), (other, first)):
        task = f"examples of {source.name}"
        with bar("examples", task) as move:
            yield from exchange(source, target, partial(move, task))
