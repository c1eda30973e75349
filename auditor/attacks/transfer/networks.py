"""The small networks that are trained to stand in for an upload, as ONNX text.

Images get convolutions that halve the sides until eight pixels or fewer are left, the first only where they are large;
anything else gets two hidden layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
import onnx
from onnx import numpy_helper

from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.graph.load import WORKING_IR_VERSION, WORKING_OPSET
from auditor.spec import Layout

INPUT, LOGITS = "x", "logits"
Weights = Mapping[str, np.ndarray]
_CHANNELS, _HIDDEN, _SMALL, _LARGE = (32, 64, 64, 128, 128, 128), 128, 8, 64


@dataclass(frozen=True)
class Network:
    """shape: of one example; body: the nodes from x to the logits; sizes: the shape of each weight by its name."""

    shape: tuple[int, ...]
    classes: int
    body: str
    sizes: Mapping[str, tuple[int, ...]]

    def start(self, seed: int) -> dict[str, np.ndarray]:
        """Random weights (He et al. 2015), zero biases."""
        rng, weights = Random.keyed(np, seed, "surrogate's weights", np.zeros(1, np.int64)), {}
        for name, size in self.sizes.items():
            scale = np.float32(sqrt(2 / max(prod(size[1:]), 1)) if len(size) > 1 else 0)
            weights[name] = scale * rng.split(name).normal(0, size)[0]
        return weights

    def with_open_weights(self, batch: int) -> bytes:
        """A model at one batch shape whose weights are inputs."""
        weights = [f"float[{_dims(size)}] {name}" for name, size in self.sizes.items()]
        return self._model(str(batch), weights).SerializeToString()

    def file(self, weights: Weights) -> bytes:
        """The model that a user would upload, for any number of examples."""
        model = self._model("N", [])
        model.graph.initializer.extend(numpy_helper.from_array(weights[name], name) for name in self.sizes)
        return model.SerializeToString()

    def _model(self, batch: str, inputs: list[str]) -> onnx.ModelProto:
        given = ", ".join([f"float[{batch},{_dims(self.shape)}] {INPUT}", *inputs])
        head = f'<ir_version:{WORKING_IR_VERSION}, opset_import:["":{WORKING_OPSET}]> surrogate'
        return onnx.parser.parse_model(
            f"{head} ({given}) => (float[{batch},{self.classes}] {LOGITS}) {{{self.body}}}"
        )


def network_for(shape: tuple[int, ...], classes: int, layout: Layout) -> Network:
    """The network for inputs of a shape."""
    planes = Planes(np, shape, layout)
    return _convolutional(planes, classes) if planes.image and min(planes.size) > 1 else _dense(shape, classes)


def _dense(shape: tuple[int, ...], classes: int) -> Network:
    body, sizes = _layers("x", (prod(shape), 2 * _HIDDEN, _HIDDEN, classes))
    return Network(shape, classes, body, sizes)


def _convolutional(planes: Planes, classes: int) -> Network:
    channels = planes.shape[-1 if planes.last else 0]
    body = "c0 = Transpose<perm=[0,3,1,2]>(x)" if planes.last else "c0 = Identity(x)"
    sizes: dict[str, tuple[int, ...]] = {}
    size = planes.size
    for layer, width in enumerate(_CHANNELS, start=1):
        stride = 1 if layer == 1 and max(size) <= _LARGE else 2
        body += f" k{layer} = Conv<pads=[1,1,1,1], strides=[{stride},{stride}]>(c{layer - 1}, K{layer}, a{layer})"
        body += f" c{layer} = Relu(k{layer})"
        sizes |= {f"K{layer}": (width, channels, 3, 3), f"a{layer}": (width,)}
        channels, size = width, (-(-size[0] // stride), -(-size[1] // stride))
        if layer > 1 and max(size) <= _SMALL:
            break
    dense, more = _layers(f"c{layer}", (channels * prod(size), _HIDDEN, classes))
    return Network(planes.shape, classes, f"{body} {dense}", sizes | more)


def _layers(name: str, widths: tuple[int, ...]) -> tuple[str, dict[str, tuple[int, ...]]]:
    """Dense layers from the value called `name` to the logits, with Relu between them."""
    body, last = f"d0 = Flatten({name})", len(widths) - 1
    sizes: dict[str, tuple[int, ...]] = {}
    for layer in range(1, last + 1):
        goal = LOGITS if layer == last else f"g{layer}"
        body += f" {goal} = Gemm<transB=1>(d{layer - 1}, W{layer}, b{layer})"
        body += "" if layer == last else f" d{layer} = Relu(g{layer})"
        sizes |= {f"W{layer}": (widths[layer], widths[layer - 1]), f"b{layer}": (widths[layer],)}
    return body, sizes


def _dims(size: tuple[int, ...]) -> str:
    return ",".join(map(str, size))
