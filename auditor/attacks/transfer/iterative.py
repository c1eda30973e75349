"""Points crafted on a surrogate and judged by the upload: the one loop of the transfer attacks.

Dong et al. 2018, "Boosting adversarial attacks with momentum", algorithm 1 (MI-FGSM). What later papers changed is how
the gradient of a step is estimated, and a `Method` says it: NI looks ahead (Lin et al. 2020, algorithm 1), VMI and VNI
tune by neighbours (Wang & He 2021, "Enhancing the transferability of adversarial attacks through variance tuning",
algorithm 1), PGN prefers flat maxima (Ge et al. 2023, "Boosting adversarial transferability by achieving flat local
maxima", algorithm 1), TI smooths, and DI, SI, Admix and BSR show the surrogate other views of a point. ILA goes on from
the point that was reached, by the features of a layer inside the surrogate (Huang et al. 2019, "Enhancing adversarial
example transferability with an intermediate level attack", algorithm 1, ILAP).
"""

from dataclasses import dataclass, field
from typing import Any

from auditor.attacks.attempt import Attempt, Strongest, margin
from auditor.attacks.norms import Ball, length, per_row, steepest
from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.attacks.transfer.smooth import smoothed
from auditor.attacks.transfer.views import Plain, Pool, Setting, Views
from auditor.classifier import Array, Classifier, Layer
from auditor.errors import SpecError
from auditor.spec import Layout, Loss, Norm


@dataclass(frozen=True)
class Method:
    """How the gradient of a step is estimated.

    look_ahead: at the point that the momentum alone would reach (NI). smooth: over displacements (TI). neighbours: how
    many points within `radius` times eps tune the next step's gradient (VMI). pairs: how many points within `radius`
    times eps are followed a step downhill, the mean of both gradients being taken (PGN), at weights 1 - balance and
    balance. onwards: how many more steps then lead a layer's features on the way that they have gone so far (ILA).
    """

    views: Views = field(default_factory=Plain)
    look_ahead: bool = False
    smooth: bool = False
    neighbours: int = 0
    pairs: int = 0
    radius: float = 0.0
    balance: float = 0.5
    onwards: int = 0

    def gradients(self, steps: int) -> int:
        """Gradients of the surrogate in so many steps; the last needs no tuning for a next one. Features are asked for at
        both ends of their way, and at each step onwards."""
        onwards = self.onwards + 2 if self.onwards else 0
        return self.views.copies * max(2 * self.pairs, 1) * (steps + self.neighbours * (steps - 1)) + onwards


@dataclass(frozen=True)
class Crossing(Attempt):
    """fooled: (n,) bool, whether the surrogate gives another class at the crafted point, which x_adv is where found."""

    fooled: Array


def transfer(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    surrogate: Classifier,
    eps: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    method: Method,
    steps: int = 10,
    step_size: float = 0.1,
    decay: float = 1.0,
    loss: Loss = Loss.CROSS_ENTROPY,
    target: Array | None = None,
    layout: Layout = "NCHW",
    pool: Pool | None = None,
    layer: Layer | None = None,
) -> Crossing:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units, target: (n,) for targeted losses;
    step_size: as a share of eps; decay: of the momentum; pool: examples that the attacker has besides x; layer: of the
    surrogate, for a method that goes `onwards`, else SpecError.

    Only `surrogate` is followed, also outside the domain: method.gradients(steps) forwards and backwards of it, and
    a last forward, per example. The upload is asked once per example, about the last point. Every point given lies in
    the ball and in the domain.
    """
    if method.onwards and layer is None:
        raise SpecError("this method follows a layer inside the surrogate; give one, such as OnnxClassifier.layer")
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, norm, classifier.domain)
    black = 0.0 if classifier.domain is None else classifier.domain[0]
    setting = Setting(xp, Planes(xp, x.shape[1:], layout), black, y, pool)
    step = per_row(step_size * ball.eps, x).astype(xp.float32)
    slope = _Slope(surrogate, setting, ball, step, method, loss, target, active)
    x_adv, velocity, tuning = x, xp.zeros_like(x), xp.zeros_like(x)
    for k in range(steps):
        stream = rng.split(f"step {k}")
        ahead = step * xp.float32(decay) * velocity if method.look_ahead else xp.float32(0)
        g = slope.at(x_adv + ahead, stream)
        velocity = xp.float32(decay) * velocity + _unit(xp, g + tuning, norm)
        if method.neighbours and k + 1 < steps:
            tuning = slope.around(x_adv, stream.split("around")) - g
        x_adv = ball.project(x_adv + step * ball.uphill(x_adv, velocity))
    if method.onwards and layer is not None:
        x_adv = _led_on(layer, ball, x_adv, step, method.onwards, active)
    best = Strongest(classifier, x, y)
    best.see(x_adv, classifier.logits(x_adv, active=active), active)
    fooled = active & (margin(xp, surrogate.logits(x_adv, active=active), y) > 0)
    return Crossing(**vars(best.attempt(x)), fooled=fooled)


def _led_on(layer: Layer, ball: Ball, x_adv: Array, step: Array, steps: int, active: Array) -> Array:
    """ILAP: steps that raise the projection of the features' change on the change that led from x to x_adv."""
    way = layer.at(x_adv, None, active)[0] - layer.at(ball.x, None, active)[0]
    for _ in range(steps):
        g = layer.at(x_adv, way, active)[1]
        x_adv = ball.project(x_adv + step * ball.uphill(x_adv, g))
    return x_adv


