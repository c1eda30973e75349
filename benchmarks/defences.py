"""Is a broken defence noticed, and an honest network left in peace?

    python benchmarks/defences.py                  the zoo of broken defences
    python benchmarks/defences.py --honest         the diagnosis of networks that hide nothing

Defences: which checks fire, and robust accuracy beside that of the same network without the defence, which is what an
adaptive attacker reaches. Honest networks: which checks are above "info"; aim: at most 5 % of them have any.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from audits import ROOT, families, normalisation
from broken import DEFENCES, SMALL, THRESHOLD, defended

from auditor import local
from auditor.errors import AuditorError
from auditor.report.schema import Report
from auditor.request import Request, settle
from auditor.spec import Detector

LENET = ROOT / "models" / "trained" / "mnist_advertorch_lenet5_clean.onnx"
MNIST_EPS, CIFAR_EPS = "0.02,0.05,0.1,0.2", "1/255,2/255,4/255,8/255"
MNIST = ("mnist_fc", "eran")
FAMILIES = ("trained", "cifar10_resnet", "oval21", "mnist_fc", "eran", "marabou-cifar10", "vit_2023")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--honest", action="store_true")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the name")
    asked = parser.parse_args()
    return honest(asked) if asked.honest else broken(asked)


def broken(asked: argparse.Namespace) -> int:
    x, y = images("mnist_test_1000", asked.examples)
    pool_x, pool_y = images("mnist_pool_9000", 4000)
    model = onnx.load(LENET)
    units = {"detector": 1.0, "small detector": SMALL}
    said = {name: {"detector": Detector(output="reject", threshold=unit * THRESHOLD)} for name, unit in units.items()}
    print(
        f"{'defence':22} {'gradient':20} clean   "
        + "  ".join(f"{eps:>5}" for eps in MNIST_EPS.split(","))
        + "  checks"
    )
    with tempfile.TemporaryDirectory() as folder:
        told("none", audited(LENET, Path(folder) / "none", x, y, MNIST_EPS, asked))
        for name, edit in DEFENCES.items():
            if asked.only in name:
                path = Path(folder) / f"{name.replace(' ', '-')}.onnx"
                path.write_bytes(defended(model, edit, pool_x.astype(np.float32) / 255, pool_y))
                told(name, audited(path, Path(folder) / name, x, y, MNIST_EPS, asked, said.get(name, {})))
    return 0


def honest(asked: argparse.Namespace) -> int:
    count = alarms = 0
    for family in FAMILIES:
        for model in sorted((ROOT / "models" / family).glob("*.onnx")):
            if asked.only not in f"{family}/{model.name}":
                continue
            digits = family in MNIST or model.name.startswith("mnist")
            x, y = images("mnist_test_1000" if digits else "cifar10_test_1000", asked.examples)
            shape = families()[family]["shape"] if family in families() else list(x.shape[1:])
            x = x.transpose(0, 2, 3, 1) if shape == [32, 32, 3] else x.reshape(len(x), *shape)
            with tempfile.TemporaryDirectory() as folder:
                report = audited(model, Path(folder), x, y, MNIST_EPS if digits else CIFAR_EPS, asked)
            count, alarms = count + 1, alarms + bool(isinstance(report, Report) and found(report))
            told(f"{family}/{model.stem}"[:40], report)
    print(f"{alarms} of {count} honest networks raise an alarm (aim: at most 5 %)")
    return 0


def audited(
    model: Path,
    out: Path,
    x: np.ndarray,
    y: np.ndarray,
    eps: str,
    asked: argparse.Namespace,
    said: dict[str, Any] | None = None,
) -> Report | AuditorError:
    """One audit in Linf, or why there was none. said: further settings."""
    out.mkdir(exist_ok=True)
    np.savez(out / "data.npz", x=x, y=y)
    request = Request(
        model=model,
        data=out / "data.npz",
        out=out,
        norms=("Linf",),
        eps=(eps,),
        domain=(0.0, 1.0),
        preprocessing=normalisation(model.parent.name),
        allow_chance=True,
        settings={"preset": asked.preset, "examples": len(x), "threads": asked.threads, **(said or {})},
    )
    try:
        return local.audit(request, settle(request), lambda step: None).report
    except AuditorError as error:
        return error


def told(name: str, report: Report | AuditorError) -> None:
    if isinstance(report, AuditorError):
        print(f"{name:22} refused: {report}", flush=True)
        return
    points = "  ".join(f"{point.robust_accuracy:5.0%}" for point in report.curves[0].points)
    said = ", ".join(found(report)) or "-"
    print(
        f"{name:22} {report.model.gradient['access']:20} {report.clean.accuracy:5.0%}   {points}  {said}", flush=True
    )


def found(report: Report) -> list[str]:
    """The checks above "info", the errors marked."""
    worst = {c.check: c.severity for c in sorted(report.diagnosis.checks, key=lambda c: c.severity == "error")}
    return [name + ("!" if worst[name] == "error" else "") for name in worst if worst[name] != "info"]


def images(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(ROOT / "images" / f"{name}.npz") as stored:
        return stored["x"][:count], stored["y"][:count]


if __name__ == "__main__":
    sys.exit(main())
