"""The report for people and all formats for tools, of a large audit: seconds, memory and sizes.

    python benchmarks/report.py [--examples 10000] [--norms 3] [--epsilons 12] [--attacks 12] [--classes 10] [--rounds 3]

The audit is made up: random distances under random attacks, with examples of 3 x 32 x 32 for the pictures; its report.json is
valid. Each way of asking is a process of its own: `pages` writes report.html and report.pdf with pictures as an audit does,
`auditor export FORMAT` is the command, and `everything` is a process that writes the pages and all other formats. Seconds of the
whole process, start and imports included, and how many of them a processor worked (on a shared machine the steadier figure); memory is its peak resident set.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from serving.table import show, spread

from auditor.audits.gates import robust_gate
from auditor.audits.outcomes import Outcomes
from auditor.audits.summary import clean, curve
from auditor.report.document import build_report, read_report
from auditor.report.exhibits import Exhibits, choose
from auditor.report.files import write_report
from auditor.report.formats import FORMATS
from auditor.report.pages import write_pages
from auditor.report.schema import Report
from auditor.spec import NORMS, AuditSpec, Gate, Threat

_SHAPE = (3, 32, 32)
_MEBI = 2**20


def made_up(examples: int, norms: int, epsilons: int, attacks: int, classes: int) -> Report:
    """A report of an audit that never was."""
    rng = np.random.default_rng(0)
    grid = tuple(f"{2 * i}/255" for i in range(1, epsilons + 1))
    gate = Gate(norm="Linf", eps=grid[epsilons // 2], threshold=0.4)
    spec = AuditSpec(threats=tuple(Threat(norm=norm, eps=grid) for norm in NORMS[:norms]), gates=(gate,))
    label, index = rng.integers(0, classes, examples), np.arange(examples)
    right = rng.random(examples) < 0.93
    predicted = np.where(right, label, (label + 1) % classes)
    names = np.array([f"attack-{i}" for i in range(attacks)])
    curves = []
    for threat in spec.threats:
        found = right & (rng.random(examples) < 0.9)
        outcomes = Outcomes(
            threat=threat,
            index=index,
            right=right,
            distance=np.where(right, np.where(found, rng.gamma(2.0, 0.02, examples), np.inf), 0.0),
            attack=np.where(found, rng.choice(names, examples), ""),
            complete=np.ones(examples, bool),
            adversarial=np.where(found, (label + 1 + rng.integers(0, classes - 1, examples)) % classes, -1),
            confidence=np.where(found, rng.random(examples), -np.inf),
        )
        curves.append(curve(outcomes, grey_levels=255))
    places = [(threat.norm, name) for threat in spec.threats for name in names.tolist()]
    return build_report(
        audit={
            "id": "made-up",
            "seed": 0,
            "preset": "standard",
            "spec_sha256": spec.sha256,
            "spec": spec.model_dump(mode="json"),
            "plan": {"slices": [(start, start + 64) for start in range(0, examples, 64)], "batch": 64},
            "fingerprint": {"numpy": np.__version__},
            "started_at": "2026-01-01T00:00:00+00:00",
            "finished_at": "2026-01-01T01:00:00+00:00",
            "device": "cpu",
            "versions": {"auditor": "0"},
        },
        model={
            "name": "classifier.onnx",
            "sha256": "0" * 64,
            "opset": 20,
            "operators": {"Conv": 20, "Relu": 19, "Gemm": 1},
            "parameters": 1_000_000,
            "classes": classes,
            "input": {
                "name": "x",
                "type": "tensor(float)",
                "shape": [None, *_SHAPE],
                "layout": "NCHW",
                "scores": "logits",
            },
            "output": {"name": "y", "single": False, "names": None},
            "gradient": {"access": "white-box", "why": "", "policy": "plain", "substitutions": []},
        },
        dataset={
            "name": "data.npz",
            "sha256": "1" * 64,
            "examples": examples,
            "domain": (0.0, 1.0),
            "sampling": {"method": "all", "labels": "dataset", "seed": 0, "preprocessing": {"steps": []}},
            "index": index.tolist(),
            "label": label.tolist(),
            "predicted": predicted.tolist(),
            "confidence": rng.random(examples).tolist(),
            "digest": [hashlib.sha256(b"%d" % i).hexdigest() for i in range(examples)],
        },
        clean=clean(right),
        curves=curves,
        stages=[
            {"attack": name, "norm": norm, "access": "white-box", "tried": examples, "broken": examples // 20}
            | {"claims": 100, "refuted": 1, "forwards": 100 * examples, "backwards": 99 * examples, "seconds": 60.0}
            for norm, name in places
        ],
        diagnosis={
            "subsample": list(range(100)),
            "attacks": [
                {"norm": norm, "attack": name, "eps": list(grid), "accuracy": np.sort(rng.random(epsilons))[::-1]}
                for norm, name in places
            ],
            "checks": [{"check": "steps", "severity": "info", "message": "twice the steps change nothing"}],
        },
        gates=[robust_gate(gate, curves, [])],
        not_tested=["patches", "poisoning, model extraction and privacy attacks"],
    )


def pages(report: Report, folder: Path) -> None:
    """report.html and report.pdf, with pictures."""
    rng = np.random.default_rng(1)
    found = {}
    for one in report.curves:
        broken = [at for at, status in enumerate(one.examples.status) if status == "broken"]
        columns = {"distance": [one.examples.distance[at] for at in broken], "index": broken}
        columns |= {"label": [report.dataset.label[at] for at in broken]}
        columns |= {"predicted": [one.examples.adversarial[at] for at in broken]}
        x_adv = np.broadcast_to(rng.random(_SHAPE, np.float32), (len(broken), *_SHAPE))
        found[one.norm] = {name: np.array(values) for name, values in columns.items()} | {"x_adv": x_adv}
    shown = choose(found, lambda index: rng.random((len(index), *_SHAPE), np.float32), {})
    write_pages(folder, report, Exhibits(shown, "NCHW", (0.0, 1.0)))


def write(folder: Path, *, everything: bool) -> None:
    """What the measured processes do."""
    report = read_report(folder / "report.json")
    pages(report, folder)
    for name, format in FORMATS.items():
        if everything and name not in ("html", "pdf"):
            (folder / f"exported.{format.suffix}").write_bytes(format.write(report))


# Where the dev extra is installed, jsonschema compiles a grammar of addresses at import, which nobody asks it about.
_START = "import sys, runpy; sys.modules['rfc3987_syntax'] = None; sys.path.insert(0, sys.argv.pop(1)); "
_OURS = "runpy.run_module('report', run_name='__main__')"
_COMMAND = "from auditor.cli import main; main()"


def measured(code: str, words: list[str], rounds: int) -> dict[str, str]:
    """Of a process that runs code: the seconds, those of the processor alone, and the peak memory of a process."""
    seconds, worked, peaks = [], [], []
    for _ in range(rounds):
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", _START + code, str(Path(__file__).parent), *words])
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - began)
        worked.append(usage.ru_utime + usage.ru_stime)
        peaks.append(usage.ru_maxrss / 1024)
        if status:
            raise SystemExit(f"{words} ended with {status}")
    return {"seconds": spread(seconds, digits=2), "cpu": spread(worked, digits=2), "peak MiB": f"{max(peaks):.0f}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("examples", 10_000), ("norms", 3), ("epsilons", 12), ("attacks", 12), ("classes", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--everything", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write, everything=options.everything)
        return
    sizes = {name: getattr(options, name) for name in ("examples", "norms", "epsilons", "attacks", "classes")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_report(folder / "report.json", made_up(**sizes))
        rows = []
        for what, more in (("pages", []), ("everything", ["--everything"])):
            rows.append({"what": what, **measured(_OURS, ["--write", str(folder), *more], options.rounds)})
        for name in FORMATS:
            out = folder / f"command.{name}"
            words = ["export", name, str(folder / "report.json"), "--out", str(out)]
            rows.append({"what": f"export {name}", **measured(_COMMAND, words, options.rounds)})
            rows[-1]["file MiB"] = f"{out.stat().st_size / _MEBI:.2f}"
        written = sum((folder / f"report.{kind}").stat().st_size for kind in ("html", "pdf")) / _MEBI
        rows[0]["file MiB"], rows[1]["file MiB"] = f"{written:.2f}", ""
        show(", ".join(f"{value:,} {name}" for name, value in sizes.items()), rows)
        for kind in ("json", "html", "pdf"):
            print(f"report.{kind}: {(folder / f'report.{kind}').stat().st_size / _MEBI:.2f} MiB")


if __name__ == "__main__":
    main()
