"""The examples nearest to the boundary, as pictures where inputs are images or signals."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from auditor.report.blocks import Gallery, Picture, Section, Table
from auditor.report.numbers import percent, size
from auditor.report.signals import is_signal, outline, signal_to_noise
from auditor.spec import Layout, Norm

SHOWN = 6  # examples per norm
_FEATURES = 6  # changes named of an example that is no image
_COLUMNS = ("original", "perturbation, amplified", "adversarial")


@dataclass(frozen=True)
class Exhibit:
    """One example and its nearest counted adversarial example. x, x_adv: float32 of one shape, in the domain."""

    norm: Norm
    index: int
    x: np.ndarray
    x_adv: np.ndarray
    label: int
    predicted: int
    distance: float
    confidence: float | None = None


@dataclass(frozen=True)
class Exhibits:
    """What a report may show of the data. layout: None where inputs are no images; domain: the ends of a picture's grey."""

    shown: tuple[Exhibit, ...]
    layout: Layout | None
    domain: tuple[float, float] | None
    called: Callable[[int], str] = str  # what an answer is called


def choose(
    found: Mapping[Norm, Mapping[str, np.ndarray]],
    fetch: Callable[[np.ndarray], np.ndarray],
    confidence: Mapping[tuple[Norm, int], float],
) -> tuple[Exhibit, ...]:
    """The examples of each norm that the smallest changes break. found: columns of `audits.finish.adversarial`; fetch:
    positions in the dataset -> examples; confidence: by norm and position, where it is known."""
    shown: list[Exhibit] = []
    for norm, columns in found.items():
        nearest = np.argsort(columns["distance"], kind="stable")[:SHOWN] if columns else ()
        for row in nearest:
            index = int(columns["index"][row])
            shown.append(
                Exhibit(
                    norm=norm,
                    index=index,
                    x=fetch(columns["index"][row : row + 1])[0],
                    x_adv=columns["x_adv"][row],
                    label=int(columns["label"][row]),
                    predicted=int(columns["predicted"][row]),
                    distance=float(columns["distance"][row]),
                    confidence=confidence.get((norm, index)),
                )
            )
    return tuple(shown)


def section(exhibits: Exhibits) -> Section | None:
    """None where there is nothing to show."""
    norms = list(dict.fromkeys(exhibit.norm for exhibit in exhibits.shown))
    blocks = tuple(
        _block(norm, [exhibit for exhibit in exhibits.shown if exhibit.norm == norm], exhibits) for norm in norms
    )
    return Section("examples", "Examples nearest to the boundary", blocks) if blocks else None


def _block(norm: Norm, own: list[Exhibit], exhibits: Exhibits) -> Gallery | Table:
    if exhibits.layout is not None and exhibits.domain is not None:
        return _gallery(norm, own, exhibits.layout, exhibits.domain, exhibits.called)
    if is_signal(own[0].x.shape):
        return _waves(norm, own, exhibits.called)
    return _changes(norm, own, exhibits.called)


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether one example of this shape can be drawn: one or three channels, in either layout."""
    return len(shape) == 3 and (shape[0] in (1, 3) or shape[2] in (1, 3)) and min(sorted(shape)[1:]) >= 4


def _gallery(
    norm: Norm, own: list[Exhibit], layout: Layout, domain: tuple[float, float], called: Callable[[int], str]
) -> Gallery:
    rows = []
    for exhibit in own:
        x, x_adv = (pixels(array, layout, domain) for array in (exhibit.x, exhibit.x_adv))
        delta = x_adv - x
        factor = 0.5 / max(float(np.abs(delta).max()), 1e-12)
        sure = "" if exhibit.confidence is None else f", {percent(exhibit.confidence)} sure"
        rows.append(
            (
                Picture(
                    png(x), f"example {exhibit.index}", (f"example {exhibit.index}", f"label {called(exhibit.label)}")
                ),
                Picture(
                    png(0.5 + factor * delta),
                    f"perturbation of example {exhibit.index}, {factor:.0f} times",
                    (f"× {factor:.0f}", f"distance {size(exhibit.distance)}"),
                ),
                Picture(
                    png(x_adv),
                    f"adversarial example {exhibit.index}",
                    (f"taken for {called(exhibit.predicted)}{sure}", f"SSIM {ssim(x, x_adv):.3f}"),
                ),
            )
        )
    caption = f"{norm}: the {len(rows)} examples that the smallest changes break"
    return Gallery(_COLUMNS, tuple(rows), caption)


def _waves(norm: Norm, own: list[Exhibit], called: Callable[[int], str]) -> Gallery:
    rows = []
    for exhibit in own:
        delta = exhibit.x_adv - exhibit.x
        height, most = (max(float(np.abs(signal).max()), 1e-12) for signal in (exhibit.x, delta))
        ratio = signal_to_noise(exhibit.x, exhibit.x_adv)
        sure = "" if exhibit.confidence is None else f", {percent(exhibit.confidence)} sure"
        rows.append(
            (
                Picture(
                    outline(exhibit.x, height),
                    f"waveform of example {exhibit.index}",
                    (f"example {exhibit.index}", f"label {called(exhibit.label)}"),
                ),
                Picture(
                    outline(delta, most),
                    f"perturbation of example {exhibit.index}, {height / most:.0f} times",
                    (f"× {height / most:.0f}", f"distance {size(exhibit.distance)}"),
                ),
                Picture(
                    outline(exhibit.x_adv, height),
                    f"waveform of adversarial example {exhibit.index}",
                    (f"taken for {called(exhibit.predicted)}{sure}", f"signal to noise {ratio:.1f} dB"),
                ),
            )
        )
    caption = f"{norm}: the {len(rows)} signals that the smallest changes break, each drawn to its own height"
    return Gallery(_COLUMNS, tuple(rows), caption)


def _changes(norm: Norm, own: list[Exhibit], called: Callable[[int], str]) -> Table:
    rows = []
    for exhibit in own:
        x, x_adv = exhibit.x.ravel().astype(np.float64), exhibit.x_adv.ravel().astype(np.float64)
        most = np.argsort(-np.abs(x_adv - x), kind="stable")[:_FEATURES]
        changes = ", ".join(f"[{i}] {x[i]:.4g} → {x_adv[i]:.4g}" for i in most if x[i] != x_adv[i])
        taken = f"{called(exhibit.label)} → {called(exhibit.predicted)}"
        rows.append((str(exhibit.index), taken, size(exhibit.distance), changes))
    heads = ("example", "class", "distance", "largest changes of its features")
    return Table(heads, tuple(rows), f"{norm}: the examples that the smallest changes break", frozenset({2}))


def ssim(x: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two images (h, w, c) in [0, 1], the mean over channels; 1 for equal ones.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", with their Gaussian
    window (sigma 1.5) and constants.
    """
    from scipy.ndimage import gaussian_filter

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(values, sigma=(1.5, 1.5, 0), truncate=3.5))

    a, b = x.astype(np.float64), other.astype(np.float64)
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    ratio = (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return float(ratio.mean())


def pixels(array: np.ndarray, layout: Layout, domain: tuple[float, float]) -> np.ndarray:
    """(h, w, c) float64 in [0, 1]."""
    image = array if layout == "NHWC" else np.moveaxis(array, 0, -1)
    return (image.astype(np.float64) - domain[0]) / (domain[1] - domain[0])


def png(shares: np.ndarray) -> bytes:
    """A pixel per pixel; whoever shows it larger keeps the edges. shares: (h, w, 1 or 3) in [0, 1]; what lies outside
    is cut off."""
    from PIL import Image

    levels = np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).save(file, "PNG")
    return file.getvalue()
