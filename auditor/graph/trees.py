"""Sums of decision trees, read from a file's attributes into arrays.

A leaf is a box: for each feature that its path asks about, lower < x <= upper, in float32. So `<` becomes `<=` of the
float32 before, and an equality two of these; what is asked about values that are missing is left aside, since examples
are finite.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_ELEMENTS = 4_000_000
MOST_LEAVES = 1_000_000  # boxes, above which nothing is read: a search would not end

Box = dict[int, tuple[float, float]]  # per feature the ends of lower < x <= upper, float32 values


@dataclass(frozen=True)
class Trees:
    """offset + the sum over trees of the value of the leaf that holds x.

    tree: (leaves,) which tree a leaf is of, ascending; value: (leaves, outputs) float64; offset: (outputs,) float64.
    leaf, feature, lower, upper: (conditions,) a leaf's conditions one after the other, leaves ascending; a leaf without
    any has one on feature 0 that always holds. features: how many an input has.
    slack: how far, in the input's units, arithmetic before the trees may move a threshold; 0 where there is none.
    """

    features: int
    tree: np.ndarray
    value: np.ndarray
    offset: np.ndarray
    leaf: np.ndarray
    feature: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    slack: float = 0.0

    @property
    def count(self) -> int:
        """How many trees."""
        return int(self.tree[-1]) + 1

    @property
    def rounding(self) -> float:
        """How far a score may be off that is summed in float32 in any order, and what is computed of it after that."""
        largest = np.maximum.reduceat(
            np.abs(self.value).max(axis=1), np.searchsorted(self.tree, np.arange(self.count))
        )
        return float((self.count + 8) * 2.0**-23 * (largest.sum() + np.abs(self.offset).max()))

    def scores(self, x: np.ndarray) -> np.ndarray:
        """(n, features) float32 -> (n, outputs) float64, a few at a time"""
        starts = np.searchsorted(self.leaf, np.arange(len(self.tree)))
        scores = np.empty((len(x), self.value.shape[1]))
        for rows in chunks(len(x), len(self.leaf)):
            seen = x[rows][:, self.feature]
            inside = np.logical_and.reduceat((seen > self.lower) & (seen <= self.upper), starts, axis=1)
            scores[rows] = self.offset + inside @ self.value
        return scores


def chunks(rows: int, columns: int) -> Iterator[slice]:
    """Rows of a table so many at a time that it stays small."""
    size = max(1, _ELEMENTS // columns)
    return (slice(start, start + size) for start in range(0, rows, size))


@dataclass(frozen=True)
class Split:
    """A node of a tree: what it asks of a feature, and where each answer leads; a number below `leaves` of the other
    kind is a leaf."""

    feature: int
    mode: str
    value: float
    yes: tuple[bool, int]  # whether it is a leaf, and which
    no: tuple[bool, int]
    members: tuple[float, ...] = ()


@dataclass(frozen=True)
class Ensemble:
    """What an operator holds: splits and leaves by their keys, the root of each tree, what each leaf adds to which output,
    what all outputs begin with, and what is made of the sum."""

    splits: Mapping[Any, Split]
    leaves: Mapping[Any, Mapping[int, float]]
    roots: Sequence[tuple[bool, Any]]
    outputs: int
    base: Sequence[float]
    average: bool

    def boxes(self) -> Iterator[tuple[int, Mapping[int, float], Box]]:
        """Each leaf of each tree that some input reaches: number of the tree, what it adds, its box."""
        for number, root in enumerate(self.roots):
            stack: list[tuple[tuple[bool, Any], Box]] = [(root, {})]
            while stack:
                (is_leaf, key), box = stack.pop()
                if is_leaf:
                    yield number, self.leaves.get(key, {}), box
                    continue
                split = self.splits[key]
                for branch, (lower, upper) in _branches(split):
                    low, high = box.get(split.feature, (-np.inf, np.inf))
                    low, high = max(low, lower), min(high, upper)
                    if low < high:
                        stack.append((branch, {**box, split.feature: (low, high)}))


def _branches(split: Split) -> Iterator[tuple[tuple[bool, int], tuple[float, float]]]:
    """Where to go on, and for which lower < x <= upper."""
    value, yes, no, mode = split.value, split.yes, split.no, split.mode
    if mode in ("BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER"):
        if mode == "BRANCH_NEQ":
            yes, no = no, yes
        before = -np.inf
        for member in sorted(split.members or (value,)):
            yield yes, (_below(member), member)
            yield no, (before, _below(member))
            before = member
        yield no, (before, np.inf)
        return
    if mode in ("BRANCH_LT", "BRANCH_GTE"):
        value = _below(value)
    if mode in ("BRANCH_GT", "BRANCH_GTE"):
        yes, no = no, yes
    yield yes, (-np.inf, value)
    yield no, (value, np.inf)


def _below(value: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(-np.inf)))


def arrays(found: Sequence[tuple[Ensemble, np.ndarray]], features: int, offset: np.ndarray) -> Trees | None:
    """One `Trees` of several ensembles on the same features, each with how its outputs enter the sum, (outputs, classes).
    None where there are too many leaves."""
    tree: list[int] = []
    value: list[np.ndarray] = []
    leaf: list[int] = []
    feature: list[int] = []
    lower: list[float] = []
    upper: list[float] = []
    trees, offset = 0, offset.astype(np.float64)
    for ensemble, weight in found:
        share = 1 / len(ensemble.roots) if ensemble.average else 1.0
        for number, added, box in ensemble.boxes():
            if len(tree) == MOST_LEAVES:
                return None
            outputs = np.zeros(ensemble.outputs)
            for output, amount in added.items():
                outputs[output] += amount * share
            for asked, (low, high) in (box or {0: (-np.inf, np.inf)}).items():
                leaf.append(len(tree))
                feature.append(asked)
                lower.append(low)
                upper.append(high)
            tree.append(trees + number)
            value.append(outputs @ weight)
        offset = offset + np.asarray(ensemble.base, np.float64) @ weight
        trees += len(ensemble.roots)
    order = np.argsort(tree, kind="stable")
    assert (order == np.arange(len(tree))).all(), "leaves come tree by tree"
    return Trees(
        features,
        np.array(tree),
        np.array(value).reshape(len(tree), -1),
        offset,
        np.array(leaf),
        np.array(feature),
        np.array(lower, np.float32),
        np.array(upper, np.float32),
    )


def read_ensemble(operator: str, attributes: Mapping[str, Any]) -> Ensemble | None:
    """The trees of an operator of ai.onnx.ml, without its post_transform; None where they are not summed or averaged."""
    if operator == "TreeEnsemble":
        return _of_one_operator(attributes)
    prefix = "class" if operator == "TreeEnsembleClassifier" else "target"
    return _of_two_operators(attributes, prefix)


def _of_two_operators(given: Mapping[str, Any], prefix: str) -> Ensemble | None:
    """TreeEnsembleClassifier and TreeEnsembleRegressor. Trees begin where no node leads to."""
    trees, nodes = given["nodes_treeids"], given["nodes_nodeids"]
    keys = list(zip(trees, nodes, strict=True))
    values = _numbers(given, "nodes_values")
    ends = {key for key, mode in zip(keys, given["nodes_modes"], strict=True) if mode == "LEAF"}

    def at(tree: int, node: int) -> tuple[bool, Any]:
        return (tree, node) in ends, (tree, node)

    splits, inner = {}, set()
    for i, key in enumerate(keys):
        if key in ends:
            continue
        yes, no = (at(key[0], given[name][i]) for name in ("nodes_truenodeids", "nodes_falsenodeids"))
        splits[key] = Split(given["nodes_featureids"][i], given["nodes_modes"][i], values[i], yes, no)
        inner.update({yes[1], no[1]})
    leaves: dict[Any, dict[int, float]] = {}
    columns = (given[f"{prefix}_{name}"] for name in ("treeids", "nodeids", "ids"))
    for tree, node, output, weight in zip(*columns, _numbers(given, f"{prefix}_weights"), strict=True):
        leaf = leaves.setdefault((tree, node), {})
        leaf[output] = leaf.get(output, 0.0) + weight
    aggregate = given.get("aggregate_function", "SUM")
    if aggregate not in ("SUM", "AVERAGE"):
        return None
    outputs = given.get("n_targets") or len(given.get("classlabels_int64s") or given.get("classlabels_strings") or ())
    base = _numbers(given, "base_values")
    roots = [at(*key) for key in keys if key not in inner]
    return Ensemble(splits, leaves, roots, outputs, [*base, *[0.0] * (outputs - len(base))], aggregate == "AVERAGE")


def _of_one_operator(given: Mapping[str, Any]) -> Ensemble | None:
    """TreeEnsemble of version 5. The values of a membership stand one after the other, each list ended by NaN."""
    aggregate = _AGGREGATES[given.get("aggregate_function", 1)]
    if aggregate not in ("SUM", "AVERAGE"):
        return None
    modes = [_MODES[mode] for mode in given["nodes_modes"].numpy().tolist()]
    values = given["nodes_splits"].numpy().tolist()
    lists: list[list[float]] = [[]]
    for member in given["membership_values"].numpy().tolist() if "membership_values" in given else ():
        if np.isnan(member):
            lists.append([])
        else:
            lists[-1].append(member)
    members = iter(lists)
    splits = {}
    for i, mode in enumerate(modes):
        yes, no = (
            (bool(given[f"nodes_{way}leafs"][i]), given[f"nodes_{way}nodeids"][i]) for way in ("true", "false")
        )
        chosen = tuple(next(members)) if mode == "BRANCH_MEMBER" else ()
        splits[i] = Split(given["nodes_featureids"][i], mode, values[i], yes, no, chosen)
    weights = given["leaf_weights"].numpy().tolist()
    leaves = {i: {t: w} for i, (t, w) in enumerate(zip(given["leaf_targetids"], weights, strict=True))}
    outputs = given.get("n_targets", 1)
    roots = [_root(splits[root], root) for root in given["tree_roots"]]
    return Ensemble(splits, leaves, roots, outputs, [0.0] * outputs, aggregate == "AVERAGE")


def _root(split: Split, root: int) -> tuple[bool, int]:
    """A tree that is one leaf is written as a node whose answers lead to the same leaf."""
    return split.yes if split.yes == split.no and split.yes[0] else (False, root)


def _numbers(given: Mapping[str, Any], name: str) -> list[float]:
    """An attribute of float32 numbers, or its double."""
    if f"{name}_as_tensor" in given:
        return [float(v) for v in given[f"{name}_as_tensor"].numpy().ravel().astype(np.float32)]
    return [float(np.float32(v)) for v in given.get(name) or ()]


def transform_of(operator: str, attributes: Mapping[str, Any]) -> str:
    """What is made of the sums."""
    if operator == "TreeEnsemble":
        return _TRANSFORMS[attributes.get("post_transform", 0)]
    return attributes.get("post_transform", "NONE")
