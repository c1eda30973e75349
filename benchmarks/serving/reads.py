"""Every endpoint that reads, with a thousand finished audits stored, while nothing runs and while an audit does."""

import json
import random
import re
import subprocess
import sys
from argparse import Namespace
from collections import defaultdict
from pathlib import Path

from auditor.api.app import create_app
from auditor.operations import audits, results
from serving.archive import fill, submit
from serving.installation import Installation, databases, installed, until
from serving.table import Row, quantile, show, timed

_UNLISTED = ("/healthz", "/readyz", "/metrics")
_VARIANTS = ("/api/v1/audits?state=done&model=digits-07",)
_QUERIES = {"/api/v1/compare": "?audits={audit_id}&audits={other}"}
_LATE = "(the sender itself was late)"
_LONG = {"examples": 1000, "preset": "standard", "norm": ["Linf", "L2"], "eps": ["1/1000", "1/100"]}


def measure(options: Namespace) -> list[Row]:
    """Milliseconds from the moment at which a request was due, median and 99th percentile."""
    seconds = 5.0 if options.quick else options.seconds
    times: dict[str, dict[str, list[float]]] = {}
    for kind in databases():
        with installed(kind) as installation:
            ids, names = fill(installation, 50 if options.quick else options.audits)
            installation.start("auditor.api")
            paths = _paths(installation, ids, names, round(options.rate * seconds))
            _warm(installation, paths)
            times[kind] = _load(installation, paths, options.rate)
            times[f"{kind}, audit runs"] = _load_at_work(installation, paths, options.rate)
    rows = [_row(name, times) for name in sorted(next(iter(times.values())))]
    show(f"Milliseconds, median / p99, of {options.rate:g} requests a second in all, open loop", rows)
    return rows


def _paths(installation: Installation, ids: list[str], names: dict[str, str], count: int) -> list[tuple[str, str]]:
    """(endpoint, path), every endpoint in each round, in changing order, about audits at random."""
    described = create_app(installation.service).openapi()["paths"]
    endpoints = [path + _QUERIES.get(path, "") for path, does in described.items() if "get" in does]
    endpoints += [*_UNLISTED, *_VARIANTS]
    found, _ = results.examples(installation.service, installation.project, ids[0], norm=None, cursor=None, limit=1)
    example = {"norm": found[0].outcome.norm, "example": str(found[0].outcome.example)}
    chance, paths = random.Random(0), []
    while len(paths) < count:
        for endpoint in chance.sample(endpoints, len(endpoints)):
            about = {**names, **example, "audit_id": chance.choice(ids), "other": chance.choice(ids)}
            paths.append((endpoint, re.sub(r"{(\w+)}", lambda match: about[match[1]], endpoint)))  # noqa: B023
    return paths[:count]


def _warm(installation: Installation, paths: list[tuple[str, str]]) -> None:
    """Every endpoint once: what a process loads at the first request is not what is measured."""
    with installation.client() as http:
        first = {
            endpoint: timed(lambda path=path: http.get(f"{installation.url}{path}"))
            for endpoint, path in dict(paths).items()
        }
    slowest = max(first, key=first.__getitem__)
    print(f"{installation.name}: the slowest first request was {slowest}, {first[slowest]:.1f} s")


def _load(installation: Installation, paths: list[tuple[str, str]], rate: float) -> dict[str, list[float]]:
    """Seconds of every answer, by endpoint; and by how much requests were sent late."""
    host = installation.url.removeprefix("http://")
    asked = {"host": host, "key": installation.key, "paths": [path for _, path in paths], "rate": rate}
    script = [sys.executable, str(Path(__file__).with_name("load.py"))]
    told = subprocess.run(script, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True)
    times: dict[str, list[float]] = defaultdict(list)
    for (endpoint, path), (seconds, status, late) in zip(paths, json.loads(told.stdout), strict=True):
        assert status == 200, f"{path} was answered by {status}"
        times[endpoint].append(seconds)
        times[_LATE].append(late)
    return times


def _load_at_work(installation: Installation, paths: list[tuple[str, str]], rate: float) -> dict[str, list[float]]:
    """The same while a worker process attacks, with as many threads as it likes."""
    audit_id = submit(installation, _LONG)
    process = installation.start("auditor.workers")

    def stages() -> int:
        return audits.show(installation.service, installation.project, audit_id).listed.stages

    before = until(stages)
    times = _load(installation, paths, rate)
    assert stages() > before, "the worker did nothing meanwhile"
    assert process.poll() is None, "the worker has ended"
    known = audits.show(installation.service, installation.project, audit_id)
    assert not known.ended, "the audit ended too early to be in the way"
    return times


def _row(endpoint: str, times: dict[str, dict[str, list[float]]]) -> Row:
    row: Row = {"endpoint": endpoint.removeprefix("/api/v1")}
    for setting, measured in times.items():
        seconds = measured[endpoint]
        row[setting] = f"{1e3 * quantile(seconds, 0.5):.1f} / {1e3 * quantile(seconds, 0.99):.1f}"
    return row
