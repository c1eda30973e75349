"""How many outcomes differ at another batch shape: python benchmarks/batch_shape.py [--examples 100]

Another batch shape draws the same random numbers but may round differently (a convolution's sums run in another
order), so that an ascent may end elsewhere. Prints, per model, how many examples fall into another cell of the grid,
and how much the smallest distances differ.
"""

import argparse

import numpy as np
from audits import ROOT, attack, families

MODELS = (
    ("trained/mnist_fastadv_fgsm.onnx", "mnist", ("0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.35", "0.4")),
    ("cifar10_resnet/resnet_2b.onnx", "cifar10", tuple(f"{n}/255" for n in (1, 2, 3, 4, 6, 8, 12, 16))),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--preset", default="standard")
    options = parser.parse_args()
    families()
    print(f"{'model':34} batch  same bits  other cell  largest relative difference of a distance")
    for model, dataset, eps in MODELS:
        images = np.load(ROOT / "images" / f"{dataset}_test_1000.npz")
        x, y = images["x"][: options.examples], images["y"][: options.examples]
        runs = {
            batch: attack(ROOT / "models" / model, x, y, "Linf", eps, options.preset, threads=2, batch=batch)[0]
            for batch in (32, 8, 2)
        }
        first = runs[32]
        for batch, other in runs.items():
            same = np.sum(first.distance == other.distance)
            moved = np.sum(np.any([first.standing(e) != other.standing(e) for e in eps], axis=0))
            both = np.isfinite(first.distance) & np.isfinite(other.distance) & (first.distance > 0)
            change = np.abs(other.distance[both] / first.distance[both] - 1)
            print(
                f"{model:34} {batch:5} {same:6}/{len(y)} {moved:8}/{len(y)} {change.max(initial=0):12.2%}", flush=True
            )


if __name__ == "__main__":
    main()
