"""Which of a model's inputs is attacked, and what the others are given.

One input is attacked: the only one, the one that is named, or a table whose columns are inputs of one number per example
each, as scikit-learn's converter writes them. The others are held at declared values, the same for every example.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from auditor.errors import ModelError, SpecError
from auditor.runtime import Tensor
from auditor.spec import Held

FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
# What an input of few bits can hold: grey levels, readings of a converter.
LEVELS = {
    "tensor(uint8)": (0, 255),
    "tensor(int8)": (-128, 127),
    "tensor(uint16)": (0, 65535),
    "tensor(int16)": (-32768, 32767),
}
_EXAMPLE = "auditor/example"  # the input with a batch axis in front of it
_TABLE = "auditor/table"  # the input in whose place the columns stand
_WHOLE = ("tensor(int64)", "tensor(int32)", "tensor(bool)")
_STRING = "tensor(string)"


@dataclass(frozen=True)
class Inputs:
    """attacked: the input, or a table (None, columns) of float32 in the place of `columns`, or (1, *shape) in the place of
    `example`, an input without a batch axis. held: the other inputs and
    their values; missing: those that still need some."""

    attacked: Tensor
    columns: tuple[Tensor, ...] = ()
    held: tuple[tuple[Tensor, Held], ...] = ()
    missing: tuple[Tensor, ...] = ()
    example: Tensor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the table's columns; empty where one input is attacked."""
        return tuple(column.name for column in self.columns)

    @property
    def whole(self) -> tuple[str, ...]:
        """The columns that take whole numbers."""
        return tuple(column.name for column in self.columns if column.type in _WHOLE)

    def refuse_missing(self) -> None:
        """ModelError where an input beside the attacked one has no value."""
        if self.missing:
            listed = ", ".join(f"'{tensor.name}' {written(tensor)}" for tensor in self.missing)
            raise ModelError(
                f"the model also takes {listed}: say what it is given for every example, with --fix NAME=VALUE"
            )

    def feeds(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """What a session of the upload's is given for a batch. x: (N, *shape)"""
        self.refuse_missing()
        beside = self.beside(x.shape)
        if self.example is not None:
            return {self.example.name: x[0].astype(self.example.dtype)} | beside
        if not self.columns:
            return {self.attacked.name: x.astype(self.attacked.dtype)} | beside
        parts = zip(self.columns, np.split(x, len(self.columns), axis=1), strict=True)
        return {c.name: part.astype(c.dtype).reshape(_shape(c, x.shape, self.attacked)) for c, part in parts} | beside

    def beside(self, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """The values of the held inputs beside a batch of that shape."""
        return {tensor.name: _filled(tensor, value, shape, self.attacked) for tensor, value in self.held}

    def built_in(self, model: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
        """A copy of the model that takes the attacked input alone, at that shape, batch included: held values are its
        constants, and columns are cut out of the table."""
        if not (self.columns or self.held or self.example):
            return model
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        graph, own = copy.graph, {*self.names, *(tensor.name for tensor, _ in self.held)}
        own |= set() if self.example is None else {self.example.name}
        kinds = {i.name: i.type.tensor_type.elem_type for i in graph.input}
        kept = [i for i in graph.input if i.name not in own]
        del graph.input[:]
        graph.input.extend(kept)
        held = self.beside(shape)
        graph.initializer.extend(onnx.numpy_helper.from_array(v, n) for n, v in held.items() if n in kinds)
        if self.columns or self.example is not None:
            kind = onnx.TensorProto.FLOAT if self.example is None else kinds[self.example.name]
            graph.input.append(onnx.helper.make_tensor_value_info(self.attacked.name, kind, shape))
        nodes = self._cuts(kinds, shape) if self.columns else self._unwrapped(shape)
        for position, node in enumerate(nodes):
            graph.node.insert(position, node)
        return copy

    def _unwrapped(self, shape: tuple[int, ...]) -> Iterator[onnx.NodeProto]:
        """The one example of the batch, as the file takes it."""
        if self.example is not None:
            size = onnx.numpy_helper.from_array(np.array(shape[1:], np.int64))
            yield onnx.helper.make_node("Constant", [], [f"{_EXAMPLE}/size"], value=size)
            yield onnx.helper.make_node("Reshape", [_EXAMPLE, f"{_EXAMPLE}/size"], [self.example.name])

    def _cuts(self, kinds: dict[str, int], shape: tuple[int, ...]) -> Iterator[onnx.NodeProto]:
        make = onnx.helper.make_node
        parts = [f"{_TABLE}/{position}" for position in range(len(self.columns))]
        yield make("Split", [_TABLE], parts, axis=1, num_outputs=len(parts))
        for column, part in zip(self.columns, parts, strict=True):
            if column.name in kinds:
                size = _shape(column, shape, self.attacked)
                whole = onnx.numpy_helper.from_array(np.array(size, np.int64))
                yield make("Constant", [], [f"{part}/size"], value=whole)
                yield make("Reshape", [part, f"{part}/size"], [f"{part}/shaped"])
                yield make("Cast", [f"{part}/shaped"], [column.name], to=kinds[column.name])


def find_inputs(
    inputs: Sequence[Tensor], name: str | None, held: Sequence[Held], *, unbatched: bool = False
) -> Inputs:
    """Sort out a model's inputs. name: of the attacked one, where there are several; unbatched: whether that has no batch axis.
    ModelError and SpecError where that cannot be done."""
    listed = ", ".join(f"'{i.name}' {written(i)}" for i in inputs)
    named = {tensor.name: tensor for tensor in inputs}
    for asked in (*(value.input for value in held), *([] if name is None else [name])):
        if asked not in named:
            raise ModelError(f"the model has no input '{asked}'; it has {listed}")
    given = tuple((named[value.input], value) for value in held)
    free = [tensor for tensor in inputs if tensor.name not in {value.input for value in held}]
    if name is not None and name not in {tensor.name for tensor in free}:
        raise SpecError(f"the input '{name}' cannot be attacked and held by --fix at once")
    if not free:
        raise SpecError("every input is held by --fix, so that there is none to attack")
    if name is None and len(free) > 1:
        return Inputs(_table(free, listed), tuple(free), given)
    attacked = named[name] if name is not None else free[0]
    if attacked.type not in (*FLOATS, *LEVELS):
        raise ModelError(
            f"input '{attacked.name}' {written(attacked)} holds neither floats nor levels, so that a small change of it means "
            "nothing"
        )
    missing = tuple(tensor for tensor in free if tensor is not attacked)
    if not unbatched:
        return Inputs(attacked, (), given, missing)
    return Inputs(Tensor(_EXAMPLE, attacked.type, (1, *attacked.shape)), (), given, missing, attacked)


def written(tensor: Tensor) -> str:
    """Shape and type, for messages."""
    return f"({', '.join('?' if d is None else str(d) for d in tensor.shape)}) of {tensor.type}"


def _table(inputs: Sequence[Tensor], listed: str) -> Tensor:
    """The table in the place of columns."""
    if any(len(i.shape) not in (1, 2) or i.shape[1:] not in ((), (1,)) for i in inputs):
        raise ModelError(
            f"the model has {len(inputs)} inputs: {listed}; name the one to attack with --input, and say with --fix NAME=VALUE "
            "what the others are given"
        )
    strings = [i.name for i in inputs if i.type == _STRING]
    if strings:
        raise ModelError(
            f"the columns {', '.join(strings)} take text, which no small change leads through; hold them with --fix NAME=VALUE"
        )
    first = inputs[0].shape[0]
    return Tensor(_TABLE, "tensor(float)", (first if isinstance(first, int) else None, len(inputs)))


def _filled(tensor: Tensor, held: Held, shape: tuple[int, ...], attacked: Tensor) -> np.ndarray:
    size = _shape(tensor, shape, attacked)
    kind = np.dtype(object) if tensor.type == _STRING else tensor.dtype
    values = np.array(held.value, kind) if isinstance(held.value, str) else np.array(held.value).astype(kind)
    try:
        return np.ascontiguousarray(np.broadcast_to(values if values.size > 1 else values.reshape(()), size))
    except ValueError:
        raise SpecError(
            f"--fix {held.input}: {values.size} values do not fill the input's shape {written(tensor)}"
        ) from None


def _shape(tensor: Tensor, shape: tuple[int, ...], attacked: Tensor) -> tuple[int, ...]:
    """The shape of an input beside a batch of the attacked one: axes of one name are of one length, and an open first axis is
    the batch's."""
    known = {name: size for name, size in zip(attacked.shape, shape, strict=True) if isinstance(name, str)}
    sizes: list[int] = []
    for axis, size in enumerate(tensor.shape):
        if isinstance(size, int) and size >= 0:
            sizes.append(size)
        elif size in known:
            sizes.append(known[str(size)])
        elif axis == 0:
            sizes.append(shape[0])
        else:
            raise ModelError(
                f"input '{tensor.name}' {written(tensor)} leaves axes open that the attacked input does not settle; export "
                "the model with a fixed shape"
            )
    return tuple(sizes)
