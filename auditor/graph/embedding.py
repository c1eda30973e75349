"""Models that take tokens: no small change of a token's number means anything, but one of its embedding does.

Such a model is cut behind the table that its tokens are looked up in. What is attacked, and judged, is the rest of the model, with
the embeddings as its input; the tokens themselves are not attacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from auditor.errors import ModelError
from auditor.graph.randomness import constants_of
from auditor.runtime import Tensor
from auditor.spec import Held

_TOKENS = ("tensor(int64)", "tensor(int32)")
_PASSING = ("Cast", "Identity")


@dataclass(frozen=True)
class Embedding:
    """tokens: the input that holds them; table: (words, width) float32; output: the value that is attacked in its place, an
    input of the serialised model `data`."""

    tokens: Tensor
    table: np.ndarray
    output: str
    data: bytes

    @property
    def held(self) -> Held:
        """The rest of the model asks of the tokens only how many they are."""
        return Held(input=self.tokens.name, value=(0.0,))


def find_tokens(inputs: Sequence[Tensor], name: str | None, held: Sequence[Held]) -> Tensor | None:
    """The input of tokens that is meant to be attacked: the named one, else the only one that is not held."""
    taken = {value.input for value in held}
    free = [i for i in inputs if i.name == name or (name is None and i.name not in taken)]
    tokens = free[0] if len(free) == 1 else None
    return tokens if tokens is not None and tokens.type in _TOKENS and len(tokens.shape) == 2 else None


def cut_behind(model: onnx.ModelProto, tokens: Tensor) -> Embedding | None:
    """The model behind the look-up of its tokens; None where they are looked up in no table of floats.

    Raises ModelError where the rest of the model depends on the tokens themselves.
    """
    constants, aliases = constants_of(model), {tokens.name}
    found: onnx.NodeProto | None = None
    for node in model.graph.node:
        if node.op_type in _PASSING and node.input[0] in aliases:
            aliases.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in aliases and node.input[0] in constants and found is None:
            found = node if constants[node.input[0]].data_type == onnx.TensorProto.FLOAT else None
    if found is None or any(a.name == "axis" and a.i not in (0, -2) for a in found.attribute):
        return None
    _refuse_other_uses(model, aliases, found, tokens)
    table = onnx.numpy_helper.to_array(constants[found.input[0]])
    if table.ndim != 2:
        return None
    return Embedding(tokens, table, found.output[0], _cut(model, found, tokens, table.shape[1]))


def _refuse_other_uses(model: onnx.ModelProto, aliases: set[str], look_up: onnx.NodeProto, tokens: Tensor) -> None:
    for node in model.graph.node:
        if node is look_up or node.op_type in ("Shape", "Size", *_PASSING):
            continue
        if aliases & set(node.input):
            raise ModelError(
                f"the tokens '{tokens.name}' are looked up in a table, but {node.op_type} (node "
                f"'{node.name or node.output[0]}') uses them as well, so that the model cannot be cut behind the table"
            )


def _cut(model: onnx.ModelProto, look_up: onnx.NodeProto, tokens: Tensor, width: int) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.node.remove(look_up)
    output = look_up.output[0]
    del copy.graph.value_info[:]
    copy.graph.input.append(
        onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [*tokens.shape, width])
    )
    return copy.SerializeToString()
