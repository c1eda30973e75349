"""What each tree ensemble of a graph says, and how that is summed to the scores.

Of one tree, whatever is computed of its leaf alone is another value of that leaf: so the votes of AdaBoost and of a
majority are sums of trees, however little their comparisons are linear. Of several trees in one operator that holds only
where what follows is linear.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from auditor.graph.build import shape_of
from auditor.graph.parts import LINEAR, MOVING, between, cut, is_linear
from auditor.graph.plain import ClassifierGraph
from auditor.graph.trees import Ensemble, read_ensemble
from auditor.runtime import Session

ENSEMBLES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")


@dataclass(frozen=True)
class Member:
    """One ensemble: its operator, its trees, and where in the graph their values stand, columns one value after the other."""

    node: ir.Node
    ensemble: Ensemble
    ends: tuple[ir.Value, ...]


def read_members(graph: ClassifierGraph) -> list[Member] | None:
    """The ensembles whose sum the scores are, up to what is linear; None where there are none, or the scores are no such
    sum."""
    nodes = [node for node in graph.model.graph if node.op_type in ENSEMBLES]
    read = [read_ensemble(node.op_type, {a.name: a.value for a in node.attributes.values()}) for node in nodes]
    ensembles = [_one_sum(ensemble) for ensemble in read if ensemble is not None]
    if not nodes or len(ensembles) < len(nodes):
        return None
    ends = _own(graph, nodes)
    if ends is None:
        return None
    found = []
    for node, ensemble, own in zip(nodes, ensembles, ends, strict=True):
        member = _member(graph, node, ensemble, own)
        if member is None:
            return None
        found.append(member)
    last = between([end for member in found for end in member.ends], [graph.logits], MOVING | LINEAR)
    return found if last is not None and all(map(is_linear, last)) else None


def weigh(graph: ClassifierGraph, members: Sequence[Member]) -> tuple[list[np.ndarray], np.ndarray]:
    """What every column of the members adds to every score, (columns, classes) each, and the scores where all are 0."""
    ends = [end for member in members for end in member.ends]
    session = Session(cut(graph, ends, [graph.logits]), optimise="none")
    zero = {f"{end.name}/cut": np.zeros(shape_of(end), np.float32) for end in ends}
    zero = {name: array for name, array in zero.items() if name in session.inputs}
    (offset,) = session.run(zero)

    def of(end: ir.Value) -> Iterator[np.ndarray]:
        name = f"{end.name}/cut"
        for column in range(prod(shape_of(end)[1:])):
            if name not in zero:
                yield np.zeros(graph.classes)
                continue
            unit = zero[name].copy()
            unit.reshape(len(unit), -1)[:, column] = 1
            yield session.run({**zero, name: unit})[0][0].astype(np.float64) - offset[0]

    return [np.array([row for end in member.ends for row in of(end)]) for member in members], offset[0]


def _one_sum(ensemble: Ensemble) -> Ensemble:
    """A classifier of two classes that sums for one writes the sum into the second column."""
    written = {output for leaf in ensemble.leaves.values() for output in leaf}
    if ensemble.outputs != 2 or written - {0}:
        return ensemble
    leaves = {key: {1: leaf[0]} for key, leaf in ensemble.leaves.items() if leaf}
    return replace(ensemble, leaves=leaves, base=ensemble.base[::-1])


def _own(graph: ClassifierGraph, nodes: Sequence[ir.Node]) -> list[tuple[ir.Value, ...]] | None:
    """Of each ensemble the last values that depend on it alone; None where the scores depend on more than ensembles."""
    one_of = {node: frozenset([i]) for i, node in enumerate(nodes)}
    none, other = frozenset[int](), frozenset([-1])
    depends: dict[ir.Value, frozenset[int]] = {graph.x: other}
    ends: dict[int, dict[ir.Value, None]] = {i: {} for i in range(len(nodes))}
    for node in graph.model.graph:
        if node in one_of:
            depends |= dict.fromkeys(node.outputs[:-1], other) | {node.outputs[-1]: one_of[node]}
            continue
        read = [value for value in node.inputs if value is not None]
        together = none.union(*(depends.get(value, none) for value in read)) if node.op_type != "Shape" else none
        depends |= dict.fromkeys(node.outputs, together)
        if len(together) > 1:
            for value in read:
                if len(of := depends.get(value, none)) == 1 and of != other:
                    ends[next(iter(of))][value] = None
    last = depends[graph.logits]
    if len(last) == 1:
        ends[next(iter(last))][graph.logits] = None
    return None if other <= last else [tuple(own) for own in ends.values()]


def _member(graph: ClassifierGraph, node: ir.Node, ensemble: Ensemble, own: tuple[ir.Value, ...]) -> Member | None:
    total = node.outputs[-1]
    way = between([total], own, MOVING | LINEAR)
    if way is not None and all(map(is_linear, way)):
        return Member(node, ensemble, (total,))
    rows = all(end.dtype == ir.DataType.FLOAT and shape_of(end)[:1] == (graph.batch,) for end in own)
    if len(ensemble.roots) > 1 or not rows:
        return None
    return Member(node, _by_leaf(graph, total, ensemble, own), own)


def _by_leaf(graph: ClassifierGraph, total: ir.Value, ensemble: Ensemble, own: tuple[ir.Value, ...]) -> Ensemble:
    """The one tree with what is computed of each leaf in the place of the leaf's value."""
    keys = list(dict.fromkeys(_leaves(ensemble)))
    base = np.asarray(ensemble.base, np.float32)
    sums = np.stack([base + _column(ensemble.leaves.get(key, {}), ensemble.outputs) for key in keys])
    session = Session(cut(graph, [total], own), optimise="none")
    (name,) = session.inputs
    values = []
    for row in sums:
        given = session.run({name: np.broadcast_to(row, shape_of(total)).copy()})
        values.append(np.concatenate([y[0].ravel() for y in given]))
    leaves = {key: dict(enumerate(map(float, row))) for key, row in zip(keys, values, strict=True)}
    width = len(values[0])
    return replace(ensemble, leaves=leaves, outputs=width, base=[0.0] * width, average=False)


def _leaves(ensemble: Ensemble) -> Iterator[Any]:
    ways = [way for split in ensemble.splits.values() for way in (split.yes, split.no)]
    return (key for is_leaf, key in (*ensemble.roots, *ways) if is_leaf)


def _column(leaf: Mapping[int, float], outputs: int) -> np.ndarray:
    return np.array([leaf.get(output, 0.0) for output in range(outputs)], np.float32)
