"""Makes the demo's model and data from scikit-learn's handwritten digits (8x8 grey images, UCI Optical Recognition).

Run with the `dev` extra installed: python -m auditor.demo.make_demo
Writes digits.onnx and digits.npz beside this file: a small convolutional network, its first layer random filters and
the two dense layers after it trained on 1,297 images, and the 500 images that it has not seen.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

FOLDER = Path(__file__).parent
HELD_OUT = 500
FILTERS = 12


def main() -> None:
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    order = np.random.default_rng(0).permutation(len(pixels))
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    filters = np.random.default_rng(1).normal(0, 1 / 3, (FILTERS, 1, 3, 3)).astype(np.float32)
    network = MLPClassifier((64,), alpha=1e-2, max_iter=400, random_state=0)
    network.fit(features(pixels[train] / np.float32(255), filters), digits.target[train])
    accuracy = network.score(features(pixels[held_out] / np.float32(255), filters), digits.target[held_out])
    onnx.save(model(network, filters), FOLDER / "digits.onnx")
    np.savez_compressed(FOLDER / "digits.npz", x=pixels[held_out], y=digits.target[held_out].astype(np.int64))
    print(f"right on {accuracy:.1%} of {HELD_OUT} held-out digits")


def features(x: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """ReLU of 3x3 convolutions with zero padding, flattened: what the network's first layer computes. (n, 768)"""
    padded = np.pad(x[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    maps = np.einsum("nhwij,fij->nfhw", windows, filters[:, 0])
    return np.maximum(maps, 0).reshape(len(x), -1)


def model(network: MLPClassifier, filters: np.ndarray) -> onnx.ModelProto:
    """Conv, Relu, Flatten, Gemm, Relu, Gemm, Softmax: (batch, 1, 8, 8) in [0, 1] to ten probabilities."""
    weights = {"filters": filters}
    for number, (matrix, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        weights[f"matrix{number}"], weights[f"bias{number}"] = matrix.astype(np.float32), bias.astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "filters"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("Flatten", ["active"], ["features"]),
        helper.make_node("Gemm", ["features", "matrix0", "bias0"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["hidden_active"]),
        helper.make_node("Gemm", ["hidden_active", "matrix1", "bias1"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


if __name__ == "__main__":
    main()
