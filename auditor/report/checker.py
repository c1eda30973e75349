"""The script that re-checks adversarial.npz without this tool, written for one audit.

What the audit declared (norms, domain, normalisation, levels, target, refusals, other inputs) enters as plain numbers, and
of what it did not declare there is no line: so there is little to read. It imports nothing from here.
"""

from functools import cache
from typing import Any

from auditor.errors import SpecError
from auditor.report.schema import Report

_FLOAT, _HALF = "tensor(float)", "tensor(float16)"
_SIZES = {
    "Linf": "moved.max(){width}",
    "L2": "np.sqrt(moved @ moved){width}",
    "L1": "moved.sum(){width}",
    "L0": "np.count_nonzero(moved)",
}


def checker(report: Report) -> bytes:
    """The source of check_adversarial.py; SpecError where the audit has what no short script can check."""
    why_not = beyond(report)
    if why_not:
        raise SpecError(f"no checker: {why_not}")
    spec, model = report.audit.spec, report.model
    data = {
        "sha256": model.sha256,
        "results_sha256": report.results_sha256,
        "quotients": any("/" in point.eps and _is_decimal(point.eps) for c in report.curves for point in c.points),
        "target": report.dataset.target,
        "weighted": report.dataset.weight is not None,
        "half": model.input["type"] == _HALF and not spec["normalisation"],
        **_threats(report),
        **_normalisation(report),
        **_model(report),
    }
    return str(_template().render(data)).encode()


def beyond(report: Report) -> str:
    """Why no short script can check this audit; empty where one can."""
    model = report.model
    facts = {
        "constraints": report.audit.spec.get("constraints"),
        "chance, in the model or before it": model.randomness,
        "tokens, whose embedding was attacked": model.input.get("tokens"),
        "inputs that come with each example": model.input.get("carried"),
        "one label of scores by name": model.input.get("label") and (model.output or {}).get("names"),
    }
    found = [what for what, there in facts.items() if there]
    if found:
        return f"a short script cannot check an audit with {' and '.join(found)}"
    return "" if model.output else "the report does not say which output holds the scores; audit the model again"


def _is_decimal(eps: str) -> bool:
    return not eps.replace("/", "").isdigit()


def _threats(report: Report) -> dict[str, Any]:
    """What an input may be, and how far from another: as expressions of NumPy."""
    domain, bits = report.dataset.domain, report.audit.spec.get("quantize")
    low, high = domain or (0.0, 1.0)
    width = "" if high - low == 1 else f" / {_literal(high - low)}"
    norms = [curve.norm for curve in report.curves]
    sizes = [_SIZES[norm].format(width=width) for norm in norms]
    table = ", ".join(f'"{norm}": {size}' for norm, size in zip(norms, sizes, strict=True))
    inside = f"{_literal(low)} <= exact.min() and exact.max() <= {_literal(high)}"
    scale = f"{_literal(low)} + {_literal(high - low)} * " if domain != (0, 1) else ""
    levels = f"({scale}np.arange({2**bits}) / {2**bits - 1}).astype(np.float32)" if bits else None
    return {
        "inside": inside if domain else "np.isfinite(exact).all()",
        "size": sizes[0] if len(norms) == 1 else f"{{{table}}}[norm]",
        "levels": levels,
        # Sums differ in their last bit; of levels the report's distances are exact, and float32 is not.
        "slack": "1e-6" if bits else "1e-12",
    }


def _normalisation(report: Report) -> dict[str, Any]:
    declared = report.audit.spec["normalisation"]
    if not declared:
        return {"mean": None}
    first = report.model.input["layout"] == "NCHW"
    return {name: f"np.array({_spread(declared[name], first=first)}, np.float32)" for name in ("mean", "std")}


def _spread(values: list[float], *, first: bool) -> str:
    """Values per channel, to be broadcast over an example whose first (else last) axis the channels are."""
    if len(values) == 1:
        return _literal(values[0])
    return _literal([[[value]] for value in values] if first else values)


def _model(report: Report) -> dict[str, Any]:
    """What the model is given and what it answers: as expressions of NumPy."""
    model, spec = report.model, report.audit.spec
    about, refusal, output = model.input, model.refusal or {}, model.output or {}
    detector = refusal.get("detector")
    copies = about["shape"][0]
    example = f"np.stack([x_adv] * {copies})" if isinstance(copies, int) and copies > 1 else "x_adv[None]"
    example = "x_adv" if spec.get("unbatched") else example
    cast = "" if about["type"] == _FLOAT else f'.astype("{_kind(about["type"])}")'
    columns, held = about.get("columns"), _held(about.get("held") or {})
    feeds = f"{{{_attacked(report)}: {example}{cast}}}"
    if columns:
        feeds = "{name: entered(name, number) for name, number in zip(columns, x_adv, strict=True)}"
    outputs = [output["name"], *([detector["output"]] if detector else [])]
    ran = f"session.run({_literal(outputs)}, {feeds}{' | held' if held else ''})"
    return {
        "columns": columns,
        "held": held,
        "ran": ran,
        "answered": "outputs[0]" if detector else f"{ran}[0]",
        "copies": copies if isinstance(copies, int) and copies > 1 else None,
        "several": model.labels,
        "alone": about.get("label"),
        "single": output["single"],
        "classes": _literal(output["names"]) if output["names"] else None,
        "count": model.classes,
        "label": about["scores"] == "label",
        "threshold": spec.get("threshold"),
        "detector": detector,
        "abstain": refusal.get("abstain"),
    }


def _attacked(report: Report) -> str:
    """The name of the attacked input; the report names one without a batch axis only where the audit was told it."""
    spec, held = report.audit.spec, report.model.input.get("held")
    if not spec.get("unbatched"):
        return _literal(report.model.input["name"])
    if spec.get("input"):
        return _literal(spec["input"])
    return f"next(entry.name for entry in session.get_inputs(){' if entry.name not in held' if held else ''})"


def _held(values: dict[str, Any]) -> dict[str, Any]:
    """A number for all of an input, numbers along its last axis, or a text."""
    return {
        name: value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        for name, value in values.items()
    }


def _kind(type: str) -> str:
    """tensor(double) -> float64"""
    kind = type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(kind, kind)


def _literal(value: Any) -> str:
    """The value as Python writes it, in ASCII; whole numbers without a point."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_literal(one) for one in value)}]"
    if isinstance(value, str):
        written = ascii(value)
        return f'"{written[1:-1]}"' if written[0] == "'" and '"' not in written and "\\'" not in written else written
    return ascii(value)


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("auditor.report"),
        autoescape=False,  # no page: every value is written as a literal
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["literal"] = _literal
    return environment.get_template("check_adversarial.py.jinja")
