"""The command line that asks for the same audit again."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.report.schema import Report
from auditor.spec import Detector, Held, Transformation

_SINGLE = (
    "preset",
    "layout",
    "input",
    "output",
    "examples",
    "seed",
    "device",
    "batch_size",
    "threads",
    "target",
    "quantize",
    "abstain",
    "draws",
    "threshold",
    "label",
)


def command(report: Report) -> str:
    """`auditor audit MODEL DATA …` with everything that was settled. The names stand for the files of these digests."""
    words = ["auditor", "audit", report.model.name, report.dataset.name, *_options(report.audit.spec)]
    source = report.dataset.sampling.get("preprocessing", {}).get("source", {})
    words += [word for kind in ("weights", "groups") if source.get(kind) for word in (f"--{kind}", source[kind])]
    lines, line = [], ""
    for word in map(shlex.quote, words):
        if word.startswith("--") and len(line) > 70:
            lines.append(line)
            line = "   "
        line = f"{line} {word}".strip() if not line.startswith("   ") else f"{line} {word}"
    return " \\\n".join([*lines, line])


def _options(spec: Mapping[str, Any]) -> Iterator[str]:
    for threat in spec["threats"]:
        yield from ("--norm", threat["norm"], "--eps", ",".join(threat["eps"]))
    for attack in spec["attacks"]:
        yield from ("--attack", attack)
    for threat in spec.get("also") or ():
        yield from ("--also", threat)
    for transformation in spec.get("eot") or ():
        yield from ("--eot", str(Transformation(**transformation)))
    for name in _SINGLE:
        if spec.get(name) is not None and not (name == "preset" and spec["attacks"]):
            yield from (f"--{name.replace('_', '-')}", str(spec[name]))
    domain = spec["domain"]
    yield from ("--domain", "none" if domain is None else ",".join(f"{end:g}" for end in domain))
    if spec["normalisation"]:
        for name in ("mean", "std"):
            yield from (f"--{name}", ",".join(map(repr, spec["normalisation"][name])))
    for flag in ("unbatched", "multilabel"):
        if spec.get(flag):
            yield f"--{flag}"
    for held in spec.get("fix") or ():
        yield from ("--fix", str(Held(**held)))
    if spec.get("detector"):
        yield from ("--detector", str(Detector(**spec["detector"])))
    for gate in spec["gates"]:
        yield from ("--fail-under", f"{gate['norm']}:{gate['eps']}={gate['threshold']:g}")
    if spec.get("policy"):
        yield from ("--policy", "policy.yaml")
    if spec["budget"]["passes"]:
        yield from ("--budget", f"{spec['budget']['passes']}passes")
