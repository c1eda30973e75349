"""What a preset finds on a sum of trees that attacks are not shown, against the search of its trees.

    python benchmarks/blind.py MODEL DATA [--preset quick] [--examples 16]

MODEL: an ONNX file; DATA: an .npz with x in [0, 1] and y. Prints the robust accuracy at each eps and its mean: with the trees,
and as a model that has scores and no gradient.
"""

import argparse
import tempfile
from pathlib import Path
from unittest.mock import PropertyMock, patch

import numpy as np

from auditor import local, options
from auditor.audits.subject import Subject
from auditor.request import settle

EPS = {
    "Linf": "0.02,0.04,0.06,0.08,0.12,0.2",
    "L2": "0.04,0.08,0.12,0.2,0.3,0.5",
    "L1": "0.05,0.1,0.2,0.3,0.5,1",
    "L0": "1,2,3,4,6,10",
}


def curves(asked: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        request = options.request(
            {
                "model": asked.model,
                "data": asked.data,
                "out": Path(folder) / "out",
                "domain": "0,1",
                "preset": asked.preset,
                "norm": list(EPS),
                "eps": list(EPS.values()),
                "examples": asked.examples,
                "threads": 1,
                "no_examples": True,
            }
        )
        report = local.audit(request, settle(request), lambda _: None).report
    for curve in report.curves:
        found = [point.robust_accuracy for point in curve.points]
        print(f"  {curve.norm:5} {np.mean(found):6.1%}  " + " ".join(f"{share:6.1%}" for share in found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--examples", type=int, default=16)
    asked = parser.parse_args()
    print("norm     mean  at each eps; with the trees")
    curves(asked)
    with patch.object(Subject, "trees", new_callable=PropertyMock, return_value=None):
        print("without them")
        curves(asked)


if __name__ == "__main__":
    main()
