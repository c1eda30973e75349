"""Keep images in ONNX Runtime's blocked layout on the CPU.

Its CPU kernels compute convolutions on channels in blocks (NCHWc) and pull sums, products, pools and some activations
into that layout, but only where every operand is there already: one cotangent that comes from elsewhere takes the
whole trunk of a residual network out of the layout, with two or three reorderings per block. This pass moves such
operands in, by operators of the standard that ONNX Runtime always computes in blocks and that change no value: an
average over windows of one entry, a nearest-neighbour Resize. What it assumes of ONNX Runtime decides speed alone;
every rewritten node gives what the original gave, up to the rounding of a mean.
"""

from math import prod

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from auditor.graph.build import Builder, constant_of, shape_of

BLOCK = 16  # channels; on processors with shorter vectors 8, which divides it
_UNARY = ("Relu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "Identity", "BatchNormalization")
_FUSED = ("Clip", "LeakyRelu")  # in blocks as part of the convolution before them, nowhere else
_NARY = ("Add", "Sum", "Mul")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_REDUCTIONS = ("ReduceMean", "ReduceSum")


def keep_blocked(op: Builder, model: ir.Model) -> None:
    """Rewrite `model`, whose graph `op` appends to; its shapes are static."""
    nodes = list(model.graph)
    walk = _Walk(op, _wanted(nodes))
    for node in nodes:
        walk.visit(node)
    passes.RemoveUnusedNodesPass()(model)
    model.graph.sort()


def _wanted(nodes: list[ir.Node]) -> set[ir.Value]:
    """Values that reach a blocked kernel through elementwise operators alone."""
    wanted: set[ir.Value] = set()
    for node in reversed(nodes):
        x = node.inputs[0] if node.inputs else None
        if x is None:
            continue
        if _is_blocked_kernel(node) or _reduces_images(node):
            wanted.add(x)
        elif node.op_type in (*_UNARY, *_NARY) and node.outputs[0] in wanted:
            wanted.update(v for v in node.inputs if v is not None)
    return wanted


class _Walk:
    """Visits the nodes in order and remembers which values lie in blocks."""

    def __init__(self, op: Builder, wanted: set[ir.Value]) -> None:
        self.op, self.wanted = op, wanted
        self.blocked: set[ir.Value] = set()
        self._entered: dict[tuple[ir.Value, tuple[int, ...]], ir.Value] = {}

    def visit(self, node: ir.Node) -> None:
        y = node.outputs[0]
        if _is_blocked_kernel(node):
            self.blocked.add(y)
        elif node.op_type in _UNARY or node.op_type == "Resize":
            if node.inputs[0] in self.blocked:
                self.blocked.add(y)
        elif node.op_type in _FUSED:
            x = node.inputs[0]
            if x is not None and x.producer() and x.producer().op_type == "Conv" and len(x.uses()) == 1:
                self.blocked.add(y)
        elif node.op_type in _NARY:
            self._join(node)
        elif _reduces_images(node) and node.inputs[0] in self.blocked:
            self._replace(node, self._reduced(node))
        elif node.op_type == "Expand" and y in self.wanted and self._fits(node.inputs[0], y):
            self._replace(node, self._enter(node.inputs[0], shape_of(y)))

    def _join(self, node: ir.Node) -> None:
        """Move the operands of a sum or product in, if some are there and the result is wanted there."""
        y = node.outputs[0]
        outside = [i for i, x in enumerate(node.inputs) if x not in self.blocked or _image(x) != _image(y)]
        if len(outside) == len(node.inputs):
            return
        if not all(self._fits(node.inputs[i], y) and self._worth(node.inputs[i], y) for i in outside):
            return
        for i in outside:
            x = node.inputs[i]
            assert x is not None
            node.replace_input_with(i, self._enter(x, shape_of(y)))
        self.blocked.add(y)

    def _worth(self, x: ir.Value | None, y: ir.Value) -> bool:
        """Whether moving x in saves time: one entry per channel costs nothing, but a whole image is worth its way
        only if y goes on to other sums and products before it meets a kernel."""
        small = _image(x) != _image(y)
        return y in self.wanted and (small or any(user.op_type in (*_NARY, *_UNARY) for user, _ in y.uses()))

    def _fits(self, x: ir.Value | None, y: ir.Value) -> bool:
        """Whether x can be moved in, as large as y: an image of whole blocks, or one entry per channel."""
        if x is None or constant_of(x) is not None or x.dtype != ir.DataType.FLOAT:
            return False
        have, want = _image(x), _image(y)
        if have is None or want is None or want[1] % BLOCK:
            return False
        return have == want or have == (*want[:2], 1, 1)

    def _enter(self, x: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        if (x, shape) not in self._entered:
            value = x if x in self.blocked else self.op.AveragePool(x, kernel_shape=[1, 1])
            if shape_of(x) != shape:
                scales = self.op.const(np.asarray([1, 1, *shape[2:]], np.float32))
                value = self.op.Resize(
                    value,
                    None,
                    scales,
                    mode="nearest",
                    nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric",
                )
            self._entered[x, shape] = value
            self.blocked.add(value)
        return self._entered[x, shape]

    def _reduced(self, node: ir.Node) -> ir.Value:
        x, y = node.inputs[0], node.outputs[0]
        assert x is not None
        mean = self.op.GlobalAveragePool(x)
        self.blocked.add(mean)
        if node.op_type == "ReduceSum":
            mean = self.op.Mul(mean, self.op.const(prod(shape_of(x)[2:]), like=x))
        return mean if shape_of(mean) == shape_of(y) else self.op.Reshape(mean, self.op.ints(shape_of(y)))

    def _replace(self, node: ir.Node, value: ir.Value) -> None:
        old = node.outputs[0]
        for user, index in list(old.uses()):
            user.replace_input_with(index, value)
        if value in self.blocked or old in self.wanted:
            self.wanted.add(value)


def _image(x: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of a batch of images, or None for any other value."""
    if x is None or x.shape is None or len(x.shape) != 4 or not all(isinstance(d, int) for d in x.shape):
        return None
    return shape_of(x)


def _is_blocked_kernel(node: ir.Node) -> bool:
    """Whether ONNX Runtime computes the node in blocks wherever its input lies."""
    x, y = node.inputs[0] if node.inputs else None, node.outputs[0] if node.outputs else None
    shape, out = _image(x), _image(y)
    if shape is None or out is None or x.dtype != ir.DataType.FLOAT or len(node.outputs) > 1:  # type: ignore[union-attr]
        return False
    if node.op_type in _POOLS:
        return shape[1] % BLOCK == 0
    if node.op_type != "Conv" or constant_of(node.inputs[1]) is None:
        return False
    group = node.attributes["group"].as_int() if "group" in node.attributes else 1
    if group > 1:
        return shape[1] % BLOCK == 0 and out[1] % BLOCK == 0
    return shape[1] < 8 or shape[1] % 4 == 0


def _reduces_images(node: ir.Node) -> bool:
    """Whether the node sums or averages the height and width of images of whole blocks away."""
    if node.op_type not in _REDUCTIONS or len(node.inputs) < 2:
        return False
    shape, axes = _image(node.inputs[0]), constant_of(node.inputs[1])
    if shape is None or axes is None or shape[1] % BLOCK:
        return False
    return sorted(int(a) % 4 for a in axes.ravel()) == [2, 3]
