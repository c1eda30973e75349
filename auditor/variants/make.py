"""An upload in another precision, as ONNX Runtime's own tools write it, with their defaults but where it says so."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx_ir as ir

from auditor.errors import ModelError, SpecError
from auditor.graph.normalise import normalise
from auditor.graph.upload import Upload
from auditor.spec import Normalisation

CALIBRATED = 100  # examples that the ranges of activations are taken from
_PER_CHANNEL = 13  # the opset since which DequantizeLinear has an axis


def make(kind: str, upload: Upload, x: np.ndarray, normalisation: Normalisation | None) -> bytes:
    """The upload as one of KINDS. x: (n, *shape) float32 examples in the domain, for kinds that need ranges.

    Raises SpecError for a kind that there is not, ModelError where the tools fail or change nothing.
    """
    if kind not in KINDS:
        raise SpecError(f"--to {kind} is not known; choose from {', '.join(KINDS)}, or name the variant's own file")
    try:
        with _quiet():
            data = KINDS[kind](upload, _inputs(upload, x, normalisation))
    except Exception as error:  # whatever the tools raise, the other variants go on
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"ONNX Runtime's tools cannot make it {kind}: {type(error).__name__}: {said}") from error
    if not _narrow(onnx.load_from_string(data)):
        raise ModelError(f"ONNX Runtime's tools found nothing in it to make {kind}")
    return data


def _float16(upload: Upload, inputs: Iterator[dict[str, np.ndarray]]) -> bytes:
    """Weights and arithmetic; inputs and outputs stay as they are."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    made = ir.from_proto(convert_float_to_float16(onnx.load_from_string(upload.data), keep_io_types=True))
    made.graph.sort()  # the tool puts its casts behind all that they are for
    return ir.to_proto(made).SerializeToString()


def _int8(upload: Upload, inputs: Iterator[dict[str, np.ndarray]]) -> bytes:
    """Weights to int8, per channel from opset 13 on, and activations to uint8 by their smallest and largest values, in QDQ form."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    def quantise(source: Path, target: Path) -> None:
        prepared = source.with_name("prepared.onnx")
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=upload.opset >= _PER_CHANNEL,
        )

    return _through_files(upload.data, quantise)


def _int8_dynamic(upload: Upload, inputs: Iterator[dict[str, np.ndarray]]) -> bytes:
    """Weights to int8, activations to uint8 by the range that each input gives them while it runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    def quantise(source: Path, target: Path) -> None:
        prepared = source.with_name("prepared.onnx")
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_dynamic(prepared, target, weight_type=QuantType.QInt8)

    return _through_files(upload.data, quantise)


KINDS: dict[str, Callable[[Upload, Iterator[dict[str, np.ndarray]]], bytes]] = {
    "float16": _float16,
    "int8": _int8,
    "int8-dynamic": _int8_dynamic,
}


class _Reader:
    """Inputs as the quantiser asks for them."""

    def __init__(self, inputs: Iterator[dict[str, np.ndarray]]) -> None:
        self._inputs = inputs

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._inputs, None)


def _inputs(upload: Upload, x: np.ndarray, normalisation: Normalisation | None) -> Iterator[dict[str, np.ndarray]]:
    """What the upload is run on, one example after another, as `attacks.verify` runs it."""
    for one in x:
        ready = normalise(one[None], normalisation, upload.layout)
        batch = np.repeat(ready, upload.fixed_batch or 1, axis=0).astype(upload.input_dtype)
        yield {upload.input: batch}


def _through_files(data: bytes, change: Callable[[Path, Path], None]) -> bytes:
    """The tools read and write files. They transpose weights, and stumble over shapes of these that a file declares."""
    model = onnx.load_from_string(data)
    model.graph.ClearField("value_info")
    with TemporaryDirectory(prefix="auditor-variant-") as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "variant.onnx"
        onnx.save(model, source)
        change(source, target)
        return target.read_bytes()


def _narrow(model: onnx.ModelProto) -> bool:
    """Whether there are weights or casts of fewer bits in it."""
    kinds = {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    casts = (node for node in model.graph.node if node.op_type == "Cast")
    to = {attribute.i for node in casts for attribute in node.attribute if attribute.name == "to"}
    return bool(kinds & to) or any(weight.data_type in kinds for weight in model.graph.initializer)


@contextmanager
def _quiet() -> Iterator[None]:
    """The tools speak to the root logger of what is decided here."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
