"""What is asked for, as frozen and validated values: threats with exact epsilons, presets, the audit's specification.

A specification has one canonical JSON form and a digest over all that can change a result. Epsilons are kept as the
rational numbers that were written ("8/255"), in widths of the domain.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from auditor.constraints import Constraints
from auditor.errors import SpecError
from auditor.values import Frozen, exact

Norm = Literal["Linf", "L2", "L1", "L0"]
Layout = Literal["NCHW", "NHWC"]
Preset = Literal["quick", "standard", "thorough", "autoattack"]

NORMS: tuple[Norm, ...] = ("Linf", "L2", "L1", "L0")


def _positive_eps(text: str) -> str:
    if exact(text) <= 0:
        raise SpecError(f"an eps of {text} allows no perturbation; give one above 0")
    if not 1e-30 < exact(text) < 1e30:
        raise SpecError(f"an eps of {text} is no size that an input could move by")
    return text


Eps = Annotated[str, AfterValidator(_positive_eps)]


def _once_each(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


# Names; one that is said twice runs once, since its random numbers would be the same.
Attacks = Annotated[tuple[str, ...], AfterValidator(_once_each)]


# A class by its number, or for each example one of the others at random.
Target = Annotated[int, Field(ge=0, lt=2**31)] | Literal["random"]


class Loss(IntEnum):
    """What an attack ascends. z: logits, y: label, t: target class, pi: classes by falling score.

    The numbers are the values of the gradient graph's integer input `loss`, one per row.
    """

    CROSS_ENTROPY = 0  # logsumexp(z) - z_y
    MARGIN = 1  # max_{k != y} z_k - z_y; positive exactly when the example is broken
    DLR = 2  # -(z_y - max_{k != y} z_k) / (z_pi1 - z_pi3); at least 3 classes (Croce & Hein 2020)
    TARGETED_DLR = 3  # -(z_y - z_t) / (z_pi1 - (z_pi3 + z_pi4) / 2); at least 4 classes
    DIFFERENCE = 4  # z_t - z_y
    TARGETED_CROSS_ENTROPY = 5  # z_t - logsumexp(z)
    LOGIT = 6  # z_t (Zhao et al. 2021, for targets that are to transfer)
    PROBABILITY_MARGIN = 7  # max_{k != y} p_k - p_y with p = softmax(z) (Xie et al. 2024, arXiv:2411.15210)


class Threat(Frozen):
    """An attacker who may move an input by at most eps in `norm`: in widths of the domain, in L0 the number of
    features, each channel of a pixel being one."""

    norm: Norm
    eps: tuple[Eps, ...] = Field(min_length=1)

    @field_validator("eps", mode="after")
    @classmethod
    def _ascending(cls, eps: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({exact(text): text for text in reversed(eps)}.values(), key=exact))


class Normalisation(Frozen):
    """Declared per-channel normalisation, (x - mean) / std, applied between the domain and the upload."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class SurrogateFile(Frozen):
    """A model that stands in for the upload, by the digest of its file, and the normalisation declared for it."""

    sha256: str
    normalisation: Normalisation | None = None


class Detector(Frozen):
    """A second output of the model, one number per example; a value above the threshold rejects the input."""

    output: str = Field(min_length=1)
    threshold: float = Field(default=0.5, allow_inf_nan=False)

    @classmethod
    def parse(cls, text: str) -> "Detector":
        """OUTPUT, or OUTPUT:THRESHOLD, the threshold behind the last colon."""
        name, colon, threshold = text.strip().rpartition(":")
        if not colon:
            return build(cls, output=threshold)
        try:
            return build(cls, output=name, threshold=float(threshold))
        except ValueError:
            raise SpecError(
                f"detector '{text}' is not understood; write OUTPUT or OUTPUT:THRESHOLD, such as reject:0.9"
            ) from None

    def __str__(self) -> str:
        return f"{self.output}:{self.threshold:g}"


_TRANSFORMATIONS = {  # how many numbers each takes, and between which they lie
    "noise": (1, 0.0, 10.0),
    "brightness": (1, 0.0, 1.0),
    "shift": (1, 1.0, 1024.0),
    "resize": (2, 0.1, 2.0),
}


