"""Small ONNX classifiers for the tests of `auditor.graph`."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from auditor.graph.load import tensors_of

WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)


def text(body: str, *, opset: int = 17, ir_version: int = 8, domains: str = "", **weights: np.ndarray) -> bytes:
    """A model from ONNX's textual form, with further initializers by name."""
    model = onnx.parser.parse_model(f'<ir_version:{ir_version}, opset_import:["":{opset}{domains}]> {body}')
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in weights.items())
    return model.SerializeToString()


def linear(tail: str = "y = Identity(z)", *, opset: int = 17, batch: str = "N", classes: int = 3, **more) -> bytes:
    """x (batch, 4) -> z = x W -> `tail` -> y (batch, classes)."""
    body = f"f (float[{batch},4] x) => (float[{batch},{classes}] y) {{ z = MatMul(x, W) {tail} }}"
    return text(body, opset=opset, W=WEIGHT[:, :classes], **more)


def convolution(*, batch: int | str = "N", opset: int = 17, tail: str = "y = Gemm(f, V)") -> bytes:
    """x (batch, 3, 6, 6) -> Conv, Relu, GlobalAveragePool, Flatten -> (batch, 5)."""
    body = f"""f (float[{batch},3,6,6] x) => (float[{batch},5] y) {{
        c = Conv<kernel_shape=[3,3]>(x, K) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) {tail} }}"""
    return text(body, opset=opset, K=KERNEL, V=np.eye(4, 5, dtype=np.float32))


def attention(*, batch: int, sequence_first: bool) -> bytes:
    """A fixed-batch block of self-attention with a class token, heads split by Reshape, as exporters write it."""
    rng = np.random.default_rng(2)
    first, second = (3, batch) if sequence_first else (batch, 3)
    swap = "s = Transpose<perm=[1,0,2]>(t)" if sequence_first else "s = Identity(t)"
    heads = (3, batch * 2, 2) if sequence_first else (batch, 3, 2, 2)
    perm, back = ("[1,0,2]", "[1,0,2]") if sequence_first else ("[0,2,1,3]", "[0,2,1,3]")
    last, axis = ("[0,2,1]", 0) if sequence_first else ("[0,1,3,2]", 1)
    body = f"""f (float[{batch},2,4] x) => (float[{batch},3] y) {{
        t = Concat<axis=1>(token, x) {swap}
        q = MatMul(s, Q) qs = Reshape(q, heads) qt = Transpose<perm={perm}>(qs)
        kt = Transpose<perm={last}>(qt) a = MatMul(qt, kt) p = Softmax<axis=-1>(a)
        o = MatMul(p, qt) ot = Transpose<perm={back}>(o) m = Reshape(ot, merged)
        c = Gather<axis={axis}>(m, zero) y = MatMul(c, W) }}"""
    return text(
        body,
        token=np.repeat(rng.normal(size=(1, 1, 4)), batch, 0).astype(np.float32),
        Q=rng.normal(size=(4, 4)).astype(np.float32),
        heads=np.array(heads),
        merged=np.array([first, second, 4]),
        zero=np.array(0),
        W=WEIGHT,
    )


def value(name: str, shape: list, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def halved(data: bytes) -> bytes:
    """A float32 model with float16 in the place of every float32, as converters write it."""
    model = onnx.load_from_string(data)
    for tensor in tensors_of(model):
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for attribute in (a for node in model.graph.node for a in node.attribute):
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
    for part in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if part.type.tensor_type.elem_type == TensorProto.FLOAT:
            part.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model.SerializeToString()


def taking_bytes(data: bytes) -> bytes:
    """The same model behind a uint8 input x whose levels it divides by 255 itself."""
    model = onnx.load_from_string(data)
    (x,) = model.graph.input
    for node in model.graph.node:
        node.input[:] = ["scaled" if name == x.name else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(255), "levels"))
    front = [helper.make_node("Cast", [x.name], ["cast"], to=TensorProto.FLOAT)]
    front.append(helper.make_node("Div", ["cast", "levels"], ["scaled"]))
    for position, node in enumerate(front):
        model.graph.node.insert(position, node)
    x.type.tensor_type.elem_type = TensorProto.UINT8
    return model.SerializeToString()
