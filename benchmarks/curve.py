"""The whole curve against AutoAttack's answers: robust accuracy and passes, row by row.

    python benchmarks/curve.py [--preset standard] [--only mnist_fastadv_fgsm:Linf] [--stages] [--rows-only] [--examples 100]
    python benchmarks/curve.py --preset thorough --broken
    python benchmarks/curve.py --preset thorough --left --examples 20

Per model and norm one audit over a grid of ten epsilons. Each row of reference.csv is then compared at its eps:
robust accuracy (aim: at most one point above AutoAttack's), and the passes of the *whole curve* against those that
AutoAttack spent on that *one* eps (aim: at most half). `only AA`, `only ours`: examples that one of the two broke
alone; the last line adds up all rows. With --rows-only the grid holds the rows' own epsilons alone, and passes are
compared with what AutoAttack spent on all of them: for `--preset autoattack`, which attacks every eps of the grid. Of
fewer examples than the rows have, AutoAttack's passes are those of all in proportion. With --broken each row is attacked by
itself, and only on the examples that AutoAttack does not leave right: what ours leaves of them, `only AA`, should be none. With
--left only on those that it leaves: `only ours` is what it misses. --examples is then the first so many of these.
"""

import argparse
import csv
import time
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from audits import ROOT, attack, by_stage, cost, families

from auditor.spec import THREAT_PRESETS, exact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--only", default="", help="MODEL:NORM, part of a row's name")
    parser.add_argument("--examples", type=int, help="no more than this many of a row's, for a quick look")
    parser.add_argument("--rows-only", action="store_true", help="attack no eps but the rows' own")
    parser.add_argument("--broken", action="store_true", help="attack only what AutoAttack breaks, row by row")
    parser.add_argument("--left", action="store_true", help="attack only what AutoAttack leaves right, row by row")
    parser.add_argument("--stages", action="store_true", help="print what each stage did")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    families()
    with open(ROOT / "reference.csv") as file:
        rows = [row for row in csv.DictReader(file) if options.only in f"{row['model']}:{row['norm']}"]
    masks = np.load(ROOT / "reference_masks.npz")
    print(f"{'model':38} norm  eps     AA      ours   points  only AA  only ours  passes AA         ours  ratio")
    total = Tally()
    for (model, norm), group in groupby(rows, key=lambda row: (row["model"], row["norm"])):
        for part in [[row] for row in group] if options.broken or options.left else [list(group)]:
            total.add(compare(model, norm, part, masks, options))
    print(total.line())


@dataclass
class Tally:
    """What all rows come to. examples: times rows; ours, theirs: broken by one of the two alone."""

    examples: int = 0
    ours: int = 0
    theirs: int = 0

    def add(self, other: "Tally") -> None:
        self.examples += other.examples
        self.ours += other.ours
        self.theirs += other.theirs

    def line(self) -> str:
        net = 100 * (self.theirs - self.ours) / max(self.examples, 1)
        return (
            f"all rows: {self.examples} examples, only AA {self.theirs}, only ours {self.ours}; "
            f"net to AutoAttack's favour {net:+.2f} points (aim: at most +0.5)"
        )


def compare(
    model: str, norm: str, rows: list[dict], masks: np.lib.npyio.NpzFile, options: argparse.Namespace
) -> Tally:
    """One audit, and a line for each of its rows."""
    dataset = "mnist" if "mnist" in model else "cifar10"
    images = np.load(ROOT / "images" / f"{dataset}_test_1000.npz")
    chosen = np.arange(int(rows[0]["examples"]))
    if options.broken or options.left:
        chosen = chosen[masks[f"{model}|{norm}|{rows[0]['eps']}"][chosen] == options.left]
    chosen = chosen[: options.examples]
    n = len(chosen)
    share = n / int(rows[0]["examples"])
    wanted = [row["eps"] for row in rows]
    eps = (
        wanted
        if options.rows_only or options.broken or options.left
        else grid("mnist" if dataset == "mnist" else "image-8bit", norm, wanted)
    )
    started = time.perf_counter()
    outcomes, finished = attack(
        ROOT / "models" / model,
        images["x"][chosen],
        images["y"][chosen],
        norm,
        eps,
        options.preset,
        threads=options.threads,
    )
    seconds = time.perf_counter() - started
    passes, tally = sum(cost(finished)), Tally()
    spent = [round(share * (int(row["forwards"]) + int(row["backwards"]))) for row in rows]
    for row, one_eps in zip(rows, spent, strict=True):
        standing = outcomes.standing(row["eps"])
        theirs = masks[f"{model}|{norm}|{row['eps']}"][chosen]
        reference = sum(spent) if options.rows_only else one_eps
        counts = Tally(n, int(np.sum(~standing & theirs)), int(np.sum(standing & ~theirs)))
        tally.add(counts)
        print(
            f"{model:38} {norm:5} {row['eps']:6} {np.mean(theirs):6.2%} {np.mean(standing):7.2%} "
            f"{100 * (np.mean(standing) - np.mean(theirs)):+6.2f} {counts.theirs:8} "
            f"{counts.ours:9} {reference:11,} {passes:12,} {passes / reference:6.2f}",
            flush=True,
        )
    print(f"    {len(eps)} eps, {n} examples: {passes / n:,.0f} passes per example, {seconds:.0f} s", flush=True)
    if options.stages:
        print("\n".join(by_stage(finished)), flush=True)
    return tally


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
