"""Reverse mode through If, Loop and Scan.

A branch is differentiated where it stands: the reverse of an If is an If on the same condition. Loop and Scan save the
state that each step begins with; their reverse goes from the last step to the first, computes each step anew from its
saved state, and carries the cotangents of the state and the sums of those of the values that the body reads outside.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from auditor.graph.bodies import bodies, captured, close_body, new_body, place, scan, within
from auditor.graph.build import Builder, shape_of

CONTROL = ("If", "Loop", "Scan")

Reach = Callable[[Sequence[ir.Node], Iterable[ir.Value]], set[ir.Value]]
Backward = Callable[[Builder, Mapping[ir.Value, ir.Value], Sequence[ir.Value]], list[ir.Value | None]]
Cotangents = Mapping[ir.Value, ir.Value]


@dataclass(frozen=True)
class _Form:
    """How the inputs and outputs of a node are those of its bodies.

    states: how many inputs are carried from step to step. before, after: inputs and outputs of the body beside those
    of the node: of a Loop the count and the condition.
    """

    states: int
    before: int
    after: int


def _form(node: ir.Node) -> _Form:
    if node.op_type == "If":
        return _Form(0, 0, 0)
    if node.op_type == "Loop":
        return _Form(len(node.inputs) - 2, 2, 1)
    return _Form(len(node.inputs) - node.attributes["num_scan_inputs"].as_int(), 0, 0)


def live_inside(node: ir.Node, live: set[ir.Value], reach: Reach) -> tuple[set[ir.Value], set[ir.Value]]:
    """The body's inputs and the values outside by which what is live enters the node, and all that is live inside.

    reach: `depends_on` of the walk. What a step makes live is live in the next.
    """
    form = _form(node)
    entered = {v for v in captured(node) if v in live}
    inside: set[ir.Value] = set()
    for body in bodies(node):
        if node.op_type != "If":
            entered |= {own for own, x in zip(body.inputs, node.inputs, strict=True) if x in live}
        while True:
            inside |= reach(list(body), entered)
            pairs = list(zip(body.inputs[form.before :], body.outputs[form.after :], strict=False))[: form.states]
            grown = {own for own, y in pairs if y in inside} - entered
            if not grown:
                break
            entered |= grown
    return entered, inside


def live_outputs(node: ir.Node, live: set[ir.Value], reach: Reach) -> set[ir.Value]:
    """The node's outputs that depend on what is live."""
    _, inside = live_inside(node, live, reach)
    after = _form(node).after
    return {
        y
        for body in bodies(node)
        for y, own in zip(node.outputs, body.outputs[after:], strict=False)
        if own in inside
    }


def cotangents(
    op: Builder, node: ir.Node, g: Cotangents, live: set[ir.Value], reach: Reach, backward: Backward
) -> dict[ir.Value, ir.Value]:
    """Append the reverse of an If, Loop or Scan; gives the cotangents of what is live among its inputs and the values that
    its bodies read outside."""
    entered, _ = live_inside(node, live, reach)
    outside = [v for v in captured(node) if v in live]
    if node.op_type == "If":
        return _through_if(op, node, g, outside, backward)
    return _Steps(op, node, g, entered, outside, backward).reverse()


def _through_if(
    op: Builder, node: ir.Node, g: Cotangents, outside: list[ir.Value], backward: Backward
) -> dict[ir.Value, ir.Value]:
    reverses = {}
    for name in ("then_branch", "else_branch"):
        inner, _ = new_body(op, [], f"{name}_reverse")
        outputs = place(inner, node.attributes[name].as_graph(), [])
        seeds = _seeds(inner, [(y, g.get(out)) for y, out in zip(outputs, node.outputs, strict=True)])
        found = backward(inner, seeds, outside)
        reverses[name] = close_body(inner, [_or_zeros(inner, c, v) for c, v in zip(found, outside, strict=True)])
    results = op.If(node.inputs[0], _outputs=len(outside), **reverses)
    results = [results] if isinstance(results, ir.Value) else list(results)
    for value, result in zip(outside, results, strict=True):
        _typed(result, value)
    return dict(zip(outside, results, strict=True))


