"""Confirms adversarial.npz by NumPy and ONNX Runtime alone: check_adversarial.py MODEL.onnx report.json adversarial.npz"""

import hashlib
import json
import sys
from fractions import Fraction

import numpy as np
import onnxruntime as ort

with open(sys.argv[1], "rb") as model_file, open(sys.argv[2]) as report_file, np.load(sys.argv[3]) as rows_file:
    model, report, rows = model_file.read(), json.load(report_file), dict(rows_file)
spec, about, data = report["audit"]["spec"], report["model"], report["dataset"]
low, high = data["domain"] or (-np.inf, np.inf)
grid = 2 ** spec["quantize"] - 1 if spec.get("quantize") else None


def require(holds, what):
    if not holds:
        sys.exit(what)


def session(level):
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.graph_optimization_level = 1, level
    return ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


def scores(run, x):
    """The scores of one input's classes; of a label alone 1 for it and 0 for the others."""
    entry = run.get_inputs()[0]
    if spec["normalisation"]:
        channels = (-1, *[1] * (x.ndim - 1)) if about["input"]["layout"] == "NCHW" else -1
        mean, std = (np.float32(spec["normalisation"][name]).reshape(channels) for name in ("mean", "std"))
        x = (x - mean) / std
    kind = entry.type[len("tensor(") : -1]
    dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
    batch = np.stack([x] * (entry.shape[0] if isinstance(entry.shape[0], int) else 1)).astype(dtype)
    outputs = run.run([spec["output"]] if spec["output"] else None, {entry.name: batch})
    found = [np.reshape(output, (len(batch), -1))[0] for output in outputs]
    if about["input"]["scores"] == "label":
        return np.eye(about["classes"])[found[0][0]]
    row = next(row for row in found if row.dtype.kind == "f" and row.size in (1, about["classes"]))
    threshold = spec.get("threshold")
    return row if row.size > 1 else np.append(1 - row if threshold is None else row.dtype.type(threshold), row)


require(hashlib.sha256(model).hexdigest() == about["sha256"], "this is not the model of the report")
beyond = [spec.get("constraints"), spec.get("unbatched"), about.get("randomness"), about.get("refusal")]
beyond += [about["input"].get(name) for name in ("columns", "held", "tokens")]
require(
    not any(beyond), "constraints, votes, refusals, and inputs other than one batch are more than this script checks"
)
told = {}
for curve in report["curves"]:
    columns = (curve["examples"][name] for name in ("id", "status", "distance", "attack", "adversarial"))
    broken = {(curve["norm"], i): row for i, status, *row in zip(*columns, strict=True) if status == "broken"}
    told.update(broken)
    for point in curve["points"]:
        top, _, bottom = point["eps"].partition("/")
        within = sum(Fraction(row[0]) <= Fraction(top) / Fraction(bottom or 1) for row in broken.values())
        share = (report["clean"]["correct"] - within) / len(data["index"])
        require(share == point["robust_accuracy"], f"{curve['norm']} {point['eps']}: the examples give {share}")

levels = ort.GraphOptimizationLevel
sessions = [session(levels.ORT_ENABLE_ALL), session(levels.ORT_DISABLE_ALL)]
columns = (rows[name] for name in ("norm", "index", "label", "distance", "attack", "predicted", "x", "x_adv"))
for norm, index, label, *said, x, x_adv in zip(*columns, strict=True):
    where = f"{norm} example {index}: "
    require(told.pop((norm, index), None) == said, where + "its distance, attack or class is not the report's")
    at, exact = data["index"].index(index), x_adv.astype(np.float64)
    example = str(x.shape).encode() + int(label).to_bytes(8, "little", signed=True) + x.tobytes()
    require(hashlib.sha256(example).hexdigest() == data["digest"][at], where + "its x or label is not the report's")
    require(np.isfinite(exact).all() and low <= exact.min() and exact.max() <= high, where + "outside the domain")
    level = (exact - low) / (high - low) * grid if grid else np.zeros(1)
    require(np.abs(level - np.rint(level)).max() < 0.01, where + "between the levels")
    moved = np.abs(exact - x).ravel() / (high - low if data["domain"] and norm != "L0" else 1)
    size = {"Linf": moved.max(), "L2": np.sqrt(moved @ moved), "L1": moved.sum(), "L0": np.count_nonzero(moved)}[norm]
    slack = 1e-6 if grid else 1e-12  # sums differ in their last bit; levels are exact in the report, but no float32
    require(size <= said[0] * (1 + slack), where + f"it lies {size} away")
    goal = data["target"][at] if data.get("target") else label
    for run in (scores(one, x_adv) for one in sessions):
        lead = run[goal] - np.delete(run, goal).max()
        reached = np.isfinite(run).all() and (lead > 0 if data.get("target") else lead < 0)
        require(reached, where + f"the model gives it class {np.argmax(run)}")
require(not told, f"the file lacks {len(told)} rows")
print(f"{len(rows['index'])} rows confirmed")
