"""Write networks as tf2onnx and Keras write them, by hand: TensorFlow is not needed.

    python tests/models/keras.py FOLDER

What they have in common: images are NHWC at the door and a Transpose stands behind it, `auto_pad` or explicit
asymmetric pads stand for "SAME", a bias is an Add of its own with the shape of TensorFlow's BiasAdd, pools over the
whole image are ReduceMean, shapes are computed from the batch by Shape, StridedSlice and Concat, and a Softmax ends
the graph.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Value = str


class Graph:
    """Nodes in order; calling an operator's name adds a node and gives its output's name."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        def add(*inputs: Value, outputs: int = 1, **attributes: Any) -> Any:
            names = [f"{operator}_{len(self.nodes)}:{i}" for i in range(outputs)]
            self.nodes.append(helper.make_node(operator, inputs, names, name=names[0][:-2], **attributes))
            return names[0] if outputs == 1 else names

        return add

    def constant(self, array: Any, dtype: type = np.float32) -> Value:
        name = f"const_fold_opt__{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def ints(self, *values: int) -> Value:
        return self.constant(values, np.int64)

    def weight(self, *shape: int) -> Value:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        return self.constant(self.rng.normal(size=shape) * (2 / fan_in) ** 0.5)

    def over(self, operator: str, x: Value, axes: list[int], *, keepdims: int = 1) -> Value:
        """A reduction; its axes were an attribute before opset 18 (13 for ReduceSum)."""
        if self.opset >= (13 if operator == "ReduceSum" else 18):
            return getattr(self, operator)(x, self.ints(*axes), keepdims=keepdims)
        return getattr(self, operator)(x, axes=axes, keepdims=keepdims)

    def squeeze(self, x: Value, axes: list[int]) -> Value:
        return self.Squeeze(x, self.ints(*axes)) if self.opset >= 13 else self.Squeeze(x, axes=axes)

    def relu6(self, x: Value) -> Value:
        if self.opset < 11:
            return self.Clip(x, min=0.0, max=6.0)
        return self.Min(self.Relu(x), self.constant(6))

    def conv(self, x: Value, c_in: int, c: int, k: int, **attributes: Any) -> Value:
        group = attributes.get("group", 1)
        return self.Conv(x, self.weight(c, c_in // group, k, k), kernel_shape=[k, k], **attributes)

    def bias(self, x: Value, c: int, *, images: bool = False) -> Value:
        return self.Add(x, self.constant(self.rng.normal(size=(1, c, 1, 1) if images else c) * 0.1))

    def normalised(self, x: Value, c: int) -> Value:
        positive = [self.constant(self.rng.uniform(0.5, 1.5, c)) for _ in range(2)]
        centre = [self.constant(self.rng.normal(size=c) * 0.1) for _ in range(2)]
        return self.BatchNormalization(x, positive[0], *centre, positive[1], epsilon=1e-3)

    def dense(self, x: Value, c_in: int, c: int) -> Value:
        return self.bias(self.MatMul(x, self.weight(c_in, c)), c)

    def flat(self, x: Value, width: int) -> Value:
        """Keras' Flatten in old files: the batch size is read from the tensor."""
        n = self.Slice(self.Shape(x), self.ints(0), self.ints(1)) if self.opset >= 10 else None
        if n is None:
            n = self.Slice(self.Shape(x), axes=[0], starts=[0], ends=[1])
        return self.Reshape(x, self.Concat(n, self.ints(width), axis=0))

    def model(self, output: Value, shape: list[Any], classes: int) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("input_1", TensorProto.FLOAT, shape)]
        if self.opset < 9:  # weights were inputs then
            inputs += [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in self.weights]
        scores = helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], classes])
        graph = helper.make_graph(self.nodes, "tf2onnx", inputs, [scores], self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=3 if self.opset < 9 else 8)


def cnn(opset: int, batch: int | str) -> onnx.ModelProto:
    """Sequential: Conv2D, MaxPooling2D, Flatten behind a Transpose back, Dropout gone, Dense, softmax."""
    g = Graph(opset)
    x = g.Transpose("input_1", perm=[0, 3, 1, 2])
    x = g.Relu(g.bias(g.conv(x, 3, 8, 3, auto_pad="VALID"), 8, images=True))
    x = g.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID")
    x = g.Relu(g.bias(g.conv(x, 8, 8, 3, auto_pad="SAME_UPPER", strides=[2, 2]), 8, images=True))
    x = g.flat(g.Transpose(x, perm=[0, 2, 3, 1]), 8 * 8 * 8)
    x = g.dense(g.Relu(g.dense(x, 512, 16)), 16, 10)
    return g.model(g.Softmax(x, axis=1), [batch, 32, 32, 3], 10)


