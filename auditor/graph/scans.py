"""Scans along the first axes, all in one direction: the one form that a gradient has to know."""

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, shape_of

_FORM = ("scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions")


def straighten(op: Builder, scan: ir.Node) -> None:
    """Move and turn around the sequences of a Scan in `op.graph` outside it."""
    count = scan.attributes["num_scan_inputs"].as_int()
    states, given = len(scan.inputs) - count, len(scan.outputs) - len(scan.inputs) + count
    axes, backwards = (list(scan.attributes.get_ints(_FORM[i], [0] * count)) for i in (0, 1))
    out_axes, out_backwards = (list(scan.attributes.get_ints(_FORM[i], [0] * given)) for i in (2, 3))
    mixed = len({*backwards, *out_backwards}) > 1
    if not (mixed or any(axes) or any(out_axes)):
        return
    for i, (axis, turned) in enumerate(zip(axes, backwards, strict=True), start=states):
        x = scan.inputs[i]
        assert x is not None
        rank = len(shape_of(x))
        x = op.Transpose(x, perm=_to_front(rank, axis)) if axis % rank else x
        scan.replace_input_with(i, _reversed(op, x) if mixed and turned else x)
    for y, axis, turned in zip(scan.outputs[states:], out_axes, out_backwards, strict=True):
        _turn_output(op, y, axis, bool(mixed and turned))
    for name in _FORM:
        if mixed or "axes" in name:
            scan.attributes.pop(name, None)


def _turn_output(op: Builder, y: ir.Value, axis: int, turned: bool) -> None:
    """y becomes what the Scan gives along its first axis; those who read it, what they read before."""
    users, shape = list(y.uses()), shape_of(y)
    there = _to_front(len(shape), axis)
    y.shape = ir.Shape([shape[i] for i in there])
    value = _reversed(op, y) if turned else y
    if axis % len(shape):
        value = op.Transpose(value, perm=[int(i) for i in np.argsort(there)])
    for user, index in users:
        user.replace_input_with(index, value)
    op.graph.outputs[:] = [value if v is y else v for v in op.graph.outputs]


def _to_front(rank: int, axis: int) -> list[int]:
    return [axis % rank, *(i for i in range(rank) if i != axis % rank)]


def _reversed(op: Builder, x: ir.Value) -> ir.Value:
    return op.Slice(x, op.ints([-1]), op.ints([np.iinfo(np.int64).min]), op.ints([0]), op.ints([-1]))
