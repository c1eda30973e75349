"""From a plain classifier graph to the models that run: scores alone, scores with a loss and its gradient, and scores with
the gradient along a direction among them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial

import onnx
import onnx.inliner
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from auditor import runtime
from auditor.autodiff.blocked import keep_blocked
from auditor.autodiff.control import CONTROL, live_inside
from auditor.autodiff.gradient import backward, depends_on, passes, rule_of
from auditor.autodiff.losses import loss_heads, mean_cross_entropy
from auditor.autodiff.partition import join_slices
from auditor.autodiff.rules import Policy
from auditor.errors import NoGradient
from auditor.graph.bodies import bodies, captured
from auditor.graph.build import Builder, shape_of
from auditor.graph.plain import ClassifierGraph, serialise
from auditor.graph.recurrent import RECURRENT, spell_out_all
from auditor.graph.saturation import outdone

LOSS, GRADIENT = "auditor_loss", "auditor_gradient"
ALONG = "auditor_along"
LABEL, TARGET, CHOICE = "auditor_y", "auditor_target", "auditor_choice"


def forward_model(graph: ClassifierGraph) -> bytes:
    """Serialised ONNX: x -> logits, by the graph's own names."""
    if graph.band is None:
        return serialise(graph.model)
    model = graph.model.clone()
    _within(Builder(model.graph), model, model.graph.outputs[0], graph.band)
    return serialise(model)


def _within(op: Builder, model: ir.Model, logits: ir.Value, band: tuple[float, float]) -> ir.Value:
    """The scores given as the upload tells them apart, under their own name."""
    (place,) = (i for i, output in enumerate(model.graph.outputs) if output is logits)
    name, logits.name = logits.name, f"{logits.name}/whole"
    clipped = op.Clip(logits, *(op.const(end, like=logits) for end in band))
    clipped.name = name
    model.graph.outputs[place] = clipped
    return clipped


def gradient_model(graph: ClassifierGraph, *, device: runtime.Device = "cpu", policy: Policy = "true") -> bytes:
    """Serialised ONNX: x, LABEL, TARGET, CHOICE -> logits, LOSS, GRADIENT (d sum of LOSS / d x).

    Rows do not mix: the gradient of a row is that of its own loss. policy: which surrogates stand in for true slopes; the
    logits are the model's in any case. Raises NoGradient where a rule is missing.
    """
    op, model, x, logits = _opened(graph, device, policy)
    y, target, choice = (_int_input(model, name, graph.batch) for name in (LABEL, TARGET, CHOICE))
    scores, own, aim = graph.reading.append(op, logits, y, target)
    if graph.band is not None and not graph.aimed:
        scores = outdone(op, scores, own, graph.band)
    loss = loss_heads(op, scores, own, aim, choice)
    ones = op.Expand(op.const(1.0, like=loss), op.ints([graph.batch]))
    (g,) = backward(op, {loss: ones}, [x], policy=policy)
    if graph.band is not None:
        logits = _within(op, model, logits, graph.band)
    return _closed(op, model, x, logits, {LOSS: loss}, g)


def pull_model(graph: ClassifierGraph, *, device: runtime.Device = "cpu", policy: Policy = "true") -> bytes:
    """Serialised ONNX: x, ALONG (batch, classes) -> logits, GRADIENT (d sum of logits * ALONG / d x). Otherwise as
    `gradient_model`."""
    op, model, x, logits = _opened(graph, device, policy)
    along = ir.val(ALONG, dtype=ir.DataType.FLOAT, shape=[graph.batch, graph.classes])
    model.graph.inputs.append(along)
    (g,) = backward(op, {logits: along}, [x], policy=policy)
    return _closed(op, model, x, logits, {}, g)


def _opened(
    graph: ClassifierGraph, device: runtime.Device, policy: Policy
) -> tuple[Builder, ir.Model, ir.Value, ir.Value]:
    """A copy to append to, and its input and scores."""
    graph = expand(graph, policy)
    model = graph.model.clone()
    x = next(v for v in model.graph.inputs if v.name == graph.x.name)
    logits = next(v for v in model.graph.outputs if v.name == graph.logits.name)
    op = Builder(model.graph, device=device)
    join_slices(op, model)
    return op, model, x, logits


def _closed(
    op: Builder, model: ir.Model, x: ir.Value, logits: ir.Value, results: Mapping[str, ir.Value], g: ir.Value | None
) -> bytes:
    """The model with its results and the gradient `g` as outputs, checked."""
    if g is None:
        raise NoGradient("graph", logits.name or "", "no differentiable path leads from the input to the scores")
    if shape_of(g) != shape_of(x) or g.dtype != x.dtype:
        raise AssertionError(f"the gradient is {g.dtype}{g.shape}, its input {x.dtype}{x.shape}")
    for name, value in {**results, GRADIENT: g}.items():
        output = op.Identity(value)
        output.name = name
        model.graph.outputs.append(output)
    if op.device == "cpu":
        keep_blocked(op, model)
    NameFixPass()(model)  # a graph that was cut may hold names that the builder gives once more
    data = serialise(model)
    onnx.checker.check_model(data, full_check=True)
    return data


