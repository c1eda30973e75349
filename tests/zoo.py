"""Classifiers with known answers, in NumPy: what attacks are tested on.

Each computes every row by itself (sums over the last axis, no matrix product over the batch), in float32.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog, nnls

from auditor.autodiff.losses import available
from auditor.classifier import Evaluation, Layer
from auditor.spec import Loss


class Zoo:
    """Batching, counting and losses for a classifier that gives `scores` and the adjoint `pull` of its scores."""

    xp = np

    def __init__(self, shape: Sequence[int], classes: int, domain: tuple[float, float] | None = None) -> None:
        self.shape, self.classes, self.domain = tuple(shape), classes, domain
        self.forwards = self.backwards = 0

    def scores(self, flat: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, classes)"""
        raise NotImplementedError

    def pull(self, flat: np.ndarray, g: np.ndarray) -> np.ndarray:
        """The gradient of sum(g * scores) in x: (n, d), (n, classes) -> (n, d)"""
        raise NotImplementedError

    def logits(self, x, *, active=None):
        active = np.ones(len(x), bool) if active is None else active
        assert x.dtype == np.float32
        assert x.shape[1:] == self.shape
        assert self.domain is None or ((x[active] >= self.domain[0]) & (x[active] <= self.domain[1])).all(), (
            "an attack left the domain"
        )
        self.forwards += int(active.sum())
        out = np.zeros((len(x), self.classes), np.float32)
        out[active] = self.scores(x[active].reshape(int(active.sum()), -1))
        return out

    def gradient(self, x, y, loss, *, target=None, active=None):
        active = np.ones(len(x), bool) if active is None else active
        z = self.logits(x, active=active)
        self.backwards += int(active.sum())
        target = np.zeros(len(x), np.int64) if target is None else target
        g, value = np.zeros_like(x), np.zeros(len(x), np.float32)
        computed = np.array([available(self.classes)[kind] for kind in Loss])[np.broadcast_to(loss, len(x))]
        f, dz = _loss(z[active].astype(np.float64), y[active], computed[active], target[active])
        value[active] = f
        flat = x[active].reshape(int(active.sum()), -1)
        g[active] = self.pull(flat, dz.astype(np.float32)).reshape(-1, *self.shape)
        return Evaluation(z, value, g)

    @property
    def layer(self) -> Layer:
        """The scores as features."""

        def at(x, along, active):
            here = self.gradient(x, np.zeros(len(x), np.int64), Loss.MARGIN, active=active)
            along = np.zeros_like(here.logits) if along is None else along
            g = self.pull(x.reshape(len(x), -1), along).reshape(x.shape)
            return here.logits, np.where(active.reshape((-1,) + (1,) * (x.ndim - 1)), g, np.float32(0))

        return Layer(self.classes, at)


