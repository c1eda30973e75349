"""Random numbers inside a model: kept while it is attacked, stilled where two graphs are compared.

What draws by a distribution of its own is spelt out as uniform draws and a comparison: the same distribution, which a
gradient can be followed through, and which can be stilled in every graph alike.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx.helper import make_node

from auditor.graph.load import STANDARD, all_nodes

# The newest opset at which ONNX Runtime 1.31 has kernels for them.
LAST_OPSET = 21

_NORMAL = ("RandomNormal", "RandomNormalLike")
_UNIFORM = ("RandomUniform", "RandomUniformLike")
_NO_SPREAD = 1e-30  # zero is no standard deviation


def is_random(model: onnx.ModelProto) -> bool:
    """Whether a node draws at random."""
    constants = constants_of(model)
    return any(_draws(node) or _spelling(node, constants) is not None for node in all_nodes(model))


def spelled_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with every Bernoulli and Multinomial, and every Dropout in training mode, as uniform draws; changes
    `model`."""
    constants = constants_of(model)
    graphs = [model.graph, *model.functions]
    while graphs:
        holder = graphs.pop()
        nodes = list(holder.node)
        graphs += [g for n in nodes for a in n.attribute for g in (a.g, *a.graphs) if g.node]
        if any(_spelling(node, constants) is not None for node in nodes):
            del holder.node[:]
            for node in nodes:
                holder.node.extend(_spelling(node, constants) or [node])
    return model


def constants_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Every stored tensor by the name of its value."""
    made = (n for n in all_nodes(model) if n.op_type == "Constant")
    stored = {t.name: t for t in model.graph.initializer}
    return stored | {n.output[0]: a.t for n in made for a in n.attribute if a.name == "value"}


def _spelling(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto] | None:
    """The nodes that say the same by uniform draws, or None."""
    if node.domain in STANDARD and node.op_type == "Bernoulli":
        return list(_bernoulli(node))
    if node.domain in STANDARD and node.op_type == "Multinomial":
        return list(_multinomial(node))
    if node.domain in STANDARD and node.op_type == "Dropout" and in_training(node, constants):
        return list(_dropout(node))
    return None


def in_training(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether a Dropout is switched on, by a constant."""
    mode = constants.get(node.input[2]) if len(node.input) > 2 else None
    return mode is not None and bool(onnx.numpy_helper.to_array(mode).any())


def _bernoulli(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """As ONNX Runtime runs it: by the standard's function body, which gives 1 where the draw is greater."""
    (p,), (y,) = node.input, node.output
    kind = next((a.i for a in node.attribute if a.name == "dtype"), 0)
    yield make_node("RandomUniformLike", [p], [f"{y}/draw"])
    yield make_node("Greater", [f"{y}/draw", p], [f"{y}/hit"], name=node.name)
    yield make_node("Cast", [f"{y}/hit"], [y], to=kind) if kind else make_node("CastLike", [f"{y}/hit", p], [y])


def _dropout(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    x, y = node.input[0], node.output[0]
    mask = node.output[1] if len(node.output) > 1 and node.output[1] else f"{y}/mask"
    ratio = node.input[1] or f"{y}/ratio"
    if not node.input[1]:
        yield make_node("Constant", [], [ratio], value_float=0.5)
    yield make_node("Constant", [], [f"{y}/one"], value_float=1.0)
    yield make_node("Constant", [], [f"{y}/zero"], value_float=0.0)
    yield make_node("RandomUniformLike", [x], [f"{y}/draw"])
    yield make_node("GreaterOrEqual", [f"{y}/draw", ratio], [mask], name=node.name)
    yield make_node("Sub", [f"{y}/one", ratio], [f"{y}/kept"])
    yield make_node("Div", [x, f"{y}/kept"], [f"{y}/scaled"])
    yield make_node("Where", [mask, f"{y}/scaled", f"{y}/zero"], [y])


def _multinomial(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The largest of the log-probabilities, to each of which Gumbel noise is added, is a draw by them (Gumbel 1954). (n, classes)
    -> (n, sample_size); by operators that every opset has which knows Multinomial."""
    (x,), (y,) = node.input, node.output
    said = {a.name: a.i for a in node.attribute}
    samples, kind = said.get("sample_size", 1), said.get("dtype", onnx.TensorProto.INT32)
    rows = onnx.numpy_helper.from_array(np.array([0, 1, -1]))
    copies = onnx.numpy_helper.from_array(np.zeros((1, samples, 1), np.float32))
    yield make_node("Constant", [], [f"{y}/rows"], value=rows)
    yield make_node("Constant", [], [f"{y}/copies"], value=copies)
    yield make_node("Reshape", [x, f"{y}/rows"], [f"{y}/row"])
    yield make_node("Add", [f"{y}/row", f"{y}/copies"], [f"{y}/each"])
    yield make_node("RandomUniformLike", [f"{y}/each"], [f"{y}/draw"])
    yield make_node("Log", [f"{y}/draw"], [f"{y}/log"])
    yield make_node("Neg", [f"{y}/log"], [f"{y}/exponential"])
    yield make_node("Log", [f"{y}/exponential"], [f"{y}/gumbel"])
    yield make_node("Sub", [f"{y}/each", f"{y}/gumbel"], [f"{y}/noisy"])
    place = y if kind == onnx.TensorProto.INT64 else f"{y}/place"
    yield make_node("ArgMax", [f"{y}/noisy"], [place], name=node.name, axis=2, keepdims=0)
    if place != y:
        yield make_node("Cast", [place], [y], to=kind)


def stilled(data: bytes) -> bytes:
    """Serialised ONNX whose noise always is its mean, so that what is left is a function of the input."""
    model = onnx.load_from_string(data)
    if not is_random(model):
        return data
    spelled_out(model)
    for node in filter(_draws, all_nodes(model)):
        spread = {a.name: a for a in node.attribute}
        if node.op_type in _NORMAL:
            fixed = {"scale": _NO_SPREAD}
        else:
            low, high = (
                spread[name].f if name in spread else default for name, default in (("low", 0.0), ("high", 1.0))
            )
            fixed = {"low": (low + high) / 2, "high": (low + high) / 2}
        for name in fixed.keys() & spread.keys():
            node.attribute.remove(spread[name])
        node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in fixed.items())
    return model.SerializeToString()


def _draws(node: onnx.NodeProto) -> bool:
    return node.domain in STANDARD and node.op_type in (*_NORMAL, *_UNIFORM)
