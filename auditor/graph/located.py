"""The tree ensembles inside a plain graph, brought to the input's own units and to the scores: one sum of trees.

It is found where everything before the ensembles moves or scales single features, whatever scaler or normalisation that
is, and everything behind them is linear, or computed of one tree alone (a softmax at the end is gone from a plain graph).
A threshold on what a scaler gives is moved
in front of it by bisection over all float32 numbers, with the scaler run in ONNX Runtime: so it is exact whatever the
scaler rounds. What was found counts only when it gives the graph's scores on random inputs between the thresholds.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir

from auditor.graph.build import constant_of, shape_of
from auditor.graph.members import Member, read_members, weigh
from auditor.graph.parts import MOVING, between, cut
from auditor.graph.plain import ClassifierGraph, serialise
from auditor.graph.trees import Trees, arrays
from auditor.runtime import Session

_SCALING = {"Add", "Sub", "Mul", "Div", "Cast", "Relu", "Clip", "Sigmoid", "Tanh", "Neg", "Greater", "Max", "Min"}
_SPAN = (
    2**-21
)  # of a threshold: four roundings either way, by which another order of a scaler's arithmetic may differ
_PROBES = 64


def find_trees(graph: ClassifierGraph) -> Trees | None:
    """The graph as one sum of trees on its input, the scores `classes` many; None where it is no such thing."""
    members = read_members(graph)
    if members is None:
        return None
    before = between([graph.x], [member.node.inputs[0] for member in members], MOVING | _SCALING)
    if before is None:
        return None
    weights, offset = weigh(graph, members)
    trees: Trees | None
    if not before:
        summed = [(member.ensemble, weight) for member, weight in zip(members, weights, strict=True)]
        trees = arrays(summed, prod(graph.shape), offset)
    else:
        trees = _through(graph, members, before, weights, offset)
    return trees if trees is not None and _agrees(graph, trees) else None


def _through(
    graph: ClassifierGraph,
    members: list[Member],
    before: list[ir.Node],
    weights: list[np.ndarray],
    offset: np.ndarray,
) -> Trees | None:
    """The trees with every threshold moved in front of what is computed before them."""
    scaling = [node for node in before if node.op_type in _SCALING - {"Cast"}]
    if not all(map(_is_monotone, scaling)):
        return None
    parts = []
    slack = 0.0
    for member, weight in zip(members, weights, strict=True):
        read = member.node.inputs[0]
        part = arrays([(member.ensemble, weight)], shape_of(read)[1], np.zeros_like(offset))
        if part is None:
            return None
        moved = _Moved(graph, read, scaling).of(part)
        if moved is None:
            return None
        parts.append(moved)
        slack = max(slack, moved.slack)
    return replace(_joined(parts), offset=offset + sum(part.offset for part in parts), slack=slack)


def _is_monotone(node: ir.Node) -> bool:
    """Whether it takes one value that is not constant, and gives a monotone function of it."""
    moving = [i for i, value in enumerate(node.inputs) if value is not None and constant_of(value) is None]
    return len(moving) == 1 and (node.op_type != "Div" or moving == [0])


def _joined(parts: list[Trees]) -> Trees:
    leaves = np.cumsum([0, *(len(part.tree) for part in parts)])
    trees = np.cumsum([0, *(part.count for part in parts)])
    return replace(
        parts[0],
        tree=np.concatenate([part.tree + start for part, start in zip(parts, trees, strict=False)]),
        leaf=np.concatenate([part.leaf + start for part, start in zip(parts, leaves, strict=False)]),
        value=np.concatenate([part.value for part in parts]),
        feature=np.concatenate([part.feature for part in parts]),
        lower=np.concatenate([part.lower for part in parts]),
        upper=np.concatenate([part.upper for part in parts]),
    )


class _Moved:
    """What one ensemble reads, as a function of the graph's input: each column a monotone function of one feature."""

    def __init__(self, graph: ClassifierGraph, value: ir.Value | None, scaling: list[ir.Node]) -> None:
        assert value is not None
        self.d, self._shape = prod(graph.shape), (graph.batch, *graph.shape)
        self._run = self._rows(cut(graph, [graph.x], [value]))
        self._source = self._rows(_passing_on(graph, value, scaling))

    def _rows(self, model: bytes) -> Callable[[np.ndarray], np.ndarray]:
        """(d,) -> (columns,)"""
        session = Session(model, optimise="none")
        (name,) = session.inputs

        def run(row: np.ndarray) -> np.ndarray:
            batch = np.broadcast_to(row.astype(np.float32).reshape(self._shape[1:]), self._shape)
            return session.run({name: np.ascontiguousarray(batch)})[0][0]

        return run

    def of(self, part: Trees) -> Trees | None:
        """The same trees on the graph's input. None where a column is not of one feature."""
        source = self._source(np.arange(1, self.d + 1)).astype(np.int64) - 1
        if len(source) != part.features or not ((source >= 0) & (source < self.d)).all():
            return None  # a constant column among them
        ends = np.array([-1, 1], np.float32) * np.finfo(np.float32).max
        with np.errstate(over="ignore", invalid="ignore"):
            at_ends = [self._run(np.full(self.d, end)) for end in ends]
        if np.isnan(at_ends).any():
            return None
        rising = at_ends[1] >= at_ends[0]
        lower, upper = (
            self._crossing(part, source, rising, part.lower),
            self._crossing(part, source, rising, part.upper),
        )
        up = rising[part.feature]
        spans = []
        for threshold, exact in ((part.lower, lower), (part.upper, upper)):
            known = np.isfinite(exact)
            for way in (-1, 1):
                other = self._crossing(part, source, rising, threshold * np.float32(1 + way * _SPAN))
                spans.append(np.abs(other[known] - exact[known]))
        finite = np.concatenate([span[np.isfinite(span)] for span in spans])
        return replace(
            part,
            features=self.d,
            feature=source[part.feature],
            lower=np.where(up, lower, upper),
            upper=np.where(up, upper, lower),
            slack=float(finite.max(initial=0.0)),
        )

    def _crossing(self, part: Trees, source: np.ndarray, rising: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """Per condition the largest float32 x with column(x) <= threshold, where columns fall the largest with
        column(x) > threshold; -inf where none is, inf where all are. All conditions are bisected at once, one of each feature
        per run."""
        result = np.where(threshold == np.inf, np.float32(np.inf), np.float32(-np.inf))
        falls = ~rising[part.feature]
        result = np.where(falls, -result, result)
        todo = np.flatnonzero(np.isfinite(threshold))
        keys, inverse = np.unique(
            np.stack([part.feature[todo], threshold[todo].view(np.int32)]), axis=1, return_inverse=True
        )
        columns, wanted = keys[0].astype(np.int64), keys[1].astype(np.int32).view(np.float32)
        found = np.empty(len(columns), np.float32)
        for group in _apart(columns, source):
            column, target = columns[group], wanted[group]
            limit = _ordinal(np.float32(np.finfo(np.float32).max))
            low, high = np.full(len(group), -limit - 1), np.full(len(group), limit)  # low holds, or is below all
            while (high > low).any():
                middle = (low + high + 1) >> 1
                row = np.zeros(self.d, np.float32)
                row[source[column]] = _number(middle)
                seen = self._run(row)[column]
                holds = np.where(rising[column], seen <= target, seen > target)
                low, high = np.where(holds, middle, low), np.where(holds, high, middle - 1)
            found[group] = np.where(low < -limit, np.float32(-np.inf), _number(np.maximum(low, -limit)))
            found[group[low == limit]] = np.inf
        result[todo] = found[inverse.ravel()]
        return result.astype(np.float32)


def _apart(columns: np.ndarray, source: np.ndarray) -> Iterable[np.ndarray]:
    """Positions in groups, no two of a group on the same feature."""
    feature = source[columns]
    order = np.argsort(feature, kind="stable")
    first = np.searchsorted(feature[order], feature[order])
    rank = np.arange(len(order)) - first
    for turn in range(int(rank.max(initial=-1)) + 1):
        yield order[rank == turn]


def _ordinal(value: np.ndarray | np.float32) -> np.ndarray:
    """Finite float32 numbers by their order, int64; both zeros are 0."""
    bits = np.asarray(value, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _number(ordinal: np.ndarray) -> np.ndarray:
    """Back again."""
    magnitude = np.abs(ordinal).astype(np.int32).view(np.float32)
    return np.where(ordinal < 0, -magnitude, magnitude).astype(np.float32)


def _passing_on(graph: ClassifierGraph, value: ir.Value, scaling: list[ir.Node]) -> bytes:
    """The way to `value` with every scaling node left out: it says which feature each column is of."""
    names = {node.outputs[0].name for node in scaling}
    bare = replace(graph, model=graph.model.clone())
    for node in list(bare.model.graph):
        if node.outputs[0].name in names:
            moving = next(v for v in node.inputs if v is not None and constant_of(v) is None)
            ir.convenience.replace_all_uses_with(node.outputs[0], moving, replace_graph_outputs=True)
            if node.outputs[0].name == value.name:
                value = moving
    return cut(bare, [graph.x], [value])


def _agrees(graph: ClassifierGraph, trees: Trees) -> bool:
    """Whether the sum of trees gives the graph's scores, on random inputs between the thresholds and at them."""
    rng = np.random.default_rng(0)
    x = np.zeros((-(-_PROBES // graph.batch) * graph.batch, trees.features), np.float32)
    for feature in range(trees.features):
        mine = trees.upper[(trees.feature == feature) & np.isfinite(trees.upper)]
        cuts = np.unique(mine) if len(mine) else np.zeros(1, np.float32)
        chosen = rng.choice(cuts, len(x))
        above = np.nextafter(chosen, np.float32(np.inf))
        x[:, feature] = np.where(rng.random(len(x)) < 0.5, chosen, above)
    session = Session(serialise(graph.model), optimise="none")
    parts = np.split(x.reshape(-1, *graph.shape), len(x) // graph.batch)
    scores = np.concatenate([session.run({graph.x.name: part})[0] for part in parts])
    return bool(np.abs(scores - trees.scores(x)).max() <= trees.rounding)
