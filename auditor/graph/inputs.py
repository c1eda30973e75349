"""Which of a model's inputs is attacked, and what the others are given.

One input is attacked: the only one, the one that is named, or a table whose columns are inputs of one number per example
each, as scikit-learn's converter writes them. The others are held at declared values, the same for every example, or come
with each example (`carried`): then the attacked input, laid flat, and they are one row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from auditor.errors import ModelError, SpecError
from auditor.graph.carried import STRING, Carried, Choice
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


@dataclass(frozen=True)
class Inputs:
    """attacked: the input, or a table (None, columns) of float32 in the place of `columns`, or (1, *shape) in the place of
    `example`, an input without a batch axis. held: the other inputs and
    their values; missing: those that still need some. carried: inputs that come with each example; there the attacked one is
    a table whose first features are `columns`, or `own` laid flat, and whose last are theirs."""

    attacked: Tensor
    columns: tuple[Tensor, ...] = ()
    held: tuple[tuple[Tensor, Held], ...] = ()
    missing: tuple[Tensor, ...] = ()
    example: Tensor | None = None
    carried: tuple[Carried, ...] = ()
    own: Tensor | None = None

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of what is attacked of one example, None where it is open."""
        if self.columns:
            return (len(self.columns),)
        tensor = self.own or self.attacked
        return tuple(d if isinstance(d, int) and d >= 0 else None for d in tensor.shape[1:])

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
        if self.carried:
            behind = np.split(x, np.cumsum(self._sizes)[:-1], axis=1)[-len(self.carried) :]
            along = zip(self.carried, behind, strict=True)
            beside |= {one.tensor.name: one.values(part, len(x)) for one, part in along}
            x = x[:, : sum(self._sizes[: -len(self.carried)])]
        if self.example is not None:
            return {self.example.name: x[0].astype(self.example.dtype)} | beside
        if self.own is not None:
            return {self.own.name: x.astype(self.own.dtype).reshape(len(x), *self.shape)} | beside
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
        if not (self.columns or self.held or self.example or self.carried):
            return model
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        graph, own = copy.graph, {*self.names, *(tensor.name for tensor, _ in self.held)}
        own |= {one.tensor.name for one in self.carried}
        own |= {tensor.name for tensor in (self.example, self.own) if tensor is not None}
        kinds = {i.name: i.type.tensor_type.elem_type for i in graph.input}
        kept = [i for i in graph.input if i.name not in own]
        del graph.input[:]
        graph.input.extend(kept)
        held = self.beside(shape)
        graph.initializer.extend(onnx.numpy_helper.from_array(v, n) for n, v in held.items() if n in kinds)
        if self.attacked.name in (_TABLE, _EXAMPLE):
            kind = onnx.TensorProto.FLOAT if self.example is None else kinds[self.example.name]
            graph.input.append(onnx.helper.make_tensor_value_info(self.attacked.name, kind, shape))
        nodes = self._cuts(kinds, shape) if self.attacked.name == _TABLE else self._unwrapped(shape)
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
        parts = [f"{_TABLE}/{position}" for position in range(len(self._sizes))]
        if set(self._sizes) == {1}:
            yield make("Split", [_TABLE], parts, axis=1, num_outputs=len(parts))
        else:
            sizes = onnx.numpy_helper.from_array(np.array(self._sizes, np.int64))
            yield make("Constant", [], [f"{_TABLE}/sizes"], value=sizes)
            yield make("Split", [_TABLE, f"{_TABLE}/sizes"], parts, axis=1)
        own = self.columns if self.own is None else (self.own,)
        for tensor, part in zip(own, parts, strict=False):
            if tensor.name in kinds:
                size = (shape[0], *self.shape) if self.own is not None else _shape(tensor, shape, self.attacked)
                whole = onnx.numpy_helper.from_array(np.array(size, np.int64))
                yield make("Constant", [], [f"{part}/size"], value=whole)
                yield make("Reshape", [part, f"{part}/size"], [f"{part}/shaped"])
                yield make("Cast", [f"{part}/shaped"], [tensor.name], to=kinds[tensor.name])
        for one, part in zip(self.carried, parts[len(own) :], strict=True):
            if one.tensor.name in kinds:
                yield from one.nodes(part, kinds[one.tensor.name], shape[0])

    @property
    def _sizes(self) -> list[int]:
        """Of the parts of a row: each column or the attacked input, then what comes with each example."""
        own = [1] * len(self.columns) if self.own is None else [prod(self.shape)]  # type: ignore[arg-type]
        return [*own, *(one.size for one in self.carried)]

    def opened(self, groups: Sequence[Sequence[str]]) -> "Inputs":
        """With the texts that may change first among what comes with each example. groups: the columns of each category."""
        opened = [one.opened(groups) for one in self.carried]
        made = replace(self, carried=tuple(sorted(opened, key=lambda one: not isinstance(one, Choice))))
        return replace(made, attacked=replace(self.attacked, shape=(self.attacked.shape[0], sum(made._sizes))))

    @property
    def kept(self) -> tuple[str, ...]:
        """The inputs that come with each example and that no attack changes."""
        return tuple(one.tensor.name for one in self.carried if not isinstance(one, Choice))

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Of what comes with each example, what may change."""
        return tuple(one for one in self.carried if isinstance(one, Choice))

    def knowing(self, model: onnx.ModelProto) -> "Inputs":
        """With the words that the model knows of inputs of text that come with each example."""
        return replace(self, carried=tuple(one.knowing(model) for one in self.carried))

    def filled(self, columns: Mapping[str, np.ndarray], name: str) -> tuple["Inputs", np.ndarray]:
        """With what occurs in the data's columns, and the features behind each row, (N, features) float32. DatasetError for
        what the inputs cannot be given; name: of the data."""
        pairs = [one.filled(columns[one.column], name) for one in self.carried]
        return replace(self, carried=tuple(one for one, _ in pairs)), np.concatenate([f for _, f in pairs], axis=1)


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
    given = tuple((named[value.input], value) for value in held if value.column is None)
    carried = tuple(Carried(named[value.input], value.column) for value in held if value.column is not None)
    free = [tensor for tensor in inputs if tensor.name not in {value.input for value in held}]
    if name is not None and name not in {tensor.name for tensor in free}:
        raise SpecError(f"the input '{name}' cannot be attacked and held by --fix at once")
    if not free:
        raise SpecError("every input is held by --fix, so that there is none to attack")
    numbers = [tensor for tensor in free if tensor.type != STRING]
    if name is None and len(free) > 1 and numbers:
        carried += tuple(Carried(tensor, tensor.name) for tensor in free if tensor.type == STRING)
        return _with_carried(Inputs(_table(numbers, listed), tuple(numbers), given), carried)
    attacked = named[name] if name is not None else free[0]
    if attacked.type not in (*FLOATS, *LEVELS):
        raise ModelError(
            f"input '{attacked.name}' {written(attacked)} holds neither floats nor levels, so that a small change of it means "
            "nothing"
        )
    missing = tuple(tensor for tensor in free if tensor is not attacked)
    if carried and unbatched:
        raise SpecError("an input without a batch axis is one example, with which no others can come (--fix with @)")
    if not unbatched:
        return _with_carried(Inputs(attacked, (), given, missing), carried)
    return Inputs(Tensor(_EXAMPLE, attacked.type, (1, *attacked.shape)), (), given, missing, attacked)


def _with_carried(inputs: Inputs, carried: tuple[Carried, ...]) -> Inputs:
    """One row of what is attacked and what comes with each example."""
    if not carried:
        return inputs
    attacked, own = inputs.attacked, None
    if not inputs.columns:
        if attacked.type not in FLOATS[:2] or None in inputs.shape:
            raise ModelError(
                f"the attacked input '{attacked.name}' {written(attacked)} has open axes, or holds neither float32 nor float64: inputs "
                "cannot come with each example (--fix with @) there"
            )
        own = attacked
    made = replace(inputs, carried=carried, own=own)
    batch = attacked.shape[0] if isinstance(attacked.shape[0], int) else None
    return replace(made, attacked=Tensor(_TABLE, "tensor(float)", (batch, sum(made._sizes))))


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
    first = inputs[0].shape[0]
    return Tensor(_TABLE, "tensor(float)", (first if isinstance(first, int) else None, len(inputs)))


def _filled(tensor: Tensor, held: Held, shape: tuple[int, ...], attacked: Tensor) -> np.ndarray:
    size = _shape(tensor, shape, attacked)
    kind = np.dtype(object) if tensor.type == STRING else tensor.dtype
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
