"""What an uploaded file says about itself, and how its raw output reads as class scores."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from auditor.errors import ModelError
from auditor.graph.embedding import Embedding, cut_behind, find_tokens
from auditor.graph.head import Head, Scores, trace
from auditor.graph.inputs import FLOATS, LEVELS, Inputs, find_inputs, written
from auditor.graph.labelset import check_label, check_multilabel, usual_threshold
from auditor.graph.load import STANDARD, all_nodes, damage_told, default_opset, load, to_ir
from auditor.graph.metadata import class_names
from auditor.graph.randomness import is_random
from auditor.graph.reading import Reading
from auditor.graph.refusal import check_abstain, check_detector, lifted
from auditor.runtime import Session, Tensor
from auditor.spec import Detector, Held, Layout

_LABELS = ("tensor(int64)", "tensor(int32)", "tensor(string)")
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Upload:
    """An ONNX classifier as it was uploaded; where it takes tokens, cut behind their embedding, which `embedding` then says, and
    `data` is what was left.

    input_shape: of the attacked input, batch axis first, None where dynamic. fixed_batch: its first entry when
    static. output: the output that holds the class scores; `scores` says what they are: a label alone is
    "label", a single Sigmoid column is "probabilities" of two classes. opset: of the standard domain, 0 without.
    random: whether a node of it draws at random. abstain: the class that means "refused"; detector: the output that
    rejects. parameters: elements of the stored weights. inputs, outputs: every one, as ONNX Runtime describes them;
    given: what each input is given. threshold: of a single number per example, above which it means class 1. class_names: of each class, where the file tells
    them. independent: whether each class has a Sigmoid of its own, as where labels do not exclude each other. multilabel: whether
    each of `classes` is then a label that is decided by itself, above `threshold`. width: numbers per example in the
    output; label: the one of them that is audited by itself, as a decision between two classes. weight: how
    much attacks make of what a detector gives above its threshold, beside the class scores; what counts does not know it.
    """

    data: bytes
    sha256: str
    opset: int
    input: str
    input_type: str
    input_shape: tuple[int | None, ...]
    output: str
    scores: Scores
    classes: int
    operators: dict[str, int]
    parameters: int
    fixed_batch: int | None
    layout: Layout | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    names: tuple[int | str, ...] = ()
    binary: bool = False
    random: bool = False
    abstain: int | None = None
    detector: Detector | None = None
    threshold: float | None = None
    embedding: Embedding | None = None
    class_names: tuple[str, ...] = ()
    independent: bool = False
    weight: float = 1.0
    multilabel: bool = False
    label: int | None = None
    width: int = field(kw_only=True)
    given: Inputs = field(kw_only=True)

    @property
    def refused(self) -> tuple[int, ...]:
        """The numbers that stand for a refusal among its answers: the class to abstain, and one behind the last class
        where a detector rejects."""
        abstained = () if self.abstain is None else (self.abstain,)
        return abstained if self.detector is None else (*abstained, self.classes)

    @property
    def reading(self) -> Reading:
        """How its scores read as answers."""
        return Reading(self.refused, self.multilabel)

    @property
    def answers(self) -> int:
        """The classes, and one more for a detector's rejection."""
        return self.classes + (self.detector is not None)

    @property
    def decisions(self) -> int:
        """How many different labels an example may have: the classes, or the sets of labels."""
        return 2**self.classes if self.multilabel else self.classes

    @property
    def decisive(self) -> list[str]:
        """The outputs that the answer depends on, as `scored` takes their values."""
        return [self.output] if self.detector is None else [self.output, self.detector.output]

    def scored(self, output: Any, detected: np.ndarray | None = None) -> np.ndarray:
        """The raw outputs of one run -> (N, answers); the first largest is the answer, or of several labels those above 0. See
        `class_scores`.

        A rejection's score is the largest of the classes' plus what the detector gives above its threshold: so it is the
        largest exactly where the detector rejects.
        """
        scores = self.class_scores(output)
        if self.detector is None:
            return scores
        scores = scores.astype(np.float64)
        above = np.reshape(np.asarray(detected), (-1, 1)).astype(np.float64) - self.detector.threshold
        return np.concatenate([scores, lifted(scores.max(axis=1, keepdims=True), above)], axis=1)

    def class_scores(self, output: Any) -> np.ndarray:
        """The raw output of one run -> (N, classes); the largest is the decision.

        A single probability p becomes (1 - p, p), a single number with a threshold (threshold, number); numbers about several
        labels lose the threshold; a label becomes one-hot; ZipMap's dictionaries become columns.
        """
        if self.label_only:
            return (np.reshape(output, (-1, 1)) == np.array(self.names or range(self.classes))).astype(np.float32)
        if isinstance(output, list):
            output = np.array([[row[name] for name in self.names] for row in output], np.float32)
        columns = np.reshape(output, (-1, self.width))
        if columns.dtype == np.float16:
            columns = columns.astype(np.float32)
        if self.label is not None:
            columns = columns[:, self.label : self.label + 1]
        if self.multilabel:
            return columns - columns.dtype.type(self.threshold or 0)
        if self.threshold is not None:
            return np.concatenate([np.full_like(columns, self.threshold), columns], axis=1)
        return np.concatenate([1 - columns, columns], axis=1) if self.binary else columns

    @property
    def one_sided(self) -> bool:
        """Whether numbers are compared with a constant, and not with each other."""
        return self.multilabel or self.binary or self.threshold is not None

    @property
    def label_only(self) -> bool:
        """Whether it tells which class it decides for, and nothing of the others."""
        return self.scores == "label"

    @property
    def levels(self) -> tuple[int, int] | None:
        """The smallest and the largest of the whole numbers that the attacked input takes; None where it takes floats."""
        return LEVELS.get(self.input_type)

    def run(self, session: Session, x: np.ndarray) -> np.ndarray:
        """One example, (1, *shape) float32 behind its normalisation, in a session of the upload's -> (1, answers); in copies
        where the batch is fixed."""
        copies = np.repeat(x, self.fixed_batch or 1, axis=0)
        return self.scored(*session.run(self.given.feeds(copies), self.decisive))[:1]

    @property
    def has_trees(self) -> bool:
        """Whether there are tree ensembles in it."""
        return any(operator.startswith("ai.onnx.ml::TreeEnsemble") for operator in self.operators)

    @property
    def input_dtype(self) -> np.dtype:
        """The element type that the attacked input wants."""
        return self.given.attacked.dtype


