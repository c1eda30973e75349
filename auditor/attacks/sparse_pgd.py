"""Sparse PGD: gradient ascent on what changes and on which features change, apart.

Zhong, Huang & Liu 2024, "Towards efficient training and evaluation of robust models against l0 bounded adversarial
perturbations", algorithm 1 (sPGD). The perturbation is a product: how far each feature would go, and a mask of the
`eps` features with the largest values of a continuous tensor. The mask's gradient goes through the tensor's sigmoid; a
mask that stands still is drawn anew. Features are single numbers here, in the paper pixels.
"""

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.norms import box, largest, per_row, unit
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm


def sparse_pgd(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm = "L0",
    rng: Random,
    active: Array | None = None,
    steps: int = 100,
    step_size: float = 0.25,
    mask_step: float = 0.25,
    patience: int = 3,
    projected: bool = False,
    loss: Loss = Loss.CROSS_ENTROPY,
    target: Array | None = None,
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 features, each channel of a pixel being one; target: (n,)
    for targeted losses.

    step_size: of a feature, in widths of the domain (without one: of what `box` says); mask_step: of the tensor, times
    the square root of the number of features; patience: steps with the same mask after which it is drawn anew;
    projected: whether only features inside the mask move (the paper's projected gradient) or all (its unprojected one);
    start: (n, *shape), whose largest changes are the first mask; a row that is x begins at random. At most `steps`
    forwards and backwards per example. Every point given changes at most eps features and lies in the domain.
    """
    xp, n, d = classifier.xp, x.shape[0], x[0, ...].size
    eps = xp.asarray(eps, dtype=xp.float64)
    active = (xp.ones(n, dtype=bool) if active is None else active) & (eps >= 1)
    lower, upper = box(xp, x, classifier.domain)
    best = Strongest(classifier, x, y)
    moved = xp.clip(lower + rng.split("features").uniform(0, x.shape[1:]) * (upper - lower), lower, upper)
    tensor = rng.split("mask").normal(0, x.shape[1:])
    if start is not None:
        moved = xp.where(start != x, xp.clip(start, lower, upper), moved)
        top = per_row(xp.max(tensor.reshape((n, -1)), axis=1), x)
        tensor = xp.where(start != x, top + unit(xp, xp.abs(start - x), "Linf"), tensor)
    mask, still = largest(xp, tensor, eps), xp.zeros(n, dtype=xp.int64)
    for step in range(steps):
        alive = active & ~best.done
        if not xp.any(alive):
            break
        x_adv = xp.where(mask, moved, x)
        here = classifier.gradient(x_adv, y, loss, target=target, active=alive)
        best.see(x_adv, here.logits, alive)
        g = xp.where(xp.isfinite(here.g), here.g, xp.float32(0))
        smooth = 1 / (1 + xp.exp(-tensor))
        uphill = unit(xp, unit(xp, g, "Linf") * (moved - x) * smooth * (1 - smooth), "L2")
        tensor = tensor + xp.float32(mask_step * d**0.5) * uphill
        step_here = xp.float32(step_size) * (upper - lower) * xp.sign(g)
        moved = xp.clip(xp.where(mask | (not projected), moved + step_here, moved), lower, upper)
        before, mask = mask, largest(xp, tensor, eps)
        same = ~xp.any((mask != before).reshape((n, -1)), axis=1)
        still = xp.where(same, still + 1, 0)
        stuck = alive & (still >= patience)
        if xp.any(stuck):
            tensor = xp.where(per_row(stuck, x), rng.split("mask").normal(step + 1, x.shape[1:]), tensor)
            mask, still = largest(xp, tensor, eps), xp.where(stuck, 0, still)
    return best.attempt(x)
