"""From bytes to an ONNX model that is safe to hand on: parsed, self-contained, standard, checked.

Nothing outside the bytes is read and nothing is run. Every refusal is a ModelError of one sentence that says what
the file is or holds, and what to do about it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from auditor.errors import ModelError
from auditor.graph.formats import cut_short, described

WORKING_OPSET = 26  # the newest that ONNX Runtime 1.31 runs; every model is raised to it
WORKING_IR_VERSION = 13
STANDARD = ("", "ai.onnx")
DOMAINS = (*STANDARD, "ai.onnx.ml", "com.microsoft")

# ONNX Runtime knew these in the standard's own domain before the standard had them, and its optimiser wrote them.
EARLY_OPERATORS = {"LayerNormalization": 17, "SimplifiedLayerNormalization": WORKING_OPSET + 1}


def load(data: bytes) -> onnx.ModelProto:
    """Parse and check an upload. ModelError says why it cannot be audited."""
    model = _parse(data)
    _refuse_external_data(model)
    _refuse_unknown_operators(model)
    _refuse_newer_versions(model)
    _refuse_training_mode(model)
    _check(model)
    return model


def to_ir(model: onnx.ModelProto) -> ir.Model:
    """The same model as objects. The type of ZipMap's output, which onnx_ir has no words for, is left out."""
    if any(o.type.HasField("sequence_type") for o in model.graph.output):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        for output in copy.graph.output:
            if output.type.HasField("sequence_type"):
                output.ClearField("type")
        model = copy
    with damage_told():
        return ir.from_proto(model)


def from_ir(model: ir.Model) -> onnx.ModelProto:
    """Back again."""
    with damage_told():
        return ir.to_proto(model)


@contextmanager
def damage_told() -> Iterator[None]:
    """What neither the parser nor the standard's checker finds, such as names that are no text."""
    try:
        yield
    except (ir.serde.SerdeError, UnicodeError, TypeError, ValueError) as error:
        raise ModelError(
            "the model file is damaged: its graph cannot be read; export or download it again"
        ) from error


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those inside If, Loop and Scan included."""
    return _with_subgraphs(graph.node)


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of the graph and of the file's functions."""
    yield from nodes_of(model.graph)
    for function in model.functions:
        yield from _with_subgraphs(function.node)


def default_opset(model: onnx.ModelProto) -> int:
    """The version of the standard domain; 0 when the file imports other domains alone."""
    return next((o.version for o in model.opset_import if o.domain in STANDARD), 0)