class Affine(Zoo):
    """Scores W x + b. The exact distance to another class is known where there is no domain."""

    def __init__(self, shape, classes, *, seed=0, domain=None):
        super().__init__(shape, classes, domain)
        rng = np.random.default_rng(seed)
        self.W = rng.standard_normal((classes, int(np.prod(shape)))).astype(np.float32)
        self.b = rng.standard_normal(classes).astype(np.float32)

    def scores(self, flat):
        return np.sum(flat[:, None, :] * self.W, axis=-1, dtype=np.float32) + self.b

    def pull(self, flat, g):
        return np.sum(g[:, :, None] * self.W, axis=1, dtype=np.float32)

    def exact(self, x, y, norm, *, target=None, clearance=0.0):
        """(n,): the smallest (z_y - z_k + clearance) / |w_k - w_y| in the dual norm, over all classes k beside y or
        for k = target (n,) alone."""
        order = {"Linf": 1, "L2": 2, "L1": np.inf}[norm]
        z = self.scores(x.reshape(len(x), -1)).astype(np.float64)
        best = np.full(len(x), np.inf)
        for k in range(self.classes):
            size = np.array([np.linalg.norm((self.W[k] - self.W[label]).astype(float), order) for label in y])
            gap = z[np.arange(len(x)), y] - z[:, k] + clearance
            aside = (k == y) | (False if target is None else k != target)
            best = np.where(aside, best, np.minimum(best, gap / np.where(size > 0, size, 1)))
        return best

    def region(self, x, target, norm, *, clearance=0.0):
        """(n,): how far it is to where z_t - z_k >= clearance for every class k beside t = target (n,), all at once: by
        a linear programme in Linf and L1, in L2 by Lawson & Hanson's least distance programming."""
        z = self.scores(x.reshape(len(x), -1)).astype(np.float64)
        clearance = np.broadcast_to(clearance, len(x))
        nearest = []
        for row, t in enumerate(target):
            others = np.arange(self.classes) != t
            slope = (self.W[t] - self.W[others]).astype(np.float64)
            needed = z[row, others] - z[row, t] + clearance[row]
            nearest.append(least(slope, needed, norm))
        return np.array(nearest)

    def fewest(self, x, y, *, clearance=0.0):
        """(n,): how many features must change, inside the domain, for any other class: those that gain most."""
        z = self.scores(x.reshape(len(x), -1)).astype(np.float64)
        count = np.full(len(x), np.inf)
        for i, row in enumerate(x.reshape(len(x), -1).astype(np.float64)):
            for k in set(range(self.classes)) - {int(y[i])}:
                slope = (self.W[k] - self.W[y[i]]).astype(np.float64)
                gain = np.where(slope > 0, slope * (self.domain[1] - row), slope * (self.domain[0] - row))
                reached = (
                    np.cumsum(np.sort(gain)[::-1]) > z[i, y[i]] - z[i, k] + np.broadcast_to(clearance, len(x))[i]
                )
                count[i] = min(count[i], reached.argmax() + 1 if reached.any() else np.inf)
        return count


def least(slope, needed, norm):
    """The smallest |delta| with slope @ delta >= needed."""
    d = slope.shape[1]
    if norm == "L2":
        e = np.append(np.zeros(d), 1.0)
        u, _ = nnls(np.vstack([slope.T, needed]), e)
        r = np.vstack([slope.T, needed]) @ u - e
        return np.linalg.norm(r[:d] / r[d])
    if norm == "L1":  # delta = up - down
        cost, rows = np.ones(2 * d), np.hstack([-slope, slope])
        return linprog(cost, rows, -needed).fun
    size = np.eye(d), -np.eye(d)  # |delta_i| <= s
    rows = np.block([[-slope, np.zeros((len(slope), 1))], *([e, -np.ones((d, 1))] for e in size)])
    bounds = [(None, None)] * d + [(0, None)]
    return linprog(np.append(np.zeros(d), 1.0), rows, np.append(-needed, np.zeros(2 * d)), bounds=bounds).fun


class Cross(Zoo):
    """Class 0 in the cube max |x_i| < 1 + shift / steep, class 1 around it: piecewise linear, not convex for class 1.

    With r = max |x_i|: z_1 - z_0 = steep * relu(r - 1) - leak * relu(1 - r) - shift. From inside the distance to
    the other class is the same in every norm, 1 + shift / steep - r, reached along one axis.
    """

    def __init__(self, d, *, steep=4.0, shift=0.4, leak=0.25):
        super().__init__((d,), 2)
        self.steep, self.shift, self.leak = np.float32(steep), np.float32(shift), np.float32(leak)

    def scores(self, flat):
        over = np.maximum(np.abs(flat) - 1, 0).max(axis=1) * self.steep
        under = self.leak * (np.abs(flat).max(axis=1) - 1)
        gap = np.where(over > 0, over, under) - self.shift
        return np.stack([np.zeros_like(gap), gap], axis=1).astype(np.float32)

    def pull(self, flat, g):
        top = np.abs(flat).argmax(axis=1)
        rows = np.arange(len(flat))
        slope = np.where(np.abs(flat[rows, top]) > 1, self.steep, self.leak) * np.sign(flat[rows, top])
        out = np.zeros_like(flat)
        out[rows, top] = g[:, 1] * slope
        return out

    def exact(self, x):
        return 1 + self.shift / self.steep - np.abs(x).max(axis=1).astype(np.float64)


