"""Images turned and moved, by bilinear interpolation, and the attacker who may choose by how much.

Engstrom, Tran, Tsipras, Schmidt & Madry 2019, "Exploring the landscape of spatial robustness": at most 30 degrees and
3 of 28 or 32 pixels (24 of 224); what is moved in from outside is black. A grid of 31 turns and 5 moves each way is the
attack that finds most; ten random points of it are cheap; gradients with respect to the three numbers find less.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from auditor.attacks.attempt import margin
from auditor.attacks.catalogue import Passes
from auditor.attacks.norms import per_row
from auditor.classifier import Array
from auditor.spec import Loss
from auditor.threats.pixels import Pixels
from auditor.threats.threat import OtherThreat, Points, Scene, Setting

_DEGREES = 30.0
_SHARE = 0.107  # of the side: 3 pixels of 28 and of 32, 24 of 224
_SOURCE = "Engstrom et al. 2019"


@dataclass(frozen=True)
class Moved:
    """planes: (n, channels, h, w) the moved images. turning, lowering, shifting: how they change per radian and per
    pixel down and to the right, each of the same shape."""

    planes: Array
    turning: Array
    lowering: Array
    shifting: Array


def moved(xp: Any, planes: Array, pose: Array) -> Moved:
    """Turned around the middle, then moved. planes: (n, channels, h, w); pose: (n, 3) float64, radians anticlockwise as
    seen on the screen, pixels down, pixels to the right."""
    _, _, h, w = planes.shape
    angle, down, right = (pose[:, i, None, None] for i in range(3))
    sin, cos = xp.sin(angle), xp.cos(angle)
    middle = (h - 1) / 2, (w - 1) / 2
    below = xp.arange(h, dtype=xp.float64)[None, :, None] - middle[0] - down
    beside = xp.arange(w, dtype=xp.float64)[None, None, :] - middle[1] - right
    rows, columns = cos * below + sin * beside + middle[0], cos * beside - sin * below + middle[1]
    values, along_rows, along_columns = _read(xp, planes, rows, columns)

    def change(by_row: Array, by_column: Array) -> Array:
        by_row, by_column = (part.astype(xp.float32)[:, None] for part in (by_row, by_column))
        return along_rows * by_row + along_columns * by_column

    return Moved(
        planes=values,
        turning=change(cos * beside - sin * below, -cos * below - sin * beside),
        lowering=change(-cos, sin),
        shifting=change(-sin, -cos),
    )


def _read(xp: Any, planes: Array, rows: Array, columns: Array) -> tuple[Array, Array, Array]:
    """Values at the points (n, h, w), zero outside, and their slopes along rows and columns."""
    n, channels, h, w = planes.shape
    flat = planes.reshape((n, channels, h * w))
    top, left = xp.floor(rows), xp.floor(columns)
    low, beside = ((at - edge).astype(xp.float32)[:, None] for at, edge in ((rows, top), (columns, left)))
    corner = {}
    for i, j in product((0, 1), repeat=2):
        row, column = top.astype(xp.int64) + i, left.astype(xp.int64) + j
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        at = xp.where(inside, row * w + column, 0).reshape((n, 1, h * w))
        found = xp.take_along_axis(flat, xp.broadcast_to(at, flat.shape), axis=2).reshape(planes.shape)
        corner[i, j] = xp.where(inside[:, None], found, xp.float32(0))
    upper = corner[0, 0] + beside * (corner[0, 1] - corner[0, 0])
    lower = corner[1, 0] + beside * (corner[1, 1] - corner[1, 0])
    across_upper, across_lower = corner[0, 1] - corner[0, 0], corner[1, 1] - corner[1, 0]
    return upper + low * (lower - upper), lower - upper, across_upper + low * (across_lower - across_upper)


def rotation_translation(pixels: Pixels) -> OtherThreat:
    """Ten random points of the box, then the grid."""
    box = _box(pixels)
    settings = {"method": "random", "points": 10, **box}, {"method": "grid", "points": 31 * 5 * 5, **box}
    return OtherThreat(
        "rotation-translation-grid",
        "spatial",
        settings,
        _chosen_points,
        access="decision",
        search=True,
        nested=True,
        about={"source": _SOURCE},
        cost=Passes(10 + 31 * 5 * 5),
    )


def rotation_translation_gradient(pixels: Pixels) -> OtherThreat:
    """Signed gradient steps on the three numbers, from the image as it is and from random points."""
    setting = {"method": "first-order", "starts": 4, "steps": 20, **_box(pixels)}
    return OtherThreat(
        "rotation-translation-gradient",
        "spatial",
        (setting,),
        _climbed_points,
        access="white-box",
        search=True,
        about={"source": _SOURCE},
        cost=Passes(4 * 21, 4 * 20),
    )


def rotation(pixels: Pixels) -> OtherThreat:
    settings = tuple({"degrees": degrees} for degrees in (-45, -30, -20, -10, -5, 5, 10, 20, 30, 45))
    return OtherThreat("rotation", "sweep", settings, _swept)


def translation(pixels: Pixels) -> OtherThreat:
    """Up, down, left and right."""
    sides = {"down": pixels.height, "right": pixels.width}
    steps = [(way, max(1, round(share * side))) for share in (1 / 32, 1 / 16, 1 / 8) for way, side in sides.items()]
    return OtherThreat(
        "translation", "sweep", tuple({way: sign * step} for way, step in steps for sign in (-1, 1)), _swept
    )


def _box(pixels: Pixels) -> dict[str, Any]:
    return {
        "degrees": _DEGREES,
        "down": max(1, round(_SHARE * pixels.height)),
        "right": max(1, round(_SHARE * pixels.width)),
    }


def _largest(setting: Setting) -> np.ndarray:
    """(3,) the ends of the box, as a pose."""
    return np.array([np.deg2rad(setting["degrees"]), setting["down"], setting["right"]], dtype=np.float64)


def _swept(scene: Scene, setting: Setting) -> Points:
    pose = np.deg2rad(setting.get("degrees", 0)), setting.get("down", 0), setting.get("right", 0)
    yield _shown(scene, scene.xp.asarray(np.tile(pose, (len(scene.index), 1)).astype(np.float64)))


def _chosen_points(scene: Scene, setting: Setting) -> Points:
    if setting["method"] == "grid":
        lattice = np.stack(np.meshgrid(*(np.linspace(-1, 1, k) for k in (31, 5, 5)), indexing="ij"), axis=-1)
        shares = lattice.reshape(-1, 3)
        # The largest changes first, for they break most.
        for share in shares[np.argsort(-np.abs(shares).sum(axis=1), kind="stable")]:
            yield _shown(scene, scene.xp.asarray(np.tile(share * _largest(setting), (len(scene.index), 1))))
    else:
        rng = scene.rng(scene.xp, setting)
        for step in range(setting["points"]):
            yield _shown(scene, _anywhere(scene, setting, rng.uniform(step, (3,))))


def _anywhere(scene: Scene, setting: Setting, draws: Array) -> Array:
    """Poses out of (n, 3) draws from 0 to 1."""
    return (2 * draws.astype(scene.xp.float64) - 1) * scene.xp.asarray(_largest(setting))


def _climbed_points(scene: Scene, setting: Setting) -> Points:
    """Ascends the margin; steps shrink from a quarter of the box to a fortieth."""
    xp, rng, active = scene.xp, scene.rng(scene.xp, setting), scene.active
    largest, steps = xp.asarray(_largest(setting)), setting["steps"]
    for start in range(setting["starts"]):
        draws = rng.uniform(start, (3,))
        pose = _anywhere(scene, setting, draws if start else xp.full_like(draws, 0.5))
        best, highest = pose, xp.full(len(scene.index), -xp.inf, dtype=xp.float32)
        climbing = active
        for step in range(steps):
            now = moved(xp, scene.device_planes, pose)
            found = scene.classifier.gradient(
                scene.image.inputs(xp, now.planes), scene.y, Loss.MARGIN, active=climbing
            )
            gap = xp.where(climbing, margin(xp, found.logits, scene.y), -xp.inf)
            better = gap > highest
            best, highest = xp.where(better[:, None], pose, best), xp.where(better, gap, highest)
            climbing = climbing & ~(highest > 0)
            if not xp.any(climbing):
                break
            pose = xp.clip(
                pose + 0.25 * 10 ** (-step / steps) * largest * _uphill(scene, found.g, now), -largest, largest
            )
        active = yield _shown(scene, best)


def _uphill(scene: Scene, g: Array, now: Moved) -> Array:
    """The signs of the margin's slopes in the three numbers, (n, 3)."""
    xp = scene.xp
    g = scene.image.planes_of_gradient(xp, g)
    slopes = [xp.sum(g * way, axis=(1, 2, 3)) for way in (now.turning, now.lowering, now.shifting)]
    return xp.sign(xp.where(xp.isfinite(xp.stack(slopes, axis=1)), xp.stack(slopes, axis=1), 0)).astype(xp.float64)


def _shown(scene: Scene, pose: Array) -> Array:
    """The examples so moved; one that is not moved is as it was, to the bit."""
    xp = scene.xp
    still = xp.all(pose == 0, axis=1)
    made = scene.image.inputs(xp, moved(xp, scene.device_planes, pose).planes)
    return xp.where(per_row(still, made), scene.x, made)
