"""From the command line's words, and a YAML file of the same words, to a request."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from auditor.constraints import Constraints
from auditor.data.domain import UNDECLARED, Domain
from auditor.data.preprocessing import Preprocessing
from auditor.data.preprocessor_config import read_config
from auditor.errors import SpecError
from auditor.request import Request, SurrogateChoice
from auditor.spec import Budget, Detector, Gate, Held, Layout, Normalisation, Policy, Transformation, build, exact

_SETTINGS = ("preset", "input", "output", "examples", "seed", "device", "batch_size", "threads", "draws")


def request(options: Mapping[str, Any], spec: Path | None = None) -> Request:
    """The request of one command. options: by the option's name with underscores, None where it was not given.

    spec: a YAML file of the same names; options that were given win. Raises SpecError.
    """
    words = words_of(options, spec)
    settings = {name: words[name] for name in _SETTINGS if name in words}
    if "attack" in words:
        settings["attacks"] = tuple(map(str, words["attack"]))
    if "quantize" in words:
        settings["quantize"] = _bits(words["quantize"])
    if "constraints" in words:
        settings["constraints"] = constraints_of(words["constraints"])
    if "also" in words:
        settings["also"] = tuple(map(str, words["also"]))
    if "eot" in words:
        settings["eot"] = tuple(Transformation.parse(str(text)) for text in words["eot"])
    policy = policy_of(words.get("policy", {}))
    if "on_inconclusive" in words:
        policy = build(Policy, **{**dict(policy), "on_inconclusive": words["on_inconclusive"]})
    if policy != Policy():
        settings["policy"] = policy
    if "abstain" in words:
        settings["abstain"] = _class(words["abstain"], "--abstain", "")
    if "detector" in words:
        settings["detector"] = Detector.parse(str(words["detector"]))
    if "threshold" in words:
        settings["threshold"] = words["threshold"]
    settings |= {flag: words[flag] is True for flag in ("unbatched", "multilabel") if flag in words}
    if "label" in words:
        settings["label"] = str(words["label"]).strip()
    if "fix" in words:
        settings["fix"] = tuple(Held.parse(str(said)) for said in words["fix"])
    if "target" in words:
        settings["target"] = _target(words["target"])
    if "budget" in words:
        settings["budget"] = Budget.parse(str(words["budget"]))
    model, data = Path(words["model"]), Path(words["data"])
    return Request(
        model=model,
        data=data,
        out=Path(str(words.get("out") or f"audit-{model.stem}")),
        threat=_text(words.get("threat")),
        norms=tuple(map(str, words.get("norm", ()))),
        eps=tuple(map(str, words.get("eps", ()))),
        gates=(*(Gate.parse(str(text)) for text in words.get("fail_under", ())), *policy.robust),
        domain=_domain(words.get("domain")),
        layout=layout_of(words.get("layout")),
        labels=_path(words.get("labels")),
        label_column=_text(words.get("label_column")),
        weights=_text(words.get("weights")),
        groups=_text(words.get("groups")),
        preprocessing=preprocessing_of(words),
        baseline=_path(words.get("baseline")),
        margin=_margin(words.get("margin", 0.02)),
        allow_chance=words.get("allow_chance") is True,
        pictures=words.get("no_examples") is not True,
        surrogates=tuple(surrogate_of(said) for said in words.get("surrogate", ())),
        settings=settings,
    )


def words_of(options: Mapping[str, Any], spec: Path | None = None) -> dict[str, Any]:
    """What was said: the options that were given, over the entries of the YAML file. Raises SpecError."""
    given = {key: value for key, value in options.items() if not (value is None or value is False or value == [])}
    words = _read_spec(spec, options) | given
    if words.pop("show_examples", False):
        words.pop("no_examples", None)
    elif os.environ.get("CI", "").lower() not in ("", "0", "false"):
        words["no_examples"] = True  # what a pipeline publishes is often public
    return lifted(words) if "policy" in words else words


def lifted(words: Mapping[str, Any]) -> dict[str, Any]:
    """The words with their policy written out, and its regression, if any, as the words baseline and margin where these
    were not said. Raises SpecError."""
    policy = _spoken(words["policy"], "policy")
    regression = policy.pop("regression", None) or {}
    if not isinstance(regression, Mapping) or regression.keys() - {"baseline", "margin"}:
        raise SpecError("the policy's regression is not understood; it has a baseline and, if wanted, a margin")
    said = policy_of(policy).model_dump(mode="json", exclude_defaults=True)
    return {**regression, **words, "policy": said}


def policy_of(said: Any) -> Policy:
    """A policy by the name of a YAML file, or as it would read, without its regression. Raises SpecError."""
    return build(Policy, **_spoken(said, "policy"))


def demo(out: Path) -> Request:
    """The audit of the model and data that come with the package."""
    folder = Path(str(resources.files("auditor") / "demo"))
    return request(
        {
            "model": folder / "digits.onnx",
            "data": folder / "digits.npz",
            "out": out,
            "examples": 100,
            "norm": ["Linf", "L2"],
            "eps": [
                "0.02,0.04,0.06,0.08,0.1,0.12,0.14,0.16,0.18,0.2",
                "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1",
            ],
            "fail_under": ["Linf:0.04=0.75"],
        }
    )


def shape_of(text: str | None) -> tuple[int, ...] | None:
    """One example's shape, such as 3,224,224."""
    if text is None:
        return None
    numbers = _numbers(text, "--shape")
    if not all(n >= 1 and n.is_integer() for n in numbers):
        raise SpecError(f"--shape {text} is not understood; write positive sizes, such as 3,224,224")
    return tuple(int(n) for n in numbers)