class Transformation(Frozen):
    """What a system does at random to an input before the model sees it. numbers: of noise, the standard deviation, of
    brightness, the largest change, both in widths of the domain; of shift, the largest number of pixels each way; of
    resize, the smallest and the largest share of the size."""

    kind: Literal["noise", "brightness", "shift", "resize"]
    numbers: tuple[float, ...]

    @model_validator(mode="after")
    def _in_range(self) -> "Transformation":
        count, least, most = _TRANSFORMATIONS[self.kind]
        if len(self.numbers) != count:
            raise ValueError(f"{self.kind} takes {'one number' if count == 1 else 'two numbers'}")
        if not all(least <= n <= most and n > 0 for n in self.numbers) or list(self.numbers) != sorted(self.numbers):
            raise ValueError(f"the numbers of {self.kind} lie between {least:g} and {most:g}, and ascend")
        if self.kind == "shift" and not self.numbers[0].is_integer():
            raise ValueError("a shift is by whole pixels")
        return self

    @classmethod
    def parse(cls, text: str) -> "Transformation":
        """noise:0.05, brightness:0.1, shift:2 or resize:0.9,1.1."""
        kind, _, numbers = text.strip().partition(":")
        try:
            return build(cls, kind=kind, numbers=tuple(float(exact(number.strip())) for number in numbers.split(",")))
        except SpecError as error:
            raise SpecError(
                f"--eot {text} is not understood ({error}); write noise:0.05, brightness:0.1, shift:2 or resize:0.9,1.1"
            ) from None

    def __str__(self) -> str:
        return f"{self.kind}:{','.join(str(int(n)) if n.is_integer() else repr(n) for n in self.numbers)}"


class Held(Frozen):
    """What an input beside the attacked one is given for every example: a number for all of it, numbers along its last axis,
    or a text; or, behind an @, the column of the data that holds each example's own."""

    input: str = Field(min_length=1)
    value: tuple[float, ...] | str

    @classmethod
    def parse(cls, text: str) -> "Held":
        """NAME=VALUE, the value being what stands behind the last equals sign: 1, or 0.5,0.5, or a text, or @COLUMN."""
        name, equals, value = text.strip().rpartition("=")
        if not equals or not name or not value:
            raise SpecError(f"--fix '{text}' is not understood; write NAME=VALUE, such as mask=1")
        try:
            return build(cls, input=name, value=tuple(float(part) for part in value.split(",")))
        except ValueError:
            return build(cls, input=name, value=value)

    @property
    def column(self) -> str | None:
        """The column that holds each example's own value, if one does."""
        return (
            self.value[1:] if isinstance(self.value, str) and len(self.value) > 1 and self.value[0] == "@" else None
        )

    def __str__(self) -> str:
        said = self.value if isinstance(self.value, str) else ",".join(f"{part:g}" for part in self.value)
        return f"{self.input}={said}"


class Budget(Frozen):
    """Where an audit stops by itself: passes (forwards + backwards) per example of the cascade, or wall time as a
    safety stop. An example that has spent its passes is left out of the stages to come; the diagnosis, in which
    every attack runs alone, is not counted."""

    passes: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """'500passes', '90s', '10m' or '2h'."""
        match = re.fullmatch(r"(\d{1,9})\s*passes|(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|h)", text.strip())
        if match is None or float(match[1] or match[2]) <= 0:
            raise SpecError(f"budget '{text}' is not understood; write it like 500passes, 90s, 10m or 2h")
        if match[1]:
            return cls(passes=int(match[1]))
        return cls(seconds=float(match[2]) * {"s": 1, "m": 60, "h": 3600}[match[3]])


