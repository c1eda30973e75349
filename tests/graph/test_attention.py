"""ONNX Runtime's fused operators taken apart, against what its own kernels give."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from auditor.graph.rewriting import take_apart
from auditor.runtime import evaluate

RNG = np.random.default_rng(0)
BATCH, TOKENS, HEADS, WIDTH = 2, 5, 2, 8


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X, KEYS, VALUES = normal(BATCH, TOKENS, WIDTH), normal(BATCH, 4, WIDTH), normal(BATCH, 4, WIDTH)
GAMMA, BETA = normal(WIDTH), normal(WIDTH)
PACKED, PACKED_BIAS = 0.5 * normal(WIDTH, 3 * WIDTH), normal(3 * WIDTH)
ANGLES = RNG.uniform(0, 3, (10, 2)).astype(np.float32)
KEPT = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], np.int32)
PLACES = np.array([[0, 1, 2, 3, 4], [2, 3, 4, 5, 6]])
CASES = {
    "skip": ("SkipLayerNormalization", [X, X, GAMMA, BETA], {"epsilon": 1e-5}, [0]),
    "skip with its sum": ("SkipLayerNormalization", [X, X, GAMMA, BETA, BETA], {}, [0, 3]),
    "skip of a shorter one": ("SkipLayerNormalization", [X, X[:1], GAMMA], {}, [0]),
    "root mean square": ("SkipSimplifiedLayerNormalization", [X, X, GAMMA], {"epsilon": 1e-6}, [0]),
    "root mean square with its sum": ("SkipSimplifiedLayerNormalization", [X, X, GAMMA, BETA], {}, [0, 3]),
    "heads": ("MultiHeadAttention", [X, KEYS, VALUES], {"num_heads": HEADS}, [0]),
    "heads, scaled": ("MultiHeadAttention", [X, KEYS, VALUES, PACKED_BIAS], {"num_heads": HEADS, "scale": 0.3}, [0]),
    "heads, split already": (
        "MultiHeadAttention",
        [X, normal(BATCH, HEADS, 4, 4), normal(BATCH, HEADS, 4, 4)],
        {"num_heads": HEADS},
        [0],
    ),
    "heads, padded": ("MultiHeadAttention", [X, X, X, None, KEPT], {"num_heads": HEADS}, [0]),
    "heads, with lengths": (
        "MultiHeadAttention",
        [X, X, X, None, KEPT.sum(axis=1, dtype=np.int32)],
        {"num_heads": HEADS},
        [0],
    ),
    "heads, biased": (
        "MultiHeadAttention",
        [X, X, X, None, None, normal(1, HEADS, TOKENS, TOKENS)],
        {"num_heads": HEADS},
        [0],
    ),
    "heads, one way": ("MultiHeadAttention", [X, X, X], {"num_heads": HEADS, "unidirectional": 1}, [0]),
    "attention": ("Attention", [X, PACKED, PACKED_BIAS], {"num_heads": HEADS}, [0]),
    "attention, masked": (
        "Attention",
        [X, PACKED, PACKED_BIAS, KEPT],
        {"num_heads": HEADS, "mask_filter_value": -50.0},
        [0],
    ),
    "attention, with lengths": (
        "Attention",
        [X, PACKED, PACKED_BIAS, KEPT.sum(axis=1, dtype=np.int32)],
        {"num_heads": HEADS},
        [0],
    ),
    "attention, one way": (
        "Attention",
        [X, PACKED, PACKED_BIAS, KEPT],
        {"num_heads": HEADS, "unidirectional": 1},
        [0],
    ),
    "attention, mask per token": (
        "Attention",
        [X, PACKED, PACKED_BIAS, np.tril(np.ones((BATCH, TOKENS, TOKENS), np.int32))],
        {"num_heads": HEADS},
        [0],
    ),
    "attention, narrow keys": (
        "Attention",
        [X, 0.5 * normal(WIDTH, 4 + 4 + WIDTH), normal(4 + 4 + WIDTH)],
        {"num_heads": HEADS, "qkv_hidden_sizes": [4, 4, WIDTH]},
        [0],
    ),
    "turned": ("RotaryEmbedding", [X, PLACES, np.cos(ANGLES), np.sin(ANGLES)], {}, [0]),
    "turned from a place on": (
        "RotaryEmbedding",
        [X, np.array([3]), np.cos(ANGLES), np.sin(ANGLES)],
        {"interleaved": 1, "num_heads": HEADS},
        [0],
    ),
    "rows in front": (
        "FusedMatMul",
        [normal(4, 3, 5), normal(3, 5, 2)],
        {"transBatchA": 1, "alpha": 0.5},
        [0],
    ),
    "rows in front, transposed": (
        "FusedMatMul",
        [normal(5, 3, 4), normal(2, 3, 5)],
        {"transA": 1, "transBatchA": 1, "transB": 1, "transBatchB": 1},
        [0],
    ),
}


def model_of(operator, arrays, attributes, outputs):
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(arrays)]
    results = [f"y{i}" if i in outputs else "" for i in range(max(outputs) + 1)]
    feeds = {n: a for n, a in zip(names, arrays, strict=True) if a is not None}
    kinds = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()
    ]
    node = helper.make_node(operator, names, results, domain="com.microsoft", **attributes)
    graph = helper.make_graph([node], "fused", kinds, [onnx.ValueInfoProto(name=n) for n in results if n])
    opsets = [helper.make_opsetid("", 26), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), feeds


@pytest.mark.parametrize("name", CASES)
def test_what_is_taken_apart_gives_the_kernels_own_values(name):
    proto, feeds = model_of(*CASES[name])
    own = evaluate(proto.SerializeToString(), feeds)
    model = ir.from_proto(proto)
    take_apart(model)
    assert {node.domain for node in model.graph} == {""}
    for value, array in zip(model.graph.outputs, own, strict=True):
        value.dtype, value.shape = ir.DataType.FLOAT, ir.Shape(array.shape)
    for a, b in zip(evaluate(ir.to_proto(model).SerializeToString(), feeds), own, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
