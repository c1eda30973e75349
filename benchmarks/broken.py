"""Defences that are known to be broken, put into an honest network's ONNX file.

Each takes the MNIST LeNet's model (Conv, Relu, MaxPool, twice; Gemm, Relu, Gemm) and gives a changed copy. What an
attacker who knows the defence reaches is what he reaches on the network without it.
"""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from auditor import runtime

THRESHOLD = 0.5  # above which the detector rejects
SMALL = 1e-6  # the unit of another detector's numbers
Edit = Callable[[onnx.ModelProto, np.ndarray, np.ndarray], None]


def quantised_input(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """Inputs rounded to four levels (Guo et al. 2018; broken by Athalye et al. 2018)."""
    before(model, ["s = Mul(IN, levels)", "r = Round(s)", "OUT = Div(r, levels)"], levels=np.float32(3))


def random_resize(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """Inputs shrunk to one of two sizes by chance, and padded (Xie et al. 2018; broken by Athalye et al. 2018)."""
    body = [
        "roll = RandomUniform<shape=[1]>()",
        "coin = Less(roll, half)",
        'a = Resize<mode="linear">(IN, , , small)',
        "b = Pad(a, margins)",
        "OUT = Where(coin, b, IN)",
    ]
    sizes, margins = np.array([1, 1, 26, 26]), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    # the batch is one: the sizes name it
    before(model, body, half=np.float32([0.5]), small=sizes, margins=margins)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def saturated(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """Scores pressed into a sigmoid that is 0 or 1 in float32 (as distillation does; Carlini & Wagner 2017)."""
    behind(model, ["s = Mul(IN, sharp)", "q = Sigmoid(s)", "OUT = MatMul(q, same)"], sharp=np.float32(2), same=eye())


def scaled_apart(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """The same, each class' score then scaled by itself, by up to 1 %: the order of the scores is not that of what went into
    the sigmoids."""
    behind(
        model,
        ["s = Mul(IN, sharp)", "q = Sigmoid(s)", "OUT = MatMul(q, apart)"],
        sharp=np.float32(2),
        apart=np.diag(np.linspace(1, 1.01, 10)).astype(np.float32),
    )


def saturated_units(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """The last hidden layer's units are sigmoids so steep that they are nearly always 0 or 1; the last layer is fitted anew."""
    relu = _relus(model)[-1]
    name = relu.output[0]
    scale = np.float32(30 / _values(model, relu.input[0], x).std())
    _instead(
        model,
        relu,
        [f"{name}_s = Mul({relu.input[0]}, {name}_k)", f"{name} = Sigmoid({name}_s)"],
        {f"{name}_k": scale},
    )
    refit(model, x, y)


def k_winners(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """Of each hidden layer only the tenth with the largest activations goes on (Xiao et al. 2020; broken by Tramer et al.
    2020); the last layer is fitted anew."""
    for number, relu in enumerate(_relus(model)):
        size, name = (600, 300, 20)[number], relu.output[0]
        body = [
            f"{name}_f = Flatten({relu.input[0]})",
            f"{name}_t, {name}_i = TopK<axis=1>({name}_f, {name}_k)",
            f"{name}_m = ReduceMin<axes=[1], keepdims=1>({name}_t)",
            f"{name}_w = GreaterOrEqual({name}_f, {name}_m)",
            f"{name}_z = Where({name}_w, {name}_f, {name}_0)",
            f"{name}_s = Shape({relu.input[0]})",
            f"{name} = Reshape({name}_z, {name}_s)",
        ]
        _instead(model, relu, body, {f"{name}_k": np.array([size]), f"{name}_0": np.float32(0)})
    refit(model, x, y)


def binarised(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """The last hidden layer gives signs alone (Galloway et al. 2018); the last layer is fitted anew."""
    relu = _relus(model)[-1]
    _instead(model, relu, [f"{relu.output[0]} = Sign({relu.input[0]})"], {})
    refit(model, x, y)


def detector(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """A second output that rejects inputs whose features lie farther from every class' mean than those of 95 % of the
    training images (after Lee et al. 2018, with each feature's own scale; attacks that know such a detector evade it:
    Carlini & Wagner 2017, "Adversarial examples are not easily detected")."""
    name = model.graph.node[-1].input[0]
    features = _values(model, name, x).astype(np.float64)
    means = np.stack([features[y == k].mean(axis=0) for k in range(10)])
    scale = 1 / ((features - means[y]).std(axis=0) + 0.1 * features.std())
    far = np.min((((features[:, None] - means) * scale) ** 2).sum(axis=2), axis=1)
    weights = {
        "det_scale": scale,
        "det_means": (-2 * means * scale).T,
        "det_sizes": ((means * scale) ** 2).sum(axis=1),
        "det_far": np.quantile(far, 0.95) / THRESHOLD,
    }
    body = [
        f"det_f = Mul({name}, det_scale)",
        "det_own = ReduceSumSquare<axes=[1], keepdims=1>(det_f)",
        "det_products = MatMul(det_f, det_means)",
        "det_sums = Add(det_products, det_sizes)",
        "det_least = ReduceMin<axes=[1], keepdims=1>(det_sums)",
        "det_all = Add(det_own, det_least)",
        "reject = Div(det_all, det_far)",
    ]
    model.graph.node.extend(_parsed(body))
    _add(model, {name: np.asarray(array, np.float32) for name, array in weights.items()})
    batch = model.graph.output[0].type.tensor_type.shape.dim[0]
    model.graph.output.append(helper.make_tensor_value_info("reject", onnx.TensorProto.FLOAT, [None, 1]))
    model.graph.output[1].type.tensor_type.shape.dim[0].CopyFrom(batch)


def small_detector(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """The same detector in a unit in which float32 does not tell a class score from one that it raises."""
    detector(model, x, y)
    model.graph.node[-1].output[0] = "det_share"
    model.graph.node.extend(_parsed(["reject = Mul(det_share, det_unit)"]))
    _add(model, {"det_unit": np.float32(SMALL)})


DEFENCES: dict[str, Edit] = {
    "input quantisation": quantised_input,
    "random resize": random_resize,
    "sigmoid saturation": saturated,
    "scaled apart": scaled_apart,
    "saturated units": saturated_units,
    "k winners take all": k_winners,
    "binarised layer": binarised,
    "detector": detector,
    "small detector": small_detector,
}


def defended(model: onnx.ModelProto, edit: Edit, x: np.ndarray, y: np.ndarray) -> bytes:
    """A copy of the model with a defence. x, y: (n, *shape) float32 and labels that its last layer may be fitted on."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node:  # the textual form of a node takes no other names
        for names in (node.input, node.output):
            names[:] = [name.replace("/", "_") for name in names]
    edit(changed, x, y)
    onnx.checker.check_model(changed)
    return changed.SerializeToString()


def eye() -> np.ndarray:
    return np.eye(10, dtype=np.float32)


def before(model: onnx.ModelProto, body: list[str], **constants: np.ndarray) -> None:
    """Put nodes between the input (IN) and all that reads it (OUT)."""
    name = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["defended" if i == name else i for i in node.input]
    nodes = _parsed([line.replace("IN", name).replace("OUT", "defended") for line in body])
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    _add(model, constants)


def behind(model: onnx.ModelProto, body: list[str], **constants: np.ndarray) -> None:
    """Put nodes between the scores (IN) and the output (OUT)."""
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["undefended" if o == name else o for o in node.output]
    model.graph.node.extend(_parsed([line.replace("IN", "undefended").replace("OUT", name) for line in body]))
    _add(model, constants)


def refit(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """The last Gemm's weights by ridge regression on the features that the changed network gives."""
    last = model.graph.node[-1]
    features = _values(model, last.input[0], x)
    centre = features.mean(axis=0)
    apart = (features - centre).astype(np.float64)
    goal = np.eye(10)[y] - 0.1
    weights = np.linalg.solve(apart.T @ apart + len(x) * 1e-3 * np.eye(apart.shape[1]), apart.T @ goal) * 10
    _set(model, last.input[1], weights.T.astype(np.float32))
    _set(model, last.input[2], (-centre @ weights).astype(np.float32))


def _values(model: onnx.ModelProto, name: str, x: np.ndarray) -> np.ndarray:
    """What the model computes under that name."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.append(helper.make_empty_tensor_value_info(name))
    session = runtime.Session(probe.SerializeToString())
    return np.concatenate(
        [session.run({model.graph.input[0].name: part}, [name])[0] for part in np.array_split(x, 20)]
    )


def _relus(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Relu"]


def _instead(model: onnx.ModelProto, node: onnx.NodeProto, body: list[str], constants: dict[str, np.ndarray]) -> None:
    at = list(model.graph.node).index(node)
    nodes = [*model.graph.node[:at], *_parsed(body), *model.graph.node[at + 1 :]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _add(model, constants)


def _parsed(lines: list[str]) -> list[onnx.NodeProto]:
    return [onnx.parser.parse_node(line) for line in lines]


def _add(model: onnx.ModelProto, constants: dict[str, np.ndarray]) -> None:
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items())


def _set(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    assert list(tensor.dims) == list(value.shape)
    tensor.CopyFrom(numpy_helper.from_array(value, name))
