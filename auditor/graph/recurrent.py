"""RNN, GRU and LSTM as a Scan over their steps, each cell in plain operators.

The gradient graph alone is made of it: there the reverse of a Scan serves every cell. Every other forward pass runs the
operator itself. Names are the standard's: X, W, R, B, P; f, g, h for the activations; i, o, f, c and z, r, h for the gates.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from auditor.graph.bodies import nested, scan, within
from auditor.graph.build import Builder, constant_of, shape_of

Activation = Callable[[Builder, ir.Value], ir.Value]

_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
RECURRENT = tuple(_DEFAULTS)
# What the activations take, with ONNX Runtime's defaults.
_PARAMETERS: dict[str, dict[str, float]] = {
    "affine": {"alpha": 0.0, "beta": 0.0},
    "elu": {"alpha": 1.0},
    "hardsigmoid": {"alpha": 0.2, "beta": 0.5},
    "leakyrelu": {"alpha": 0.01},
    "scaledtanh": {"alpha": 0.0, "beta": 0.0},
    "thresholdedrelu": {"alpha": 0.0},
}


@dataclass(frozen=True)
class _Cell:
    """One direction of a node: its weights without the axis of directions, None where there are none.

    rb: (gates * hidden,), the bias beside R. p: (3 * hidden,), peepholes. clip: bounds what goes into activations.
    """

    node: ir.Node
    hidden: int
    r: ir.Value
    rb: ir.Value | None
    p: ir.Value | None
    activations: Sequence[Activation]
    clip: float | None

    def flag(self, name: str) -> bool:
        return self.node.attributes.get_int(name, 0) != 0

    def activated(self, op: Builder, number: int, x: ir.Value) -> ir.Value:
        return self.activations[number](op, self.clipped(op, x))

    def clipped(self, op: Builder, x: ir.Value) -> ir.Value:
        return x if self.clip is None else op.Clip(x, op.const(-self.clip, like=x), op.const(self.clip, like=x))


def spell_out_all(model: ir.Model) -> None:
    """Replace every recurrent node of the model, whose shapes are static."""
    outer = Builder(model.graph)
    for number, graph in enumerate(list(nested(model.graph))):
        op, replaced = within(outer, graph, f"recurrent{number}/"), []
        for node in [n for n in graph if n.domain == "" and n.op_type in RECURRENT]:
            for old, new in zip(node.outputs, spell_out(op, node), strict=True):
                ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            replaced.append(node)
        graph.remove(replaced, safe=True)
        graph.sort()


def spell_out(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Append the node's computation to `op.graph`; gives a value for each of its outputs."""
    attributes = {a.name: a.value for a in node.attributes.values()}
    x, w, r, b, lengths, h0, c0, p = [*node.inputs, *[None] * 8][:8]
    assert x is not None
    assert r is not None
    batch_first = attributes.get("layout", 0) == 1
    if batch_first:
        x, h0, c0 = (v if v is None else _swapped(op, v) for v in (x, h0, c0))
    directions, _, hidden = shape_of(r)
    orders = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
        attributes.get("direction", "forward")
    ]
    activations = list(_activations(node.op_type, directions, attributes))
    results = []
    for d, backwards in enumerate(orders):
        parts = [v if v is None else _part(op, v, d) for v in (w, r, b, h0, c0, p)]
        wb, rb = (None, None) if parts[2] is None else _halves(op, parts[2])
        state = parts[3:5] if node.op_type == "LSTM" else parts[3:4]
        cell = _Cell(node, hidden, parts[1], rb, parts[5], activations[d], attributes.get("clip"))
        results.append(_run(op, cell, _projected(op, x, parts[0], wb), state, lengths, backwards))
    y = op.Concat(*(op.Unsqueeze(given, op.ints([1])) for _, given in results), axis=1)
    states = zip(*(state for state, _ in results), strict=True)
    last = [op.Concat(*(op.Unsqueeze(v, op.ints([0])) for v in same), axis=0) for same in states]
    if batch_first:
        y, last = op.Transpose(y, perm=[2, 0, 1, 3]), [_swapped(op, v) for v in last]
    return [y, *last][: len(node.outputs)]