@dataclass(frozen=True)
class _Slope:
    """The surrogate's gradient as a method estimates it."""

    surrogate: Classifier
    setting: Setting
    ball: Ball
    step: Array
    method: Method
    loss: Loss
    target: Array | None
    active: Array

    def at(self, x: Array, rng: Random) -> Array:
        g = self._flat(x, rng) if self.method.pairs else self._seen(x, rng)
        return smoothed(self.setting.xp, self.setting.planes, g) if self.method.smooth else g

    def around(self, x: Array, rng: Random) -> Array:
        """VMI: the mean of the gradients at the neighbours of x."""
        total = self.setting.xp.zeros_like(x)
        for neighbour in range(self.method.neighbours):
            stream = rng.split(f"neighbour {neighbour}")
            total = total + self.at(x + self._noise(x, stream), stream)
        return total / self.setting.xp.float32(self.method.neighbours)

    def _flat(self, x: Array, rng: Random) -> Array:
        """PGN: the mean of the gradients at random points and a step downhill of them."""
        xp, total = self.setting.xp, self.setting.xp.zeros_like(x)
        balance = xp.float32(self.method.balance)
        for pair in range(self.method.pairs):
            stream = rng.split(f"pair {pair}")
            here = x + self._noise(x, stream)
            g = self._seen(here, stream)
            below = self._seen(here - self.step * _unit(xp, g, self.ball.norm), stream)
            total = total + (1 - balance) * g + balance * below
        return total / xp.float32(self.method.pairs)

    def _seen(self, x: Array, rng: Random) -> Array:
        """The mean over the views of x."""
        xp, y = self.setting.xp, self.setting.y
        total = xp.zeros_like(x)
        for seen, pull in self.method.views(self.setting, x, rng.split("views")):
            g = self.surrogate.gradient(seen, y, self.loss, target=self.target, active=self.active).g
            total = total + pull(xp.where(xp.isfinite(g), g, xp.float32(0)))
        return total / xp.float32(self.method.views.copies)

    def _noise(self, x: Array, rng: Random) -> Array:
        """Uniform within `radius` times eps, for L2 a random direction of that length."""
        xp, reach = self.setting.xp, self.ball.eps * self.method.radius
        if self.ball.norm == "L2":
            return per_row(reach, x).astype(xp.float32) * steepest(xp, rng.normal(0, x.shape[1:]), "L2")
        return per_row(reach, x).astype(xp.float32) * (2 * rng.uniform(0, x.shape[1:]) - 1)


def _unit(xp: Any, g: Array, norm: Norm) -> Array:
    """g at a size that does not depend on the model's confidence: of mean absolute value 1, for L2 of length 1."""
    size = length(xp, g, "L2") if norm == "L2" else length(xp, g, "L1") / g[0, ...].size
    size = size.astype(xp.float32)
    return g / per_row(xp.where(size > 0, size, xp.ones_like(size)), g)