class Dip(Zoo):
    """Class 1 lies beyond 1.2 on the first feature and below -4; between 0 and 0.8 the slope leads away from the nearer
    of the two."""

    knots, scored = np.array([-6.0, 0.0, 0.8, 6.0]), np.array([0.5, -1.0, -2.0, 24.0])

    def scores(self, flat):
        return np.stack([np.zeros(len(flat)), np.interp(flat[:, 0], self.knots, self.scored)], axis=1).astype(
            np.float32
        )

    def pull(self, flat, g):
        out, piece = np.zeros_like(flat), np.clip(np.searchsorted(self.knots, flat[:, 0]), 1, 3)
        out[:, 0] = g[:, 1] * (np.diff(self.scored) / np.diff(self.knots))[piece - 1]
        return out


class Masked(Affine):
    """An affine classifier whose gradient is zero everywhere: only attacks that ask for scores can break it."""

    def pull(self, flat, g):
        return np.zeros_like(flat)


class Decided(Affine):
    """An affine classifier that tells only its decision, as scores of 0 and 1."""

    def scores(self, flat):
        return np.eye(self.classes, dtype=np.float32)[super().scores(flat).argmax(axis=1)]


class Undefined(Affine):
    """An affine classifier that gives NaN scores and gradients outside the half of space where x_0 < `edge`."""

    def __init__(self, *args, edge, **kwargs):
        super().__init__(*args, **kwargs)
        self.edge = edge

    def scores(self, flat):
        return np.where(flat[:, :1] < self.edge, super().scores(flat), np.float32(np.nan))

    def pull(self, flat, g):
        return np.where(flat[:, :1] < self.edge, super().pull(flat, g), np.float32(np.nan))


def _loss(z, y, loss, target):
    """The losses of `Loss` and their gradients in the scores, row by row."""
    value, dz = np.zeros(len(z)), np.zeros_like(z)
    kinds = np.broadcast_to(np.asarray(loss, np.int64), len(z))
    for i, (row, own, aim, kind) in enumerate(zip(z, y, target, kinds, strict=True)):
        others = np.where(np.arange(len(row)) == own, -np.inf, row)
        rival = int(aim) if kind in (Loss.TARGETED_DLR, Loss.DIFFERENCE) else int(others.argmax())
        if kind in (Loss.CROSS_ENTROPY, Loss.TARGETED_CROSS_ENTROPY):
            shifted = np.exp(row - row.max())
            share, log_sum = shifted / shifted.sum(), np.log(shifted.sum()) + row.max()
            sign, of = (1, own) if kind == Loss.CROSS_ENTROPY else (-1, aim)
            value[i], dz[i] = sign * (log_sum - row[of]), sign * share
            dz[i, of] -= sign
            continue
        if kind == Loss.PROBABILITY_MARGIN:
            share = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
            value[i], pull = share[rival] - share[own], np.zeros_like(row)
            pull[rival], pull[own] = share[rival], -share[own]
            dz[i] = pull - share * value[i]
            continue
        if kind == Loss.LOGIT:
            value[i], dz[i, aim] = row[aim], 1
            continue
        value[i] = row[rival] - row[own]
        dz[i, rival] += 1
        dz[i, own] -= 1
        if kind in (Loss.DLR, Loss.TARGETED_DLR):
            order = (-row).argsort(kind="stable")
            lower = [order[2]] if kind == Loss.DLR else [order[2], order[3]]
            scale = row[order[0]] - row[lower].mean() + 1e-12
            dz[i] /= scale
            dz[i, order[0]] -= value[i] / scale**2
            dz[i, lower] += value[i] / scale**2 / len(lower)
            value[i] /= scale
    return value, dz
