"""Auto-PGD: gradient ascent that halves its own step size where it stops paying.

Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks", algorithm 1; for L1 the sparse steps of Croce & Hein 2021, "Mind the box: l1-APGD for sparse adversarial
attacks on image classifiers", section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.losses import ascent, runners_up
from auditor.attacks.malt import nearest_targets
from auditor.attacks.norms import Ball, elsewhere, length, per_row, steepest
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm

MOMENTUM = 0.75
ENOUGH = 0.75  # share of steps since the last checkpoint that must have raised the loss (the paper's rho)


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size is looked at: 0.22, 0.41, 0.57, ... of the budget."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return sorted({ceil(round(share * steps, 6)) for share in shares[1:] if share <= 1})


def apgd(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    steps: int = 100,
    restarts: int = 1,
    loss: Loss = Loss.CROSS_ENTROPY,
    target: Array | None = None,
    start: Array | None = None,
    bounded: bool = True,
    larger_first: bool = False,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units, target: (n,) for targeted losses;
    start: (n, *shape), where the first restart begins, projected; a row that is x begins at a random point. bounded:
    whether steps keep to coordinates that the domain lets move; AutoAttack's do not, and are weaker at its border.
    larger_first: whether a restart spends 30 % of its steps within 3 eps and 30 % within 2 eps, where nothing counts,
    before the rest within eps (Croce & Hein 2021, section 3.3, for L1).

    An example that is safely broken costs nothing more. At most restarts * steps forwards and backwards per
    example. Every point given lies in the ball and in the domain.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    ball = (Ball if bounded else _Clipped)(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    run = _Run(classifier, y, loss, target, active, best)
    phases = _phases(ball, steps, larger_first)
    outermost = phases[0].ball
    for restart in range(restarts):
        x_start, known = outermost.random(rng.split(f"restart {restart}")), None
        if start is not None and restart == 0:
            known = elsewhere(xp, start, x)
            x_start = xp.where(per_row(known, x), outermost.project(start), x_start)
        _ascend(run, phases, x_start, known)
    return best.attempt(x)


def apgd_targeted(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    steps: int = 100,
    targets: int = 9,
    trial: int = 20,
    kept: int = 3,
    candidates: int = 0,
    loss: Loss = Loss.TARGETED_DLR,
    bounded: bool = True,
    larger_first: bool = False,
) -> Attempt:
    """APGD towards classes beside the label: `trial` steps towards each of the `targets` with the largest scores at x,
    then `steps` anew towards the `kept` that came nearest to success.

    Which class is nearest shows in a few steps, and seldom in the scores at x. With trial=0 every target gets all
    steps, as in AutoAttack. candidates: where larger than `targets`, the targets are the nearest of so many classes by
    their linearised boundaries (see `malt`), for one forward and backward each. One forward and at most targets * trial + kept * steps forwards and backwards per
    example; otherwise as `apgd`.
    """
    xp, n = classifier.xp, x.shape[0]
    active = xp.ones(n, dtype=bool) if active is None else active
    ball = (Ball if bounded else _Clipped)(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    phases, trials = (_phases(ball, count, larger_first) for count in (steps, trial))
    at_x = classifier.logits(x, active=active)
    if candidates > targets:
        ranked = nearest_targets(classifier, x, y, at_x, norm, active, targets=targets, candidates=candidates)
    else:
        ranked = runners_up(xp, at_x, y, min(targets, classifier.classes - 1))

    def towards(place: int, phases: Sequence[_Phase], stream: Random) -> Array:
        run = _Run(classifier, y, loss, ranked[:, place], active, best)
        return _ascend(run, phases, phases[0].ball.random(stream))

    if trial and ranked.shape[1] > kept:
        reached = [towards(place, trials, rng.split(f"trial {place}")) for place in range(ranked.shape[1])]
        order = xp.argsort(-xp.stack(reached, axis=1), axis=1, stable=True)[:, :kept]
        ranked = xp.take_along_axis(ranked, order, axis=1)
    for place in range(ranked.shape[1]):
        towards(place, phases, rng.split(f"target {place}"))
    return best.attempt(x)


class _Clipped(Ball):
    """A ball in which steps go wherever the loss rises, in L2 shortened before what leaves the domain is cut off: so
    they lose length where x lies at the domain's border."""

    def uphill(self, x_adv: Array, g: Array, density: Array | float = 0.05) -> Array:
        return steepest(self.xp, g, self.norm, density)

    def project(self, x_adv: Array) -> Array:
        if self.norm != "L2":
            return super().project(x_adv)
        delta = x_adv - self.x
        size = length(self.xp, delta, "L2")
        scale = self.xp.where(size > self.reach, self.reach / self.xp.where(size > 0, size, 1.0), 1.0)
        return super().project(self.x + delta * per_row(scale, delta).astype(self.xp.float32))


@dataclass(frozen=True)
class _Phase:
    """So many steps within a ball."""

    ball: Ball
    steps: int


