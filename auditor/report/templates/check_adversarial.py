"""Re-checks every row of adversarial.npz with NumPy and plain ONNX Runtime, without the tool that found it.

    python check_adversarial.py MODEL.onnx DATA.npz report.json adversarial.npz

DATA.npz holds x and y as they were audited. Exit code 0 when every row is what it says, else 1.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

model, report = Path(sys.argv[1]).read_bytes(), json.loads(Path(sys.argv[3]).read_text())
spec, dataset = report["audit"]["spec"], report["dataset"]
if spec.get("constraints") or report["model"].get("randomness"):
    sys.exit("distances in scales of features, and votes of a randomised model, are more than this script checks")
low, high = dataset["domain"] or (-np.inf, np.inf)
width = high - low if dataset["domain"] else 1.0


def session(level):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.graph_optimization_level = 1, level
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


sessions = [
    session(level)
    for level in (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
]
entry = next(i for i in sessions[0].get_inputs() if i.name == report["model"]["input"]["name"])
dtype = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(entry.type, np.float32)


def scores(run, x):
    """The class scores of one input; those of a label alone are 1 for it and 0 for the others."""
    if spec["normalisation"]:
        shape = [-1 if axis == (x.ndim - 1 if spec["layout"] == "NHWC" else 0) else 1 for axis in range(x.ndim)]
        mean, std = (np.reshape(np.array(spec["normalisation"][name], np.float32), shape) for name in ("mean", "std"))
        x = (x - mean) / std
    batch = np.repeat(x[None], entry.shape[0] if isinstance(entry.shape[0], int) else 1, axis=0).astype(dtype)
    outputs = [np.asarray(o) for o in run.run([spec["output"]] if spec["output"] else None, {entry.name: batch})]
    if report["model"]["input"]["scores"] == "label":
        return np.eye(report["model"]["classes"])[int(outputs[0].flat[0])]
    sizes = (report["model"]["classes"], 1)
    out = next(o for o in outputs if o.dtype.kind == "f" and o.size // len(batch) in sizes).reshape(len(batch), -1)[0]
    return np.array([1 - out[0], out[0]]) if out.size == 1 else out


def wrong(row):
    """What is not as a row says; nothing where all is."""
    at = dataset["index"].index(row["index"])
    known = next(c["examples"]["distance"][at] for c in report["curves"] if c["norm"] == row["norm"])
    x, x_adv = clean[row["index"]], row["x_adv"]
    x = x.reshape(x_adv.shape) if x.ndim != x_adv.ndim else x
    x = np.moveaxis(x, -1, 0) if x.shape != x_adv.shape and spec["layout"] == "NCHW" else x
    x = np.moveaxis(x, 0, -1) if x.shape != x_adv.shape else x
    moved = np.abs(x_adv.astype(np.float64) - x.astype(np.float64)).ravel() / width
    if spec.get("quantize"):  # on the levels the distances are exact, which float32 pixels are not
        steps = 2 ** spec["quantize"] - 1
        if np.abs(moved * steps - np.rint(moved * steps)).max() > 1e-3:
            yield "it lies between the levels"
        moved = np.rint(moved * steps) / steps
    sizes = {"Linf": moved.max(), "L2": np.sqrt((moved**2).sum()), "L1": moved.sum(), "L0": np.count_nonzero(moved)}
    if not (np.isfinite(x_adv).all() and (x_adv >= low).all() and (x_adv <= high).all()):
        yield "it lies outside the domain"
    if not np.isclose(sizes[row["norm"]], row["distance"], rtol=1e-9, atol=0) or row["distance"] != known:
        yield f"its distance is {sizes[row['norm']]!r}, not {row['distance']!r}, and {known!r} in the report"
    target = dataset["target"][at] if dataset.get("target") else None
    for found in (scores(run, x_adv) for run in sessions):
        reached = np.argmax(found) == target if target is not None else found.max() > found[dataset["label"][at]]
        if not (np.isfinite(found).all() and reached):
            yield f"the model gives it class {np.argmax(found)}"
    if row["label"] != dataset["label"][at] or row["predicted"] != np.argmax(scores(sessions[0], x_adv)):
        yield "its label or predicted class is another"


if hashlib.sha256(model).hexdigest() != report["model"]["sha256"]:
    sys.exit("this is not the model of the report")
clean = np.load(sys.argv[2])["x"]
if clean.dtype == np.uint8:
    clean = (low + width * np.arange(256) / 255)[clean]
clean = np.clip(clean.astype(np.float32), np.float32(low), np.float32(high))
with np.load(sys.argv[4]) as stored:
    columns = {name: stored[name] for name in stored.files}
rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
faults = [f"{row['norm']} example {row['index']}: {fault}" for row in rows for fault in wrong(row)]
said = sum(status == "broken" for curve in report["curves"] for status in curve["examples"]["status"])
if said != len(rows):
    faults.append(f"the report has {said} broken examples, the file {len(rows)}")
print(*faults[:20], f"{len(rows)} rows, {len(faults)} faults", sep="\n")
sys.exit(1 if faults else 0)
