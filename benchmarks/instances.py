"""Published verification instances: does `standard` break what is breakable, and nothing that is proved?

    python benchmarks/instances.py [--preset standard] [--family mnist_fc]

Each instance asks whether any input within its own eps of an image changes the class. `sat`: a counterexample was
published; `unsat`: a proof that there is none. An example that the model gets wrong when clean counts as broken.
marabou-cifar10's property is targeted: its `unsat` says nothing about other classes, and is not counted. Where the
verifiers had no verdict, a broken instance is settled by its witness, and listed.
"""

import argparse
import decimal
import time

import numpy as np
from audits import ROOT, attack, cost, families


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--family", default="")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    print("family            sat  unbroken   unsat  broken   unknown  broken   passes/instance  seconds")
    missed, refuted = 0, 0
    for family, facts in families().items():
        if options.family in family:
            unbroken, contradicted = judge(family, facts, options)
            missed, refuted = missed + unbroken, refuted + contradicted
    print(f"sat unbroken: {missed} (aim: at most 3 of 85); unsat broken: {refuted} (aim: none)")


def judge(family: str, facts: dict, options: argparse.Namespace) -> tuple[int, int]:
    """Attack a family's instances, print its line; gives (sat unbroken, unsat broken)."""
    stored = np.load(ROOT / "instances" / f"{family}.npz")
    broken, distance = np.zeros(len(stored["y"]), dtype=bool), np.zeros(len(stored["y"]))
    passes, started = 0, time.perf_counter()
    for model, eps in sorted({(str(m), float(e)) for m, e in zip(stored["model"], stored["eps"], strict=True)}):
        rows = np.flatnonzero((stored["model"] == model) & (stored["eps"] == eps))
        path = ROOT / "models" / family / model
        text = format(decimal.Decimal(repr(eps)), "f")
        outcomes, finished = attack(
            path, stored["x"][rows], stored["y"][rows], "Linf", [text], options.preset, threads=options.threads
        )
        broken[rows], distance[rows] = ~outcomes.standing(text), outcomes.distance
        passes += sum(cost(finished))
    verdict = stored["verdict"]
    proved = np.zeros_like(broken) if facts["targeted"] else verdict == -1
    sat, unknown = verdict == 1, verdict == 0
    print(
        f"{family:16} {sat.sum():4} {np.sum(sat & ~broken):8} {proved.sum():8} {np.sum(proved & broken):7} "
        f"{unknown.sum():8} {np.sum(unknown & broken):8} {passes / len(broken):15,.0f} "
        f"{time.perf_counter() - started:9.0f}",
        flush=True,
    )
    settled = unknown & broken & (not facts["targeted"])
    for name, rows in (
        ("sat, not broken", sat & ~broken),
        ("UNSAT, BUT BROKEN", proved & broken),
        ("settled by a witness", settled),
    ):
        for row in np.flatnonzero(rows):
            at = "" if np.isinf(distance[row]) else f", nearest point at {distance[row]:.6f}"
            print(f"    {name}: row {row}, {stored['model'][row]}, eps {stored['eps'][row]:.6f}{at}", flush=True)
    return int(np.sum(sat & ~broken)), int(np.sum(proved & broken))


if __name__ == "__main__":
    main()