def _with_subgraphs(nodes: Iterator[onnx.NodeProto] | list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _with_subgraphs(graph.node)


def _parse(data: bytes) -> onnx.ModelProto:
    if not data:
        raise ModelError("the model file is empty")
    other = described(data)
    if other is not None:
        raise ModelError(f"the model file is not ONNX but {other}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        what = cut_short(data) or "is not ONNX, or is damaged"
        raise ModelError(f"the model file {what}; export or download it again") from error
    if not model.HasField("graph") or not model.graph.node:
        raise ModelError("the model file holds no graph; it is not ONNX, or it was cut short")
    if not model.opset_import:
        raise ModelError("the model file imports no operator set; it is not whole, or its exporter is broken")
    return model


def _refuse_external_data(model: onnx.ModelProto) -> None:
    names = [
        t.name or "(unnamed)"
        for t in tensors_of(model)
        if t.data_location == onnx.TensorProto.EXTERNAL or t.external_data
    ]
    if names:
        raise ModelError(
            f"{len(names)} tensors, such as '{names[0]}', keep their values in another file; "
            "save the model as one file (onnx.save with save_as_external_data=False)"
        )


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor: initializers, dense and sparse, and attributes, in subgraphs and functions too."""
    graphs = [model.graph, *(g for t in model.training_info for g in (t.initialization, t.algorithm))]
    attributes = [a for f in model.functions for a in f.attribute_proto]
    attributes += [a for f in model.functions for n in f.node for a in n.attribute]
    while graphs or attributes:
        while graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            attributes += [a for n in graph.node for a in n.attribute]
        while attributes:
            attribute = attributes.pop()
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs += [attribute.g, *attribute.graphs]


def _refuse_unknown_operators(model: onnx.ModelProto) -> None:
    own = {(f.domain, f.name) for f in model.functions}
    unknown = sorted(
        {
            f"{n.domain}::{n.op_type}"
            for n in all_nodes(model)
            if n.domain not in DOMAINS and (n.domain, n.op_type) not in own
        }
    )
    if unknown:
        raise ModelError(
            f"the model needs custom operators, which are not run: {', '.join(unknown)}; export it with "
            "standard operators, or with the custom ones as functions inside the file"
        )


def _refuse_newer_versions(model: onnx.ModelProto) -> None:
    imports = [*model.opset_import, *(o for f in model.functions for o in f.opset_import)]
    newest = max((o.version for o in imports if o.domain in STANDARD), default=0)
    if newest > WORKING_OPSET:
        raise ModelError(
            f"the model is written for opset {newest}, and ONNX Runtime runs up to {WORKING_OPSET}; "
            f"export it with opset_version={WORKING_OPSET} or lower"
        )
    if model.ir_version > WORKING_IR_VERSION:
        raise ModelError(
            f"the model has IR version {model.ir_version}, and ONNX Runtime reads up to {WORKING_IR_VERSION}; "
            "export it with an older onnx"
        )


def _refuse_training_mode(model: onnx.ModelProto) -> None:
    for node in all_nodes(model):
        if node.domain in STANDARD and _trains(node, default_opset(model)):
            raise ModelError(
                f"{node.op_type} (node '{node.name or node.output[0]}') is in training mode, so that the model's "
                "answers depend on the batch; export it in evaluation mode (model.eval())"
            )


def _trains(node: onnx.NodeProto, opset: int) -> bool:
    if node.op_type != "BatchNormalization":
        return False
    declared = any(a.name == "training_mode" and a.i for a in node.attribute)
    return declared or (7 <= opset < 14 and any(node.output[1:]))


def _check(model: onnx.ModelProto) -> None:
    """The standard's own checker, blind to operators that ONNX Runtime knew before the standard did."""
    opset = default_opset(model)
    early = any(opset < EARLY_OPERATORS.get(n.op_type, 0) for n in all_nodes(model) if n.domain in STANDARD)
    if early:
        model = hide_early_operators(model)
    try:
        with damage_told():
            onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        _refuse_wrong_label(model, opset)
        first = " ".join(str(error).split("==>")[0].split())
        raise ModelError(f"the model breaks the ONNX standard: {first}") from error


def _refuse_wrong_label(model: onnx.ModelProto, opset: int) -> None:
    """PyTorch's exporter falls back to the number 18, not to its operators, where it cannot convert to another."""
    newer = {n.op_type for n in all_nodes(model) if n.domain in STANDARD and not onnx.defs.has(n.op_type, opset)}
    newer = {operator for operator in newer if onnx.defs.has(operator)}
    if newer:
        raise ModelError(
            f"the model says that it is of opset {opset} but uses newer operators ({', '.join(sorted(newer))}), and ONNX "
            "Runtime cannot load it; export it with another opset_version, such as 20"
        )


def hide_early_operators(model: onnx.ModelProto, domain: str = "com.microsoft") -> onnx.ModelProto:
    """A copy in which the operators that came before their standard stand in another domain."""
    opset, copy = default_opset(model), onnx.ModelProto()
    copy.CopyFrom(model)
    for node in all_nodes(copy):
        if node.domain in STANDARD and opset < EARLY_OPERATORS.get(node.op_type, 0):
            node.domain = domain
    if all(o.domain != domain for o in copy.opset_import):
        copy.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    return copy
