"""The options of an audit, declared once for every command that takes them."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar, get_args, get_type_hints

from typer import Option

Command = TypeVar("Command", bound=Callable[..., object])


class AuditOptions(TypedDict):
    """What an audit can be told; None, or False for a flag, where it was not."""

    threat: Annotated[str | None, Option(help="image-8bit, mnist, imagenet or tabular.")]
    norm: Annotated[list[str] | None, Option(help="Linf, L2 or L1; repeat, each with its --eps.")]
    eps: Annotated[list[str] | None, Option(help="Such as 1/255,2/255,8/255, in widths of the domain.")]
    preset: Annotated[str | None, Option(help="quick, standard (default), thorough or autoattack.")]
    attack: Annotated[list[str] | None, Option(help="Run this attack instead of the preset's; repeat.")]
    surrogate: Annotated[
        list[str] | None,
        Option(
            help="A model of the same task whose gradients are followed in its place, MODEL[:mean=M:std=S]; repeat."
        ),
    ]
    also: Annotated[
        list[str] | None, Option(help="A threat beside the norms: corruptions, fog, … or all that apply; repeat.")
    ]
    domain: Annotated[str | None, Option(help="The box that inputs live in: 0,1 or none.")]
    draws: Annotated[
        int | None, Option(help="Passes that each pass averages where chance plays a part (default 20).")
    ]
    eot: Annotated[
        list[str] | None,
        Option(
            help="What is done to inputs at random before the model: noise:0.05, shift:2, resize:0.9,1.1 …; repeat."
        ),
    ]
    quantize: Annotated[int | None, Option(help="Bits: inputs are whole levels of the domain, 8 for images.")]
    constraints: Annotated[Path | None, Option(help="YAML: what the features of a table may be.")]
    mean: Annotated[str | None, Option(help="Declared normalisation, per channel: 0.485,0.456,0.406.")]
    std: Annotated[str | None, Option(help="Declared normalisation, per channel.")]
    layout: Annotated[str | None, Option(help="NCHW or NHWC, where the shape does not tell.")]
    input: Annotated[str | None, Option(help="The input that is attacked, where there are several.")]
    fix: Annotated[
        list[str] | None,
        Option(help="What another input is given, NAME=VALUE, or NAME=@COLUMN for each example's own; repeat."),
    ]
    output: Annotated[str | None, Option(help="The output with the class scores, where there are several.")]
    unbatched: Annotated[bool, Option(help="The input has no batch axis: the whole of it is one example.")]
    threshold: Annotated[
        float | None, Option(help="Of an output of one number: above it, the answer is class 1, else class 0.")
    ]
    multilabel: Annotated[
        bool, Option(help="Each score decides about a label of its own (told by labels of shape (N, labels)).")
    ]
    label: Annotated[str | None, Option(help="Of several labels, audit the decision about this one: name or number.")]
    labels: Annotated[Path | None, Option(help="Labels beside DATA: .npy, or CSV for images.")]
    label_column: Annotated[str | None, Option(help="The label's column in a table; of several labels, a,b,c.")]
    weights: Annotated[str | None, Option(help="The column, or array, of what each example counts for.")]
    groups: Annotated[
        str | None,
        Option(help="The column, or array, of the group that each example belongs to, such as its patient."),
    ]
    resize: Annotated[str | None, Option(help="Images: shorter side, or HEIGHT,WIDTH.")]
    crop: Annotated[str | None, Option(help="Images: side, or HEIGHT,WIDTH, from the centre.")]
    interpolation: Annotated[str | None, Option(help="Images: bilinear, bicubic, nearest …")]
    channel_order: Annotated[str | None, Option(help="Images: RGB or BGR.")]
    scale: Annotated[str | None, Option(help="Images: value = grey level * scale; 1/255 unless given.")]
    preprocessor: Annotated[Path | None, Option(help="A preprocessor_config.json.")]
    target: Annotated[str | None, Option(help="Only this class counts when reached: its number, or random.")]
    abstain: Annotated[int | None, Option(help="The class by which the model refuses to answer.")]
    detector: Annotated[
        str | None, Option(help="OUTPUT[:THRESHOLD]: an output that rejects an input above it (0.5).")
    ]
    examples: Annotated[int | None, Option(help="How many, sampled at random by --seed (default 1000).")]
    seed: Annotated[int | None, Option(help="Of every random choice (default 0).")]
    budget: Annotated[str | None, Option(help="500passes per example, or 90s, 10m, 2h.")]
    device: Annotated[str | None, Option(help="cpu (default) or cuda.")]
    batch_size: Annotated[int | None, Option(help="Examples per pass.")]
    threads: Annotated[int | None, Option(help="Processor threads per session.")]
    fail_under: Annotated[list[str] | None, Option(help="A gate such as Linf:8/255=0.40; repeat.")]
    policy: Annotated[Path | None, Option(help="YAML: what the model must fulfil.")]
    on_inconclusive: Annotated[
        str | None, Option(help="Where nothing is decided: fail (default, exit code 3) or warn.")
    ]
    baseline: Annotated[Path | None, Option(help="A report.json that this model must not fall behind.")]
    margin: Annotated[float | None, Option(help="The loss against the baseline that is accepted (0.02).")]
    allow_chance: Annotated[bool, Option(help="Audit even when clean accuracy is at chance.")]
    no_examples: Annotated[
        bool, Option(help="Leave the data's examples out of HTML and PDF (default where CI is set).")
    ]
    show_examples: Annotated[bool, Option(help="Show the examples nearest to the boundary, in CI too.")]


def spread(command: Command) -> Command:
    """Let typer see one option per item of the TypedDict that the command's last parameter, `**words`, unpacks."""
    signature = inspect.signature(command)
    *own, words = signature.parameters.values()
    (items,) = get_args(words.annotation)
    command.__signature__ = signature.replace(parameters=[*own, *_parameters(items)])  # type: ignore[attr-defined]
    return command


def _parameters(items: Any) -> Iterator[inspect.Parameter]:
    for name, annotation in get_type_hints(items, include_extras=True).items():
        default = False if get_args(annotation)[0] is bool else None
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
