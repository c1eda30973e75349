"""Write quantised forms of the small networks beside this script, by ONNX Runtime's own quantiser.

    python tests/models/quantise.py FOLDER

FOLDER gets NETWORK.FORM.onnx: `qdq` int8 per channel between QuantizeLinear and DequantizeLinear, `qoperator` uint8 with
QLinear operators, `int4` four-bit weights per block with uint8 activations, `dynamic` scales that are computed as the model runs, `nbits`
MatMulNBits. Ranges come from random inputs, as the audits of these files use.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization as q
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

HERE = Path(__file__).parent
STATIC = {
    "qdq": {
        "quant_format": q.QuantFormat.QDQ,
        "per_channel": True,
        "activation_type": q.QuantType.QInt8,
        "weight_type": q.QuantType.QInt8,
    },
    "qoperator": {
        "quant_format": q.QuantFormat.QOperator,
        "activation_type": q.QuantType.QUInt8,
        "weight_type": q.QuantType.QUInt8,
    },
    "int4": {
        "quant_format": q.QuantFormat.QDQ,
        "activation_type": q.QuantType.QUInt8,
        "weight_type": q.QuantType.QInt4,
    },
}
WANTED = (
    ("resnet.new-23", "qdq"),
    ("resnet.new-23", "qoperator"),
    ("resnet.new-23", "int4"),
    ("resnet.new-23", "dynamic"),
    ("densenet.old-15", "qoperator"),
    ("mobilenet_v3.new-21-fixed", "qoperator"),
    ("vit.old-15-fixed", "qdq"),
    ("vit.old-15-fixed", "qoperator"),
    ("vit.new-18", "nbits"),
)


class Ranges(q.CalibrationDataReader):
    """Random inputs in [0, 1]."""

    def __init__(self, model: onnx.ModelProto) -> None:
        (x,) = model.graph.input
        shape = [d.dim_value for d in x.type.tensor_type.shape.dim][1:]
        rng = np.random.default_rng(0)
        self._left = iter([{x.name: rng.random((1, *shape), np.float32)} for _ in range(16)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    logging.disable(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    for file, form in WANTED:
        write(HERE / f"{file}.onnx", form, folder / f"{file.split('.')[0]}.{form}.onnx")


def write(source: Path, form: str, target: Path) -> None:
    model = onnx.load(source)
    if form == "nbits":
        quantiser = MatMulNBitsQuantizer(model, block_size=16, is_symmetric=False)
        quantiser.process()
        onnx.save(quantiser.model.model, target)
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        del model.graph.value_info[:]  # an exporter's shapes, for a batch by another name than the quantiser infers
        onnx.save(model, plain)
        if form == "dynamic":
            q.quantize_dynamic(plain, target)
        else:
            q.quantize_static(plain, target, Ranges(model), **STATIC[form])


if __name__ == "__main__":
    main()
