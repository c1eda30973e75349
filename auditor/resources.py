"""What travels over HTTP: the bodies of requests and responses, shared by the service and its client.

Times are ISO 8601 in UTC. A page holds `items` and, where there is more, `next`: the cursor of the next page.
"""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["reader", "submitter", "admin"]
CheckState = Literal["checking", "ready", "refused"]
AuditState = Literal["settling", "queued", "running", "cancelling", "done", "failed", "cancelled"]
WebhookEvent = Literal["audit.done", "audit.failed", "audit.cancelled"]
FINISHED: tuple[AuditState, ...] = ("done", "failed", "cancelled")
T = TypeVar("T")
_LARGEST = 1 << 62  # what every database holds
_LONGEST = 100 * 365  # days
_LONGEST_TEXT = 100_000  # characters, where a field says nothing else


class Resource(BaseModel):
    """A response: fields may be added in a later version, and a reader skips those that it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Body(BaseModel):
    """A request: a field that is not known is refused by name, true is no number, and a text is Unicode."""

    # Of texts without a limit pydantic would not look at the characters, and let halves of surrogate pairs pass.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_max_length=_LONGEST_TEXT)


def _example(**fields: Any) -> ConfigDict:
    """For the OpenAPI document."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Page(Resource, Generic[T]):
    items: list[T]
    next: str | None = None


class Problem(Resource):
    """An error after RFC 9457. type: a stable URI-reference such as /problems/model-refused."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, Any]] = []


class NewUpload(Body):
    """A file that is to come in pieces. sha256: checked at the end, if given."""

    model_config = _example(filename="digits.onnx", size=52428800)

    filename: str = Field(min_length=1, max_length=255)
    size: int = Field(ge=1, le=_LARGEST)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class Upload(Resource):
    """received: the offset at which the next piece begins; the file is whole when it equals size."""

    id: str
    filename: str
    size: int
    received: int
    sha256: str | None
    expires_at: datetime


class Version(Resource):
    """One uploaded ONNX file. facts, once ready: inputs, outputs, classes, operators, opset, parameters, gradient."""

    id: str
    model: str
    number: int
    sha256: str
    size: int
    filename: str
    state: CheckState
    reason: str | None = None
    facts: dict[str, Any] | None = None
    aliases: list[str] = []
    created_at: datetime


class Model(Resource):
    """A name and its versions. latest: the newest version, whatever its state. surrogate: whether the versions may stand
    in for other models of the project in transfer attacks."""

    id: str
    name: str
    aliases: dict[str, int]
    versions: int
    latest: Version | None
    surrogate: bool = False
    created_at: datetime


class ModelChange(Body):
    """surrogate: whether the model's versions may stand in for others in audits that are asked for from now on."""

    model_config = _example(surrogate=True)

    surrogate: bool


class NewAlias(Body):
    model_config = _example(version=3)

    version: int = Field(ge=1, le=_LARGEST)


class Dataset(Resource):
    """facts, once ready: format, examples, shape and labels as far as the file alone tells."""

    id: str
    name: str
    sha256: str
    size: int
    filename: str
    state: CheckState
    reason: str | None = None
    facts: dict[str, Any] | None = None
    created_at: datetime


class NamedSurrogate(Body):
    """A model of the project that stands in for the audited one, named as that one is, and whose owners allow it.
    mean, std: the normalisation that is declared for it, both or none; see NewAudit."""

    model: str = Field(max_length=500)
    mean: str | None = None
    std: str | None = None


class Declared(Body):
    """How a model is to be read, where its file leaves a choice: said at its upload, it holds for its check and for its audits
    unless they say otherwise. The names are those of the options of `auditor audit`; fix: NAME=VALUE each."""

    input: str | None = Field(default=None, max_length=500)
    output: str | None = Field(default=None, max_length=500)
    layout: Literal["NCHW", "NHWC"] | None = None
    fix: list[str] = Field(default=[], max_length=1000)
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    multilabel: bool = False
    label: str | None = Field(default=None, max_length=500)
    unbatched: bool = False

    @property
    def said(self) -> dict[str, Any]:
        """What was said, without what was left open."""
        return self.model_dump(exclude_defaults=True)


