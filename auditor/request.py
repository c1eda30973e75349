"""An audit as it is asked for, and how everything that was left open is settled."""

import dataclasses
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from auditor import runtime
from auditor.audits import choices
from auditor.audits.gates import Baseline, check_comparable
from auditor.audits.goal import check_several_labels, check_target, goal_of, refuses
from auditor.audits.presets import chosen_stages
from auditor.audits.rules import check_waivers
from auditor.audits.subject import Subject, takes_half
from auditor.audits.surrogates import check_surrogates, needs_training
from auditor.constraints import Constraints, Feature
from auditor.data.carried import carrying
from auditor.data.constrained import constrained, rules_of
from auditor.data.dataset import Dataset
from auditor.data.decoding import Decoder, apart
from auditor.data.domain import UNDECLARED, Domain
from auditor.data.embedded import embedded
from auditor.data.half import cast_to_half
from auditor.data.labels import in_order_of, of_model, one_each
from auditor.data.levels import on_levels
from auditor.data.preprocessing import Preprocessing
from auditor.data.read import read_dataset
from auditor.data.weighing import weighed
from auditor.errors import DatasetError, SpecError
from auditor.graph.file import read_file
from auditor.graph.inputs import Inputs
from auditor.graph.upload import Upload, read_upload
from auditor.report.document import baseline_of, read_report
from auditor.spec import AuditSpec, Gate, Held, Layout, Normalisation, Policy, SurrogateFile, build
from auditor.threats.catalogue import check_names


@dataclass(frozen=True)
class SurrogateChoice:
    """A model that is to stand in for the audited one, with its own normalisation."""

    path: Path
    normalisation: Normalisation | None = None


@dataclass(frozen=True)
class Request:
    """An audit as a user asks for it: paths and whatever was said; the rest is chosen and reported."""

    model: Path
    data: Path
    out: Path
    threat: str | None = None
    norms: tuple[str, ...] = ()
    eps: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    domain: Domain = UNDECLARED
    layout: Layout | None = None
    labels: Path | None = None
    label_column: str | None = None
    weights: str | None = None
    groups: str | None = None
    decoder: Decoder = dataclasses.field(default_factory=apart, compare=False)  # of images
    preprocessing: Preprocessing | None = None
    baseline: Path | None = None
    margin: float = 0.02
    allow_chance: bool = False
    pictures: bool = True
    surrogates: tuple[SurrogateChoice, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)  # further fields of AuditSpec

    @property
    def policy(self) -> Policy | None:
        return self.settings.get("policy")

    def refuse_expired(self) -> None:
        """SpecError where a waiver has ended: for whoever asks for an audit, not for one that goes on."""
        if self.policy is not None:
            self.policy.refuse_expired(datetime.datetime.now(datetime.UTC).date())


@dataclass(frozen=True)
class Asked:
    """A request with everything settled. chosen: sentences about what was chosen where the request said nothing."""

    subject: Subject
    chosen: tuple[str, ...]
    baseline: Baseline | None = None


def read_model(path: Path, **choice: Any) -> Upload:
    """The upload at `path`; ModelError when there is none."""
    return read_upload(read_file(path), **choice)


def settle(request: Request) -> Asked:
    """Read model and data and settle everything that was left open.

    Raises InputError, and DeviceError for a device that is not there. Writes nothing.
    """
    settings = request.settings
    _refuse_unwritable(request.out)
    choice = {name: settings.get(name) for name in ("input", "output", "abstain", "detector", "threshold", "label")}
    choice |= {name: settings.get(name, False) for name in ("unbatched", "multilabel")}
    choice |= {"fix": settings.get("fix", ()), "layout": request.layout}
    upload = read_model(request.model, **choice)
    upload.given.refuse_missing()
    if settings.get("draws") is not None and not (upload.random or settings.get("eot")):
        raise SpecError(
            "--draws averages over what is drawn, and here nothing is: the model has no random node, and no --eot was given"
        )
    request, upload, dataset = _suited(request, upload)
    if dataset.labels is not None and not upload.multilabel and upload.label is None:
        _refuse_one_hot(dataset, upload)
        again = read_model(request.model, **{**choice, "multilabel": True})
        upload = dataclasses.replace(again, given=upload.given, input_shape=upload.input_shape)
    dataset = of_model(dataset, upload)
    settings = {**request.settings, "multilabel": upload.multilabel, "label": upload.label}
    if upload.label is not None:
        settings["threshold"] = upload.threshold
    request = dataclasses.replace(request, settings=settings)
    preset = request.threat or choices.threat_preset(dataset.attacked or dataset.shape, dataset.domain)
    alike = {"multilabel": upload.multilabel, "label": upload.label}
    surrogates = tuple(read_model(choice.path, **alike) for choice in request.surrogates)
    spec = specify(
        request,
        preset,
        domain=dataset.domain,
        normalisation=dataset.normalisation,
        layout=upload.layout,
        surrogates=tuple(
            SurrogateFile(sha256=read.sha256, normalisation=choice.normalisation)
            for read, choice in zip(surrogates, request.surrogates, strict=True)
        ),
    )
    runtime.require(spec.device)
    baseline = None
    if request.baseline is not None:
        baseline = baseline_of(read_report(request.baseline))
        check_comparable(baseline, spec.sha256, [threat.norm for threat in spec.threats])
    names = tuple(choice.path.name for choice in request.surrogates)
    subject = Subject(request.model.name, upload, dataset, spec, surrogates, names)
    check_target(subject)
    check_several_labels(subject)
    check_surrogates(subject)
    _ = subject.others, subject.served  # SpecError for what does not apply to such examples
    return Asked(subject, _said(request, subject, preset), baseline)


