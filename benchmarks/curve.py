"""The whole curve against AutoAttack's answers: robust accuracy and passes, row by row.

    python benchmarks/curve.py [--preset standard] [--only mnist_fastadv_fgsm:Linf] [--stages]

Per model and norm one audit over a grid of ten epsilons. Each row of reference.csv is then compared at its eps:
robust accuracy (aim: at most one point above AutoAttack's), and the passes of the *whole curve* against those that
AutoAttack spent on that *one* eps (aim: fewer). `only AA`, `only ours`: examples that one of the two broke alone.
"""

import argparse
import csv
import time
from itertools import groupby

import numpy as np
from audits import ROOT, attack, by_stage, cost, families

from auditor.spec import THREAT_PRESETS, exact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--only", default="", help="MODEL:NORM, part of a row's name")
    parser.add_argument("--stages", action="store_true", help="print what each stage did")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    families()
    with open(ROOT / "reference.csv") as file:
        rows = [row for row in csv.DictReader(file) if options.only in f"{row['model']}:{row['norm']}"]
    masks = np.load(ROOT / "reference_masks.npz")
    print(f"{'model':38} norm  eps     AA      ours   points  only AA  only ours  passes AA   ours (curve)  ratio")
    for (model, norm), group in groupby(rows, key=lambda row: (row["model"], row["norm"])):
        compare(model, norm, list(group), masks, options)


def compare(
    model: str, norm: str, rows: list[dict], masks: np.lib.npyio.NpzFile, options: argparse.Namespace
) -> None:
    """One audit, and a line for each of its rows."""
    dataset = "mnist" if "mnist" in model else "cifar10"
    images = np.load(ROOT / "images" / f"{dataset}_test_1000.npz")
    n = int(rows[0]["examples"])
    eps = grid("mnist" if dataset == "mnist" else "image-8bit", norm, [row["eps"] for row in rows])
    started = time.perf_counter()
    outcomes, finished = attack(
        ROOT / "models" / model, images["x"][:n], images["y"][:n], norm, eps, options.preset, threads=options.threads
    )
    seconds = time.perf_counter() - started
    passes = sum(cost(finished))
    for row in rows:
        standing = outcomes.standing(row["eps"])
        theirs = masks[f"{model}|{norm}|{row['eps']}"]
        reference = int(row["forwards"]) + int(row["backwards"])
        print(
            f"{model:38} {norm:5} {row['eps']:6} {float(row['robust']):6.2%} {np.mean(standing):7.2%} "
            f"{100 * (np.mean(standing) - float(row['robust'])):+6.2f} {np.sum(standing & ~theirs):8} "
            f"{np.sum(~standing & theirs):9} {reference:11,} {passes:12,} {passes / reference:6.2f}",
            flush=True,
        )
    print(f"    ten eps, {n} examples: {passes / n:,.0f} passes per example, {seconds:.0f} s", flush=True)
    if options.stages:
        print("\n".join(by_stage(finished)), flush=True)


def grid(preset: str, norm: str, wanted: list[str]) -> list[str]:
    """The preset's ten eps; a row's own takes the place of the nearest where the grid lacks it."""
    eps = list(next(threat.eps for threat in THREAT_PRESETS[preset] if threat.norm == norm))
    for text in wanted:
        if exact(text) not in map(exact, eps):
            spare = [e for e in eps if exact(e) not in map(exact, wanted)]
            eps[eps.index(min(spare, key=lambda e: abs(exact(e) - exact(text))))] = text
    return eps


if __name__ == "__main__":
    main()
