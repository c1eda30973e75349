"""What is known of a file beside what it says: examples that it was made for, and what a user would have to declare.

Published instances and images of AUDITOR_TESTDATA where an example has their shape, scikit-learn's tables for files that
are named after them, else random numbers in [0, 1], or in the whole range of a type of whole numbers.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from auditor.graph.upload import Upload

OWN = Path(__file__).parents[1] / "tests" / "models"
DATA = Path(os.environ.get("AUDITOR_TESTDATA", Path(__file__).parents[2] / "shared" / "data"))

# What only a user can know of a file.
SAID: dict[str, dict[str, Any]] = {
    "burn_mnist.onnx": {"mean": "0.1307", "std": "0.3081"},
    "dnsmos_audio.onnx": {"threshold": 3.0},  # a rating from 1 to 5
    "pensieve_multi_slice.onnx": {"unbatched": True, "threshold": 0.0},
    "qlinear_conv.onnx": {"unbatched": True},
}
OPEN = {"qlinear_conv.onnx": 3}  # how long an axis is made that the file leaves open
TABLES = {"iris": "iris", "wine": "wine", "cancer": "breast_cancer"}
IMAGES = {28 * 28: "mnist_test_1000", 3 * 32 * 32: "cifar10_test_1000"}  # by the numbers that an example has


@dataclass(frozen=True)
class Known:
    """x: (n, *shape) float32. words: further options of the command line. source: of the examples."""

    x: np.ndarray
    source: str
    words: dict[str, Any] = field(default_factory=dict)


def known(path: Path, upload: Upload, count: int) -> Known:
    """`count` examples for the file, evenly out of what there is."""
    shape = tuple(d or OPEN.get(path.name, 32) for d in upload.input_shape[1:])
    found = _instances(path, shape) or _table(path, shape) or _images(upload, shape) or _random(upload, shape, count)
    rows = np.linspace(0, len(found.x) - 1, count).astype(int)
    return Known(found.x[rows], found.source, found.words | SAID.get(path.name, {}))


def _instances(path: Path, shape: tuple[int, ...]) -> Known | None:
    stored = DATA / "instances" / f"{path.parent.name}.npz"
    if not stored.exists():
        return None
    facts = json.loads((DATA / "instances" / "index.json").read_text())[path.parent.name]
    words = {"domain": ",".join(map(str, facts["domain"])), "layout": facts["layout"]}
    if set(facts["mean"]) != {0.0} or set(facts["std"]) != {1.0}:
        words |= {name: ",".join(map(str, facts[name])) for name in ("mean", "std")}
    x = np.load(stored)["x"]
    return Known(x.reshape(-1, *shape), "instances", {k: v for k, v in words.items() if v != "flat"})


def _table(path: Path, shape: tuple[int, ...]) -> Known | None:
    name = TABLES.get(path.stem.split(".")[-1])
    if name is None:
        return None
    import sklearn.datasets

    x = getattr(sklearn.datasets, f"load_{name}")().data.astype(np.float32)
    ends = f"{min(0.0, float(x.min()))},{float(x.max())}"
    return Known(x.reshape(-1, *shape), name, {"domain": ends})


def _images(upload: Upload, shape: tuple[int, ...]) -> Known | None:
    name = IMAGES.get(int(np.prod(shape)))
    stored = DATA / "images" / f"{name}.npz"
    if name is None or not stored.exists():
        return None
    x = np.load(stored)["x"]
    if shape[-1] == x.shape[1] and len(shape) == 3:
        x = x.transpose(0, 2, 3, 1)
    x = x.reshape(-1, *shape).astype(np.float32)
    return Known(x, name, {}) if upload.levels else Known(x / 255, name, {"domain": "0,1"})


def _random(upload: Upload, shape: tuple[int, ...], count: int) -> Known:
    x = np.random.default_rng(0).random((count, *shape), np.float32)
    if upload.levels is None:
        return Known(x, "random", {"domain": "0,1"})
    low, high = upload.levels
    return Known(np.round(low + (high - low) * x).astype(np.float32), "random", {})