def read_upload(
    data: bytes,
    *,
    input: str | None = None,
    output: str | None = None,
    layout: Layout | None = None,
    abstain: int | None = None,
    detector: Detector | None = None,
    fix: Sequence[Held] = (),
    threshold: float | None = None,
    multilabel: bool = False,
    label: str | int | None = None,
    unbatched: bool = False,
) -> Upload:
    """Check an upload and find its attacked input and its class scores.

    input, output: names, needed where the file offers several. fix: what other inputs are given; where a value is missing,
    whoever runs the model is told. threshold: makes a single number per example a decision between two classes. multilabel:
    each number is about a label of its own; label: the name or number of one that is audited alone.
    unbatched: whether the whole of the attacked input is one example, without a batch axis. layout: of images, else told from the shape. abstain,
    detector: how the model refuses, if it does; SpecError where it does not do so.
    ModelError says why the file is not a classifier that can be audited.
    """
    model, sha256 = load(data), hashlib.sha256(data).hexdigest()
    with damage_told():
        session = Session(data, optimise="none")
    tokens = None if unbatched else find_tokens(tuple(session.inputs.values()), input, fix)
    embedding = None if tokens is None else cut_behind(model, tokens)
    if embedding is not None:
        data, input, fix = embedding.data, embedding.output, (*fix, embedding.held)
        model, session = onnx.load_from_string(data), Session(data, optimise="none")
    inputs, outputs = tuple(session.inputs.values()), tuple(session.outputs.values())
    given = find_inputs(inputs, input, fix, unbatched=unbatched).knowing(model)
    attacked = given.attacked
    shape = tuple(d if isinstance(d, int) and d >= 0 else None for d in attacked.shape)
    if len(shape) < 2:
        raise ModelError(
            f"input '{attacked.name}' has shape {written(attacked)}; a classifier's input has a batch axis first "
            "and at least one more"
        )
    graph = to_ir(onnx.shape_inference.infer_shapes(model)).graph
    heads = {value.name: trace(value) for value in graph.outputs}
    widths = {o.name: _width(o, heads[o.name]) for o in outputs}
    static = [d for d in shape[1:] if d is not None]
    if len(static) == len(shape) - 1 and not given.missing and not any(one.is_text for one in given.carried):
        widths |= _measured(session, given, (shape[0] or 1, *static))
    widths |= dict.fromkeys(session.inputs.keys() & widths.keys(), 0)  # an input handed through decides nothing
    if detector is not None:
        check_detector(detector, outputs, output)
    scores = _scores_output(
        tuple(o for o in outputs if detector is None or o.name != detector.output),
        heads,
        widths,
        output,
        single=threshold is not None and label is None and not multilabel,
        decided=threshold is not None or label is not None or multilabel,
    )
    head, width = heads[scores.name], widths[scores.name]
    labels = class_names(model, width) or tuple(name for name in head.names if isinstance(name, str))
    if multilabel:
        check_multilabel(width, head.scores, refuses=abstain is not None or detector is not None)
    number = None if label is None else check_label(str(label), width, labels, head.scores, multilabel=multilabel)
    alone = not multilabel and (width == 1 or number is not None)
    if threshold is None and (multilabel or (number is not None and head.squash != ("Sigmoid",))):
        threshold = usual_threshold(head)
    binary = alone and head.operator == "Sigmoid" and threshold is None
    classes = 2 if alone else width
    if abstain is not None:
        check_abstain(abstain, classes)
    return Upload(
        data=data,
        sha256=sha256,
        opset=default_opset(model),
        input=attacked.name,
        input_type=attacked.type,
        input_shape=shape,
        output=scores.name,
        scores=head.scores if threshold is None or multilabel else "logits",
        classes=classes,
        operators=_operators(model),
        parameters=_parameters(model),
        fixed_batch=shape[0],
        layout=layout or _layout(graph, attacked.name, shape),
        inputs=inputs,
        outputs=outputs,
        names=head.names,
        binary=binary,
        random=is_random(model),
        abstain=abstain,
        detector=detector,
        threshold=threshold,
        embedding=embedding,
        independent=width > 1 and head.operator == "Sigmoid",
        multilabel=multilabel,
        label=number,
        width=width,
        class_names=class_names(model, classes) or labels,
        given=given,
    )


