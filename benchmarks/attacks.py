"""PGD in L-infinity, 40 steps from a random start: ours on ONNX files beside three libraries on PyTorch models.

    python benchmarks/attacks.py --peers PYTHON [--folder FOLDER] [--only NAME …] [--batch 32] [--rounds 3] [--threads 2]

The same images, labels (the model's own answers), eps, steps and step sizes. Two budgets: one so small that nothing
breaks, so that everybody walks all the steps, and 2/255, where ours leaves broken examples alone. Prints the best
time over interleaved rounds in seconds, and the share of ours that is spent outside ONNX Runtime.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from peers import Contender, Refused, exported

OTHERS = ("foolbox", "torchattacks", "art")
BUDGETS = {"nothing breaks": 1e-7, "2/255": 2 / 255}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="a Python with torch, onnxscript and the three libraries")
    parser.add_argument("--folder", type=Path, help="where exported networks are kept between runs")
    parser.add_argument("--only", nargs="*", default=["mlp", "vgg11_cifar", "resnet18_cifar"])
    parser.add_argument("--exporter", default="new", choices=["new", "old", "old14"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    names = ["auditor", *OTHERS]
    print(f"{'s':16}{'eps':>16}" + "".join(f"{n:>14}" for n in names) + f"{'own share':>11}  broken by each")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for network in exported(options.peers, folder, only=options.only, batch=options.batch):
            compare(network["name"], folder, options)


def compare(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Print one row per budget."""
    contenders = [Contender("auditor", sys.executable, "ours.py", "pgd", threads=options.threads)]
    contenders += [Contender(n, options.peers, "theirs.py", n, threads=options.threads) for n in OTHERS]
    try:
        for contender in contenders:
            contender.ask(folder=str(folder), name=name, exporter=options.exporter, threads=options.threads)
            contender.ask(eps=BUDGETS["2/255"], steps=2)
        for budget, eps in BUDGETS.items():
            rounds = [[c.ask(eps=eps, steps=options.steps) for c in contenders] for _ in range(options.rounds)]
            best = [min(answers, key=lambda a: a["seconds"]) for answers in zip(*rounds, strict=True)]
            own = 1 - best[0]["inside"] / best[0]["seconds"]
            times = "".join(f"{answer['seconds']:14.3f}" for answer in best)
            broken = " ".join(str(answer["broken"]) for answer in best)
            print(f"{name:16}{budget:>16}{times}{own:11.1%}  {broken}", flush=True)
    except Refused as refusal:
        print(f"{name:16}{refusal}")
    finally:
        for contender in contenders:
            contender.close()


if __name__ == "__main__":
    main()