def _phases(ball: Ball, steps: int, larger_first: bool) -> list[_Phase]:
    """All steps within the ball, or the first of them within larger ones. The last phase is that of the ball itself."""
    outside = [_Phase(ball.resized(times * ball.eps), steps * 3 // 10) for times in (3, 2) if larger_first]
    outside = [phase for phase in outside if phase.steps]
    return [*outside, _Phase(ball, steps - sum(phase.steps for phase in outside))]


@dataclass(frozen=True)
class _Run:
    """One ascent's loss, and where its finds go. counts: whether its points are within eps."""

    classifier: Classifier
    y: Array
    loss: Loss
    target: Array | None
    active: Array
    best: Strongest
    counts: bool = True

    @property
    def alive(self) -> Array:
        return self.active & ~self.best.done

    def at(self, x_adv: Array, alive: Array) -> tuple[Array, Array]:
        """The loss and its gradient; the point is shown to `best` where it counts."""
        here = self.classifier.gradient(x_adv, self.y, self.loss, target=self.target, active=alive)
        if self.counts:
            self.best.see(x_adv, here.logits, alive)
        return ascent(self.classifier.xp, here.loss), here.g


def _ascend(run: _Run, phases: Sequence[_Phase], x_start: Array, known: Array | None = None) -> Array:
    """The phases one after another, each from where the loss was largest in the one before. known: (n,) the rows of
    x_start that are no random points. Gives the largest loss of each row in the last phase."""
    f_best = None
    for phase in phases:
        within = replace(run, counts=phase is phases[-1])
        x_start, f_best = _climb(within, phase, x_start if f_best is None else phase.ball.project(x_start), known)
        known = run.active
    return f_best


def _climb(run: _Run, phase: _Phase, x_start: Array, known: Array | None) -> tuple[Array, Array]:
    """One phase from x_start; gives each row's point of the largest loss, and that loss."""
    if not run.classifier.xp.any(run.alive):
        return x_start, run.classifier.xp.full(x_start.shape[0], -run.classifier.xp.inf, dtype=x_start.dtype)
    if phase.ball.norm == "L1":
        return _climb_sparse(run, phase, x_start, known)
    return _climb_dense(run, phase, x_start)


def _climb_dense(run: _Run, phase: _Phase, x_start: Array) -> tuple[Array, Array]:
    """Algorithm 1, for Linf and L2."""
    ball, steps = phase.ball, phase.steps
    xp, eps = ball.xp, ball.eps
    n = x_start.shape[0]
    x, x_before = x_start, x_start
    f, g = run.at(x, run.alive)
    x_best, f_best, g_best = x, f, g
    eta = 2.0 * eps
    raised = xp.zeros(n, dtype=xp.int64)
    halved, f_checked = xp.ones(n, dtype=bool), f_best
    looks, last_look = set(checkpoints(steps)), 0
    for k in range(1, steps):
        alive = run.alive
        if not xp.any(alive):
            break
        z = ball.project(x + per_row(eta, x).astype(xp.float32) * ball.uphill(x, g))
        share = MOMENTUM if k > 1 else 1.0
        x, x_before = ball.project(x + share * (z - x) + (1 - share) * (x - x_before)), x
        f_before = f
        f, g = run.at(x, alive)
        raised = raised + (f > f_before)
        better = f > f_best
        f_best = xp.where(better, f, f_best)
        x_best = xp.where(per_row(better, x), x, x_best)
        g_best = xp.where(per_row(better, x), g, g_best)
        if k in looks:
            rarely = raised < ENOUGH * (k - last_look)
            stuck = ~halved & (f_best <= f_checked)
            halved, f_checked = rarely | stuck, f_best
            eta = xp.where(halved, eta / 2, eta)
            x = xp.where(per_row(halved, x), x_best, x)
            g = xp.where(per_row(halved, x), g_best, g)
            f = xp.where(halved, f_best, f)
            raised, last_look = xp.zeros_like(raised), k
    return x_best, f_best


def _climb_sparse(run: _Run, phase: _Phase, x_start: Array, known: Array | None) -> tuple[Array, Array]:
    """l1-APGD: the steps' sparsity follows that of the best point, at first that of a start that is `known`, and the
    step size starts anew whenever it has changed much."""
    ball, steps = phase.ball, phase.steps
    xp, eps = ball.xp, ball.eps
    d = x_start[0, ...].size

    def features(x: Array) -> Array:
        return xp.sum((x != ball.x).reshape((x.shape[0], -1)), axis=1).astype(xp.float64)

    x = x_start
    f, g = run.at(x, run.alive)
    x_best, f_best, g_best = x, f, g
    eta = eps
    density, changed_before = xp.full(x.shape[0], 0.2), xp.full(x.shape[0], float(d))
    if known is not None:
        changed_before = xp.where(known, features(x), changed_before)
        density = xp.where(known, changed_before / (1.5 * d), density)
    period = max(int(0.04 * steps), 1)
    for k in range(1, steps):
        alive = run.alive
        if not xp.any(alive):
            break
        x = ball.project(x + per_row(eta, x).astype(xp.float32) * ball.uphill(x, g, density))
        f, g = run.at(x, alive)
        better = f > f_best
        f_best = xp.where(better, f, f_best)
        x_best = xp.where(per_row(better, x), x, x_best)
        g_best = xp.where(per_row(better, x), g, g_best)
        if k % period == 0:
            changed = features(x_best)
            sparser = changed < 0.95 * changed_before
            eta = xp.where(sparser, eps, xp.maximum(eta / 1.5, eps / 10))
            density = xp.maximum(changed, xp.ones_like(changed)) / (1.5 * d)
            x = xp.where(per_row(sparser, x), x_best, x)
            g = xp.where(per_row(sparser, x), g_best, g)
            changed_before = changed
    return x_best, f_best
