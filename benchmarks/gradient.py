"""Forward and backward of one batch: ours beside PyTorch and the other ways to a gradient of an ONNX file.

    python benchmarks/gradient.py --peers PYTHON [--folder FOLDER] [--only NAME …] [--without CONTENDER …]
                                  [--exporter new|old|old14] [--batch 8] [--rounds 7] [--threads 2]

Every contender computes the scores and the gradient of the summed cross-entropy with respect to the input; the
parameters ask for none. Prints the best time of each over interleaved rounds, in milliseconds, the ratio of ours to
the forward pass alone (`forward`: ONNX Runtime, fully optimised), and how much faster ours is than the best other.
onnx2torch always reads the old14 file: it knows no newer opset. A gradient that differs from PyTorch's by more than
5 % in L2 is marked wrong and never counts as the best.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from peers import Contender, Refused, exported

AIMS = {"dense": 2.4, "depthwise": 4.0, "transformer": 2.6}
OURS = ("forward", "auditor")
OTHERS = ("torch", "torch.compile", "onnx2torch", "onnx-ad")
WRONG = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="a Python with torch, onnxscript, onnx2torch and onnx-ad")
    parser.add_argument("--folder", type=Path, help="where exported networks are kept between runs")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--without", nargs="*", default=[], choices=OTHERS)
    parser.add_argument("--exporter", default="new", choices=["new", "old", "old14"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    names = [*OURS, *(name for name in OTHERS if name not in options.without)]
    print(f"{'ms':16}" + "".join(f"{name:>14}" for name in names) + f"{'/ forward':>11}{'faster':>8}")
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for network in exported(options.peers, folder, only=options.only, batch=options.batch):
            figures = measure(network["name"], folder, names, options)
            print(row(network, figures, names), flush=True)
            if not isinstance(figures["auditor"], str):
                ratios.append(faster(figures))
    print(
        f"faster than the best other: {geometric_mean(ratios):.2f} in the geometric mean, {min(ratios):.2f} at least"
    )


def measure(name: str, folder: Path, names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Contender -> its best time in seconds, or in words why there is none."""
    request = {"folder": str(folder), "name": name, "exporter": options.exporter, "threads": options.threads}
    figures: dict[str, Any] = {}
    contenders = [
        Contender(n, sys.executable, "ours.py", n, threads=options.threads)
        if n in OURS
        else Contender(n, options.peers, "theirs.py", n, threads=options.threads)
        for n in names
    ]
    try:
        for contender in contenders:
            try:
                error = contender.ask(**request)["error"]
                figures[contender.name] = math.inf if error <= WRONG else f"wrong {error:.0%}"
            except Refused as refusal:
                print(f"{name}, {contender.name}: {refusal}", file=sys.stderr)
                figures[contender.name] = "refused"
        for _ in range(options.rounds):
            for contender in contenders:
                if not isinstance(figures[contender.name], str):
                    figures[contender.name] = min(figures[contender.name], contender.ask()["seconds"])
    finally:
        for contender in contenders:
            contender.close()
    return figures


def faster(figures: dict[str, Any]) -> float:
    """How many times as long as ours the best other took."""
    return min(figures[n] for n in OTHERS if isinstance(figures.get(n), float)) / figures["auditor"]


def row(network: dict[str, Any], figures: dict[str, Any], names: Sequence[str]) -> str:
    cells = [figures[n] if isinstance(figures[n], str) else f"{1e3 * figures[n]:.1f}" for n in names]
    if isinstance(figures["auditor"], str):
        return f"{network['name']:16}" + "".join(f"{c:>14}" for c in cells)
    cost, aim = figures["auditor"] / figures["forward"], AIMS.get(network["kind"])
    short = "" if aim is None or cost <= aim else f"   aim {aim}"
    return f"{network['name']:16}" + "".join(f"{c:>14}" for c in cells) + f"{cost:11.2f}{faster(figures):8.2f}{short}"


if __name__ == "__main__":
    main()
