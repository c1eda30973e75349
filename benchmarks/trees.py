"""The nearest points of a sum of trees: by searching the trees, and by decisions alone.

    python benchmarks/trees.py MODEL DATA [--norms Linf,L2,L1,L0] [--examples 20] [--queries 3000] [--visits 5000000]

MODEL: an ONNX file; DATA: an .npz with x in [0, 1] and y. Prints per norm and attack the median distance of what the
upload confirms, the share of examples with such a point, seconds per example, and of the search the share of examples
for which the distance is proved and the median of the proved radius over the distance.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from auditor import load_classifier
from auditor.attacks.cascade import run_stage
from auditor.attacks.grid import Grid
from auditor.attacks.progress import Examples, Progress
from auditor.attacks.space import Space
from auditor.attacks.stage import Stage
from auditor.attacks.trees import Forest
from auditor.attacks.verify import Verifier
from auditor.graph.located import find_trees
from auditor.graph.upload import read_upload
from auditor.spec import Threat

SPACE = Space((0.0, 1.0))
GRID = tuple(f"{i}/1000" for i in range(1, 5000))  # so dense that every distance matters
DECISIONS = {"Linf": "rays", "L2": "hop-skip-jump", "L1": "hop-skip-jump", "L0": "pointwise"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--norms", default="Linf,L2,L1,L0")
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--queries", type=int, default=3000)
    parser.add_argument("--visits", type=int, default=5_000_000)
    options = parser.parse_args()
    model, data = options.model.read_bytes(), np.load(options.data)
    x, y = data["x"][: options.examples].astype(np.float32), data["y"][: options.examples].astype(np.int64)
    classifier = load_classifier(model, domain=(0, 1), batch=min(len(x), 32), threads=1)
    trees = find_trees(classifier.graph)
    assert trees is not None, "no sum of trees"
    examples = Examples(np.arange(len(x)), x, y, classifier.logits(x).argmax(axis=1) == y)
    leaves = len(trees.tree)
    print(f"{options.model.name}: {trees.count} trees, {leaves} leaves, {int(examples.right.sum())} examples")
    print(f"{'norm':5} {'attack':28} {'median':>9} {'found':>6} {'s':>8} {'proved':>7} {'radius':>7}")
    for norm in options.norms.split(","):
        local = Stage("leaf-tuples", "leaf-tuples", norm)
        short = Stage("tree-search", "tree-search", norm, {"visits": options.visits // 10})
        deep = Stage("tree-search-deep", "tree-search", norm, {"visits": options.visits})
        asked = (Stage("decisions", DECISIONS[norm], norm, {"queries": options.queries}),)
        for name, stages in (
            ("leaf-tuples", (local,)),
            ("as in a preset", (short, local, deep)),
            (DECISIONS[norm], asked),
        ):
            progress, started = Progress.start(examples, [norm]), time.perf_counter()
            for stage in stages:
                progress = run_stage(
                    stage,
                    examples,
                    progress,
                    classifier=classifier,
                    verifier=Verifier(read_upload(model), domain=(0, 1)),
                    grid=Grid(Threat(norm=norm, eps=GRID), SPACE),
                    space=SPACE,
                    seed=0,
                    forest=Forest.of(trees, SPACE),
                )
            seconds = (time.perf_counter() - started) / len(x)
            best = progress.best[norm]
            distance, radius = best.distance[examples.right], best.radius[examples.right]
            line = f"{norm:5} {name:28} {np.median(distance):9.4f} {np.isfinite(distance).mean():6.0%} {seconds:8.3f}"
            if radius.any():
                nearest = distance - (norm == "L0")
                line += f" {np.mean(radius >= nearest * (1 - 1e-5)):7.0%} {np.median(radius / distance):7.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