def _suited(request: Request, upload: Upload) -> tuple[Request, Upload, Dataset]:
    """The data as the model takes them, the request with what follows from the kind of its input, and the upload with what
    comes with each example."""
    if upload.levels is not None:
        request = on_grid(request, upload.levels)
    if upload.embedding is not None:
        request = among_embeddings(request)
    dataset = read_dataset(
        request.data,
        labels=request.labels,
        shape=upload.given.shape if upload.embedding is None else upload.given.shape[:1],
        layout=upload.layout,
        domain=request.domain,
        preprocessing=request.preprocessing,
        label_column=request.label_column,
        columns=upload.given.names,
        beside=_beside(request, upload),
        decoder=request.decoder,
    )
    dataset = weighed(dataset, request.weights, request.groups)
    dataset = in_order_of(dataset, upload.class_names)
    if upload.embedding is not None:
        dataset = embedded(dataset, upload.embedding.table)
    if upload.given.carried:
        request, upload, dataset = with_carried(request, upload, dataset)
    if upload.given.whole:
        request = in_whole_columns(request, upload.given, dataset)
    settings = request.settings
    if settings.get("constraints") is not None or upload.given.carried:
        dataset = constrained(dataset, rules_of(dataset, settings.get("constraints")))
    if settings.get("quantize") is not None:
        dataset = on_levels(dataset, settings["quantize"])
    elif settings.get("constraints") is None and takes_half(upload, dataset.normalisation):
        dataset = cast_to_half(dataset)
    return request, upload, dataset


def _beside(request: Request, upload: Upload) -> list[str]:
    """The columns that hold something beside what is attacked and its label, each once."""
    named = [request.weights, request.groups, *(one.column for one in upload.given.carried)]
    return list(dict.fromkeys(name for name in named if name is not None))


def with_carried(request: Request, upload: Upload, dataset: Dataset) -> tuple[Request, Upload, Dataset]:
    """The examples with what other inputs are given behind them, the upload that knows what occurs there, and the request
    with the columns of text that were found by themselves."""
    constraints = request.settings.get("constraints")
    groups = [] if constraints is None else [group.columns for group in constraints.groups.values()]
    given, features = upload.given.opened(groups).filled(dataset.columns, dataset.name)
    names = [name for one in given.carried for name in one.names]
    words = [word for one in given.carried if one.is_text for word in one.words]
    fix = request.settings.get("fix", ())
    said = {held.input for held in fix}
    found = tuple(
        build(Held, input=one.tensor.name, value=f"@{one.column}")
        for one in given.carried
        if one.tensor.name not in said
    )
    request = dataclasses.replace(request, settings={**request.settings, "fix": (*fix, *found)})
    free = sum(one.size for one in given.choices)
    shape = (upload.input_shape[0], prod(dataset.shape) + features.shape[1])
    upload = dataclasses.replace(upload, given=given, input_shape=shape)
    return request, upload, carrying(dataset, features, names, words, free=free)


def _refuse_one_hot(dataset: Dataset, upload: Upload) -> None:
    """DatasetError for labels that say one class of many in another way, of a model whose scores are no probabilities of
    labels that do not exclude each other."""
    if one_each(dataset) and not upload.independent:
        raise DatasetError(
            f"{dataset.name}: each example has exactly one of {dataset.labels} labels, so that these seem to be classes, one-hot: "
            "store their argmax; or say --multilabel where each label is decided by itself"
        )


def on_grid(request: Request, levels: tuple[int, int]) -> Request:
    """The same request of a model that takes whole numbers between these two: they are the domain, and inputs are in whole
    levels of it. SpecError where something else was asked for."""
    low, high = levels
    bits = (high - low).bit_length()
    asked = request.settings.get("quantize", bits)
    box = (float(low), float(high))
    if asked != bits or request.domain not in (UNDECLARED, box):
        raise SpecError(
            f"the model takes whole numbers from {low} to {high}: leave out --quantize and --domain, which are these {bits} "
            f"bits and {low},{high}"
        )
    if request.preprocessing is not None and request.preprocessing.normalisation is not None:
        raise SpecError("the model takes whole numbers, so that no --mean and --std can come before it")
    if request.settings.get("constraints") is not None:
        raise SpecError("the model takes whole numbers of one kind; --constraints are for tables of floats")
    return dataclasses.replace(request, domain=box, settings={**request.settings, "quantize": bits})