def training_model(data: bytes, x: str, *, device: runtime.Device = "cpu") -> bytes:
    """Serialised ONNX: x, LABEL, weights -> LOSS (the mean cross-entropy) and, per weight, `slope(weight)`.

    data: a network of one output, the (batch, classes) logits, whose inputs are x and its weights, all shapes static.
    Raises NoGradient where a rule is missing.
    """
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(data), strict_mode=True, data_prop=True)
    model = ir.from_proto(inferred)
    weights = [v for v in model.graph.inputs if v.name != x]
    (logits,) = model.graph.outputs
    op = Builder(model.graph, device=device)
    loss = mean_cross_entropy(op, logits, _int_input(model, LABEL, shape_of(logits)[0]))
    slopes = backward(op, {loss: op.const(1.0, like=loss)}, weights)
    model.graph.outputs.clear()
    for name, value in ((LOSS, loss), *((slope(str(w.name)), g) for w, g in zip(weights, slopes, strict=True))):
        if value is None:
            raise NoGradient("graph", name, "no differentiable path leads from a weight to the scores")
        output = op.Identity(value)
        output.name = name
        model.graph.outputs.append(output)
    trained = serialise(model)
    onnx.checker.check_model(trained, full_check=True)
    return trained


def slope(weight: str) -> str:
    """The name of the output that holds the gradient with respect to a weight."""
    return f"{GRADIENT}/{weight}"


def expand(graph: ClassifierGraph, policy: Policy = "true") -> ClassifierGraph:
    """Spell out every live operator that has no rule."""
    wanted = {node.op_type for node in without_rule(graph, policy) if is_spelt_out(node)}
    if not wanted:
        return graph
    model = spell_out(graph.model.clone(), wanted)
    x = next(v for v in model.graph.inputs if v.name == graph.x.name)
    logits = next(v for v in model.graph.outputs if v.name == graph.logits.name)
    return replace(graph, model=model, x=x, logits=logits)


def is_spelt_out(node: ir.Node) -> bool:
    """Whether an operator without a rule of its own has one as others."""
    if node.domain not in ("", "ai.onnx"):
        return False
    schema = onnx.defs.get_schema(node.op_type)
    return node.op_type in RECURRENT or schema.has_function or schema.has_context_dependent_function


def spell_out(model: ir.Model, operators: Collection[str]) -> ir.Model:
    """Put others in the place of these operators: the standard's own function body, or, of recurrent ones, a Scan over
    their steps. `model`, whose shapes are static, is changed."""
    if any(operator in RECURRENT for operator in operators):
        spell_out_all(model)
    bodied = [("", operator) for operator in sorted(operators) if operator not in RECURRENT]
    proto = onnx.load_from_string(serialise(model))
    try:
        proto = onnx.inliner.inline_selected_functions(proto, bodied, inline_schema_functions=True)
    except RuntimeError as error:
        raise NoGradient(bodied[0][1], "", "onnx cannot write its function body out for these inputs") from error
    folded = onnx.load_from_string(runtime.fold(proto.SerializeToString()))
    return ir.from_proto(onnx.shape_inference.infer_shapes(folded, strict_mode=True, data_prop=True))


def without_rule(graph: ClassifierGraph, policy: Policy = "true") -> Iterable[ir.Node]:
    """The nodes on a path from the input to the scores that some live input has no rule for, in graph order."""
    return (node for node, index in on_the_way(graph, policy) if rule_of(node, index, policy) is None)


def on_the_way(graph: ClassifierGraph, policy: Policy) -> Iterable[tuple[ir.Node, int]]:
    """The nodes that a gradient passes between the scores and the input, and by which of their inputs, in graph order;
    of an If, Loop or Scan, those inside."""
    return _between(list(graph.model.graph), {graph.x}, {graph.logits}, policy)


def _between(
    nodes: list[ir.Node], start: set[ir.Value], ends: set[ir.Value], policy: Policy
) -> list[tuple[ir.Node, int]]:
    live = depends_on(nodes, start, policy)
    needed = set(ends)
    found: list[tuple[ir.Node, int]] = []
    for node in reversed(nodes):
        if not any(y in needed and y in live for y in node.outputs):
            continue
        if node.op_type in CONTROL:
            entered, _ = live_inside(node, live, partial(depends_on, policy=policy))
            needed.update(v for v in (*node.inputs, *captured(node)) if v in live)
            for body in reversed(bodies(node)):
                found += reversed(_between(list(body), entered, set(body.outputs), policy))
            continue
        for index, value in enumerate(node.inputs):
            if value is not None and value in live and passes(node, index, policy):
                needed.add(value)
                found.append((node, index))
    return found[::-1]


def _int_input(model: ir.Model, name: str, batch: int) -> ir.Value:
    value = ir.val(name, dtype=ir.DataType.INT64, shape=[batch])
    model.graph.inputs.append(value)
    return value
