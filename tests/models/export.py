"""Write the small networks as ONNX files by PyTorch's two exporters.

    PYTHON_WITH_TORCH tests/models/export.py FOLDER [--only NAME …] [--every]

FOLDER gets NAME.EXPORTER-OPSET[-fixed].onnx: `old` is the tracing exporter, `new` the one on torch.export; `fixed`
has the batch of one that they write unless told otherwise. With --every each network is written in every way, and a
line printed per refusal. Without it, as the files beside this script were made, once by each exporter, at opsets that
come round in turn, one of the two with a fixed batch. Needs PyTorch and onnxscript.
"""

import argparse
import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from networks import NETWORKS, make

OLD, NEW = (7, 9, 11, 13, 15, 17, 20, 23), (18, 20, 21, 23, 24, 26)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--every", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        turn = list(NETWORKS).index(name)
        for exporter, opsets in (("old", OLD), ("new", NEW)):
            if options.every:
                write_every(options.folder, name, exporter, opsets)
            else:
                write_one(options.folder, name, exporter, opsets, turn, fixed=(turn + (exporter == "new")) % 2 == 1)


def write_every(folder: Path, name: str, exporter: str, opsets: Sequence[int]) -> None:
    for opset in opsets:
        for fixed in (False, True):
            error = write(folder, name, exporter, opset, fixed=fixed)
            if error:
                print(f"{name}.{exporter}-{opset}{'-fixed' if fixed else ''}: {error}", flush=True)


def write_one(folder: Path, name: str, exporter: str, opsets: Sequence[int], turn: int, *, fixed: bool) -> None:
    """The first opset, from the one whose turn it is, that the exporter can write."""
    for i in range(len(opsets)):
        if write(folder, name, exporter, opsets[(turn + i) % len(opsets)], fixed=fixed) is None:
            return
    raise RuntimeError(f"the {exporter} exporter refuses {name} at every opset")


def write(folder: Path, name: str, exporter: str, opset: int, *, fixed: bool) -> str | None:
    """One file; gives the error instead where the exporter refuses."""
    path = folder / f"{name}.{exporter}-{opset}{'-fixed' if fixed else ''}.onnx"
    network, x = make(name)
    names = {"input_names": ["x"], "output_names": ["scores"], "opset_version": opset, "verbose": False}
    if exporter == "new":
        free = {"dynamic_shapes": None if fixed else ({0: torch.export.Dim("batch", min=1, max=1024)},)}
    else:
        free = {"dynamic_axes": None if fixed else {"x": {0: "batch"}, "scores": {0: "batch"}}}
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            torch.onnx.export(
                network,
                (x[:1] if fixed else x,),
                str(path),
                dynamo=exporter == "new",
                external_data=False,
                **names,
                **free,
            )
        forget_sources(path)
        onnx.checker.check_model(path)  # at opset 26 some files say that they are of opset 18
    except Exception as error:
        path.unlink(missing_ok=True)
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return None


def forget_sources(path: Path) -> None:
    """Drop the stack traces that exporters leave in a file: most of its size, and somebody's folders."""
    model = onnx.load(path)
    for graph in (model.graph, *model.functions):
        for part in (*graph.node, *graph.value_info, *graph.input, *graph.output):
            if not isinstance(part, str):
                part.doc_string = ""
                del part.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.save(model, path)


if __name__ == "__main__":
    main()
