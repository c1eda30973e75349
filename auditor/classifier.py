"""What an attack may call.

`Classifier` is the protocol that attacks are written against: class scores, and the gradient of a loss. An attack
sees no session, no database and no clock. `active` picks the rows that are evaluated; the classifier packs them
into full batches of the plan's one batch shape and counts what each example cost.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

Array = Any  # numpy.ndarray on the CPU, cupy.ndarray on CUDA: arrays of the array-API standard


class Loss(IntEnum):
    """What an attack ascends. z: logits, y: label, t: target class, pi: classes by falling score.

    The numbers are the values of the gradient graph's integer input `loss`, one per row.
    """

    CROSS_ENTROPY = 0  # logsumexp(z) - z_y
    MARGIN = 1  # max_{k != y} z_k - z_y; positive exactly when the example is broken
    DLR = 2  # -(z_y - max_{k != y} z_k) / (z_pi1 - z_pi3); at least 3 classes (Croce & Hein 2020)
    TARGETED_DLR = 3  # -(z_y - z_t) / (z_pi1 - (z_pi3 + z_pi4) / 2); at least 4 classes
    DIFFERENCE = 4  # z_t - z_y
    TARGETED_CROSS_ENTROPY = 5  # z_t - logsumexp(z)


@dataclass(frozen=True)
class Evaluation:
    """One forward and backward pass. Rows outside `active` hold zeros."""

    logits: Array  # (n, classes) float32
    loss: Array  # (n,) float32
    g: Array  # (n, *shape) float32, d loss / d x


class Classifier(Protocol):
    """A model at one batch shape on one device."""

    xp: Any  # the array namespace: numpy or cupy, through array-api-compat
    shape: tuple[int, ...]  # of one example
    classes: int
    domain: tuple[float, float] | None  # the box inputs live in, in the model's input units

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """x: (n, *shape) float32 -> (n, classes) float32. One forward per active row."""
        ...

    def gradient(
        self,
        x: Array,
        y: Array,
        loss: Loss | Array,
        *,
        target: Array | None = None,
        active: Array | None = None,
    ) -> Evaluation:
        """x: (n, *shape) float32, y: (n,) int64, loss: one Loss or (n,) int64, target: (n,) int64 for the targeted
        losses, active: (n,) bool. One forward and one backward per active row."""
        ...