class Gate(Frozen):
    """A rule such as Linf:8/255=0.40: robust accuracy at that eps must not lie below the threshold."""

    norm: Norm
    eps: Eps
    threshold: float = Field(ge=0, le=1)

    @classmethod
    def parse(cls, text: str) -> "Gate":
        match = re.fullmatch(r"(\w+):([^=]+)=(.+)", text.strip())
        if match is None or match[1] not in NORMS:
            raise SpecError(
                f"gate '{text}' is not understood; write NORM:EPS=ACCURACY, such as Linf:8/255=0.40, "
                f"with a norm out of {', '.join(NORMS)}"
            )
        threshold = exact(match[3].strip())
        if threshold > 1:
            raise SpecError(f"gate '{text}' asks for an accuracy of {match[3]}; give one between 0 and 1")
        return build(cls, norm=match[1], eps=match[2].strip(), threshold=float(threshold))

    @property
    def rule(self) -> str:
        return f"{self.norm}:{self.eps}={self.threshold:g}"


def _written_out(gates: object) -> object:
    said = [gates] if isinstance(gates, str) else gates
    return [Gate.parse(gate) if isinstance(gate, str) else gate for gate in said] if isinstance(said, list) else said


Gates = Annotated[tuple[Gate, ...], BeforeValidator(_written_out)]
Severity = Literal["warning", "error"]
Undecided = Literal["fail", "warn"]


class Waiver(Frozen):
    """A rule that may go unfulfilled up to the end of a day, and who allows it."""

    rule: str = Field(min_length=1, max_length=200)
    approver: str = Field(min_length=1, max_length=200)
    until: datetime.date
    reason: str = Field(default="", max_length=1000)


class Policy(Frozen):
    """What a model must fulfil: gates on robust and certified accuracy, the least clean accuracy, the severity that no
    check of the diagnosis may find, what becomes of an audit that decides nothing, and who put up with what."""

    robust: Gates = ()
    certified: Gates = ()
    clean: float | None = Field(default=None, ge=0, le=1)
    diagnosis: Severity | None = None
    on_inconclusive: Undecided = "fail"
    waivers: tuple[Waiver, ...] = Field(default=(), max_length=100)

    def refuse_expired(self, today: datetime.date) -> None:
        """SpecError naming a waiver that has ended."""
        for waiver in self.waivers:
            if waiver.until < today:
                raise SpecError(
                    f"the waiver of '{waiver.rule}' by {waiver.approver} ended on {waiver.until}; renew it or take it out"
                )


class AuditSpec(Frozen):
    """Everything that the caller decides about an audit. All defaults are explicit by the time it is built."""

    threats: tuple[Threat, ...] = Field(min_length=1)
    preset: Preset = "standard"
    attacks: Attacks = ()  # empty means the preset's own
    domain: tuple[float, float] | None = None
    normalisation: Normalisation | None = None
    layout: Layout | None = None
    input: str | None = None
    output: str | None = None
    examples: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**64)
    device: Literal["cpu", "cuda"] = "cpu"
    batch_size: int | None = Field(default=None, ge=1, le=65_536)
    threads: int | None = Field(default=None, ge=1, le=1024)
    budget: Budget = Budget()
    gates: tuple[Gate, ...] = ()
    surrogates: tuple[SurrogateFile, ...] = ()
    also: Attacks = ()  # threats beside the norms
    draws: int | None = Field(
        default=None, ge=2, le=1000
    )  # that each pass averages where chance plays; None: the preset's
    eot: tuple[Transformation, ...] = Field(
        default=(), max_length=10
    )  # what is done to inputs at random, in this order
    quantize: int | None = Field(default=None, ge=1, le=16)  # bits: inputs are at one of 2^bits levels of the domain
    constraints: Constraints | None = None  # what the features of a table may be
    policy: Policy | None = None
    target: Target | None = None  # the class that has to be reached; None where any but the label will do
    abstain: int | None = Field(default=None, ge=0)  # the class by which the model refuses to answer
    detector: Detector | None = None  # the output by which it rejects an input
    threshold: float | None = Field(
        default=None, allow_inf_nan=False
    )  # above which a number means class 1, or its label
    multilabel: bool = False  # each score decides about a label of its own; right is who has all of them right
    label: int | None = Field(default=None, ge=0)  # the one of these labels that is audited alone
    unbatched: bool = False  # the whole of the attacked input is one example
    fix: tuple[Held, ...] = ()  # what the inputs beside the attacked one are given

    @model_validator(mode="after")
    def _levels_have_ends(self) -> "AuditSpec":
        if self.quantize is not None and self.domain is None:
            raise ValueError("levels lie between the ends of a domain: quantize needs one")
        if self.quantize is not None and self.constraints is not None:
            raise ValueError("quantize is about every feature, constraints about each; say a step there instead")
        return self

    @model_validator(mode="after")
    def _what_comes_along_stays(self) -> "AuditSpec":
        if any(held.column for held in self.fix):
            asked = {"quantize": self.quantize, "eot": self.eot, "mean and std": self.normalisation}
            for name in (name for name, value in asked.items() if value):
                raise ValueError(
                    f"{name} would change the inputs that come with each example too (fix with @); leave it out"
                )
        return self

    @property
    def tabular(self) -> bool:
        """Whether examples are rows of which not every feature may take every value: by constraints, or since some of them
        come with each example."""
        return self.constraints is not None or any(held.column for held in self.fix)

    @property
    def sha256(self) -> str:
        """Digest of all that can change an example's result; budget, gates and policy only cut short and judge."""
        return spec_sha256(self.model_dump(mode="json"))

    @property
    def width(self) -> float:
        """The width of the domain in input units; 1 where there is none (eps is then in the features' units)."""
        return 1.0 if self.domain is None else self.domain[1] - self.domain[0]