class NewAudit(Body):
    """An audit as asked for: the options of `auditor audit`, with underscores for hyphens. What was declared of a model when it
    was uploaded (see Declared) holds unless it is said here.

    model: NAME (its latest version), NAME@NUMBER, NAME@ALIAS or a version's id; data: a dataset's name or id;
    constraints: {"features": …, "groups": …, "relations": …}, what the features of a table may be (docs/constraints.md);
    baseline: the id of a finished audit that the model must not fall behind, or NAME@ALIAS for the last of that version;
    policy: {"clean": 0.9, "regression": {"baseline": …}, …}, what the model must fulfil (docs/gates.md);
    surrogates: whose gradients transfer attacks follow, the mean of all of them.
    """

    model_config = _example(
        model="digits@prod",
        data="digits-test",
        norm=["Linf", "L2"],
        eps=["0.02,0.05,0.1", "0.5,1"],
        preset="standard",
        examples=1000,
        fail_under=["Linf:0.05=0.40"],
    )

    model: str = Field(max_length=500)
    data: str = Field(max_length=500)
    threat: str | None = None
    norm: list[str] = Field(default=[], max_length=10)
    eps: list[str] = Field(default=[], max_length=10)
    preset: str | None = None
    attack: list[str] = Field(default=[], max_length=100)
    surrogates: list[NamedSurrogate] = Field(default=[], max_length=10)
    also: list[str] = Field(default=[], max_length=100)
    domain: str | None = None
    quantize: int | None = Field(default=None, ge=1, le=16)
    constraints: dict[str, Any] | None = None
    draws: int | None = Field(default=None, ge=2, le=1000)
    eot: list[str] = Field(default=[], max_length=10)
    abstain: int | None = Field(default=None, ge=0)
    detector: str | None = None
    mean: str | None = None
    std: str | None = None
    layout: str | None = None
    input: str | None = None
    fix: list[str] = Field(default=[], max_length=1000)
    output: str | None = None
    threshold: float | None = None
    multilabel: bool = False
    label: int | str | None = None
    unbatched: bool = False
    label_column: str | None = None
    weights: str | None = Field(default=None, max_length=500)
    groups: str | None = Field(default=None, max_length=500)
    resize: str | None = None
    crop: str | None = None
    interpolation: str | None = None
    channel_order: str | None = None
    scale: str | None = None
    target: int | str | None = None
    examples: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0)
    budget: str | None = None
    device: Literal["cpu", "cuda"] | None = None
    batch_size: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    fail_under: list[str] = Field(default=[], max_length=100)
    policy: dict[str, Any] | None = None
    on_inconclusive: Literal["fail", "warn"] | None = None
    baseline: str | None = None
    margin: float | None = Field(default=None, ge=0, le=1)
    allow_chance: bool = False
    no_examples: bool = False
    priority: int = Field(default=0, ge=-10, le=10)


class Extension(Body):
    """More epsilons per norm, more examples, or both; the rest stays as it was."""

    model_config = _example(eps={"Linf": ["0.15"]}, examples=2000)

    eps: dict[str, list[str]] = {}
    examples: int | None = Field(default=None, ge=1)


class Bounds(Resource):
    """What is known of robust accuracy at one eps while an audit runs: it can only end between lower and upper."""

    norm: str
    eps: str
    lower: float
    upper: float


class SummaryPoint(Resource):
    """Robust accuracy at one eps, with the 95 % interval that the report gives it."""

    norm: str
    eps: str
    robust_accuracy: float
    interval: tuple[float, float]


class Summary(Resource):
    """An audit in a line. points: where the gates ask, else per norm where about half of the clean accuracy is left."""

    clean_accuracy: float
    points: list[SummaryPoint]


class Audit(Resource):
    """progress: stages done out of all; bounds: partial results until the report is there; summary: from then on."""

    id: str
    state: AuditState
    model: str
    version: int
    dataset: str
    preset: str | None = None
    chosen: list[str] = []
    spec: dict[str, Any] | None = None
    spec_sha256: str | None = None
    subject_sha256: str | None = None
    estimate: dict[str, Any] | None = None
    progress: dict[str, int] = {}
    bounds: list[Bounds] = []
    problem: dict[str, Any] | None = None
    stopped: str | None = None
    verdict: str | None = None
    summary: Summary | None = None
    results_sha256: str | None = None
    extends: str | None = None
    seconds: float = 0.0
    priority: int = 0
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


class NoReport(Problem):
    """An audit that ended without a report, and what was known of it then."""

    state: AuditState
    bounds: list[Bounds]


