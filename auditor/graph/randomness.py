"""Random numbers inside a model: kept while it is attacked, stilled where two graphs are compared."""

import onnx

from auditor.graph.load import STANDARD, all_nodes

# The newest opset at which ONNX Runtime 1.31 has kernels for them.
LAST_OPSET = 21

_NORMAL = ("RandomNormal", "RandomNormalLike")
_UNIFORM = ("RandomUniform", "RandomUniformLike")
_NO_SPREAD = 1e-30  # zero is no standard deviation


def is_random(model: onnx.ModelProto) -> bool:
    """Whether a node draws noise of a given shape."""
    return any(_draws(node) for node in all_nodes(model))


def stilled(data: bytes) -> bytes:
    """Serialised ONNX whose noise always is its mean, so that what is left is a function of the input."""
    model = onnx.load_from_string(data)
    if not is_random(model):
        return data
    for node in filter(_draws, all_nodes(model)):
        spread = {a.name: a for a in node.attribute}
        if node.op_type in _NORMAL:
            fixed = {"scale": _NO_SPREAD}
        else:
            low, high = (
                spread[name].f if name in spread else default for name, default in (("low", 0.0), ("high", 1.0))
            )
            fixed = {"low": (low + high) / 2, "high": (low + high) / 2}
        for name in fixed.keys() & spread.keys():
            node.attribute.remove(spread[name])
        node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in fixed.items())
    return model.SerializeToString()


def _draws(node: onnx.NodeProto) -> bool:
    return node.domain in STANDARD and node.op_type in (*_NORMAL, *_UNIFORM)
