"""Our gradients against PyTorch's autograd, on networks written by PyTorch's two exporters.

    python benchmarks/parity.py --peers PYTHON [--folder FOLDER] [--only NAME …] [--batch 8]

Per file: the angle between the two gradients of the summed cross-entropy with respect to the input (as cosine), the
share of entries with equal sign, and the relative L2 error; beside them PyTorch's float32 against its own float64,
which is as near as two correct answers come. Exits with 1 when a smooth network's cosine is not above 0.9999 or a
network with kinks agrees in not more than 99.9 % of the signs.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from ours import compiled, gradient_of
from peers import exported

MIN_COSINE, MIN_SIGNS = 0.9999, 0.999


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="a Python with torch and onnxscript")
    parser.add_argument("--folder", type=Path, help="where exported networks are kept between runs")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        networks = exported(options.peers, folder, only=options.only, batch=options.batch)
        print(f"{'file':28} {'cosine':>11} {'signs':>9} {'error':>8}   float32 against float64 of PyTorch")
        reached = [report(folder, network["name"], network["smooth"]) for network in networks]
    return 0 if all(reached) else 1


def report(folder: Path, name: str, smooth: bool) -> bool:
    """Print a line per file; whether every file reaches its aim."""
    answer = np.load(folder / f"{name}.npz")
    own = compare(answer["g"], answer["g64"])
    reached = True
    for path in sorted(folder.glob(f"{name}.*.onnx")):
        try:
            found = compare(gradient_of(compiled(path, answer["x"]), answer["x"], answer["y"]), answer["g"])
        except Exception as error:
            print(f"{path.name:28} {type(error).__name__}: {error}")
            reached = False
            continue
        good = found[0] > MIN_COSINE if smooth else found[1] > MIN_SIGNS
        reached &= good
        print(f"{path.name:28} {line(found)}   {line(own)}{'' if good else '   short of the aim'}", flush=True)
    return reached


def compare(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Cosine, share of equal signs, relative L2 error."""
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    norms = np.linalg.norm(a), np.linalg.norm(b)
    return a @ b / (norms[0] * norms[1]), float(np.mean(np.sign(a) == np.sign(b))), np.linalg.norm(a - b) / norms[1]


def line(figures: tuple[float, float, float]) -> str:
    cosine, signs, error = figures
    return f"{cosine:11.8f} {100 * signs:8.4f}% {error:8.1e}"


if __name__ == "__main__":
    sys.exit(main())