class CurvePoint(Resource):
    eps: str
    value: float
    robust_accuracy: float
    interval: tuple[float, float]
    true_interval: tuple[float, float]
    certified_accuracy: float | None
    broken_by: dict[str, int]
    unfinished: int


class Curve(Resource):
    norm: str
    points: list[CurvePoint]


class Outcome(Resource):
    """One example under one norm; see outcomes.parquet. adversarial, confidence: the class that the point found gets and how
    sure of it the model is; null where nothing was found, and of audits from before they were kept."""

    example: int
    norm: str
    label: int
    predicted: int
    status: str
    distance: float | None
    attack: str | None
    margin: float | None
    certified_radius: float | None
    complete: bool
    forwards: int
    backwards: int
    adversarial: int | None = None
    confidence: float | None = None


class Example(Resource):
    """A broken example and where its adversarial example can be fetched. adversarial, confidence: the class that it gets and
    how sure of it the model is, null where the model gives labels only."""

    example: int
    norm: str
    label: int
    predicted: int
    adversarial: int
    distance: float
    attack: str
    array: str
    confidence: float | None = None


class Artifact(Resource):
    """A file of an audit. removed_at: its retention ended, and the file is gone."""

    kind: str
    filename: str
    media_type: str
    size: int
    sha256: str | None
    url: str
    created_at: datetime
    removed_at: datetime | None = None


class ComparedPoint(Resource):
    """robust_accuracy: of the first and of the second audit, each on all of its examples. net_loss: share of the paired
    examples that the second one lost, less those gained, with its interval; outcome and message: of a regression gate."""

    norm: str
    eps: str
    robust_accuracy: tuple[float, float]
    net_loss: float
    interval: tuple[float, float]
    mcnemar_p: float | None
    outcome: str
    message: str


class Comparison(Resource):
    """Two audits, example by example. paired: examples that both hold; margin: the net loss that is tolerated."""

    first: str
    second: str
    margin: float
    paired: int
    clean_accuracy: tuple[float, float]
    points: list[ComparedPoint]


class Event(Resource):
    number: int
    type: str
    data: dict[str, Any]
    at: datetime


class NewLink(Body):
    """expires_in: seconds."""

    model_config = _example(expires_in=7 * 86400)

    expires_in: int = Field(default=7 * 86400, ge=60, le=365 * 86400)


class Link(Resource):
    """A read-only link to a report; whoever has the URL can read it until it expires. url is shown once, when the
    link is made."""

    id: str
    url: str | None = None
    created_at: datetime
    expires_at: datetime


class NewWebhook(Body):
    model_config = _example(url="https://ci.example.org/hooks/auditor", events=["audit.done", "audit.failed"])

    url: str = Field(max_length=2000)
    events: list[WebhookEvent] = Field(default=["audit.done", "audit.failed", "audit.cancelled"], min_length=1)


class Webhook(Resource):
    """secret is shown once, when the webhook is made."""

    id: str
    url: str
    events: list[str]
    secret: str | None = None
    disabled_at: datetime | None = None
    reason: str | None = None
    created_at: datetime


class Delivery(Resource):
    id: str
    type: str
    state: str
    attempt: int
    status: int | None
    error: str | None
    created_at: datetime
    delivered_at: datetime | None


class NewKey(Body):
    """scopes: fewer than the role's, if given; expires_in: seconds."""

    model_config = _example(name="pipeline", role="submitter", expires_in=90 * 86400)

    name: str = Field(min_length=1, max_length=200)
    role: Role = "submitter"
    scopes: list[str] | None = None
    expires_in: int | None = Field(default=None, ge=60, le=_LONGEST * 86400)


class Key(Resource):
    """key is shown once, when it is made."""

    id: str
    name: str
    prefix: str
    role: Role
    scopes: list[str]
    key: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class Quotas(Body):
    """null: no limit. bytes: stored; audits: at once; seconds: of compute in 30 days. retention: days by kind."""

    model_config = _example(bytes=100 << 30, audits=10, seconds=None, retention={"adversarial": 30})

    bytes: int | None = Field(default=None, ge=0, le=_LARGEST)
    audits: int | None = Field(default=None, ge=0, le=_LARGEST)
    seconds: int | None = Field(default=None, ge=0, le=_LARGEST)
    retention: dict[str, Annotated[int, Field(ge=0, le=_LONGEST)]] = {}


class Project(Resource):
    id: str
    name: str
    quotas: Quotas
    used_bytes: int
    running_audits: int
    used_seconds: float