def _read_spec(path: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    if path is None:
        return {}
    words = _read_yaml(path, "specification")
    words = {str(key).replace("-", "_"): value for key, value in words.items() if value is not None}
    unknown = sorted(set(words) - set(options))
    if unknown:
        known = ", ".join(sorted(options))
        raise SpecError(f"the specification {path} has unknown entries: {', '.join(unknown)}; known are {known}")
    for key in ("norm", "eps", "attack", "also", "eot", "fail_under", "surrogate"):
        if key in words and not isinstance(words[key], list):
            words[key] = [words[key]]
    return words


def _read_yaml(path: Path, what: str) -> dict[Any, Any]:
    import yaml

    try:
        words = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SpecError(f"the {what} {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"the {what} {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(words, dict):
        raise SpecError(f"the {what} {path} must be a list of NAME: VALUE lines")
    return words


def constraints_of(said: Any) -> Constraints:
    """Constraints by the name of a YAML file, or as it would read. Raises SpecError."""
    return build(Constraints, **_spoken(said, "constraints file"))


def _spoken(said: Any, what: str) -> dict[str, Any]:
    words = said if isinstance(said, Mapping) else _read_yaml(Path(said), what)
    return {str(name).replace("-", "_"): value for name, value in words.items()}


def _bits(text: object) -> int:
    if str(text) not in map(str, range(1, 17)):
        raise SpecError(f"--quantize {text} is no number of bits; give one from 1 to 16, 8 for images")
    return int(str(text))


def _target(text: object) -> int | str:
    return "random" if str(text).strip() == "random" else _class(text, "--target", ", or random")


def _class(text: object, option: str, otherwise: str) -> int:
    word = str(text).strip()
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise SpecError(f"{option} {text} is not understood; write the number of a class, such as 3{otherwise}")
    return int(word)


def _margin(text: object) -> float:
    numbers = _numbers(text, "--margin")
    if len(numbers) != 1 or not 0 <= numbers[0] <= 1:
        raise SpecError(f"--margin {text} is no share of the examples; give one between 0 and 1, such as 0.02")
    return numbers[0]


def layout_of(text: object) -> Layout | None:
    """A memory layout by its name; SpecError for another word."""
    if text is not None and str(text) not in get_args(Layout):
        raise SpecError(f"there is no layout '{text}'; choose from {', '.join(get_args(Layout))}")
    return text  # type: ignore[return-value]


def _domain(text: object) -> Domain:
    if text is None:
        return UNDECLARED
    if str(text) == "none":
        return None
    numbers = _numbers(text, "--domain")
    if len(numbers) != 2:
        raise SpecError(f"--domain {text} is not understood; write the two ends, such as 0,1, or none")
    return numbers[0], numbers[1]


def preprocessing_of(words: Mapping[str, Any]) -> Preprocessing | None:
    """What the words declare, with what they leave open filled from the preprocessor_config.json that they name."""
    readers: dict[str, Callable[[Any], Any]] = {
        "resize": lambda text: _size(text, "--resize", square=False),
        "crop": lambda text: _size(text, "--crop", square=True),
        "interpolation": str,
        "channel_order": str,
        "scale": _scale,
        "mean": lambda text: _numbers(text, "--mean"),
        "std": lambda text: _numbers(text, "--std"),
    }
    declared = {name: read(words[name]) for name, read in readers.items() if name in words}
    if "preprocessor" in words:
        return Preprocessing(**declared).over(read_config(Path(words["preprocessor"])))
    return Preprocessing(**declared) if declared else None


def spelled(preprocessing: Preprocessing) -> dict[str, str]:
    """A preprocessing in the words of the command line. Raises SpecError for what has no word there."""
    declared = {field.name: getattr(preprocessing, field.name) for field in fields(preprocessing)}
    declared = {name: value for name, value in declared.items() if value is not None}
    wordless = sorted({"offset", "grayscale"} & declared.keys())
    if wordless:
        raise SpecError(
            f"the preprocessor's {' and '.join(wordless)} cannot be said by options; put preprocessor_config.json among "
            "the images instead, where it is found"
        )
    return {name: _spelled(value) for name, value in declared.items()}


def spelled_normalisation(normalisation: Normalisation | None) -> dict[str, str]:
    """The words mean and std, as `surrogate_of` reads them."""
    return {} if normalisation is None else {name: _spelled(value) for name, value in normalisation}


def _spelled(value: object) -> str:
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)


def _scale(text: object) -> float:
    try:
        return float(exact(str(text)))
    except OverflowError:
        raise SpecError(
            f"--scale {text} is too large for a number of the computer; write one such as 1/255"
        ) from None


def surrogate_of(said: object) -> SurrogateChoice:
    """MODEL, or MODEL:mean=0.5,0.5,0.5:std=0.2,0.2,0.2, or the same as a mapping of model, mean and std."""
    if isinstance(said, Mapping):
        words = dict(said)
    else:
        path, *declared = re.split(r":(?=(?:mean|std)=)", str(said))
        words = {"model": path, **dict(part.split("=", 1) for part in declared)}
    path = str(words.pop("model", ""))
    if not path or words.keys() - {"mean", "std"}:
        raise SpecError(f"--surrogate {said} is not understood; write MODEL or MODEL:mean=0.5:std=0.25")
    if not words:
        return SurrogateChoice(Path(path))
    if len(words) == 1:
        raise SpecError(f"--surrogate {path} declares half of a normalisation; write MODEL:mean=0.5:std=0.25")
    mean, std = (_numbers(words[name], f"--surrogate {path}:{name}") for name in ("mean", "std"))
    return SurrogateChoice(Path(path), Normalisation(mean=mean, std=std))


def _numbers(text: object, option: str) -> tuple[float, ...]:
    parts = text if isinstance(text, list | tuple) else str(text).split(",")
    try:
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        raise SpecError(
            f"{option} {text} is not understood; write numbers, with commas between them: 0.5,0.5,0.5"
        ) from None


def _size(text: object, option: str, *, square: bool) -> int | tuple[int, int]:
    numbers = _numbers(text, option)
    if len(numbers) not in (1, 2) or not all(n.is_integer() for n in numbers):
        raise SpecError(f"{option} {text} is not understood; write SIDE or HEIGHT,WIDTH in pixels")
    sides = tuple(int(n) for n in numbers)
    if len(sides) == 2:
        return sides[0], sides[1]
    return (sides[0], sides[0]) if square else sides[0]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _path(text: object) -> Path | None:
    return None if text is None else Path(str(text))
