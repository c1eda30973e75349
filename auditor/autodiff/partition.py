"""Slices that together are the whole of a tensor, as one Split.

The cotangent of a Slice is its own surrounded by zeros, and those of sibling slices are added up: one pass over the
whole tensor for each part, twice. The cotangents of a Split's parts are joined, once. Exporters write slices where
they unbind (queries, keys and values) and where they roll (shifted windows).
"""

from collections import defaultdict

import onnx_ir as ir

from auditor.graph.build import Builder, constant_of, shape_of


def join_slices(op: Builder, model: ir.Model) -> None:
    """Rewrite `model`, whose graph `op` appends to; its shapes are static. The slices stay, read by nobody."""
    siblings: dict[tuple[ir.Value, int], dict[tuple[int, int], list[ir.Node]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for node in model.graph:
        cut = _cut(node)
        if cut is not None:
            axis, start, end = cut
            siblings[node.inputs[0], axis][start, end].append(node)
    for (x, axis), parts in siblings.items():
        spans = sorted(parts)
        if len(spans) < 2 or not _partition(spans, shape_of(x)[axis]):
            continue
        sizes = op.ints([end - start for start, end in spans])
        for span, piece in zip(spans, op.Split(x, sizes, axis=axis, _outputs=len(spans)), strict=True):
            for node in parts[span]:
                for user, index in list(node.outputs[0].uses()):
                    user.replace_input_with(index, piece)
    model.graph.sort()


def _cut(node: ir.Node) -> tuple[int, int, int] | None:
    """axis, start and end of a Slice along one axis with step 1 whose bounds are constant."""
    if node.op_type != "Slice" or node.outputs[0].is_graph_output():
        return None
    bounds = [None if v is None else constant_of(v) for v in node.inputs[1:]]
    if any(b is None or b.size != 1 for b in bounds) or len(bounds) < 3:
        return None
    start, end, axis, *step = (int(b.item()) for b in bounds)  # type: ignore[union-attr]
    if step and step != [1]:
        return None
    shape = shape_of(node.inputs[0])
    kept = range(shape[axis])[start:end]
    return (axis % len(shape), kept.start, kept.stop) if kept else None


def _partition(spans: list[tuple[int, int]], size: int) -> bool:
    """Whether the spans, in order, cover 0 … size without gap or overlap."""
    ends = [0, *(end for _, end in spans)]
    return [start for start, _ in spans] == ends[:-1] and ends[-1] == size
