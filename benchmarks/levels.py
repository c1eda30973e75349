"""What inputs in whole levels change: the finds of an audit without them, rounded, against an audit with `--quantize`.

    python benchmarks/levels.py [--preset quick] [--examples 200] [--bits 8] [--only cifar10_resnet:L2]

`float`: robust accuracy where points may lie between the levels; `rounded`: where only those of its finds count that,
rounded to the nearest level, still break the model within eps; `levels`: with --quantize. `survive`: the share of the
float audit's finds (each example's nearest, at whatever distance) that break the model once rounded; `within`: that
also lie within the smallest eps of the grid that the find itself lay within. Passes are per example.
"""

import argparse
import time

import numpy as np
from audits import ROOT, attack, cost, families, normalisation

from auditor.attacks.levels import Levels
from auditor.attacks.verify import Verifier
from auditor.audits.outcomes import at_most
from auditor.graph.file import read_file
from auditor.graph.upload import read_upload

ROWS = (
    ("cifar10_resnet/resnet_2b.onnx", "Linf", ("0.5/255", "1/255", "2/255", "3/255", "4/255")),
    ("cifar10_resnet/resnet_2b.onnx", "L2", ("0.1", "0.25", "0.5", "0.75", "1")),
    ("oval21/cifar_base_kw.onnx", "Linf", ("1/255", "2/255", "4/255", "8/255", "12/255")),
    ("oval21/cifar_base_kw.onnx", "L2", ("0.1", "0.25", "0.5", "1", "1.5")),
    ("trained/mnist_advertorch_lenet5_clean.onnx", "Linf", ("0.05", "0.1", "0.15")),
    ("trained/mnist_advertorch_lenet5_clean.onnx", "L2", ("0.5", "1", "1.5", "2")),
    ("trained/mnist_advertorch_lenet5_clean.onnx", "L1", ("2", "4", "6", "10")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--only", default="", help="MODEL:NORM, part of a row's name")
    options = parser.parse_args()
    families()
    for model, norm, eps in ROWS:
        if options.only in f"{model}:{norm}":
            compare(model, norm, eps, options)


def compare(model: str, norm: str, eps: tuple[str, ...], options: argparse.Namespace) -> None:
    """Both audits of one model and norm, and a line for each eps."""
    dataset = "mnist" if "mnist" in model else "cifar10"
    images = np.load(ROOT / "images" / f"{dataset}_test_1000.npz")
    n, path = options.examples, ROOT / "models" / model
    levels = Levels((0.0, 1.0), options.bits)
    x = levels.values[levels.level(np, images["x"][:n] / np.float32(255))]
    y, started = images["y"][:n], time.perf_counter()
    given = (path, x, y, norm, list(eps), options.preset)
    free, finished = attack(*given, threads=1)
    between = time.perf_counter()
    bound, on_levels = attack(*given, threads=1, quantize=options.bits)
    ended = time.perf_counter()
    distance, survived = rounded(path, x, y, free, finished, levels)
    found = free.right & np.isfinite(free.distance)
    grid = np.array([at_most(text) for text in eps])
    asked = found & (free.distance <= grid[-1])
    nearest = np.array([min((e for e in grid if e >= d), default=np.inf) for d in free.distance])
    print(
        f"{model} {norm}: {found.sum()} finds, survive {survived[found].mean():.1%}, "
        f"within {np.mean(distance[asked] <= nearest[asked]):.1%}; passes {sum(cost(finished)) / n:.0f} and "
        f"{sum(cost(on_levels)) / n:.0f}, seconds {between - started:.0f} and {ended - between:.0f}"
    )
    for text in eps:
        after = free.right & (distance > at_most(text))
        print(
            f"    eps {text:8} float {free.standing(text).mean():7.2%}  rounded {after.mean():7.2%}  "
            f"levels {bound.standing(text).mean():7.2%}",
            flush=True,
        )


def rounded(path, x, y, free, finished, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the distance of each example's nearest find once it is rounded, inf where it breaks nothing any more; and
    whether it still breaks the model."""
    declared = normalisation(path.parent.name)
    verifier = Verifier(
        read_upload(read_file(path)), domain=(0.0, 1.0), normalisation=declared and declared.normalisation
    )
    norm = free.threat.norm
    x_adv = np.concatenate([finished[name].best[norm].x_adv for name in sorted(finished)])
    index = free.index
    points = levels.values[levels.level(np, x_adv)]
    clean = x[index].reshape(points.shape)
    distance = levels.distances(clean, points)[norm]
    survived = np.array(
        [
            bool(np.isfinite(d)) and r and verifier.check(p, int(label)).counts
            for d, r, p, label in zip(free.distance, free.right, points, y[index], strict=True)
        ]
    )
    return np.where(survived, distance, np.where(free.right, np.inf, 0.0)), survived


if __name__ == "__main__":
    main()