def _run(
    op: Builder, cell: _Cell, x: ir.Value, state: Sequence[ir.Value | None], lengths: ir.Value | None, backwards: bool
) -> tuple[list[ir.Value], ir.Value]:
    """(steps, batch, gates * hidden) -> the last state and (steps, batch, hidden).

    Where sequences have lengths of their own, each is reversed within its own, its state stays as its end left it, and
    what follows is 0.
    """
    steps, batch, _ = shape_of(x)
    carried = [op.Expand(op.const(0, like=x), op.ints((batch, cell.hidden))) if v is None else v for v in state]
    step = partial(_STEPS[cell.node.op_type], cell)
    if lengths is None:
        last, (y,) = scan(op, lambda op, s, x: _given(step(op, *x, *s)), carried, [x], backwards=backwards)
        return last, y
    lengths = op.Cast(lengths, to=ir.DataType.INT64)
    if backwards:
        x = op.ReverseSequence(x, lengths, time_axis=0, batch_axis=1)
    inside = op.Less(
        op.const(np.arange(steps, dtype=np.int64)[:, None, None]), op.Unsqueeze(lengths, op.ints([0, 2]))
    )

    def masked(op: Builder, state: list[ir.Value], scanned: list[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
        x, on = scanned
        new = step(op, x, *state)
        zero = op.const(0, like=new[0])
        return [op.Where(on, a, b) for a, b in zip(new, state, strict=True)], [op.Where(on, new[0], zero)]

    last, (y,) = scan(op, masked, carried, [x, inside])
    return last, op.ReverseSequence(y, lengths, time_axis=0, batch_axis=1) if backwards else y


def _given(state: list[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
    return state, state[:1]


def _rnn(cell: _Cell, op: Builder, x: ir.Value, h: ir.Value) -> list[ir.Value]:
    return [cell.activated(op, 0, _plus(op, x, h, cell.r, cell.rb))]


def _gru(cell: _Cell, op: Builder, x: ir.Value, h: ir.Value) -> list[ir.Value]:
    rows = (2 * cell.hidden, cell.hidden)
    x_zr, x_h = op.Split(x, op.ints(rows), axis=1, _outputs=2)
    r_zr, r_h = op.Split(_local(op, cell.r), op.ints(rows), axis=0, _outputs=2)
    b_zr, b_h = (None, None) if cell.rb is None else op.Split(_local(op, cell.rb), op.ints(rows), axis=0, _outputs=2)
    gates = op.Split(cell.activated(op, 0, _plus(op, x_zr, h, r_zr, b_zr)), num_outputs=2, axis=1, _outputs=2)
    z, reset = gates
    if cell.flag("linear_before_reset"):
        through = op.Gemm(h, r_h, transB=1) if b_h is None else op.Gemm(h, r_h, b_h, transB=1)
        new = op.Add(x_h, op.Mul(reset, through))
    else:
        new = _plus(op, x_h, op.Mul(reset, h), r_h, b_h)
    new = cell.activated(op, 1, new)
    return [op.Add(new, op.Mul(z, op.Sub(h, new)))]


def _lstm(cell: _Cell, op: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    i, o, f, g = op.Split(_plus(op, x, h, cell.r, cell.rb), num_outputs=4, axis=1, _outputs=4)
    peep = None if cell.p is None else op.Split(_local(op, cell.p), num_outputs=3, axis=0, _outputs=3)
    if peep is not None:
        i, f = op.Add(i, op.Mul(peep[0], c)), op.Add(f, op.Mul(peep[2], c))
    i = cell.activated(op, 0, i)
    f = op.Sub(op.const(1, like=i), i) if cell.flag("input_forget") else cell.activated(op, 0, f)
    c = op.Add(op.Mul(f, c), op.Mul(i, cell.activated(op, 1, g)))
    if peep is not None:
        o = op.Add(o, op.Mul(peep[1], c))
    o = cell.activated(op, 0, o)
    return [op.Mul(o, cell.activations[2](op, c)), c]


_STEPS: dict[str, Callable[..., list[ir.Value]]] = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}


def _projected(op: Builder, x: ir.Value, w: ir.Value, bias: ir.Value | None) -> ir.Value:
    """Every step's x Wᵀ + bias at once."""
    array = constant_of(w)
    product = op.MatMul(x, op.Transpose(w, perm=[1, 0]) if array is None else op.const(array.T))
    return product if bias is None else op.Add(product, bias)


def _plus(op: Builder, x: ir.Value, h: ir.Value, r: ir.Value, bias: ir.Value | None) -> ir.Value:
    """x + h Rᵀ + bias."""
    total = op.Gemm(h, _local(op, r), x, transB=1)
    return total if bias is None else op.Add(total, _local(op, bias))


def _local(op: Builder, value: ir.Value) -> ir.Value:
    """The value as a body may read it: shape inference does not look for constants outside."""
    array = constant_of(value)
    return value if array is None or value.graph is op.graph else op.const(array)


def _part(op: Builder, value: ir.Value, d: int) -> ir.Value:
    """One direction's."""
    array = constant_of(value)
    return op.Gather(value, op.const(np.int64(d)), axis=0) if array is None else op.const(array[d])


def _halves(op: Builder, bias: ir.Value) -> list[ir.Value]:
    array = constant_of(bias)
    if array is None:
        return list(op.Split(bias, num_outputs=2, axis=0, _outputs=2))
    return [op.const(half) for half in np.split(array, 2)]


def _swapped(op: Builder, x: ir.Value) -> ir.Value:
    return op.Transpose(x, perm=[1, 0, *range(2, len(shape_of(x)))])


def _activations(operator: str, directions: int, attributes: dict[str, Any]) -> Iterator[Sequence[Activation]]:
    """Of each direction. Parameters are given in one list for all that take them, in their order."""
    names = [str(n) for n in attributes.get("activations", _DEFAULTS[operator] * directions)]
    given = {k: list(attributes.get(f"activation_{k}", ())) for k in ("alpha", "beta")}
    functions = []
    for name in names:
        defaults = _PARAMETERS.get(name.lower(), {})
        parameters = {k: given[k].pop(0) if given[k] else default for k, default in defaults.items()}
        functions.append(_Activation(name.lower(), parameters))
    count = len(functions) // directions
    for d in range(directions):
        yield functions[d * count : (d + 1) * count]


@dataclass(frozen=True)
class _Activation:
    name: str
    parameters: Mapping[str, float]

    def __call__(self, op: Builder, x: ir.Value) -> ir.Value:
        if self.name not in ("affine", "scaledtanh"):
            return getattr(op, _OPERATORS[self.name])(x, **self.parameters)
        alpha, beta = (op.const(self.parameters[k], like=x) for k in ("alpha", "beta"))
        if self.name == "affine":
            return op.Add(op.Mul(x, alpha), beta)
        return op.Mul(op.Tanh(op.Mul(x, beta)), alpha)


_OPERATORS = {
    n.lower(): n
    for n in ("Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu")
}
