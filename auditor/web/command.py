"""The command line that asks a service for the same audit."""

import shlex
from collections.abc import Iterator, Sequence

from auditor import resources
from auditor.operations.audits import Known


def command(known: Known, stand_ins: Sequence[str]) -> str:
    """`auditor submit MODEL DATA …`, with what was said; what was left open is chosen again. stand_ins: its surrogates."""
    listed = known.listed
    words = ["auditor", "submit", f"{listed.model}@{listed.version}", listed.dataset, *_options(listed.audit.words)]
    return shlex.join([*words, *(word for one in stand_ins for word in ("--surrogate", one))])


def _options(words: dict[str, object]) -> Iterator[str]:
    for name in resources.NewAudit.model_fields:
        value = words.get(name)
        option = f"--{name.replace('_', '-')}"
        if value is True:
            yield option
        elif name in ("constraints", "policy") and value:
            yield from (option, f"{name}.yaml")
        elif isinstance(value, list):
            for one in value:
                yield from (option, str(one))
        elif value is not None:
            yield from (option, str(value))
