"""A model made plain: one opset, no functions, static shapes, folded constants, logits at the end.

After this every gradient rule is small. The plain graph is compared with the upload on random inputs before anything
is built on it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from auditor.errors import ModelError
from auditor.graph.batch import rebatch
from auditor.graph.build import Builder, shape_of
from auditor.graph.equal import differences, rows_mix
from auditor.graph.flatten import decides_for_all
from auditor.graph.freeze import freeze
from auditor.graph.head import SQUASHING, softmax_in_steps, trace
from auditor.graph.labelset import centre
from auditor.graph.load import from_ir, to_ir
from auditor.graph.normalise import append_normalisation
from auditor.graph.opset import raise_opset
from auditor.graph.precision import (
    COARSE_TOLERANCE,
    TOLERANCE,
    in_single_precision,
    is_half,
    is_quantised,
    with_float_input,
)
from auditor.graph.randomness import spelled_out
from auditor.graph.reading import EXCLUSIVE, Reading
from auditor.graph.refusal import append_rejection
from auditor.graph.upload import Upload
from auditor.spec import Normalisation


@dataclass(frozen=True)
class ClassifierGraph:
    """A classifier as a graph of one opset whose every shape is static.

    x: (batch, *shape) float32 in the domain's units, before normalisation. logits: (batch, classes) float32; the
    largest decides as the upload does, of several labels those above 0; one of them is a detector's rejection, where there
    is a detector. reading: how losses take them. band: beyond these two ends the upload takes
    scores for equal, see `auditor.graph.saturation`. aimed: whether losses are asked of a target, in the label's place.
    """

    model: ir.Model
    x: ir.Value
    logits: ir.Value
    classes: int
    shape: tuple[int, ...]
    batch: int
    reading: Reading = EXCLUSIVE
    band: tuple[float, float] | None = None
    aimed: bool = False


def make_plain(
    upload: Upload, *, batch: int, shape: tuple[int, ...] | None = None, normalisation: Normalisation | None = None
) -> ClassifierGraph:
    """The upload as a plain graph at one batch shape, its declared normalisation in front.

    shape: of one example, needed where the file leaves axes open. The graph's `batch` says what was reached: a file
    whose rows mix, or whose batch is fixed and cannot be changed, keeps its own.
    ModelError says why the file cannot be made plain; SpecError why the normalisation does not fit.
    """
    shape = _example_shape(upload, shape)
    raised = in_single_precision(raise_opset(_scores_only(upload)))
    models = [raised] if upload.levels is None else [with_float_input(raised, upload.input), raised]
    cores = [core for model in models for core in _cores(upload, model, batch, shape)]
    return _first_proven(upload, cores, normalisation)


def _cores(
    upload: Upload, raised: onnx.ModelProto, batch: int, shape: tuple[int, ...]
) -> Iterator[Callable[[], ir.Model]]:
    """Frozen at that batch, then at others."""
    if upload.fixed_batch is None:
        for size in (batch, 1) if batch > 1 else (1,):
            yield partial(_frozen, upload, raised, (size, *shape))
        return

    @cache
    def core() -> ir.Model:
        return _frozen(upload, raised, (upload.fixed_batch or 1, *shape))

    if batch != upload.fixed_batch:
        for stays in (True, False):
            yield lambda stays=stays: rebatch(core(), upload.input, batch, stays=stays)  # type: ignore[misc]
    yield core


def _frozen(upload: Upload, raised: onnx.ModelProto, shape: tuple[int, ...]) -> ir.Model:
    """shape: of the attacked input, batch included."""
    upload.given.refuse_missing()
    return freeze(upload.given.built_in(raised, shape), upload.input, shape)


def _first_proven(
    upload: Upload, cores: Sequence[Callable[[], ir.Model]], normalisation: Normalisation | None
) -> ClassifierGraph:
    """The first that gives the upload's scores; the last one's reason when none does."""
    for core in cores[:-1]:
        with suppress(ModelError):
            return _proven(upload, core(), normalisation)
    return _proven(upload, cores[-1](), normalisation)


def _proven(upload: Upload, core: ir.Model, normalisation: Normalisation | None) -> ClassifierGraph:
    """Assemble around the frozen core and compare with the upload."""
    graph, squash = _assembled(upload, core, normalisation)
    if graph.batch > (upload.fixed_batch or 1) and decides_for_all(graph.model):
        raise ModelError("the input decides on a branch or on the length of a loop, which one batch has in common")
    data, file = serialise(graph.model), onnx.load_from_string(upload.data)
    half, coarse = is_half(file), is_half(file) or is_quantised(file)
    if coarse and rows_mix(data, batch=graph.batch, shape=graph.shape):
        raise ModelError(f"at batch {graph.batch} the scores of an example depend on the others")
    found = differences(
        upload,
        data,
        batch=graph.batch,
        shape=graph.shape,
        squash=squash,
        normalisation=normalisation,
    )
    if half:
        found = found[:-1]  # grey levels take too many of float16's eleven bits
    if np.isnan(found).all():
        raise ModelError("the model's scores are not finite on any random input")
    if not (worst := np.nanmax(found)) <= (COARSE_TOLERANCE if coarse else TOLERANCE):
        raise ModelError(
            f"raised from opset {upload.opset} to {core.opset_imports['']} and run at batch {graph.batch}, the model gives other "
            f"scores (by {worst:.1e} of their range) than the file run on each example alone"
        )
    return graph


def serialise(model: ir.Model) -> bytes:
    """The model as bytes, as ONNX Runtime takes them."""
    proto = ir.to_proto(model)
    if proto.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise ModelError("the graph is larger than the 2 GB that one ONNX file can hold")
    return proto.SerializeToString()


def _example_shape(upload: Upload, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    declared = upload.input_shape[1:]
    written = " x ".join("?" if d is None else str(d) for d in declared)
    if shape is None:
        if None in declared:
            raise ModelError(f"the model takes examples of shape {written}; say what the open axes are")
        return declared  # type: ignore[return-value]
    if len(shape) != len(declared) or any(d not in (None, s) for d, s in zip(declared, shape, strict=True)):
        raise ModelError(f"the model takes examples of shape {written}, not {' x '.join(map(str, shape))}")
    return shape


def _scores_only(upload: Upload) -> onnx.ModelProto:
    """The upload down to the tensors that decide: other outputs, ZipMap and ArgMax are gone."""
    model = to_ir(onnx.shape_inference.infer_shapes(spelled_out(onnx.load_from_string(upload.data))))
    graph = model.graph
    value = next(v for v in graph.outputs if v.name == upload.output)
    head = trace(value)
    for node in (*head.passed, head.node):
        if node is not None and node.op_type in ("ZipMap", "ArgMax"):
            value = node.inputs[0]
    value.dtype = value.dtype or ir.DataType.FLOAT  # all that a ZipMap takes
    detected = [v for v in graph.outputs if upload.detector is not None and v.name == upload.detector.output]
    graph.outputs[:] = [value, *detected]
    taken = {tensor.name for tensor in upload.inputs}  # old files list their weights among the inputs
    graph.inputs[:] = [v for v in graph.inputs if v.name in taken]
    passes.RemoveUnusedNodesPass()(model)
    return from_ir(model)


def _assembled(
    upload: Upload, model: ir.Model, normalisation: Normalisation | None
) -> tuple[ClassifierGraph, tuple[str, ...]]:
    """Normalisation in front, logits behind, float32 at both ends; and the operators that were left out."""
    graph = model.graph
    core = next(v for v in graph.inputs if v.name == upload.input)
    batch, *shape = shape_of(core)
    op = Builder(graph)
    x = ir.Value(name="x", shape=ir.Shape((batch, *shape)), type=ir.TensorType(ir.DataType.FLOAT))
    uses = list(core.uses())
    fed = append_normalisation(op, x, normalisation, upload.layout)
    if core.dtype != ir.DataType.FLOAT:
        fed = op.Cast(fed, to=core.dtype)
    for node, index in uses:
        node.replace_input_with(index, fed)
    graph.inputs[:] = [x]
    logits, squash = _append_logits(op, graph.outputs[0], upload, batch)
    if upload.detector is not None:
        logits = append_rejection(op, logits, graph.outputs[1], upload.detector, upload.weight)
    graph.outputs[:] = [logits]
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    graph.sort()
    _name(graph, x, logits)
    reading = Reading(multilabel=upload.multilabel)
    return ClassifierGraph(model, x, logits, upload.answers, tuple(shape), batch, reading), squash


def _append_logits(op: Builder, output: ir.Value, upload: Upload, batch: int) -> tuple[ir.Value, tuple[str, ...]]:
    """The frozen graph's scores -> (batch, classes) float32 logits, and the operators that were left out.

    Softmax, LogSoftmax and Sigmoid at the end are left out, where they work within each example, and a threshold moves to
    where they were; a single binary logit z becomes (0, z), a number with a threshold (threshold, number), and numbers about
    several labels lose the threshold.
    """
    head, value, threshold = trace(output), output, upload.threshold
    squash: tuple[str, ...] = ()
    inside = None if threshold is None else centre(threshold, head)
    if (
        (threshold is None or inside is not None)
        and head.node is not None
        and head.operator in SQUASHING
        and within_rows(head.node, upload.classes, batch)
    ):
        value, squash, threshold = head.read, head.squash, inside
    if value.dtype != ir.DataType.FLOAT:
        value = op.Cast(value, to=ir.DataType.FLOAT)
    wanted = (batch, upload.width)
    columns = value if shape_of(value) == wanted else op.Reshape(value, op.ints(wanted))
    if upload.label is not None:
        columns = op.Gather(columns, op.ints([upload.label]), axis=1)
    if upload.multilabel:
        columns = op.Sub(columns, op.const(np.float32(threshold or 0)))
    elif threshold is not None:
        columns = op.Concat(op.const(np.full((batch, 1), threshold, np.float32)), columns, axis=1)
    if upload.binary:
        columns = op.Concat(op.const(np.zeros((batch, 1), np.float32)), columns, axis=1)
        squash = ("Softmax",)
    return columns, squash


def within_rows(node: ir.Node, classes: int, batch: int) -> bool:
    """Whether the node keeps the order of the scores in each row of (batch, classes)."""
    if node.op_type == "Sigmoid":
        return True
    shape = shape_of(node.outputs[0])
    steps = softmax_in_steps(node)
    if steps is not None:
        return int(np.prod(shape)) == batch * classes and int(np.prod(shape_of(steps[1]))) == batch
    axis = node.attributes.get_int("axis", -1)
    before, after = shape[: axis % len(shape)], shape[axis % len(shape) + 1 :]
    return shape[axis] == classes and int(np.prod(before)) == batch and int(np.prod(after)) == 1


def _name(graph: ir.Graph, x: ir.Value, logits: ir.Value) -> None:
    """Our own names at the ends, a prefix on every other value, so that nodes appended later cannot collide."""
    values = [*graph.initializers.values(), *(y for node in graph for y in node.outputs)]
    for value in values:
        value.name = f"model/{value.name}"
    x.name, logits.name = "x", "logits"
    taken: set[str] = set()
    for node in graph:
        name = node.name or (node.outputs[0].name or "").removeprefix("model/")
        node.name = name if name not in taken else f"{name}/{len(taken)}"
        taken.add(node.name)
