"""A worker's memory over many audits."""

from argparse import Namespace
from statistics import linear_regression

from auditor.operations import audits
from serving.archive import submit
from serving.installation import Installation, installed, until
from serving.processes import children, memory
from serving.table import Row, show

_TINY = {"examples": 8, "norm": ["Linf"], "eps": ["0.1"], "attack": ["fgsm"], "batch_size": 4, "threads": 1}
_EVERY = 20
_MIB = 1 << 20


def measure(options: Namespace) -> list[Row]:
    """RAM of a worker process, and of its child after each group of audits; the growth after the first group."""
    count = 40 if options.quick else 200
    with installed("sqlite") as installation:
        pid = installation.start("auditor.workers").pid
        installation.upload_demo()
        until(lambda: _ready(installation))
        rows, sizes = [], []
        for done in range(0, count, _EVERY):
            _audit(installation, range(done, done + _EVERY))
            held, most = memory(pid)
            sizes.append(held)
            child = max((memory(child)[0] for child in children(pid)), default=0)
            row = {"audits": done + _EVERY, "worker": held, "its most": most, "its child": child}
            rows.append({name: n if name == "audits" else f"{n / _MIB:.1f}" for name, n in row.items()})
    show("MiB held by a worker process", rows)
    slope = linear_regression(range(len(sizes) - 1), sizes[1:]).slope / _EVERY / 1024
    print(f"growth after the first {_EVERY} audits: {slope:+.1f} KiB per audit")
    return rows


def _ready(installation: Installation) -> bool:
    from auditor.operations import datasets, models

    model = models.show_version(installation.service, installation.project, "digits", 1)
    data = datasets.show(installation.service, installation.project, "digits")
    return model.state == data.state == "ready"


def _audit(installation: Installation, seeds: range) -> None:
    asked = [submit(installation, {**_TINY, "seed": seed}) for seed in seeds]
    service, project = installation.service, installation.project
    until(lambda: {audits.show(service, project, audit_id).listed.audit.state for audit_id in asked} == {"done"})