def among_embeddings(request: Request) -> Request:
    """The same request of a model that takes tokens, whose embeddings have no domain. SpecError where something was asked for
    that embeddings do not have."""
    if request.domain not in (UNDECLARED, None):
        raise SpecError("the model takes tokens, and their embeddings have no limits: leave --domain out")
    asked = [f"--{name}" for name in ("quantize", "constraints") if request.settings.get(name) is not None]
    if asked:
        raise SpecError(f"the model takes tokens, whose embeddings are attacked: {asked[0]} says nothing about these")
    return dataclasses.replace(request, domain=None)


def in_whole_columns(request: Request, given: Inputs, dataset: Dataset) -> Request:
    """The same request with the columns that take whole numbers declared to be whole."""
    declared = request.settings.get("constraints")
    named = isinstance(dataset.preprocessing["source"].get("inputs"), list)
    features = {} if declared is None else dict(declared.features)
    for column in given.whole:
        key = column if named else str(given.names.index(column))
        said = features.get(key, Feature())
        features[key] = said if said.spacing else said.model_copy(update={"integer": True})
    constraints = (
        Constraints(features=features)
        if declared is None
        else build(Constraints, **{**dict(declared), "features": features})
    )
    return dataclasses.replace(request, settings={**request.settings, "constraints": constraints})


def specify(request: Request, preset: str, **known: Any) -> AuditSpec:
    """What the request asks for. preset: the threats where it names none; known: fields that model and data settle.

    Raises SpecError, also for attacks that do not exist or do not work in the norms asked for.
    """
    certified = request.policy.certified if request.policy else ()
    threats = choices.chosen_threats(preset, request.norms, request.eps, (*request.gates, *certified))
    spec = build(AuditSpec, threats=threats, gates=request.gates, **known, **request.settings)
    check_waivers(spec, None if request.baseline is None else request.margin)
    chosen_stages(spec)  # before anything is run
    check_names(spec.also)
    return spec


def _refuse_unwritable(out: Path) -> None:
    """SpecError where a report could not be written in the end."""
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise SpecError(f"--out {out} cannot be made: {nearest} is a file; give a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SpecError(f"--out {out} cannot be made: {nearest} is not writable; give another folder")


def _said(request: Request, subject: Subject, preset: str) -> tuple[str, ...]:
    said, spec, dataset = [], subject.spec, subject.dataset
    if not (request.threat or request.norms):
        said.append(f"threat preset '{preset}' (from the input's kind)")
    for threat in spec.threats:
        said.append(f"{threat.norm} eps {', '.join(threat.eps)}")
    said.append(f"{min(spec.examples, dataset.size)} of {dataset.size} examples, sampled with seed {spec.seed}")
    said.append(f"preset '{spec.preset}'" if not spec.attacks else f"attacks {', '.join(spec.attacks)}")
    if spec.also:
        said.append(f"threats beside the norms: {', '.join(t.name for t in subject.others) or 'none applies'}")
    if spec.target is not None:
        said.append(goal_of(spec.target))
    if refuses(spec):
        said.append(refuses(spec))
    if needs_training(subject):
        said.append("a surrogate, trained on examples that are not audited by asking the model for their labels")
    for choice in request.surrogates:
        said.append(f"surrogate {choice.path.name}")
    if subject.drawn:
        draws = chosen_stages(spec, random=True)[0].draws
        why = (
            f"inputs are transformed by {', '.join(map(str, spec.eot))}" if spec.eot else "the model draws at random"
        )
        said.append(f"means over {draws} draws for attacks, and fresh draws to judge by: {why}")
    if subject.upload.label_only and not spec.attacks:
        said.append("decisions instead of scores for attacks without gradients: the model gives labels only")
    if subject.upload.embedding is not None:
        said.append(f"embedding output '{subject.upload.input}' attacked: the model takes tokens")
    if spec.quantize is not None:
        said.append(f"inputs in whole levels, {2**spec.quantize} of them")
    if spec.constraints is not None:
        said.append(f"constraints: {spec.constraints.summary}")
    if along := subject.upload.given.kept:
        said.append(f"{', '.join(along)}: of each example its own, which no attack changes")
    said += _weighing(request, dataset)
    if subject.upload.multilabel:
        said.append(f"{subject.upload.classes} labels at once: right is an example with every one of them right")
    if subject.upload.label is not None:
        said.append(
            f"label {subject.upload.label} of {subject.upload.width} alone, as a decision between two classes"
        )
    if dataset.y is None:
        said.append("no labels: the model's own answer serves, and stability is measured")
    return tuple(said)


def _weighing(request: Request, dataset: Dataset) -> Iterator[str]:
    if dataset.weight is not None:
        nothing = int(np.sum(dataset.weight == 0))
        left = f"; {nothing} examples of weight 0 are left out" if nothing else ""
        yield f"every share by the weights in '{request.weights}'{left}"
    if dataset.group is not None:
        count = len(np.unique(dataset.group))
        yield f"intervals over the {count} groups in '{request.groups}', whose members are not taken for independent"
