"""Sixteen-bit floats in single precision.

The gradient of a half-precision file is taken of the same network in float32: small cotangents would underflow in
float16, and ONNX Runtime's CPU computes in float32 between casts anyway. The scores then differ by float16's
rounding, which `TOLERANCE` allows for; the upload itself still decides.
"""

import numpy as np
import onnx

from auditor.graph.load import all_nodes, tensors_of

TOLERANCE = 3e-2  # a share of the range of scores: float16's 2^-11 through some tens of layers

_HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type")


def is_half(model: onnx.ModelProto) -> bool:
    """Whether a weight or the input is held in sixteen bits."""
    held = (t.data_type for t in tensors_of(model))
    return any(t in _HALF for t in (*held, *(i.type.tensor_type.elem_type for i in model.graph.input)))


def in_single_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with float32 wherever it says float16 or bfloat16; changes `model`."""
    for tensor in tensors_of(model):
        if tensor.data_type in _HALF:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    graphs = [model.graph]
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALF:
                attribute.i = onnx.TensorProto.FLOAT
            graphs += [attribute.g, *attribute.graphs]
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in _HALF:
                value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model
