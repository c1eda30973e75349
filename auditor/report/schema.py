"""report.json as types: what other tools rely on. Fields may be added in a schema version, never changed.

A reader skips fields that it does not know. No number is ever NaN or infinite: what has no finite value is null.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from auditor.audits.design import Design, design_of
from auditor.audits.gates import GateResult, Verdict
from auditor.audits.other_sections import OtherFigures
from auditor.audits.summary import Clean, Curve, Section, absent
from auditor.spec import Norm, Preset

SCHEMA_VERSION: Literal["1"] = "1"


def plain(value: Any) -> Any:
    """The same value in JSON's own types: NumPy's become Python's, tuples lists, numbers that are not finite None."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


Plain = Annotated[Any, BeforeValidator(plain)]
PlainObject = Annotated[dict[str, Any], BeforeValidator(plain)]


class Audit(Section):
    """The audit itself: what was asked, how it was cut, where it ran. Times are ISO 8601 in UTC."""

    id: str
    seed: int
    preset: Preset
    spec_sha256: str
    spec: PlainObject
    plan: PlainObject
    fingerprint: PlainObject
    started_at: str
    finished_at: str
    device: str
    versions: dict[str, str]


class Model(Section):
    """The upload. operators: how many nodes of each; input: name, type, shape, layout, the columns of a table whose
    inputs they are, what other inputs are held at, which come with each example and out of which column, the input of
    tokens whose embedding was attacked and the label that was audited alone, by its number and of how many, where there are
    any; gradient: access and why, the policy
    by which slopes were replaced, and under substitutes each such node and what stands in for its slope; output: the name of the
    one that decides, whether it is a single number per example, and the labels that it gives or whose scores it gives by name.

    randomness, where the model draws at random or inputs are transformed before it: the transformations as they were
    declared; how many passes each pass of an attack averaged; of how many fresh draws how many must give another class for a
    point to count; on how many clean examples all draws agree; and expected_accuracy, the mean share of draws that are
    right when clean.

    refusal, of a model that may refuse: the class to abstain by and the detector's output and threshold, null where there
    is none; answers: the numbers that stand for a refusal where a class is given, the detector's one behind the last
    class; how many clean examples are refused, and of those that are not which share is right (null where all are).

    labels, of a model that decides about several labels at once: how many, their names where the file tells them ([] where not),
    and the threshold above which one is given. Where an answer is a number (label, predicted, adversarial), it is the sum of
    2^k over the labels k that are given; classes is then the number of labels too.
    """

    name: str
    sha256: str
    opset: int
    operators: dict[str, int]
    parameters: int
    classes: int
    input: PlainObject
    output: PlainObject | None = None
    gradient: PlainObject
    randomness: PlainObject | None = None
    refusal: PlainObject | None = None
    labels: PlainObject | None = None


class Dataset(Section):
    """What was audited on. examples: how many the dataset holds; index, label, predicted and digest: the audited ones.

    predicted is the class when clean, confidence how sure the model is of it (null where it gives labels only); target the
    class that attacks have to reach, null where any but the label will do; digest is the SHA-256 of input and label, by
    which two reports are paired. weight is what each counts for, group the name of the group whose members are not
    independent of it: only where a column of the data says so, under sampling.preprocessing.source.
    """

    name: str
    sha256: str
    examples: int
    domain: tuple[float, float] | None
    sampling: PlainObject
    index: list[int]
    label: list[int]
    predicted: list[int]
    confidence: list[float | None] | None = None
    target: list[int] | None = None
    digest: list[str]
    weight: Annotated[list[float] | None, Field(default=None, exclude_if=absent)]
    group: Annotated[list[str] | None, Field(default=None, exclude_if=absent)]

    @property
    def design(self) -> Design:
        """How the audited examples stand for the population. ValueError where columns do not fit together."""
        weight = None if self.weight is None else np.array(self.weight, np.float64)
        group = None if self.group is None else np.array(self.group, str)
        if any(column is not None and len(column) != len(self.index) for column in (weight, group)):
            raise ValueError("there are not as many weights or groups as examples")
        return design_of(weight, group, len(self.index))


class Crossing(Section):
    """A transfer attack at one eps: on how many examples it was tried, on how many of them it fooled the surrogate, broke
    the model, and both. Success is broken / tried, and given that the surrogate was fooled both / fooled."""

    eps: str
    tried: int
    fooled: int
    broken: int
    both: int


class Surrogate(Section):
    """A model whose gradients the transfer attacks followed: one that was named, or one trained for this audit with
    `queries` labels of the model's, that gives the model's label on the share `agreement` of examples held back."""

    name: str
    sha256: str
    normalisation: PlainObject | None = None
    queries: int | None = None
    agreement: float | None = None


class Stage(Section):
    """One attack over all slices: on how many examples it ran, how many it broke first or nearer, what it cost.

    access: what it saw: gradients ("white-box"), gradients in which surrogates stand in for slopes that lead nowhere
    ("surrogate-gradient", see model.gradient), the trees that the model is made of ("structure"), class scores ("score") or only the class decided for ("decision");
    claims: points that it took for adversarial; refuted: those of them that the upload did not confirm. Of a transfer
    attack forwards and backwards are the surrogates' and the model's together, queries the model's alone; crossings
    are about the examples that earlier stages left standing (the diagnosis has those of the attack alone).
    """

    attack: str
    norm: Norm
    access: str
    tried: int
    broken: int
    claims: int = 0
    refuted: int = 0
    forwards: int
    backwards: int
    seconds: float
    queries: int | None = None
    crossings: list[Crossing] = []


class Check(Section):
    """One thing that the diagnosis looked at; above "info" it makes a passing verdict inconclusive."""

    check: str
    severity: Literal["info", "warning", "error"]
    message: str
    evidence: Plain = None


class Diagnosis(Section):
    """subsample: positions in the dataset; attacks: the accuracy that each attack alone leaves there, per eps; probes:
    the same for attacks that only serve the checks, each at its own eps."""

    subsample: list[int]
    attacks: list[PlainObject]
    probes: list[PlainObject] = []
    checks: list[Check]


class Report(Section):
    """A whole audit. results_sha256: digest of all results, without times, ids, device, versions and plan."""

    schema_version: Literal["1"] = SCHEMA_VERSION
    results_sha256: str = ""
    audit: Audit
    model: Model
    dataset: Dataset
    clean: Clean
    curves: list[Curve]
    other_threats: list[OtherFigures] = []
    surrogates: list[Surrogate] = []
    stages: list[Stage]
    diagnosis: Diagnosis
    gates: list[GateResult]
    verdict: Verdict
    not_tested: list[str]

    @property
    def puts_up(self) -> bool:
        """Whether the policy only warns where its gates decide nothing."""
        policy = self.audit.spec.get("policy") or {}
        return bool(policy.get("on_inconclusive") == "warn")


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of report.json."""
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "auditor report"}
