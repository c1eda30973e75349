"""One change of colours for the whole image, the same for equal colours: it may look like other light, and moves many pixels.

Laidlaw & Feizi 2019, "Functional adversarial attacks" (ReColorAdv), in RGB: nodes on a lattice of the colour cube, four
along each channel, are moved by at most eps in every channel, and every colour between them is moved by interpolation.
A pixel so moves by at most eps too. The paper's bound on how much neighbouring nodes differ is left out, and its Adam is
replaced by signed gradient steps.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from auditor.attacks.attempt import margin
from auditor.attacks.catalogue import Passes
from auditor.attacks.norms import per_row
from auditor.classifier import Array
from auditor.spec import Loss
from auditor.threats.pixels import Pixels
from auditor.threats.threat import OtherThreat, Points, Scene, Setting

NODES = 4
_STEPS = 30


def colour(pixels: Pixels) -> OtherThreat:
    """Bounds from a fiftieth of the range to a fifth; the paper has 0.06."""
    settings = tuple({"eps": eps, "nodes": NODES, "steps": _STEPS} for eps in (0.02, 0.04, 0.06, 0.1, 0.2))
    return OtherThreat(
        "colour",
        "colour",
        settings,
        _points,
        access="white-box",
        search=True,
        nested=True,
        about={"source": "Laidlaw & Feizi 2019"},
        cost=Passes(len(settings) * (_STEPS + 1), len(settings) * _STEPS),
    )


def recoloured(xp: Any, planes: Array, moves: Array) -> Array:
    """planes: (n, channels, h, w) in [0, 1]; moves: (n, NODES ** channels, channels) of the nodes -> the moved colours"""
    changed = planes
    for node, weight in enumerate(node_weights(xp, planes)):
        changed = changed + weight[:, None] * moves[:, node, :, None, None]
    return changed


def pulled(xp: Any, planes: Array, g: Array) -> Array:
    """The adjoint: a gradient in the moved colours (n, channels, h, w) as one in the nodes' moves."""
    return xp.stack([xp.sum(weight[:, None] * g, axis=(2, 3)) for weight in node_weights(xp, planes)], axis=1)


def node_weights(xp: Any, planes: Array) -> Iterator[Array]:
    """The share (n, h, w) of each node in each pixel's move; they sum to one."""
    at = planes * (NODES - 1)
    for place in product(range(NODES), repeat=planes.shape[1]):
        weight = xp.ones_like(planes[:, 0])
        for channel, node in enumerate(place):
            weight = weight * xp.maximum(1 - xp.abs(at[:, channel] - node), xp.float32(0))
        yield weight


def _points(scene: Scene, setting: Setting) -> Points:
    """Ascends the margin by steps that shrink from half of eps to a twentieth."""
    xp, steps = scene.xp, setting["steps"]
    rows = xp.nonzero(scene.active)[0]
    planes, eps = scene.device_planes[rows], setting["eps"]
    moves = xp.zeros((len(rows), NODES ** planes.shape[1], planes.shape[1]), dtype=xp.float32)
    best, highest = scene.x, xp.full(len(scene.index), -xp.inf, dtype=xp.float32)
    climbing = scene.active
    for step in range(steps):
        x_adv = _laid(scene, rows, recoloured(xp, planes, moves))
        found = scene.classifier.gradient(x_adv, scene.y, Loss.MARGIN, active=climbing)
        gap = xp.where(climbing, margin(xp, found.logits, scene.y), -xp.inf)
        better = gap > highest
        best, highest = xp.where(per_row(better, best), x_adv, best), xp.where(better, gap, highest)
        climbing = climbing & ~(highest > 0)
        if not xp.any(climbing):
            break
        g = pulled(xp, planes, scene.image.planes_of_gradient(xp, found.g[rows]))
        size = xp.float32(0.5 * eps * 10 ** (-step / steps))
        moves = xp.clip(moves + size * xp.sign(xp.where(xp.isfinite(g), g, xp.float32(0))), -eps, eps)
    yield best


def _laid(scene: Scene, rows: Array, planes: Array) -> Array:
    """The examples with other pixels at `rows`."""
    x = scene.xp.asarray(scene.x, copy=True)
    x[rows] = scene.image.inputs(scene.xp, scene.xp.clip(planes, 0, 1))
    return x
