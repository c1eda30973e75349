"""One opset for every model, so that each gradient rule has one meaning to follow.

onnx's own version converter does the work: it knows what changed between versions (Softmax before opset 13 flattens,
axes that were attributes became inputs ...). Whether it did well is shown by comparing scores, in `plain`.
"""

import onnx
from onnx import inliner, version_converter

from auditor.errors import ModelError
from auditor.graph.load import (
    STANDARD,
    WORKING_IR_VERSION,
    WORKING_OPSET,
    all_nodes,
    default_opset,
    hide_early_operators,
)
from auditor.graph.randomness import LAST_OPSET, is_random

_HIDDEN = "auditor.early"
# ONNX Runtime has no kernel for the newest versions of these, nor for the random ones'.
_LEFT_BEHIND = ("GlobalLpPool", "MaxRoiPool", "RoiAlign")


def raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model at the working opset, its functions inlined. ModelError when the converter gives up.

    A model with random numbers goes no further than ONNX Runtime can draw them, nor any further than it has kernels.
    A file at opset 18 or later that the converter cannot take is relabelled: since then nearly every change only
    added element types, and the comparison of scores finds the rest.
    """
    model = _one_name_for_the_standard(inliner.inline_local_functions(model))
    opset = default_opset(model)
    if opset == 0:
        model.opset_import.append(onnx.helper.make_opsetid("", WORKING_OPSET))
    elif opset < (wanted := LAST_OPSET if is_random(model) or _is_left_behind(model) else WORKING_OPSET):
        model = _converted(model, opset, wanted)
    model.ir_version = WORKING_IR_VERSION
    return model


def _is_left_behind(model: onnx.ModelProto) -> bool:
    return any(node.domain == "" and node.op_type in _LEFT_BEHIND for node in all_nodes(model))


def _converted(model: onnx.ModelProto, opset: int, wanted: int) -> onnx.ModelProto:
    model.ir_version = max(model.ir_version, 8)
    hidden = hide_early_operators(model, _HIDDEN)
    try:
        raised = version_converter.convert_version(hidden, wanted)
    except (RuntimeError, version_converter.ConvertError) as error:
        if opset < 18:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"the model cannot be raised from opset {opset} to {wanted}: {reason}") from error
        raised = model
        next(o for o in raised.opset_import if o.domain == "").version = wanted
    for node in all_nodes(raised):
        if node.domain == _HIDDEN:
            node.domain = ""
    return raised


def _one_name_for_the_standard(model: onnx.ModelProto) -> onnx.ModelProto:
    for entry in (*model.opset_import, *all_nodes(model)):
        if entry.domain in STANDARD:
            entry.domain = ""
    return model