def _width(output: Tensor, head: Head) -> int:
    """Class scores per example as far as the file declares them; 0 where it does not, or where they are none."""
    if head.names:
        return len(head.names)
    if head.operator == "ArgMax" and head.node is not None:
        return _argmax_width(head.node)
    dims = [d for d in output.shape[1:] if d != 1]
    if output.type not in FLOATS or len(dims) > 1 or not all(isinstance(d, int) and d > 0 for d in dims):
        return 0
    return int(dims[0]) if dims else int(len(output.shape) > 0)  # type: ignore[arg-type]


def _argmax_width(node: ir.Node) -> int:
    """Scores per example that the label is the largest of; 0 where an example has several labels, or none is known."""
    source = node.inputs[0]
    if source is None or source.shape is None:
        return 0
    rank = len(source.shape)
    axis = node.attributes.get_int("axis", 0) % rank
    size = source.shape[axis]
    one_label = axis > 0 and all(source.shape[other] == 1 for other in range(1, rank) if other != axis)
    return size if isinstance(size, int) and one_label else 0


def _measured(session: Session, given: Inputs, shape: tuple[int, ...]) -> dict[str, int]:
    """What one run at that shape gives: the scores per example of every floating-point output."""
    batch = shape[0]
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    widths = {}
    for output, value in zip(session.outputs.values(), session.run(given.feeds(x)), strict=True):
        if output.type not in FLOATS:
            continue
        dims = value.shape[1:] if value.shape and value.shape[0] == batch else value.shape
        other = [d for d in dims if d != 1]
        is_scores = len(other) <= 1 and value.size and value.size % batch == 0
        widths[output.name] = value.size // batch if is_scores else 0
    return widths


def _scores_output(
    outputs: tuple[Tensor, ...],
    heads: dict[str, Head],
    widths: dict[str, int],
    name: str | None,
    *,
    single: bool,
    decided: bool,
) -> Tensor:
    """single: whether only an output of one number will do; decided: whether one of one number says enough, since it was said
    how it decides."""
    listed = ", ".join(f"'{o.name}' {written(o)}" for o in outputs)
    if name is not None:
        outputs = tuple(o for o in outputs if o.name == name)
        if not outputs:
            raise ModelError(f"the model has no output '{name}'; it has {listed}")
    candidates = [o for o in outputs if o.type not in _LABELS and widths[o.name] > 0]
    if single:
        candidates = [o for o in candidates if widths[o.name] == 1]
        if not candidates:
            raise ModelError(
                f"--threshold is for an output of one number per example, and the model has none: {listed}"
            )
    several = [o for o in candidates if decided or widths[o.name] > 1 or heads[o.name].operator == "Sigmoid"]
    if len(several) > 1:
        raise ModelError(f"the model has several outputs that may be class scores: {listed}; name one with --output")
    if several:
        return several[0]
    if candidates:
        raise ModelError(
            f"output '{candidates[0].name}' is a single number per example without a Sigmoid: a regression, or a "
            "binary score whose threshold is not known; say it with --threshold, or export class scores or the probability"
        )
    labels = [o for o in outputs if o.type in _LABELS]
    for label in labels:
        if widths[label.name] > 1:
            return label
    if labels:
        raise ModelError(
            f"the model gives only a label ({listed}), and not out of how many classes; export scores too"
        )
    raise ModelError(
        f"no output is a row of class scores per example, of shape (N, classes): {listed}; "
        "cut the model behind its class scores, or give static image sizes where these depend on them"
    )


def _operators(model: onnx.ModelProto) -> dict[str, int]:
    counts = Counter(n.op_type if n.domain in STANDARD else f"{n.domain}::{n.op_type}" for n in all_nodes(model))
    return dict(sorted(counts.items()))


def _parameters(model: onnx.ModelProto) -> int:
    tensors = list(model.graph.initializer)
    tensors += [a.t for n in all_nodes(model) if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    counting = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING)
    return sum(int(np.prod(t.dims, dtype=np.int64)) for t in tensors if t.data_type not in counting)


def _layout(graph: ir.Graph, name: str, shape: tuple[int | None, ...]) -> Layout | None:
    """Told by the first node where it is plain, else by which axis has as many entries as images have channels."""
    if len(shape) != 4:
        return None
    value = next(v for v in graph.inputs if v.name == name)
    for node, _ in value.uses():
        if node.op_type == "Conv":
            return "NCHW"
        if node.op_type == "Transpose" and list(node.attributes.get_ints("perm", ())) == [0, 3, 1, 2]:
            return "NHWC"
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first == last:
        return None
    return "NCHW" if first else "NHWC"
