"""Every float in single precision: what the gradient is taken of; and how near its scores must come to the upload's.

Of a half-precision file the gradient is that of the same network in float32: small cotangents would underflow in
float16, and ONNX Runtime's CPU computes in float32 between casts anyway. The scores then differ by float16's rounding,
which `HALF_TOLERANCE` allows for. A file that takes float64 is brought down to float32, since ONNX Runtime lacks
float64 kernels for operators that a gradient needs. The upload itself still decides.

In a quantised file another order of sums can move a value to the next level, which takes the scores by far more than
float32's rounding.
"""

import numpy as np
import onnx

from auditor.graph.load import all_nodes, tensors_of

# Shares of the range of one example's scores.
TOLERANCE = 1e-3  # float32 through another order of sums stays well below
COARSE_TOLERANCE = 3e-2  # float16's 2^-11, or single levels of 2^8, through some tens of layers

_QUANTISERS = ("Quantize", "QLinear", "QGemm", "Integer", "MatMulNBits")  # parts of operators' names

_HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type")


def is_half(model: onnx.ModelProto) -> bool:
    """Whether a weight or the input is held in sixteen bits."""
    return any(t in _HALF for t in (*(t.data_type for t in tensors_of(model)), *_input_types(model)))


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether it computes with whole levels, or its weights are held in a few bits."""
    return any(part in node.op_type for node in all_nodes(model) for part in _QUANTISERS)


def in_single_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with float32 wherever it says float16 or bfloat16; changes `model`.

    Also wherever it says float64 if that is what it takes: inside a float32 file a few float64 nodes are deliberate,
    and mostly about shapes.
    """
    double = onnx.TensorProto.DOUBLE
    replaced = (*_HALF, double) if double in _input_types(model) else _HALF
    for tensor in tensors_of(model):
        if tensor.data_type in replaced:
            tensor.CopyFrom(onnx.numpy_helper.from_array(_rounded(onnx.numpy_helper.to_array(tensor)), tensor.name))
    graphs = [model.graph]
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in replaced:
                attribute.i = onnx.TensorProto.FLOAT
            graphs += [attribute.g, *attribute.graphs]
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in replaced:
                value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model


def with_float_input(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy whose input of whole numbers takes float32: the same function where the input is whole, and a gradient in
    between. Where a node wants whole numbers, the types no longer fit together, and whoever infers them says so."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    value = next(i for i in copy.graph.input if i.name == name)
    value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return copy


def _input_types(model: onnx.ModelProto) -> list[int]:
    return [i.type.tensor_type.elem_type for i in model.graph.input]


def _rounded(array: np.ndarray) -> np.ndarray:
    """As float32; a finite number stays finite, since a mask's largest number times zero must stay zero."""
    largest = np.finfo(np.float32).max
    array = array.astype(np.float64)
    return np.where(np.isfinite(array), np.clip(array, -largest, largest), array).astype(np.float32)
