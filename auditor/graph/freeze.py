"""Static shapes and folded constants: no shape arithmetic is left for a gradient rule to see."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from auditor import runtime
from auditor.errors import ModelError
from auditor.graph.flatten import flatten, keep_loop_shapes
from auditor.graph.load import nodes_of
from auditor.graph.rewriting import take_apart

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_LEVELS = (ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.UINT16, ir.DataType.INT16)

_MISREAD: dict[str, dict[str, Any]] = {"MeanVarianceNormalization": {"axes": [0, 2, 3]}, "STFT": {"onesided": 1}}


def freeze(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> ir.Model:
    """The model with input `name` of that shape, batch included; every float value has a static shape.

    ModelError when ONNX Runtime refuses the shape, or a shape depends on the input's values.
    """
    reshaped(model, name, shape)
    folded = onnx.load_from_string(runtime.fold(model.SerializeToString()))
    return with_shapes(flatten(folded), name)


def reshaped(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> None:
    """Give input `name` that shape, and forget every other shape that the file states."""
    tensor = next(i for i in model.graph.input if i.name == name).type.tensor_type
    del tensor.shape.dim[:]
    for size in shape:
        tensor.shape.dim.add().dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    for body in (a.g for node in nodes_of(model.graph) for a in node.attribute if a.HasField("g")):
        del body.value_info[:]
        for value in (*body.input, *body.output):
            if value.type.tensor_type.shape.dim:
                value.type.tensor_type.ClearField("shape")


def with_shapes(model: onnx.ModelProto, name: str) -> ir.Model:
    """Infer every shape; what inference does not know (operators outside the standard) is measured by running."""
    _spell_out_defaults(model)
    result = ir.from_proto(_inferred(model))
    while keep_loop_shapes(result):
        result = ir.from_proto(_inferred(ir.to_proto(result)))
    unknown = [y for node in result.graph for y in node.outputs if y.name and not _static(y)]
    if unknown:
        _measure(result, unknown, name)
    take_apart(result)
    return result


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"the shapes inside the model do not fit together: {reason}") from error


def _spell_out_defaults(model: onnx.ModelProto) -> None:
    """Where the standard's own inference errs as long as an attribute is left to its default."""
    for node in nodes_of(model.graph):
        for name, default in _MISREAD.get(node.op_type, {}).items():
            if not any(a.name == name for a in node.attribute):
                node.attribute.append(onnx.helper.make_attribute(name, default))


def _static(value: ir.Value) -> bool:
    known = value.shape is not None and all(isinstance(d, int) for d in value.shape)
    return value.dtype is not None and (known or value.dtype not in (*_FLOATS, *_LEVELS))


def _measure(model: ir.Model, unknown: list[ir.Value], name: str) -> None:
    """Set the shapes that two runs on different inputs agree on."""
    proto = ir.to_proto(model)
    wanted = [y.name or "" for y in unknown]
    proto.graph.ClearField("output")
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted)
    session = runtime.Session(proto.SerializeToString(), optimise="none")
    x = session.inputs[name]
    rng = np.random.default_rng(0)
    shape = [int(d) for d in x.shape]  # type: ignore[arg-type]
    first, second = (session.run({name: rng.normal(size=shape).astype(x.dtype)}, wanted) for _ in range(2))
    for value, one, two in zip(unknown, first, second, strict=True):
        if np.shape(one) != np.shape(two):
            node = value.producer()
            raise ModelError(
                f"{node.op_type if node else 'a node'} (output '{value.name}') gives a shape that depends on the "
                "input's values, so that no gradient graph of one shape exists"
            )
        value.dtype = ir.DataType.from_numpy(np.asarray(one).dtype)
        value.shape = ir.Shape(np.shape(one))