class _Steps:
    """The reverse of one Loop or Scan.

    states: positions of the live ones among the inputs that are carried. slices: of the live ones among those that are
    scanned. given: positions, among the outputs stacked from all steps, of those with a cotangent.
    """

    def __init__(
        self,
        op: Builder,
        node: ir.Node,
        g: Cotangents,
        entered: set[ir.Value],
        outside: list[ir.Value],
        backward: Backward,
    ) -> None:
        self.op, self.node, self.g, self.outside, self.backward = op, node, g, outside, backward
        (body,) = bodies(node)
        self.form = _form(node)
        self.inputs = node.inputs[self.form.before :] if node.op_type == "Loop" else node.inputs
        own = body.inputs[self.form.before :]
        count = self.form.states
        self.states = [i for i in range(count) if own[i] in entered]
        self.slices = [i for i in range(len(own) - count) if own[count + i] in entered]
        self.stacked = list(node.outputs[count:])
        self.given = [i for i, y in enumerate(self.stacked) if y in g]
        self.body = body.clone(allow_outer_scope_values=True)
        self.saved = _save_states(op, node, body, count)

    def reverse(self) -> dict[ir.Value, ir.Value]:
        op = self.op
        ends = [(self.node.outputs[i], self.inputs[i]) for i in self.states]
        carried = [self.g[y] if y in self.g else _zeros(op, x) for y, x in ends if x is not None]
        carried += [_zeros(op, v) for v in self.outside]
        sequences = [self.g[self.stacked[i]] for i in self.given]
        if self.node.op_type == "Loop":
            last, slices = self._loop(carried, sequences), list[ir.Value]()
        else:
            scanned = [*self.saved, *self.inputs[self.form.states :], *sequences]
            last, slices = scan(op, self._step, carried, scanned, backwards=not _is_backwards(self.node))
        values = [*(x for _, x in ends), *self.outside, *(self.inputs[self.form.states + i] for i in self.slices)]
        found: dict[ir.Value, ir.Value] = {}
        for value, c in zip(values, [*last, *slices], strict=True):
            assert value is not None
            found[value] = op.Add(found[value], c) if value in found else c
        return found

    def _step(
        self, op: Builder, carried: list[ir.Value], scanned: list[ir.Value], before: Sequence[ir.Value] = ()
    ) -> tuple[list[ir.Value], list[ir.Value]]:
        """One step back. before: what else the body reads in front of its state."""
        count, total = self.form.states, len(self.inputs)
        ends, sums = carried[: len(self.states)], carried[len(self.states) :]
        own, g = scanned[:total], scanned[total:]
        outputs = place(op, self.body, [*before, *own])[self.form.after :]
        pairs = [(outputs[i], c) for i, c in zip(self.states, ends, strict=True)]
        pairs += [(outputs[count + i], c) for i, c in zip(self.given, g, strict=True)]
        wrt = [own[i] for i in self.states] + [own[count + i] for i in self.slices]
        found = self.backward(op, _seeds(op, pairs), [*wrt, *self.outside])
        cots = [_or_zeros(op, c, v) for c, v in zip(found, wrt, strict=False)]
        added = [s if c is None else op.Add(s, c) for s, c in zip(sums, found[len(wrt) :], strict=True)]
        return [*cots[: len(self.states)], *added], cots[len(self.states) :]

    def _loop(self, carried: list[ir.Value], sequences: list[ir.Value]) -> list[ir.Value]:
        """As a Loop of as many steps as the node made, which may depend on the input."""
        op = self.op
        count = op.Shape(self.saved[0], start=0, end=1)
        number = ir.Value(name="i", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([]))
        going = ir.Value(name="on", type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
        inner, (i, on, *state) = new_body(op, [number, going, *carried], "loop_reverse")
        at = inner.Reshape(inner.Sub(inner.Sub(count, inner.ints([1])), i), inner.ints([]))
        at.shape = ir.Shape([])
        slices = []
        for value in (*self.saved, *sequences):
            piece = inner.Gather(value, at, axis=0)
            piece.type, piece.shape = value.type, ir.Shape(value.shape[1:])
            slices.append(piece)
        last, _ = self._step(inner, state, slices, before=[at, on])
        body = close_body(inner, [on, *last])
        results = op.Loop(op.Reshape(count, op.ints([])), None, *carried, body=body, _outputs=len(carried))
        results = [results] if isinstance(results, ir.Value) else list(results)
        for result, value in zip(results, carried, strict=True):
            _typed(result, value)
        return results


def _save_states(op: Builder, node: ir.Node, body: ir.Graph, count: int) -> list[ir.Value]:
    """The state that each step begins with, stacked: further outputs of the node."""
    form = _form(node)
    own = list(body.inputs[form.before : form.before + count])
    close_body(within(op, body, f"{node.outputs[0].name}/saved/"), own)
    known = len(node.outputs)
    node.resize_outputs(known + count)
    steps = None if node.op_type == "Loop" else shape_of(node.inputs[count])[0]
    saved = list(node.outputs[known:])
    for i, (value, state) in enumerate(zip(saved, own, strict=True)):
        value.name = f"{node.outputs[0].name}/saved{i}"
        value.type, value.shape = state.type, ir.Shape([steps, *shape_of(state)])
    if "scan_output_directions" in node.attributes:
        directions = [*node.attributes["scan_output_directions"].as_ints(), *[int(_is_backwards(node))] * count]
        node.attributes["scan_output_directions"] = ir.AttrInt64s("scan_output_directions", directions)
    return saved


def _is_backwards(scan: ir.Node) -> bool:
    """From the last step to the first; a plain graph's Scan reads and writes all its sequences in one order."""
    return bool(scan.attributes.get_ints("scan_input_directions", [0])[0])


def _seeds(op: Builder, pairs: Iterable[tuple[ir.Value, ir.Value | None]]) -> dict[ir.Value, ir.Value]:
    """A value that serves as several outputs gets the sum of their cotangents."""
    seeds: dict[ir.Value, ir.Value] = {}
    for y, c in pairs:
        if c is not None:
            seeds[y] = op.Add(seeds[y], c) if y in seeds else c
    return seeds


def _or_zeros(op: Builder, c: ir.Value | None, like: ir.Value) -> ir.Value:
    return _zeros(op, like) if c is None else c


def _zeros(op: Builder, like: ir.Value) -> ir.Value:
    dtype = _typed(ir.Value(name=""), like).dtype
    assert dtype is not None
    return op.Expand(op.const(dtype.numpy().type(0)), op.ints(shape_of(like)))


def _typed(value: ir.Value, like: ir.Value) -> ir.Value:
    """A cotangent's type and shape: those of its primal, or float32 where that is no float."""
    floating = like.dtype is not None and like.dtype.is_floating_point()
    value.type, value.shape = like.type if floating else ir.TensorType(ir.DataType.FLOAT), like.shape
    return value
