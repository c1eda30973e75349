"""A saturating end of a model, and the scores behind it.

Where every class' score goes through the same rising function at the end, such as a sigmoid, the order of the scores is that
of what goes in, and only their slopes die out: attacks then follow what goes in (Carlini & Wagner 2017, on defensive
distillation). What counts is decided by the upload, for which two large scores may be equal that are not so behind: `band`
says up to where it tells them apart, and only there an attack takes a point for broken.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from auditor import runtime
from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.head import PASSING
from auditor.graph.plain import ClassifierGraph, serialise, within_rows
from auditor.graph.readout import ending_at

_RISING = {"Sigmoid", "Tanh", "Softsign", "Erf", "Exp"}  # and flat somewhere
_OF_A_ROW = {"Softmax", "LogSoftmax"}
_SIZES = 2.0 ** np.arange(-10, 20, 0.125)  # of what goes in
_SHOWN = 1 / 256  # of it, a change that has to show in the scores
_ROUNDING = np.finfo(np.float32).eps  # of a score, by which two runs of the same may differ


def unsaturated(graph: ClassifierGraph) -> ClassifierGraph:
    """The graph up to what goes into the first of the rising functions at its end, with nothing between these and the scores
    but what keeps the order within each row; the graph itself where there is none."""
    value, behind, alone = graph.logits, None, True
    while (node := value.producer()) is not None and node.domain == "" and _keeps_order(node, graph):
        (value,) = [v for v in node.inputs if v is not None and constant_of(v) is None]
        alone = alone and node.op_type not in _OF_A_ROW
        if node.op_type in _RISING | _OF_A_ROW:
            behind = value
    if behind is None:
        return graph
    return replace(ending_at(graph, behind), band=_band(graph, behind) if alone else None)


def outdone(op: Builder, scores: ir.Value, y: ir.Value, band: tuple[float, float]) -> ir.Value:
    """Scores of which another is above the label's exactly where the upload tells it so: the others' end above, the label's
    below. Within both ends they are as they were, and the label's own never loses its slope on the way down."""
    lower, upper = (op.const(end, like=scores) for end in band)
    number = op.const(np.arange(shape_of(scores)[1], dtype=np.int64)[None, :])
    own = op.Equal(number, op.Unsqueeze(y, op.ints([1])))
    return op.Where(own, op.Max(scores, lower), op.Min(scores, upper))


def _band(graph: ClassifierGraph, behind: ir.Value) -> tuple[float, float]:
    """Between which ends of what goes in the scores rise with it in float32, by a share of itself that shows."""
    model = graph.model.clone()
    start = next(v for node in model.graph for v in node.outputs if v.name == behind.name)
    fed = ir.Value(name="fed", shape=start.shape, type=start.type)
    for node, index in list(start.uses()):
        node.replace_input_with(index, fed)
    model.graph.inputs[:] = [fed]
    passes.RemoveUnusedNodesPass()(model)
    session, shape = runtime.Session(serialise(model)), shape_of(behind)

    def scores(values: np.ndarray) -> np.ndarray:
        rows = -(-len(values) // prod(shape)) * prod(shape)
        padded = np.resize(values, rows).astype(np.float32).reshape(-1, *shape)
        return np.concatenate([session.run({"fed": part}, [graph.logits.name])[0].ravel() for part in padded])[
            : len(values)
        ]

    ends = []
    for sign in (-1, 1):
        here, before = scores(sign * _SIZES), scores(sign * _SIZES * (1 - _SHOWN))
        rises = sign * (here - before) > _ROUNDING * np.abs(here)
        last = len(rises) - 1 - np.argmax(rises[::-1])
        ends.append(sign * float(_SIZES[last]) if rises.any() else sign * np.inf)
    return ends[0], ends[1]


def _keeps_order(node: ir.Node, graph: ClassifierGraph) -> bool:
    """Whether the scores of each example are in the same order after the node as before it."""
    live = [v for v in node.inputs if v is not None and constant_of(v) is None]
    if len(live) != 1 or (live[0] is not node.inputs[0] and node.op_type not in ("Add", "Mul")):
        return False
    constants = [array for v in node.inputs if v is not None and (array := constant_of(v)) is not None]
    if node.op_type in _ALIKE:
        (constant,) = constants
        return bool(np.ptp(constant) == 0) and _ALIKE[node.op_type](float(constant.flat[0]))
    if node.op_type in ("MatMul", "Gemm"):
        return _is_identity(node, constants)
    if node.op_type in _OF_A_ROW:
        return within_rows(node, graph.classes, graph.batch)
    return node.op_type in _RISING or node.op_type in PASSING


# Of an operation with one number for all scores.
_ALIKE: dict[str, Callable[[float], bool]] = {
    "Add": np.isfinite,
    "Sub": np.isfinite,
    "Mul": lambda number: number > 0,
    "Div": lambda number: number > 0,
}


def _is_identity(node: ir.Node, constants: list[np.ndarray]) -> bool:
    """Up to a positive factor, and a number that is added to all."""
    weight, *bias = constants
    if weight.ndim != 2 or weight.shape[0] != weight.shape[1] or node.attributes.get_int("transA", 0):
        return False
    factor = float(weight[0, 0]) * node.attributes.get_float("alpha", 1.0)
    kept = np.array_equal(weight, weight[0, 0] * np.eye(len(weight), dtype=weight.dtype))
    return factor > 0 and kept and all(np.ptp(b) == 0 for b in bias)