# Fields younger than the first stored audits: while one is empty it is no part of the digest, which so stays what it was.
YOUNGER = (
    "surrogates",
    "quantize",
    "constraints",
    "also",
    "target",
    "draws",
    "abstain",
    "detector",
    "eot",
    "fix",
    "threshold",
    "unbatched",
    "multilabel",
    "label",
)


def spec_sha256(fields: Mapping[str, object]) -> str:
    """`AuditSpec.sha256` from a specification's JSON form."""
    left_out = {"budget", "gates", "policy", *(name for name in YOUNGER if _is_empty(fields.get(name)))}
    return digest({name: value for name, value in fields.items() if name not in left_out})


def _is_empty(value: object) -> bool:
    return not value and type(value) not in (int, float)  # a number is said even where it is 0


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


T = TypeVar("T", bound=BaseModel)


def build(kind: type[T], /, **fields: object) -> T:
    """A specification value from untrusted fields; SpecError names the field and what is wrong with it."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or kind.__name__
        raise SpecError(f"{where}: {first['msg'].lower()} (got {first['input']!r})") from error


# eps grids by the kind of input; the values are those that papers and RobustBench report on.
THREAT_PRESETS: dict[str, tuple[Threat, ...]] = {
    "image-8bit": (
        Threat(norm="Linf", eps=tuple(f"{n}/255" for n in (1, 2, 3, 4, 6, 8, 10, 12, 16, 32))),
        Threat(norm="L2", eps=("0.1", "0.25", "0.5", "0.75", "1", "1.25", "1.5", "2", "2.5", "3")),
    ),
    "mnist": (
        Threat(norm="Linf", eps=("0.02", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.35", "0.4", "0.5")),
        Threat(norm="L2", eps=("0.25", "0.5", "1", "1.5", "2", "2.5", "3", "3.5", "4", "5")),
    ),
    "imagenet": (
        Threat(
            norm="Linf",
            eps=tuple(f"{n}/255" for n in ("0.25", "0.5", "1", "2", "3", "4", "6", "8", "12", "16")),
        ),
        Threat(norm="L2", eps=("0.1", "0.25", "0.5", "1", "1.5", "2", "3", "4", "5", "8")),
    ),
    "tabular": (
        Threat(norm="Linf", eps=("0.005", "0.01", "0.02", "0.03", "0.05", "0.075", "0.1", "0.15", "0.2", "0.3")),
        Threat(norm="L2", eps=("0.01", "0.02", "0.05", "0.1", "0.15", "0.2", "0.3", "0.5", "0.75", "1")),
    ),
}
