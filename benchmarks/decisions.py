"""HopSkipJump by decisions alone: ours on an ONNX file beside Foolbox's and ART's on the same network in PyTorch.

    python benchmarks/decisions.py --peers PYTHON [--only mnist cifar] [--norms L2 Linf] [--contenders …]
                                   [--examples 16] [--budgets 1000 5000 25000]

The same images that the network gets right, and the same starting points: the next images to which it gives another
class. Prints each one's median distance after so many queries per example, and queries per second of one processor over
the longest run (aims: no worse a median than Foolbox's, twice its queries per second, and ten times ART's). The line
`forward` is what no attack can pass: our scores alone, in the same batches.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from audits import ROOT
from peers import Contender, Refused

from auditor import load_classifier

MODELS = {
    "mnist": ("trained/mnist_advertorch_lenet5_clean", "mnist_test_1000"),
    "cifar": ("trained/cifar_sdp_cnn_a_adv", "cifar10_test_1000"),
}
NAMES = ("auditor", "foolbox", "art", "forward")
PEERS = NAMES[1:3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="a Python with torch, onnx2torch and the two libraries")
    parser.add_argument("--only", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--norms", nargs="*", default=["L2", "Linf"], choices=["L2", "Linf"])
    parser.add_argument("--contenders", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--budgets", type=int, nargs="*", default=[1000, 5000, 25000])
    options = parser.parse_args()
    print(f"{'model':8}{'norm':6}{'by':10}" + "".join(f"{q:>9}" for q in options.budgets) + f"{'queries/s':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            compare(name, Path(folder), options)


def compare(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Print a line per norm and contender."""
    model, images = MODELS[name]
    path = ROOT / "models" / f"{model}.onnx"
    np.savez(folder / f"{name}.npz", **examples(path, images, options.examples))
    for contender in options.contenders:
        python = options.peers if contender in PEERS else sys.executable
        process = Contender(contender, python, "hop_skip_jump.py", contender, threads=1)
        try:
            process.ask(model=str(path), examples=str(folder / f"{name}.npz"), threads=1)
            for norm in options.norms:
                answer = process.ask(norm=norm, budgets=options.budgets)
                nearest = answer["nearest"] or [np.nan] * len(options.budgets)
                medians = "".join(f"{np.median(found):9.4f}" for found in nearest).replace("nan", "  –")
                pace = answer["queries"] / answer["seconds"]
                print(f"{name:8}{norm:6}{contender:10}{medians}{pace:12.0f}", flush=True)
        except Refused as refusal:
            print(f"{name:8}{contender:10}{refusal}", flush=True)
        finally:
            process.close()


def examples(path: Path, images: str, count: int) -> dict[str, np.ndarray]:
    """The first images that the network gets right, and for each the next one that it sees otherwise."""
    with np.load(ROOT / "images" / f"{images}.npz") as stored:
        x, y = (stored["x"][:200] / np.float32(255)).astype(np.float32), stored["y"][:200].astype(np.int64)
    seen = np.argmax(load_classifier(path, domain=(0, 1), threads=1).logits(x), axis=1)
    right = np.flatnonzero(seen == y)[:count]
    starts = [row + np.flatnonzero(seen[row:] != y[row])[0] for row in right]
    return {"x": x[right], "y": y[right], "start": x[starts]}


if __name__ == "__main__":
    main()