def mobilenet(opset: int, batch: int | str) -> onnx.ModelProto:
    """Zero padding of one side, relu6, depthwise convolutions, an add, the mean over the image, sigmoid gates."""
    g = Graph(opset)
    x = g.Transpose(g.Sub(g.Mul("input_1", g.constant(2)), g.constant(1)), perm=[0, 3, 1, 2])
    x = g.relu6(g.normalised(g.conv(x, 3, 8, 3, strides=[2, 2], pads=[0, 0, 1, 1]), 8))
    wide = g.relu6(g.normalised(g.conv(x, 8, 16, 1, auto_pad="SAME_UPPER"), 16))
    wide = g.relu6(g.normalised(g.conv(wide, 16, 16, 3, group=16, pads=[1, 1, 1, 1]), 16))
    gate = g.over("ReduceMean", wide, [2, 3])
    gate = g.bias(g.conv(g.Relu(g.bias(g.conv(gate, 16, 4, 1), 4, images=True)), 4, 16, 1), 16, images=True)
    wide = g.Mul(wide, g.Sigmoid(gate))
    x = g.Add(x, g.normalised(g.conv(wide, 16, 8, 1), 8))
    x = g.Mul(x, g.Sigmoid(x))
    x = g.AveragePool(x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    x = g.squeeze(g.over("ReduceMean", x, [2, 3]), [2, 3])
    return g.model(g.Softmax(g.dense(x, 8, 10), axis=1), [batch, 32, 32, 3], 10)


def transformer(opset: int, batch: int | str) -> onnx.ModelProto:
    """Patches by a strided convolution, normalisation spelt out, attention by Einsum, GELU by Erf, mean of tokens."""
    g = Graph(opset)
    x = g.Transpose(
        g.bias(g.conv(g.Transpose("input_1", perm=[0, 3, 1, 2]), 3, 16, 8, strides=[8, 8]), 16, images=True),
        perm=[0, 2, 3, 1],
    )
    x = g.Add(g.Reshape(x, g.ints(-1, 16, 16)), g.constant(g.rng.normal(size=(1, 16, 16)) * 0.02))
    h = _layer_norm(g, x)
    q, k, v = (
        g.Add(g.Einsum(h, g.constant(g.rng.normal(size=(16, 2, 8)) / 4), equation="abc,cde->abde"), g.weight(2, 8))
        for _ in range(3)
    )
    scores = g.Softmax(g.Einsum(k, g.Mul(q, g.constant(8**-0.5)), equation="aecd,abcd->acbe"), axis=3)
    mixed = g.Einsum(scores, v, equation="acbe,aecd->abcd")
    x = g.Add(x, g.Einsum(mixed, g.constant(g.rng.normal(size=(2, 8, 16)) / 4), equation="abcd,cde->abe"))
    h = g.dense(_layer_norm(g, x), 16, 32)
    erf = g.Erf(g.Mul(h, g.constant(0.5**0.5)))
    x = g.Add(x, g.dense(g.Mul(g.Mul(g.constant(0.5), h), g.Add(g.constant(1), erf)), 32, 16))
    return g.model(g.Softmax(g.dense(g.over("ReduceMean", x, [1], keepdims=0), 16, 10)), [batch, 32, 32, 3], 10)


def _layer_norm(g: Graph, x: Value) -> Value:
    """As tf.nn.moments and tf.nn.batch_normalization come out: squared differences, a reciprocal root."""
    mean = g.over("ReduceMean", x, [2])
    difference = g.Sub(x, mean)
    variance = g.over("ReduceMean", g.Mul(difference, difference), [2])
    scale = g.Mul(g.Reciprocal(g.Sqrt(g.Add(variance, g.constant(1e-3)))), g.constant(g.rng.uniform(0.5, 1.5, 16)))
    return g.Add(g.Mul(x, scale), g.Sub(g.constant(g.rng.normal(size=16) * 0.1), g.Mul(mean, scale)))


def autoencoder(opset: int, batch: int | str) -> onnx.ModelProto:
    """UpSampling2D, Conv2DTranspose with "SAME", Concatenate, LeakyReLU, PReLU, a single sigmoid at the end."""
    g = Graph(opset)
    x = g.Transpose("input_1", perm=[0, 3, 1, 2])
    skip = g.LeakyRelu(g.bias(g.conv(x, 1, 8, 3, auto_pad="SAME_UPPER"), 8, images=True), alpha=0.3)
    x = g.PRelu(
        g.conv(skip, 8, 8, 3, auto_pad="SAME_LOWER", strides=[2, 2]), g.constant(g.rng.uniform(0, 0.3, (8, 1, 1)))
    )
    up = g.ConvTranspose(x, g.weight(8, 8, 3, 3), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    enlarged = g.Resize(
        x,
        g.constant([]),
        g.constant([1, 1, 2, 2]),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    x = g.Concat(
        g.Transpose(g.Elu(up), perm=[0, 2, 3, 1]),
        g.Transpose(enlarged, perm=[0, 2, 3, 1]),
        g.Transpose(skip, perm=[0, 2, 3, 1]),
        axis=3,
    )
    x = g.over("ReduceMax", x, [1, 2], keepdims=0)
    return g.model(g.Sigmoid(g.dense(x, 24, 1)), [batch, 12, 12, 1], 1)


# name -> (writer, opsets)
NETWORKS: dict[str, tuple[Callable[[int, int | str], onnx.ModelProto], tuple[int, ...]]] = {
    "cnn": (cnn, (8, 15)),
    "mobilenet": (mobilenet, (9, 13)),
    "transformer": (transformer, (13, 18)),
    "autoencoder": (autoencoder, (11, 17)),
}


def main() -> None:
    folder = Path(sys.argv[1])
    for name, (write, opsets) in NETWORKS.items():
        for opset, batch in zip(opsets, ("unk__1", 1), strict=True):
            model = write(opset, batch)
            onnx.checker.check_model(model, full_check=True)
            onnx.save(
                model, folder / f"keras_{name}.tf2onnx-{opset}{'' if isinstance(batch, str) else '-fixed'}.onnx"
            )


if __name__ == "__main__":
    main()
