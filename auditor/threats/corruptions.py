"""The fifteen common corruptions of Hendrycks & Dietterich 2019 ("Benchmarking neural network robustness to common
corruptions and perturbations"), each at five severities, with their published parameters.

Each is a function of images (n, channels, h, w) float64 on whole grey levels, black 0 and white 1, and of a stream of
random numbers per example. What comes out is clipped and rounded to grey levels, as the published images are. They are
not the published images: random numbers and image libraries differ, and frost, which was made with photographs,
is made of ridged clouds here, mixed in with the published weights.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import PIL
import scipy
from PIL import Image
from scipy import ndimage, special

from auditor.attacks.random import Random
from auditor.threats import filters
from auditor.threats.pixels import Pixels
from auditor.threats.severities import severities
from auditor.threats.threat import OtherThreat, Points, Scene, Setting

_VALUES = 2**21  # pixel values that are held at once, for temporary arrays are many times larger

Function = Callable[..., np.ndarray]


def image_libraries() -> dict[str, str]:
    """The versions of what moves the pixels, which may change a grey level."""
    return {"pillow": PIL.__version__, "scipy": scipy.__version__}


def gaussian_noise(planes: np.ndarray, rng: Random, *, sigma: float) -> np.ndarray:
    return planes + sigma * rng.normal(0, planes.shape[1:]).astype(np.float64)


def shot_noise(planes: np.ndarray, rng: Random, *, photons: float) -> np.ndarray:
    """Poisson counts with that mean where a pixel is white."""
    return _poisson(planes, rng, photons) / photons


def impulse_noise(planes: np.ndarray, rng: Random, *, amount: float) -> np.ndarray:
    """Salt and pepper, evenly."""
    draws = rng.uniform(0, planes.shape[1:])
    return np.where(draws < amount / 2, 0.0, np.where(draws < amount, 1.0, planes))


def defocus_blur(planes: np.ndarray, rng: Random, *, radius: float, sigma: float) -> np.ndarray:
    return filters.disk(planes, radius, sigma)


def glass_blur(planes: np.ndarray, rng: Random, *, sigma: float, reach: int, rounds: int) -> np.ndarray:
    """Each pixel takes the value of a random one near by, from the last to the first, between two blurs."""
    planes = _levels(filters.gaussian(planes, sigma))
    (n, _, h, w), image = planes.shape, np.arange(len(planes))
    for number in range(rounds):
        rows, columns = np.arange(h - reach, reach, -1), np.arange(w - reach, reach, -1)
        draws = rng.integers(number, 2 * len(rows) * len(columns)).astype(np.int64) % (2 * reach) - reach
        draws = draws.reshape(n, len(rows), len(columns), 2)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                there = row + draws[:, i, j, 0], column + draws[:, i, j, 1]
                planes[:, :, row, column] = planes[image, :, there[0], there[1]]
    return filters.gaussian(planes, sigma)


def motion_blur(planes: np.ndarray, rng: Random, *, radius: int, sigma: float) -> np.ndarray:
    return filters.motion(planes, radius, sigma, _between(rng, -45, 45))


def zoom_blur(planes: np.ndarray, rng: Random, *, largest: float, step: float) -> np.ndarray:
    """The mean of the image and its enlargements."""
    factors = np.arange(1, largest, step)
    total = planes.copy()
    for factor in factors:
        total += filters.zoomed(planes, factor)
    return total / (len(factors) + 1)


def snow(
    planes: np.ndarray,
    rng: Random,
    *,
    mean: float,
    sigma: float,
    zoom: float,
    threshold: float,
    radius: int,
    blur: float,
    kept: float,
) -> np.ndarray:
    """Flakes, smeared as they fall, over a whitened image."""
    flakes = mean + sigma * rng.normal(0, (1, *planes.shape[2:])).astype(np.float64)
    flakes = filters.zoomed(flakes, zoom)
    flakes = np.clip(np.where(flakes < threshold, 0.0, flakes), 0, 1)
    flakes = filters.motion(flakes, radius, blur, _between(rng.split("fall"), -135, -45))
    white = np.maximum(planes, 1.5 * filters.grey(planes) + 0.5)
    return kept * planes + (1 - kept) * white + flakes + flakes[:, :, ::-1, ::-1]


def frost(planes: np.ndarray, rng: Random, *, kept: float, ice: float) -> np.ndarray:
    """Bright ridges of clouds in the place of the published photographs of ice."""
    height, width = planes.shape[2:]
    ridges = 1 - np.abs(2 * filters.plasma(rng, height, width, 1.4) - 1)
    return kept * planes + ice * ridges**2


def fog(planes: np.ndarray, rng: Random, *, thickness: float, decay: float) -> np.ndarray:
    height, width = planes.shape[2:]
    brightest = planes.max(axis=(1, 2, 3), keepdims=True)
    clouds = thickness * filters.plasma(rng, height, width, decay)
    return (planes + clouds) * brightest / (brightest + thickness)


def brightness(planes: np.ndarray, rng: Random, *, shift: float) -> np.ndarray:
    """The value of hue, saturation and value is raised; the other two stay."""
    value = planes.max(axis=1, keepdims=True)
    raised = np.clip(value + shift, 0, 1)
    return np.where(value > 0, planes * raised / np.where(value > 0, value, 1.0), raised)


def contrast(planes: np.ndarray, rng: Random, *, factor: float) -> np.ndarray:
    mean = planes.mean(axis=(2, 3), keepdims=True)
    return (planes - mean) * factor + mean


def elastic_transform(planes: np.ndarray, rng: Random, *, strength: float, sigma: float, shear: float) -> np.ndarray:
    """A random affine map, then a smooth random displacement."""
    height, width = planes.shape[2:]
    side = min(height, width)
    draws = 2 * rng.uniform(0, (3, 2)).astype(np.float64) - 1
    third, centre = side // 3, np.array([height // 2, width // 2])
    corners = centre + np.array([[third, third], [third, -third], [-third, -third]])
    moves = 2 * rng.uniform(1, (2, height, width)).astype(np.float64) - 1
    moves = strength * side * ndimage.gaussian_filter(moves, sigma * side, mode="reflect", truncate=3, axes=_SPACE)
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")).astype(np.float64)
    bent = np.empty_like(planes)
    for image, (plane, draw, move) in enumerate(zip(planes, draws, moves, strict=True)):
        turn, offset = _affine(corners + shear * side * draw, corners)
        straight = np.tensordot(turn, grid, axes=1) + offset[:, None, None]
        for channel, values in enumerate(plane):
            sheared = ndimage.map_coordinates(values, straight, order=1, mode="mirror")
            bent[image, channel] = ndimage.map_coordinates(sheared, grid + move, order=1, mode="reflect")
    return bent


def pixelate(planes: np.ndarray, rng: Random, *, share: float) -> np.ndarray:
    height, width = planes.shape[2:]
    small = max(int(width * share), 1), max(int(height * share), 1)
    box = Image.Resampling.BOX
    return _each_image(planes, lambda image: image.resize(small, box).resize((width, height), box))


def jpeg_compression(planes: np.ndarray, rng: Random, *, quality: int) -> np.ndarray:
    def squeezed(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _each_image(planes, squeezed)


CORRUPTIONS: dict[str, Function] = {
    "gaussian-noise": gaussian_noise,
    "shot-noise": shot_noise,
    "impulse-noise": impulse_noise,
    "defocus-blur": defocus_blur,
    "glass-blur": glass_blur,
    "motion-blur": motion_blur,
    "zoom-blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic-transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg-compression": jpeg_compression,
}


def corruption(name: str, pixels: Pixels) -> OtherThreat:
    """One of them at its five severities."""
    large = pixels.large
    parameters = severities(name, large=large)
    settings = tuple({"severity": level} | chosen for level, chosen in enumerate(parameters, start=1))
    about = {"source": "Hendrycks & Dietterich 2019", "parameters": "ImageNet-C" if large else "CIFAR-10-C"}
    if name == "frost":
        about["differs"] = "clouds in the place of the published photographs of ice"
    return OtherThreat(name, "corruption", settings, corrupting(CORRUPTIONS[name], beside=("severity",)), about=about)


def corrupting(function: Function, *, beside: tuple[str, ...] = ()) -> Callable[[Scene, Setting], Points]:
    """A function of images as the points of a threat. beside: entries of a setting that are none of its parameters."""

    def points(scene: Scene, setting: Setting) -> Points:
        given = {key: value for key, value in setting.items() if key not in beside}
        made = corrupted(function, scene.host_planes, scene.rng(np, setting), given)
        yield scene.xp.asarray(scene.image.inputs(np, made))

    return points


def corrupted(function: Function, planes: np.ndarray, rng: Random, parameters: Setting) -> np.ndarray:
    """A function of images applied to few of them at a time. planes: (n, channels, h, w), black 0 and white 1 -> the
    same on whole grey levels, float64"""
    rows = max(_VALUES // planes[0].size, 1)
    made = np.empty(planes.shape)
    for start in range(0, len(planes), rows):
        part = slice(start, start + rows)
        stream = Random(np, rng.key, rng.examples[part])
        made[part] = _levels(function(_levels(planes[part].astype(np.float64)), stream, **parameters))
    return made


_SPACE = (2, 3)


def _levels(planes: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(planes, 0, 1)) / 255


def _between(rng: Random, lower: float, upper: float) -> np.ndarray:
    return lower + (upper - lower) * rng.uniform(0, ()).astype(np.float64)


def _poisson(planes: np.ndarray, rng: Random, photons: float) -> np.ndarray:
    """Counts by inversion: one table of the distribution function per grey level, laid end to end and searched once."""
    level = np.rint(255 * planes).astype(np.int64)
    most = int(photons + 12 * np.sqrt(photons) + 20)  # beyond lies less than a draw can tell
    table = special.pdtr(np.arange(most)[None, :], np.arange(256)[:, None] * photons / 255)
    table[:, -1] = 1
    draws = (rng.integers(0, planes[0].size).astype(np.float64) + 0.5) * 2.0**-32
    draws = draws.reshape(planes.shape)
    found = np.searchsorted((table + np.arange(256)[:, None]).reshape(-1), draws + level)
    return (found - level * most).astype(np.float64)


def _affine(source: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map that takes three points to three others: (3, 2), (3, 2) -> (2, 2) matrix and (2,) offset"""
    found = np.linalg.solve(np.concatenate([source, np.ones((3, 1))], axis=1), goal)
    return found[:2].T, found[2]


def _each_image(planes: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Through the image library, in bytes."""
    pixels = np.rint(255 * planes).astype(np.uint8).transpose(0, 2, 3, 1)
    made: list[Any] = []
    for image in pixels:
        made.append(np.asarray(change(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image))))
    return np.stack(made).reshape(pixels.shape).transpose(0, 3, 1, 2).astype(np.float64) / 255
