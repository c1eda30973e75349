"""Write networks as ONNX files by PyTorch's two exporters, with one batch and PyTorch's own gradient beside them.

    PEERS_PYTHON benchmarks/export.py FOLDER [--only NAME …] [--batch 8] [--exporter EXPORTER …]

FOLDER gets NAME.EXPORTER.onnx (new: torch.export; old: the tracing exporter; old14: the same at opset 14, where
normalisations and GELU are still spelt out) and NAME.npz: `x` (batch, *shape) float32 in [0, 1], `y` (batch,) int64,
`logits`, and `g` and `g64`, the gradient of the summed cross-entropy with respect to x in float32 and in float64.
What is there already is left as it is. Prints one JSON line per network: name, kind, smooth, and what each exporter
refused. Needs PyTorch and onnxscript.
"""

import argparse
import contextlib
import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from architectures import ARCHITECTURES, make
from torch import nn

# Name -> whether it is the one that stands on torch.export, and the opset, None for its own default.
EXPORTERS = {"new": (True, None), "old": (False, None), "old14": (False, 14)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--exporter", nargs="*", choices=EXPORTERS, default=list(EXPORTERS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        refused = {}
        if not (options.folder / f"{name}.npz").exists():
            refused = write(options.folder, name, options.batch, options.exporter)
        architecture = ARCHITECTURES[name]
        line = {"name": name, "kind": architecture.kind, "smooth": architecture.smooth, "refused": refused}
        print(json.dumps(line), flush=True)


def write(folder: Path, name: str, batch: int, exporters: list[str]) -> dict[str, str]:
    """One network's files; exporter -> why it refused."""
    module = make(name)
    torch.manual_seed(1)
    x = torch.rand(batch, *ARCHITECTURES[name].shape)
    y = torch.arange(batch) % 10
    errors = {e: export(module, x, folder / f"{name}.{e}.onnx", e) for e in exporters}
    logits, g = gradient(module, x, y)
    _, g64 = gradient(module.double(), x.double(), y)
    np.savez(folder / f"{name}.npz", x=x.numpy(), y=y.numpy(), logits=logits, g=g, g64=g64)
    return {exporter: error for exporter, error in errors.items() if error is not None}


def export(module: torch.nn.Module, x: torch.Tensor, path: Path, exporter: str) -> str | None:
    """Write the file with a free batch axis; gives the error instead where the exporter refuses."""
    dynamo, opset = EXPORTERS[exporter]
    names = {"input_names": ["x"], "output_names": ["scores"], "opset_version": opset}
    free = {"dynamic_axes": {"x": {0: "batch"}, "scores": {0: "batch"}}}
    if dynamo:
        free = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1, max=1024)},)}
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            torch.onnx.export(
                module, (x,), str(path), dynamo=dynamo, external_data=False, verbose=False, **names, **free
            )
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return None


def gradient(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    x = x.clone().requires_grad_()
    logits = module(x)
    (g,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y, reduction="sum"), x)
    return logits.detach().numpy(), g.numpy()


if __name__ == "__main__":
    main()
